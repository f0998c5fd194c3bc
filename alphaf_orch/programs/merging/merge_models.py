"""Child program: merge whole models with mergekit, lay the run's tokenizer over the result, check the contract.

Guarantees that `merged_dir` exists only whole and checked: all work is in `scratch_dir`, one rename ends it.
Exit codes: 0 done, 2 unusable settings, 6 merged_dir exists, 7 mergekit failed, 8 a contract line is violated.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from alphaf_orch.programs.architectures.mergekit_native import register_architectures
from alphaf_orch.programs.architectures.orion import register
from alphaf_orch.programs.common import CONFIG, STAGE, Failure, program, publish, read_json, write_json
from alphaf_orch.programs.merging.contract import load_tokenizer
from alphaf_orch.programs.merging.contract_models import Tensors
from alphaf_orch.programs.merging.merge_adapter import already_merged, fresh_scratch, lay_tokenizer_over, report
from alphaf_orch.programs.merging.merge_contract import check
from alphaf_orch.programs.merging.merge_vocabulary import alignment, embedding_rows, own_template, target_tokenizer
from alphaf_orch.programs.turn_end import end_ids

# Ours: a shard is kept in memory until it is written, so a small one bounds the memory of a merge.
SHARD_BYTES = 256 * 1024 * 1024
PARTNER_TEMPLATE = "partner_template"  # a tokenizer with a partner's chat template, to evaluate under both


@dataclass(frozen=True, kw_only=True)
class Job:
    """Where a merge takes place and what its result must hold, as written in merge_models_contract.yaml."""

    scratch_dir: Path
    merged_dir: Path
    report: Path
    handoff: Path  # the contract of the run's own model: what it was trained on
    names: Mapping[str, str]  # path -> what a card may call it
    spread: Mapping[str, Sequence[float]]  # weight, density, ... of every model, the own one first
    notes: tuple[str, ...] = ()  # what the user was told before the launch
    sampled_tensors: int = 12
    trust_remote_code: bool = False

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> Job:
        """Return the job of a parsed file; raises TypeError or ValueError naming the key that is wrong."""
        known = {part.name for part in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown key {unknown[0]!r}")
        named: dict[str, Any] = dict(values)
        for key in ("scratch_dir", "merged_dir", "report", "handoff"):
            if key in named:
                named[key] = Path(named[key])
        return cls(**named)


def merge(recipe: Mapping[str, Any], config: dict[str, Any], job: Job) -> tuple[Path, Path, dict[str, Any]]:
    """Return the merged folder, the folder of its tokenizer and what was handled; raise Failure where it cannot be."""
    trust, own = job.trust_remote_code, Path(recipe["model"])
    partners, base = [Path(path) for path in recipe["partners"]], Path(recipe["base"]) if recipe.get("base") else None
    fresh_scratch(job.scratch_dir)
    target_dir, merged = job.scratch_dir / "tokenizer", job.scratch_dir / "merged"
    try:
        target = target_tokenizer(recipe["tokenizer"], own, partners, base, trust)
    except ValueError as error:
        raise Failure(
            CONFIG,
            str(error),
            where=f"tokenizer: {recipe['tokenizer']}",
            fix="use tokenizer: run",
            code="config.tokenizers_differ",
        ) from error
    target.save_pretrained(target_dir)
    models = {"run": own, **{str(path): path for path in (*partners, *([base] if base else []))}}
    tokenizer = alignment(target, target_dir, own, models, trust)
    dtype = recipe["out_dtype"] or Tensors(own).main_dtype()
    config = {**config, "out_dtype": dtype, **({"tokenizer": tokenizer} if tokenizer else {})}
    run_mergekit(config, merged, int(recipe["seed"]), trust)
    finish_config(merged, own, list(models.values()), dtype)
    for code in own.glob("*.py"):
        shutil.copy2(code, merged / code.name)
    lay_tokenizer_over(target_dir, merged, trust)
    templates = partner_templates(merged, partners, target, trust)
    shareable(merged, {**job.names, str(target_dir): "the merged model's tokenizer"})
    handled = {
        "tokenizer": recipe["tokenizer"],
        "rows_matched_by_token": bool(tokenizer),
        "dtypes": {name: Tensors(folder).main_dtype() for name, folder in _named(models, job.names)},
        "out_dtype": dtype,
        "tied": {name: _tied(folder) for name, folder in _named(models, job.names)},
        "tied_result": _tied(merged),
        "partner_templates": templates,
        "notes": list(job.notes),
    }
    return merged, target_dir, handled


def _named(models: Mapping[str, Path], names: Mapping[str, str]) -> list[tuple[str, Path]]:
    return [(names.get(str(folder), str(folder)), folder) for folder in models.values()]


def run_mergekit(config: dict[str, Any], folder: Path, seed: int, trust: bool) -> None:
    """Merge into the folder, tensor by tensor; raise Failure with mergekit's own words where it fails."""
    from mergekit.config import MergeConfiguration
    from mergekit.io.tensor_writer import TensorWriter
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    register_architectures()
    _let_go_of_pages(TensorWriter)
    options = MergeOptions(
        random_seed=seed,
        trust_remote_code=trust,
        allow_crimes=False,
        lazy_unpickle=True,
        out_shard_size=SHARD_BYTES,
        copy_tokenizer=False,  # the run's is laid over
        quiet=True,
    )
    source = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    try:
        run_merge(MergeConfiguration.model_validate(config), str(folder), options, config_source=source)
    except (ValueError, TypeError, KeyError, RuntimeError, OSError, AssertionError) as error:
        traceback.print_exc()
        what = f"mergekit could not merge: {' '.join(str(error).split())}"
        raise Failure(
            STAGE, what, where=folder, fix="mend that cause and run again", code="stage.merge_failed"
        ) from error


def _let_go_of_pages(writer: Any) -> None:
    """Close the input files whenever a shard is written: their mapped pages count as memory of the process."""
    from mergekit.io.tasks import LoaderCache

    if hasattr(writer, "_alphaf_flush"):
        return
    flush = writer._alphaf_flush = writer._flush_current_shard

    def flush_and_close(self: Any) -> None:
        flush(self)
        LoaderCache().flush_all()

    writer._flush_current_shard = flush_and_close


def _tied(folder: Path) -> bool:
    return bool(read_json(folder / "config.json").get("tie_word_embeddings", False))


def finish_config(merged: Path, own: Path, models: Sequence[Path], dtype: str) -> None:
    """Give the result the run's own config.json and generation_config.json, with its rows, dtype and ties.

    mergekit takes them from the merge base. A head that any of the models has for itself was merged and is kept:
    a result that called itself tied would drop it when it is loaded.
    """
    config = {**read_json(own / "config.json"), "vocab_size": embedding_rows(merged)}
    config["tie_word_embeddings"] = all(_tied(folder) for folder in models)
    config["torch_dtype" if "torch_dtype" in config else "dtype"] = dtype
    write_json(merged / "config.json", config)
    if (own / "generation_config.json").is_file():
        shutil.copy2(own / "generation_config.json", merged / "generation_config.json")


def partner_templates(merged: Path, partners: Sequence[Path], target: Any, trust: bool) -> list[str]:
    """Write the result's tokenizer with each partner's chat template, where that is another, and return the folders."""
    found = [own_template(partner, target, trust) for partner in partners]
    written = []
    for number, template in enumerate(dict.fromkeys(text for text in found if text), start=1):
        folder = merged / (PARTNER_TEMPLATE if number == 1 else f"{PARTNER_TEMPLATE}_{number}")
        tokenizer = load_tokenizer(merged, trust)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)
        # Whoever was trained under it ends an answer by its own token, where the result has that.
        ends = {load_tokenizer(p, trust).eos_token for p, own in zip(partners, found, strict=True) if own == template}
        vocabulary = tokenizer.get_vocab()
        named = {vocabulary[end] for end in ends if end in vocabulary}
        ids = sorted({tokenizer.eos_token_id, *named, *end_ids(tokenizer)})
        write_json(folder / "generation_config.json", {"eos_token_id": ids})
        written.append(folder.name)
    return written


def shareable(merged: Path, names: Mapping[str, str]) -> None:
    """Replace the places of this machine in mergekit's card and settings: a merged model is made to be passed on."""
    for name in ("README.md", "mergekit_config.yml"):
        file = merged / name
        text = file.read_text(encoding="utf-8")
        for path in sorted(names, key=len, reverse=True):
            text = text.replace(path, names[path])
        file.write_text(text, encoding="utf-8")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping a file holds; raise Failure naming the file where it holds none."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise Failure(
            CONFIG, f"the file cannot be read: {error}", where=path, fix="render it again", code="config.unreadable"
        ) from error
    if not isinstance(values, dict):
        raise Failure(CONFIG, "the file holds no settings", where=path, fix="render it again", code="config.no_value")
    return values


def main(argv: list[str]) -> None:
    """Run the merge and its contract; ends as the module docstring says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="merge_models.yaml, the recipe")
    parser.add_argument("--mergekit", type=Path, required=True, help="mergekit.yaml, mergekit's own settings")
    parser.add_argument("--contract", type=Path, required=True)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe, config = read_yaml(args.config), read_yaml(args.mergekit)
    try:
        job = Job.from_mapping(read_yaml(args.contract))
    except (TypeError, ValueError) as error:
        what = f"contract cannot be used: {error}"
        raise Failure(CONFIG, what, where=args.contract, fix="correct the file", code="config.wrong_value") from error
    handoff = read_yaml(job.handoff)
    if job.merged_dir.exists():
        raise already_merged(job.merged_dir)
    register()
    merged, target_dir, handled = merge(recipe, config, job)
    lines = check(
        merged, target_dir, recipe, job.spread, handoff, handled["out_dtype"],
        sampled=job.sampled_tensors, trust=job.trust_remote_code,
    )  # fmt: skip
    report(lines, job.report, merged, handled=handled)
    publish(merged, job.merged_dir)
    shutil.rmtree(job.scratch_dir)


if __name__ == "__main__":
    program(main)
