"""The four walks of docs/walks.md, typed as they stand there in both languages, on the tiny model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from walks import PAGES, matches, prepare, rewritten, walk, walks

TEXTS = {language: page.read_text(encoding="utf-8") for language, page in PAGES.items()}


@pytest.fixture(scope="module", params=list(PAGES))
def printed(request, tmp_path_factory, warm_python):
    """The language of a page, and what its walks printed, one after another in one folder."""
    place = tmp_path_factory.mktemp("금융 모델")
    prepare(place, warm_python)
    found = [walk(place, steps, request.param) for steps in walks(TEXTS[request.param])]
    if os.environ.get("ALPHAF_WRITE_GOLDEN"):
        page: Path = PAGES[request.param]
        page.write_text(rewritten(TEXTS[request.param], found), encoding="utf-8")
        TEXTS[request.param] = page.read_text(encoding="utf-8")
    return request.param, found


@pytest.mark.parametrize("number", range(4))
def test_a_walk_prints_what_the_page_says(printed, number):
    language, found = printed
    steps = walks(TEXTS[language])[number]
    assert len(found[number]) == len(steps), found[number]
    for step, output in zip(steps, found[number], strict=True):
        assert matches(step.printed, output), f"$ {step.command}\n{output}\n--- the page says\n{step.printed}"


def test_both_pages_have_the_same_commands():
    of = {language: [[step.command for step in steps] for steps in walks(text)] for language, text in TEXTS.items()}
    assert of["en"] == of["ko"]
    assert len(of["en"]) == 4
    assert all(len(commands) >= 6 for commands in of["en"])


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        ("done in …, 3 rows", "done in 12 s, 3 rows", True),
        ("done in …, 3 rows", "done in 12 s, 4 rows", False),
        ("a\n…\nc", "a\nb\nb\nc", True),
        ("a\n…\nc", "a\nb\nd", False),
        ("│ a │ … │", "│ a    │ 1:40 │", True),
        ("", "error", False),
    ],
)
def test_how_a_page_is_compared(expected, output, same):
    assert matches(expected, output) == same
