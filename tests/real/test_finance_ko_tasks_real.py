"""The suite finance_ko as lm-eval itself scores it."""

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
from scripted_finance import EXPECTED, SCRIPTED, SUITE, TASKS, config

from alphaf_orch.core.command import QUIET_OFFLINE
from alphaf_orch.core.paths import CHILD

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
