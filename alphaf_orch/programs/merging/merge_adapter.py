"""Child program: merge an adapter with axolotl, lay its tokenizer over it, check the hand-off contract.

Guarantees that `merged_dir` exists only whole and checked: all work is in `scratch_dir`, one rename ends it.
Exit codes: 0 done, 2 unusable config, 6 merged_dir exists, 7 axolotl failed, 8 a contract line is violated.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from alphaf_orch.programs import tokenizer_files
from alphaf_orch.programs.architectures.orion import register
from alphaf_orch.programs.common import (
    CONFIG,
    CONTRACT,
    RUN_STATE,
    STAGE,
    Failure,
    program,
    publish,
    read_json,
    write_json,
)
from alphaf_orch.programs.merging.contract import SPECIAL_IDS, Contract, check, load_tokenizer
from alphaf_orch.programs.merging.contract_weights import Line
from alphaf_orch.programs.turn_end import end_ids

MARK = ".alphaf-merge-scratch"  # only a folder that carries it is ever deleted


def fresh_scratch(folder: Path) -> None:
    """Make an empty scratch folder, deleting only one that an earlier try of this program made."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARK).is_file():
            what, fix = "scratch_dir holds files of something else", "choose an empty or new folder"
            raise Failure(CONFIG, what, where=folder, fix=fix, code="config.folder_taken")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def quantise_as_trained(base_dir: Path, trust_remote_code: bool) -> None:
    """Make axolotl's merge take through NF4 only what 4-bit loading quantised.

    axolotl 0.19.0 takes every matrix through NF4; training left embeddings and lm_head as they were.
    """
    from axolotl.cli.utils import lora_merge

    from alphaf_orch.programs.merging.contract_models import Layout

    names = Layout(base_dir, trust_remote_code=trust_remote_code).quantised
    anything = lora_merge._should_nf4_roundtrip

    def only_quantised(key: str, *rest: Any) -> bool:
        return key in names and anything(key, *rest)

    lora_merge._should_nf4_roundtrip = only_quantised


def lay_tokenizer_over(
    adapter_dir: Path, merged_dir: Path, trust_remote_code: bool, eot_tokens: Sequence[str] | None = None
) -> None:
    """Replace the base's tokenizer files by the adapter's, and put its special ids into both configs."""
    for pattern in tokenizer_files.PATTERNS:
        for stale in merged_dir.glob(pattern):
            stale.unlink()
        for trained in adapter_dir.glob(pattern):
            shutil.copy2(trained, merged_dir / trained.name)
    write_ids(merged_dir, load_tokenizer(adapter_dir, trust_remote_code), eot_tokens)


def write_ids(folder: Path, tokenizer: Any, eot_tokens: Sequence[str] | None = None) -> None:
    """Put the tokenizer's special ids into both configs of a model, and what ends a turn where generation stops.

    eot_tokens None: what the chat template writes behind an answer.
    """
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        before = read_json(path)
        values = dict(before)
        for key in SPECIAL_IDS:
            mine, old = getattr(tokenizer, key), values.get(key)
            if mine is not None:
                # A list names every token that ends a turn; keep the others.
                values[key] = [mine, *(i for i in old if i != mine)] if isinstance(old, list) else mine
        if name == "generation_config.json":
            eos = values.get("eos_token_id")
            known = eos if isinstance(eos, list) else [eos] if eos is not None else []
            more = [i for i in end_ids(tokenizer, eot_tokens) if i not in known]
            values |= {"eos_token_id": [*known, *more]} if more else {}
        if values != before:
            write_json(path, values)


def cast(folder: Path, dtype: str) -> None:
    """Give every floating tensor the dtype asked for, a file at a time: axolotl's merge keeps the base's."""
    import torch
    from safetensors.torch import load_file, save_file

    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        wanted = {k: t.to(getattr(torch, dtype)) if t.is_floating_point() else t for k, t in tensors.items()}
        if any(wanted[k].dtype != tensors[k].dtype for k in tensors):
            save_file(wanted, path.with_name(path.name + ".part"), metadata={"format": "pt"})
            path.with_name(path.name + ".part").replace(path)
    config = read_json(folder / "config.json")
    key = "torch_dtype" if "torch_dtype" in config else "dtype"
    write_json(folder / "config.json", {**config, key: dtype})


def already_merged(folder: Path) -> Failure:
    """Return the failure of a merge whose result is there."""
    fix = "use it, or remove it to merge again"
    return Failure(RUN_STATE, "merged_dir exists already", where=folder, fix=fix, code="run.folder_taken")


def report(lines: Sequence[Line], file: Path, folder: Path, **more: Any) -> None:
    """Write the lines of a contract, and more that was found, to `file`; raise Failure for a line that is broken."""
    broken = [line for line in lines if not line.ok]
    write_json(file, {"ok": not broken, "lines": [dataclasses.asdict(line) for line in lines], **more})
    if broken:
        named = "\n  ".join(f"{line.line}: {line.detail}" for line in broken)
        what = f"the model breaks its hand-off contract\n  {named}"
        raise Failure(CONTRACT, what, where=folder, fix=f"read {file}", code="contract.broken")


def merge(config: Path, contract: Contract) -> Path:
    """Return the folder axolotl merged into, with the trained tokenizer; raise Failure (STAGE) where axolotl fails."""
    fresh_scratch(contract.scratch_dir)
    os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")  # read at import
    from axolotl.cli.merge_lora import do_cli

    if contract.adapter == "qlora":
        quantise_as_trained(contract.base_dir(), contract.trust_remote_code)
    try:
        do_cli(config=str(config))  # its validation refuses a Path
    except (ValueError, OSError, RuntimeError) as error:
        traceback.print_exc()
        what = f"axolotl could not merge: {' '.join(str(error).split())}"
        raise Failure(
            STAGE, what, where=config, fix="mend that cause and run the stage again", code="stage.merge_failed"
        ) from error
    merged: Path = contract.scratch_dir / "merged"  # axolotl's fixed name below output_dir
    lay_tokenizer_over(contract.adapter_dir, merged, contract.trust_remote_code, contract.eot_tokens)
    if contract.dtype:
        cast(merged, contract.dtype)
    return merged


def read_contract(config: Path | None, path: Path) -> Contract:
    """Return the contract, agreeing with the merge config; raise Failure naming the key that is wrong."""
    try:
        contract: Contract = Contract.from_mapping(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise Failure(
            CONFIG, f"contract cannot be used: {error}", where=path, fix="correct the file", code="config.wrong_value"
        ) from error
    try:
        contract.base_dir()
    except OSError as error:
        what = f"base_model is not on this machine: {error}"
        raise Failure(
            CONFIG, what, where=contract.base_model, fix="fetch it first", code="config.base_not_here"
        ) from error
    if not (contract.adapter_dir / "tokenizer_config.json").is_file():
        what = "adapter_dir has no tokenizer_config.json"
        raise Failure(
            CONFIG, what, where=contract.adapter_dir, fix="finish the training stage first", code="config.base_not_here"
        )
    if contract.adapter == "full":
        return contract
    if config is None:
        raise Failure(
            CONFIG,
            "an adapter needs --config",
            where=path,
            fix="pass the rendered merge.yaml",
            code="config.key_missing",
        )
    values = yaml.safe_load(config.read_text("utf-8"))
    for key, wanted in (
        ("base_model", contract.base_model),
        ("lora_model_dir", contract.adapter_dir),
        ("output_dir", contract.scratch_dir),
    ):
        if str(values.get(key)) != str(wanted):
            what = f"{key} is {values.get(key)}, the contract says {wanted}"
            raise Failure(
                CONFIG, what, where=config, fix="render both from one plan", code="config.other_than_contract"
            )
    return contract


def main(argv: list[str]) -> None:
    """Run the merge and its contract; ends as the module docstring says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, help="merge.yaml for axolotl (not for full fine-tuning)")
    parser.add_argument("--contract", type=Path, required=True)
    args = parser.parse_args(argv)
    contract = read_contract(args.config, args.contract)
    register()  # what axolotl and the contract load in this process
    if contract.adapter == "full":
        folder = contract.adapter_dir  # nothing to merge: the trained folder itself is handed off
        write_ids(folder, load_tokenizer(folder, contract.trust_remote_code), contract.eot_tokens)
    else:
        if contract.merged_dir.exists():
            raise already_merged(contract.merged_dir)
        folder = merge(args.config, contract)

    report(check(contract, folder), contract.report, folder)
    if contract.adapter != "full":
        publish(folder, contract.merged_dir)
        shutil.rmtree(contract.scratch_dir)


if __name__ == "__main__":
    program(main)
