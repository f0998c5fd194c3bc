"""Names and paths as a system takes them: by bytes, in UTF-8, composed; what it does not take is told in words."""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from alphaf_orch.core.errors import ConfigError

_RUN_NAME = re.compile(r"\w[\w.-]{0,99}")
# A file's name has 255 bytes (NAME_MAX), a syllable of Hangul three; what is put around a name of ours is shorter than
# the difference: `compare-NAME.html.partial`, `NAME.20260101-000000`, `NAME.samples.jsonl.partial` [ours].
NAME_BYTES = 220
_UNUSABLE = {
    errno.ENOENT: "there is no such file or folder",
    errno.ENAMETOOLONG: "the path is too long: a name has at most 255 bytes, a path 4,095",
    errno.ELOOP: "the links of the path lead in a circle",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "a folder stands where a file should be",
    errno.EEXIST: "a file stands where a folder should be",
    errno.ENXIO: "the path leads to no file that can be opened",
    errno.EINVAL: "the path leads to what cannot be read as a file",
    errno.ESPIPE: "the path leads to what cannot be read as a file",
}


def expanded(text: str | Path) -> Path:
    """Return the path with `~` as the home folder; one of a user who is not there stays as it is, as in a shell."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (Path.expanduser raises RuntimeError for such a user)


def real(path: Path) -> Path:
    """Return the absolute path with its links followed; where they lead in a circle, as far as they lead."""
    return Path(os.path.realpath(path))  # Path.resolve raises RuntimeError for a circle


def path_error(error: OSError) -> ConfigError | None:
    """Return what to tell the user of a path that the system does not take, None for any other error."""
    named = error.filename2 or error.filename
    if error.errno not in _UNUSABLE or not isinstance(named, str | bytes):
        return None
    name = os.fsdecode(named)
    shown = name if len(name) <= 300 else f"{name[:300]}… ({len(name):,} characters)"
    return ConfigError(
        _UNUSABLE[error.errno],
        where=shown,
        fix="name a shorter path, or one that leads to a file",
        code="config.path_unusable",
    )


def refuse_undecodable(args: Sequence[str]) -> None:
    """Raise ConfigError for a word of the command line, a folder of ours or the current one that is not UTF-8.

    Neither a YAML nor a JSON file can hold such a name, so no tool could be told of it.
    """
    folders = {
        name: os.environ.get(name, "") for name in ("ALPHAF_RUNS", "ALPHAF_CACHE", "ALPHAF_TEMPLATES", "HF_HOME")
    }
    said = [("the command line", arg) for arg in args]
    try:
        current = os.getcwd()  # noqa: PTH109  (a text)
    except FileNotFoundError:
        raise ConfigError(
            "the current folder is gone",
            where="the current folder",
            fix="cd to one that is there",
            code="config.folder_gone",
        ) from None
    for where, text in (*said, *folders.items(), ("the current folder", current)):
        try:
            text.encode()
        except UnicodeEncodeError:
            what = f"{text!a} is not UTF-8, so no file of settings can hold it"
            raise ConfigError(
                what,
                where=where,
                fix="rename it, or write it in UTF-8 (convmv renames whole folders)",
                code="config.not_utf8",
            ) from None


def check_run_name(name: str) -> str:
    """Return the name when it is one plain folder name (letters of any script, digits, `_`, `-`, `.`), composed (NFC).

    A name that macOS decomposed (NFD) looks the same and is the same name to us.
    """
    composed = unicodedata.normalize("NFC", name)
    if not _RUN_NAME.fullmatch(composed) or composed.endswith("."):
        raise ConfigError(
            f"{name!r} is not a run name",
            where="--run",
            fix="use letters, digits, '_', '-' and '.' only, starting with a letter or digit; the folder of all"
            " runs is set by ALPHAF_RUNS, and EXPERIMENT/ARM names an arm of an experiment that is there",
            code="config.not_a_run_name",
        )
    size = len(composed.encode())
    if size > NAME_BYTES:
        raise ConfigError(
            f"the run name has {size} bytes, and at most {NAME_BYTES} are taken: {composed}",
            where="--run",
            fix="shorten it; a Korean syllable has 3 bytes, and a file's name 255 with what is put around it",
            code="config.name_too_long",
        )
    return composed


def named_folder(parent: Path, name: str) -> Path:
    """Return the folder of a run or an experiment: one that is there in either spelling (NFC, NFD), else composed.

    Raises ConfigError for what is no run name.
    """
    composed = check_run_name(name)
    spellings = (name, composed, unicodedata.normalize("NFD", composed))
    there = (parent / each for each in spellings if len(each.encode()) <= 255 and (parent / each).is_dir())
    return next(there, parent / composed)
