"""The container's recipe: linted, its steps the Makefile's own, nothing in its context but what it needs."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alphaf_orch.core.command import QUIET_OFFLINE

ROOT = Path(__file__).resolve().parents[2]
HADOLINT = Path(os.environ.get("HADOLINT") or ROOT / ".venv-docs" / "bin" / "hadolint")


def instructions() -> list[tuple[str, str]]:
    """Return each instruction with its words, comments left out and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line]
    return [(name, words) for name, _, words in (line.partition(" ") for line in lines)]


def said(name: str) -> list[str]:
    return [words for each, words in instructions() if each == name]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for words in said("ENV") for pair in words.split())


@pytest.mark.skipif(not HADOLINT.is_file(), reason="no .venv-docs here: `make setup-docs` makes it")
@pytest.mark.parametrize(
    ("change", "found"), [("", set()), ("\nRUN apt-get update && apt-get install -y gcc\n", {"DL3008", "DL3009"})]
)
def test_the_recipe_has_no_fault_that_hadolint_knows(tmp_path: Path, change: str, found: set[str]) -> None:
    recipe = tmp_path / "Dockerfile"
    recipe.write_text((ROOT / "Dockerfile").read_text(encoding="utf-8") + change, "utf-8")
    done = subprocess.run([HADOLINT, "--no-color", recipe], capture_output=True, text=True, check=False)
    named = set(re.findall(r"\bDL\d+|SC\d+", done.stdout))
    assert found <= named and bool(done.returncode) == bool(found), done.stdout + done.stderr


def test_its_steps_are_the_makefiles_and_leave_no_index_in_a_layer() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    steps = [step.strip() for words in said("RUN") for step in re.sub(r"--mount=\S+", "", words).split("&&")]
    made = [step.split() for step in steps if step.startswith("make ")]
    assert made == [["make", "setup", "ACCEL=gpu"]] and "setup" in targets
    others = {step.split()[0] for step in steps} - {"make"}
    assert others == {"rm", "useradd", "install"}, "a step that no target of the Makefile makes"
    # A secret is mounted while the step runs; an argument would stand in the image's history.
    assert "--mount=type=secret,id=pip_conf,target=/etc/pip.conf" in said("RUN")[0] and "setup.log" in said("RUN")[0]
    assert [words.partition("=")[0] for words in said("ARG")] == ["BASE"]


def test_its_base_is_named_and_it_runs_as_nobody_special() -> None:
    assert re.fullmatch(r"BASE=python:3\.1[12]\.\d+-\w+", said("ARG")[0]) and said("FROM") == ["${BASE}"]
    assert said("USER") == ["1000"], "by number: Kubernetes cannot tell by a name that it is not root"


def test_nothing_is_reported_and_texts_are_utf8() -> None:
    there = environment()
    assert {name: there.get(name) for name in QUIET_OFFLINE} == QUIET_OFFLINE
    assert there["LANG"] == there["LC_ALL"] == "C.UTF-8"


def test_what_is_mounted_is_where_alphaf_looks() -> None:
    there = environment()
    mounted = {"ALPHAF_RUNS": "runs", "ALPHAF_CACHE": "cache", "HF_HOME": "hf"}
    assert {name: there[name] for name in mounted} == {name: f"/srv/alphaf/{each}" for name, each in mounted.items()}
    page = (ROOT / "docs" / "container.md").read_text(encoding="utf-8")
    assert all(f":/srv/alphaf/{each}" in page for each in (*mounted.values(), "data"))
    assert "--network none" in page and "never built" in page


def context() -> list[str]:
    """Return what of the checkout is sent to the builder, as .dockerignore says it: the last line that fits decides."""
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in "#"]
    listing = ["git", "ls-files", "-z", "--cached", "--others"]  # ignored files too
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")

    def sent(name: str) -> bool:
        heads = ["/".join(name.split("/")[: n + 1]) for n in range(name.count("/") + 1)]
        kept = True
        for line in lines:
            pattern = line.removeprefix("!")
            within = [head.rsplit("/", 1)[-1] for head in heads] if pattern.startswith("**/") else heads
            if any(fnmatch.fnmatchcase(head, pattern.removeprefix("**/")) for head in within):
                kept = line.startswith("!")
        return kept

    return [name for name in names if name and sent(name) and (ROOT / name).is_file()]


def test_the_context_has_all_that_setup_needs_and_nothing_of_yours(tmp_path: Path) -> None:
    names = context()
    assert {name.split("/")[0] for name in names} == {
        *("LICENSE", "Makefile", "README.md", "pyproject.toml", "alphaf_orch", "requirements", "templates")
    }
    assert not [name for name in names if "__pycache__" in name]
    for name in names:
        (tmp_path / "context" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "context" / name)
    begun = ["make", "-n", "setup", "ACCEL=gpu"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    printed = subprocess.run(
        begun, cwd=tmp_path / "context", env=env, check=True, capture_output=True, text=True
    ).stdout
    assert re.fullmatch(r"VENV='\.venv' ACCEL='gpu' PYTHON='[^']*' sh requirements/setup\.sh\n", printed)
    # What setup.sh ends with, and what fails where a file of the project lacks.
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; `make setup` installs it")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-index", "--no-deps"]
    built = [*pip, "--no-build-isolation", "--wheel-dir", str(tmp_path), str(tmp_path / "context")]
    subprocess.run(built, check=True, capture_output=True)
    assert len(list(tmp_path.glob("alphaf_orch-*.whl"))) == 1
