"""Asks the installed axolotl about a recipe that only it can judge: once for each recipe, before the first launch."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.command import PROGRAM_ENV, capture, child_env, program
from alphaf_orch.core.errors import ConfigError, DiskError, ToolError
from alphaf_orch.core.paths import cache_dir
from alphaf_orch.core.record import read_json, write_atomic
from alphaf_orch.planning.asking import Question, question_of
from alphaf_orch.planning.plan import Plan
from alphaf_orch.programs.versions import installed as versions_here

_SECONDS = 600  # its imports take ten; on a cold network disk minutes


def check_recipe(plan: Plan, say: Callable[[str], None], *, launches: bool = False) -> None:
    """Raise ConfigError with axolotl's own reason where it would refuse the plan's SFT recipe, or drop a key of it.

    A plugin that its environment lacks is a ToolError where something `launches`; a plan may be made elsewhere.
    Nothing is started for what static rules decide (planning/asking.py), nor a second time for the same recipe,
    kind of card and versions. `say` is told when it is asked, and where it cannot be.
    """
    question = question_of(plan)
    if question is None:
        return
    named = ", ".join(question.keys)
    installed, torch = _installed(question.python)
    if not installed:
        say(f"note: axolotl was not asked about {named}: it is not installed in {question.python}")
        return
    place = cache_dir() / "recipes" / f"{question.fingerprint(installed, torch)}.json"
    answer = _kept(place)
    if answer is None:
        say(f"axolotl {installed} is asked once whether it takes {named}; that takes some seconds")
        answer = _asked(question)
        if answer is None:
            say(f"note: axolotl could not be asked about {named}: {question.python} gave no answer")
            return
        lacking = next((reason for reason in answer["refused"] if reason["key"] == "plugins"), None)
        if lacking:  # not kept: it may be installed the next time
            _lacks(lacking, question, say, launches=launches)
            return
        try:
            write_atomic(place, json.dumps(answer, ensure_ascii=False))
        except (DiskError, OSError) as error:
            why = error.what if isinstance(error, DiskError) else error.strerror
            say(f"note: {place.parent} cannot be written ({why}): the recipe is asked about again next time")
    _refuse(answer, installed, question)


def _lacks(reason: Mapping[str, Any], question: Question, say: Callable[[str], None], *, launches: bool) -> None:
    """Raise ToolError for a plugin that cannot be used in its environment, or say so where nothing is launched."""
    told = f"the recipe names the plugin {reason['value']}, and {reason['reason']}"
    if not launches:
        say(f"note: {told} ({question.python}); a run would be refused")
        return
    raise ToolError(
        told,
        where=question.python,
        fix="install it there, or take the plugin out of sft.plugins",
        code="tool.plugin_unusable",
    )


def _installed(python: str) -> tuple[str, str]:
    """Return the versions of axolotl and torch in an environment, "" where one or the environment is not there."""
    from alphaf_orch.runs.preflight import tool_versions  # most plans ask nothing, and need not wait for its import

    try:
        found = versions_here(("axolotl", "torch")) if python == sys.executable else tool_versions(python)
    except ToolError:
        return "", ""
    return found.get("axolotl", ""), found.get("torch", "")


def _asked(question: Question) -> dict[str, Any] | None:
    """Return axolotl's answer: what it refuses with its reasons, and the keys that it would drop."""
    with tempfile.TemporaryDirectory(prefix="alphaf-recipe-") as folder:
        file = Path(folder) / "question.json"
        asked = {"recipes": {"sft": question.recipe.text}, "gpus": question.gpus, "nodes": question.nodes}
        asked |= {"card": question.card} if question.card else {}
        file.write_text(json.dumps(asked, ensure_ascii=False), encoding="utf-8")
        argv = program(question.python, "training.validate_recipe", str(file))
        code, out = capture(argv, env=child_env(PROGRAM_ENV, online=False), timeout=_SECONDS)
    last = out.strip().rpartition("\n")[2]
    if code or not last.startswith("{"):
        return None
    found: dict[str, Any] = json.loads(last)["recipes"]["sft"]
    return found


def _kept(place: Path) -> dict[str, Any] | None:
    """Return the answer that is kept; one that is gone or cut off counts as none."""
    try:
        found = read_json(place)
    except OSError:  # another user's
        return None
    return found if found and {"refused", "dropped"} <= found.keys() else None


def _refuse(answer: Mapping[str, Any], installed: str, question: Question) -> None:
    cards = f"{question.gpus or 'no'} GPU(s){question.card and f' of {question.card}'}"
    place = f"axolotl {installed}, asked about the recipe for {cards}"
    for reason in answer["refused"]:
        key = reason["key"]
        told = f"{key}: {reason['value']!r}" if key else "the recipe"
        said = f"axolotl refuses {told}: {reason['reason']}"
        others = [name for name in question.keys if name != key.partition(".")[0]]
        fix = f"mend sft.{key}" if key else "change what it names"
        fix += f", or one of yours that it does not go with ({', '.join(others)})" if others else ""
        raise ConfigError(
            said, where=f"{place}{f', key sft.{key}' if key else ''}", fix=fix, code="config.recipe_refused"
        )
    for key in answer["dropped"]:
        raise ConfigError(
            f"axolotl knows no key {key}, and would drop it without a word",
            where=f"{place}, key sft.{key}",
            fix="correct its name, or name the plugin that it belongs to under `plugins:`",
            code="config.unknown_key",
        )
