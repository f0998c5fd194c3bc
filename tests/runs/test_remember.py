"""What a finished stage took is kept for later estimates, and whoever cannot write it down goes on."""

import json
import os

import pytest
from measurements import REPORT

from alphaf_orch.core.hardware import Machine
from alphaf_orch.estimates.measured import measured_file, read_measured
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.runs.remember import remember, training_figures
from alphaf_orch.settings.options import Options, settings


@pytest.fixture
def run(alphaf, fake):
    return lambda *args: alphaf(args[0], "--config", str(fake.config), *args[1:])


def lines(*steps, begun=0):
    """Lines of the metrics callback: (seconds since the start, what else)."""
    return [{"time": 1000.0 + at, "peak_memory_mib": 800.0 + at, **values} for at, values in steps]


def test_every_finished_stage_is_kept_once(run):
    assert run("run", "--model", "tiny").exit_code == 0
    stages = ["data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo"]
    assert [one.stage for one in read_measured()] == stages
    assert {one.run for one in read_measured()} == {"tiny"}
    assert run("run", "--model", "tiny").exit_code == 0
    assert len(read_measured()) == len(stages), "what is done already was not measured again"


def test_of_what_reads_rows_their_counts_are_kept_too():
    config, paths = settings(Options(model="tiny", gpus=0))
    plan = make_plan(config, Machine((), 2), paths.root, Scope(dry=True, merge=True))
    paths.report("data").parent.mkdir(parents=True)
    paths.report("data").write_text(json.dumps({**REPORT, "file": "rows.jsonl"}), encoding="utf-8")
    times = {"started": "2026-11-26T12:00:00+00:00", "ended": "2026-11-26T12:02:00+00:00"}
    for stage in plan.stages:
        if stage.section != "dpo" and stage.kind != "prepare":
            remember(plan, stage, {**times, "seconds": 9.0, "peak_memory_mib": 9, "versions": {}}, pytest.fail)
    kept = {one.stage: one.data.get("report") for one in read_measured()}
    assert kept == {"data": REPORT, "preprocess": REPORT, "sft": REPORT, "merge_sft": None}


def test_what_is_kept_holds_no_path_and_no_text(run, tmp_path):
    rows = tmp_path / "고객 상담.jsonl"
    said = {"messages": [{"role": "user", "content": "비밀 계좌"}, {"role": "assistant", "content": "예 그렇습니다"}]}
    rows.write_text("".join(json.dumps(said, ensure_ascii=False) + "\n" for _ in range(9)), encoding="utf-8")
    assert run("sft", "--model", "tiny", "--data", str(rows)).exit_code == 0
    kept = measured_file().read_text(encoding="utf-8")
    assert read_measured()
    for text in ("/", "고객", "비밀", "그렇", "messages", json.dumps("고객")[1:-1], json.dumps("비밀")[1:-1]):
        assert text not in kept, text


def test_a_cache_that_cannot_be_written_is_said_and_stops_nothing(run):
    measured_file().mkdir(parents=True)
    done = run("sft", "--model", "tiny")
    assert done.exit_code == 0, done.output
    assert f"note: {measured_file()} cannot be written (Is a directory)" in done.output
    assert "sft: done" in done.output


def test_a_stage_that_failed_is_not_kept(run, tmp_path):
    (tmp_path / "control.json").write_text(json.dumps({"sft": "fail"}))
    assert run("sft", "--model", "tiny").exit_code != 0
    assert [one.stage for one in read_measured()] == ["data", "preprocess"]


def test_the_cache_s_place_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("ALPHAF_CACHE", str(tmp_path / "another"))
    assert str(measured_file()).startswith(os.environ["ALPHAF_CACHE"])


def test_figures_of_a_training():
    """Evaluations and the first step, which compiles, are no part of a step's time."""
    evaluated = {"step": 0, "eval_loss": 1.0, "eval_runtime": 4.0, "eval_samples_per_second": 0.5}
    losses = [(20.0 + 2 * n, {"step": n, "loss": 1.0, "tokens_per_s": 100.0}) for n in range(1, 11)]
    later = (50.0, {**evaluated, "step": 10})
    got = training_figures(lines((10.0, evaluated), *losses, later), 60.0)
    assert got == {
        "peak_mib": 850.0,
        "tokens_per_s": 100.0,
        "steps": 10,
        "step_s": 2.0,
        "step_s_spread": [2.0, 2.0],
        "start_s": 60.0 - 9 * 2.0 - 8.0,
        "eval_s_per_row": 2.0,
    }


def test_wide_logging_gives_the_mean_of_the_steps_between():
    losses = [(float(at), {"step": step, "loss": 1.0}) for at, step in ((0, 1), (30, 11), (60, 21))]
    assert training_figures(lines(*losses), 100.0)["step_s"] == 3.0


def test_a_training_of_two_steps_tells_its_peak_alone():
    losses = [(float(n), {"step": n, "loss": 1.0}) for n in (1, 2)]
    assert training_figures(lines(*losses), 9.0) == {"peak_mib": 802.0}
    assert training_figures([], 9.0) == {}
