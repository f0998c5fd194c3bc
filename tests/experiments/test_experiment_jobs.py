"""The jobs of an experiment: what arms have in common is made once, lanes keep to their number, the report is last."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alphaf_orch.clusters.jobs import Job, Needs, in_order
from alphaf_orch.core.record import write_atomic
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.experiments.ablation.factors import make_ablation, read_factors
from alphaf_orch.experiments.experiment import ExperimentPaths, Outcome, write_record
from alphaf_orch.experiments.jobs import ArmWork, Planned, last_of_all, plan_jobs
from alphaf_orch.experiments.outcomes import read_outcomes
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.jobs import Told
from alphaf_orch.settings.config import build_config

ROLES = {"data": "data", "tokenise": "tokenise", "train": "train", "merge": "merge"}
CHAIN = ("data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo")


def needs_of(stage: Stage, plan) -> Needs:
    return Needs(ROLES[stage.kind], 8 if stage.name == "sft" else 1 if stage.name == "dpo" else 0)


def stages(**of: str) -> tuple[Stage, ...]:
    """Return a chain whose stages are the same as another's where the same letter stands, and all behind it are."""
    found, upstream = [], ""
    for name in CHAIN:
        if name in of:
            upstream += of[name]
            found.append(Stage(name, "axolotl", (), {}, (), {"made of": upstream}))
    return tuple(found)


def ask(run: str, name: str = "eval", role: str = "eval") -> Job:
    return Job(run, name, Needs(role, 1), argv=("eval", "--run", run))


def work(arm: str, to_do: tuple[Stage, ...], **more) -> ArmWork:
    run = f"E/{arm}"
    return ArmWork(run, None, to_do, asks=more.pop("asks", (ask(run),)), **more)


def shown(planned: Planned) -> dict[str, str]:
    """Return what each job waits for: well behind `>`, however behind `|`."""
    return {
        job.key.removeprefix("E/"): " ".join(
            [
                *(f">{key.removeprefix('E/')}" for key in job.after),
                *(f"|{key.removeprefix('E/')}" for key in job.behind),
            ]
        )
        for job in in_order(planned.jobs)
    }


SFT = {"data": "d", "preprocess": "p", "sft": "s", "merge_sft": "m"}


def test_a_pair_shares_data_and_rows_and_trains_each_its_own():
    plain, noisy = stages(**SFT), stages(**{**SFT, "sft": "n"})
    assert shown(plan_jobs([work("off", plain), work("on", noisy)], needs_of)) == {
        "off:data": "", "off:preprocess": ">off:data", "off:sft": ">off:preprocess", "off:merge_sft": ">off:sft",
        "off:eval": ">off:merge_sft",
        "on:sft": ">off:data >off:preprocess", "on:merge_sft": ">on:sft", "on:eval": ">on:merge_sft",
    }  # fmt: skip


def test_arms_of_dpo_wait_for_the_one_sft():
    dpo = {**SFT, "dpo_data": "q", "dpo": "1", "merge_dpo": "m"}
    planned = plan_jobs([work("a", stages(**dpo)), work("b", stages(**{**dpo, "dpo": "2"}))], needs_of)
    found = shown(planned)
    assert found["b:dpo"] == ">a:data >a:preprocess >a:sft >a:merge_sft >a:dpo_data"
    assert [key for key in found if key.startswith("b:")] == ["b:dpo", "b:merge_dpo", "b:eval"]
    assert planned.shared["E/b"] == dict.fromkeys(("data", "preprocess", "sft", "merge_sft", "dpo_data"), "E/a")


def test_models_of_a_bake_off_share_nothing():
    works = [work(name, stages(**{**SFT, "data": name})) for name in ("eeve", "yi", "solar")]
    planned = plan_jobs(works, needs_of)
    assert (len(planned.jobs), planned.shared) == (15, {})
    assert all(key.split(":")[0] == job.run for job in planned.jobs for key in job.after)


def test_other_data_share_nothing_though_the_recipe_is_one():
    works = [work("a", stages(**SFT)), work("b", stages(**{**SFT, "data": "other"}))]
    assert plan_jobs(works, needs_of).shared == {}


def test_a_finished_arm_has_no_jobs_and_a_half_finished_one_the_rest():
    whole = stages(**SFT)
    works = [work("done", (), asks=()), work("half", whole[3:]), work("scores", ())]
    assert shown(plan_jobs(works, needs_of)) == {
        "half:merge_sft": "", "half:eval": ">half:merge_sft", "scores:eval": "",
    }  # fmt: skip


def test_what_another_arm_has_finished_is_taken_over_and_waits_for_nobody():
    other = stages(**{**SFT, "sft": "n"})
    planned = plan_jobs([work("b", other, there=frozenset({"data", "preprocess"}))], needs_of)
    assert shown(planned) == {"b:sft": "", "b:merge_sft": ">b:sft", "b:eval": ">b:merge_sft"}
    assert planned.shared == {}


def test_arms_that_are_the_same_in_all_have_a_job_that_takes_the_last_stage_over():
    planned = plan_jobs([work("a", stages(**SFT)), work("b", stages(**SFT))], needs_of)
    found = {job.key: job for job in planned.jobs}
    last = found["E/b:merge_sft"]
    assert (last.needs, last.stage) == (Needs("data"), "merge_sft")
    assert last.after == ("E/a:data", "E/a:preprocess", "E/a:sft", "E/a:merge_sft")
    assert found["E/b:eval"].after == (last.key,)
    whole = plan_jobs([work("b", stages(**SFT), there=frozenset(SFT))], needs_of)
    assert shown(whole) == {"b:merge_sft": "", "b:eval": ">b:merge_sft"}


def test_an_arm_that_has_begun_a_stage_makes_it_and_the_others_wait_for_it():
    """The first arm lost its training; the second one has a checkpoint of the same: nothing is trained twice."""
    dpo = {**SFT, "dpo_data": "q", "dpo": "1", "merge_dpo": "m"}
    lost, begun = stages(**dpo)[2:], stages(**{**dpo, "dpo": "2"})[2:]
    planned = plan_jobs([work("a", lost), work("b", begun, begun=frozenset({"sft"}))], needs_of)
    found = shown(planned)
    assert found["b:sft"] == ""
    assert found["a:dpo"] == ">b:sft >b:merge_sft >b:dpo_data"
    assert planned.shared == {"E/a": {"sft": "E/b", "merge_sft": "E/b", "dpo_data": "E/b"}}


def test_two_arms_that_have_begun_the_same_stage_each_go_on():
    works = [work(name, stages(**SFT)[2:], begun=frozenset({"sft"})) for name in ("a", "b")]
    assert {"a:sft", "b:sft"} <= shown(plan_jobs(works, needs_of)).keys()


def test_what_is_under_way_is_not_submitted_again_and_is_waited_for():
    works = [work("a", stages(**SFT)), work("b", stages(**{**SFT, "sft": "n"}))]
    live = {"E/a:data", "E/a:preprocess", "E/a:sft"}
    found = shown(plan_jobs(works, needs_of, live=live))
    assert found["a:merge_sft"] == ">a:sft"
    assert found["b:sft"] == ">a:data >a:preprocess"
    assert not live & {f"E/{key}" for key in found}


def test_a_shared_stage_whose_job_failed_is_made_anew_with_those_that_waited_for_it():
    """None of the dependents began: the same jobs again."""
    dpo = {**SFT, "dpo_data": "q", "dpo": "1", "merge_dpo": "m"}
    works = [work("a", stages(**dpo)[2:], begun=frozenset({"sft"})), work("b", stages(**{**dpo, "dpo": "2"}))]
    works[1] = replace(works[1], there=frozenset({"data", "preprocess"}))
    found = shown(plan_jobs(works, needs_of))
    assert found["a:sft"] == ""
    assert found["b:dpo"] == ">a:sft >a:merge_sft >a:dpo_data"


@pytest.mark.parametrize("parallel", [1, 2, 3])
def test_so_many_arms_train_at_a_time(parallel):
    works = [work(f"a{number}", stages(**{**SFT, "sft": str(number)})) for number in range(5)]
    found = {job.key: job for job in plan_jobs(works, needs_of, parallel=parallel).jobs}
    for number in range(5):
        lane = range(number - parallel, -1, -parallel)  # one that is cancelled leaves those before it to wait for
        before = tuple(f"E/a{other}:{name}" for other in lane for name in ("merge_sft", "eval"))
        assert found[f"E/a{number}:sft"].behind == before
        assert found[f"E/a{number}:merge_sft"].behind == ()


def test_lanes_count_only_arms_that_have_something_to_do():
    works = [work("a", stages(**SFT)), work("done", (), asks=()), work("c", stages(**{**SFT, "sft": "n"}))]
    found = {job.key: job for job in plan_jobs(works, needs_of, parallel=1).jobs}
    assert found["E/c:sft"].behind == ("E/a:merge_sft", "E/a:eval")


def test_an_arm_without_a_training_of_its_own_waits_with_its_first_job():
    works = [work("a", stages(**SFT)), work("b", stages(**{**SFT, "sft": "n"})[3:])]
    found = {job.key: job for job in plan_jobs(works, needs_of, parallel=1).jobs}
    assert found["E/b:merge_sft"].behind == ("E/a:merge_sft", "E/a:eval")


def test_lanes_and_shared_stages_never_wait_in_a_circle():
    dpo = {**SFT, "dpo_data": "q", "merge_dpo": "m"}
    works = [work(f"a{number}", stages(**{**dpo, "dpo": str(number)})) for number in range(6)]
    works[4] = replace(works[4], to_do=works[4].to_do[2:], begun=frozenset({"sft"}))
    for parallel in (1, 2, 3):
        in_order(plan_jobs(works, needs_of, parallel=parallel).jobs)


def test_answers_are_asked_for_however_far_an_arm_came():
    run = "E/a"
    works = [work("a", stages(**SFT), anyway=(ask(run, "answers", "judge"),))]
    job = next(job for job in plan_jobs(works, needs_of).jobs if job.name == "answers")
    assert (job.after, job.behind) == ((), ("E/a:merge_sft", "E/a:eval"))


def test_the_report_waits_for_the_end_of_all():
    planned = plan_jobs([work("a", stages(**SFT)[2:])], needs_of, live={"E/a:sft"})
    report = last_of_all(Job("E", "report", Needs("report")), planned.jobs, {"E/a:sft", "E:report"})
    assert report.after == ()
    assert report.behind == ("E/a:merge_sft", "E/a:eval", "E/a:sft")


def jobs_of(words: list[str], machine, tmp_path: Path, **how) -> Planned:
    """Return the jobs of an ablation of EEVE that is new, as it is planned for the article's machine."""
    base = build_config({"model": "eeve", **how.pop("settings", {})}, "a test")
    made = make_ablation("E", read_factors(words, alpha=None), base, until=None, request=EvalOptions(), asked={}, **how)
    works = []
    for arm in made.arms:
        plan = make_plan(arm.config, machine, tmp_path / "E" / arm.name, Scope(made.sections, dry=True))
        to_do = tuple(stage for stage in plan.stages if stage.kind != "prepare")
        works.append(ArmWork(f"E/{arm.name}", plan, to_do, asks=(ask(f"E/{arm.name}"),)))
    return plan_jobs(works, needs_of)


@pytest.mark.parametrize(
    ("words", "seeds", "counts"),
    [
        # The seed shuffles the prepared rows, so it makes others; noise does not.
        (["neftune"], 3, {"data": 1, "preprocess": 3, "sft": 6, "merge_sft": 6, "eval": 6}),
        (["lora_r=8,16,32"], 1, {"data": 1, "preprocess": 1, "sft": 3, "merge_sft": 3, "eval": 3}),
        (["adapter"], 1, {"data": 1, "sft": 3, "merge_sft": 3, "eval": 3}),
        (["dpo.beta=0.05,0.1"], 1, {"data": 1, "preprocess": 1, "sft": 1, "merge_sft": 1, "dpo_data": 1, "dpo": 2,
                                    "merge_dpo": 2, "eval": 2}),
    ],
)  # fmt: skip
def test_equal_fingerprints_make_one_job_each(words, seeds, counts, eight_gpus, tmp_path):
    planned = jobs_of(words, eight_gpus, tmp_path, seeds=seeds)
    names = [job.name for job in planned.jobs]
    assert {name: names.count(name) for name in counts} == counts
    fingerprints = [job.key for job in planned.jobs]
    assert len(set(fingerprints)) == len(fingerprints)


def test_what_ran_here_is_told_as_it_is_recorded(tmp_path):
    """It has no jobs: an evaluation that failed is known to the record alone."""
    base = build_config({"model": "tiny"}, "a test")
    factors = read_factors(["lora_r=8,16"], alpha=None)
    made = make_ablation("E", factors, base, seeds=1, until=None, request=EvalOptions(), asked={})
    paths = ExperimentPaths(tmp_path / "E")
    outcomes = [
        Outcome(made.arms[0].name, "failed", 9, 0.0, "lm-eval is not installed"),
        Outcome(made.arms[1].name, "done"),
    ]
    write_record(paths, made, outcomes, "2026-01-01T00:00:00+00:00")
    for arm in made.arms:
        done = {"merge_sft": {"state": "done"}}
        write_atomic(paths.arm(arm.name).manifest, json.dumps({"format": 1, "stages": done}))
    assert list(read_outcomes(made, paths, Told())) == outcomes
