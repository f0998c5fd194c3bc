"""`alphaf ablate --on slurm`: what arms share is one job; what is under way stays, what lacks is submitted."""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path

import pytest
from fake_scheduler import FakeScheduler, stand_in

from alphaf_orch.cli.wait import follow_jobs
from alphaf_orch.clusters.scheduler import JobState
from alphaf_orch.clusters.submitted import happened, note
from alphaf_orch.core.hardware import detect_machine
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.record import read_manifest
from alphaf_orch.experiments.experiment import experiment_paths, read_record
from alphaf_orch.experiments.outcomes import read_outcomes
from alphaf_orch.experiments.plan import plan_arms
from alphaf_orch.experiments.stored import read_experiment
from alphaf_orch.runs import preflight
from alphaf_orch.runs.jobs import Told
from alphaf_orch.runs.status import safe_statuses
from alphaf_orch.settings.options import submitted_paths

GRID = ("ablate", "dpo.beta=0.05,0.1", "--model", "tiny", "--name", "실험")


@pytest.fixture
def site(tmp_path, monkeypatch) -> FakeScheduler:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    # The stand-ins have no lm-eval: what is evaluated is not asked, and an evaluation ends as the test has it.
    monkeypatch.setattr("alphaf_orch.experiments.submit.require_tasks", lambda _: None)
    monkeypatch.setattr("alphaf_orch.experiments.lacking._unscored", lambda *_: False)
    # Nor is the disk waited for, nor each job's question to the stand-ins which versions they are.
    monkeypatch.setattr("alphaf_orch.core.record._flush", lambda _: None)
    monkeypatch.setattr("alphaf_orch.runs.preflight.tool_versions", cache(preflight.tool_versions))
    (tmp_path / "site.yaml").write_text("scheduler: slurm\n", encoding="utf-8")
    return stand_in(monkeypatch)


@pytest.fixture
def ablate(fake, site, alphaf, tmp_path):
    """Return a function that gives the command, in the site's profile, and returns what it said."""

    def call(*words: str, code: int = 0) -> str:
        done = alphaf(*words, "--config", str(fake.config), "--on", f"slurm:{tmp_path / 'site.yaml'}")
        assert done.exit_code == code, done.output
        return done.output

    return call


def work_off(site: FakeScheduler, alphaf, monkeypatch, unscored: str = "none") -> dict[str, int]:
    """Run what was handed over as Slurm would, in order; one arm's evaluation may fail. Return the codes by key."""
    codes = {}
    for number, handed in site.handed.items():
        if site.told[number].over:
            continue
        job = handed.job
        site.begin(number)
        monkeypatch.setenv("SLURM_JOB_ID", number)
        if job.needs.role == "eval":
            code = 9 if job.run.endswith(f"/{unscored}") else 0
            note(submitted_paths(job.run), job.name, happened("ended", exit_code=code))
        else:
            code = alphaf("job", job.run, job.name).exit_code
        monkeypatch.delenv("SLURM_JOB_ID")
        site.end(number, code)
        codes[job.key.removeprefix("실험/")] = code
    return codes


def keys(site: FakeScheduler) -> list[str]:
    return [handed.job.key.removeprefix("실험/") for handed in site.handed.values()]


def arms() -> list[str]:
    return [arm["name"] for arm in read_record(experiment_paths("실험"))["arms"]]


def states() -> list[str]:
    return [arm["state"] for arm in read_record(experiment_paths("실험"))["arms"]]


def test_shared_stages_are_one_job_and_the_report_is_the_last(ablate, site, alphaf, fake):
    said = ablate(*GRID)
    first, second = arms()
    assert set(keys(site)) == {
        *(f"{first}:{name}" for name in ("data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo")),
        f"{first}:eval-finance-ko", f"{second}:dpo", f"{second}:merge_dpo", f"{second}:eval-finance-ko", "실험:report",
    }  # fmt: skip
    assert keys(site)[-1] == "실험:report"
    ids = {handed.job.key.removeprefix("실험/"): number for number, handed in site.handed.items()}
    told = ", ".join(f"{name} {ids[f'{second}:{name}']}" for name in ("dpo", "merge_dpo", "eval-finance-ko"))
    assert f"[{second}] {told}; shares data, preprocess, sft, merge_sft, dpo_data of {first}" in said, said
    assert len(site.handed) == 12
    report = list(site.handed.values())[-1]
    assert (len(report.behind), report.after, report.job.needs.gpus) == (11, (), 0)
    found = read_record(experiment_paths("실험"))["submitted"]
    assert found["jobs"][f"실험/{second}"]["dpo"] == ids[f"{second}:dpo"]
    assert found["shared"][f"실험/{second}"]["sft"] == f"실험/{first}"
    assert "sft" not in fake.calls()


def test_the_jobs_make_each_stage_once_and_the_report_is_the_local_ones(ablate, site, alphaf, fake, monkeypatch):
    ablate(*GRID)
    codes = work_off(site, alphaf, monkeypatch)
    assert set(codes.values()) == {0}, codes
    calls = fake.calls()
    assert {name: calls.count(name) for name in calls} == {
        "base_model": 1, "data": 1, "preprocess": 1, "sft": 1, "merge_sft": 1, "dpo_data": 1, "dpo": 2, "merge_dpo": 2,
    }  # fmt: skip
    first, second = arms()
    manifest = read_manifest(experiment_paths("실험").arm(second).manifest)["stages"]
    assert {name: entry.get("shared_from") for name, entry in manifest.items()} == {
        **dict.fromkeys(("data", "preprocess", "sft", "merge_sft", "dpo_data"), first), "dpo": None, "merge_dpo": None,
    }  # fmt: skip
    assert states() == ["done", "done"]
    assert experiment_paths("실험").page.is_file()
    assert "nothing to submit, all of it is done" in ablate(*GRID)
    assert len(site.handed) == 12
    # And the same plan is a local command's: by the same fingerprints all is done.
    paths = experiment_paths("실험")
    plans, _ = plan_arms(read_experiment(paths), paths, detect_machine(), online=False, dry=False)
    for plan in plans.values():
        found = safe_statuses(plan, read_manifest(plan.paths.manifest))
        assert [status.stage.name for status in found if status.to_do] == [], plan.paths.name


def test_one_failed_arm_stops_no_other_and_the_report_says_so(ablate, site, alphaf, fake, monkeypatch):
    ablate("ablate", "lora_r=8,16,32", "--model", "tiny", "--name", "실험")
    _, second, third = arms()
    fake.behave(sft={"when": f"/{second}/", "then": "fail"})
    codes = work_off(site, alphaf, monkeypatch, unscored=third)
    assert codes[f"{second}:sft"] == 7
    assert f"{second}:merge_sft" not in codes
    assert {code for key, code in codes.items() if second not in key and not key.endswith(("report", "-ko"))} == {0}
    assert codes["실험:report"] == 7, "as the local command ends"
    assert states() == ["done", "failed", "failed"]
    error, unscored = (arm["error"] for arm in read_record(experiment_paths("실험"))["arms"][1:])
    assert unscored.startswith("eval-finance-ko (job "), unscored
    assert error.startswith("sft (job "), error
    assert "the GPU fell off the bus" in error
    page = experiment_paths("실험").page.read_text(encoding="utf-8")
    assert "the GPU fell off the bus" in page
    before = len(site.handed)  # meanwhile somebody has evaluated the third one by hand
    ablate("ablate", "lora_r=8,16,32", "--model", "tiny", "--name", "실험")
    outcomes = read_outcomes(read_experiment(experiment_paths("실험")), experiment_paths("실험"), Told())
    assert [outcome.state for outcome in outcomes] == ["done", "not started", "done"]
    assert keys(site)[before:] == [f"{second}:sft", f"{second}:merge_sft", f"{second}:eval-finance-ko", "실험:report"]


def test_who_waits_for_a_shared_stage_that_failed_never_starts_and_the_record_says_so(
    ablate, site, alphaf, fake, monkeypatch
):
    fake.behave(sft="fail")
    ablate(*GRID)
    codes = work_off(site, alphaf, monkeypatch)
    first, second = arms()
    assert [key for key in codes if key.startswith(second)] == []
    assert states() == ["failed", "failed"]
    told = [arm["error"] for arm in read_record(experiment_paths("실험"))["arms"]]
    assert "sft" in told[0]
    assert "DependencyNeverSatisfied" in told[1]
    assert "it needs" in told[1], told[1]
    fake.behave()
    before = len(site.handed)
    ablate(*GRID)
    assert keys(site)[before:][:3] == [f"{first}:sft", f"{first}:merge_sft", f"{first}:dpo_data"]


def test_what_is_queued_is_left_and_said(ablate, site):
    ablate(*GRID)
    said = ablate(*GRID)
    assert len(site.handed) == 12
    assert "sft (job 103, queued (Dependency))" in said
    assert said.count("under way already") == 3, said
    assert "no job(s) submitted" in said
    assert len(site.asked) == 1, "one call for all"


def test_a_larger_grid_waits_for_what_is_under_way_and_moves_the_report_behind_it(ablate, site):
    ablate(*GRID)
    ablate("ablate", "dpo.beta=0.05,0.1,0.2", *GRID[2:])
    third = arms()[2]
    assert keys(site)[12:] == [f"{third}:dpo", f"{third}:merge_dpo", f"{third}:eval-finance-ko", "실험:report"]
    added = list(site.handed.values())[12:]
    assert {"104", "105"} <= set(added[0].after), "the shared stages of the first arm, queued before"
    assert site.cancelled == [("112",)]
    assert len(added[-1].behind) == 14


def test_queued_jobs_behind_a_failed_one_are_taken_back_and_submitted_anew(ablate, site):
    ablate(*GRID)
    for number in ("101", "102"):
        site.begin(number)
        site.end(number)
    site.told["103"] = JobState("failed", "OUT_OF_MEMORY")  # and this site leaves those in the queue that needed it
    before = len(site.handed)
    ablate(*GRID)
    assert set(keys(site)[before:]) == set(keys(site)[2:before]) | {"실험:report"} | set(keys(site)[:2])
    assert set(site.cancelled[0]) == {str(number) for number in range(104, 113)}


def test_a_scheduler_that_is_not_there_or_refuses_leaves_nothing_behind(ablate, site, alphaf):
    site.gone = True
    assert "there is no sbatch" in ablate(*GRID, code=9)
    assert not experiment_paths("실험").root.exists()
    site.gone, site.refuses = False, 5
    said = ablate(*GRID, code=9)
    assert "Invalid account" in said
    assert site.cancelled == [("101", "102", "103", "104")]
    assert "submitted" not in read_record(experiment_paths("실험"))


def test_a_report_in_the_middle_says_who_is_under_way_and_calls_nobody_failed(ablate, site, alphaf, monkeypatch):
    ablate(*GRID)
    first, second = arms()
    for number in ("101", "102"):
        site.begin(number)
        site.end(number)
    site.begin("103")
    done = alphaf("report", "실험")
    assert done.exit_code == 0, done.output
    assert f"not over yet: {first}: sft (job 103) running" in done.output
    assert f"not over yet: {second}: dpo (job 107) queued: Dependency" in done.output
    assert states() == ["not started", "not started"]
    page = experiment_paths("실험").page.read_text(encoding="utf-8")
    assert "under way" in page
    shown = json.loads(alphaf("show", "실험", "--json").output)
    assert [arm["state"] for arm in shown["arms"]] == ["under way", "under way"]


def test_an_arm_that_failed_and_is_submitted_anew_is_failed_no_more(ablate, site, alphaf, monkeypatch):
    ablate(*GRID)
    for number in ("101", "102"):
        site.begin(number)
        site.end(number)
    site.begin("103")
    monkeypatch.setenv("SLURM_JOB_ID", "103")
    note(submitted_paths(f"실험/{arms()[0]}"), "sft", happened("ended", exit_code=7, why="the GPU fell off the bus"))
    monkeypatch.delenv("SLURM_JOB_ID")
    site.end("103", 7)
    assert "the GPU fell off the bus" in alphaf("report", "실험").output
    assert states() == ["failed", "failed"]
    ablate(*GRID)
    assert states() == ["not started", "not started"]
    again = max(number for number, handed in site.handed.items() if handed.job.name == "sft")
    site.begin(again)
    said = alphaf("report", "실험").output
    assert f"sft (job {again}) running\n" in said, said
    assert "fell off" not in said
    assert json.loads(alphaf("show", "실험", "--json").output)["arms"][0]["state"] == "under way"


def test_with_parallel_an_arm_waits_for_the_end_of_the_one_before(ablate, site):
    ablate("ablate", "lora_r=8,16,32", "--model", "tiny", "--name", "실험", "--parallel", "1")
    found = {handed.job.key.removeprefix("실험/"): handed for handed in site.handed.values()}
    first, second, _ = arms()
    assert set(found[f"{second}:sft"].behind) == {found[f"{first}:merge_sft"].id, found[f"{first}:eval-finance-ko"].id}


def test_a_dry_run_prints_every_file_and_writes_nothing(ablate, site):
    assert "#!/bin/sh" not in ablate(*GRID, "--dry-run")
    said = ablate(*GRID, "--dry-run", "--full")
    assert said.count("#!/bin/sh") == 12
    assert "accelerate_sft.yaml" in said
    assert said.rstrip().endswith("dry run: 12 jobs; nothing was submitted to slurm, and nothing was written")
    assert not experiment_paths("실험").root.exists()
    assert site.asked == []


def test_who_waits_reads_the_report_once_also_where_an_arm_failed(ablate, site, alphaf, fake, monkeypatch):
    def followed(*args, **named):
        fake.behave(dpo={"when": f"/{arms()[1]}/", "then": "fail"})
        codes = work_off(site, alphaf, monkeypatch)
        assert codes["실험:report"] == 7
        outputs = RunPaths(experiment_paths("실험").root).job_output("report")
        outputs.write_text("verdict: 표와 결론\n", encoding="utf-8")  # what the scheduler kept of the job
        return follow_jobs(*args, **named)

    monkeypatch.setattr("alphaf_orch.cli.arms.follow_jobs", followed)
    said = ablate(*GRID, "--wait", code=7)
    assert "표와 결론" not in said, said
    assert said.count("report.html\n") == 1, said


@pytest.mark.parametrize("words", [GRID, ("bakeoff", "--models", "tiny,smollm2", "--data", "sample")])
def test_waiting_is_for_what_is_submitted(alphaf, words):
    done = alphaf(*words, "--wait")
    assert done.exit_code == 2, done.output
    assert "add --on slurm" in done.output
    assert not runs_dir().exists()


def test_twelve_arms_under_two_seeds_cost_one_call_a_job_and_little_time(ablate, site):
    """The bar is five seconds; what others do on the machine meanwhile is not counted."""
    begun = time.process_time()
    ablate("ablate", f"lora_r={','.join(str(4 * n) for n in range(1, 13))}", "--seeds", "2", *GRID[2:])
    assert time.process_time() - begun < 5
    names = [handed.job.name for handed in site.handed.values()]
    assert {name: names.count(name) for name in names} == {
        "data": 1, "preprocess": 2, "sft": 24, "merge_sft": 24, "eval-finance-ko": 24, "report": 1,
    }  # fmt: skip
    assert site.asked == site.cancelled == []


def test_arms_of_several_machines_are_for_a_scheduler_alone(site, alphaf, tmp_path):
    (tmp_path / "h100.yaml").write_text("scheduler: slurm\ngpus_per_node: 8\ngpu: NVIDIA H100 80GB HBM3\n", "utf-8")
    words = ("ablate", "lora_r=8,16", "--model", "eeve", "--gpus", "8", "--nodes", "2", "--dry-run", "--full")
    there = alphaf(*words, "--on", f"slurm:{tmp_path / 'h100.yaml'}")
    assert there.exit_code == 0, there.output
    assert there.output.count("Needs(role='train', gpus=8, nodes=2)") == 2
    here = alphaf(*words, "--on", "local")
    assert here.exit_code == 2
    assert "or say --on slurm" in here.output
