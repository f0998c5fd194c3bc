"""`python3 tools/gpu_check [--wheels FOLDER ...]`: checks the GPU path on a bare machine and writes what it found.

A bare machine has Python 3.12, torch and CUDA, and no network. The check ends well before `--budget` seconds, and what
it found until then is written after every step; the same command again goes on behind the last one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
# What nothing of the check can be imported without: named at once, not by a traceback behind ten minutes.
REQUIRED = ("torch", "click", "pydantic", "transformers", "axolotl", "trl", "peft", "datasets", "bitsandbytes")


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="gpu_check", description=__doc__)
    parser.add_argument("--wheels", type=Path, action="append", default=[], help="a folder that `make gpu-wheels` made")
    parser.add_argument("--site", type=Path, default=Path("/tmp/alphaf-gpu-check/site"), help="where wheels are put")
    parser.add_argument("--install-only", action="store_true", help="install the wheels and end: more come later")
    parser.add_argument("--have", action="store_true", help="print what is installed, for `make gpu-wheels HAVE=FILE`")
    parser.add_argument("--work", type=Path, default=Path("/tmp/alphaf-gpu-check"), help="models, runs, logs, state")
    parser.add_argument("--output", type=Path, default=REPO / "docs", help="where the page and its JSON are written")
    parser.add_argument(
        "--budget", type=int, default=1140, help="seconds that this call may take (default %(default)s)"
    )
    parser.add_argument("--only", action="append", default=[], help="the steps to run, by name")
    parser.add_argument("--rehearse", action="store_true", help="the same steps on small models on CPU, beside no page")
    return parser.parse_args(argv)


def install(folders: list[Path], site: Path) -> None:
    """Put every wheel of the folders into `site`; one with the wheels that were put there before is left out."""
    for folder in folders:
        wheels = sorted(folder.glob("*.whl"))
        if not wheels:
            what = f"error: there is no wheel\n  where: {folder}"
            sys.exit(f"{what}\n  next:  make gpu-wheels DIR=FOLDER on a connected machine")
        done = site / f".installed-{folder.resolve().name}"
        # Parts have the same names each time that they are collected: what was in them says which one it is.
        inside = "".join(f"{wheel.name}\n" for wheel in wheels)
        if done.is_file() and done.read_text(encoding="utf-8") == inside:
            continue
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        subprocess.run([*pip, "--no-cache-dir", "--upgrade", "--target", str(site), *map(str, wheels)], check=True)
        done.write_text(inside, encoding="utf-8")
        print(f"gpu-check: {len(wheels)} wheels of {folder} are in {site}", flush=True)


def with_packages(site: Path) -> dict[str, str]:
    """Return the environment in which python finds the repository and the wheels' packages first."""
    paths = [str(REPO), str(REPO / "tools"), str(site), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "ALPHAF_GPU_CHECK": "1"}


def absent() -> list[str]:
    """Return the packages that the check cannot go without and that are not here."""
    from importlib.util import find_spec

    return [name for name in REQUIRED if find_spec(name) is None]


def main() -> int:
    """Return 0 where every step that was begun ended well; 5 without a GPU, 4 without the packages."""
    asked = arguments()
    if asked.have:
        from importlib.metadata import distributions

        print("\n".join(sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()})))
        return 0
    if "ALPHAF_GPU_CHECK" not in os.environ:
        install(asked.wheels, asked.site)
        if asked.install_only:
            return 0
        # Anew, so that this process itself finds what was installed just now.
        os.execve(sys.executable, [sys.executable, "-m", "gpu_check", *sys.argv[1:]], with_packages(asked.site))
    lacking = absent()
    if lacking:
        print(
            f"error: {', '.join(lacking)} cannot be imported\n  where: {sys.executable}, {asked.site}\n"
            "  next:  python3 tools/gpu_check --have > have.txt here, make gpu-wheels DIR=FOLDER HAVE=have.txt where"
            " there is a network, then --wheels FOLDER",
            file=sys.stderr,
        )
        return 4
    from gpu_check.steps import run_all

    return run_all(asked)


if __name__ == "__main__":
    sys.exit(main())
