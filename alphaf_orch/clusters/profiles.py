"""A site's profile: found by name or path, read with the line of every mistake, and what a job gets by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

from pydantic import BaseModel

from alphaf_orch.clusters.jobs import Needs
from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.masking import is_secret_name
from alphaf_orch.core.names import expanded
from alphaf_orch.core.paths import find_template
from alphaf_orch.core.values import Mistake, nearest, validated
from alphaf_orch.core.yaml_files import LOADER, Document, parse_document, read_text
from alphaf_orch.planning.forecast import card_room
from alphaf_orch.settings.clouds import Claim, Kubernetes, SkyPilot, Toleration
from alphaf_orch.settings.clusters import Container, On, Profile, Resources, Role, is_path

_SET = re.compile(r"(\w+)=[\"']?(?=([^\s\"']))")  # a variable, and how its value begins
# ours: a rank, the two workers that load its rows, and the thread that pins them
CPUS_PER_GPU = 4


# What stands under which keys of a profile.
_MODELS: Mapping[tuple[str, ...], type[BaseModel]] = {
    ("container",): Container,
    ("skypilot",): SkyPilot,
    ("kubernetes",): Kubernetes,
    ("kubernetes", "volumes"): Claim,
    ("kubernetes", "tolerations"): Toleration,
}


class _AsWritten(LOADER):
    """YAML whose values stay what is written: to YAML 1.1 the time 24:00:00 is 86400, and the account 0123 is 83."""

    yaml_implicit_resolvers: ClassVar[Any] = {
        first: [(tag, pattern) for tag, pattern in found if tag.endswith((":null", ":merge"))]
        for first, found in LOADER.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True)
class Granted:
    """What one job asks for, all said: its role's part of the profile over the profile's own."""

    gpus: int  # of each machine
    nodes: int
    partition: str | None = None
    qos: str | None = None
    cpus: int | None = None  # of each machine
    memory: str | None = None  # of each machine
    time: str | None = None
    extra: tuple[str, ...] = ()


def load_profile(on: On, folders: tuple[Path, ...]) -> Profile:
    """Return the profile that `--on` means, from the templates folders or a path of the user's.

    Raises ConfigError naming file, line and key: a profile that is not there, a key that is none (with the nearest), a
    value that is not taken, a secret, a profile of another scheduler.
    """
    path = profile_file(on, folders)
    text, subject = read_text(path, "the profile is "), "the profile is "
    document = parse_document(text, str(path), subject, loader=_AsWritten, may_be_empty=True)
    refuse_credentials(document.values, str(path))
    _refuse_settings_in_lines(document, path)

    def told(mistake: Mistake) -> ConfigError:
        keys = tuple(key for key in mistake.keys if key != "[key]")  # so pydantic has it of a key that is none
        key = ".".join(keys)
        where = f"{path}{_line(document, keys)}, key {key}"
        if mistake.unknown or keys != mistake.keys:
            known = _known(keys)
            what = f"unknown key {keys[-1]}{nearest(keys[-1], known)}"
            return ConfigError(
                what, where=where, fix=f"known keys there: {', '.join(known)}", code="config.unknown_key"
            )
        return ConfigError(
            f"{key}: {mistake.message.lower()}", where=where, fix="mend that value", code="config.wrong_value"
        )

    profile = validated(Profile, {"scheduler": on.scheduler, **document.values}, told)
    if profile.scheduler != on.scheduler:
        raise ConfigError(
            f"the profile is one of {profile.scheduler}, and --on says {on.scheduler}",
            where=f"{path}{_line(document, ('scheduler',))}, key scheduler",
            fix=f"say --on {profile.scheduler}:{on.profile}, or name another profile",
            code="config.not_together",
        )
    return profile


def profile_file(on: On, folders: tuple[Path, ...]) -> Path:
    """Return the file of the profile that `--on` means; raise ConfigError, naming those there are, where none is."""
    if is_path(on.profile):
        path = expanded(on.profile)
        if not path.is_file():
            raise ConfigError(
                "the profile does not exist",
                where=str(path),
                fix="check the path after --on SCHEDULER:",
                code="config.file_missing",
            )
        return path
    name = on.profile or on.scheduler
    known = sorted({path.stem for folder in folders for path in (folder / "clusters").glob("*.yaml")})
    if name not in known:
        raise ConfigError(
            f"no profile is called {name!r}{nearest(name, known)}",
            where=f"--on {on}; looked for clusters/{name}.yaml in {', '.join(map(str, folders))}",
            fix=f"use one of: {', '.join(known)}; or --on {on.scheduler}:PATH.yaml for a file of your own",
            code="config.unknown_name",
        )
    return find_template(folders, f"clusters/{name}.yaml")


def granted(profile: Profile, needs: Needs) -> Granted:
    """Return what a job asks its scheduler for; GPUs that the profile says go before those that the job needs."""
    own = profile.stages.get(needs.role) or Resources()

    def said(name: str) -> Any:
        mine = getattr(own, name)
        return getattr(profile, name) if mine is None else mine

    gpus = said("gpus")
    gpus = needs.gpus if gpus is None else gpus
    cpus = said("cpus") or (CPUS_PER_GPU * gpus if gpus else None)
    return Granted(
        gpus=gpus,
        nodes=needs.nodes,
        partition=said("partition"),
        qos=said("qos"),
        cpus=cpus,
        memory=said("memory"),
        time=said("time"),
        extra=(*profile.extra, *own.extra),
    )


def described(profile: Profile, gpus: int) -> Machine:
    """Return the machine that the profile describes; `gpus` are its cards where the profile does not count them.

    What is not said stays unknown: 0 bytes of memory, no kind of card.
    """
    count = gpus if profile.gpus_per_node is None else profile.gpus_per_node
    card = profile.gpu or ""
    cpus = granted(profile, Needs("train", count)).cpus or 1
    return Machine((card or "GPU",) * count, cpus, (), card_room(card) if count else 0, "")


def _refuse_settings_in_lines(document: Document, path: Path) -> None:
    """Raise ConfigError for a variable that is set to a secret in a line of shell or of the scheduler's."""
    stages = document.values.get("stages")
    parts = [((), document.values), *((("stages", role), part) for role, part in _mappings(stages))]
    for above, part in parts:
        for key in ("setup", "extra", "env"):
            lines = part.get(key)
            for line in lines if isinstance(lines, list | tuple) else ():
                named = next((n for n, value in _SET.findall(str(line)) if is_secret_name(n) and value != "$"), "")
                if named:
                    raise ConfigError(
                        f"{key} sets {named}, and a job's file is readable by others",
                        where=f"{path}{_line(document, (*above, key))}, key {'.'.join((*above, key))}",
                        fix=f"take it out, export {named} where you submit, and name it: `env: [{named}]`",
                        code="config.holds_secret",
                    )


def _mappings(stages: Any) -> list[tuple[str, Mapping[str, Any]]]:
    found = stages.items() if isinstance(stages, Mapping) else ()
    return [(str(role), part) for role, part in found if isinstance(part, Mapping)]


def _line(document: Document, keys: tuple[str, ...]) -> str:
    """Return where the key stands, or the nearest one above it: ` line 7`; empty where none of them is written."""
    line = next((document.lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in document.lines), None)
    return f" line {line}" if line else ""


def _known(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys that may stand where this one does."""
    if keys[0] == "stages":
        return tuple(Resources.model_fields) if len(keys) > 2 else get_args(Role)
    models = (model for model in (_MODELS.get(keys[:n]) for n in range(len(keys) - 1, 0, -1)) if model)
    return tuple(next(models, Profile).model_fields)
