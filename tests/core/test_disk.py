"""A full disk is said as one, wherever it is met, and nothing that is left keeps the same command from going on."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from judge_stub import Stub
from judged import by_quality, judge
from small_disk import KIB, empty, fill, small_disk

from alphaf_orch.core.disk import disk_error, size, sizes, told_of_disk
from alphaf_orch.core.errors import DiskError
from alphaf_orch.core.lock import held
from alphaf_orch.core.record import write_atomic
from alphaf_orch.judging.verdicts import open_verdicts
from alphaf_orch.report.blocks import Report
from alphaf_orch.report.write import write_report


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "작은 디스크") as place:
        yield place


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (85_471_000_000, "79.6 GiB"),
        (5 << 60, "5120.0 PiB"),
    ],
)
def test_sizes_are_written_for_people(count, text):
    assert size(count) == text


def test_two_amounts_are_told_apart():
    assert sizes(3 << 30, 2 << 30) == ("3.0 GiB", "2.0 GiB")
    assert sizes(13_210_000_000, 13_200_000_000) == ("12.30 GiB", "12.29 GiB")
    assert sizes(5 << 40, (5 << 40) - 1) == ("5,497,558,138,880 bytes", "5,497,558,138,879 bytes")
    assert sizes(7, 7) == ("7 bytes", "7 bytes")


def test_a_file_that_does_not_fit_leaves_the_old_one_and_no_part_of_the_new(disk):
    path = disk / "run" / "manifest.json"
    write_atomic(path, "old")
    fill(disk)
    with pytest.raises(DiskError) as full:
        write_atomic(path, "new" * 10_000)
    assert full.value.exit_code == 5
    assert full.value.what == f"the disk is full: {path}"
    assert full.value.where == f"file system {disk} (tmpfs): 0 bytes of 1.0 MiB free"
    assert "free space there (`alphaf clean` lists what is needed no more" in full.value.fix
    assert path.read_text() == "old"
    assert [each.name for each in path.parent.iterdir()] == ["manifest.json"]
    empty(disk)
    write_atomic(path, "new")
    assert path.read_text() == "new"


def test_what_may_go_is_named_with_its_size(disk):
    scratch = disk / "run" / ".partial" / "merge_sft"
    scratch.mkdir(parents=True)
    (scratch / "model.safetensors").write_bytes(b"x" * 3 * KIB)
    fill(disk)
    with pytest.raises(DiskError) as full:
        write_atomic(disk / "run" / "manifest.json", "x" * 9 * KIB)
    assert f"most there is taken by {scratch.parent} (4.0 KiB); free space there (`alphaf clean` " in full.value.fix


def test_a_verdict_that_does_not_fit(disk):
    path = disk / "judge" / "verdicts.jsonl"
    path.parent.mkdir()
    fill(disk, 12 * KIB)  # the lock's, and what is beside it while it is taken
    with pytest.raises(DiskError, match=r"the disk is full: .*verdicts\.jsonl"), open_verdicts(path) as file:
        for _ in range(100):
            file.append({"reason": "x" * KIB})


def test_a_judging_that_meets_the_end_of_the_disk_says_so_and_goes_on(disk):
    """The verdicts are written from tasks of an event loop, where errors come in groups."""
    folder = disk / "judge" / "dpo-vs-sft"
    folder.mkdir(parents=True)
    fill(disk, 12 * KIB)
    with Stub(by_quality) as stub:
        with pytest.raises(DiskError, match="the disk is full"):
            judge(folder, stub.url, 60)
        before = len((folder / "verdicts.jsonl").read_bytes().splitlines()) - 1  # the last one may be cut off
        empty(disk)
        assert 0 < before < 120
        asked = len(stub.bodies)
        assert judge(folder, stub.url, 60)["wins"] == 60
        assert len(stub.bodies) - asked <= 120 - before


NOBODY = """
import os, sys
from pathlib import Path
from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.lock import held
from alphaf_orch.core.record import write_atomic
from alphaf_orch.judging.verdicts import open_verdicts
os.setegid(65534)
os.seteuid(65534)
place = Path(sys.argv[1])
for folder in (place / "old", place / "new", place / "closed" / "new"):
    for write in (
        lambda: write_atomic(folder / "summary.json", "x"),
        lambda: held(folder / ".lock", "r").__enter__(),
        lambda: open_verdicts(folder / "verdicts.jsonl").__enter__(),
    ):
        try:
            write()
        except AlphafError as error:
            print(error.exit_code, error.message)
"""


def test_a_folder_without_the_right_to_write(tmp_path):
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o011)
    (tmp_path / "old").mkdir()
    (tmp_path / "closed").mkdir(mode=0o700)
    argv = [sys.executable, "-c", NOBODY, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    said = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
    assert said.count("5 permission denied: ") == 9
    assert said.count("file system /") == said.count("get the right to read and write there") == 9


def test_a_lock_that_does_not_fit(disk):
    fill(disk)
    with pytest.raises(DiskError, match=r"the disk is full: .*\.lock"), held(disk / ".lock", "the run r"):
        pass


def test_a_report_that_does_not_fit(disk):
    fill(disk)
    with pytest.raises(DiskError, match=r"the disk is full: .*report\.html"):
        write_report(Report("t", "s", ()), disk / "report.html", "en")


def said_of_output_to(place):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with place.open("w", encoding="utf-8") as out:
        argv = [sys.executable, "-m", "alphaf_orch", "models"]
        ended = subprocess.run(argv, env=env, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 5
    return ended.stderr


def test_output_on_a_full_disk_names_that_disk(disk):
    fill(disk)
    said = said_of_output_to(disk / "out")
    assert f"error: the disk is full: {disk / 'out'}\n  where: file system {disk} (tmpfs): 0 bytes of 1.0 MiB" in said


def test_output_to_a_device_that_is_full_names_it():
    """No disk is needed for this one."""
    assert "error: the disk is full: /dev/full\n" in said_of_output_to(Path("/dev/full"))


def test_a_read_only_disk(disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(DiskError, match="the disk is read-only"):
        write_atomic(disk / "manifest.json", "x")


def test_a_limit_of_the_shell():
    """No disk is needed for this one: `ulimit -f`."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "import sys; from pathlib import Path\n"
        "from alphaf_orch.core.record import write_atomic; from alphaf_orch.core.errors import DiskError\n"
        "try: write_atomic(Path(sys.argv[1]), 'x' * 5000)\n"
        "except DiskError as error: print(error.message)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [sys.executable, "-c", code, str(Path(os.environ["ALPHAF_RUNS"]) / "m")]
    assert "ulimit -f" in subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EACCES", "EPERM"])
def test_every_error_of_a_disk_is_told_as_one_by_any_command(name, alphaf, monkeypatch):
    number = getattr(errno, name)

    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number), "/x/merged/model.safetensors")

    monkeypatch.setattr("alphaf_orch.cli.look.all_runs", refuse)
    told = alphaf("runs")
    assert told.exit_code == 5
    assert "alphaf itself failed" not in told.stderr
    assert "/x/merged/model.safetensors" in told.stderr
    assert "where: file system / (" in told.stderr


def test_other_errors_are_not(alphaf, monkeypatch):
    def refuse():
        raise OSError(errno.ENOTDIR, "x")

    assert disk_error(OSError(errno.EACCES, "x")) is None
    assert disk_error(OSError(errno.EIO, "a closed terminal")) is None
    monkeypatch.setattr("alphaf_orch.cli.look.all_runs", refuse)
    with pytest.raises(NotADirectoryError):
        alphaf("runs")


@pytest.mark.parametrize(
    "text",
    [
        "OSError: [Errno 28] No space left on device: '/x/checkpoint-5'",
        "safetensors_rust.SafetensorError: Error while serializing: I/O error: No space left on device (os error 28)",
        "axolotl could not merge: [Errno 28] No space left on device",
    ],
)
def test_what_a_tool_says_of_a_full_disk(text, tmp_path):
    told = told_of_disk(text, tmp_path / "s.log")
    assert told is not None
    assert told.what == f"the disk is full: {text}"
    assert told.where.startswith("file system /")


def test_a_tool_that_fell_silent_on_a_full_disk(disk):
    """torch says only `file write failed`, and a log that cannot grow says nothing at all."""
    log = disk / "sft.log"
    log.write_text("$ x\n")
    said = "RuntimeError: PytorchStreamWriter failed writing file data/0: file write failed"
    assert told_of_disk(said, log) is None
    fill(disk)
    assert told_of_disk(said, log) is not None


@pytest.mark.parametrize("left", [0, 8, 40, 80, 140])
def test_a_run_that_meets_the_end_of_the_disk_says_so_and_goes_on(left, disk, fake, alphaf, monkeypatch):
    """Wherever it is that nothing fits any more: the manifest, a rendered file, a log, a checkpoint."""
    monkeypatch.setenv("ALPHAF_RUNS", str(disk / "runs"))
    monkeypatch.setattr("alphaf_orch.runs.preflight.require", lambda _: None)
    args = ("run", "--model", "tiny", "--config", str(fake.config))
    fill(disk, left * KIB)
    full = alphaf(*args)
    assert full.exit_code == 5, full.output
    assert "the disk is full" in full.stderr
    assert f"file system {disk} (tmpfs)" in full.stderr
    assert "Traceback" not in full.stderr
    empty(disk)
    done = alphaf(*args)
    assert done.exit_code == 0, done.output
    assert not [path for path in (disk / "runs").rglob("*.partial") if path.is_file()]
