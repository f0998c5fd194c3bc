"""Pickles of weights, written anew by the real program: equal to the bit, and nothing in them is run."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import llama, tokenizer
from transformers import AutoModelForCausalLM

from alphaf_orch.programs.common import Failure
from alphaf_orch.programs.models.from_pickle import main


class Harm:
    """What a hostile pickle does when it is read as pickles are."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.place),))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "모델"
    made = tokenizer()
    made.save_pretrained(folder)
    net = llama(len(made), tied=True)
    net.config.save_pretrained(folder)
    torch.save(net.state_dict(), folder / "pytorch_model.bin")
    return folder


def test_the_copy_is_the_model_to_the_bit(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    main(["--model", str(model), "--output", str(out)])
    before, after = torch.load(model / "pytorch_model.bin", weights_only=True), load_file(out / "model.safetensors")
    assert set(before) - set(after) == {"lm_head.weight"}, "tied to the embedding"
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    assert {"config.json", "tokenizer.json"} <= {file.name for file in out.iterdir()}
    assert not list(out.glob("*.bin"))


def test_weights_that_the_config_names_are_found_in_the_copy(model: Path, tmp_path: Path) -> None:
    (model / "pytorch_model.bin").rename(model / "own.bin")
    config = json.loads((model / "config.json").read_text("utf-8"))
    (model / "config.json").write_text(json.dumps({**config, "transformers_weights": "own.bin"}), "utf-8")
    out = tmp_path / "copy"
    main(["--model", str(model), "--output", str(out)])
    assert json.loads((out / "config.json").read_text("utf-8")) == config
    assert AutoModelForCausalLM.from_pretrained(out).num_parameters() > 0


def test_shards_and_views_come_out_whole(model: Path, tmp_path: Path) -> None:
    whole = torch.load(model / "pytorch_model.bin", weights_only=True)
    names = sorted(whole)
    (model / "pytorch_model.bin").unlink()
    places = {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        # A transposed view of a larger storage: safetensors takes neither.
        torch.save({name: torch.cat([whole[name], whole[name]])[: len(whole[name])] for name in part}, model / file)
        places |= dict.fromkeys(part, file)
    (model / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}), "utf-8")
    out = tmp_path / "copy"
    main(["--model", str(model), "--output", str(out)])
    mapped = json.loads((out / "model.safetensors.index.json").read_text("utf-8"))["weight_map"]
    found = {name: load_file(out / file)[name] for name, file in mapped.items()}
    assert found.keys() == whole.keys() and all(torch.equal(whole[name], found[name]) for name in whole)
    assert sum(file.stat().st_size for file in out.glob("*.safetensors")) < 2 * sum(t.nbytes for t in whole.values())


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["plain pickle", "torch archive", "no tensors"])
def test_what_asks_for_more_than_tensors_is_refused_and_not_run(model: Path, tmp_path: Path, form: str) -> None:
    harmed, file = tmp_path / "harmed", model / "pytorch_model.bin"
    hostile = {"a": torch.zeros(1), "b": Harm(harmed)}
    if form == "plain pickle":
        file.write_bytes(pickle.dumps(hostile))
    else:
        torch.save(hostile if form == "torch archive" else {"a": 1}, file)
    with pytest.raises(Failure, match="error: the pickle ") as refused:
        main(["--model", str(model), "--output", str(tmp_path / "copy")])
    assert refused.value.code == 4
    assert not harmed.exists() and not (tmp_path / "copy").exists()
    pickle.loads(pickle.dumps(Harm(harmed)))
    assert harmed.is_dir(), "it would have"
