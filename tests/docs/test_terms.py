"""Korean texts use the words of docs/terms.ko.md, and none of those that it lists as not used."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "terms.ko.md"
# What models read or are asked (questions, sample rows, prompts of the judge) is not ours to speak in:
# there a bank's 심사 is a bank's, and a changed prompt would be another question.
ASKED = re.compile(r"^templates/(judge/.*\.j2|.*\.jsonl)$")
ROOTS = {
    "pages": ["*.ko.md", "docs/**/*.ko.md", "mkdocs.yml", "Makefile", "CONTRIBUTING.md", "CHANGELOG.md"],
    "catalogues": ["alphaf_orch/locale/ko/*.*"],
    "package": ["alphaf_orch/**/*.*"],
    "templates": ["templates/**/*.*"],
    "tools": ["tools/*.*", "requirements/**/*.*", "docs/overrides/**/*.*", "docs/schemas/*.json"],
}
UNREAD = {".pyc", ".mo", ".png", ".ico", ".woff2", ".gz"}


@cache
def banned() -> list[str]:
    """Return the last column of every row of the glossary's tables, word by word."""
    rows = re.findall(r"^\| (?!용어|---)(.+) \|([^|]*)\|$", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [word.strip() for _, words in rows for word in words.split(",") if word.strip()]


@cache
def patterns() -> dict[str, re.Pattern[str]]:
    """Return how each is looked for: a whole word, with any particle behind and any blanks within (심사모델은)."""
    return {word: re.compile(r"(?<![가-힣])" + r"\s*".join(map(re.escape, word.split()))) for word in banned()}


def found(text: str) -> list[str]:
    return [word for word, pattern in patterns().items() if pattern.search(text)]


def korean(root: str) -> list[Path]:
    """Return the files of the root that hold Korean, but for the glossary, which lists what is not used."""
    paths = {path for pattern in ROOTS[root] for path in ROOT.glob(pattern) if path.is_file() and path != GLOSSARY}
    if root == "package":
        paths = {path for path in paths if "locale" not in path.parts}
    kept = sorted(p for p in paths if p.suffix not in UNREAD and not ASKED.match(p.relative_to(ROOT).as_posix()))
    return [path for path in kept if re.search("[가-힣]", path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("root", ROOTS)
def test_no_korean_text_holds_a_word_that_the_glossary_lists_as_not_used(root: str) -> None:
    seen = [
        f"{path.relative_to(ROOT)}:{number}: {', '.join(words)}"
        for path in korean(root)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (words := found(line))
    ]
    assert not seen, "\n".join(seen)


def test_the_glossary_lists_the_words_that_it_was_made_for() -> None:
    assert {"심사", "맥니마", "그래디언트 노름", "리워드 마진", "장난감", "인계 계약", "인계", "실험군"} <= set(
        banned()
    )


@pytest.mark.parametrize(
    "text",
    ["심사모델은", "‘장난감 모델’", "리워드  마진이", "맥니마 정확 검정", "새 인계 계약을", "실험군끼리", "데이터셋을"],
)
def test_a_word_that_is_not_used_is_noticed(text: str) -> None:
    assert found(text)


@pytest.mark.parametrize(
    "text", ["승인계좌를 확인합니다", "평가 모델(LLM-as-a-Judge)", "데이터 세트", "맥니머(McNemar) 검정"]
)
def test_words_that_only_look_alike_are_not_noticed(text: str) -> None:
    assert found(text) == []


def test_the_roots_hold_korean() -> None:
    """The package's texts and pages are looked at: an empty list of files would prove nothing."""
    assert len(korean("pages")) >= 5
    assert len(korean("package")) >= 5
    assert korean("catalogues")
    assert korean("templates")
