"""A page each for the commands: written from their own --help, whatever terminal and language the writer has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import command_pages
import pytest

from alphaf_orch.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "command_pages.py"


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | environment
    return subprocess.run([sys.executable, TOOL, "--check"], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("surroundings", [{}, {"COLUMNS": "40", "LANG": "ko_KR.UTF-8", "ALPHAF_LANG": "ko"}])
def test_the_pages_are_what_the_commands_say_wherever_they_are_asked(surroundings: dict[str, str]) -> None:
    done = check(**surroundings)
    assert (done.returncode, done.stderr) == (0, ""), "run `make commands`"


def test_every_command_has_its_page_and_its_row() -> None:
    index = (command_pages.FOLDER / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        page = (command_pages.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# alphaf {name}\n\n```text\nUsage: .venv/bin/alphaf {name} ")
        assert f"| [`alphaf {name}`]({name}.md) |" in index
    assert command_pages.MORE.keys() <= COMMANDS.keys()


def test_a_page_that_is_stale_missing_or_of_no_command_is_named_and_mended(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(command_pages, "FOLDER", tmp_path / "docs" / "commands")
    command_pages.FOLDER.mkdir(parents=True)
    told = {name: ("Says what it does.", f"Usage: alphaf {name} [OPTIONS]") for name in ("run", "show")}
    monkeypatch.setattr(command_pages, "asked", lambda language: told)
    monkeypatch.setattr(sys, "argv", ["command_pages.py"])
    assert command_pages.main() == 0
    (command_pages.FOLDER / "show.md").write_text("old", "utf-8")
    (command_pages.FOLDER / "run.md").unlink()
    (command_pages.FOLDER / "gone.md").write_text("of a command that was", "utf-8")
    monkeypatch.setattr(sys, "argv", ["command_pages.py", "--check"])
    assert command_pages.main() == 1
    said = "docs/commands: gone.md, run.md, show.md not as the commands say; run `make commands`\n"
    assert capsys.readouterr().err == said
    monkeypatch.setattr(sys, "argv", ["command_pages.py"])
    assert command_pages.main() == 0
    assert not (command_pages.FOLDER / "gone.md").exists()


def test_a_command_whose_help_is_said_in_korean_has_a_korean_page_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(command_pages, "FOLDER", tmp_path / "docs" / "commands")
    (tmp_path / "docs" / "commands").mkdir(parents=True)
    (tmp_path / "docs" / "errors.ko.md").write_text("# 오류\n", "utf-8")
    told = {name: ("Says what it does.", f"Usage: alphaf {name} [OPTIONS]") for name in ("run", "show")}
    korean = told | {"show": ("실행을 보여 줍니다.", "사용법: alphaf show [OPTIONS]\n\n  실행을 보여 줍니다.")}
    monkeypatch.setattr(command_pages, "asked", lambda language: korean if language == "ko" else told)
    pages = command_pages.wanted()
    assert set(pages) == {"README.md", "run.md", "show.md", "README.ko.md", "show.ko.md"}
    assert "사용법: .venv/bin/alphaf show [OPTIONS]" in pages["show.ko.md"]
    assert "[errors](../errors.ko.md)" in pages["show.ko.md"] and "[concepts](../concepts.md)" in pages["show.ko.md"]
    assert "| [`alphaf show`](show.ko.md) | 실행을 보여 줍니다. |" in pages["README.ko.md"]
    assert "| [`alphaf run`](run.md) | Says what it does. |" in pages["README.ko.md"]
