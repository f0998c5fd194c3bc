"""The Hugging Face model card of a run's final model: its metadata and our part of the README."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from alphaf_orch.core.masking import mask
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest, write_atomic
from alphaf_orch.core.stored import absent, read_text
from alphaf_orch.core.wording import in_language
from alphaf_orch.evaluation.tasks.titles import task_title
from alphaf_orch.inputs.hub_cache import is_repo_id
from alphaf_orch.inputs.licences import Licence, combine_licences
from alphaf_orch.inputs.model_files import split_card
from alphaf_orch.report.card_text import card_text
from alphaf_orch.runs.chain import MADE, model_folder, newest, run_config
from alphaf_orch.scores.results import TaskResult, run_results
from alphaf_orch.settings.config import RunConfig, dump_config

BEGIN, END = "<!-- alphaf: begin -->", "<!-- alphaf: end -->"


def write_model_card(paths: RunPaths) -> Path | None:
    """Write the README.md of the run's newest finished model and return its path; None where no model is finished.

    What another tool, or a person, wrote in that file stays: our text has its own place between two markers, and of
    the metadata only the keys that we know better are replaced. Written only where something changed.
    """
    manifest = _with_words(read_manifest(paths.manifest), paths)
    stage = newest(paths, manifest, MADE)
    if stage is None:
        return None
    path = model_folder(paths, stage, manifest) / "README.md"
    before = "" if absent(path) else read_text(path)
    results = {
        name: {task: result for task, result in found.items() if result.believed}
        for name, found in run_results(paths).items()
    }
    theirs, body = split_card(before)
    licence = combine_licences([manifest["licence"], *(partner["licence"] for partner in partners_of(manifest, stage))])
    metadata = card_metadata(paths.name, manifest, stage, results.get(stage, {}), licence, theirs)
    config = _shareable_config(run_config(paths))
    text = f"---\n{metadata}\n---\n{replace_ours(body, card_text(paths, manifest, stage, results, licence, config))}"
    text = mask(text)
    if text != before:
        write_atomic(path, text)
    return path


def lacks_card(paths: RunPaths) -> bool:
    """Return whether the run's newest finished model has no README.md: a crash came between its end and its card."""
    manifest = read_manifest(paths.manifest)
    stage = newest(paths, manifest, MADE)
    return stage is not None and absent(model_folder(paths, stage, manifest) / "README.md")


def _with_words(manifest: Mapping[str, Any], paths: RunPaths) -> dict[str, Any]:
    """Return the manifest with a word wherever a card names what one that was put together again does not tell."""
    words = dict.fromkeys(("alphaf", "base_model", "base_revision", "licence"), "unknown")
    said = {key: value for key, value in manifest.items() if value is not None or key == "base_revision"}
    data = {
        section: [{"kind": None, "rows": None, "sha256": None, **source} for source in found]
        for section, found in manifest.get("data", {}).items()
    }
    machine = {"python": "unknown", **manifest.get("machine", {})}
    return {"run": paths.name, **words, **said, "data": data, "machine": machine}


def replace_ours(body: str, ours: str) -> str:
    """Return the body with our part replaced, or put in front of what was there."""
    block = f"{BEGIN}\n{ours.strip()}\n{END}\n"
    start, end = body.find(BEGIN), body.find(END)
    if 0 <= start < end:
        return body[:start] + block.rstrip("\n") + body[end + len(END) :]
    rest = body.strip("\n")
    return f"{block}\n{rest}\n" if rest else block


def card_metadata(
    run: str,
    manifest: Mapping[str, Any],
    stage: str,
    results: Mapping[str, TaskResult],
    licence: Licence,
    theirs: Mapping[str, Any],
) -> str:
    """Return the YAML metadata as huggingface_hub writes it, scores as model-index; local paths are left out."""
    from huggingface_hub import EvalResult, ModelCardData

    kept = {
        key: value
        for key, value in theirs.items()
        if key not in ("base_model", "datasets", "license", "license_name", "model-index", "library_name", "model_name")
    }
    given = kept.pop("tags", None)
    old = [str(tag) for tag in ([given] if isinstance(given, str) else given or []) if "/" not in str(tag)]
    ours = ["finance", "alphaf_orch", "axolotl", *(["dpo", "trl"] if "dpo" in manifest["stages"] else [])]
    ours += ["mergekit", "merge"] if stage == "merged" else []
    scores = [
        EvalResult(
            task_type="text-generation",
            dataset_type=str(result.settings.get("dataset") or result.task),
            dataset_name=in_language(task_title(result.task, result.title), "en"),
            metric_type=name,
            metric_value=round(metric.value, 6),
            dataset_args={"n": metric.n, "limit": result.settings.get("limit")},
        )
        for result in results.values()
        for name, metric in result.metrics.items()
    ]
    partners = [partner["model"] for partner in partners_of(manifest, stage)]
    bases = [name for name in (manifest["base_model"], *partners) if is_repo_id(str(name))]
    sets = [data["path"] for part in manifest.get("data", {}).values() for data in part if data["kind"] == "hub"]
    data = ModelCardData(
        language=kept.pop("language", "ko"),
        license=licence.hub_id,
        license_name=licence.name if licence.hub_id == "other" else None,
        library_name="transformers",
        pipeline_tag=kept.pop("pipeline_tag", "text-generation"),
        tags=list(dict.fromkeys([*old, *ours])),
        datasets=list(dict.fromkeys(sets)) or None,
        base_model=(bases[0] if len(bases) == 1 else bases) or None,
        model_name=run if scores else None,
        eval_results=scores or None,
        **{key: value for key, value in kept.items() if key.isidentifier()},
    )
    return str(data.to_yaml()).rstrip("\n")


def partners_of(manifest: Mapping[str, Any], stage: str) -> list[Mapping[str, Any]]:
    """Return the merge partners of a run's model: a planned or failed merge is no part of the earlier ones."""
    return list(manifest.get("merge_partners", ())) if stage == "merged" else []


def _shareable_config(config: RunConfig) -> str:
    """Return the settings without folders of this machine, and where it ran: a card is made to be shared."""

    def shareable(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shareable(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [shareable(each) for each in value]
        # Whole values first: a path may hold spaces.
        local = isinstance(value, str) and value.startswith(("/", "~/"))
        return PurePath(value).name if local else value

    text = dump_config(RunConfig.model_validate(shareable(config.model_dump(exclude_defaults=True, exclude={"on"}))))
    return re.sub(r"(?<![\w./])(?:/|~/)[^\s'\",\]}]*/([^\s/'\",\]}]+)", r"\1", text)
