"""`make gpu-wheels DIR=...`: the wheels that the check needs on a bare machine, in parts that can be sent one by one.

Run on a connected machine. Versions are those of requirements/gpu.lock, for Python 3.12 on Linux x86-64; where packages
come from is pip's business (PIP_INDEX_URL). What the machine has already may be left out: HAVE names a file that
`python3 tools/gpu_check --have` wrote there.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from alphaf_orch.bundle.found import target_options
from alphaf_orch.bundle.target import Target, pinned

REPO = Path(__file__).resolve().parent.parent.parent
PART = 60 * 10**6  # bytes of a part; ours: what leaves room for the repository itself in a transfer of 64 MiB
CHECKED = Target("3.12", "x86_64", (2, 39))
# The check's results hang on them: another version that the machine has does not do.
EXACT = {"transformers", "accelerate", "peft", "trl", "tokenizers", "huggingface-hub", "datasets", "axolotl", "unsloth"}
# What is cut out of a wheel: other CUDA versions' libraries, a web interface, a program to upload with.
CUT = {
    "bitsandbytes": re.compile(r"bitsandbytes/libbitsandbytes_(?!cuda130\.so|cpu\.so)"),
    "unsloth": re.compile(r"(unsloth_cli|studio)/"),
    "wandb": re.compile(r"wandb/bin/"),
}


def wanted(lock: str, names: Iterable[str], have: str = "") -> list[str]:
    """Return `name==version` for each name, as the lock says for the target, less what the machine has."""
    locked = pinned(lock, CHECKED)
    there = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in have.split())}
    asked = [canonicalize_name(name) for name in names]
    unknown = sorted(set(asked) - locked.keys())
    if unknown:
        raise SystemExit(f"error: not in the lock: {', '.join(unknown)}\n  where: wheels.txt\n  next:  take them out")
    return [
        f"{name}=={locked[name]}"
        for name in asked
        if name not in there or (name in EXACT and there[name] != locked[name])
    ]


def names() -> list[str]:
    """Return the distributions of wheels.txt."""
    text = (Path(__file__).parent / "wheels.txt").read_text(encoding="utf-8")
    return [word for line in text.splitlines() for word in line.split("#")[0].split()]


def fetch(requirements: list[str], folder: Path) -> None:
    """Download the wheels that are not in the folder yet, and build those of packages that come as source alone."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip"]
    here = {_known(wheel) for wheel in folder.glob("*.whl")}
    for requirement in requirements:
        if _pinned(requirement) in here:
            continue
        argv = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:",
                *target_options(CHECKED), "--dest", str(folder), requirement]  # fmt: skip
        if subprocess.run(argv, check=False, capture_output=True).returncode == 0:
            continue
        # Pure Python, as the names in wheels.txt are: what is built here runs there.
        argv = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), requirement]
        if subprocess.run(argv, check=False).returncode:
            what = f"error: {requirement} came neither as a wheel nor as source\n  where: {folder}"
            raise SystemExit(f"{what}\n  next:  read pip's lines above")


def _known(wheel: Path) -> tuple[str, Version]:
    name, version, _, _ = parse_wheel_filename(wheel.name)
    return name, version


def _pinned(requirement: str) -> tuple[str, Version]:
    name, _, version = requirement.partition("==")
    return canonicalize_name(name), Version(version)


def slim(wheel: Path) -> None:
    """Take out of a wheel what CUT names, its lines in RECORD included."""
    name = str(parse_wheel_filename(wheel.name)[0])
    if name not in CUT:
        return
    cut, partial = CUT[name], wheel.with_suffix(".partial")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if cut.match(entry.filename):
                continue
            data = old.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                data = b"".join(line for line in data.splitlines(keepends=True) if not cut.match(line.decode("utf-8")))
            new.writestr(entry, data)
    partial.replace(wheel)


def parts(sizes: dict[str, int], limit: int = PART) -> list[list[str]]:
    """Return the names in as few parts as first-fit makes, the largest first; none is over the limit.

    Raises SystemExit where one alone is.
    """
    found: list[tuple[int, list[str]]] = []
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        if size > limit:
            raise SystemExit(
                f"error: {name} has {size:,} bytes, a part {limit:,}\n  where: --part\n  next:  allow more"
            )
        room = next((n for n, (taken, _) in enumerate(found) if taken + size <= limit), None)
        if room is None:
            found.append((size, [name]))
        else:
            found[room] = (found[room][0] + size, [*found[room][1], name])
    return [sorted(part) for _, part in found]


def main() -> None:
    """Fill --dir with part-1, part-2, … and say how large they are."""
    parser = argparse.ArgumentParser(prog="make gpu-wheels", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--have", type=Path, help="what `python3 tools/gpu_check --have` printed on the machine")
    parser.add_argument("--part", type=int, default=PART, help="bytes of a part (default %(default)s)")
    asked = parser.parse_args()
    lock = (REPO / "requirements" / "gpu.lock").read_text(encoding="utf-8")
    have = asked.have.read_text(encoding="utf-8") if asked.have else ""
    store = asked.dir / "all"
    chosen = wanted(lock, names(), have)
    fetch(chosen, store)
    versions = {_pinned(requirement) for requirement in chosen}
    wheels = [wheel for wheel in sorted(store.glob("*.whl")) if _known(wheel) in versions]
    for wheel in wheels:
        slim(wheel)
    made = parts({wheel.name: wheel.stat().st_size for wheel in wheels}, asked.part)
    for number, part in enumerate(made, 1):
        folder = asked.dir / f"part-{number}"
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.whl"):
            old.unlink()
        for wheel_name in part:
            (folder / wheel_name).hardlink_to(store / wheel_name)
        size = sum((folder / wheel_name).stat().st_size for wheel_name in part)
        print(f"{folder}: {len(part)} wheels, {size / 10**6:.1f} MB")


if __name__ == "__main__":
    main()
