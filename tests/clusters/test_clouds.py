"""SkyPilot's pipelines and JobSets, byte for byte, and what of a profile is refused; tests/real reads them with theirs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from alphaf_orch.clusters.chain import chain_jobs
from alphaf_orch.clusters.clouds.kubernetes import job_set_file, set_name
from alphaf_orch.clusters.clouds.pipelines import Pipeline, pipelines, waves
from alphaf_orch.clusters.clouds.skypilot import pipeline_file, pipeline_name
from alphaf_orch.clusters.clouds.values import documents, label, seconds, timed
from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.clusters import Profile
from alphaf_orch.settings.config import RunConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "clouds"
ENV = {"ALPHAF_RUNS": "/mnt/alphaf/runs", "ALPHAF_CACHE": "/mnt/alphaf/cache", "HF_HOME": "/mnt/alphaf/hf"}
PLACE = Place("/mnt/alphaf/env/bin/python", "/mnt/alphaf", ENV)
STAGES = {"data": {"cpus": 4, "memory": "16+"}, "tokenise": {"cpus": 8, "memory": "64+"},
          "train": {"cpus": 64, "memory": "512+", "time": "1-00:00:00"}, "merge": {"cpus": 8, "memory": "128+"},
          "eval": {"gpus": 1, "memory": "64+"}}  # fmt: skip
SKY = Profile(
    scheduler="skypilot",
    gpus_per_node=8,
    stages=STAGES,
    container={"runtime": "image", "image": "registry.example/alphaf:1", "python": "/opt/alphaf/bin/python"},
    env=("HF_TOKEN",),
    skypilot={"infra": "kubernetes", "accelerator": "H100", "volumes": {"/mnt/alphaf": "alphaf"}},
)
LIKE_KUBERNETES = {
    role: {key: value.replace("+", "Gi") if key == "memory" else value for key, value in said.items()}
    for role, said in STAGES.items()
}
KUBERNETES = Profile(
    scheduler="kubernetes",
    gpus_per_node=8,
    stages=LIKE_KUBERNETES,
    container={"runtime": "image", "image": "registry.example/alphaf:1", "python": "/opt/alphaf/bin/python"},
    env=("HF_TOKEN",),
    kubernetes={
        "namespace": "training", "secret": "alphaf", "queue": "gpus", "limits": {"rdma/hca": "8"},
        "volumes": [{"claim": "alphaf", "path": "/mnt/alphaf"}],
        "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
    },
)  # fmt: skip


def chain(machine, tmp_path, nodes: int, run: str = "eeve") -> tuple[Job, ...]:
    config = RunConfig(model="eeve", gpus=8, nodes=nodes)
    plan = make_plan(config, machine, tmp_path / "runs" / "eeve", Scope(dry=True))
    return chain_jobs(plan, run, {stage.name for stage in plan.stages})


def ablation(machine, tmp_path, nodes: int) -> tuple[Job, ...]:
    """Four arms of one SFT setting: data and tokenised rows are one job each, of the first arm; two train at a time."""
    arms = [f"neft/noise{n}" for n in (0, 5, 15, 45)]
    found, ends = [], []
    for number, arm in enumerate(arms):
        jobs = chain(machine, tmp_path, nodes, arm)
        if number:
            jobs = tuple(job for job in jobs if job.name not in ("data", "preprocess"))
            first = Job(arm, jobs[0].name, jobs[0].needs, jobs[0].stage, after=(f"{arms[0]}:preprocess",),
                        behind=(ends[number - 2],) if number > 1 else ())  # fmt: skip
            jobs = (first, *jobs[1:])
        evaluation = Job(arm, "eval-finance-ko", Needs("eval", 1), argv=("eval", "--run", arm), after=(jobs[-1].key,))
        found += [*jobs, evaluation]
        ends.append(evaluation.key)
    report = Job("neft", "report", Needs("report"), argv=("report", "neft"), behind=tuple(ends))
    return (*found, report)


def paths_of(run: str) -> RunPaths:
    return RunPaths(Path("/mnt/alphaf/runs") / run)


def texts(scheduler: str, jobs) -> dict[str, str]:
    """Every file by its name below the runs."""
    write, profile = {"skypilot": (pipeline_file, SKY), "kubernetes": (job_set_file, KUBERNETES)}[scheduler]
    files = [write(pipeline, profile, paths_of(pipeline.run), PLACE) for pipeline in pipelines(jobs)]
    return {str(path.relative_to("/mnt/alphaf/runs")): text for path, text in files}


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("kind", ["chain", "ablation"])
@pytest.mark.parametrize("scheduler", ["skypilot", "kubernetes"])
def test_the_files_of_eeve_are_as_recorded(scheduler, kind, nodes, eight_gpus, tmp_path):
    jobs = {"chain": chain, "ablation": ablation}[kind](eight_gpus, tmp_path, nodes)
    found = "".join(f"#### {name}\n{text}" for name, text in texts(scheduler, jobs).items())
    file = GOLDEN / f"eeve-{nodes}x8-{kind}.{scheduler}.yaml"
    if os.environ.get("ALPHAF_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


def test_every_record_is_of_a_file():
    expected = {f"eeve-{nodes}x8-{kind}.{scheduler}.yaml" for nodes in (1, 2) for kind in ("chain", "ablation")
                for scheduler in ("skypilot", "kubernetes")}  # fmt: skip
    assert {path.name for path in GOLDEN.iterdir()} == expected
