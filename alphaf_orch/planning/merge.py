"""The merge of whole models: the run's own with its partners, rendered, checked and ready, as one more stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alphaf_orch.core.command import PROGRAM_ENV, program
from alphaf_orch.core.errors import ConfigError, ModelError
from alphaf_orch.core.paths import RunPaths, find_template
from alphaf_orch.core.render import Rendered, override, plain, render
from alphaf_orch.core.values import nearest
from alphaf_orch.inputs.licences import combine_licences
from alphaf_orch.planning.context import SAMPLED_TENSORS, Resolved
from alphaf_orch.planning.merge_checks import ModelFacts, differences, lost_tokens, other_template, refusal
from alphaf_orch.planning.merge_inputs import MergeInputs
from alphaf_orch.planning.merge_partners import MergeModel
from alphaf_orch.planning.stages import MERGE_MODELS, Stage, merge_models_stage, stage_name
from alphaf_orch.settings.merge import (
    PER_MODEL,
    WHO,
    WITHOUT_BASE,
    MergeSettings,
    check_recipe,
    mergekit_config,
    per_model,
    read_settings,
)


@dataclass(frozen=True)
class MergePlan:
    """The merge as a stage, who takes part in it, and what its user should know before it runs."""

    stage: Stage
    partners: tuple[MergeModel, ...]
    base: MergeModel
    fetch: tuple[Stage, ...]
    notes: tuple[str, ...]


def plan_merge(resolved: Resolved, upstream: str, place: RunPaths) -> MergePlan:
    """Return the merge of the run's model, known by its stage's fingerprint, with its partners, into `place`.

    Raises ModelError for models that cannot be merged, ConfigError for settings that mergekit would refuse.
    """
    inputs, scope = resolved.merge, resolved.scope
    assert inputs is not None
    settings = read_settings(resolved.config.merge, resolved.preset.merge, "the config")
    recipe = _recipe(resolved, settings, inputs)
    _check_identities(settings, inputs, str(resolved.model_dir(inputs.section)))
    notes = _look(resolved, settings, recipe.values, inputs)
    missing = [partner.name for partner in inputs.partners if not partner.here]
    fetch: tuple[Stage, ...] = ()
    if missing and scope.online and not scope.dry:
        argv = program(resolved.python(), "models.fetch_model")
        for repo in missing:
            argv += ("--repo", repo)
        fetch = (Stage("fetch_partners", "axolotl", argv, {}, (), {"repos": missing}, PROGRAM_ENV, online=True),)
    stage = _stage(resolved, settings, upstream, recipe, inputs, notes, place)
    return MergePlan(stage, inputs.partners, inputs.base, fetch, notes)


def _recipe(resolved: Resolved, settings: MergeSettings, inputs: MergeInputs) -> Rendered:
    template = find_template(resolved.folders, f"merge_models/{settings.method}.yaml.j2")
    made = render(
        template,
        {
            "model": str(resolved.model_dir(inputs.section)),
            "partners": [partner.path for partner in inputs.partners],
            "base": inputs.base.path,
        },
    )
    free = [key for key in made.values if key not in ("method", "model", "partners", "base")]
    for key in (*settings.default, *settings.values):
        if key not in free:
            raise ConfigError(
                f"{settings.method} has no setting {key}{nearest(key, (*free, *WHO))}",
                where=f"key merge.{key}",
                fix=f"its settings are: {', '.join(free)}",
                code="config.unknown_key",
            )
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if resolved.config.merge_dtype:
        layers.append(("merge_dtype", {"out_dtype": resolved.config.merge_dtype}))
    layers += [(f"model {resolved.preset.name}", settings.default), ("yours", settings.values)]
    recipe = override(made, layers, str(template))
    check_recipe(recipe.values, "the merge settings")
    return recipe


def _check_identities(settings: MergeSettings, inputs: MergeInputs, own: str) -> None:
    """Raise ModelError for a model that takes part twice: mergekit would refuse it, or count it double."""
    base = inputs.base
    seen: dict[str, str] = {}
    for asked, partner in zip(settings.partner, inputs.partners, strict=True):
        if partner.identity in seen:
            raise ModelError(
                f"the partners {seen[partner.identity]} and {asked} are the same model",
                where=partner.path,
                fix="name it once",
                code="model.given_twice",
            )
        if partner.path == own:
            raise ModelError(
                f"the partner {asked} is the run's own model",
                where=partner.path,
                fix="name another partner",
                code="model.given_twice",
            )
        same = partner.identity == base.identity if partner.identity and base.identity else partner.path == base.path
        if same and settings.method not in WITHOUT_BASE:
            raise ModelError(
                f"the partner {asked} is the base of the merge itself, so it adds nothing",
                where=partner.path,
                fix="name another partner or merge.base, or mix the two with linear",
                code="model.given_twice",
            )
        if partner.identity:
            seen[partner.identity] = asked


def _look(
    resolved: Resolved, settings: MergeSettings, recipe: Mapping[str, Any], inputs: MergeInputs
) -> tuple[str, ...]:
    """Return what is handled and worth knowing; raise ModelError for models that cannot be merged."""
    own, base = inputs.own, inputs.base
    notes: list[str] = []
    for model in (*inputs.partners, *([] if settings.method in WITHOUT_BASE else [base])):
        facts = inputs.facts.get(model.path)
        if own is None or facts is None:
            continue
        reason = refusal(own, facts)
        if reason:
            raise ModelError(
                f"{model.name} cannot be merged with the run's {inputs.section} model: {reason}",
                where=f"{facts.folder} and {own.folder}",
                fix="merge models of one architecture and shape",
                code="model.not_mergeable",
            )
        if inputs.trained:
            notes += differences(own, facts, model.name)
        if inputs.trained and model in inputs.partners and other_template(own, facts):
            notes.append(
                f"{model.name} was trained with another chat template than the run's model: `alphaf eval` asks the"
                " merged model under both"
            )
    if own and inputs.trained and recipe["tokenizer"] == "base" and base.path in inputs.facts:
        _keeps_tokens(own, inputs.facts[base.path], base.name)
    licence = combine_licences([resolved.preset.licence, *(model.licence for model in (*inputs.partners, base))])
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
            code="config.tokens_lost",
        )


def _stage(
    resolved: Resolved,
    settings: MergeSettings,
    upstream: str,
    recipe: Rendered,
    inputs: MergeInputs,
    notes: tuple[str, ...],
    place: RunPaths,
) -> Stage:
    values, section, base = recipe.values, inputs.section, inputs.base
    with_base = settings.method not in WITHOUT_BASE
    names = {model.path: model.name for model in (*inputs.partners, base)} | {
        str(resolved.model_dir(section)): f"{resolved.paths.name}-{section}"
    }
    contract = {
        "scratch_dir": str(place.scratch(MERGE_MODELS)),
        "merged_dir": str(place.merged_models),
        "report": str(place.report(MERGE_MODELS)),
        "handoff": str(resolved.paths.rendered(f"{stage_name('merge', section)}_contract.yaml")),
        "names": names,
        "spread": {key: per_model(values, key) for key in PER_MODEL if key in values},
        "sampled_tensors": SAMPLED_TENSORS,
        "trust_remote_code": resolved.remote_code,
        "notes": list(notes),
    }
    spec = {
        "upstream": upstream,
        "recipe": {key: value for key, value in values.items() if key not in ("model", "partners", "base")},
        "partners": [partner.spec for partner in inputs.partners],
        "base": base.spec if with_base else None,
    }
    python = resolved.python("mergekit")
    return merge_models_stage(python, place, recipe, plain(mergekit_config(values)), plain(contract), spec)
