"""What alphaf runs and show say of jobs: one call of the scheduler for all, none where nothing is open."""

from __future__ import annotations

import json
import time

import earlier_run
import pytest
from fake_scheduler import stand_in
from job_files import CHAIN, Submission, moment

from alphaf_orch.clusters.scheduler import JobState
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.record import read_manifest
from alphaf_orch.runs.jobs import ask
from alphaf_orch.runs.look import run_json


def words(table):
    return " ".join(table.replace("│", " ").split())


@pytest.fixture
def slurm(monkeypatch):
    return stand_in(monkeypatch)


@pytest.fixture
def shown(alphaf):
    """Return what `show --json` says of a run."""

    def shown(run="far"):
        done = alphaf("show", run, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return shown


def test_a_run_whose_jobs_all_wait_is_shown_with_why_they_do(slurm, alphaf, shown):
    Submission()
    slurm.told = {"101": JobState("queued", "Priority")} | {
        str(n): JobState("queued", "Dependency") for n in (102, 103, 104)
    }
    stages = shown()["stages"]
    assert [(stages[name]["state"], stages[name]["reason"]) for name in CHAIN] == [
        ("queued", "Priority"), ("queued", "Dependency"), ("queued", "Dependency"), ("queued", "Dependency"),
    ]  # fmt: skip
    text = alphaf("show", "far").stdout
    assert "101: Priority" in text and "data: queued: Priority: others are before it" in text
    text = alphaf("runs").stdout
    assert "data queued (Priority), preprocess and 2 more queued (Dependency)" in words(text), (
        "also where no manifest is yet"
    )


def test_where_a_stage_runs_since_when_and_how_often_it_was_sent_back(slurm, alphaf, shown):
    far = Submission()
    far.event("data", "started", 5)
    far.event("data", "ended", 25, exit_code=0)
    far.event("sft", "started", 5)
    far.event("sft", "requeued", 30, why="time limit")
    far.event("sft", "started", 50, restart=1, nodes="gpu-[3-4]")
    far.stages(data="done", sft="running")
    slurm.told = {"103": JobState("running", nodes="gpu-[3-4]"), "104": JobState("queued", "Dependency")}
    job = shown()["stages"]["sft"]["job"]
    expected = {"id": "103", "state": "running", "nodes": "gpu-[3-4]", "since": moment(50), "requeues": 1}
    assert job.items() >= expected.items()
    assert "103 on gpu-[3-4] since " in alphaf("show", "far").stdout
    assert "requeued 1x" in alphaf("show", "far").stdout


def test_what_the_scheduler_knows_of_a_killed_job_is_its_error(slurm, alphaf, shown):
    far = Submission()
    far.event("sft", "started", 5)
    far.stages(sft="running")
    slurm.told = {"103": JobState("failed", "OUT_OF_MEMORY"), "104": JobState("cancelled", "DependencyNeverSatisfied")}
    stages = shown()["stages"]
    assert (stages["sft"]["state"], stages["sft"]["error"][:13]) == ("failed", "OUT_OF_MEMORY")
    assert (stages["merge_sft"]["state"], stages["merge_sft"]["reason"]) == ("failed", "DependencyNeverSatisfied")
    assert "`memory` in the profile" in alphaf("show", "far").stdout


def test_what_a_failed_job_was_needed_for_is_told_when_the_scheduler_has_forgotten_all(slurm, shown):
    far = Submission()
    far.event("data", "started", 5)
    far.event("data", "ended", 25, exit_code=3, why="row 5 is no JSON")
    far.stages(data="failed")
    stages = shown()["stages"]
    assert {stages[name]["reason"] for name in CHAIN[1:]} == {"DependencyNeverSatisfied"}
    assert "data (job 101), which is failed" in stages["preprocess"]["error"]
    assert slurm.asked == [], "nothing is open: what failed said so, and the rest never begins"


def test_a_scheduler_that_is_silent_is_named_and_the_files_stand(slurm, alphaf, shown):
    far = Submission()
    far.event("data", "started", 5)
    far.stages(data="running")
    slurm.silent = True
    found = shown()
    assert found["stages"]["data"]["state"] == "running" and "slurm does not answer" in found["jobs_note"]
    assert "jobs: as the files have it" in alphaf("show", "far").stdout
    assert "slurm does not answer" in alphaf("runs").stderr


def test_a_job_that_makes_no_stage_has_a_row_and_says_where_its_output_is(slurm, alphaf, shown):
    far = Submission()
    far.ids["eval-finance-ko"] = "105"
    far.record("eval-finance-ko", after=("104",))
    slurm.told = {str(n): JobState("done") for n in range(101, 105)} | {"105": JobState("failed", "TIMEOUT")}
    assert [job["state"] for job in shown()["jobs"] if job["name"] == "eval-finance-ko"] == ["failed"]
    text = alphaf("show", "far").stdout
    assert "eval-finance-ko: TIMEOUT: it took longer" in text and "eval-finance-ko.out" in text.replace("\n", "")


def test_one_call_for_all_runs_and_arms_and_none_where_nothing_is_open(slurm, alphaf):
    for n in range(5):
        Submission(f"far{n}", ("data",), 200 + n)
    root = runs_dir() / "grid"
    (root / "r8").mkdir(parents=True)
    arm = {"name": "r8", "variant": "", "values": {}, "seed": None, "model": "m", "exit_code": 0, "error": ""}
    record = {"format": 1, "name": "grid", "kind": "ablation", "created": moment(0), "request": {}, "asked": ["r8"]}
    (root / "experiment.json").write_text(json.dumps(record | {"arms": [arm | {"state": "not started"}]}))
    Submission("grid/r8", ("data", "sft"), 300)
    slurm.told = {"300": JobState("running", nodes="n1"), "301": JobState("queued", "Dependency")}
    text = alphaf("runs").stdout
    assert "grid: 0 of 1 arms done, jobs: 1 running, 1 queued" in text
    assert len(slurm.asked) == 1 and len(slurm.asked[0]) == 7
    text = words(alphaf("show", "grid").stdout)
    assert "experiment grid (ablation)" in text and "under way data running on n1, sft queued (Dependency)" in text
    [arm] = json.loads(alphaf("show", "grid", "--json").stdout)["arms"]
    assert arm["run"]["stages"]["data"]["job"]["id"] == "300" and len(slurm.asked) == 3
    for n in range(5):
        Submission(f"far{n}", ("data",), 200 + n).event("data", "ended", 25, exit_code=0)
    for name, number in (("data", 300), ("sft", 301)):
        Submission("grid/r8", (name,), number).event(name, "ended", 25, exit_code=0)
    alphaf("runs")
    assert len(slurm.asked) == 3, "all have said how they ended"


def test_two_hundred_runs_with_their_chains_are_read_in_a_moment(slurm):
    places = [Submission(f"far{n}", CHAIN, 1000 + 10 * n).paths for n in range(200)]
    begun = time.process_time()
    told = ask(places)
    took = time.process_time() - begun
    assert len(told.standings) == 200 and len(slurm.asked) == 1
    assert took < 2.0, "0.2 s on an idle machine"


def test_a_damaged_record_is_told_and_hides_no_other_run(slurm, alphaf):
    Submission("far")
    Submission("near", ("data",), 7).paths.job("data").write_text('{"format": 1, "run"')
    found = {row["run"]: row for row in json.loads(alphaf("runs", "--json").stdout)["runs"]}
    assert "damaged" in found["near"] and found["far"]["stages"]["data"]["state"] == "unknown"
    assert alphaf("show", "near").exit_code == 6
    assert slurm.asked


def test_a_run_that_no_scheduler_has_seen_has_what_it_had_and_asks_none(slurm, alphaf, tmp_path, monkeypatch):
    root = earlier_run.bring(tmp_path / "old", monkeypatch)
    found = json.loads(alphaf("show", root.name, "--json").stdout)
    manifest = read_manifest(RunPaths(root).manifest)["stages"]
    assert {name: stage["state"] for name, stage in found["stages"].items() if stage["state"] != "damaged"}
    for name, stage in found["stages"].items():
        assert (stage["started"], stage["seconds"]) == (manifest[name]["started"], manifest[name]["seconds"])
        assert (stage["job"], stage["reason"]) == (None, None)
    assert (found["jobs"], found["jobs_note"], slurm.asked) == ([], None, [])
    assert "job" not in alphaf("show", root.name).stdout.split("\n")[1]


def test_who_asks_nobody_shows_no_jobs(slurm):
    far = Submission()
    far.stages(data="done")
    assert list(run_json(far.paths)["stages"]) == ["data"] and slurm.asked == []


def test_a_job_that_was_stopped_is_asked_about_for_it_may_be_queued_again(slurm, shown):
    far = Submission(stages=("sft", "merge_sft"))
    far.event("sft", "started", 5)
    far.event("sft", "ended", 25, exit_code=130, why="sft was interrupted")
    far.stages(sft="interrupted")
    slurm.told = {"101": JobState("requeued", "BeginTime", restarts=1), "102": JobState("queued", "Dependency")}
    assert [stage["state"] for stage in shown()["stages"].values()] == ["requeued", "queued"]
    slurm.silent = True
    assert [stage["state"] for stage in shown()["stages"].values()] == ["interrupted", "queued"]


def test_a_stage_that_an_arm_waits_for_fails_in_the_other_arm(slurm):
    first, second = Submission("a", ("sft",), 1), Submission("b", (), 2)
    second.ids["eval"] = "2"
    second.record("eval", after=("1",))
    first.event("sft", "ended", 5, exit_code=7)
    told = ask([second.paths, first.paths])
    [waits] = told.standings[second.paths]
    assert (waits.state, waits.reason) == ("failed", "DependencyNeverSatisfied") and "sft (job 1)" in waits.why


def test_two_schedulers_may_give_the_same_number(slurm):
    here, cloud = Submission("a", ("sft", "merge_sft"), 1), Submission("b", ("sft",), 1)
    cloud.record("sft", stage="sft", scheduler="skypilot")
    cloud.event("sft", "ended", 5, exit_code=7)
    slurm.told = {"1": JobState("queued", "Priority"), "2": JobState("unknown")}
    assert [job.state for job in ask([here.paths, cloud.paths]).standings[here.paths]] == ["queued", "unknown"]


def test_who_cancelled_a_stage_is_its_error(slurm, shown):
    far = Submission(stages=("sft",))
    far.event("sft", "started", 5)
    slurm.told = {"101": JobState("cancelled", "by kim")}
    assert shown()["stages"]["sft"]["error"] == "cancelled by kim"
