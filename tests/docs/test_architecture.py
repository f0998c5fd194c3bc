"""The shape of the package: imports go one way, each package says what it is for, the index of modules is true."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import module_index
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "alphaf_orch"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```$", "", PAGE.partition(module_index.BEGIN)[0], flags=re.MULTILINE | re.DOTALL)
PACKAGES = sorted(file.parent for file in PACKAGE.rglob("__init__.py") if "_child" not in file.parts)


def layers() -> list[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (found,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [name for layer in found for name in layer.split(" | ")]


def test_the_index_of_modules_is_up_to_date() -> None:
    wanted = module_index.with_index(PAGE, module_index.index(PACKAGE))
    assert wanted == PAGE, "run `make fmt`"


def test_the_index_notices_a_module_and_takes_its_first_line(tmp_path: Path) -> None:
    package = tmp_path / "p"
    (package / "core").mkdir(parents=True)
    (package / "core" / "__init__.py").write_text('"""What all stand on.\n\nMore."""\n')
    (package / "core" / "new.py").write_text('"""A new one.\n\nMore."""\n')
    made = module_index.index(package)
    assert made == "\n**`p/core/`** What all stand on.\n\n- `new.py`: A new one.\n\n"
    page = f"before\n{module_index.BEGIN}old\n{module_index.END}after\n"
    assert module_index.with_index(page, made) == f"before\n{module_index.BEGIN}{made}{module_index.END}after\n"


def test_the_index_stands_in_the_order_of_the_contract() -> None:
    assert [name for name in module_index.ORDER if name not in ("", "_child")] == layers()


def test_every_module_says_what_it_is_for_in_one_line() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if "__pycache__" not in file.parts]
    bad = {str(file): line for file in files if not re.fullmatch(r".{20,}[.:]", line := module_index.first_line(file))}
    assert bad == {}


def test_the_architecture_names_every_package_and_every_folder() -> None:
    assert {folder.relative_to(PACKAGE).parts[0] for folder in PACKAGES if folder != PACKAGE} == set(layers())
    assert [name for name in layers() if f"**`{name}`**" not in PROSE] == []
    # What git and tools leave at the top is ignored by git.
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    top = {name.split("/")[0] for name in listed.split("\0") if "/" in name}
    assert {name for name in top if f"`{name}/`" not in PROSE} == set()


def test_the_architecture_names_files_that_are_there() -> None:
    """A path is one of the repository, or lies below the package; words in capitals are placeholders."""
    named = {
        path for path in re.findall(r"`([\w.*-]+/[\w./*-]*(?:\.\w+|/))`", PROSE) if not re.search(r"[A-Z]{3,}", path)
    }
    assert len(named) > 40
    assert sorted(path for path in named if not [*ROOT.glob(path), *PACKAGE.glob(path)]) == []


def test_the_architecture_names_modules_and_functions_that_are_there() -> None:
    """`planning.plan` and `planning.plan.make_plan` exist, and `plan.py` where the paragraph of `planning` says so."""
    dotted = re.findall(rf"`((?:{'|'.join(layers())})(?:\.\w+)+)`", PROSE)
    gone = []
    for name in dotted:
        *modules, last = name.split(".")
        inside, file = PACKAGE.joinpath(*modules).with_suffix(".py"), PACKAGE.joinpath(*modules, f"{last}.py")
        if not file.is_file() and not (inside.is_file() and last in defined(inside)):
            gone.append(name)
    for package, paragraph in re.findall(r"^- \*\*`(\w+)`\*\*: (.+(?:\n  .+)*)", PROSE, flags=re.MULTILINE):
        gone += [f for f in re.findall(r"`(\w+\.py)`", paragraph) if not (PACKAGE / package / f).is_file()]
    assert len(dotted) > 20
    assert gone == []


def defined(module: Path) -> set[str]:
    names = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        for target in getattr(node, "targets", []) or [getattr(node, "target", None)]:
            if isinstance(target, ast.Name):
                names.add(target.id)
    return names


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_package_names_its_face_truly(folder: Path) -> None:
    if folder == PACKAGE:
        return
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    said = ast.get_docstring(tree) or ""
    public = {word for node in tree.body if isinstance(node, ast.ImportFrom) for word in (a.name for a in node.names)}
    faces = re.findall(r"`(\w+)\.(\w+)`", said.partition("Face: ")[2] + said.partition("Into axolotl: ")[2])
    programs = re.findall(r"`(\w+)`", said.partition("Programs: ")[2].partition("Into")[0])
    assert faces or programs or public, "it names no face"
    unknown = [f"{module}.{name}" for module, name in faces if name not in defined(folder / f"{module}.py")]
    assert unknown == []
    started = re.compile(r'__name__ == "__main__"')
    assert [name for name in programs if not started.search((folder / f"{name}.py").read_text(encoding="utf-8"))] == []


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(folder)}
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [str(program), "--no-cache", "--no-logo"], cwd=folder, env=env, check=False, capture_output=True, text=True
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "alphaf_orch", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_go_one_way(copy: Path) -> None:
    done = lint(copy)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "Contracts: 3 kept, 0 broken." in done.stdout


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (
            {"scores/planted.py": "from alphaf_orch.report import write\n"},
            "alphaf_orch.scores is not allowed to import alphaf_orch.report:",
        ),
        (
            {
                "core/planted_a.py": "from alphaf_orch.core import planted_b\n",
                "core/planted_b.py": "def later() -> None:\n    from alphaf_orch.core import planted_a  # noqa: F401\n",
            },
            "No cycles are allowed in alphaf_orch.core.",
        ),
        ({"planning/planted.py": "import torch\n"}, "alphaf_orch.planning is not allowed to import torch:"),
        ({"planted/__init__.py": "\n"}, "The following modules are not listed as layers:"),
        (
            {"programs/planted.py": "from alphaf_orch.core import errors\n"},
            "alphaf_orch.programs is not allowed to import alphaf_orch.core:",
        ),
    ],
    ids=["upward", "circle", "trainer", "undeclared package", "a child that reads the orchestrator"],
)
def test_a_planted_violation_breaks_the_contracts(copy: Path, planted: dict[str, str], said: str) -> None:
    for name, text in planted.items():
        (copy / "alphaf_orch" / name).parent.mkdir(exist_ok=True)
        (copy / "alphaf_orch" / name).write_text(text)
    done = lint(copy)
    assert done.returncode == 1
    assert said in done.stdout
