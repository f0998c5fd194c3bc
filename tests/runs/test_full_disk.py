"""A disk that fills up, wherever that is and whatever is written: said as one error, and the same command goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_run import finished
from small_disk import KIB, empty, fill, small_disk

from alphaf_orch.cli.main import main
from alphaf_orch.core.places import freed

REPO = Path(__file__).parents[2]
# Rows that are converted for the cache: of a table by the tool's own program, of JSON by ours.
ROW = {"instruction": "기준금리를 정하는 곳은 어디인가요?", "output": "한국은행입니다." * 40}


def call(*args: str):
    return CliRunner().invoke(main, list(args), catch_exceptions=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the stand-ins and a run that they finished."""
    place = tmp_path_factory.mktemp("full")
    fake = finished(place, "끝난")
    shutil.copytree(place / "runs" / "끝난", place / "runs" / "다른")
    return place, fake


@pytest.fixture
def small(made, tmp_path, monkeypatch):
    """Return a disk on which one of the places lies, its variable named by the caller."""
    monkeypatch.setenv("FAKE_TOOL", str(made[1].control))
    monkeypatch.chdir(tmp_path)
    made[1].behave()
    with small_disk(tmp_path / "작은 디스크", "size=20m") as disk:

        def lies_on(variable: str) -> Path:
            places = {"ALPHAF_RUNS": "runs", "ALPHAF_CACHE": "cache"}
            for name, folder in places.items():
                place = (disk if name == variable else tmp_path) / folder
                shutil.copytree(made[0] / folder, place, dirs_exist_ok=True)
                monkeypatch.setenv(name, str(place))
            if variable == "TMPDIR":
                (disk / "tmp").mkdir()
                monkeypatch.setenv("TMPDIR", str(disk / "tmp"))
                monkeypatch.setattr(tempfile, "tempdir", None)
            return disk

        yield lies_on


def is_told(done, disk: Path, variable: str) -> None:
    """Assert that one error says what is full, what may go, by which command, and where else it could lie."""
    assert done.exit_code == 5, done.output
    assert done.stderr.count("error: ") == 1 and "Traceback" not in done.output
    assert "the disk is full" in done.stderr
    assert f"where: file system {disk} (tmpfs): " in done.stderr
    assert "`alphaf clean` lists what is needed no more, `alphaf clean --yes` deletes it" in done.stderr
    assert f"point {variable} at a larger disk; then the same command goes on" in done.stderr


COMMANDS = {
    "a new run": ("run", "--model", "tiny", "--run", "b"),
    "a report": ("report", "끝난"),
    "a comparison": ("compare", "끝난", "다른"),
}


@pytest.mark.parametrize(("what", "left"), [("a new run", 12), ("a report", 0), ("a comparison", 60)])
def test_the_disk_of_the_runs(what, left, small, made, monkeypatch):
    disk = small("ALPHAF_RUNS")
    monkeypatch.setattr("alphaf_orch.runs.preflight.require", lambda _: None)
    config = ("--config", str(made[1].config)) if what == "a new run" else ()
    fill(disk, left * KIB)
    is_told(call(*COMMANDS[what], *config), disk, "ALPHAF_RUNS")
    empty(disk)
    done = call(*COMMANDS[what], *config)
    assert done.exit_code == 0, done.output
    assert not [path for path in (disk / "runs").rglob("*.partial") if path.is_file()]


@pytest.mark.parametrize("left", [0, 40])
def test_the_disk_of_the_cache(left, small, made, tmp_path):
    disk = small("ALPHAF_CACHE")
    rows = tmp_path / "rows.jsonl"
    told = ({**ROW, "instruction": f"{n} {ROW['instruction']}"} for n in range(60))
    rows.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in told), encoding="utf-8")
    args = ("sft", "--model", "tiny", "--run", "b", "--data", str(rows), "--config", str(made[1].config), "--dry-run")
    fill(disk, left * KIB)
    is_told(call(*args), disk, "ALPHAF_CACHE")
    empty(disk)
    done = call(*args)
    assert done.exit_code == 0, done.output


def test_the_program_that_converts_rows_tells_of_the_disk(small, tmp_path, capfd, monkeypatch):
    """A table is read in a tool's environment: what its program met comes back as what it is."""
    folder = small("ALPHAF_CACHE") / "cache" / "rows"
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(ROW, ensure_ascii=False) * 1, encoding="utf-8")
    fill(folder.parents[1])
    wanted = {"place": str(rows), "called": str(rows), "want": "chat", "folder": str(folder)}
    code = "import sys; from alphaf_orch.programs.formats.convert import main; sys.exit(main(sys.argv[1:]))"
    argv = [sys.executable, "-c", code, json.dumps(wanted)]
    ended = subprocess.run(
        argv, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(REPO)}, check=False
    )
    assert (ended.returncode, json.loads(ended.stdout)) == (1, {"errno": errno.ENOSPC})
    table = tmp_path / "rows.csv"
    table.write_text("instruction,output\na,b\n")
    monkeypatch.setattr("alphaf_orch.inputs.formats.capture", lambda *_, **__: (1, ended.stdout))
    is_told(call("sft", "--model", "tiny", "--data", str(table), "--dry-run"), folder.parents[1], "ALPHAF_CACHE")


def test_the_disk_of_scratch_files(small, made):
    disk = small("TMPDIR")
    args = ("run", "--model", "tiny", "--run", "b", "--config", str(made[1].config), "--dry-run")
    fill(disk, 12 * KIB)  # with none at all python takes /tmp
    is_told(call(*args), disk, "TMPDIR")
    empty(disk)
    assert call(*args).exit_code == 0


def test_rows_through_a_pipe(small, made, tmp_path):
    disk = small("ALPHAF_CACHE")
    fill(disk, 4 * KIB)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if os.fork() == 0:
        with pipe.open("wb") as file:
            try:
                file.write(json.dumps(ROW).encode() * 100)
            finally:
                os._exit(0)
    done = call("sft", "--model", "tiny", "--data", str(pipe), "--config", str(made[1].config), "--dry-run")
    os.wait()
    assert done.exit_code == 5 and "half of what the disk has free" in done.stderr
    assert not list((disk / "cache" / "piped").iterdir())


def test_a_disk_that_has_no_names_left(tmp_path, made, monkeypatch):
    """Inodes: bytes are free, and no file can be made."""
    monkeypatch.setenv("FAKE_TOOL", str(made[1].control))
    monkeypatch.chdir(tmp_path)
    with small_disk(tmp_path / "작은 디스크", "size=1g,nr_inodes=30") as disk:
        monkeypatch.setenv("ALPHAF_RUNS", str(disk / "runs"))
        args = ("run", "--model", "tiny", "--run", "b", "--config", str(made[1].config))
        refused = call(*args)
        assert refused.exit_code == 5
        assert "more files can be made of 30 (inodes): a run makes 1000" in refused.stderr
        monkeypatch.setattr("alphaf_orch.runs.preflight.require", lambda _: None)
        full = call(*args)
        assert full.exit_code == 5
        assert "and no further file can be made: all 30 inodes are taken" in full.stderr
        subprocess.run(["mount", "-o", "remount,nr_inodes=100000", disk], check=True)
        assert call(*args).exit_code == 0


def test_what_takes_most_is_named_with_its_size(small, made):
    disk = small("ALPHAF_RUNS")
    largest = disk / "runs" / "끝난" / "sft" / "checkpoint-10" / "optimizer.pt"
    largest.write_bytes(b"x" * 300 * KIB)
    fill(disk)
    told = call("report", "끝난").stderr
    size = freed([largest.parent]) // KIB
    assert f"most there is taken by {largest.parent} ({size}.0 KiB), " in told


def test_what_is_needed_no_more_can_be_deleted_from_a_disk_that_is_full_to_the_last_byte(small, made):
    disk = small("ALPHAF_RUNS")
    run = disk / "runs" / "끝난"
    (run / "sft" / "checkpoint-10" / "optimizer.pt").write_bytes(b"x" * 300 * KIB)
    fill(disk)
    is_told(call("report", "끝난"), disk, "ALPHAF_RUNS")
    done = call("clean", "끝난", "--merged", "--yes")
    assert done.exit_code == 0, done.output
    assert not list(run.glob("*/checkpoint-*")) and not (run / "sft" / "merged").exists()
    # The ballast is still there: what was freed is enough.
    assert call("report", "끝난", "--lang", "en").exit_code in (0, 5)
    again = call("run", "--run", "끝난", "--config", str(made[1].config))
    assert again.exit_code == 0 and "nothing to do" in again.stderr


def test_a_checkpoint_that_was_cut_off_is_passed_over_and_said(small, made, monkeypatch):
    disk = small("ALPHAF_RUNS")
    monkeypatch.setattr("alphaf_orch.runs.preflight.require", lambda _: None)
    args = ("sft", "--model", "tiny", "--run", "b", "--config", str(made[1].config))
    made[1].behave(sft="half")
    assert call(*args).exit_code == 7
    cut = disk / "runs" / "b" / "sft" / "checkpoint-8"
    shutil.copytree(cut.with_name("checkpoint-5"), cut)
    (cut / "trainer_state.json").write_text('{"global_step": 8, "max_steps"')
    made[1].behave()
    done = call(*args)
    assert done.exit_code == 0, done.output
    assert "checkpoint-8 is passed over: trainer_state.json is missing or cannot be read" in done.stderr
    assert "goes on from checkpoint-5" in done.stderr


def test_a_merged_model_that_was_cut_off_is_set_aside_and_merged_anew(small, made, monkeypatch):
    disk = small("ALPHAF_RUNS")
    monkeypatch.setattr("alphaf_orch.runs.preflight.require", lambda _: None)
    manifest = disk / "runs" / "끝난" / "manifest.json"
    weights = manifest.parent / "dpo" / "merged" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(b"")
    found = json.loads(manifest.read_text(encoding="utf-8"))
    found["stages"]["merge_dpo"]["state"] = "failed"
    manifest.write_text(json.dumps(found), encoding="utf-8")
    done = call("run", "--run", "끝난", "--config", str(made[1].config))
    assert done.exit_code == 0, done.output
    assert "merge_dpo: what an earlier try left half-written is in " in done.stderr
    assert weights.read_bytes() == whole
    assert (manifest.parent / "damaged" / "merge_dpo" / "dpo" / "merged" / "model.safetensors").read_bytes() == b""
