"""Which tasks and suites there are, what a broken or missing piece of them is answered with, what lm-eval is given."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from alphaf_orch.core.command import capture
from alphaf_orch.core.errors import ConfigError, DataError, ToolError
from alphaf_orch.core.paths import PACKAGE, template_folders
from alphaf_orch.evaluation.tasks import suites, task_yaml
from alphaf_orch.evaluation.tasks.metrics import aggregations, metrics
from alphaf_orch.evaluation.tasks.suites import find_tasks, render_tasks, require_data, select_tasks
from alphaf_orch.evaluation.tasks.task import Task

SHIPPED = template_folders()[-1]
TASK = """\
task: 우리은행_faq
dataset_path: json
dataset_kwargs: {data_files: {test: faq.jsonl}}
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
metric_list:
  - metric: exact_match
metadata: {version: 1, title_ko: 자주 묻는 질문}
"""


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A templates folder of the user's, its name Korean, with one task of one YAML and two rows."""
    folder = tmp_path / "내 템플릿"
    (folder / "eval").mkdir(parents=True)
    rows = [{"question": f"질문 {i}", "answer": "답"} for i in range(2)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "eval" / "faq.jsonl").write_text(text, encoding="utf-8")
    (folder / "eval" / "faq.yaml").write_text(TASK, encoding="utf-8")
    return folder


def found_in(*folders: Path) -> dict[str, Task]:
    return find_tasks(folders, sys.executable)


def write(folder: Path, text: str, name: str = "faq.yaml") -> None:
    (folder / "eval" / name).write_text(text, encoding="utf-8")


def refused(folder: Path, text: str, name: str = "faq.yaml") -> ConfigError:
    write(folder, text, name)
    with pytest.raises(ConfigError) as caught:
        found_in(folder)
    return caught.value


def test_a_user_adds_a_task_by_one_yaml_and_its_rows(user: Path) -> None:
    task = found_in(user, SHIPPED)["우리은행_faq"]
    assert (task.suites, task.rows, task.dataset, task.title) == ((), 2, None, {"ko": "자주 묻는 질문"})
    assert (task.output_type, task.metrics, task.main_metric) == ("generate_until", ("exact_match",), "exact_match")
    assert select_tasks({task.name: task}, (), ("우리은행_faq",)) == (task,)
    rendered = render_tasks((task,), {}, user / "out")
    assert rendered[user / "out" / "우리은행_faq.yaml"].values == {
        "include": str(user / "eval" / "faq.yaml"),
        "task": "우리은행_faq",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(user / "eval" / "faq.jsonl")}},
    }


@pytest.mark.parametrize("tag", ["tag: finance-ko", "tag: [finance-ko, 우리]"])
def test_a_tag_puts_a_task_into_a_suite(user: Path, tag: str) -> None:
    write(user, f"{TASK}{tag}\n")
    found = found_in(user, SHIPPED)
    names = [task.name for task in select_tasks(found, ["finance-ko"], [])]
    assert names == ["우리은행_faq", "finance_ko_mcq", "finance_ko_numeric", "finance_ko_rag", "finance_ko_sentiment"]
    if "우리]" in tag:
        assert [task.name for task in select_tasks(found, ["우리"], [])] == ["우리은행_faq"]


def test_a_group_makes_a_suite_of_our_tasks_and_of_lm_evals(user: Path) -> None:
    write(user, "group: 비교\ntask: [우리은행_faq, arc_easy]\n", "group.yaml")
    chosen = select_tasks(found_in(user), ["비교"], ["우리은행_faq"])
    assert [(task.name, task.suites, task.dataset) for task in chosen] == [
        ("우리은행_faq", ("비교",), None),
        ("arc_easy", ("비교",), "allenai/ai2_arc"),
    ]


def test_the_users_task_and_suite_win_over_ours_of_the_same_name(user: Path) -> None:
    ours = found_in(SHIPPED)
    write(user, TASK.replace("우리은행_faq", "finance_ko_mcq"))
    write(user, "group: korean\ntask: [kobest_copa]\n", "korean.yaml")
    found = found_in(user, SHIPPED)
    assert found["finance_ko_mcq"].path == user / "eval" / "faq.yaml" != ours["finance_ko_mcq"].path
    assert [task.name for task in select_tasks(found, ["korean"], [])] == ["kobest_copa"]
    assert "kmmlu_law" not in found


def test_unknown_names_get_the_nearest_one(user: Path) -> None:
    found = found_in(user, SHIPPED)
    with pytest.raises(ConfigError, match="no suite finance_ko: did you mean finance-ko"):
        select_tasks(found, ["finance_ko"], [])
    with pytest.raises(ConfigError, match="no task finance_ko_mqc: did you mean finance_ko_mcq"):
        select_tasks(found, [], ["finance_ko_mqc"])
    error = refused(user, "group: g\ntask: [kmmlu_low]\n", "g.yaml")
    assert (error.what, error.where) == (
        "neither the templates nor the installed lm-eval has a task kmmlu_low",
        f"{user}/eval/g.yaml line 2",
    )


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        (TASK.replace("test_split: test", "test_split: [test"), "not valid YAML: did not find expected", 5),
        (TASK.replace("doc_to_text:", "doc_to_txt:"), "doc_to_txt: did you mean doc_to_text?", 5),
        (TASK + "group: finance\n", "group: use tag", 10),
        (
            TASK + "output_type: multiple_choise\n",
            "output_type is 'multiple_choise': did you mean multiple_choice?",
            10,
        ),
        (TASK + "output_type: multiple_choice\n", "the task has no doc_to_choice", 10),
        (TASK.replace("test_split: test\n", ""), "the task has no test_split", 1),
        (TASK.replace('doc_to_target: "{{answer}}"\n', ""), "the task has no doc_to_target", 1),
        (TASK.replace("dataset_path: json\n", ""), "the task has no dataset_path", 1),
        (TASK + "test_split: train\n", "key test_split is given twice", 10),
        (TASK + "process_results: !function faq.score\n", "!function faq.score: there is no faq.py", 10),
        (TASK + "metadata: {main_metric: acc}\n", "key metadata is given twice", 10),
        (TASK.replace("version: 1", "main_metric: acc"), "main_metric is acc", 9),
        (TASK.replace("  - metric: exact_match", "  exact_match: mean"), "metric_list is no list of", 7),
        (TASK.replace("task: 우리은행_faq", "task: ../faq"), "'../faq' is not the name of a task", 1),
        (TASK.replace("task: 우리은행_faq\n", ""), "the file names no task", None),
        (TASK + "include: base.yaml\n", "there is no file base.yaml to include", 10),
        (TASK + "include: faq.yaml\n", "the file includes itself", None),
        (TASK + "class: !function faq.Task\n", "a task written as a python class", 10),
        ("- task: x\n", "not a mapping of keys", 1),
    ],
)
def test_a_broken_yaml_is_refused_with_file_and_line(user: Path, text: str, what: str, line: int | None) -> None:
    error = refused(user, text)
    assert what in error.what
    assert error.where.startswith(f"{user}/eval/faq.yaml" + (f" line {line}" if line else ""))


def test_a_function_that_its_python_file_lacks_is_refused(user: Path) -> None:
    (user / "eval" / "faq.py").write_text("def other(doc, results):\n    return {}\n")
    error = refused(user, TASK + "process_results: !function faq.score\n")
    assert error.what == "!function faq.score: faq.py has no function score"


def test_a_file_in_another_encoding_is_refused(user: Path) -> None:
    (user / "eval" / "faq.yaml").write_bytes(TASK.encode("cp949"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        found_in(user)


def test_two_tasks_of_one_name_in_one_folder_are_refused(user: Path) -> None:
    error = refused(user, TASK, "zweite.yaml")
    assert error.what == "우리은행_faq is defined twice"
    assert error.where == f"{user}/eval/zweite.yaml line 1"
    assert f"{user}/eval/faq.yaml line 1" in error.fix


def test_included_files_are_no_tasks_and_their_data_lie_beside_them(user: Path) -> None:
    (user / "eval" / "공통").mkdir()
    shared = TASK.replace("task: 우리은행_faq\n", "") + "tag: 우리\n"
    write(user, shared, "공통/base.yaml")
    shutil.move(user / "eval" / "faq.jsonl", user / "eval" / "공통")
    write(user, "include: 공통/base.yaml\ntask: 우리은행_faq\nnum_fewshot: 2\n")
    task = found_in(user)["우리은행_faq"]
    assert (task.rows, task.suites, task.config["num_fewshot"]) == (2, ("우리",), 2)


def test_content_changes_with_everything_that_scores_depend_on(user: Path) -> None:
    write(user, TASK + "process_results: !function faq.score\n")
    python, rows = user / "eval" / "faq.py", user / "eval" / "faq.jsonl"
    python.write_text("def score(doc, results):\n    return {'exact_match': 1}\n")

    def content() -> str:
        return found_in(user)["우리은행_faq"].content

    seen = [content(), content()]
    assert seen[0] == seen[1]
    python.write_text(python.read_text() + "# 1\n")
    seen.append(content())
    rows.write_text(rows.read_text(encoding="utf-8") + '{"question": "셋", "answer": "답"}\n', encoding="utf-8")
    seen.append(content())
    write(user, TASK + "process_results: !function faq.score\ndescription: 짧게\n")
    seen.append(content())
    assert len(set(seen[1:])) == 4
    moved = user.parent / "다른 곳"
    shutil.copytree(user, moved)
    assert found_in(moved)["우리은행_faq"].content == seen[-1]


def test_data_that_are_not_there_are_named(user: Path) -> None:
    (user / "eval" / "faq.jsonl").unlink()
    found = found_in(user)
    assert found["우리은행_faq"].rows is None
    with pytest.raises(DataError, match="no data for 우리은행_faq") as caught:
        require_data(tuple(found.values()), {})
    assert caught.value.where == str(user / "eval" / "faq.jsonl")


def test_a_folder_whose_name_the_data_loader_reads_as_a_pattern_is_refused(user: Path, tmp_path: Path) -> None:
    odd = user.rename(tmp_path / "평가[1]")
    with pytest.raises(DataError, match=r"the path contains '\['"):
        require_data(tuple(found_in(odd).values()), {})


def test_hub_data_sets_that_lack_are_all_named_with_the_commands_that_bring_them(tmp_path: Path) -> None:
    found = found_in(SHIPPED)
    env = {"HF_HOME": str(tmp_path / "캐시")}
    with pytest.raises(DataError) as caught:
        require_data(select_tasks(found, ["korean", "allganize"], []), env)
    needed = {task.dataset for task in found.values() if task.dataset}
    assert len(needed) == 8
    for name in needed:
        assert f"hf download --repo-type dataset {name}\n" in caught.value.fix
        assert f"datasets--{name.replace('/', '--')}" in caught.value.fix
        assert f"{name} (absent; for " in caught.value.what
    assert caught.value.where == str(tmp_path / "캐시" / "hub")
    assert f"tar -C {tmp_path / '캐시' / 'hub'} -xf eval-data.tar" in caught.value.fix
    with pytest.raises(DataError, match="a data set is not ready"):
        render_tasks([found["kobest_copa"]], env, tmp_path)


def test_a_hub_snapshot_copied_without_its_blobs_is_incomplete(tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "datasets--skt--kobest_v1"
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    (snapshot / "kobest_v1.py").write_text("class Kobest: ...")
    task, env = found_in(SHIPPED)["kobest_copa"], {"HF_HOME": str(tmp_path)}
    with pytest.raises(DataError, match="no data files in it"):
        require_data((task,), env)
    (snapshot / "test.jsonl").write_text("{}")
    require_data((task,), env)
    before = find_tasks((SHIPPED,), sys.executable, env)["kobest_copa"].content
    (snapshot / "train.jsonl").symlink_to("../../blobs/0123")
    with pytest.raises(DataError, match=r"incomplete: 1 of 3 files lead nowhere, such as train.jsonl"):
        require_data((task,), env)
    (folder / "refs" / "main").write_text("def")
    snapshot.rename(snapshot.with_name("def"))
    assert find_tasks((SHIPPED,), sys.executable, env)["kobest_copa"].content != before


def test_a_revision_names_the_snapshot_and_is_not_handed_on(user: Path, tmp_path: Path) -> None:
    own = TASK.replace("{data_files: {test: faq.jsonl}}", "{revision: v2}")
    write(user, own.replace("dataset_path: json", "dataset_path: my/set"))
    folder = tmp_path / "hub" / "datasets--my--set"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "test.jsonl").write_text("{}")
    env = {"HF_HOME": str(tmp_path)}
    task = found_in(user)["우리은행_faq"]
    with pytest.raises(DataError, match="my/set") as caught:
        require_data((task,), env)
    assert "hf download --repo-type dataset my/set --revision v2\n" in caught.value.fix
    (folder / "refs" / "v2").write_text("abc")
    (rendered,) = render_tasks((task,), env, tmp_path).values()
    assert rendered.values["dataset_path"] == str(folder / "snapshots" / "abc")
    assert rendered.values["dataset_kwargs"] == {}


def test_every_yaml_under_eval_is_a_task_a_suite_or_included() -> None:
    found = found_in(SHIPPED)
    paths = set((SHIPPED / "eval").rglob("*.y*ml"))
    tasks = {task.path for task in found.values()}
    assert paths - tasks == {SHIPPED / "eval" / "korean" / "korean.yaml"}
    assert {suite for task in found.values() for suite in task.suites} == {
        "finance-ko",
        "general-ko",
        "allganize",
        "korean",
    }
    for task in found.values():
        assert set(task.title) == {"ko", "en"}
        assert task.rows
        assert len(task.content) == 64


def test_finding_is_fast_and_imports_nothing_heavy() -> None:
    found_in(SHIPPED)
    suites._index.cache_clear()
    started = time.monotonic()
    found_in(SHIPPED)
    assert time.monotonic() - started < 1.5  # 0.1 s on a free machine; the child starts a python
    program = (
        "import sys; from alphaf_orch.evaluation.tasks.suites import find_tasks;"
        " from alphaf_orch.core.paths import template_folders;"
        " find_tasks(template_folders(), sys.executable);"
        " print({'lm_eval', 'datasets', 'torch', 'huggingface_hub', 'numpy'} & set(sys.modules))"
    )
    assert capture((sys.executable, "-c", program)) == (0, "set()\n")


def test_a_python_without_lm_eval_is_a_tool_error(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    for python in (str(bare), str(tmp_path / "none")):
        with pytest.raises(ToolError, match="lm-eval is not installed"):
            find_tasks((SHIPPED,), python)


def test_the_recorded_keys_are_those_of_the_installed_lm_eval() -> None:
    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    for kind, file, name in (("task", "config/task.py", "TaskConfig"), ("group", "api/group.py", "GroupConfig")):
        tree = ast.parse((Path(spec.origin).parent / file).read_text())
        (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
        keys = {line.target.id for line in found.body if isinstance(line, ast.AnnAssign)}  # type: ignore[union-attr]
        assert set(task_yaml.legal_keys()[kind]) == keys | {"include"}


def test_the_suite_korean_names_tasks_and_data_sets_of_the_installed_lm_eval() -> None:
    listed = yaml.safe_load((SHIPPED / "eval" / "korean" / "korean.yaml").read_text(encoding="utf-8"))
    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "tasks"
    # Read here in another way than the program does.
    there = {}
    for place in ("kmmlu/default", "kobest", "haerae"):
        for path in (folder / place).glob("*.yaml"):
            text = path.read_text(encoding="utf-8").replace("!function", "")
            values = yaml.safe_load(text)
            if isinstance(values.get("task"), str):
                base = path.parent / values.get("include", path.name)
                data = {**yaml.safe_load(base.read_text(encoding="utf-8").replace("!function", "")), **values}
                there[values["task"]] = data["dataset_path"]
    assert set(listed["task"]) <= set(there)
    assert set(listed["metadata"]["tasks"]) == set(listed["task"])
    found = select_tasks(found_in(SHIPPED), ["korean"], [])
    assert {task.name: task.dataset for task in found} == {name: there[name] for name in listed["task"]}
    assert {task.dataset for task in found} == {"HAERAE-HUB/KMMLU", "skt/kobest_v1", "HAERAE-HUB/HAE_RAE_BENCH"}


def test_the_example_of_the_docs_is_a_task_and_a_suite(tmp_path: Path) -> None:
    text = (PACKAGE.parent / "docs" / "own-benchmarks.md").read_text(encoding="utf-8")
    for name, body in re.findall(r"```yaml\n# my-templates/(eval/\S+)\n(.*?)```", text, flags=re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(body, encoding="utf-8")
    (row,) = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "eval" / "faq.jsonl").write_text(row, encoding="utf-8")
    found = found_in(tmp_path, SHIPPED)
    require_data([found["bank_faq"]], {})
    assert (found["bank_faq"].rows, found["bank_faq"].suites) == (1, ("finance-ko", "compare"))
    names = ["bank_faq", "finance_ko_mcq", "click_cul_economy", "kmmlu_accounting"]
    assert [task.name for task in select_tasks(found, ["compare"], [])] == names
    assert found["click_cul_economy"].title == {"ko": "한국 경제 상식", "en": "Korean economy"}


def test_docs_name_every_hub_data_set() -> None:
    text = (PACKAGE.parent / "docs" / "own-benchmarks.md").read_text(encoding="utf-8")
    for task in found_in(SHIPPED).values():
        assert task.dataset is None or f"hf download --repo-type dataset {task.dataset}\n" in text


def mistaken(folder: Path, *changes: tuple[str, str]) -> list[str]:
    """Return each mistake of the task with these changes, with its line."""
    text = TASK
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    error = refused(folder, text)
    return [f"{part.where.removeprefix(str(folder))}: {part.what}" for part in (error.parts or (error,))]


def test_mistakes_of_a_benchmark_are_told_in_one_go_before_a_model_is_loaded(user: Path) -> None:
    found = mistaken(user, ("{{answer}}", "{{anwser}}"), ("exact_match", "exact_mtach"), ("{{question}}", "{{질문}}"))
    assert found == [
        "/eval/faq.yaml line 5: doc_to_text: the rows have no column 질문",
        "/eval/faq.yaml line 6: doc_to_target: the rows have no column anwser: did you mean answer?",
        "/eval/faq.yaml line 8: lm-eval has no metric exact_mtach: did you mean exact_match?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"{{answer}}"', "anwser", "doc_to_target is the text anwser for every row, for the rows have no such column"),
        ('"{{question}}"', '"{{question"', "doc_to_text is no template: unexpected end of template"),
        ('"{{question}}"', '"{% if hint %}{{question}}{% endif %}"', "doc_to_text: the rows have no column hint"),
        ("- metric: exact_match", "- {metric: acc, aggregation: maen}", "no aggregation maen: did you mean mean?"),
    ],
)  # fmt: skip
def test_a_mistake_of_a_benchmark_is_told_with_its_line(user: Path, old: str, new: str, what: str) -> None:
    (found,) = mistaken(user, (old, new))
    assert what in found
    assert re.match(r"/eval/faq\.yaml line [5-8]: ", found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"{{answer}}"', "answer"),  # a column by its name
        ('"{{answer}}"', "그대로"),  # a text that is like no column
        ('"{{question}}"', '"{% if hint is defined %}{{hint}}{% endif %}{{question}}"'),
        ('"{{question}}"', '"{% for word in question.split() %}{{word}} {{loop.index}}{% endfor %}"'),
        ("- metric: exact_match", "- {metric: rouge, hf_evaluate: true}"),
        ("- metric: exact_match", "- {metric: exact_match, aggregation: !function faq.middle}"),
        ("test_split: test", "test_split: test\nprocess_docs: !function faq.rows"),  # its python makes the columns
    ],
)
def test_what_lm_eval_takes_is_no_mistake(user: Path, old: str, new: str) -> None:
    (user / "eval" / "faq.py").write_text("def middle(x): ...\ndef rows(x): ...\n", encoding="utf-8")
    text = TASK.replace(old, new)
    assert text != TASK
    write(user, text if "process_docs" not in new else text.replace("{{answer}}", "{{made}}"))
    assert "우리은행_faq" in found_in(user)


def test_a_column_that_only_later_rows_have_is_one(user: Path) -> None:
    with (user / "eval" / "faq.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"question": "q", "answer": "a", "hint": "h"}\n')
    write(user, TASK.replace("{{question}}", "{{question}} {{hint}}"))
    assert "우리은행_faq" in found_in(user)


def test_metrics_of_a_task_with_a_scoring_of_its_own_are_its_own(user: Path) -> None:
    (user / "eval" / "faq.py").write_text("def score(doc, results): ...\n", encoding="utf-8")
    write(user, TASK.replace("exact_match", "우리_점수") + "process_results: !function faq.score\n")
    assert found_in(user)["우리은행_faq"].metrics == ("우리_점수",)


def test_the_recorded_metrics_are_those_of_the_installed_lm_eval() -> None:
    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    text = (Path(spec.origin).parent / "api" / "metrics.py").read_text(encoding="utf-8")
    assert set(re.findall(r'metric="(\w+)"', text)) == set(metrics())
    assert set(re.findall(r'@register_aggregation\("(\w+)"\)', text)) == set(aggregations())
