"""What a shell completes: asked as the shells ask, in the shells that are here, and quickly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import completion_words
import pytest

from alphaf_orch.cli.completion import WORDS
from alphaf_orch.core.paths import runs_dir

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs():
    """Make runs and an experiment, with Korean names."""
    for name in ("실행1", "실행2", "비교/팔-a", "비교/팔-b", unicodedata.normalize("NFD", "분해")):
        folder = runs_dir() / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}", encoding="utf-8")
    (runs_dir() / "비교" / "experiment.json").write_text("{}", encoding="utf-8")
    (runs_dir() / "비교" / "settings").mkdir()
    (runs_dir() / "파일.txt").touch()
    (runs_dir() / "실행1" / "logs").mkdir()
    for log in ("sft", "alphaf"):
        (runs_dir() / "실행1" / "logs" / f"{log}.log").touch()


def asked(words: str, at: int, kind: str = "bash", **environment: str) -> list[str]:
    """Return what is answered to a shell, line by line; nothing must be said on stderr."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "_ALPHAF_COMPLETE": f"{kind}_complete", **environment}
    env |= {"COMP_WORDS": words, "COMP_CWORD": str(at) if kind != "fish" else words.rpartition(" ")[2]}
    argv = [sys.executable, "-m", "alphaf_orch"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def values(words: str, at: int) -> set[str]:
    return {line.removeprefix("plain,") for line in asked(words, at) if line}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("alphaf mer", {"merge-models"}),
        ("alphaf sft --mo", {"--model"}),
        ("alphaf show 실", {"실행1", "실행2"}),
        ("alphaf show 비", {"비교", "비교/팔-a", "비교/팔-b"}),
        ("alphaf show 비교/팔-b", {"비교/팔-b"}),
        ("alphaf chat 분", {"분해"}),
        ("alphaf dpo --run ", {"실행1", "실행2", "비교", "분해"}),
        ("alphaf compare 실행1 실행", {"실행1", "실행2"}),
        ("alphaf logs 실행1 ", {"sft", "alphaf"}),
        ("alphaf sft --model tiny-", {"tiny-eeve", "tiny-orion", "tiny-qwen"}),
        ("alphaf sft --model = ee", {"eeve", "eeve-instruct"}),
        ("alphaf bakeoff --models eeve,or", {"eeve,orion"}),
        ("alphaf eval --suite ", {"finance-ko", "general-ko", "korean", "allganize"}),
        ("alphaf eval --task finance_ko_r", {"finance_ko_rag"}),
        ("alphaf eval --stages base,s", {"base,sft"}),
        ("alphaf judge --a d", {"dpo"}),
        ("alphaf judge --judge ", {"local"}),
        ("alphaf judge --prompts ", {"preference_ko"}),
        ("alphaf run --on s", {"slurm", "skypilot", "slurm:slurm-h100", "slurm:slurm-apptainer", "slurm:slurm-pyxis"}),
        ("alphaf run --on slurm : slurm-h", {"slurm-h100"}),
        ("alphaf run --on-unhealthy ", {"nan", "stop", "warn"}),
        ("alphaf ablate ", {"neftune", "adapter"}),
        ("alphaf completion ", {"bash", "zsh", "fish"}),
        ("alphaf sft --config ", {"file,"}),
        ("alphaf sft --data ./학", {"file,./학"}),
        # Nothing can be offered:
        ("alphaf sft --set lora", set()),
    ],
)
def test_what_a_word_may_become(runs, words, expected):
    assert values(words, len(words.split(" ")) - 1) == expected


def test_nothing_is_said_where_it_fails(runs, tmp_path):
    assert asked("alphaf sft --model ", 3, ALPHAF_TEMPLATES=str(tmp_path / "없음")) == []
    assert asked("alphaf show '실행1", 2, kind="nonsense") == []
    assert asked('alphaf show "실', 2) == ["plain,실행1", "plain,실행2"]
    (runs_dir() / "실행2").chmod(0)
    assert asked("alphaf show 실행1", 2) == ["plain,실행1"]


def test_an_option_is_shown_with_its_help_where_the_shell_does():
    assert asked("alphaf sft --mod", 2, "zsh") == ["plain", "--model", "A preset, a folder or a hub id."]
    assert asked("alphaf sft --mod", 2, "fish") == ["plain,--model\tA preset, a folder or a hub id."]


def test_the_list_of_options_is_the_commands_own():
    assert WORDS.read_text(encoding="utf-8") == completion_words.words(), "make fmt"
    assert list(json.loads(WORDS.read_text(encoding="utf-8")))


def test_no_command_is_imported_to_complete_one(runs):
    code = (
        "import os, sys; os.environ.update(_ALPHAF_COMPLETE='bash_complete', COMP_WORDS='alphaf eval --suite ',"
        " COMP_CWORD='3')\nfrom alphaf_orch.cli.completion import complete; complete()\n"
        "print(*(name for name in sys.modules if name.startswith('alphaf_orch.') or name in ('rich', 'pydantic')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    *answered, modules = done.stdout.splitlines()
    assert "plain,korean" in answered
    packages = {name.split(".")[1] for name in modules.split() if name.startswith("alphaf_orch.")}
    assert packages <= {"cli", "core"} and "rich" not in modules.split() and "pydantic" not in modules.split()


@pytest.fixture
def typed(tmp_path):
    """Return a folder with `.venv/bin/alphaf`, which is on no PATH."""
    place = tmp_path / ".venv" / "bin"
    place.mkdir(parents=True)
    script = place / "alphaf"
    script.write_text(f"#!{sys.executable}\nfrom alphaf_orch.cli.start import main\nmain()\n")
    script.chmod(0o755)
    return tmp_path


def in_shell(shell: str, lines: str, folder: Path) -> list[str]:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder), "LC_ALL": "C.UTF-8", "TERM": "xterm"}
    argv = [shell, *({"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]), "-c", lines]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == "", done.stderr
    return done.stdout.splitlines()


def test_bash_completes(runs, typed):
    lines = (
        "source <(.venv/bin/alphaf completion bash)\ncomplete -p alphaf\n"
        "COMP_WORDS=(.venv/bin/alphaf show 실); COMP_CWORD=2; _alphaf_completion .venv/bin/alphaf\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert in_shell("bash", lines, typed) == ["complete -o nosort -F _alphaf_completion alphaf", "실행1", "실행2"]


def test_fish_completes(runs, typed):
    lines = ".venv/bin/alphaf completion fish | source\ncomplete --do-complete '.venv/bin/alphaf show 실'"
    assert in_shell("fish", lines, typed) == ["실행1", "실행2"]


ZSH = """
autoload -Uz compinit && compinit -u -D
source =(.venv/bin/alphaf completion zsh)
compadd() { print -rl -- $completions }  # it is zsh's own editor alone that takes them
words=(.venv/bin/alphaf show 실); CURRENT=3
_alphaf_completion
print -r -- $_comps[alphaf]
"""


def test_zsh_completes(runs, typed):
    assert in_shell("zsh", ZSH, typed) == ["실행1", "실행2", "_alphaf_completion"]
