"""Ablations with the real tools on the tiny model: one line differs and is proven to; a planted effect is found."""

from __future__ import annotations

import json

import pytest
from own_process import alphaf

from alphaf_orch.report.names import ONE_SEED

TASK = """\
task: planted
tag: planted
dataset_path: json
dataset_kwargs: {data_files: {test: planted.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: [], max_gen_toks: 6, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder with a Korean name and a space for all experiments of this module."""
    return tmp_path_factory.mktemp("비교 실험")


def test_neftune_on_the_tiny_model(place, warm_python):
    command = ("ablate", "neftune", "--model", "tiny", "--seeds", "1", "--task", "finance_ko_mcq", "--limit", "8")
    command += ("--set", "max_steps=4", "--set", "save_steps=4", "--name", "잡음", "--parallel", "1")
    done = alphaf(place, *command, python=warm_python)
    assert done.returncode == 0, done.stdout + done.stderr
    root = place / "실행" / "잡음"
    markdown = (root / "report.en.md").read_text(encoding="utf-8")
    assert "Under each of 1 seeds the files of the training differ in exactly one line." in markdown
    assert "--- sft.yaml\n-neftune_noise_alpha: null" in markdown
    checks = [line.split("|")[1:4] for line in markdown.splitlines() if "<br>seed 42" in line]
    assert [cells[0].split("<br>")[0].strip() for cells in checks] == [
        "Seed", "First weights", "Data order", "Packing and lengths", "Data (SHA-256)", "Base model",
        "Versions of the tools", "Evaluation",
    ]  # fmt: skip
    assert {cells[1].strip() for cells in checks} == {"same"}, markdown
    assert "trained parameters start from the same weights: hash" in markdown
    assert "the same hash of token ids in 4 of 4 steps" in markdown
    assert "verdict: neftune_noise_alpha=off → neftune_noise_alpha=45: no difference shown (" in done.stdout
    losses = [
        [json.loads(line)["loss"] for line in file.read_text(encoding="utf-8").splitlines() if '"loss"' in line]
        for file in sorted(root.glob("*/metrics/sft.jsonl"))
    ]
    assert len(losses) == 2
    assert losses[0] != losses[1], "the noise was on in one arm only"
    again = alphaf(place, *command, python=warm_python)
    assert again.returncode == 0
    assert "started" not in again.stderr
    assert "(0 " not in again.stdout


def test_a_planted_effect_is_found(place, warm_python):
    """One arm learns to answer as the data do, the other's learning rate is too small to learn anything."""
    folder = place / "틀" / "eval" / "심은 효과"
    folder.mkdir(parents=True)
    (folder / "planted.yaml").write_text(TASK, encoding="utf-8")
    rows = [{"id": f"p{i}", "question": f"{i}번 예금의 만기는 언제입니까?", "answer": "네"} for i in range(24)]
    (folder / "planted.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    asked = [
        [{"role": "user", "content": f"{i}번 대출의 금리를 알려 주세요."}, {"role": "assistant", "content": "네"}]
        for i in range(200)
    ]
    data = place / "학습.jsonl"
    data.write_text("".join(json.dumps({"messages": m}, ensure_ascii=False) + "\n" for m in asked), "utf-8")
    config = place / "설정.yaml"
    config.write_text(f"templates: {json.dumps(str(place / '틀'), ensure_ascii=False)}\n", encoding="utf-8")
    done = alphaf(
        place, "ablate", "learning_rate=1e-9,5e-3", "--model", "tiny", "--config", str(config), "--data", str(data),
        "--suite", "planted", "--name", "심음", "--parallel", "1", "--set", "adapter=full", "--set", "max_steps=60",
        "--set", "save_steps=60", "--set", "val_set_size=0", python=warm_python,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # Of one seed no more can be said, however large the difference.
    assert f"verdict: learning_rate=1e-9 → learning_rate=5e-3: {ONE_SEED.en}. Overall 0.0% → 100.0%" in done.stdout
