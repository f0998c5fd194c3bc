"""Where the Hugging Face cache keeps a repository, and which files of a model folder are not usable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any, Literal

from alphaf_orch.core.record import read_json
from alphaf_orch.programs.native_types import NATIVE_TYPES

RepoType = Literal["model", "dataset"]

# Any one row is a complete tokenizer; vocab.json needs its merges beside it, qwen.tiktoken is Qwen1's own.
TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"), ("qwen.tiktoken",))
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# The limit the safetensors library itself sets for a header.
MAX_HEADER_BYTES = 100_000_000


def cache_root(env: Mapping[str, str]) -> Path:
    """Return the cache folder, by the variables and the order huggingface_hub uses."""

    def expanded(value: str) -> Path:
        home = env.get("HOME", "~")
        value = home + value[1:] if value == "~" or value.startswith("~/") else value
        return Path(Template(value).safe_substitute(env)).expanduser()

    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if env.get(name):
            return expanded(env[name])
    if env.get("HF_HOME"):
        return expanded(env["HF_HOME"]) / "hub"
    return expanded(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def repo_dir(repo_id: str, repo_type: RepoType, env: Mapping[str, str]) -> Path:
    """Return the repository's folder in the cache, whether or not it exists."""
    return cache_root(env) / f"{repo_type}s--{repo_id.replace('/', '--')}"


def snapshot(repo_id: str, repo_type: RepoType, revision: str | None, env: Mapping[str, str]) -> Path | None:
    """Return the cached snapshot of a branch, tag or commit (None: main), or None if it is not there."""
    folder = repo_dir(repo_id, repo_type, env)
    wanted = revision or "main"
    ref = folder / "refs" / wanted
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else wanted
    found = folder / "snapshots" / commit
    return found if commit and found.is_dir() else None


def missing_files(model_dir: Path) -> tuple[str, ...]:
    """Return what a model folder lacks to be loaded, each with the reason; empty means complete.

    Names absent files, links whose target is gone, and safetensors files shorter than their own header says.
    """
    config = read_json(model_dir / "config.json")
    lacking = ["config.json (absent or not JSON)"] if config is None else _missing_code(model_dir, config)
    if not any(all((model_dir / name).is_file() for name in group) for group in TOKENIZERS):
        lacking.append("tokenizer.json (absent, and no other tokenizer)")
    return (*lacking, *_missing_weights(model_dir))


def _missing_code(model_dir: Path, config: Mapping[str, Any]) -> list[str]:
    """Return the python files that config.json's auto_map names, that will be run, and that the folder lacks."""
    if config.get("model_type") in NATIVE_TYPES:
        return []
    targets = [str(target) for target in config.get("auto_map", {}).values()]
    # "repo--module.Class" lives in another repository.
    modules = {target.split(".")[0] for target in targets if "--" not in target}
    files = sorted(f"{module}.py" for module in modules)
    return [f"{name} (absent)" for name in files if not (model_dir / name).is_file()]


def _missing_weights(model_dir: Path) -> list[str]:
    """Return the weight files that are absent or cut short; safetensors win over .bin where both exist."""
    for name in WEIGHTS:
        if (model_dir / f"{name}.index.json").is_file():
            index = read_json(model_dir / f"{name}.index.json")
            if index is None or not index.get("weight_map"):
                return [f"{name}.index.json (not JSON, or no weight_map)"]
            shards = sorted(set(index["weight_map"].values()))
        elif (model_dir / name).is_file():
            shards = [name]
        else:
            continue
        problems = [(shard, file_problem(model_dir / shard)) for shard in shards]
        return [f"{shard} ({problem})" for shard, problem in problems if problem]
    return ["model.safetensors (absent, and no other weights)"]


def weights_problem(folder: Path) -> str | None:
    """Return why the safetensors weights of a model or adapter folder are not whole, or None."""
    if not folder.is_dir():
        return f"{folder} does not exist"
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = (read_json(index) or {}).get("weight_map")
        if not shards:
            return f"{index} is cut off"
        names = sorted(set(shards.values()))
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        return f"{folder} holds no safetensors file"
    problems = ((name, file_problem(folder / name)) for name in names)
    return next((f"{folder / name}: {problem}" for name, problem in problems if problem), None)


def file_problem(path: Path) -> str | None:
    """Return why a weights file can't be used, or None; a safetensors header gives the length to expect.

    Layout: 8 bytes little-endian header length, JSON header with `data_offsets`, then the data
    (https://github.com/huggingface/safetensors, README "Format").
    """
    if not path.is_file():
        return "absent"
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return None if size else "empty"
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if size < 8 or header_bytes > MAX_HEADER_BYTES:
            return "not safetensors"
        if size < 8 + header_bytes:
            return f"cut short: {size:,} bytes, its header alone is {header_bytes:,}"
        try:
            header = json.loads(file.read(header_bytes))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return "not safetensors"
    expected = 8 + header_bytes + max(ends, default=0)
    return None if size == expected else f"cut short: {size:,} of {expected:,} bytes"
