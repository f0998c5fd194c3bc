"""How this process was called, and a text with its commands spelled so: what a message says to type can be pasted."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

SPELLED = "ALPHAF_CALLED"  # in the environment: how alphaf is spelled, said by whoever wraps or starts it
BY_MAKE = (
    "ALPHAF_MAKE"  # in the environment: that our Makefile called; 1, or its folder where the caller stands elsewhere
)

# Every command that people type, as cli.main has them.
NAMES = (
    "ablate", "attach", "bakeoff", "board", "bundle", "cancel", "chat", "clean", "compare", "completion", "doctor",
    "dpo", "estimate", "eval", "init", "judge", "logs", "merge-models", "models", "notify", "plan", "repair",
    "report", "run", "runs", "schema", "sft", "show", "verify", "watch",
)  # fmt: skip

_CHAIN = {"--model": "MODEL", "--run": "RUN", "--config": "CONFIG", "--gpus": "GPUS", "--data": "DATA", "--set": "SET"}
_SCORES = {"--suite": "SUITE", "--limit": "LIMIT"}
_DRY = {"--dry-run": "DRY_RUN"}
# By command: the target, the variable of each option that it hands on, and those of the words that are no option's.
TARGETS: Mapping[str, tuple[str, Mapping[str, str], Sequence[str]]] = {
    "sft": ("sft", _CHAIN | _DRY, ()),
    "dpo": ("dpo", _CHAIN | _DRY, ()),
    "run": ("run", _CHAIN | _DRY, ()),
    "plan": ("plan", _CHAIN, ()),
    "estimate": ("estimate", _CHAIN, ()),
    "doctor": ("doctor", {name: _CHAIN[name] for name in ("--model", "--run", "--config", "--gpus")}, ()),
    "models": ("models", {}, ()),
    "merge-models": ("merge-models", {"--run": "RUN", "--partner": "PARTNER", "--method": "METHOD"} | _DRY, ()),
    "ablate": ("ablate", _CHAIN | _SCORES | _DRY, ("WHAT",)),
    "bakeoff": (
        "bakeoff",
        {"--models": "MODELS", "--data": "DATA", "--set": "SET", "--gpus": "GPUS"} | _SCORES | _DRY,
        (),
    ),
    "eval": ("eval", {"--run": "RUN", "--stages": "STAGES"} | _SCORES | _DRY, ()),
    "judge": ("judge", {"--run": "RUN", "--a": "A", "--b": "B", "--judge": "JUDGE", "--limit": "LIMIT"}, ()),
    "report": ("report", {}, ("RUN",)),
    "chat": ("chat", {}, ("RUN",)),
    "compare": ("compare", {}, ("A", "B")),
    "clean": ("clean-runs", {}, ("RUN",)),
}
_LISTS = ("DATA", "SET", "PARTNER", "WHAT")  # what make cuts at blanks

_PLAIN = re.compile(r"[\w@%+=:,./-]+")
_QUOTED = re.compile(r"`(alphaf [^`\n]+)`")
# A line that is a command, behind a prompt or a label of at most three words, in any language: `chat:  alphaf chat X`.
_LINE = re.compile(rf"(?m)^([^\S\n]*(?:\$ |[^\W\d_]\w*(?: \w+){{0,2}}: +))(alphaf (?:{'|'.join(NAMES)})(?= |$).*)$")


@dataclass(frozen=True)
class Called:
    """How alphaf is spelled where it was called, and how make is; empty where make did not call it."""

    alphaf: str = "alphaf"
    make: str = ""


@cache
def here() -> Called:
    """Return how this process was called: by make, by a path, by `alphaf` on the PATH or as a module of a python."""
    if sys.argv[1:2] in (["job"], ["part"]):  # what a job says is read by others, and spelled for them there
        return Called()
    return called(sys.argv[0], sys.orig_argv, os.environ)


def as_called(text: str) -> str:
    """Return a text with its commands spelled as this process was called."""
    return respelt(text, here())


def typed(command: str) -> str:
    """Return a command line, which begins with `alphaf`, as whoever called this process would type it."""
    return _typed(command, here())


def called(program: str, argv: Sequence[str], environment: Mapping[str, str]) -> Called:
    """Return how a process with that argv[0], that whole command line and environment was called."""
    make, folder = _make(environment) if environment.get(BY_MAKE) else ("", "")
    spelled = environment.get(SPELLED)
    if not spelled and Path(program).name == "__main__.py" and "-m" in argv:  # its own argv[0] is a file of ours
        spelled = " ".join(map(_quoted, [argv[0], "-m", argv[argv.index("-m") + 1]]))
    elif not spelled:
        spelled = _quoted(_as_typed(program, environment.get("PATH", ""), folder))
    return Called(spelled, make)


def _as_typed(program: str, path: str, folder: str) -> str:
    """Return a program as its caller would type it: by its bare name where the PATH leads to that file."""
    if Path(program).name != "alphaf":  # a test's, or a program that has ours inside
        return "alphaf"
    places = (os.path.join(each or ".", "alphaf") for each in path.split(":"))  # noqa: PTH118  (as a shell spells it)
    found = next((place for place in places if os.access(place, os.X_OK)), "")  # shutil costs more than the rest of us
    if found and os.path.normpath(found) == os.path.normpath(program):
        return "alphaf"
    return str(Path(folder, program)) if folder else program


def _make(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return make as it was called, with what it was told of the environment, and its folder where that is another."""
    _, _, given = f" {environment.get('MAKEFLAGS', '')}".partition(" -- ")
    said = [word.replace("$$", "$") for word in shlex.split(given) if word.startswith(("VENV=", "SKIP_SETUP="))]
    folder = environment[BY_MAKE] if environment[BY_MAKE] != "1" else ""
    return " ".join(map(_quoted, ["make", *(["-C", folder] if folder else []), *said])), folder


def _quoted(word: str) -> str:
    """Return a word as a shell takes it: a Korean one as it is, which shlex.quote would put between quotes."""
    return word if _PLAIN.fullmatch(word) else shlex.quote(word)


def respelt(text: str, called: Called) -> str:
    """Return a text whose commands are spelled as alphaf was called: between backquotes, and lines that are one.

    A command of which make has a target for every word becomes that target, where make called.
    """
    if "alphaf " not in text or called == Called():
        return text
    typed = partial(_typed, called=called)
    text = _QUOTED.sub(lambda found: f"`{typed(found[1])}`", text)
    return _LINE.sub(lambda found: found[1] + typed(found[2]), text)


def _typed(command: str, called: Called) -> str:
    target = _target(command) if called.make else None
    return f"{called.make} {target}" if target else called.alphaf + command.removeprefix("alphaf")


def _target(command: str) -> str | None:
    """Return the target and variables that are the same command; None where there are none."""
    try:
        _, name, *words = shlex.split(command)
    except ValueError:  # a quotation mark alone: no command of a shell's
        return None
    if name not in TARGETS:
        return None
    target, options, places = TARGETS[name]
    given: dict[str, list[str]] = {}
    left, rest = list(places), list[str]()
    while words:
        word = words.pop(0)
        if word == "--dry-run" and word in options:
            given["DRY_RUN"] = ["1"]
        elif word in options and words:
            given.setdefault(options[word], []).append(words.pop(0))
        elif word.startswith("-"):  # of what has no variable the value is not told from a word of its own
            rest += [word, *words]
            words = []
        elif left:
            variable = left[0] if left[0] in _LISTS else left.pop(0)
            given.setdefault(variable, []).append(word)
        else:
            return None
    if not all(_fits(name, values) for name, values in given.items()) or (name == "compare" and left):
        return None
    if any(not _PLAIN.fullmatch(word) for word in rest):  # make's ARGS go through a shell
        return None
    values = {variable: " ".join(words) for variable, words in (given | ({"ARGS": rest} if rest else {})).items()}
    return " ".join([target, *(f"{variable}={_quoted(value)}" for variable, value in values.items())])


def _fits(variable: str, values: Sequence[str]) -> bool:
    """Return whether make hands on exactly these values: a list is cut at blanks, and nothing is left out as empty."""
    if variable in _LISTS:
        return not any(not value or re.search(r"\s", value) for value in values)
    return len(values) == 1 and values[0] != ""
