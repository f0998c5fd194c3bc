"""What Slurm is given for EEVE on one and on two machines of 8 GPUs, whole, as recorded; `make golden` rewrites it."""

from __future__ import annotations

import re
import socket
from functools import partial
from pathlib import Path

import pytest
from golden import recorded

from alphaf_orch.clusters.chain import chain_jobs, needs_of
from alphaf_orch.clusters.jobs import Job, in_order
from alphaf_orch.clusters.profiles import described
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.clusters.slurm.scheduler import Slurm
from alphaf_orch.core.command import printable
from alphaf_orch.core.paths import PACKAGE, RunPaths, template_folders
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.experiments.ablation.factors import make_ablation, read_factors
from alphaf_orch.experiments.experiment import ExperimentPaths
from alphaf_orch.experiments.jobs import last_of_all, plan_jobs
from alphaf_orch.experiments.lacking import arm_works
from alphaf_orch.experiments.submit import report_job
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.clusters import Profile
from alphaf_orch.settings.config import RunConfig, build_config

GOLDEN = Path(__file__).parents[1] / "golden" / "slurm"
SITE = Profile(
    scheduler="slurm",
    account="finance",
    partition="h100",
    gres="gpu:h100",
    gpus_per_node=8,
    gpu="NVIDIA H100 80GB HBM3",
    time="2-00:00:00",
    stages={"merge": {"partition": "cpu", "cpus": 16, "memory": "200G", "time": "4:00:00"}},
    modules=("cuda/12.8",),
    env=("WANDB_API_KEY",),
)
ENV = {"ALPHAF_CACHE": "/shared/cache", "ALPHAF_RUNS": "/shared/runs", "HF_HOME": "/shared/hf"}
PLACE = Place("/shared/alphaf/.venv/bin/python", "/shared/work", ENV)


def shown(job: Job, root: Path, *, whole: bool) -> str:
    """Return the call of sbatch, jobs in place of ids, and the file: all of it, or its header and what it launches."""
    file, text = Slurm().script(job, SITE, RunPaths(root / job.run), PLACE)
    if not whole:
        text = "".join(re.findall(r"^(?:#SBATCH|srun .* alphaf_orch ).*\n", text, re.MULTILINE))
    call = printable(Slurm().command(file, job, job.after, job.behind))
    return f"$ {call}\n{text}\n"


def compared(name: str, text: str, tmp_path: Path) -> None:
    for place, word in {str(tmp_path): "", str(PACKAGE): "/PACKAGE", str(template_folders()[-1]): "/TEMPLATES"}.items():
        text = text.replace(place, word)
    assert text == recorded(GOLDEN / name, text)


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_chain_of_eeve_is_as_recorded(nodes, tmp_path):
    config = RunConfig(model="eeve", nodes=nodes)
    made = make_plan(config, described(SITE, 8), tmp_path / "shared/runs/eeve", Scope(dry=True))
    jobs = chain_jobs(made, "eeve", {stage.name for stage in made.stages})
    text = "".join(shown(job, tmp_path / "shared/runs", whole=job.name == "sft") for job in jobs)
    files = {path.name: file.text for stage in made.stages for path, file in stage.files.items()}
    accelerate = files["accelerate_sft.yaml"].replace(
        f"main_process_ip: {socket.gethostname()}\n", "main_process_ip: HOST\n"
    )
    compared(f"eeve-{nodes}x8-chain.txt", f"{text}# accelerate_sft.yaml\n{accelerate}", tmp_path)


@pytest.mark.parametrize("nodes", [1, 2])
def test_an_ablation_of_four_arms_of_eeve_is_as_recorded(nodes, tmp_path):
    factors = read_factors(("lora_r=32,64", "dpo.beta=0.05,0.1"), alpha=None)
    base = build_config({"model": "eeve", "nodes": nodes}, "a test")
    experiment = make_ablation("비교", factors, base, seeds=1, until=None, request=EvalOptions(), asked={})
    paths = ExperimentPaths(tmp_path / "shared/runs" / experiment.name)
    scope = partial(Scope, experiment.sections)
    plans = {
        arm.name: make_plan(arm.config, described(SITE, 8), paths.arm(arm.name).root, scope(dry=True))
        for arm in experiment.arms
    }
    found = plan_jobs(arm_works(experiment, paths, plans), needs_of, parallel=2)
    report = last_of_all(report_job(experiment, "ko"), found.jobs, ())
    text = "".join(shown(job, tmp_path / "shared/runs", whole=False) for job in in_order((*found.jobs, report)))
    compared(f"eeve-{nodes}x8-ablation.txt", text, tmp_path)
