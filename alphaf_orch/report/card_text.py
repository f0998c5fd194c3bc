"""What a model card says below its metadata: where the model comes from, how it scored, how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.wording import in_language
from alphaf_orch.evaluation.tasks.titles import task_title
from alphaf_orch.inputs.licences import Licence
from alphaf_orch.planning.allowed import FLAGS
from alphaf_orch.planning.stages import MERGE_MODELS, STAGE_ORDER
from alphaf_orch.report.score_blocks import error_shown
from alphaf_orch.runs.chain import CHAIN
from alphaf_orch.scores.results import TaskResult

_TRAINERS = {"sft": "axolotl", "dpo": "TRL"}
_TOOLS = ("axolotl", "transformers", "trl", "peft", "bitsandbytes", "unsloth", "torch", "mergekit", "lm-eval")


def card_text(
    paths: RunPaths,
    manifest: Mapping[str, Any],
    stage: str,
    results: Mapping[str, Mapping[str, TaskResult]],
    licence: Licence,
    config: str,
) -> str:
    """Return our part of the README as Markdown; it names files and hashes, never folders of this machine."""
    parts = [
        f"# {paths.name}",
        f"{stage.upper()} model of the run `{paths.name}`, made from `{manifest['base_model']}` "
        f"({manifest['base_revision']}) by alphaf_orch {manifest['alphaf']}.",
        f"`{manifest['base_model']}` 모델로 학습했습니다. 학습 과정, 데이터, 점수, 재현 방법은 아래와 같습니다.",
        "## Licence\n\n" + _licence(licence),
        "## Training\n\n" + _training(manifest),
        *(["## Merge\n\n" + _merge(manifest)] if stage == "merged" else []),
        *(["## Allowed by flag\n\n" + _allowed(manifest["allowed"])] if manifest.get("allowed") else []),
        "## Data\n\n" + _data(manifest),
        "## Scores\n\n" + _scores(results),
        "## Limits\n\nMade for text in the domain of its training data. Its figures and citations can be wrong: check "
        "them before anybody relies on them. It gives no investment advice.\n\n학습 데이터의 분야에 맞춘 모델입니다. "
        "수치와 출처가 틀릴 수 있으므로 반드시 확인한 뒤 사용하고, 투자 자문으로 쓰지 마세요.",
        "## Reproduce\n\n" + _reproduce(manifest, config),
    ]
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; a bar or a line end in a cell cannot break it."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *(line(row) for row in rows)])


def _licence(licence: Licence) -> str:
    name = licence.name if licence.hub_id == "other" else f"`{licence.hub_id}`"
    return f"{name}: the strictest of the models that this one was made from. Read it before commercial use."


def _training(manifest: Mapping[str, Any]) -> str:
    rows = []
    for name in STAGE_ORDER:
        entry = manifest["stages"].get(name)
        if name not in _TRAINERS or not entry or entry.get("state") != "done":
            continue
        spec, result = entry.get("spec", {}), entry.get("result", {})
        recipe = spec.get("recipe", {})
        keys = ("adapter", "lora_r", "learning_rate", "lr_scheduler", "beta", "sequence_len", "neftune_noise_alpha")
        shown = [f"{key}={recipe[key]}" for key in keys if recipe.get(key) is not None]
        shown.append(f"global batch={spec.get('global_batch_size', 'unknown')}")
        loss = f"{result['loss_first']:.3f} → {result['loss_last']:.3f}" if "loss_first" in result else ""
        backend = f" on {result['backend']}" if "backend" in result else ""
        rows.append(
            [f"{name.upper()} ({_TRAINERS[name]}{backend})", ", ".join(shown), str(result.get("steps", "")), loss]
        )
    return table(["stage", "recipe", "steps", "loss"], rows)


def _merge(manifest: Mapping[str, Any]) -> str:
    """Return how the run's own model was merged with its partners, as the stage recorded it."""
    entry = manifest["stages"].get(MERGE_MODELS, {})
    recipe = entry.get("spec", {}).get("recipe", {})
    rows = [[partner["model"], str(partner["revision"]), partner["licence"]] for partner in manifest["merge_partners"]]
    shown = ", ".join(f"{key}={value}" for key, value in recipe.items() if key != "method" and value is not None)
    handled = entry.get("result", {}).get("handled", {})
    notes = "".join(f"\n- {note}" for note in handled.get("notes", ()))
    return (
        f"mergekit, method `{recipe.get('method', 'unknown')}`, with the partners below ({shown}).\n\n"
        + table(["partner", "revision", "licence"], rows)
        + (f"\n{notes}" if notes else "")
    )


def _allowed(found: Mapping[str, Any]) -> str:
    """Return which flags were given and the files that they let in, each with its SHA-256."""
    given = f"Given: {', '.join(f'`{flag}`' for flag in found['flags'])}."
    if not found["files"]:
        return f"{given} No file needed it."
    rows = [[FLAGS[each["kind"]], each["model"], each["file"], f"`{each['sha256']}`"] for each in found["files"]]
    return f"{given}\n\n" + table(["flag", "model", "file", "SHA-256"], rows)


def _data(manifest: Mapping[str, Any]) -> str:
    rows = [
        [
            section,
            data["path"] if data["kind"] == "hub" else PurePath(data["path"]).name,
            f"{data['rows']:,}" if data["rows"] else "",
            f"`{data['sha256']}`" if data["sha256"] else "",
        ]
        for section, found in manifest.get("data", {}).items()
        for data in found
    ]
    return table(["for", "data", "rows", "SHA-256"], rows)


def _scores(results: Mapping[str, Mapping[str, TaskResult]]) -> str:
    stages = [stage for stage in CHAIN if stage in results]
    if not stages:
        return "Not evaluated yet: `alphaf eval`, then `alphaf report`."
    pairs = dict.fromkeys((task, name) for stage in stages for task, r in results[stage].items() for name in r.metrics)
    rows = []
    for task, name in pairs:
        cells = []
        for stage in stages:
            metric = results[stage][task].metrics.get(name) if task in results[stage] else None
            units = results[stage][task].units if metric else None
            cells.append(f"{metric.value:.3f}{error_shown(metric, ' ± ', units)} (n={metric.n})" if metric else "")
        title = next((results[stage][task].title for stage in stages if task in results[stage]), {})
        rows.append([in_language(task_title(task, title), "en"), name, *cells])
    note = (
        "Mean ± standard error (in brackets the 95% interval, where all rows came out alike), measured with lm-eval "
        "through the chat template of the training."
    )
    return table(["task", "metric", *stages], rows) + "\n\n" + note


def _reproduce(manifest: Mapping[str, Any], config: str) -> str:
    versions: dict[str, str] = {}
    for entry in manifest["stages"].values():
        versions |= entry.get("versions", {})
    named = ", ".join(f"{tool} {versions[tool]}" for tool in _TOOLS if tool in versions)
    commit = manifest.get("git_commit")
    at = f" at commit `{commit}`{' with local changes' if manifest.get('git_dirty') else ''}" if commit else ""
    return (
        f"With alphaf_orch {manifest['alphaf']}{at}; {named}; Python {manifest['machine']['python']}. Save the "
        f"settings as `config.yaml`, the data files (see their SHA-256) beside it, then:\n\n"
        f"```sh\nalphaf run --config config.yaml --run {manifest['run']}\n```\n\n```yaml\n{config.strip()}\n```"
    )
