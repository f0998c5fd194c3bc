"""Pickles and a model's own python: refused, or let in by a flag that the plan, the manifest and the card show."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from turns import ANSWERED, model_folder, rows

from alphaf_orch.core.errors import ConfigError, ModelError
from alphaf_orch.inputs.executable import pickled_weights, python_files, refuse_pickled_data
from alphaf_orch.planning import allowed
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.planning.resolve import resolve
from alphaf_orch.programs.models.from_pickle import weight_files
from alphaf_orch.report.card_text import _allowed
from alphaf_orch.settings.config import RunConfig

WEIGHTS = b"PK not read here"


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A model whose weights are one pickle."""
    folder = model_folder(tmp_path / "phi", "phi")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(WEIGHTS)
    return folder


def planned(cpu: Any, tmp_path: Path, model: Path, *, dry: bool = True, **said: Any) -> Plan:
    config = RunConfig(model=str(model), data=(rows(tmp_path / "rows.jsonl", ANSWERED),), **said)
    return make_plan(config, cpu, tmp_path / "run", Scope(("sft",), dry=dry))


def test_a_decoy_in_safetensors_makes_no_pickle_harmless(cpu, tmp_path, pickled):
    model_folder(tmp_path / "other", "phi")
    (tmp_path / "other" / "model.safetensors").rename(pickled / "decoy.safetensors")
    with pytest.raises(ModelError, match=r"no safetensors weights: pytorch_model\.bin is a pickle") as refused:
        planned(cpu, tmp_path, pickled)
    assert "--allow-pickle" in refused.value.fix
    with pytest.raises(ModelError, match=r"holds pytorch_model\.bin and decoy\.safetensors"):
        planned(cpu, tmp_path, pickled, dry=False, allow_pickle=True)


def index(folder: Path, name: str, *shards: str) -> None:
    places = {f"w{n}": shard for n, shard in enumerate(shards)}
    (folder / name).write_text(json.dumps({"weight_map": places}), "utf-8")


def test_an_index_of_safetensors_may_name_pickles(cpu, tmp_path):
    folder = model_folder(tmp_path / "phi", "phi")
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    (folder / "b.pt").write_bytes(WEIGHTS)
    index(folder, "model.safetensors.index.json", "a.safetensors", "b.pt")
    assert pickled_weights(folder) == ("b.pt",)
    with pytest.raises(ModelError, match=r"b\.pt is a pickle"):
        planned(cpu, tmp_path, folder)


@pytest.mark.parametrize("shard", ["../other/model.safetensors", "/etc/passwd", "x/../../y.safetensors"])
def test_an_index_stays_in_its_folder(tmp_path, shard):
    folder = model_folder(tmp_path / "phi", "phi")
    (folder / "model.safetensors").unlink()
    index(folder, "model.safetensors.index.json", shard)
    with pytest.raises(ModelError, match="is no plain file name"):
        pickled_weights(folder)


def test_weights_that_config_json_names_count(tmp_path):
    folder = model_folder(tmp_path / "phi", "phi")
    (folder / "adapter_model.bin").write_bytes(WEIGHTS)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "adapter_model.bin"}), "utf-8")
    assert pickled_weights(folder) == ("adapter_model.bin",)


def test_allowed_pickles_are_copied_first_and_the_chain_reads_the_copy(cpu, tmp_path, pickled):
    plan = planned(cpu, tmp_path, pickled, dry=False, allow_pickle=True)
    first = plan.stages[0]
    assert first.name == "base_model" and "alphaf_orch.programs.models.from_pickle" in first.argv
    copy = str(first.outputs[0])
    bases = {
        values["base_model"]
        for stage in plan.stages
        for file in stage.files.values()
        if "base_model" in (values := file.values)
    }
    assert str(pickled) not in bases and copy in bases
    assert plan.config.allow_pickle and plan.config.base_revision == plan.resolved.base.identity
    (pickled / "pytorch_model.bin").write_bytes(WEIGHTS + b"!")
    other = planned(cpu, tmp_path, pickled, dry=False, allow_pickle=True)
    assert str(other.stages[0].outputs[0]) != copy, "other pickles have another copy"


def test_the_record_names_flag_file_and_sum(cpu, tmp_path, pickled):
    plan = planned(cpu, tmp_path, pickled, dry=False, allow_pickle=True)
    found = allowed.record(plan.resolved, {})["allowed"]
    assert found["flags"] == ["--allow-pickle"]
    (kept,) = found["files"]
    assert (kept["kind"], kept["file"], kept["bytes"]) == ("pickle", "pytorch_model.bin", len(WEIGHTS))
    assert kept["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert kept["sha256"] in _allowed(found) and "--allow-pickle" in _allowed(found)
    lines = allowed.lines(found["flags"], [(kept["kind"], kept["model"], kept["file"])])
    assert lines == ["--allow-pickle: pytorch_model.bin of phi"]


def test_a_plan_that_reads_no_large_file_names_it_all_the_same(cpu, tmp_path, pickled, monkeypatch):
    monkeypatch.setattr("alphaf_orch.planning.base.folder_identity", lambda _: None)
    monkeypatch.setattr("alphaf_orch.planning.base.known_identity", lambda _: None)
    config = RunConfig(model=str(pickled), data=(rows(tmp_path / "rows.jsonl", ANSWERED),), allow_pickle=True)
    (only,) = allowed.let_in(resolve(config, cpu, tmp_path / "run", Scope(("sft",), dry=True)))
    assert only.name == "pytorch_model.bin"


def test_a_flag_that_nothing_needs_is_shown_too_and_lets_nothing_in(cpu, tmp_path):
    folder = model_folder(tmp_path / "phi", "phi")
    resolved = planned(cpu, tmp_path, folder, allow_pickle=True, trust_remote_code=True).resolved
    assert allowed.record(resolved, {}) == {"allowed": {"flags": list(allowed.FLAGS.values()), "files": []}}
    assert allowed.lines(allowed.given(resolved), [])[0] == "--allow-pickle: nothing here needs it"
    assert allowed.record(planned(cpu, tmp_path, folder).resolved, {}) == {}, "an older run's manifest stays as it is"


def test_python_of_a_model_is_recorded_that_of_other_repositories_included(cpu, tmp_path, monkeypatch):
    folder = model_folder(tmp_path / "phi", "phi")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    mapped = {"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "org/other--modeling_x.X"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "x", "auto_map": mapped}), "utf-8")
    (folder / "configuration_x.py").write_text("class X: pass\n", "utf-8")
    other = tmp_path / "hf" / "hub" / "models--org--other"
    (other / "refs").mkdir(parents=True)
    (other / "refs" / "main").write_text("c0ffee", "utf-8")
    (other / "snapshots" / "c0ffee").mkdir(parents=True)
    (other / "snapshots" / "c0ffee" / "modeling_x.py").write_text("class X: pass\n", "utf-8")
    with pytest.raises(ModelError, match="runs python code"):
        planned(cpu, tmp_path, folder)
    resolved = planned(cpu, tmp_path, folder, trust_remote_code=True).resolved
    found = allowed.record(resolved, {})["allowed"]["files"]
    assert [each["file"] for each in found] == ["configuration_x.py", "org/other--modeling_x.py"]
    assert {each["sha256"] for each in found} == {hashlib.sha256(b"class X: pass\n").hexdigest()}
    assert [each.name for each in python_files("m", folder, {"HF_HOME": str(tmp_path / "none")})] == [
        "configuration_x.py"
    ]


def test_a_call_that_does_not_look_at_the_base_forgets_nothing(cpu, tmp_path, pickled):
    found = allowed.record(planned(cpu, tmp_path, pickled, dry=False, allow_pickle=True).resolved, {})
    config = RunConfig(model=str(pickled), dpo_data=("sample",), allow_pickle=True)
    later = resolve(config, cpu, tmp_path / "run", Scope(("dpo",), dry=True, upstream="u"))
    assert allowed.record(later, found) == found


@pytest.mark.parametrize(
    "said",
    [
        {"datasets": ({"path": "rows.pkl", "ds_type": "pandas"},)},
        {"datasets": ({"path": "pandas", "data_files": ["rows.pkl"]},)},
        {"sft": {"test_datasets": [{"path": "rows.pkl", "ds_type": "pandas"}]}},
    ],
)
def test_rows_in_pickles_are_never_read(cpu, tmp_path, said):
    with pytest.raises(ConfigError, match="reads rows out of pickles"):
        planned(cpu, tmp_path, model_folder(tmp_path / "phi", "phi"), **said)
    refuse_pickled_data({"datasets": [{"path": "pandas/rows.json", "ds_type": "json"}]}, "x")


@pytest.mark.parametrize(
    ("files", "explicit", "opened"),
    [
        (["pytorch_model.bin", "pytorch_model.bin.index.json"], None, "pytorch_model.bin"),
        (["pytorch_model.bin.index.json"], None, "of-the-index.bin"),
        (["pytorch_model.bin", "model.safetensors.index.json"], None, "of-the-index.bin"),
        (["pytorch_model.bin", "own.bin"], "own.bin", "own.bin"),
        (["pytorch_model.bin", "own.bin.index.json"], "own.bin.index.json", "of-the-index.bin"),
    ],
)
def test_the_pickles_that_are_recorded_are_those_that_are_read(tmp_path, files, explicit, opened):
    named = {"transformers_weights": explicit} if explicit else {}
    (tmp_path / "config.json").write_text(json.dumps(named), "utf-8")
    for name in files:
        index = json.dumps({"weight_map": {"a": "of-the-index.bin"}})
        (tmp_path / name).write_text(index if name.endswith(".json") else "PK", "utf-8")
    assert pickled_weights(tmp_path) == (opened,)
    assert [file.name for file in weight_files(tmp_path)] == [opened]
