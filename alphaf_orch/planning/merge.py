"""The merge of whole models: the run's own with its partners, rendered, checked and ready, as one more stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.command import PROGRAM_ENV, program
from alphaf_orch.core.errors import ConfigError, ModelError
from alphaf_orch.core.paths import RunPaths, find_template
from alphaf_orch.core.render import Rendered, override, plain, render
from alphaf_orch.core.values import nearest
from alphaf_orch.inputs import hub_cache
from alphaf_orch.inputs.licences import combine_licences
from alphaf_orch.planning.base import find_base, tool_python
from alphaf_orch.planning.context import SAMPLED_TENSORS, Context
from alphaf_orch.planning.merge_checks import ModelFacts, differences, lost_tokens, other_template, read_facts, refusal
from alphaf_orch.planning.merge_partners import MergeModel, find_merge_model
from alphaf_orch.planning.stages import MERGE_MODELS, Section, Stage, merge_models_stage, stage_name
from alphaf_orch.settings.merge import (
    PER_MODEL,
    WHO,
    WITHOUT_BASE,
    MergeSettings,
    check_recipe,
    mergekit_config,
    per_model,
)


@dataclass(frozen=True)
class MergePlan:
    """The merge as a stage, who takes part in it, and what its user should know before it runs."""

    stage: Stage
    partners: tuple[MergeModel, ...]
    base: MergeModel
    fetch: tuple[Stage, ...]
    notes: tuple[str, ...]


def plan_merge(
    context: Context,
    settings: MergeSettings,
    section: Section,
    upstream: str,
    *,
    online: bool,
    dry: bool,
    place: RunPaths | None = None,
) -> MergePlan:
    """Return the merge of the section's model, known by its stage's fingerprint, with the partners of the settings.

    Reads config.json, safetensors headers and tokenizer files of what is here and raises ModelError for models that
    cannot be merged, ConfigError for settings that mergekit would refuse. `place` holds the result, the run unless
    it is said.
    """
    trust, folders = context.config.trust_remote_code, context.folders
    need = not (dry or online)
    read = not dry or context.config.base_revision is not None  # of a run that is there it is asked what changed
    partners = tuple(
        find_merge_model(name, folders, context.env, need_weights=need, trust_remote_code=trust, read=read)
        for name in settings.partner
    )
    base = (
        find_merge_model(settings.base, folders, context.env, need_weights=need, trust_remote_code=trust, read=read)
        if settings.base
        else _run_base(context, need_weights=need, read=read)
    )
    recipe = _recipe(context, settings, section, partners, base)
    _check_identities(settings, partners, base, str(context.model_dir(section)))
    notes = _look(context, settings, section, recipe.values, partners, base)
    missing = [partner.name for partner in partners if not partner.here]
    fetch: tuple[Stage, ...] = ()
    if missing and online and not dry:
        argv = program(context.python, "models.fetch_model")
        for repo in missing:
            argv += ("--repo", repo)
        fetch = (Stage("fetch_partners", "axolotl", argv, {}, (), {"repos": missing}, PROGRAM_ENV, online=True),)
    stage = _stage(context, settings, section, upstream, recipe, partners, base, notes, place or context.paths)
    return MergePlan(stage, partners, base, fetch, notes)


def _run_base(context: Context, *, need_weights: bool, read: bool) -> MergeModel:
    """Return the base model of the run as a model of the merge."""
    found = find_base(context.config, context.preset, online=False, need_weights=need_weights, read=read)
    path = found.name
    if not Path(path).is_dir() and context.preset.source == "hub":
        folder = hub_cache.snapshot(found.name, "model", found.revision, context.env)
        path = str(folder) if folder else found.name
    name = context.preset.base_model if context.preset.source == "hub" else context.preset.name
    return MergeModel(name, path, found.revision, found.weights(), context.preset.licence)


def _recipe(
    context: Context, settings: MergeSettings, section: Section, partners: tuple[MergeModel, ...], base: MergeModel
) -> Rendered:
    template = find_template(context.folders, f"merge_models/{settings.method}.yaml.j2")
    made = render(
        template,
        {
            "model": str(context.model_dir(section)),
            "partners": [partner.path for partner in partners],
            "base": base.path,
        },
    )
    free = [key for key in made.values if key not in ("method", "model", "partners", "base")]
    for key in (*settings.default, *settings.values):
        if key not in free:
            raise ConfigError(
                f"{settings.method} has no setting {key}{nearest(key, (*free, *WHO))}",
                where=f"key merge.{key}",
                fix=f"its settings are: {', '.join(free)}",
            )
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if context.config.merge_dtype:
        layers.append(("merge_dtype", {"out_dtype": context.config.merge_dtype}))
    layers += [(f"model {context.preset.name}", settings.default), ("yours", settings.values)]
    recipe = override(made, layers, str(template))
    check_recipe(recipe.values, "the merge settings")
    return recipe


def _check_identities(settings: MergeSettings, partners: tuple[MergeModel, ...], base: MergeModel, own: str) -> None:
    """Raise ModelError for a model that takes part twice: mergekit would refuse it, or count it double."""
    seen: dict[str, str] = {}
    for asked, partner in zip(settings.partner, partners, strict=True):
        if partner.identity in seen:
            raise ModelError(
                f"the partners {seen[partner.identity]} and {asked} are the same model",
                where=partner.path,
                fix="name it once",
            )
        if partner.path == own:
            raise ModelError(
                f"the partner {asked} is the run's own model", where=partner.path, fix="name another partner"
            )
        same = partner.identity == base.identity if partner.identity and base.identity else partner.path == base.path
        if same and settings.method not in WITHOUT_BASE:
            raise ModelError(
                f"the partner {asked} is the base of the merge itself, so it adds nothing",
                where=partner.path,
                fix="name another partner or merge.base, or mix the two with linear",
            )
        if partner.identity:
            seen[partner.identity] = asked


def _look(
    context: Context,
    settings: MergeSettings,
    section: Section,
    recipe: Mapping[str, Any],
    partners: tuple[MergeModel, ...],
    base: MergeModel,
) -> tuple[str, ...]:
    """Return what is handled and worth knowing; raise ModelError for models that cannot be merged."""
    folder = context.model_dir(section)
    trained = any(folder.glob("*.safetensors"))
    # Before the run's own model is there, its base has the same shape.
    start = folder if trained else Path(base.path) if base.here and not settings.base else None
    own = read_facts(start) if start else None
    notes: list[str] = []
    involved = [*partners, *([base] if settings.method not in WITHOUT_BASE else [])]
    for model in involved:
        if own is None or not model.here or Path(model.path) == start:
            continue
        facts = read_facts(Path(model.path))
        reason = refusal(own, facts)
        if reason:
            raise ModelError(
                f"{model.name} cannot be merged with the run's {section} model: {reason}",
                where=f"{facts.folder} and {own.folder}",
                fix="merge models of one architecture and shape",
            )
        if trained:
            notes += differences(own, facts, model.name)
        if trained and model in partners and other_template(own, facts):
            notes.append(
                f"{model.name} was trained with another chat template than the run's model: `alphaf eval` asks the"
                " merged model under both"
            )
    if own and trained and recipe["tokenizer"] == "base" and base.here:
        _keeps_tokens(own, read_facts(Path(base.path)), base.name)
    licence = combine_licences([context.preset.licence, *(model.licence for model in (*partners, base))])
    notes.append(f"licence of the merged model: {licence.name}, the strictest of those it is made from")
    return tuple(notes)


def _keeps_tokens(own: ModelFacts, base: ModelFacts, name: str) -> None:
    lost = lost_tokens(own, base)
    if lost:
        raise ConfigError(
            f"with tokenizer: base the merged model would lose {len(lost)} tokens that the run was trained with,"
            f" such as {lost[0]!r}",
            where=f"key merge.tokenizer; {name} has no such token there",
            fix="use tokenizer: run, or union",
        )


def _stage(
    context: Context,
    settings: MergeSettings,
    section: Section,
    upstream: str,
    recipe: Rendered,
    partners: tuple[MergeModel, ...],
    base: MergeModel,
    notes: tuple[str, ...],
    place: RunPaths,
) -> Stage:
    values = recipe.values
    with_base = settings.method not in WITHOUT_BASE
    names = {model.path: model.name for model in (*partners, base)} | {
        str(context.model_dir(section)): f"{context.paths.name}-{section}"
    }
    contract = {
        "scratch_dir": str(place.scratch(MERGE_MODELS)),
        "merged_dir": str(place.merged_models),
        "report": str(place.report(MERGE_MODELS)),
        "handoff": str(context.paths.rendered(f"{stage_name('merge', section)}_contract.yaml")),
        "names": names,
        "spread": {key: per_model(values, key) for key in PER_MODEL if key in values},
        "sampled_tensors": SAMPLED_TENSORS,
        # Permission is not need: classes of transformers and our own are loaded without a model's own code.
        "trust_remote_code": context.config.trust_remote_code and context.preset.trust_remote_code_required,
        "notes": list(notes),
    }
    spec = {
        "upstream": upstream,
        "recipe": {key: value for key, value in values.items() if key not in ("model", "partners", "base")},
        "partners": [partner.spec for partner in partners],
        "base": base.spec if with_base else None,
    }
    python = tool_python(context.config, "mergekit")
    return merge_models_stage(python, place, recipe, plain(mergekit_config(values)), plain(contract), spec)
