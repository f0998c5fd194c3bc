"""What a model is known by: every byte that a loader reads, read once and found again until a file changes."""

import json
import multiprocessing
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from eval_run import change_a_value, write_model, write_weights

from alphaf_orch.core.paths import cache_dir
from alphaf_orch.inputs import identity, kept
from alphaf_orch.inputs.identity import (
    folder_identity,
    is_old,
    known_identity,
    model_files,
    old_identity,
    settings_files,
)

REPO = Path(__file__).parents[2]
MIB = 1 << 20


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "모델 하나"
    write_model(folder, 1)
    write_weights(folder / "model.safetensors", 3 * MIB)
    return folder


@pytest.fixture
def settled(monkeypatch):
    """Let files that were written this moment be known again, as those of yesterday are."""
    monkeypatch.setattr(kept, "TICK_NS", 0)


def test_one_value_of_the_first_layer_makes_another_model(model):
    before = folder_identity(model)
    assert before.startswith("local:sha256:")
    old = old_identity(model)
    change_a_value(model / "model.safetensors")
    assert folder_identity(model) != before
    assert old_identity(model) == old, "what earlier versions went by"
    assert is_old(old)
    assert not is_old(before)


def test_what_is_kept_is_used_until_the_file_changes(model, settled):
    weights = model / "model.safetensors"
    first = folder_identity(model)
    (kept,) = (cache_dir() / "identity").iterdir()
    values = json.loads(kept.read_text("utf-8"))
    kept.write_text(json.dumps({**values, "sha256": "0" * 64}), "utf-8")
    assert folder_identity(model) != first, "the file was read again though it is as it was"
    kept.write_text(json.dumps(values), "utf-8")
    change_a_value(weights, keep_times=True)
    changed = folder_identity(model)
    assert changed != first, "the modification time was put back"
    kept.write_text(json.dumps({**values, "sha256": "0" * 64})[:-20], "utf-8")  # cut off
    assert folder_identity(model) == changed


def test_a_copy_with_its_times_is_read_for_itself(model, tmp_path, settled):
    first = folder_identity(model)
    copy = tmp_path / "사본"
    subprocess.run(["cp", "-a", model, copy], check=True)
    assert folder_identity(copy) == first
    change_a_value(copy / "model.safetensors", keep_times=True)
    subprocess.run(["cp", "-p", copy / "model.safetensors", tmp_path / "new"], check=True)
    (tmp_path / "new").replace(model / "model.safetensors")  # as rsync -t does
    assert folder_identity(model) == folder_identity(copy) != first


def test_a_file_written_this_moment_is_not_kept(model):
    folder_identity(model)
    assert not (cache_dir() / "identity").exists(), "a second change may leave its times as they are"


def test_a_hard_link_of_ours_keeps_what_is_known_and_a_change_through_it_is_seen(model, tmp_path, settled):
    first = folder_identity(model)
    arm = tmp_path / "arm"
    write_model(arm, 1)
    (arm / "model.safetensors").unlink()
    identity.link(model / "model.safetensors", arm / "model.safetensors")
    assert identity.unread_bytes([model / "model.safetensors", arm / "model.safetensors"]) == 0
    change_a_value(arm / "model.safetensors", keep_times=True)
    assert folder_identity(model) == folder_identity(arm) != first


def test_entries_of_absent_files_are_dropped(model, tmp_path, settled):
    folder_identity(model)
    (model / "model.safetensors").rename(tmp_path / "moved")
    place = cache_dir() / "identity"
    left = place / "1.9.partial"
    left.touch()
    os.utime(left, (0, 0))
    write_weights(model / "model.safetensors", MIB)
    folder_identity(model)
    (kept,) = place.iterdir()
    assert json.loads(kept.read_text("utf-8"))["path"] == str(model / "model.safetensors")


def _identify(folder: Path) -> str:
    kept.TICK_NS = 0
    return folder_identity(folder)


def test_several_processes_at_once_agree_and_leave_one_entry(model):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(_identify, [model] * 8))) == 1
    assert len(list((cache_dir() / "identity").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_said_and_stops_nothing(model, settled, capsys):
    cache_dir().mkdir(parents=True)
    (cache_dir() / "identity").write_text("in the way")
    first = folder_identity(model)
    assert f"note: {cache_dir() / 'identity'} cannot be written" in capsys.readouterr().err
    assert folder_identity(model) == first


def test_a_file_that_cannot_be_read_or_changes_meanwhile_is_refused(model, monkeypatch):
    from alphaf_orch.core.errors import ModelError

    read = identity._read

    def write_while_reading(*asked):
        found = read(*asked)
        change_a_value(model / "model.safetensors")
        return found

    monkeypatch.setattr(identity, "_read", write_while_reading)
    with pytest.raises(ModelError, match="a file of the model changed while it was read"):
        folder_identity(model)


def test_reading_much_is_said_once_and_left_out_where_only_a_plan_is_shown(model, settled, monkeypatch, capsys):
    monkeypatch.setattr(identity, "QUICK_BYTES", 2 * MIB)
    assert known_identity(model) is None
    first = folder_identity(model)
    said = f"model {model}: reading 6.1 MiB once to know its weights; kept until a file changes\n"
    assert capsys.readouterr().err == said
    assert known_identity(model) == first
    assert folder_identity(model) == first
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "name",
    [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
        "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "qwen.tiktoken", "spiece.model",
        "chat_template.jinja", "additional_chat_templates/rag.jinja", "modeling_own.py", "adapter_config.json",
        "model.safetensors.index.json", "model.safetensors",
    ],
)  # fmt: skip
def test_what_a_loader_reads_counts(model, name):
    before = folder_identity(model)
    (model / name).parent.mkdir(exist_ok=True)
    with (model / name).open("ab") as file:
        file.write(b" ")
    assert folder_identity(model) != before


@pytest.mark.parametrize(
    "name",
    [
        "README.md", "LICENSE", "model.gguf", "model.onnx", "optimizer.pt", "trainer_state.json", "training_args.bin",
        "consolidated.safetensors", "checkpoint-5/model.safetensors", ".DS_Store", "mergekit_config.yml", "메모.txt",
    ],
)  # fmt: skip
def test_what_no_loader_reads_does_not_count(model, name):
    before = folder_identity(model)
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_bytes(b"x")
    assert folder_identity(model) == before


def test_what_is_asked_without_weights_reads_none(model):
    names = [file.name for file in settings_files(model)]
    assert names == ["chat_template.jinja", "config.json", "tokenizer.json", "tokenizer_config.json"]
    assert sorted({*model_files(model)} - {*names}) == ["model.safetensors"]


def test_the_weights_are_those_that_would_be_loaded(tmp_path):
    for name in ("a.safetensors", "pytorch_model.bin", "b.bin"):
        write_weights(tmp_path / name, 4)
    assert list(model_files(tmp_path)) == ["a.safetensors"]
    (tmp_path / "a.safetensors").unlink()
    assert list(model_files(tmp_path)) == ["pytorch_model.bin"]
    (tmp_path / "pytorch_model.bin").unlink()
    assert list(model_files(tmp_path)) == ["b.bin"]
    for number in (1, 2):
        write_weights(tmp_path / f"model-{number}.safetensors", 4)
    shards = {f"layer.{number}": f"model-{number}.safetensors" for number in (1, 2, 3)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    whole = ["model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"]
    assert list(model_files(tmp_path)) == whole
    (tmp_path / "config.json").write_text('{"transformers_weights": "b.bin"}')
    assert list(model_files(tmp_path)) == ["b.bin", "config.json", *whole]


def test_a_dry_run_beside_huge_files_reads_neither_weights_nor_what_no_loader_reads():
    folder = cache_dir() / "models" / "tiny"
    write_model(folder, 1)
    write_weights(folder / "model.safetensors", 1_500_000_000, sparse=True)
    for name in ("model.gguf", "model.onnx", "optimizer.pt"):
        with (folder / name).open("wb") as file:
            file.truncate(3_000_000_000)

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    argv = [sys.executable, "-m", "alphaf_orch", "sft", "--model", "tiny", "--gpus", "0", "--dry-run"]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, preexec_fn=bound, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "reading" not in done.stderr
    assert known_identity(folder) is None


def test_a_large_file_beside_the_weights_costs_no_memory_even_where_it_counts(model):
    with (model / "huge.model").open("wb") as file:  # by its name a tokenizer
        file.truncate(300 * MIB)
    code = (
        "import resource, sys; from pathlib import Path;"
        "from alphaf_orch.inputs.identity import folder_identity, old_identity;"
        "from concurrent.futures import ThreadPoolExecutor;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; folder_identity(Path(sys.argv[1]));"
        "old_identity(Path(sys.argv[1])); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    argv = [sys.executable, "-c", code, str(model)]
    done = subprocess.run(argv, env=os.environ | {"PYTHONPATH": str(REPO)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 80 * 1024, "KiB more than before: one MiB a core is meant"
