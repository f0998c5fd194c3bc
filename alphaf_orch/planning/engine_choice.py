"""The engine of a training that names none, chosen by the estimate; what fits or works nowhere is refused."""

from __future__ import annotations

from collections.abc import Callable

from alphaf_orch.core.disk import sizes
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.record import read_manifest
from alphaf_orch.core.render import Rendered
from alphaf_orch.estimates.fit import engine_for, fits
from alphaf_orch.estimates.memory import peak_memory
from alphaf_orch.estimates.shapes import H100_BYTES, Setup, shape_of
from alphaf_orch.planning.context import Resolved, own_settings
from alphaf_orch.planning.engine_table import at, refuse
from alphaf_orch.planning.engines import Engine, said
from alphaf_orch.planning.stages import Section, stage_name


def choose(resolved: Resolved, rendered: Callable[[], Rendered]) -> Engine:
    """Return the engine of SFT: the one asked for, the one the run began with, or the one by the estimate.

    `rendered` makes the recipe without one, where its figures are asked for. Raises ConfigError, with the figures,
    where full fine-tuning fits nowhere.
    """
    asked = said(own_settings(resolved, "sft"))
    if asked.name:
        return asked
    begun = _begun(resolved, offload=asked.offload)
    if begun:
        return begun
    if resolved.ranks("sft") == 1:
        return Engine(offload=asked.offload)
    shape = resolved.preset.architecture
    if shape is None:
        return _by_kind(resolved, offload=asked.offload)
    choice = engine_for(shape_of(shape), rendered().values, _setup(resolved, Engine(offload=asked.offload)))
    if not choice.engine and resolved.adapter == "full":
        raise _does_not_fit(choice.reason)
    return Engine(choice.engine or "ddp", choice.reason, asked.offload)


def _begun(resolved: Resolved, *, offload: bool) -> Engine | None:
    """Return the engine by which the run has trained such an adapter, as its manifest has it; None where it has not."""
    entry = read_manifest(resolved.paths.manifest)["stages"].get(stage_name("train", "sft"))
    recipe = entry.get("spec", {}).get("recipe", {}) if entry else {}
    if not recipe or (recipe.get("adapter") or "full") != resolved.adapter:
        return None
    name = recipe.get("engine", "ddp")
    reason = "the run began with it" if name != "ddp" or resolved.ranks("sft") > 1 else ""
    return Engine(name, reason, offload, began=name == "ddp" and not recipe.get("fp32_master_weights"))


def _by_kind(resolved: Resolved, *, offload: bool) -> Engine:
    """Return the engine for a model whose shape is not known."""
    if resolved.adapter != "full":
        return Engine(reason="an adapter; the model's shape is not known", offload=offload)
    several = resolved.nodes("sft") > 1 and resolved.gpus["sft"] > 1
    return Engine("hsdp" if several else "fsdp2", "full fine-tuning; the model's shape is not known", offload)


def check_fit(resolved: Resolved, recipe: Rendered) -> None:
    """Raise ConfigError, with the figures, where every GPU would need more memory than it has to train all weights."""
    shape, engine = resolved.preset.architecture, resolved.engine
    if resolved.adapter != "full" or engine.began or shape is None:
        return
    setup = _setup(resolved, engine)
    if fits(shape_of(shape), recipe.values, setup):
        return
    choice = engine_for(shape_of(shape), recipe.values, setup)
    if engine.name == "ddp":
        narrow = fits(shape_of(shape), {**recipe.values, "fp32_master_weights": None}, setup)
        lossy = "fp32_master_weights=null (bf16 weights, on which AdamW loses most updates of a small learning rate)"
        raise _does_not_fit(choice.reason, f"engine={choice.engine}" if choice.engine else lossy if narrow else "")
    needed, there = sizes(peak_memory(shape_of(shape), recipe.values, setup).total, setup.gpu_memory)
    other = choice.engine not in ("", "ddp", engine.name)
    raise _does_not_fit(
        f"full fine-tuning needs {needed} a GPU by engine {engine.name}, {there} are there",
        f"engine={choice.engine}" if other else "" if engine.offload else "engine_offload=true",
    )


def check_engine(resolved: Resolved, section: Section, recipe: Rendered) -> None:
    """Raise ConfigError for settings that the engine cannot train together."""
    settings = own_settings(resolved, section)
    engine = resolved.engine if section == "sft" else said(settings)
    world, values = resolved.ranks(section), recipe.values
    files = resolved.laid.files if section == "sft" else {}
    mesh = [values.get(key) or 0 for key in ("dp_shard_size", "dp_replicate_size")]
    zero = [at(file.values, "zero_optimization.stage") for file in files.values()]
    facts = {
        "section": section,
        "gpus": resolved.gpus[section],
        "nodes": resolved.nodes(section),
        "world": world,
        "offload": engine.offload,
        "mesh": not any(mesh) or max(1, mesh[0]) * max(1, mesh[1]) == world,
        "stage": all(f"zero{stage}" == engine.name for stage in zero),
    }
    own = {key: value for _, layer in settings for key, value in layer.items()}
    refuse(engine.name or "ddp", values, own, facts)


def _setup(resolved: Resolved, engine: Engine) -> Setup:
    """Return what it is trained on; a card that is not here, or does not tell its memory, is the article's."""
    memory = resolved.machine.memory or H100_BYTES
    return Setup(resolved.gpus["sft"], resolved.nodes("sft"), memory, engine.name, engine.offload)


def _does_not_fit(figures: str, setting: str = "") -> ConfigError:
    other = f"say --set {setting}" if setting else "train it on more GPUs, over all of which an engine cuts it"
    return ConfigError(
        figures,
        where="key sft.adapter: full",
        fix=f"{other}; or train an adapter: --set adapter=qlora",
        code="config.does_not_fit",
    )
