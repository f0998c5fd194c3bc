"""What a page tells its reader to type can be typed: `alphaf` is not taken to be on the PATH."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alphaf_orch.cli.main import COMMANDS, HIDDEN

ROOT = Path(__file__).resolve().parents[2]
PAGES = [path for path in ROOT.rglob("*.md") if path.relative_to(ROOT).parts[0] in {"docs", "runs", path.name}]
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
COMMAND = "|".join(sorted(COMMANDS | HIDDEN, key=len, reverse=True))
BARE = re.compile(rf"(?<![\w./\"'-])alphaf (?:{COMMAND}|--help|--version)(?![\w-])")


def typed(text: str) -> list[str]:
    """Return the command lines of a page's fences, without their comments: all of a shell's, behind `$` elsewhere."""
    lines = []
    for language, body in FENCE.findall(text):
        for line in body.splitlines():
            if language in ("sh", "bash") or line.lstrip().startswith("$ "):
                lines.append(re.sub(r"(^|\s)#.*", "", line))
    return lines


def bare(text: str) -> list[str]:
    return [line for line in typed(text) if BARE.search(line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_command_line_takes_alphaf_to_be_on_the_path(page: Path) -> None:
    assert bare(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("alphaf run --model eeve", True),
        ("ALPHAF_NODE_RANK=0 alphaf run", True),
        ("srun --nodes=2 alphaf sft", True),
        ("make demo && alphaf show demo", True),
        (".venv/bin/alphaf run", False),
        ("ls runs   # what alphaf run left", False),
        ("pip install alphaf-orch", False),
    ],
)
def test_what_is_refused(line: str, refused: bool) -> None:
    assert bool(bare(f"가\n\n```sh\n{line}\n```\n")) == refused
    assert bool(bare(f"가\n\n```console\n$ {line}\n```\n")) == refused
    assert bare(f"가\n\n```text\n{line}\n```\n") == [], "what was printed"


def test_the_pages_have_commands_to_type() -> None:
    count = sum(".venv/bin/alphaf " in line for page in PAGES for line in typed(page.read_text(encoding="utf-8")))
    assert count > 80
