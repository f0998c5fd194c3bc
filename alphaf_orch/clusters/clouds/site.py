"""What of a profile only Slurm understands, and whether jobs see the folders that they work in: refused, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from alphaf_orch.clusters.place import OF_THE_MACHINE
from alphaf_orch.clusters.profiles import Granted
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile

# Variables that name a folder which jobs read or write.
_FOLDERS = ("ALPHAF_RUNS", "ALPHAF_CACHE", "ALPHAF_TEMPLATES", "HF_HOME", "HF_HUB_CACHE")


def portable(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that mean the same on a machine of another make."""
    return {name: value for name, value in env.items() if not OF_THE_MACHINE.fullmatch(name)}


def refuse_slurms(profile: Profile, granted: Granted) -> None:
    """Raise ConfigError for keys that would be passed over in silence: nothing but Slurm knows them."""
    said = {
        "partition": granted.partition,
        "qos": granted.qos,
        "account": profile.account,
        "extra": granted.extra,
        "modules": profile.modules,
        "container.runtime": profile.container.runtime if profile.container and not _plain_image(profile) else None,
        "container.mounts": profile.container.mounts if profile.container else (),
    }
    foreign = [key for key, value in said.items() if value]
    if foreign:
        raise ConfigError(
            f"{profile.scheduler} knows nothing of {', '.join(foreign)}",
            where=f"the profile of {profile.scheduler}",
            fix=f"take it out; what {profile.scheduler} has instead stands under `{profile.scheduler}:`, "
            "and an image is `container: {runtime: image, image: ...}`",
            code="config.key_not_used",
        )


def refuse_unseen(profile: Profile, paths: RunPaths, place: Place, seen: Collection[str]) -> None:
    """Raise ConfigError for a folder of a job that none of the folders holds which jobs see under the same path."""
    folders = {"the run's folder": str(paths.root), "the folder to start in": place.folder}
    folders |= {name: place.env[name] for name in _FOLDERS if place.env.get(name)}
    if not (profile.container or profile.skypilot.checkout):
        folders["python"] = place.python
    lost = {what: path for what, path in folders.items() if not _within(path, seen)}
    if lost:
        what, path = next(iter(lost.items()))
        more = f" (nor {', '.join(list(lost)[1:])})" if len(lost) > 1 else ""
        raise ConfigError(
            f"jobs would not see {what}, {path}{more}",
            where=f"the profile's `{profile.scheduler}:` shows jobs {', '.join(seen) or 'no folder'}",
            fix=_fix(profile.scheduler),
            code="config.path_not_seen",
        )


def _fix(scheduler: str) -> str:
    keys = "`volumes:`" if scheduler == "kubernetes" else "`volumes:`, `file_mounts:` or `shared:`"
    return (
        f"name the folder there with {keys}, mounted here under the same path, or move what is meant into one of them"
    )


def _plain_image(profile: Profile) -> bool:
    return profile.container is not None and profile.container.runtime == "image"


def _within(path: str, seen: Collection[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in seen)
