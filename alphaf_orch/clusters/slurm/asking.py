"""Slurm's own commands, called: what they said, within seconds, or an error in their words."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from alphaf_orch.core.command import Answer, answer
from alphaf_orch.core.errors import ToolError

# MessageTimeout of slurm.conf is 10 s: what a command waits for a controller that hangs. Who looks does not wait so
# long; who submits does, and longer: sbatch itself tries for a while where the controller is being restarted.
LOOK_S = 5.0
CANCEL_S = 15.0
SUBMIT_S = 60.0
# Variables by which users have these commands answer otherwise (SQUEUE_USERS, SCANCEL_INTERACTIVE), and, where somebody
# submits from within a job, what speaks of that job (SLURM_MEM_PER_CPU); less those that say which Slurm is meant.
_OTHERWISE = ("SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_", "SBATCH_", "SLURM_")
_WHICH = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_CONF_SERVER", "SBATCH_CLUSTERS")
# What a site or a user sets for all that he submits, and a profile need not say.
_SITE = ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION", "SBATCH_CONSTRAINT", "SLURM_WCKEY")


def called(argv: Sequence[str], seconds: float, said: Sequence[str] = ()) -> Answer:
    """Return how the command ended and what it said; of a user's settings for it those that `said` names stay out.

    Raises ToolError where there is no such command, and where it did not end within so many seconds.
    """
    found = answer(argv, env=_env(said), timeout=seconds)
    if found.exit_code == 127 and not found.output:
        raise _not_here(argv[0])
    if found.exit_code is None:
        raise ToolError(
            f"Slurm did not answer within {seconds:.0f} seconds",
            where=argv[0],
            fix="try again when `sinfo` answers",
            code="tool.no_answer",
        )
    return found


def require_command(name: str) -> None:
    """Raise ToolError where there is no such command of Slurm's on the PATH."""
    if shutil.which(name) is None:
        raise _not_here(name)


def _not_here(name: str) -> ToolError:
    return ToolError(
        f"there is no {name} here",
        where="the PATH",
        fix="call alphaf where Slurm's commands are (a login node, `module load slurm`), or use --on local",
        code="tool.not_installed",
    )


def in_words(found: Answer) -> str:
    """Return what a command complained of, without its own name before every line."""
    lines = (found.errors or found.output).strip().splitlines()
    texts = [line.split("error: ", 1)[-1].strip() for line in lines if line.strip()]
    return "; ".join(dict.fromkeys(texts)) or f"it ended with code {found.exit_code}"


def _env(said: Sequence[str]) -> dict[str, str]:
    kept = (*_WHICH, *(name for name in _SITE if name not in said))
    env = {name: value for name, value in os.environ.items() if name in kept or not name.startswith(_OTHERWISE)}
    return {**env, "SLURM_TIME_FORMAT": "%s"}  # seconds since 1970: no time zone to guess
