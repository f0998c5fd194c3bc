"""What of a rendered SFT recipe only axolotl itself can judge: then it is asked, before anything is launched.

Decided without it is, among the keys of the user and of templates of one's own, a key that the shipped recipe has too
and whose value is a number in its range or one of its recorded names, the text of a chat template (checked in
inputs/chat_templates.py), and what shipped recipes, hardware layers and presets say themselves. All else (a key of a
plugin, of an engine, a mapping, a switch, a key that the recipe lacks and may not go with it) is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import find_template, template_folders
from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.render import Rendered, template_text
from alphaf_orch.core.yaml_files import parse_yaml
from alphaf_orch.inputs.presets import file_of
from alphaf_orch.planning.engines import templates
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import stage_name
from alphaf_orch.programs.tracker_keys import KEYS as TRACKER_KEYS
from alphaf_orch.settings.engine_keys import ENGINE_KEYS
from alphaf_orch.settings.keys import known_keys

# Places alone: axolotl's validators look at none of them, and each run has its own.
_PLACES = {"output_dir", "dataset_prepared_path", "deepspeed"}
_ARTICLES_CARD = "sm_90"  # H100 [article], where a plan is made on a machine without GPUs
# Values of the shipped recipes that axolotl refuses beside others of them: 4-bit weights without qlora, an evaluation
# of no rows.
_ENTANGLED = {"load_in_4bit", "eval_steps", "eval_strategy"}


@dataclass(frozen=True)
class Question:
    """A recipe that axolotl is asked about, and why: the user's keys that nothing else decides."""

    recipe: Rendered
    keys: tuple[str, ...]
    gpus: int  # of each machine
    nodes: int
    python: str
    card: str  # their kind; "" for a CPU, and where the cards here do not tell it: then torch is asked for it
    names: tuple[str, ...] = ()  # of cards that do not tell it

    def fingerprint(self, axolotl: str, torch: str) -> str:
        """Return what stands for the question to those versions: the recipe without its places, and the machine."""
        asked = {key: value for key, value in self.recipe.values.items() if key not in _PLACES}
        return fingerprint([asked, self.gpus, self.nodes, self.card, list(self.names), axolotl, torch])[:32]


def question_of(plan: Plan) -> Question | None:
    """Return what axolotl is to be asked about a plan; None where the plan trains no SFT or all is decided."""
    name = stage_name("train", "sft")
    recipe = next((stage.own_file for stage in plan.stages if stage.name == name), None)
    if recipe is None:
        return None
    keys = tuple(_undecided(plan, recipe))
    if not keys:
        return None
    gpus, here = plan.gpus["sft"], plan.resolved.machine
    card = (here.card if here.gpus else _ARTICLES_CARD) if gpus else ""
    names = tuple(sorted(set(here.gpus))) if gpus and not card else ()
    return Question(recipe, keys, gpus, plan.resolved.nodes("sft"), plan.resolved.python(), card, names)


def _undecided(plan: Plan, recipe: Rendered) -> list[str]:
    resolved, (*own, shipped) = plan.resolved, template_folders(plan.resolved.config.templates)
    template = find_template(resolved.folders, f"sft/{resolved.adapter}.yaml.j2")
    layers: list[Mapping[str, Any]] = [resolved.config.sft]
    for file in (file_of(resolved.preset, tuple(folder / "models" for folder in resolved.folders)), template):
        if not file.is_relative_to(shipped):
            layers.append(resolved.preset.sft if file != template else recipe.values)
    for folder in own:
        for file in (folder / "hardware").glob("*.yaml"):
            layers.append(parse_yaml(template_text(file), str(file)).get("sft") or {})
    laid = [{k: v for k, v in layer.items() if k not in _PLACES} for _, layer in resolved.laid.layers]
    if laid and not all(file.is_relative_to(shipped) for file in templates(resolved.engine.name, resolved.folders)):
        layers += laid
    # What each of them says: of one key two may say different things, and either may be what the other goes with.
    pairs = [pair for layer in layers for pair in layer.items()]
    if not pairs:
        return []
    known, said = known_keys("sft"), _shipped(shipped, resolved.adapter)
    left = [(key, value) for key, value in pairs if not _decided(key, value, known, said)]
    said_by_presets = _presets(shipped) if left else []
    found = [key for key, value in left if key in _ENTANGLED or (key, value) not in said_by_presets]
    return list(dict.fromkeys(found))


def _decided(key: str, value: Any, known: Mapping[str, Mapping[str, Any]], said: Mapping[str, list[Any]]) -> bool:
    # Of an engine the table decides (planning/engine_table.py); what else each renders axolotl takes (tests/real).
    if key in TRACKER_KEYS or key in ENGINE_KEYS or key == "adapter":
        return True
    if key == "chat_template_jinja":  # axolotl asks for a text beside `jinja` and reads no letter of it
        return isinstance(value, str)
    if key not in said or key in _ENTANGLED:
        return False
    entry = known.get(key, {})
    number = "range" in entry and isinstance(value, int | float) and not isinstance(value, bool)
    # `jinja` without a text is refused before (planning/recipes.py).
    name = "enum" in entry and value in entry["enum"] and key in ("chat_template", "lr_scheduler")
    return number or name or value in said[key]


def _shipped(folder: Path, adapter: str) -> dict[str, list[Any]]:
    """Return what the shipped recipe of an adapter says for each key that it has, hardware layers included.

    What the plan fills in has no value there that anything could be equal to.
    """
    found: dict[str, list[Any]] = {}
    for line in template_text(folder / f"sft/{adapter}.yaml.j2").splitlines():
        key, colon, text = line.partition(":")
        if colon and not key.startswith("#"):
            found[key] = [] if "{{" in text else [parse_yaml(line, str(folder))[key]]
    for file in (folder / "hardware").glob("*.yaml"):
        for key, value in (parse_yaml(template_text(file), str(file)).get("sft") or {}).items():
            found.setdefault(key, []).append(value)
    return found


def _presets(folder: Path) -> list[tuple[str, Any]]:
    """Return what the shipped model presets say for a recipe's keys: each goes with every adapter."""
    files = (folder / "models").glob("*.yaml")
    return [pair for file in files for pair in (parse_yaml(template_text(file), str(file)).get("sft") or {}).items()]
