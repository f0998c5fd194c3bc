"""Which of a training's machines this one is, told by whoever started `alphaf` on all of them, and where they meet.

Every source names one process a machine; docs/several-nodes.md has the table.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from alphaf_orch.core.errors import ConfigError

# By the first of these that is set; each numbers machines, not processes:
# torchrun's own options as variables, set by Kubeflow's PyTorchJob and TrainJob; Lightning's name, and most scripts';
# what torchrun sets for what it starts; the pods of a Kubernetes Indexed Job.
_RANKS = ("PET_NODE_RANK", "NODE_RANK", "GROUP_RANK", "JOB_COMPLETION_INDEX")
_ADDRESSES = ("ALPHAF_NODE_ADDRESS", "PET_MASTER_ADDR", "MASTER_ADDR")
_PORTS = ("ALPHAF_NODE_PORT", "PET_MASTER_PORT", "MASTER_PORT")
# Options of accelerate and torchrun, and what schedulers and launchers number processes by: they speak of `alphaf`, and
# a tool that sees WORLD_SIZE or PMI_SIZE (accelerate/state.py:808, axolotl/utils/config) waits for ranks that nobody
# starts. Our own launchers give their ranks the right ones.
LAUNCHERS = re.compile(
    r"(ACCELERATE|PET|TORCHELASTIC|PMI|OMPI_COMM_WORLD|MV2_COMM_WORLD)_"
    r"|((LOCAL|GROUP|ROLE|NODE)_)?RANK$|((LOCAL|GROUP|ROLE)_)?WORLD_SIZE$|MASTER_(ADDR|PORT)$"
)
_SAY = "set ALPHAF_NODE_RANK to 0, 1, … on each machine, one `alphaf` each"


@dataclass(frozen=True)
class Node:
    """One machine of a training: its rank, and the address and port of rank 0 where all of them meet; port 0 is any."""

    rank: int = 0
    address: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True)
class Seat:
    """A machine among those of one start: `rank` None where nobody says it.

    `job` is the same on all machines of one start and differs from one start to the next, empty where nobody names it.
    Address and port are rank 0's, empty and 0 where they are its own to choose.
    """

    rank: int | None
    source: str = ""  # the variable that the rank was read from
    address: str = ""
    port: int = 0
    job: str = ""

    @property
    def node(self) -> Node:
        """The machine as a plan shows it: rank 0 where nobody says, its own name where it chooses the address."""
        return Node(self.rank or 0, self.address or socket.gethostname(), self.port)


def seat(nodes: int, env: Mapping[str, str]) -> Seat:
    """Return this machine's seat among `nodes` machines; raise ConfigError where what is set contradicts itself."""
    address = next((env[name] for name in _ADDRESSES if env.get(name)), "")
    port = _port(env)
    if "ALPHAF_NODE_RANK" in env:
        return Seat(_rank("ALPHAF_NODE_RANK", nodes, env), "ALPHAF_NODE_RANK", address, port, _job(env))
    if _is_step(env):
        _check_step(nodes, env)
        address = address or first_host(env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST") or "")
        return Seat(_rank("SLURM_NODEID", nodes, env), "SLURM_NODEID", address, port, _job(env))
    if env.get("LOCAL_WORLD_SIZE", "1") not in ("", "1"):
        raise ConfigError(
            "alphaf was started several times on this machine",
            where="LOCAL_WORLD_SIZE in the environment",
            fix="start it once on each machine; it starts a process for each GPU itself",
            code="config.started_twice",
        )
    for name in _RANKS:
        if name in env:
            return Seat(_rank(name, nodes, env), name, address, port, _job(env))
    if "RANK" in env and env.get("WORLD_SIZE") == str(nodes):  # pods of a PyTorchJob: counted as machines are
        return Seat(_rank("RANK", nodes, env), "RANK", address, port, _job(env))
    return Seat(None, "", address, port, _job(env))


def unknown_rank(nodes: int, env: Mapping[str, str]) -> ConfigError:
    """Return the error of a start on several machines that none of them can know its place in."""
    if "SLURM_JOB_ID" in env:
        fix = f"put `srun --nodes={nodes} --ntasks-per-node=1` before the command, or {_SAY}"
        return ConfigError(
            f"a training on {nodes} machines was not started by srun on all of them: it is on this one alone",
            where="SLURM_STEP_NUM_NODES is not in the environment of this Slurm job, or is 1",
            fix=fix,
            code="config.other_machines",
        )
    return ConfigError(
        f"which of the {nodes} machines this is, nobody says",
        where=f"looked for ALPHAF_NODE_RANK, SLURM_NODEID (by srun), {', '.join(_RANKS)}",
        fix=f"{_SAY}; also ALPHAF_NODE_ADDRESS to a name of the first one, where its own host name does not lead there",
        code="config.rank_unknown",
    )


def first_host(hosts: str) -> str:
    """Return the first machine of Slurm's list: `gpu003` of `gpu[003-004,7],other1`; Slurm numbers them in that order.

    Not SLURM_LAUNCH_NODE_IPADDR: that is where srun was typed, which may be a login node.
    """
    found = re.match(r"([^,\[]*)(?:\[([^,\]-]+)[^\]]*\]([^,\[]*))?", hosts.strip())
    return "".join(part or "" for part in found.groups()) if found else ""


def free_port() -> int:
    """Return a TCP port that nothing on this machine listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def _is_step(env: Mapping[str, str]) -> bool:
    """Return whether srun started this on several machines or several times; `srun --pty` and salloc do so once."""
    counts = env.get("SLURM_STEP_NUM_NODES"), env.get("SLURM_STEP_NUM_TASKS", "1")
    return counts[0] is not None and counts != ("1", "1")


def _check_step(nodes: int, env: Mapping[str, str]) -> None:
    machines, tasks = env["SLURM_STEP_NUM_NODES"], env.get("SLURM_STEP_NUM_TASKS", "")
    if machines != str(nodes):
        raise ConfigError(
            f"--nodes says {nodes} machines, srun started alphaf on {machines}",
            where="SLURM_STEP_NUM_NODES in the environment",
            fix=f"use `srun --nodes={nodes} --ntasks-per-node=1`, or --nodes {machines}",
            code="config.other_machines",
        )
    if tasks != machines:
        raise ConfigError(
            f"srun started alphaf {tasks} times on {machines} machines",
            where="SLURM_STEP_NUM_TASKS in the environment",
            fix="use `srun --ntasks-per-node=1`: alphaf starts a process for each GPU itself",
            code="config.started_twice",
        )


def _rank(name: str, nodes: int, env: Mapping[str, str]) -> int:
    text = env.get(name, "")
    if not text.isdecimal() or int(text) >= nodes:
        raise ConfigError(
            f"{name} is {text!r}, and the machines are numbered from 0 to {nodes - 1}",
            where="the environment; the number of machines is --nodes, or `nodes:` of the config",
            fix=f"{_SAY}, or mend --nodes",
            code="config.out_of_range",
        )
    return int(text)


def _port(env: Mapping[str, str]) -> int:
    for name in _PORTS:
        text = env.get(name, "")
        if text and not (text.isdecimal() and 0 < int(text) < 2**16):
            raise ConfigError(
                f"{name} is {text!r}, which is no port of TCP",
                where="the environment",
                fix="set it to a number from 1 to 65535 that nothing on the first machine listens on, or unset it",
                code="config.out_of_range",
            )
        if text:
            return int(text)
    return 0


def _job(env: Mapping[str, str]) -> str:
    """Return the name of this start: one that is said, or that of a Slurm step and its restart.

    Not a torchrun's run id: it stays when Kubernetes starts the pods again, and an old word would be believed.
    """
    if env.get("ALPHAF_JOB"):
        return env["ALPHAF_JOB"]
    if _is_step(env):
        parts = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        return "slurm-" + ".".join(env.get(name, "0") for name in parts)
    return ""
