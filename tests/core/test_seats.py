"""Which machine of a training this is, by what schedulers set; what contradicts itself is refused."""

import pytest

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.nodes import Seat, first_host, seat, unknown_rank

STEP = {
    "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "1", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NODEID": "1", "SLURM_PROCID": "1", "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_LAUNCH_NODE_IPADDR": "10.9.9.9",
}  # fmt: skip
ONE = {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NUM_TASKS": "1"}


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ({}, Seat(None)),
        (
            {"ALPHAF_NODE_RANK": "1", "ALPHAF_NODE_ADDRESS": "a", "ALPHAF_NODE_PORT": "4"},
            Seat(1, "ALPHAF_NODE_RANK", "a", 4),
        ),
        (STEP, Seat(1, "SLURM_NODEID", "gpu03", 0, "slurm-77.1.0")),
        (STEP | {"SLURM_RESTART_COUNT": "2"}, Seat(1, "SLURM_NODEID", "gpu03", 0, "slurm-77.1.2")),
        (STEP | {"MASTER_ADDR": "h", "MASTER_PORT": "29501"}, Seat(1, "SLURM_NODEID", "h", 29501, "slurm-77.1.0")),
        (STEP | {"ALPHAF_NODE_RANK": "0", "ALPHAF_JOB": "j"}, Seat(0, "ALPHAF_NODE_RANK", "", 0, "j")),
        ({"SLURM_JOB_ID": "77", "SLURM_NODEID": "0", "SLURM_PROCID": "0"}, Seat(None)),  # a batch script, no srun
        (STEP | ONE, Seat(None)),  # srun --pty, salloc: each machine may have such a step, of another name
        (STEP | ONE | {"ALPHAF_NODE_RANK": "1"}, Seat(1, "ALPHAF_NODE_RANK")),
        ({"SLURM_STEP_NUM_TASKS": "2"}, Seat(None)),
        (
            {"PET_NODE_RANK": "1", "PET_MASTER_ADDR": "m", "PET_MASTER_PORT": "23456"},
            Seat(1, "PET_NODE_RANK", "m", 23456),
        ),
        ({"NODE_RANK": "0", "MASTER_ADDR": "m"}, Seat(0, "NODE_RANK", "m")),
        # The names of a torchrun are the same once it is started again: none of ours.
        ({"GROUP_RANK": "1", "LOCAL_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "x"}, Seat(1, "GROUP_RANK")),
        ({"PET_NODE_RANK": "1", "PET_RDZV_ID": "x"}, Seat(1, "PET_NODE_RANK")),
        ({"JOB_COMPLETION_INDEX": "1"}, Seat(1, "JOB_COMPLETION_INDEX")),
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "w-0"}, Seat(1, "RANK", "w-0")),
        ({"RANK": "9", "WORLD_SIZE": "16"}, Seat(None)),  # counts processes
    ],
)
def test_a_machine_knows_its_seat(env, found):
    assert seat(2, env) == found


@pytest.mark.parametrize(
    ("env", "what", "fix"),
    [
        ({"ALPHAF_NODE_RANK": "2"}, "ALPHAF_NODE_RANK is '2'", "--nodes"),
        ({"NODE_RANK": "-1"}, "numbered from 0 to 1", "ALPHAF_NODE_RANK"),
        ({"NODE_RANK": "0", "MASTER_PORT": "0"}, "MASTER_PORT is '0'", "65535"),
        (
            STEP | {"SLURM_STEP_NUM_NODES": "4", "SLURM_STEP_NUM_TASKS": "4"},
            "2 machines, srun started alphaf on 4",
            "--nodes 4",
        ),
        (STEP | {"SLURM_STEP_NUM_TASKS": "16"}, "16 times on 2 machines", "--ntasks-per-node=1"),
        (STEP | ONE | {"SLURM_STEP_NUM_TASKS": "8"}, "2 machines, srun started alphaf on 1", "--nodes=2"),
        ({"RANK": "1", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "8"}, "several times on this machine", "once"),
    ],
)
def test_what_contradicts_itself_is_refused(env, what, fix):
    with pytest.raises(ConfigError) as refused:
        seat(2, env)
    assert what in refused.value.what
    assert fix in refused.value.fix


def test_who_is_told_nothing_is_told_what_to_set():
    error = unknown_rank(2, {})
    assert "ALPHAF_NODE_RANK" in error.fix
    assert "SLURM_NODEID" in error.where
    error = unknown_rank(2, {"SLURM_JOB_ID": "7"})
    assert "srun --nodes=2 --ntasks-per-node=1" in error.fix
    assert error.where == "SLURM_STEP_NUM_NODES is not in the environment of this Slurm job, or is 1"


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("gpu003", "gpu003"),
        ("gpu003,gpu007", "gpu003"),
        ("gpu[003-004,7],other1", "gpu003"),
        ("gpu[07,09]", "gpu07"),
        ("rack1-n[2-3].site", "rack1-n2.site"),
        ("", ""),
    ],
)
def test_the_first_host_of_slurms_list(hosts, first):
    assert first_host(hosts) == first


def test_a_seat_that_says_no_address_is_shown_with_the_machines_own_name():
    import socket

    assert Seat(0).node.address == socket.gethostname()
    assert Seat(1, address="10.0.0.7", port=4).node.port == 4
