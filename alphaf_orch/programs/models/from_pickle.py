"""Child program: writes a model whose weights are pickles anew as safetensors; what is in them is read, never run."""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import MODEL, Failure, program, read_json, write_json
from alphaf_orch.programs.models.build_tiny import making
from alphaf_orch.programs.models.fetch_model import SMALL_FILES

INDEX = "model.safetensors.index.json"
_NAMED = "transformers_weights"  # the key of config.json by which a model's weights may have any name
_ELSEWHERE = "load it where it may do harm to nothing, save_pretrained() it there, and pass the new folder as --model"


def read_tensors(file: Path) -> dict[str, Any]:
    """Return the tensors of a pickle, read by torch's `weights_only`, which builds tensors and plain values alone.

    Raises Failure where the pickle asks for anything else, or holds anything else.
    """
    import torch

    try:
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=_is_archive(file))
    except pickle.UnpicklingError as error:
        reason = " ".join(str(error).split())
        raise Failure(
            MODEL, f"the pickle asks for more than tensors: {reason}", where=file, fix=_ELSEWHERE, code="model.pickle"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        fix = "copy the file again"
        raise Failure(
            MODEL, f"the pickle cannot be read: {error}", where=file, fix=fix, code="model.unreadable"
        ) from error
    tensors = found.get("state_dict", found) if isinstance(found, Mapping) else None
    if not tensors or not all(isinstance(each, torch.Tensor) for each in tensors.values()):
        raise Failure(MODEL, "the pickle holds no weights by name", where=file, fix=_ELSEWHERE, code="model.no_weights")
    return dict(tensors)


def _is_archive(file: Path) -> bool:
    """Return whether it is a zip, as torch writes since 1.6: only that can be mapped into memory."""
    with file.open("rb") as content:
        return content.read(2) == b"PK"


def own_memory(tensors: Mapping[str, Any], *, tied: bool) -> dict[str, Any]:
    """Return the tensors each with memory of its own, as safetensors wants them; of tied ones the first alone."""
    kept: dict[str, Any] = {}
    seen: set[tuple[object, ...]] = set()
    for name, tensor in tensors.items():
        place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride())
        if place in seen and tensor.numel():
            if tied:
                continue
            tensor = tensor.clone()
        seen.add(place)
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        kept[name] = tensor.contiguous() if whole else tensor.contiguous().clone()
    return kept


def weight_files(folder: Path) -> list[Path]:
    """Return the files of pickled weights, sorted: of what transformers would open, as inputs.executable says it."""
    named = read_json(folder / "config.json").get(_NAMED)
    for name in (named, INDEX, "pytorch_model.bin", "pytorch_model.bin.index.json"):
        if name and (folder / name).is_file():
            listed = read_json(folder / name).get("weight_map") if name.endswith(".json") else {name: name}
            return [folder / each for each in sorted(set((listed or {}).values()))]
    return [folder / "pytorch_model.bin"]


def shards(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each new file and its tensors; one file of the old ones is in memory at a time."""
    files = weight_files(folder)
    tied = read_json(folder / "config.json").get("tie_word_embeddings") is not False
    for number, file in enumerate(files, 1):
        name = "model.safetensors" if len(files) == 1 else f"model-{number:05}-of-{len(files):05}.safetensors"
        yield name, own_memory(read_tensors(file), tied=tied)


def convert(folder: Path, target: Path) -> None:
    """Write the weights as safetensors into `target`, with the small files of the model beside them."""
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    total = 0
    for name, tensors in shards(folder):
        save_file(tensors, target / name, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, name)
        total += sum(each.numel() * each.element_size() for each in tensors.values())
    if len(set(places.values())) > 1:
        write_json(target / INDEX, {"metadata": {"total_size": total}, "weight_map": places})
    for file in {file for pattern in SMALL_FILES for file in folder.glob(pattern) if file.is_file()}:
        if not file.name.endswith(".index.json"):
            shutil.copyfile(file, target / file.name)
    config = read_json(folder / "config.json")
    if config.pop(_NAMED, None):
        write_json(target / "config.json", config)


def main(argv: list[str]) -> None:
    """Write the model in --model to --output, complete or not at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(argv)
    with making(args.output) as partial:
        try:
            convert(args.model, partial)
        except Failure:
            shutil.rmtree(partial)
            raise
    print(json.dumps({"read": [file.name for file in weight_files(args.model)], "written": str(args.output)}))


if __name__ == "__main__":
    program(main)
