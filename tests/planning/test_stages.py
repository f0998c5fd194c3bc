"""What a stage is, by its name; what its fingerprint depends on."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from alphaf_orch.core.nodes import Node
from alphaf_orch.core.render import Origin, Rendered
from alphaf_orch.planning.stages import STAGE_ORDER, Launch, Stage, stage_name

FILE = Path("/run/rendered/sft.yaml")
SFT = Stage("sft", "axolotl", ("python",), {FILE: Rendered("a: 1\n", {"a": 1})}, (Path("/run/sft"),), {"recipe": {}})


def test_every_stage_of_a_run_is_found_by_what_it_is():
    stages = [replace(SFT, name=name) for name in STAGE_ORDER]
    shared = {"base_model", "fetch_partners"}  # of no training: only these two have a name for the same
    assert [stage_name(stage.kind, stage.section) for stage in stages if stage.name not in shared] == [
        name for name in STAGE_ORDER if name not in shared
    ]
    assert {stage.name for stage in stages if stage.kind == "merge"} == {"merge_sft", "merge_dpo", "merge_models"}


def test_only_a_training_goes_on_from_a_checkpoint():
    found = {name: replace(SFT, name=name).checkpoints for name in STAGE_ORDER}
    assert {name for name, folder in found.items() if folder} == {"sft", "dpo"}


def test_what_is_no_stage_of_a_run_asks_its_models():
    stage = replace(SFT, name="eval_sft")
    assert (stage.kind, stage.section, stage.own_file) == ("ask", None, None)


def test_who_set_a_value_is_no_part_of_the_fingerprint():
    told = Rendered("a: 1\n", {"a": 1}, {"a": Origin("yours", "2")})
    assert replace(SFT, files={FILE: told}).fingerprint == SFT.fingerprint


def test_machines_of_several_gpus_meet_at_rank_0_on_a_port_that_all_of_them_know():
    launch = Launch(8, 96, "bf16", engine="fsdp2", nodes=2, node=Node(1, "10.0.0.7", 29511))
    argv = launch.argv("python", Path("accelerate.yaml"))
    said = dict(pairwise(argv))
    assert {
        "--num_processes": "16", "--num_machines": "2", "--machine_rank": "1", "--main_process_ip": "10.0.0.7",
        "--main_process_port": "29511", "--num_cpu_threads_per_process": "12",
    }.items() <= said.items()  # fmt: skip
    assert "--multi_gpu" in argv
    assert {
        "num_processes": 16, "num_machines": 2, "machine_rank": 1, "main_process_ip": "10.0.0.7",
        "main_process_port": 29511, "distributed_type": "MULTI_GPU",
    }.items() <= launch.config().values.items()  # fmt: skip


def test_a_free_port_of_its_own_on_each_machine_would_let_none_meet():
    two = Launch(8, 96, "bf16", nodes=2)
    assert two.argv("python", Path("a.yaml"))[-1] == str(two.config().values["main_process_port"]) == "29500"
    assert Launch(8, 96, "bf16").argv("python", Path("a.yaml"))[-1] == "0"


def test_two_machines_of_one_gpu_each_are_two_processes():
    launch = Launch(1, 8, "bf16", nodes=2)
    assert (launch.local_processes, launch.processes) == (1, 2)
    assert "--multi_gpu" in launch.argv("python", Path("a.yaml"))
    assert launch.config().values["distributed_type"] == "MULTI_GPU"
