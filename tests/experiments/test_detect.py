"""`alphaf ablate --detect`: what is needed to see a difference, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from alphaf_orch.cli.main import main
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.experiments.ablation.detect import ALIKE, outlook
from alphaf_orch.experiments.ablation.factors import AblationAsked, plan_ablation
from alphaf_orch.experiments.experiment import Experiment

TASK = "finance_ko_mcq"


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALPHAF_RUNS", str(tmp_path / "실행들"))
    return tmp_path / "실행들"


def asked(*words: str, tasks: tuple[str, ...] = (TASK,), seeds: int | None = None) -> Experiment:
    return plan_ablation(AblationAsked(what=words or ("neftune",), model="tiny", tasks=tasks, seeds=seeds))


def store(place: Path, stage: str, right: np.ndarray) -> None:
    """Write the scores of one model on the task, as an evaluation stores them."""
    paths = RunPaths(place)
    paths.eval_result(stage, TASK).parent.mkdir(parents=True)
    result = {
        "format": 1, "task": TASK, "suite": "finance-ko", "stage": stage, "key": "k",
        "model": {"identity": "local:sha256:0"},
        "settings": {}, "prompt": {}, "n": len(right), "seconds": 1.0, "started": "", "versions": {}, "warnings": [],
        "metrics": {"acc": {"value": float(right.mean()), "stderr": None, "n": len(right), "higher_is_better": True}},
    }  # fmt: skip
    paths.eval_result(stage, TASK).write_text(json.dumps(result), encoding="utf-8")
    lines = [
        {"id": f"q{n}", "prompt": "?", "gold": "1", "answer": "1", "scores": {"acc": float(value)}, "details": {}}
        for n, value in enumerate(right)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    paths.eval_samples(stage, TASK).write_text(text, encoding="utf-8")


def arms(runs: Path, name: str, answers: dict[tuple[str, int], np.ndarray]) -> None:
    """Write a finished experiment with the answers of each variant under each seed."""
    rows = []
    for (variant, seed), right in answers.items():
        arm = f"{variant}.s{seed}"
        place = runs / name / arm
        place.mkdir(parents=True)
        (place / "manifest.json").write_text(json.dumps({"format": 1, "model": "tiny", "stages": {}}), encoding="utf-8")
        store(place, "sft", right)
        row = {"name": arm, "variant": variant, "seed": seed, "model": "tiny", "state": "done", "values": {}}
        rows.append({**row, "exit_code": 0, "error": ""})
    record = {"format": 1, "name": name, "kind": "ablation", "created": "2026-11-01", "request": {}, "asked": []}
    (runs / name / "experiment.json").write_text(json.dumps({**record, "arms": rows}), encoding="utf-8")


def test_without_scores_what_is_assumed_is_said() -> None:
    found = outlook(asked())
    assert found.basis.seed_variance is None
    assert found.basis.row_variance == pytest.approx(2 * (1 - ALIKE) * 0.25 / found.basis.units)
    assert "no scores are stored" in found.rows_from and "taken to be as large" in found.seeds_from
    assert found.tests == 1, "the overall score of one task is that task's test"
    assert outlook(asked(tasks=(TASK, "finance_ko_sentiment"))).tests == 3


def test_stored_arms_give_the_noise_of_rows_and_seeds(runs: Path) -> None:
    rng = np.random.default_rng(1)
    rows = outlook(asked()).basis.rows
    answers = {(variant, seed): rng.integers(0, 2, rows) for variant in ("off", "on") for seed in (42, 43, 44)}
    arms(runs, "앞선-실험", answers)
    found = outlook(asked())
    first, second = answers["off", 42], answers["off", 43]
    assert found.basis.row_variance == pytest.approx(float((second - first).var(ddof=1)) / rows, rel=0.05)
    means = [[answers[variant, seed].mean() for seed in (42, 43, 44)] for variant in ("off", "on")]
    assert found.basis.seed_variance == pytest.approx(2 * float(np.mean([np.var(each, ddof=1) for each in means])))
    assert "앞선-실험/off.s42" in found.rows_from and "6 arms of 앞선-실험" in found.seeds_from


def test_scores_of_another_model_are_no_source(runs: Path) -> None:
    rows = outlook(asked()).basis.rows
    arms(runs, "other", {("off", 42): np.zeros(rows), ("off", 43): np.ones(rows)})
    record = runs / "other" / "experiment.json"
    record.write_text(record.read_text(encoding="utf-8").replace('"tiny"', '"eeve"'), encoding="utf-8")
    for manifest in runs.glob("other/*/manifest.json"):
        manifest.write_text(manifest.read_text(encoding="utf-8").replace('"tiny"', '"eeve"'), encoding="utf-8")
    assert "no scores are stored" in outlook(asked()).rows_from


def test_the_command_says_it_and_starts_nothing(runs: Path) -> None:
    done = CliRunner().invoke(main, ["ablate", "neftune", "--model", "tiny", "--task", TASK, "--detect", "2"])
    assert done.exit_code == 0, done.output
    assert "to see a difference of 2 points" in done.output and "with 80% power" in done.output
    assert "3 (asked for)" in done.output and "needed: " in done.output and "nothing was trained" in done.output
    assert not runs.exists()


def test_a_task_that_is_not_there_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    done = CliRunner().invoke(main, ["ablate", "neftune", "--model", "tiny", "--task", "no_such", "--detect", "2"])
    assert done.exit_code == 2 and "there is no task no_such" in done.output + capfd.readouterr().err
