"""Names, times, shell words and YAML as SkyPilot and Kubernetes take them."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from alphaf_orch.clusters.limits import seconds
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.render import Spelt

# Written bare: no reader of YAML 1.1 or 1.2 takes it for anything but itself. Go's takes 1e3 for a number where
# PyYAML's does not, so that a digit at the beginning is quoted.
_BARE = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS = re.compile(r"(y|n|yes|no|on|off|true|false|null|nan|inf)$", re.IGNORECASE)


class _Readable(Spelt):
    """Block style, lines of shell as they are, every text quoted that somebody could take for another thing."""


def _text(dumper: Any, text: str) -> Any:
    bare = _BARE.fullmatch(text) and not _WORDS.match(text)
    style = "|" if text.endswith("\n") else None if bare else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)


def documents(head: Sequence[str], values: Sequence[Mapping[str, Any]]) -> str:
    """Return a YAML file of several documents, behind lines of comment."""
    texts = [
        yaml.dump(dict(value), Dumper=_Readable, allow_unicode=True, sort_keys=False, width=2**31 - 1)
        for value in values
    ]
    return "".join(f"# {line}\n" for line in head) + "---\n".join(texts)


def label(text: str, longest: int) -> str:
    """Return a name of small letters, digits and dashes, the same for the same text and another one for another.

    What is lost is made up for by eight digits of the text's SHA-256, so that `실험` and `a_b` keep apart from `a-b`.
    """
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if found == text and len(found) <= longest:
        return found
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{found[: longest - 9].rstrip('-')}-{mark}".strip("-")


def limited(time: str, where: str) -> int:
    """Return a time limit in seconds; raise ConfigError for what is none, and for no limit, which is left out here."""
    try:
        found = seconds(time.strip())
    except ValueError:
        found = None
    if not found:
        fix = "write it as 2-00:00:00, 12:00:00 or 90 (minutes)"
        raise ConfigError(f"{time!r} is no time limit", where=where, fix=fix, code="config.not_a_time")
    return found


def timed(argv: Sequence[str], time: str | None, stop_before: int, where: str) -> tuple[str, ...]:
    """Return the call that asks `alphaf` to go on later (SIGUSR1) so many seconds before the limit, and ends it then.

    `--foreground` keeps the signal from the tools, `--preserve-status` hands on that `alphaf` ended to go on.
    """
    if time is None:
        return tuple(argv)
    limit = limited(time, where)
    if limit <= stop_before:
        raise ConfigError(
            f"the time limit {time} leaves nothing before the {stop_before} s that a checkpoint gets",
            where=where,
            fix="give more time, or less with `stop_before:`",
            code="config.out_of_range",
        )
    call = ("timeout", "--foreground", "--preserve-status", "--signal=USR1", f"--kill-after={stop_before}")
    return (*call, str(limit - stop_before), *argv)


def shell(argv: Sequence[str]) -> str:
    """Return the words of a call for a POSIX shell."""
    return shlex.join(argv)
