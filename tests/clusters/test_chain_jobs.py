"""A plan as jobs: what each stage needs, and that a chain planned for a site is what its machines would plan."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alphaf_orch.clusters.chain import chain_jobs, check_fits, named_here, planned_machine, planned_scope
from alphaf_orch.clusters.profiles import described
from alphaf_orch.core.errors import HardwareError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.estimates.shapes import H100_BYTES
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.clusters import Profile, Resources
from alphaf_orch.settings.config import RunConfig

CARD = "NVIDIA H100 80GB HBM3"
SITE = Profile(scheduler="slurm", gpus_per_node=8, gpu=CARD)
THERE = Machine((CARD,) * 8, 96, tuple("01234567"), H100_BYTES, "sm_90")
FULL = {"sft": {"adapter": "full"}}
LOGIN = Machine((), 4)


def plan(folder: Path, machine: Machine, **settings):
    config = RunConfig(**{"model": "eeve", **settings})
    return make_plan(config, machine, folder / "runs" / "r", Scope(dry=True, merge=True))


def fingerprints(made):
    return {stage.name: stage.fingerprint for stage in made.stages}


def names(jobs):
    return [job.name for job in jobs]


def test_each_stage_gets_what_it_needs_behind_the_one_before_it(tmp_path):
    made = plan(tmp_path, described(SITE, 0), nodes=2)
    jobs = chain_jobs(made, "r", {stage.name for stage in made.stages})
    assert names(jobs) == ["data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo"]
    needs = {job.name: (job.needs.role, job.needs.gpus, job.needs.nodes) for job in jobs}
    assert needs == {
        "data": ("data", 0, 1),
        "preprocess": ("tokenise", 0, 1),
        "sft": ("train", 8, 2),
        "merge_sft": ("merge", 0, 1),
        "dpo_data": ("data", 0, 1),
        "dpo": ("train", 1, 1),
        "merge_dpo": ("merge", 0, 1),
    }
    assert [job.after for job in jobs] == [(), *((job.key,) for job in jobs[:-1])]
    assert all(job.stage == job.name and job.run == "r" for job in jobs)


def test_what_the_settings_name_and_lies_here_is_told(tmp_path):
    rows, partner = tmp_path / "내 rows.jsonl", tmp_path / "partner"
    rows.write_text("", "utf-8")
    partner.mkdir()
    named = {"data": (str(rows), "/not/here.jsonl", "hub/name"), "merge": {"partners": [str(partner)]}}
    config = RunConfig(model="eeve", tools={"axolotl": str(tmp_path)}, **named)
    assert set(named_here(config)) == {str(partner), str(rows)}


def test_what_is_done_is_no_job(tmp_path):
    jobs = chain_jobs(plan(tmp_path, described(SITE, 0)), "r", {"merge_sft", "dpo", "merge_dpo"})
    assert names(jobs) == ["merge_sft", "dpo", "merge_dpo"]
    assert jobs[1].after == ("r:merge_sft",)


def test_what_all_runs_share_is_no_job(tmp_path):
    made = plan(tmp_path, described(SITE, 0), model="tiny", gpus=0)
    assert "base_model" in {stage.name for stage in made.stages}
    assert "base_model" not in names(chain_jobs(made, "r", {stage.name for stage in made.stages}))


@pytest.mark.parametrize(
    "settings",
    [{}, {"nodes": 2}, {"gpus": 4, "dpo_gpus": 2}, FULL, {**FULL, "nodes": 2},
     {"model": "smollm2"}, {"model": "smollm2", "gpus": 0}, {"merge": {"partner": "eeve-instruct"}}],
)  # fmt: skip
def test_a_site_plans_what_its_machines_would(settings, tmp_path):
    there = fingerprints(plan(tmp_path, THERE, **settings))
    assert fingerprints(plan(tmp_path, described(SITE, 8), **settings)) == there


def test_a_login_node_alone_would_plan_another_chain(tmp_path):
    here = fingerprints(plan(tmp_path, LOGIN, model="smollm2"))
    assert here != fingerprints(plan(tmp_path, described(SITE, 8), model="smollm2"))


@pytest.mark.parametrize("settings", [{}, {"sft": {"adapter": "full"}}, {"model": "smollm2"}])
def test_a_job_plans_what_was_submitted(settings, tmp_path):
    submitted = plan(tmp_path, described(SITE.model_copy(update={"gpu": "NVIDIA H200"}), 8), **settings)
    for job in chain_jobs(submitted, "r", {stage.name for stage in submitted.stages}):
        said = json.loads(json.dumps(dict(job.planned)))
        scope = planned_scope(said)
        assert (scope.sections, scope.dry, scope.online, scope.merge) == (("sft", "dpo"), False, False, True)
        # The merge's machine has no card, and the run remembers how many the trainings have.
        config = submitted.config.model_copy(update={"base_revision": None})
        again = make_plan(config, planned_machine(said, LOGIN), submitted.paths.root, replace(scope, dry=True))
        assert fingerprints(again)[job.name] == said["fingerprint"]


def test_a_job_plans_with_the_devices_and_processors_that_are_there():
    said = {"machine": {"gpus": [CARD] * 8, "cpus": 4, "devices": [], "memory": 7, "card": ""}}
    assert planned_machine(said, THERE) == replace(THERE, memory=7)


@pytest.mark.parametrize(
    ("profile", "settings", "what"),
    [
        (SITE.model_copy(update={"gpus_per_node": 4}), {}, "those of the profile have 4"),
        (SITE.model_copy(update={"stages": {"train": Resources(gpus=4)}}), {}, "the profile gives it 4"),
        (SITE.model_copy(update={"gpus": 1}), {}, "the profile gives it 1"),
    ],
)
def test_more_gpus_than_the_site_has_are_refused(profile, settings, what, tmp_path):
    made = plan(tmp_path, described(profile, 8), gpus=8, **settings)
    with pytest.raises(HardwareError, match=what) as caught:
        check_fits(chain_jobs(made, "r", {"sft", "dpo"}), profile, "site.yaml")
    assert "site.yaml" in caught.value.where


def test_more_gpus_than_a_training_needs_are_the_users_to_ask_for(tmp_path):
    profile = SITE.model_copy(update={"gpus": 8})
    check_fits(
        chain_jobs(plan(tmp_path, described(profile, 8)), "r", {"sft", "dpo", "merge_sft"}), profile, "site.yaml"
    )
