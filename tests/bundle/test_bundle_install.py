"""The installer: from parts without a network to a machine that answers; a changed byte is named, nothing installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from bundled import PYTHON, Install, Made
from watched import cut_off, without_interface

MODEL = "model.safetensors"


def test_from_the_parts_without_a_network_to_a_doctor_and_again(made: Made, install: Install, tmp_path: Path) -> None:
    """Read-only media, a foreign pip configuration, a umask that locks out: nothing of it counts."""
    if lacking := without_interface():
        pytest.skip(lacking)
    hostile = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_REQUIRE_VIRTUALENV": "1", "PYTHONPATH": "/nowhere"}
    where = tmp_path / "설치"
    begin = (*cut_off(), "sh", "-c", 'umask 0277; exec "$@"', "-")
    done = install(made.parts, "--manifest-sha256", made.digest, env=hostile, before=begin)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"alphaf doctor HF_HOME={where}/hf" in done.stdout
    installed = sorted(path.name for path in where.glob(f"venv/lib/python{PYTHON}/site-packages/*.dist-info"))
    assert [name.split("-")[0] for name in installed] == ["alphaf_orch", "eins", "pip", "quelle", *["setuptools"] * (
        PYTHON == "3.11"), "zwei"]  # fmt: skip
    snapshot = next((where / "hf" / "hub" / "models--org--judge" / "snapshots").iterdir())
    assert (where / "hf" / "hub" / "models--org--judge" / "refs" / "main").read_text() == snapshot.name
    assert (snapshot / MODEL).read_bytes() == next(made.folder.glob(f"hub/*/snapshots/*/{MODEL}")).read_bytes()
    assert (where / "data" / "내 데이터.jsonl").stat().st_mode & 0o777 == 0o600
    assert not (where / ".bundle").exists() and not (where / ".installing").exists()

    again = install(made.folder, env={"DOCTOR": "fail"})
    assert "venv is installed" in again.stdout
    assert again.returncode == 10
    assert "installed, and alphaf doctor is not green (exit code 9)" in again.stderr

    (where / "data" / "내 데이터.jsonl").write_text("mine")
    refs = where / "hf" / "hub" / "models--org--judge" / "refs" / "main"
    refs.write_text("0" * 40)
    refused = install(made.folder)
    assert refused.returncode == 6
    assert f"  {refs}\n  {where}/data/내 데이터.jsonl\n" in refused.stderr
    assert (where / "data" / "내 데이터.jsonl").read_text() == "mine"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def appended(path: Path, line: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")


def without_line(folder: Path, name: str) -> None:
    sums = folder / "SHA256SUMS"
    lines = sums.read_text(encoding="utf-8").splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if not line.endswith(f"  {name}\n")), encoding="utf-8")


def linked(path: Path) -> None:
    target = path.rename(path.parents[path.parts[::-1].index("옮긴 묶음")] / "elsewhere")
    path.symlink_to(target)


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


WHEEL = "wheels/eins-1.0-py3-none-any.whl"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte in a wheel": (lambda b: flip(b / WHEEL), f"changed: {WHEEL}"),
    "a byte in the model": (lambda b: flip(next(b.glob(f"hub/*/*/*/{MODEL}"))), f"/{MODEL}"),
    "a byte in the manifest": (lambda b: flip(b / "manifest.json"), "changed: manifest.json"),
    "a byte in the installer": (lambda b: appended(b / "install.sh", "#"), "changed: install.sh"),
    "a byte in the facts": (lambda b: appended(b / "facts", "x=1\n"), "changed: facts"),
    "a byte in Korean data": (lambda b: flip(b / "data/내 데이터.jsonl"), "changed: data/내 데이터.jsonl"),
    "a list of hashes": (lambda b: flip(b / "requirements/venv.txt"), "changed: requirements/venv.txt"),
    "a cut file": (lambda b: (b / WHEEL).write_bytes(b""), f"changed: {WHEEL}"),
    "a file less": (lambda b: (b / WHEEL).unlink(), f"missing: {WHEEL}"),
    "a folder less": (lambda b: shutil.rmtree(b / "hub"), f"/{MODEL}"),
    "a file more": (
        lambda b: (b / "wheels/eins-9.0-py3-none-any.whl").touch(),
        "not in SHA256SUMS: wheels/eins-9",
    ),
    "a hidden file more": (lambda b: (b / ".pip").touch(), "not in SHA256SUMS: .pip"),
    "a name with a new line": (lambda b: (b / "a\nb").touch(), "not in SHA256SUMS: b"),
    "a name that hides in new lines": (
        lambda b: (b / "SHA256SUMS\nSHA256SUMS").touch(),
        "not in SHA256SUMS: SHA256SUMS",
    ),
    "a link for a file": (lambda b: linked(b / WHEEL), f"not a file but a link or device: {WHEEL}"),
    "a link for a folder": (lambda b: linked(b / "wheels"), "not a file but a link or device: wheels"),
    "a pipe for a file": (lambda b: piped(b / WHEEL), f"not a file but a link or device: {WHEEL}"),
    "a file listed outside": (
        lambda b: appended(b / "SHA256SUMS", f"{'0' * 64}  wheels/../../secret\n"),
        "listed outside the bundle: wheels/../../secret",
    ),
    "a file listed from the root": (
        lambda b: appended(b / "SHA256SUMS", f"{'0' * 64}  /etc/passwd\n"),
        "unreadable line of SHA256SUMS: 13",
    ),
    "a file listed twice": (lambda b: appended(b / "SHA256SUMS", f"{'0' * 64}  facts\n"), "listed twice: facts"),
    "a line that is none": (lambda b: appended(b / "SHA256SUMS", "no line\n"), "unreadable line of SHA256SUMS"),
    "a line less": (lambda b: without_line(b, WHEEL), f"not in SHA256SUMS: {WHEEL}"),
    "the installer not listed": (lambda b: without_line(b, "install.sh"), "not listed in SHA256SUMS: install.sh"),
    "no sums": (lambda b: (b / "SHA256SUMS").unlink(), "there is no SHA256SUMS"),
    "sums that are a link": (lambda b: linked(b / "SHA256SUMS"), "there is no SHA256SUMS"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_as_it_was_bundled_is_named_and_nothing_installed(
    copied: Path, install: Install, tmp_path: Path, damage: str
) -> None:
    harm, said = DAMAGE[damage]
    harm(copied)
    done = install(copied)
    assert done.returncode == 3
    assert said in done.stderr
    assert not (tmp_path / "설치").exists()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda p: os.truncate(p / "bundle.tar.002", 9), "changed: bundle.tar.002"),
        (lambda p: (p / "bundle.tar.001").unlink(), "missing: bundle.tar.001"),
        (lambda p: (p / "bundle.tar.003").touch(), "not in SHA256SUMS: bundle.tar.003"),
        (lambda p: flip(p / "bundle.tar.000"), "changed: bundle.tar.000"),
    ],
    ids=["a cut last part", "a missing part", "a part more", "a byte in a part"],
)  # fmt: skip
def test_a_damaged_part_is_named_before_any_is_joined(
    made: Made, install: Install, tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    parts = Path(shutil.copytree(made.parts, tmp_path / "parts"))
    harm(parts)
    done = install(parts)
    assert (done.returncode, said in done.stderr) == (3, True), done.stderr
    assert not (tmp_path / "설치").exists()


def test_who_forges_files_and_sums_is_found_by_the_number_that_went_another_way(
    made: Made, copied: Path, install: Install
) -> None:
    """The sums alone are consistent again: the installer with them; only the number tells."""
    true = hashlib.sha256((copied / "SHA256SUMS").read_bytes()).hexdigest()
    old = hashlib.sha256((copied / WHEEL).read_bytes()).hexdigest()
    flip(copied / WHEEL)
    sums = (copied / "SHA256SUMS").read_text()
    (copied / "SHA256SUMS").write_text(sums.replace(old, hashlib.sha256((copied / WHEEL).read_bytes()).hexdigest()))
    assert install(copied, "--check").returncode == 0
    done = install(copied, "--check", "--manifest-sha256", true)
    assert done.returncode == 3
    assert "SHA256SUMS is another one than --manifest-sha256 says" in done.stderr
    assert install(made.folder, "--check", "--manifest-sha256", true.upper()).returncode == 0


def machine(folder: Path, **changes: str) -> str:
    """Return a python that says of itself what a machine's python would."""
    values = {"version": PYTHON, "kind": "cpython", "machine": os.uname().machine, "libc": "glibc 2.36", "venv": "1"}
    values |= {"header": "1", "path": "/usr/bin/python3"} | changes
    script = folder / "python"
    script.write_text("#!/bin/sh\n" + "".join(f"echo '{key}={value}'\n" for key, value in values.items()))
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "3.10"}, f"is no CPython {PYTHON} that runs: install it (apt-get install python{PYTHON}"),
        ({"kind": "pypy"}, "it is pypy, the wheels are for cpython"),
        ({"kind": "cpython-free-threaded"}, "it is cpython-free-threaded"),
        ({"machine": "32 bits"}, "it is built for 32 bits"),
        ({"venv": "0"}, f"the modules venv and ensurepip (apt-get install python{PYTHON}-venv)"),
        ({"libc": "glibc 2.16"}, "2.16 is here, the wheels want 2.17"),
        ({"libc": "musl 1.2"}, "this python runs on musl 1.2"),
        ({"libc": " "}, "and the wheels want glibc 2.17"),
    ],
    ids=lambda value: "-".join(value.values()).strip() if isinstance(value, dict) else "",
)
def test_a_machine_that_cannot_take_it_is_told_all_it_lacks(
    made: Made, install: Install, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    done = install(made.folder, "--python", machine(tmp_path, **changes))
    assert done.returncode == 4
    assert said in done.stdout
    assert "this machine lacks:" in done.stderr
    assert not (tmp_path / "설치").exists()


def test_compiler_and_headers_are_listed_though_no_wheel_brings_them(
    made: Made, install: Install, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "sha256sum", "tar", "find", "sort", "comm", "cut", "sed", "grep", "df", "du", "mktemp", "stat",
                 "dirname", "uname", "uniq", "rm", "mv", "cat", "tr", "test"):  # fmt: skip
        (tools / name).symlink_to(str(shutil.which(name)))
    done = install(
        made.folder, "--check", "--python", machine(tmp_path, header="0"), env={"PATH": str(tools), "CC": ""}
    )
    assert done.returncode == 0, done.stderr
    assert "compiler     MISSING: Triton builds its kernels' launchers with one (apt-get install gcc" in done.stdout
    assert f"system: Python.h     MISSING: Triton needs it (apt-get install python{PYTHON}-dev" in done.stdout
    (tools / "sha256sum").unlink()
    done = install(made.folder, env={"PATH": str(tools)})
    assert (done.returncode, "there is no sha256sum on this machine" in done.stderr) == (4, True)


@pytest.mark.parametrize(
    ("driver", "said"),
    [("570.86.10", "TOO OLD: 570.86.10 is here, CUDA 13.0 wants 580"), ("580.65.06", "580.65.06, CUDA 13.0 wants 580"),
     ("", "MISSING: the bundle is for a GPU, CUDA 13.0 wants NVIDIA's driver 580 or newer")],
)  # fmt: skip
def test_the_driver_is_compared_with_the_cuda_of_the_lock(
    copied: Path, install: Install, tmp_path: Path, driver: str, said: str
) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a driver of its own")
    facts = copied / "facts"
    old = hashlib.sha256(facts.read_bytes()).hexdigest()
    facts.write_text(facts.read_text().replace("cuda=\ndriver=\n", "cuda=13.0\ndriver=580\n"))
    sums = copied / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(old, hashlib.sha256(facts.read_bytes()).hexdigest()))
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho {driver}\n")
    smi.chmod(0o755)
    done = install(copied, "--check", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stderr
    assert f"system: driver       {said}" in done.stdout


def test_a_folder_of_somebody_else_is_left_alone(made: Made, install: Install, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    done = install(made.folder, "--prefix", str(tmp_path / "mine"))
    assert done.returncode == 6
    assert "something else than an installation of ours" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


@pytest.mark.parametrize("options", [("--prefix",), ("--what",), ("--manifest-sha256", "")])
def test_a_wrong_command_line_is_told(made: Made, install: Install, options: tuple[str, ...]) -> None:
    done = install(made.folder, *(("--check",) if options == ("--prefix",) else ()), *options)
    assert done.returncode == 2
    assert "next:  sh install.sh --help" in done.stderr
    assert "--manifest-sha256 HEX" in install(made.folder, "--help").stdout


def listed(folder: Path, place: str, content: str) -> None:
    """Put a file into a bundle, and into its sums."""
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text(content)
    appended(folder / "SHA256SUMS", f"{hashlib.sha256(content.encode()).hexdigest()}  {place}\n")


@pytest.fixture
def begun(copied: Path, tmp_path: Path) -> Path:
    """Return a prefix where an installation began and a file of data lies that has other content: the last refusal."""
    listed(copied, "data/refs/a.jsonl", "theirs")
    prefix = tmp_path / "설치"
    (prefix / "data" / "refs").mkdir(parents=True)
    (prefix / "data" / "refs" / "a.jsonl").write_text("mine")
    (prefix / ".alphaf-bundle").write_text("begun\n")
    (prefix / ".installing").mkdir()
    return prefix


def test_only_the_hubs_own_refs_are_replaced(copied: Path, install: Install, begun: Path) -> None:
    done = install(copied, "--replace-refs", "--python", machine(begun.parent))
    assert (done.returncode, f"  {begun}/data/refs/a.jsonl\n" in done.stderr) == (6, True), done.stderr
    assert (begun / "data" / "refs" / "a.jsonl").read_text() == "mine"


def test_a_lock_of_before_a_restart_is_taken_and_a_living_installers_is_not(
    copied: Path, install: Install, begun: Path
) -> None:
    pid, python = begun / ".installing" / "pid", machine(begun.parent)
    own = install(
        copied, "--python", python, before=("sh", "-c", f'mkdir -p {pid.parent}; echo $$ >{pid}; exec "$@"', "-")
    )
    assert "these files are there with other content" in own.stderr
    pid.parent.mkdir()
    pid.write_text(f"{os.getpid()}\n")  # this process is no installer
    assert "these files are there with other content" in install(copied, "--python", python).stderr
    pid.parent.mkdir()
    with subprocess.Popen(["sh", "-c", "read line", "install.sh"], stdin=subprocess.PIPE) as other:
        pid.write_text(f"{other.pid}\n")
        done = install(copied, "--python", python)
        other.communicate()
    assert (done.returncode, f"process {other.pid} installs there" in done.stderr) == (6, True)


def stub(folder: Path, name: str, script: str) -> dict[str, str]:
    """Put a tool before the machine's own; return the environment in which it is found."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f'#!/bin/sh\n{script}\nexec {shutil.which(name)} "$@"\n')
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_silence_is_no_proof(made: Made, install: Install, tmp_path: Path) -> None:
    """A sha256sum that is killed says nothing; lists that are cut for want of room miss what they miss."""
    killed = install(made.folder, "--check", env=stub(tmp_path / "bin", "sha256sum", '[ "$1" != -c ] || kill -9 $$'))
    assert (killed.returncode, "not every file could be verified" in killed.stderr) == (3, True), killed.stderr
    full = install(made.folder, "--check", before=("sh", "-c", 'ulimit -f 4; exec "$@"', "-"))
    assert (full.returncode, "no room for the lists of its files" in full.stderr) == (5, True), full.stderr


def test_names_are_bytes_in_a_locale_that_cannot_read_them(copied: Path, install: Install, tmp_path: Path) -> None:
    if (
        not shutil.which("localedef")
        or subprocess.run(
            ["localedef", "-i", "ko_KR", "-f", "EUC-KR", str(tmp_path / "ko_KR.EUC-KR")],
            check=False,
            capture_output=True,
        ).returncode
    ):
        pytest.skip("no Korean locale can be made here")
    prefix = tmp_path / "installed"
    (prefix / "data").mkdir(parents=True)
    (prefix / ".alphaf-bundle").write_text("begun\n")
    (prefix / "data" / "내 데이터.jsonl").write_text("mine")
    env = {"LOCPATH": str(tmp_path), "LC_ALL": "ko_KR.EUC-KR"}
    done = install(copied, "--prefix", str(prefix), "--python", machine(tmp_path), env=env)
    assert (done.returncode, f"  {prefix}/data/내 데이터.jsonl\n" in done.stderr) == (6, True), done.stderr


def test_room_is_asked_of_both_disks(made: Made, install: Install, tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    stub(tmp_path / "bin", "stat", 'case "$*" in */hf) echo 0; exit ;; esac')
    env = stub(tmp_path / "bin", "df", 'case "$*" in */hf) printf "Filesystem\\nx 1 1 9 1%% /\\n"; exit ;; esac')
    options = ("--check", "--hf-home", str(tmp_path / "hf"), "--python", machine(tmp_path))
    done = install(made.folder, *options, env=env)
    assert (done.returncode, f"where: {tmp_path}/hf\n" in done.stderr) == (5, True), done.stdout + done.stderr
    (tmp_path / "hf" / next(made.folder.glob("hub/*/snapshots/*")).relative_to(made.folder)).mkdir(parents=True)
    assert install(made.folder, *options, env=env).returncode == 0
