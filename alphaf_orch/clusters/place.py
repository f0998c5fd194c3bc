"""What a job is to find on its machines, as it is where it is submitted."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.core.masking import is_secret_name, secrets
from alphaf_orch.core.names import expanded, real
from alphaf_orch.core.paths import cache_dir, runs_dir
from alphaf_orch.core.places import hub_home
from alphaf_orch.settings.clusters import Profile

# What is no secret and what the tools find their files and each other by; all else a profile names under `env`.
_CARRIED = re.compile(
    r"HF_(HOME|HUB_CACHE|DATASETS_CACHE|ASSETS_CACHE|XET_CACHE)|XDG_CACHE_HOME|TRITON_CACHE_DIR|TORCHINDUCTOR_CACHE_DIR"
    r"|LANG|LC_ALL|LC_CTYPE|(NCCL|GLOO)_\w+"
)
# Of this machine; an image has its own.
OF_THE_MACHINE = re.compile(r"PATH|LD_LIBRARY_PATH|PYTHONPATH|VIRTUAL_ENV|CONDA_PREFIX|CUDA_HOME|CC")


def place_here(profile: Profile, templates: tuple[Path, ...] = ()) -> Place:
    """Return python, folder and variables of this moment; what has a secret's name or value is left out.

    The folders of runs, cache and hub are said whatever they are here by default: a job's home may be another one.
    `templates` are where the scheduler's own is looked for.
    """
    python = profile.python or (profile.container.python if profile.container else sys.executable)
    found = {name: value for name, value in os.environ.items() if _carried(name, value, profile)}
    found |= {"ALPHAF_RUNS": str(runs_dir()), "ALPHAF_CACHE": str(cache_dir())}
    if hub_home().is_dir():
        found["HF_HOME"] = str(real(hub_home()))
    if os.environ.get("ALPHAF_TEMPLATES"):
        found["ALPHAF_TEMPLATES"] = str(real(expanded(os.environ["ALPHAF_TEMPLATES"])))
    return Place(python, str(Path.cwd()), dict(sorted(found.items())), templates)


def _carried(name: str, value: str, profile: Profile) -> bool:
    wanted = _CARRIED.fullmatch(name) or (profile.container is None and OF_THE_MACHINE.fullmatch(name))
    return bool(wanted and value) and not is_secret_name(name) and value.strip() not in secrets()
