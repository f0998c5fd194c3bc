"""Where a child program finds its modules: in an environment without this package, from any folder, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from alphaf_orch.core.command import CHILD_PATH, PROGRAM_ENV, program

# Each would end a child that finds it before the module it wants.
TRAPS = ("json", "yaml", "rows", "scoring", "common", "statistics", "hashlib", "numbers", "tokenizer")


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder that holds files named as modules of ours and of the standard library, and a package named as ours."""
    folder = tmp_path / "일하는 폴더"
    (folder / "alphaf_orch").mkdir(parents=True)
    for name in (*TRAPS, "alphaf_orch/__init__"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('found {name} in the working folder')")
    return folder


def child(cwd: Path, name: str, *args: str, path: str = "", options: tuple[str, ...] = ()) -> tuple[int, str, str]:
    python, *rest = program(sys.executable, name, *args)
    env = {**PROGRAM_ENV, "PATH": os.environ["PATH"]}
    env["PYTHONPATH"] += f"{os.pathsep}{path}" if path else ""
    done = subprocess.run([python, *options, *rest], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_child_needs_no_installed_package_and_finds_nothing_of_the_working_folder(
    trapped: Path, tmp_path: Path
) -> None:
    # -S: without site-packages, and so without the package's own installation.
    alone = subprocess.run(
        [sys.executable, "-S", "-P", "-c", "import alphaf_orch"], cwd=trapped, env={}, capture_output=True, check=False
    )
    assert b"No module named 'alphaf_orch'" in alone.stderr
    code, out, err = child(trapped, "versions", options=("-S",))
    assert (code, err) == (0, "")
    assert list(json.loads(out)) == ["python"]
    code, _, err = child(trapped, "evaluation.task_index", "kmmlu", options=("-S",))
    assert (code, err) == (
        9,
        f"error: lm-eval is not installed\n  where: {sys.executable}\n  next:  make setup\n"
        "  code:  tool.not_installed\n",
    )
    # One that reads settings, rows, tokens and templates, with the one library that it needs so far.
    (tmp_path / "libraries").mkdir()
    (tmp_path / "libraries" / "yaml").symlink_to(Path(yaml.__file__).parent)
    file = tmp_path / "data.yaml"
    file.write_text("kind: chat\n")
    code, _, err = child(trapped, "training.data_stats", str(file), path=str(tmp_path / "libraries"), options=("-S",))
    assert code == 2
    assert err.startswith("error: missing keys: tokenizer, sequence_len, datasets, output, probe\n")


def test_a_users_own_task_file_imports_the_scoring_functions(trapped: Path, tmp_path: Path) -> None:
    """As docs/own-benchmarks.md shows it, in the environment of the program that runs lm-eval."""
    task = tmp_path / "my_task.py"
    task.write_text(
        "from scoring import generation_scores, numeric_scores, rag_scores\n"
        "def score(doc, results): return numeric_scores(results[0], doc['question'], 3.5, '%', 0.0)\n"
    )
    # lm-eval loads a task's python by its path.
    code = (
        "import importlib.util, json, sys\n"
        "spec = importlib.util.spec_from_file_location('my_task', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "print(json.dumps(module.score({'question': '기준금리는?'}, ['기준금리는 3.5%입니다.'])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(task)], cwd=trapped, env=os.environ | PROGRAM_ENV, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["exact_numeric"] == 1


AXOLOTL = """
import os
with open(os.environ["IMPORTS"], "a") as file: file.write(__name__ + "\\n")
import user_plugin

def do_cli(config, download=True, debug_num_examples=0):
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]
    print(config, download, debug_num_examples, user_plugin.__name__)

if __name__ == "__main__":
    do_cli("config.yaml")
"""


def test_preprocess_is_imported_once_and_finds_plugins_where_alphaf_was_called(tmp_path: Path) -> None:
    """A stand-in of axolotl's module that says when it is imported, and saves as `datasets` does."""
    (tmp_path / "axolotl" / "cli").mkdir(parents=True)
    for name, text in (("__init__", ""), ("cli/__init__", ""), ("cli/preprocess", AXOLOTL)):
        (tmp_path / "axolotl" / f"{name}.py").write_text(text)
    (tmp_path / "fire.py").write_text(
        "import sys\n"
        "def Fire(call): call(sys.argv[1], **{k[2:]: eval(v) for k, v in (a.split('=') for a in sys.argv[2:])})\n"
    )
    cwd = tmp_path / "프로젝트"
    cwd.mkdir()
    (cwd / "user_plugin.py").touch()
    (cwd / "sft.yaml").write_text("dataset_prepared_path: prepared\n")

    def imports(*argv: str) -> tuple[list[str], str]:
        log = tmp_path / f"imports-{len(list(tmp_path.iterdir()))}"
        env = os.environ | {"PYTHONPATH": f"{CHILD_PATH['PYTHONPATH']}{os.pathsep}{tmp_path}", "IMPORTS": str(log)}
        done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return log.read_text().split(), done.stdout

    # What the program is for: as `__main__` the module is imported again by each spawned process.
    assert imports(sys.executable, "-m", "axolotl.cli.preprocess")[0] == ["__main__", "__mp_main__"]
    argv = program(sys.executable, "training.preprocess", "sft.yaml", "--download=False", "--debug_num_examples=0")
    assert imports(*argv) == (
        ["axolotl.cli.preprocess"],
        "sft.yaml False 0 user_plugin\ntrained tokens: 0 of 0 in 0 rows\n",
    )
