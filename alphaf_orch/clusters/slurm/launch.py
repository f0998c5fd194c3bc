"""What srun starts on each machine: alphaf, in the profile's container where it names one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePath

from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.profiles import granted
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Container, Profile

# --cpu-bind: one process a machine uses all the processors that the job got there. --wait: machines that wait for
# another one's end are not killed for it, as they would be where a site sets WaitTime. --input: nothing asks a person.
_SRUN = ("--ntasks-per-node=1", "--cpu-bind=none", "--wait=0", "--input=none")
# enroot gives a container what it is told by name alone. These tell alphaf of its job, its seat among machines and its
# devices (clusters.submitted, core.nodes, core.hardware); only the machine itself knows them.
_TOLD = r'$(env | sed -nE "s/^((SLURM|CUDA)_[A-Z_]+|PYTHONUNBUFFERED)=.*/--env \1/p")'
_ENROOT = f'exec enroot start {_TOLD} "$@"'
_FOLDER = 'cd "$0" && exec "$@"'  # enroot has no option for the folder to start in


def launch(job: Job, profile: Profile, paths: RunPaths, place: Place) -> str:
    """Return the words behind `srun`, for bash; raise ConfigError for a mount that the runtime cannot be told."""
    given, container = granted(profile, job.needs), profile.container
    srun = (f"--nodes={given.nodes}", *_SRUN)
    alphaf = ("-m", "alphaf_orch", "job", job.run, job.name)
    if not container:
        return shlex.join((*srun, profile.python or place.python, *alphaf))
    if container.runtime == "image":
        raise ConfigError(
            "Slurm itself starts no container: `image` is for other schedulers",
            where="`container: runtime:` of the profile",
            fix="write pyxis, enroot or apptainer, whichever the site has",
            code="config.not_supported",
        )
    # By `env`, inside: what an image sets itself wins over the variables of a job, with every runtime in another way.
    settled = ("env", *(f"{name}={value}" for name, value in place.env.items()))
    within = (*settled, container.python, *alphaf)
    mounts = (*(f"{path}:{path}" for path in _folders(container, job, paths, place)), *container.mounts)
    if container.runtime == "pyxis":
        return shlex.join((*srun, *_pyxis(container, mounts, place), *within))
    if container.runtime == "apptainer":
        return shlex.join((*srun, *_apptainer(container, mounts, place, bool(given.gpus)), *within))
    passed = (*profile.env, *(["TMPDIR"] if profile.scratch else []))
    return shlex.join((*srun, *_enroot(container, mounts, passed, place), *within))


def _folders(container: Container, job: Job, paths: RunPaths, place: Place) -> list[str]:
    """Return what a job needs under the path that it has outside, each folder once; raise ConfigError for a path."""
    within = [mount.split(":")[1] for mount in container.mounts if ":" in mount]  # as the user has it there
    reads = (path for path in job.reads if not any(PurePath(path).is_relative_to(it) for it in within))
    folders = (text for text in place.env.values() if PurePath(text).is_absolute())
    needed = {str(paths.root), place.folder, *folders, *reads}
    found = sorted(path for path in needed if not any(PurePath(path).is_relative_to(it) for it in needed - {path}))
    # pyxis and enroot write lines of an fstab, fields between blanks.
    signs = ",:" if container.runtime == "apptainer" else ",: \t"
    for path in found:
        if any(sign in path for sign in signs):
            raise ConfigError(
                f"{container.runtime} cannot be given a folder with a comma, a colon or a blank in its path",
                where=path,
                fix="move it to a path without one, or use a profile without `container`",
                code="config.unfit_characters",
            )
    return found


def _pyxis(container: Container, mounts: Sequence[str], place: Place) -> list[str]:
    mounted = f"--container-mounts={','.join(mounts)}"
    return [f"--container-image={container.image}", mounted, f"--container-workdir={place.folder}"]


def _apptainer(container: Container, mounts: Sequence[str], place: Place, gpus: bool) -> list[str]:
    options = [*(["--nv"] if gpus else []), *(f"--bind={mount}" for mount in mounts), f"--pwd={place.folder}"]
    return ["apptainer", "exec", *options, container.image]


def _enroot(container: Container, mounts: Sequence[str], names: Sequence[str], place: Place) -> list[str]:
    # The fields of an fstab, between colons: without `x-create` a folder that the image lacks is an error.
    mounted = [f"--mount={mount}:none:x-create=auto,rbind" for mount in mounts]
    passed = [f"--env={name}" for name in names]
    return ["bash", "-c", _ENROOT, "enroot", *mounted, *passed, container.image, "sh", "-c", _FOLDER, place.folder]
