"""Suites of the hub as lm-eval itself reads and scores them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hub_suites import MMLU, RAG_GOLD, SHIPPED, lines, put_snapshot, talk

from alphaf_orch.core.command import QUIET_OFFLINE, capture
from alphaf_orch.core.errors import DataError
from alphaf_orch.core.paths import CHILD
from alphaf_orch.core.record import write_atomic
from alphaf_orch.evaluation.tasks.suites import find_tasks, render_tasks, require_data, select_tasks

REAL_TASKS = (
    "allganize_financial_mmlu_ko",
    "allganize_flare_fiqasa_ko",
    "allganize_en_fpb_ko",
    "allganize_convfinqa_ko",
    "allganize_rag_ko",
    "kmmlu_accounting",
    "kobest_boolq",
    "kobest_copa",
    "haerae_history",
)

# A model that answers what it is told: the first pair whose key stands in the prompt gives the text, or the option.
SCRIPTED = """
import json, sys
from lm_eval.api.model import LM
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager

class Scripted(LM):
    tokenizer_name = "scripted"

    def __init__(self, answers):
        super().__init__()
        self.answers, self.seen = answers, []

    def answer(self, context):
        self.seen.append(context)
        return next((text for key, text in self.answers if key in context), "")

    def loglikelihood(self, requests):
        asked = [request.args for request in requests]
        return [(0.0 if self.answer(context) == option.strip() else -5.0, False) for context, option in asked]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError

    def generate_until(self, requests):
        return [self.answer(request.args[0]) for request in requests]

    def apply_chat_template(self, chat, add_generation_prompt=True):
        return "".join(f"<{turn['role']}>{turn['content']}" for turn in chat)

model = Scripted(json.loads(sys.argv[3]))
found = simple_evaluate(
    model, tasks=sys.argv[2].split(","), bootstrap_iters=0, apply_chat_template=True,
    task_manager=TaskManager(include_path=sys.argv[1], include_defaults=False),
)
samples = {task: [[s["doc"], s["arguments"][0][0]] for s in rows] for task, rows in found["samples"].items()}
keys = {task: list(rows[0]) for task, rows in found["samples"].items()}
results = {
    task: {name.removesuffix(",none"): value for name, value in scores.items() if name.endswith(",none")}
    for task, scores in found["results"].items()
}
counts = {task: n["effective"] for task, n in found["n-samples"].items()}
print("RESULT" + json.dumps([results, samples, counts], ensure_ascii=False))
"""


def configs(files: Mapping[str, Mapping[str, str]]) -> str:
    entries = [
        {"config_name": name, "data_files": [{"split": split, "path": path} for split, path in splits.items()]}
        for name, splits in files.items()
    ]
    return f"---\nconfigs: {json.dumps(entries)}\n---\n# card\n"


def parquet(rows: Sequence[Mapping[str, Any]], folder: Path) -> bytes:
    import pyarrow
    from pyarrow import parquet as writer

    path = folder / "rows.parquet"
    writer.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path.read_bytes()


FIQA = "다음 금융 텍스트의 감성을 긍정, 부정, 중립 중에서 고르세요.\n텍스트: {} 주가가 움직였다.\n정답:"

RAG = "다음 자료를 참고하여 답하세요.\n\n자료 1: 가 ({0})\n\n자료 2: 나\n\n자료 3: 다"


def put_allganize(home: Path, scratch: Path) -> None:
    """20 readable questions of which every id stands for two, and one without options."""
    mmlu = [talk(f"financial_mmlu_{i % 10}", MMLU.format(f"문{i:02d}끝"), "2") for i in range(20)]
    mmlu.append(talk("financial_mmlu_10", "주관식으로 설명하시오.", "2"))
    put_snapshot(home, "allganize/financial-mmlu-ko", {
        "README.md": configs({"default": {"test": "data/test-*"}}),
        "data/test-00000-of-00001.parquet": parquet(mmlu, scratch),
    })  # fmt: skip
    fiqa = [talk(f"fiqasa{i}", FIQA.format(name), gold) for i, (name, gold) in enumerate(FIQA_GOLDS)]
    put_snapshot(home, "allganize/flare-fiqasa-ko", {
        "README.md": configs({"default": {"test": "data/test-*"}}),
        "data/test-00000-of-00001.parquet": parquet(fiqa, scratch),
    })  # fmt: skip
    english = {"긍정": "positive", "부정": "negative", "중립": "neutral"}
    fpb = [talk(f"fpb{i}", FIQA.format(name), english[gold]) for i, (name, gold) in enumerate(FIQA_GOLDS)]
    # Whether it is parquet or JSON Lines, with or without a card, is nothing that the task depends on.
    put_snapshot(home, "allganize/en-fpb-ko", {"test.jsonl": lines(fpb)})
    convfinqa = [
        talk(f"convfinqa{i}", f"매출 표 (단위: 백만 달러) {i}번글\n질문: 변화는?", gold)
        for i, gold in enumerate(["0.1413", "206588.0", "-0.05", "14.1%"])
    ]
    put_snapshot(home, "allganize/flare-convfinqa-ko", {"test.jsonl": lines(convfinqa)})
    rag = [
        {"index": i, "system": RAG.format(f"글{i}끝"), "human": f"국고채 금리는? ({i}번)", "answer": RAG_GOLD,
         "answer_position": i % 3, "answer_context_title": "국고채", "answer_context_summary": "국고채 금리 3.5%"}
        for i in range(6)
    ]  # fmt: skip
    put_snapshot(home, "allganize/rag-ko", {
        "README.md": configs({"default": {"train": "data/train-*", "test": "data/test-*"}}),
        "data/train-00000-of-00001.parquet": parquet(rag, scratch),
        "data/test-00000-of-00001.parquet": parquet(rag, scratch),
    })  # fmt: skip


FIQA_GOLDS = [("가사", "긍정"), ("나사", "부정"), ("다사", "중립"), ("라사", "긍정")]


def put_korean(home: Path) -> None:
    header = "question,answer,A,B,C,D,Category,Human Accuracy\n"
    rows = header + "".join(f"회계 문제 {i}?,{i + 1},가,나,다,라,Accounting,0.5\n" for i in range(4))
    splits = ("train", "dev", "test")
    put_snapshot(home, "HAERAE-HUB/KMMLU", {
        "README.md": configs({
            name: {split: f"data/{name}-{split}.csv" for split in splits} for name in ("Accounting", "Law")
        }),
        **{f"data/{name}-{split}.csv": rows for name in ("Accounting", "Law") for split in splits},
    })  # fmt: skip
    splits = ("train", "validation", "test")
    boolq = [{"paragraph": f"글 {i}", "question": "맞나?", "label": i % 2} for i in range(4)]
    copa = [
        {
            "premise": f"물 {i}번",
            "question": "결과",
            "alternative_1": "늘었다",
            "alternative_2": "줄었다",
            "label": i % 2,
        }
        for i in range(4)
    ]
    put_snapshot(home, "skt/kobest_v1", {
        "README.md": configs({name: {s: f"{name}/{s}.jsonl" for s in splits} for name in ("boolq", "copa")}),
        **{f"boolq/{split}.jsonl": lines(boolq) for split in splits},
        **{f"copa/{split}.jsonl": lines(copa) for split in splits},
    })  # fmt: skip
    history = [
        {"query": f"한국사 {i}? (A) 가 (B) 나 (C) 다 (D) 라 (E) 마", "options": "[]", "answer": f"({'ABCD'[i]})"}
        for i in range(4)
    ]
    put_snapshot(home, "HAERAE-HUB/HAE_RAE_BENCH", {
        "README.md": configs({"history": {"test": "history/test.jsonl"}}),
        "history/test.jsonl": lines(history),
    })  # fmt: skip


# What the scripted model says, by what stands in its prompt.
ANSWERS = [
    *[(f"문{i:02d}끝", ["정답은 2번입니다.", "1", "4", "모두 옳습니다."][i % 4]) for i in range(20)],
    *[
        (f"{name} 주가", answer)
        for name, answer in [("가사", "긍정"), ("나사", "긍정"), ("다사", "중립"), ("라사", "부정")]
    ],
    ("0번글", "매출은 14.1% 늘었습니다. 정답: 14.1%"),
    ("1번글", "정답: 206,588백만 달러"),
    ("2번글", "전년보다 줄었습니다. 정답: 5% 감소"),
    ("3번글", "정답: 15.1%"),
    ("글0끝", "국고채 금리는 3.5%입니다 [1]."),
    ("글1끝", "국고채 금리는 3.5%입니다 [1]."),
    ("글2끝", "국고채 금리는 3.5%입니다 [1][3]."),
    ("글3끝", "국고채 금리는 3.5%입니다."),
    ("글4끝", "The yield of the bond is three and a half percent, as the document says [2]."),
    ("회계 문제", "B"),
    ("글 ", "예"),
    ("물 ", "줄었다"),
    ("한국사", "(A)"),
]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], ...]]:
    """What the real lm-eval makes of all tasks with the scripted model, in one child process, offline."""
    home, scratch = tmp_path_factory.mktemp("허브 캐시"), tmp_path_factory.mktemp("scratch")
    put_allganize(home, scratch)
    put_korean(home)
    yield evaluate(home, scratch, REAL_TASKS)


def evaluate(home: Path, scratch: Path, names: Sequence[str], code: int = 0) -> tuple[dict[str, Any], ...]:
    env = {**os.environ, **QUIET_OFFLINE, "HF_HOME": str(home), "PYTHONPATH": str(CHILD), "OMP_NUM_THREADS": "1"}
    env.pop("HF_HUB_CACHE", None)
    found = find_tasks((SHIPPED,), sys.executable, env)
    tasks = select_tasks(found, (), names)
    require_data(tasks, env)
    for path, rendered in render_tasks(tasks, env, scratch / "rendered").items():
        write_atomic(path, rendered.text)
    program = scratch / "scripted.py"
    program.write_text(SCRIPTED, encoding="utf-8")
    # Its stderr joins stdout: what a failing child printed is then part of the assertion.
    shell = 'exec "$0" "$@" 2>&1'
    argv = (sys.executable, str(program), str(scratch / "rendered"), ",".join(names), json.dumps(ANSWERS))
    exit_code, text = capture(("sh", "-c", shell, *argv), env=env, timeout=300)
    assert exit_code == code, text[-3000:]
    return tuple(json.loads(text.rpartition("RESULT")[2].splitlines()[0])) if not code else ()


def test_financial_mmlu_is_scored_by_the_number_in_the_answer(measured: tuple[dict[str, Any], ...]) -> None:
    results, samples, counts = measured
    scores = results["allganize_financial_mmlu_ko"]
    # Right, wrong, above the count of options, no number: five rows each; the row without options is left out.
    assert (scores["acc"], scores["answered"]) == (0.25, 0.5)
    assert counts["allganize_financial_mmlu_ko"] == 20
    docs = [doc for doc, _ in samples["allganize_financial_mmlu_ko"]]
    assert [doc["options"] for doc in docs] == [3] * 20
    assert len({doc["id"] for doc in docs}) == 20
    assert docs[10]["id"] == "financial_mmlu_0.2"
    prompt = samples["allganize_financial_mmlu_ko"][0][1]
    assert prompt.startswith("<system>다음 금융 문제를 읽고 정답 번호만 숫자로 적으세요.<user>금리의 종류에")
    assert prompt.endswith("3. 실효금리\n\n정답:")


@pytest.mark.parametrize("task", ["allganize_flare_fiqasa_ko", "allganize_en_fpb_ko"])
def test_sentiment_is_chosen_among_the_labels_of_the_golds_language(
    measured: tuple[dict[str, Any], ...], task: str
) -> None:
    results, samples, _ = measured
    if task.endswith("fpb_ko"):
        # The scripted model knows Korean labels only, so the first option is taken each time.
        assert samples[task][0][0]["choices"] == ["positive", "negative", "neutral"]
        assert results[task]["acc"] == 0.5
        assert results[task]["macro_f1"] == pytest.approx((2 * 2 / (2 + 4)) / 3)
    else:
        assert results[task]["acc"] == 0.5
        # 긍정: 1 right of 2 golds and 2 answers; 부정: 0; 중립: 1 of 1 and 1.
        assert results[task]["macro_f1"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert samples[task][0][1].startswith("<user>다음 금융 텍스트의 감성을")


def test_convfinqa_takes_shares_as_percentages_and_amounts_in_the_tables_unit(
    measured: tuple[dict[str, Any], ...],
) -> None:
    scores = measured[0]["allganize_convfinqa_ko"]
    assert scores["exact_numeric"] == 0.75
    assert (scores["empty"], scores["looping"], scores["wrong_language"]) == (0, 0, 0)


def test_rag_counts_citations_against_the_golden_position(measured: tuple[dict[str, Any], ...]) -> None:
    results, samples, _ = measured
    scores = results["allganize_rag_ko"]
    # Golden are 1, 2, 3, 1, 2, 3; cited are 1, 1, 1 and 3, nothing, 2, nothing (an empty answer).
    assert scores["citation_recall"] == pytest.approx(3 / 6)
    assert scores["citation_precision"] == pytest.approx((1 + 0 + 0.5 + 0 + 1 + 0) / 6)
    assert scores["citation_format"] == pytest.approx(4 / 6)
    assert scores["wrong_language"] == pytest.approx(1 / 6)
    assert scores["empty"] == pytest.approx(1 / 6)
    # Korean answers have every character pair of the gold, the English and the empty one have none.
    assert scores["overlap"] == pytest.approx(4 / 6)
    assert [doc["golden"] for doc, _ in samples["allganize_rag_ko"]] == [1, 2, 3, 1, 2, 3]
    assert samples["allganize_rag_ko"][0][1] == (
        f"<system>{RAG.format('글0끝')}\n\n각 문장 끝에 근거로 삼은 자료의 번호를 [1]처럼 적으세요."
        " 번호는 자료가 나온 순서대로 1부터 셉니다.<user>국고채 금리는? (0번)"
    )


def test_tasks_that_lm_eval_ships_run_from_the_local_snapshots(measured: tuple[dict[str, Any], ...]) -> None:
    results, _, counts = measured
    assert {task: counts[task] for task in REAL_TASKS[5:]} == dict.fromkeys(REAL_TASKS[5:], 4)
    assert results["kmmlu_accounting"]["acc"] == 0.25
    assert results["kobest_boolq"]["acc"] == results["kobest_copa"]["acc"] == 0.5
    assert results["kobest_copa"]["f1"] == pytest.approx(1 / 3)
    assert results["haerae_history"]["acc"] == 0.25


def test_a_layout_that_is_not_known_ends_the_task_with_the_data_exit_code(tmp_path: Path) -> None:
    rows = [{"id": i, "query": "질문", "answer": "1"} for i in range(3)]
    put_snapshot(tmp_path / "hf", "allganize/financial-mmlu-ko", {"test.jsonl": lines(rows)})
    evaluate(tmp_path / "hf", tmp_path, ["allganize_financial_mmlu_ko"], code=DataError.exit_code)


@pytest.mark.parametrize(
    ("where", "file"),
    [("json\ndataset_kwargs: {data_files: {test: rows.jsonl}}", "rows.jsonl"), ("./자료", "자료/rows.jsonl")],
)
def test_rows_changed_in_place_are_read_anew(tmp_path: Path, where: str, file: str) -> None:
    (tmp_path / "eval").mkdir()
    for name in ("allganize.py", "allganize_flare_fiqasa_ko.yaml"):
        shutil.copy(SHIPPED / "eval" / "allganize" / name, tmp_path / "eval")
    yaml = tmp_path / "eval" / "allganize_flare_fiqasa_ko.yaml"
    yaml.write_text(yaml.read_text(encoding="utf-8").replace("allganize/flare-fiqasa-ko", where), encoding="utf-8")
    rows = tmp_path / "eval" / file
    rows.parent.mkdir(exist_ok=True)
    # With a card, `datasets` 4.8.4 takes a folder of the same name for the same rows.
    (rows.parent / "README.md").write_text(configs({"default": {"test": "rows.jsonl"}}), encoding="utf-8")
    env = {**os.environ, **QUIET_OFFLINE, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(CHILD)}
    (tmp_path / "scripted.py").write_text(SCRIPTED, encoding="utf-8")
    found = []
    for gold in ("긍정", "부정"):
        rows.write_text(lines([talk("하나", FIQA.format("가사"), gold)]), encoding="utf-8")
        (task,) = find_tasks((tmp_path,), sys.executable, env).values()
        require_data([task], env)
        for path, rendered in render_tasks([task], env, tmp_path / "rendered").items():
            write_atomic(path, rendered.text)
        program = (str(tmp_path / "scripted.py"), str(tmp_path / "rendered"), task.name, json.dumps(ANSWERS))
        code, text = capture((sys.executable, *program), env=env, timeout=300)
        assert code == 0
        found.append(json.loads(text.rpartition("RESULT")[2])[0][task.name]["acc"])
    assert found == [1.0, 0.0]
