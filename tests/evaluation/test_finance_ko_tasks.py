"""The real lm-eval runs the tasks: its figures are the hand-computed ones, and the prompts are what they should be."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

from alphaf_orch.core.command import QUIET_OFFLINE
from alphaf_orch.core.paths import CHILD

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "templates" / "eval" / "finance_ko"
TASKS = {"mcq": "acc", "sentiment": "acc", "numeric": "exact_numeric", "rag": "citation_format"}

# A model that says what a file tells it to, by the text of the question; lm-eval itself is untouched.
SCRIPTED = """
import json, sys
from lm_eval.__main__ import cli_evaluate
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

@register_model("scripted")
class Scripted(LM):
    tokenizer_name = "scripted"

    def __init__(self, script, seen, **_):
        super().__init__()
        self.script, self.seen = json.load(open(script, encoding="utf-8")), open(seen, "w", encoding="utf-8")

    def apply_chat_template(self, turns, add_generation_prompt=True):
        text = "".join(f"<{turn['role']}>{turn['content']}</>" for turn in turns)
        return text + "<assistant>" if add_generation_prompt else text.removesuffix("</>")

    def chat_template(self, name):
        return "scripted"

    def said(self, context):
        (answer,) = [answer for question, answer in self.script.items() if question in context]
        return answer

    def note(self, request):
        print(json.dumps(request.args, ensure_ascii=False), file=self.seen, flush=True)
        return request.args

    def loglikelihood(self, requests, disable_tqdm=False):
        pairs = [self.note(request) for request in requests]
        return [(-1.0 if target.strip() == self.said(context) else -5.0, False) for context, target in pairs]

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError

    def generate_until(self, requests, disable_tqdm=False):
        return [self.said(self.note(request)[0]) for request in requests]

cli_evaluate()
"""

ROWS: dict[str, list[dict[str, Any]]] = {
    "mcq": [
        {"id": f"m{n}", "topic": "금리", "question": f"{n}번 물음은?", "choices": ["가", "나", "다", "라"], "answer": n}
        for n in range(4)
    ],
    "sentiment": [
        {"id": "s0", "text": "실적이 좋다.", "label": "긍정"},
        {"id": "s1", "text": "실적이 나쁘다.", "label": "부정"},
        {"id": "s2", "text": "공시를 냈다.", "label": "중립"},
        {"id": "s3", "text": "주가가 올랐다.", "label": "긍정"},
    ],
    "numeric": [
        {
            "id": f"n{n}",
            "topic": "비율",
            "table": "| 항목 | 금액 |\n|---|---:|\n| 이익 | 52 |",
            "question": f"{n}번째 값은?",
            "answer": text,
            "value": value,
            "unit": unit,
            "tolerance": tolerance,
        }
        for n, (text, value, unit, tolerance) in enumerate(
            [
                ("1.68%", 1.68, "%", 0.01),
                ("3,250억원", 325000000000, "원", 0),
                ("-0.5%p", -0.5, "%p", 0.01),
                ("2배", 2, "배", 0),
            ]
        )
    ],
    "rag": [
        {
            "id": f"r{n}",
            "topic": "대출",
            "question": f"{n}번째 한도는?",
            "contexts": ["한도 1억원.", "한도 2억원.", "한도 3억원."],
            "golden": 2,
            "answer": "한도는 2억원입니다 [2].",
            "keywords": [["2억원", "2억 원"]],
        }
        for n in range(4)
    ],
}

SCRIPT = {
    "0번 물음은?": "A",  # right
    "1번 물음은?": "C",
    "2번 물음은?": "C",  # right
    "3번 물음은?": "D",  # right
    "실적이 좋다.": "긍정",  # right
    "실적이 나쁘다.": "긍정",
    "공시를 냈다.": "중립",  # right
    "주가가 올랐다.": "중립",
    "0번째 값은?": "52 ÷ 3,100 × 100 = 약 1.68%입니다.",  # right; 30 characters
    "1번째 값은?": "3,250만원",  # another amount; 7 characters
    "2번째 값은?": "50bp 떨어졌습니다.",  # right: 50bp are 0.5%p, and they fall; 12 characters
    "3번째 값은?": "<|im_end|>",  # empty
    "0번째 한도는?": "한도는 2억원입니다 [2].",  # everything right; 15 characters
    "1번째 한도는?": "The limit is 2억 원 [1][2].",  # half the precision, wrong language; 25 characters
    "2번째 한도는?": "[1] 한도 1억원.\n[2] 한도 2억원.\n[3] 한도 3억원.",  # a copy: only contained; 35 characters
    "3번째 한도는?": "한도는 1억원 " * 5 + "[4]",  # loops, wrong index; 43 characters
}

# By hand. Sentiment: F1 of 긍정 1/2, 부정 0, 중립 2/3, their mean 7/18.
EXPECTED: dict[str, dict[str, float]] = {
    "mcq": {"acc": 3 / 4},
    "sentiment": {"acc": 1 / 2, "macro_f1": 7 / 18},
    "numeric": {
        "exact_numeric": 1 / 2,
        "wrong_language": 0,
        "empty": 1 / 4,
        "looping": 0,
        "length_chars": (30 + 7 + 12) / 4,
    },
    "rag": {
        "citation_format": 2 / 4,
        "citation_precision": (1 + 1 / 2 + 0 + 0) / 4,
        "citation_recall": 2 / 4,
        "containment": 3 / 4,
        "wrong_language": 1 / 4,
        "empty": 0,
        "looping": 1 / 4,
        "length_chars": (15 + 25 + 35 + 43) / 4,
    },
}
PROMPTS = {
    "mcq": [
        "<system>금융 문제를 읽고 알맞은 보기의 글자 하나로 답하세요.</>"
        "<user>0번 물음은?\n\nA. 가\nB. 나\nC. 다\nD. 라</><assistant>정답:",
        " A",
    ],
    "sentiment": [
        "<system>금융 문장의 투자 심리를 긍정, 부정, 중립 가운데 하나로 답하세요.</>"
        "<user>문장: 실적이 좋다.\n\n이 문장의 투자 심리는 긍정, 부정, 중립 가운데 무엇인가요?</><assistant>정답:",
        " 긍정",
    ],
    "numeric": [
        "<system>표를 보고 계산하여 한국어로 짧게 답하고, 마지막에 숫자와 단위를 적으세요.</>"
        "<user>| 항목 | 금액 |\n|---|---:|\n| 이익 | 52 |\n\n0번째 값은?</><assistant>",
        {"do_sample": False, "max_gen_toks": 192, "until": []},
    ],
    "rag": [
        "<system>자료만 보고 답하고 근거 번호를 [1]처럼 적으세요.</>"
        "<user>[1] 한도 1억원.\n[2] 한도 2억원.\n[3] 한도 3억원.\n\n질문: 0번째 한도는?</><assistant>",
        {"do_sample": False, "max_gen_toks": 160, "until": []},
    ],
}


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!function", lambda loader, node: f"!function {node.value}")


def config(name: str) -> dict[str, Any]:
    return yaml.load((SUITE / f"{name}.yaml").read_text(encoding="utf-8"), _Loader)


def test_every_yaml_is_a_task_of_the_suite_with_its_main_metric() -> None:
    assert sorted(path.stem for path in SUITE.glob("*.yaml")) == sorted(TASKS)
    for name, main in TASKS.items():
        task = config(name)
        assert (task["task"], task["tag"]) == (f"finance_ko_{name}", "finance-ko")
        assert task["dataset_kwargs"] == {"data_files": {"test": f"{name}.jsonl"}}
        assert task["metadata"]["main_metric"] == main
        assert main == task["metric_list"][0]["metric"]
        assert set(EXPECTED[name]) == {metric["metric"] for metric in task["metric_list"]}
        assert task["metadata"]["title_ko"] and task["metadata"]["title_en"]


def test_every_metric_has_its_line_in_the_documentation() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name in TASKS:
        settings = config(name).get("generation_kwargs")
        assert settings is None or f"{settings['max_gen_toks']} ({name})" in page
        for metric in config(name)["metric_list"]:
            (line,) = [line for line in page.splitlines() if line.startswith(f"| `{metric['metric']}` |")]
            _, tasks, _, better = line.strip("| ").split(" | ")
            assert name in tasks.split(", ")
            assert better == {True: "higher", False: "lower", None: "neither"}[metric["higher_is_better"]]


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("py3langid")
    monkeypatch.syspath_prepend(str(CHILD))
    monkeypatch.syspath_prepend(str(SUITE))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # templates/ is what users copy
    import finance_ko

    return finance_ko


def shipped(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SUITE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


CLEAN = {"wrong_language": 0, "empty": 0, "looping": 0}


def test_the_reference_answer_of_every_numeric_row_is_right_and_its_table_is_not(hooks: Any) -> None:
    for row in shipped("numeric"):
        answer = row["answer"]
        for text in (answer, f"정답은 {answer}입니다.", f"10 × 2 = {answer}", f"따라서 {answer}이며 높은 수준입니다."):
            scores = hooks.process_numeric(row, [text])
            assert scores == {"exact_numeric": 1, **CLEAN, "length_chars": len(text)}, (row["id"], text)
        assert hooks.process_numeric(row, [row["table"]])["exact_numeric"] == 0, row["id"]


def test_the_reference_answer_of_every_rag_row_is_right_and_a_copy_of_its_prompt_is_not(hooks: Any) -> None:
    for row in shipped("rag"):
        right = {"citation_format": 1, "citation_precision": 1, "citation_recall": 1, "containment": 1}
        text = row["answer"]
        assert hooks.process_rag(row, [text]) == {**right, **CLEAN, "length_chars": len(text)}, row["id"]
        copied = hooks.process_rag(row, [hooks.rag_prompt(row)])
        assert (copied["citation_format"], copied["citation_precision"], copied["citation_recall"]) == (0, 0, 0), row[
            "id"
        ]
        one_line = hooks.process_rag(row, [hooks.rag_prompt(row).replace("\n", " ")])
        assert (one_line["citation_format"], one_line["citation_recall"]) == (0, 0), row["id"]


def test_the_labels_are_those_of_the_yaml_and_the_rows(hooks: Any) -> None:
    assert list(hooks.LABELS) == config("sentiment")["doc_to_choice"]
    assert {row["label"] for row in shipped("sentiment")} == set(hooks.LABELS)


def copied_suite(folder: Path) -> Path:
    """Copy the suite with rows of this test, their paths made absolute, as `alphaf eval` does."""
    folder.mkdir(parents=True)
    shutil.copy(SUITE / "finance_ko.py", folder)
    for name, rows in ROWS.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        text = (SUITE / f"{name}.yaml").read_text(encoding="utf-8")
        assert f"test: {name}.jsonl" in text
        (folder / f"{name}.yaml").write_text(text.replace(f"{name}.jsonl", f"'{data}'", 1), encoding="utf-8")
    return folder


def lm_eval(
    folder: Path, program: list[str], model: list[str]
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Run every task of the suite; return the results and the samples by task."""
    argv = [sys.executable, *program, "run", *model, "--include_path", str(copied_suite(folder / "과제 모음"))]
    argv += ["--tasks", "finance-ko", "--apply_chat_template", "--log_samples", "--output_path", str(folder / "결과")]
    env = os.environ | QUIET_OFFLINE | {"PYTHONPATH": str(CHILD), "HF_HOME": str(folder / "hf")}
    done = subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (results,) = (folder / "결과").rglob("results_*.json")
    samples = {}
    for name in TASKS:
        (path,) = (folder / "결과").rglob(f"samples_finance_ko_{name}_*.jsonl")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        samples[name] = sorted(lines, key=lambda line: line["doc"]["id"])
    return json.loads(results.read_text(encoding="utf-8")), samples


@pytest.mark.real
def test_lm_eval_gives_the_figures_computed_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    (tmp_path / "scripted.py").write_text(SCRIPTED, encoding="utf-8")
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT, ensure_ascii=False), encoding="utf-8")
    seen = tmp_path / "seen.jsonl"
    model = ["--model", "scripted", "--model_args", f"script={tmp_path / 'script.json'},seen={seen}"]

    found, samples = lm_eval(tmp_path, [str(tmp_path / "scripted.py")], model)

    for name, expected in EXPECTED.items():
        scores = found["results"][f"finance_ko_{name}"]
        assert {metric: scores[f"{metric},none"] for metric in expected} == pytest.approx(expected), name
        higher = {metric["metric"]: metric["higher_is_better"] for metric in config(name)["metric_list"]}
        assert found["higher_is_better"][f"finance_ko_{name}"] == higher
        assert found["n-samples"][f"finance_ko_{name}"]["effective"] == 4
    # The sample standard error of 1, 0, 1, 1.
    assert found["results"]["finance_ko_mcq"]["acc_stderr,none"] == pytest.approx(math.sqrt(0.75 / 3 / 4))
    assert found["results"]["finance_ko_sentiment"]["macro_f1_stderr,none"] == "N/A"

    assert [sample["acc"] for sample in samples["mcq"]] == [1, 0, 1, 1]
    assert [sample["acc"] for sample in samples["sentiment"]] == [1, 0, 1, 0]
    assert [sample["macro_f1"] for sample in samples["sentiment"]] == [[0, 0], [1, 0], [2, 2], [0, 2]]
    assert [sample["exact_numeric"] for sample in samples["numeric"]] == [1, 0, 1, 0]
    assert [sample["citation_precision"] for sample in samples["rag"]] == [1, 0.5, 0, 0]
    assert [sample["target"] for sample in samples["rag"]] == ["한도는 2억원입니다 [2]."] * 4

    prompts = [json.loads(line) for line in seen.read_text(encoding="utf-8").splitlines()]
    assert len(prompts) == 4 * 4 + 4 * 3 + 4 + 4
    for name, prompt in PROMPTS.items():
        assert prompt in prompts, name


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
def test_a_real_model_ends_its_answers_by_its_own_token(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    base = tiny.save_base(tmp_path / "모형")
    model = ["--model", "hf", "--model_args", f"pretrained={base}", "--device", "cpu", "--batch_size", "4"]
    found, samples = lm_eval(tmp_path, ["-m", "lm_eval"], [*model, "--gen_kwargs", "max_gen_toks=8"])
    assert set(found["results"]) == {f"finance_ko_{name}" for name in TASKS}
    prompt, settings = samples["rag"][0]["arguments"]["gen_args_0"].values()
    assert prompt.endswith(f"한도는?{tiny.IM_END}\n{tiny.IM_START}assistant\n")
    assert settings["until"] == []
    prompt, choice = samples["mcq"][0]["arguments"]["gen_args_0"].values()
    assert (prompt.endswith(f"{tiny.IM_START}assistant\n정답:"), choice) == (True, " A")
