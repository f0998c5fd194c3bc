"""Messages are recognised by their templates and said in the reader's language, at one boundary."""

from __future__ import annotations

import string

import messages
import pytest

from alphaf_orch.core.catalogue import Catalogue
from alphaf_orch.core.spoken import language, say

TEXTS = {
    "there is no run {name}": "실행 {name}이(가) 없습니다",
    "{stage} is not finished: {why}": "{stage} 단계가 끝나지 않았습니다: {why}",
    "it is not UTF-8 (byte {start})": "UTF-8이 아닙니다({start}번째 바이트)",
    "give {{answer}} a value": "{{answer}}에 값을 주십시오",
    "{count} row{s} of {file} must be mended": "{file}의 행 {count}개를 고쳐야 합니다",
    "report it with that": "그 내용과 함께 알려 주십시오",
    "what is finished is kept": "끝난 것은 그대로 있습니다",
}


@pytest.mark.parametrize(
    ("english", "korean"),
    [
        ("there is no run 한글 실행", "실행 한글 실행이(가) 없습니다"),
        ("  there is no run x", "  실행 x이(가) 없습니다"),
        (
            "sft is not finished: it is not UTF-8 (byte 12)",
            "sft 단계가 끝나지 않았습니다: UTF-8이 아닙니다(12번째 바이트)",
        ),
        ("give {answer} a value.", "{answer}에 값을 주십시오."),
        ("1 row of a.jsonl must be mended", "a.jsonl의 행 1개를 고쳐야 합니다"),
        ("2 rows of a{b}.jsonl must be mended", "a{b}.jsonl의 행 2개를 고쳐야 합니다"),
        ("report it with that; what is finished is kept", "그 내용과 함께 알려 주십시오; 끝난 것은 그대로 있습니다"),
        ("- there is no run x", "- 실행 x이(가) 없습니다"),
        ("something a tool said", "something a tool said"),
        ("", ""),
    ],
)
def test_a_text_is_recognised_and_said_with_its_values(english: str, korean: str) -> None:
    assert Catalogue(TEXTS).said(english) == korean


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": ""}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "ALPHAF_LANG": "en"}, "en"),
        ({"LANG": "C", "ALPHAF_LANG": "KO"}, "ko"),
    ],
)
def test_the_language_is_the_locales_unless_alphaf_lang_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: str
) -> None:
    for key in ("ALPHAF_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert language() == wanted


def test_a_text_is_printed_in_the_readers_language(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say("what is finished is kept; the same command goes on where it stopped")
    assert capsys.readouterr().out == "what is finished is kept; the same command goes on where it stopped\n"
    monkeypatch.setenv("ALPHAF_LANG", "ko")
    say("what is finished is kept; the same command goes on where it stopped", err=True)
    assert "가" <= capsys.readouterr().err[0] <= "힣"


def test_every_message_of_the_sources_has_its_korean_text() -> None:
    catalogues = {path.stem: messages.read(path) for path in messages.CATALOGUES.glob("*.json")}
    wanted = {name: sorted(set(found)) for name, found in messages.of_sources().items()}
    assert {name: list(each) for name, each in catalogues.items()} == wanted, "run `make messages`"
    assert [lack for each in catalogues.values() for lack in messages.lacking(each)] == []


def test_every_template_is_recognised_as_itself() -> None:
    texts: dict[str, str] = {}
    for path in messages.CATALOGUES.glob("*.json"):
        texts |= {text: said for text, said in messages.read(path).items() if said}
    known = Catalogue(texts)
    mistaken = {}
    for text, said in texts.items():
        parts = [(literal, name) for literal, name, _, _ in string.Formatter().parse(text) if name]
        # Numbers, which some values must be; of two side by side the second is something that is said of the first.
        values = {
            name: "s" if name.rstrip(string.digits) == "s" else str(n) if literal or n == 101 else f": {n}"
            for n, (literal, name) in enumerate(parts, 101)
        }
        template, found = known.recognised(text.format_map(values))
        shown = template and template.filled(found)
        if shown != said.format_map(values):
            mistaken[text] = shown
    assert mistaken == {}
