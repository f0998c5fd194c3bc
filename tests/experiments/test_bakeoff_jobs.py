"""What a bake-off asks beside its arms is jobs too: libraries and tokenizers once, each arm's answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import bakeoff_runs
import pytest
from fake_scheduler import stand_in
from rich.console import Console

from alphaf_orch.clusters.submitted import Submitted
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import template_folders
from alphaf_orch.core.record import write_atomic
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.experiments.bakeoff.answers import make_sheet, sheet_prompts
from alphaf_orch.experiments.bakeoff.jobs import answers_job, facts_job
from alphaf_orch.experiments.bakeoff.plan import find_candidates, stored_bakeoff
from alphaf_orch.experiments.experiment import ExperimentPaths, experiment_paths, read_record, write_record
from alphaf_orch.experiments.outcomes import read_outcomes
from alphaf_orch.experiments.stored import read_experiment
from alphaf_orch.runs.jobs import Told
from alphaf_orch.runs.standing import Standing
from alphaf_orch.settings.config import dump_config

CPU = Machine((), 2)


def test_a_bake_off_of_three_models_shares_nothing_and_asks_beside_its_arms(alphaf, tmp_path, monkeypatch):
    scheduler = stand_in(monkeypatch)
    (tmp_path / "site.yaml").write_text("scheduler: slurm\n", encoding="utf-8")
    done = alphaf("bakeoff", "--models", ",".join(bakeoff_runs.MODELS), "--name", "비교", "--limit", "4", "--dry-run",
                  "--full", "--on", f"slurm:{tmp_path / 'site.yaml'}")  # fmt: skip
    assert done.exit_code == 0, done.output
    jobs = [line.removeprefix("# ").split(" Needs")[0] for line in done.output.splitlines() if " Needs(" in line]
    own = ("data", "preprocess", "sft", "merge_sft", "eval-finance-ko-general-ko", "answers")
    assert set(jobs) == {
        *(f"비교/{model}:{name}" for model in bakeoff_runs.MODELS for name in own), "비교:facts", "비교:report",
    }  # fmt: skip
    assert len(jobs) == 20
    assert jobs[-1] == "비교:report"
    assert "part 비교 answers" not in done.output, "what a job does stands in its record"
    assert (scheduler.asked, (tmp_path / "실행").exists()) == ([], False)


def test_answers_are_asked_for_where_they_lack(tmp_path):
    found = bakeoff_runs.found()
    arm = found.bakeoff.experiment.arms[0]
    plan = type("Plan", (), {"gpus": {"sft": 8}})
    (job,) = answers_job(found.bakeoff, found.paths, arm, plan, to_come=False)
    assert (job.run, job.needs.gpus, job.argv) == (f"비교/{arm.name}", 1, ("part", "비교", "answers", arm.name))
    prompts = sheet_prompts(template_folders())
    write_atomic(found.paths.arm(arm.name).answers("sft", prompts.name), "")
    assert answers_job(found.bakeoff, found.paths, arm, plan, to_come=False) == ()
    assert answers_job(found.bakeoff, found.paths, arm, plan, to_come=True) == (job,)
    assert answers_job(replace(found.bakeoff, prompts=0), found.paths, arm, plan, to_come=True) == ()
    assert len(facts_job(found.bakeoff, found.paths)) == 1


def test_the_report_of_a_job_asks_no_model_and_says_which_answers_lack(tmp_path, monkeypatch):
    found = bakeoff_runs.found()
    prompts = sheet_prompts(template_folders())
    monkeypatch.setattr("alphaf_orch.experiments.bakeoff.answers.chain_models", lambda _, stages: stages)
    monkeypatch.setattr("alphaf_orch.experiments.bakeoff.answers.finished", lambda *_: ("base", "sft"))
    kept = {"tiny-eeve": {"p1": "답"}}
    monkeypatch.setattr(
        "alphaf_orch.experiments.bakeoff.answers.kept_answers", lambda run, *_, **__: kept.get(run.name)
    )
    candidates = find_candidates(found.bakeoff.experiment, found.paths)
    sheet = make_sheet(candidates, found.paths, prompts, 1, CPU, Console(), verbose=False, make=False)
    assert {key for key in sheet.answers if key[1] == "sft"} == {("tiny-eeve", "sft")}
    assert sheet.failed["tiny-qwen", "sft"] == "its answers were not made"
    assert ("tiny-qwen", "base") in sheet.failed, "a small one answers on a CPU too"


def test_an_experiment_is_read_back_as_it_was_asked_for(tmp_path):
    bakeoff = bakeoff_runs.planned(limit=4)
    paths = experiment_paths("비교")
    for arm in bakeoff.experiment.arms:
        write_atomic(paths.settings(arm.name), dump_config(arm.config))
    write_record(paths, bakeoff.experiment, (), "2026-01-01T00:00:00+00:00")
    assert read_experiment(paths) == bakeoff.experiment
    assert stored_bakeoff(read_experiment(paths)) == bakeoff
    assert read_experiment(paths).evaluations[0].argv() == bakeoff.experiment.evaluations[0].argv()
    assert isinstance(read_experiment(paths).evaluations[0], EvalOptions)


def test_what_is_no_experiment_cannot_be_read_back(tmp_path: Path):
    with pytest.raises(RunStateError, match="there is no experiment 없음"):
        read_experiment(ExperimentPaths(tmp_path / "없음"))


def test_an_arm_whose_answers_lack_has_ended_well_all_the_same(tmp_path):
    """As where it runs here: its scores count, and what it did not answer is told beside."""
    bakeoff = bakeoff_runs.planned()
    paths = experiment_paths("비교")
    write_record(paths, bakeoff.experiment, (), "2026-01-01T00:00:00+00:00")
    jobs = {f"비교/{model}": {"eval-x": "1", "answers": "2"} for model in bakeoff_runs.MODELS}
    write_atomic(paths.record, json.dumps({**read_record(paths), "submitted": {"jobs": jobs, "shared": {}}}))
    standings = {}
    for model in bakeoff_runs.MODELS:
        run = paths.arm(model)
        write_atomic(run.manifest, json.dumps({"format": 1, "stages": {"merge_sft": {"state": "done"}}}))
        asked = [Submitted(f"비교/{model}", name, "slurm", number, role=role, argv=("x",))
                 for name, number, role in (("eval-x", "1", "eval"), ("answers", "2", "judge"))]  # fmt: skip
        standings[run] = (Standing(asked[0], "1", "done"), Standing(asked[1], "2", "failed", "exit code 7"))
    outcomes = read_outcomes(bakeoff.experiment, paths, Told({}, standings))
    assert [outcome.state for outcome in outcomes] == ["done"] * 3
