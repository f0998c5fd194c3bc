"""Commands in messages are spelled so that they can be pasted where alphaf was called."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alphaf_orch.cli.main import COMMANDS
from alphaf_orch.core.called import NAMES, TARGETS, Called, called, respelt
from alphaf_orch.core.errors import RunStateError

ROOT = Path(__file__).parents[2]
PATH = Called("/opt/한글 환경/bin/alphaf")
MAKE = Called(".venv/bin/alphaf", "make")


def test_every_command_is_known_by_its_name():
    assert set(NAMES) == set(COMMANDS)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("`alphaf show 실행1` says it; `alphaf runs` lists", "`X show 실행1` says it; `X runs` lists"),
        ("chat:  alphaf chat 데모", "chat:  X chat 데모"),
        ("대화:  alphaf chat 데모", "대화:  X chat 데모"),
        ("follow it: alphaf attach a", "follow it: X attach a"),
        ("  $ alphaf run --run a", "  $ X run --run a"),
        ("one\nnext:  alphaf runs\nthree", "one\nnext:  X runs\nthree"),
        # Not commands to be typed:
        ("error: alphaf was interrupted by SIGTERM", None),
        ("alphaf itself failed: KeyError", None),
        ("alphaf run was interrupted by SIGTERM", None),
        ("`alphaf` is a program", None),
        ("alphaf board", None),
        ("$ alphaf job a sft", None),
        ("error: no alphaf has worked on it; call alphaf run elsewhere", None),
    ],
)
def test_a_command_is_spelled_as_alphaf_was_called(text, spelled):
    expected = text if spelled is None else spelled.replace("X", "/opt/x/bin/alphaf")
    assert respelt(text, Called("/opt/x/bin/alphaf")) == expected
    assert respelt(expected, Called("/opt/x/bin/alphaf")) == expected  # twice is as once
    assert respelt(text, Called()) == text


@pytest.mark.parametrize(
    ("command", "typed"),
    [
        ("alphaf chat 데모", "make chat RUN=데모"),
        ("alphaf run --run a", "make run RUN=a"),
        ("alphaf eval", "make eval"),
        ("alphaf sft --model eeve --data a.jsonl --data b.jsonl", "make sft MODEL=eeve DATA='a.jsonl b.jsonl'"),
        ("alphaf dpo --run 'x y'", "make dpo RUN='x y'"),
        ("alphaf run --run a --dry-run", "make run RUN=a DRY_RUN=1"),
        ("alphaf clean", "make clean-runs"),
        ("alphaf compare a b", "make compare A=a B=b"),
        ("alphaf clean --yes", "make clean-runs ARGS=--yes"),
        ("alphaf plan --run a --nodes 2 --full", "make plan RUN=a ARGS='--nodes 2 --full'"),
        # No target does this, and nothing else:
        ("alphaf show a", ".venv/bin/alphaf show a"),
        ("alphaf clean 가 $HOME", ".venv/bin/alphaf clean 가 $HOME"),
        ("alphaf run --run NEW --note 'x y'", ".venv/bin/alphaf run --run NEW --note 'x y'"),
        ("alphaf compare a", ".venv/bin/alphaf compare a"),
        ("alphaf sft --data 'a b.jsonl'", ".venv/bin/alphaf sft --data 'a b.jsonl'"),
        ("alphaf run --run it's", ".venv/bin/alphaf run --run it's"),
    ],
)
def test_make_says_its_target_where_it_is_the_same_command(command, typed):
    assert respelt(f"`{command}`", MAKE) == f"`{typed}`"


def _called(program: str, argv: list[str], **environment: str) -> Called:
    return called(program, argv, environment)


def test_how_a_process_was_called(tmp_path):
    place = tmp_path / "도구 bin"
    place.mkdir()
    program = place / "alphaf"
    program.touch(mode=0o755)
    assert _called(".venv/bin/alphaf", ["python", ".venv/bin/alphaf"]) == Called(".venv/bin/alphaf")
    assert _called(str(program), [], PATH="/bin") == Called(f"'{program}'")
    assert _called(str(program), [], PATH=f"/bin:{place}") == Called("alphaf")
    module = ["venv/bin/python", "-X", "dev", "-m", "alphaf_orch", "runs"]
    assert _called("/x/alphaf_orch/__main__.py", module) == Called("venv/bin/python -m alphaf_orch")
    assert _called("/x/pytest", ["pytest"]) == Called("alphaf")
    wrapper = "docker run --rm alphaf:gpu alphaf"
    assert _called(str(program), [], ALPHAF_CALLED=wrapper) == Called(wrapper)


def test_make_is_said_as_it_was_called():
    flags = "s -- RUN=a\\ b$$c VENV=/한\\ 글/venv SKIP_SETUP=1"
    assert _called(".venv/bin/alphaf", [], ALPHAF_MAKE="1") == Called(".venv/bin/alphaf", "make")
    found = _called("/한 글/venv/bin/alphaf", [], ALPHAF_MAKE="1", MAKEFLAGS=flags)
    assert found == Called("'/한 글/venv/bin/alphaf'", "make 'VENV=/한 글/venv' SKIP_SETUP=1")
    found = _called(".venv/bin/alphaf", [], ALPHAF_MAKE="/한글/alphaf", MAKEFLAGS="w")
    assert found == Called("/한글/alphaf/.venv/bin/alphaf", "make -C /한글/alphaf")


def test_an_error_says_it_so_and_keeps_it_as_it_was(monkeypatch, capsys):
    monkeypatch.setattr("alphaf_orch.core.called.here", lambda: PATH)
    error = RunStateError("there is no run", where="x", fix="`alphaf runs` lists what there is", code="run.not_found")
    error.show()
    assert "next:  `/opt/한글 환경/bin/alphaf runs` lists" in capsys.readouterr().err
    assert "`alphaf runs`" in error.message


SAID = re.compile(r"next:  .*`(.+ run)`")


def _said(argv: list[str], folder: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("ALPHAF_CALLED", "MAKEFLAGS")}
    env = {**kept, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)
    found = SAID.search(done.stderr)
    assert found, done.stderr
    return found[1]


@pytest.fixture
def installed(tmp_path):
    """Return a folder whose `.venv/bin/alphaf` is the command, as pip installs it."""
    place = tmp_path / "저장소" / ".venv" / "bin"
    place.mkdir(parents=True)
    script = place / "alphaf"
    script.write_text(f"#!{sys.executable}\nfrom alphaf_orch.cli.start import main\nmain()\n")
    script.chmod(0o755)
    return place.parents[1]


def test_a_process_knows_how_it_was_called(installed):
    bin_ = installed / ".venv" / "bin"
    assert _said([".venv/bin/alphaf", "show", "없음"], installed) == ".venv/bin/alphaf run"
    assert _said([str(bin_ / "alphaf"), "show", "없음"], installed) == f"{bin_}/alphaf run"
    on_path = f"{bin_}:{os.environ['PATH']}"
    assert _said(["sh", "-c", "alphaf show 없음"], installed, PATH=on_path) == "alphaf run"
    assert _said(["sh", "-c", "alphaf job 없음 x; alphaf show 없음"], installed, PATH=on_path) == "alphaf run"
    module = [sys.executable, "-m", "alphaf_orch", "show", "없음"]
    assert _said(module, installed) == f"{sys.executable} -m alphaf_orch run"


def test_make_and_what_it_says_call_the_same(installed):
    shutil.copy(ROOT / "Makefile", installed)
    argv = ["make", "SKIP_SETUP=1", "chat", "RUN=없음"]
    assert _said(argv, installed, PWD=str(installed)) == "make SKIP_SETUP=1 run"
    outside = ["make", "-C", installed.name, "SKIP_SETUP=1", "chat", "RUN=없음"]
    assert _said(outside, installed.parent, PWD=str(installed.parent)) == f"make -C {installed} SKIP_SETUP=1 run"


def _ran(line: str, folder: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("ALPHAF_CALLED", "MAKEFLAGS")}
    env = {**kept, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_walk_through_of_a_start_can_be_pasted_however_alphaf_was_called(installed):
    for number, spelled in enumerate((".venv/bin/alphaf", f"{sys.executable} -m alphaf_orch")):
        name = f"새 폴더 {number}"
        said = _ran(f"{spelled} init '{name}'", installed)
        page = (installed / name / "README.md").read_text(encoding="utf-8")
        typed = re.findall(r"```sh\n +(.+)\n", page)
        assert [line.split(" --config")[0] for line in typed[:2]] == [f"{spelled} plan", f"{spelled} run"]
        assert typed == [line.strip() for line in said.partition("next:")[2].splitlines() if line.strip()]
        assert json.loads(_ran(f"{spelled} init 'json {number}' --json", installed))["next"][2].startswith(spelled)
        if not number:
            assert "sft data:" in _ran(typed[0], installed)


WORDS = {"--gpus": "2", "--limit": "3", "--dry-run": None}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_target_is_the_command_it_stands_for(tmp_path, name):
    """What is said in a command's place calls alphaf with the same words."""
    target, options, places = TARGETS[name]
    words = [f"값{place}" for place in places]
    for option in options:
        value = WORDS.get(option, "가$b%#'c")
        words += [option] if value is None else [option, value]
    words += ["--nodes", "2", "--더"]  # of which no target has a variable
    said = tmp_path / "said"
    program = tmp_path / "venv" / "bin" / "alphaf"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" > {said}\n')
    program.chmod(0o755)
    typed = respelt(f"`{shlex.join(['alphaf', name, *words])}`", Called("alphaf", "make")).strip("`")
    assert typed.startswith(f"make {target}")
    argv = [*shlex.split(typed), "-s", "-f", str(ROOT / "Makefile"), "SKIP_SETUP=1", f"VENV={tmp_path}/venv"]
    subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    got = said.read_text(encoding="utf-8").split("\0")[:-1]
    assert got[0] == name
    assert sorted(got[1:]) == sorted(words)


# A command in a message stands in backquotes or is a line of its own, or else nobody can paste it.
BARE = re.compile(rf"(?<![`$/\w-])alphaf (?:{'|'.join(NAMES)}) ")


def test_no_message_has_a_command_in_running_text():
    found = []
    for file in sorted((ROOT / "alphaf_orch").rglob("*.py")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            text = re.sub(r"`[^`]*`", "", line)
            hit = BARE.search(text)
            if hit and not _is_a_line(text, hit.start()) and '"""' not in text and "#" not in text[: hit.start()]:
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def _is_a_line(text: str, at: int) -> bool:
    """Return whether a command begins a text, behind a label at most."""
    before = re.split(r"['\"]", text[:at])[-1]
    return bool(re.fullmatch(r"\s*(?:\w+(?: \w+){0,2}: +|\$ )?", before))
