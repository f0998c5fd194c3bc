"""The page and the Markdown say the same, in both languages, and nothing in the data is read as markup."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser

import pytest
import report_runs
from markdown_it import MarkdownIt

from alphaf_orch.core.paths import runs_dir
from alphaf_orch.core.wording import Label, in_language
from alphaf_orch.report.blocks import (
    Cards,
    Cell,
    Code,
    Figure,
    Fold,
    KeyValues,
    Note,
    Report,
    Section,
    SideBySide,
    Table,
    Verdict,
    flatten,
)
from alphaf_orch.report.html import render_html
from alphaf_orch.report.markdown import escape, render_markdown
from alphaf_orch.report.run.content import comparison_of, report_of

HOSTILE = (
    '<script>document.title="XSS"</script> </script> "><img src=x onerror=alert(1)> {{7*7}} `a` | b *c* [d](http://e)'
)
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Reads a page in one language: the text of its table cells and of everything, and every attribute."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self.other = {"ko": "en", "en": "ko"}[language]
        self.open: list[tuple[str, dict]] = []
        self.cells: list[str] = []
        self.text = ""
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "br":
            self.handle_data(" ")
        if tag in VOID:
            return
        if tag in ("td", "th"):
            self.cells.append("")
        self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tags = [tag for tag, _ in self.open]
        hidden = any(tag == "span" and attrs.get("lang") == self.other for tag, attrs in self.open)
        if hidden or "script" in tags or "style" in tags:
            return
        self.text += data
        if "td" in tags or "th" in tags:
            self.cells[-1] += data


def read(page: str, language: str) -> Page:
    parser = Page(language)
    parser.feed(page)
    parser.cells = [plain(cell) for cell in parser.cells]
    parser.text = plain(parser.text)
    return parser


def read_markdown(text: str) -> Page:
    return read(MarkdownIt("commonmark", {"html": True}).enable("table").render(text), "ko")


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def texts_of(block) -> list:
    """Return every text that a reader has to find in both renderings."""
    match block:
        case Table():
            return [block.caption, *block.header]
        case KeyValues():
            return [name for name, _ in block.rows]
        case Cards():
            lines = [
                text for card in block.items for line in card.lines for text in (line.name, line.value, line.interval)
            ]
            return [text for card in block.items for text in (card.label, card.value, card.note)] + lines
        case Verdict():
            return [block.headline, *block.points]
        case Note():
            return [block.text, block.where]
        case Figure():
            return [block.title]
        case SideBySide():
            said = [text for answer in block.answers for text in (answer.label, answer.text, answer.verdict)]
            asked = [text for turn in block.turns for text in (turn.role, turn.text)]
            return [block.title, *asked, block.gold, *said, block.remark]
        case Code():
            return [block.text, block.caption]
        case Fold():
            return [block.title]
    raise AssertionError(block)


@pytest.fixture
def report() -> Report:
    runs = [report_runs.make_run(runs_dir() / name, licence=HOSTILE) for name in ("한글-실행", "둘째")]
    for seed, run in enumerate(runs):
        report_runs.add_scores(run, ("base", "sft", "dpo"), n=40, seed=seed)
        hostile = [report_runs.sample(f"q{i}", float(i % 2), HOSTILE, f"{HOSTILE}\n둘째 줄") for i in range(4)]
        report_runs.add_result(run, "base", "quiz", hostile, [HOSTILE])
        report_runs.add_result(run, "sft", "quiz", [report_runs.sample(f"q{i}", 1.0, HOSTILE) for i in range(4)])
    report_runs.add_judge(runs[0])
    return report_of(runs)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_page_and_markdown_hold_the_same(report, language):
    page = read(render_html(report, language), language)
    markdown = read_markdown(render_markdown(report, language))
    # Key-value tables have an empty header in Markdown, which knows no table without one.
    assert [cell for cell in markdown.cells if cell] == [cell for cell in page.cells if cell]
    assert len(page.cells) > 500
    kinds = set()
    for section in report.sections:
        for block in flatten(section.blocks):
            kinds.add(block.kind)
            for text in [section.title, *texts_of(block)]:
                wanted = plain(in_language(text, language))
                assert wanted in page.text, (section.id, wanted)
                assert wanted in markdown.text, (section.id, wanted)
    assert kinds == {"verdict", "table", "keyvalues", "cards", "note", "figure", "sidebyside", "code", "fold"}


def test_a_text_that_only_one_of_them_shows_would_be_noticed(report):
    page = render_html(report, "ko").replace("08" * 32, "")
    assert read(page, "ko").cells != read_markdown(render_markdown(report, "ko")).cells


def test_both_languages_are_in_the_page_and_one_in_markdown(report):
    page = render_html(report, "ko")
    assert '<span lang="ko">학습 곡선</span><span lang="en">Training curves</span>' in page
    assert "Training curves" not in render_markdown(report, "ko")
    assert "학습 곡선" not in render_markdown(report, "en")


def test_nothing_in_the_data_becomes_markup(report):
    page = render_html(report, "ko")
    attributes = read(page, "ko").attributes
    assert {tag for tag, _, _ in attributes} & {"img", "iframe", "object", "link", "base"} == set()
    assert [name for _, name, _ in attributes if name.startswith("on")] == []
    assert page.count("<script>") == page.count("</script>") == 2
    assert "49" not in [cell.strip() for cell in read(page, "ko").cells]
    assert HOSTILE in read(page, "ko").text


def test_the_page_loads_nothing(report):
    page = render_html(report, "ko")
    places = [
        value for _, name, value in read(page, "ko").attributes if name in ("src", "href", "srcset", "action", "data")
    ]
    assert places
    assert [value for value in places if not value.startswith("#")] == []
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    policy = next(v for t, n, v in read(page, "ko").attributes if t == "meta" and n == "content" and "default-src" in v)
    assert policy.startswith("default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:")
    assert "http" not in policy


def test_every_contents_entry_leads_somewhere_and_ids_are_unique(report):
    attributes = read(render_html(report, "ko"), "ko").attributes
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for tag, name, value in attributes if tag == "a" and name == "href"}
    assert targets <= set(ids)
    assert {section.id for section in report.sections} <= targets


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE, "| a | b |", "`x` ``y``", "**굵게** _밑줄_ ~~선~~", "# 제목", "- 목록", "1. 하나", "> 인용", "===",
        "+ 더하기", "http://example.com", "www.example.com", "&lt; &amp;", "a\\b", "![그림](x.png)", "<!-- x -->",
        "$x$", "finance_ko_mcq", "한글*강조*입니다",
    ],
)  # fmt: skip
def test_markdown_shows_data_as_it_is(text):
    report = Report(
        text,
        "",
        (
            Section(
                "s",
                text,
                (
                    Note(text),
                    Note(text, "warning", text),
                    Table(("k", "v"), ((Cell("첫째"), Cell(text, sub=text)),)),
                    SideBySide(text, (), text, (), text),
                ),
            ),
        ),
    )
    rendered = (
        MarkdownIt("commonmark", {"html": True})
        .enable(["table", "strikethrough"])
        .render(render_markdown(report, "en"))
    )
    page = read(rendered, "ko")
    assert page.text.count(plain(text)) == 10
    allowed = {
        "h1",
        "h2",
        "h4",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "br",
        "strong",
        "blockquote",
        "pre",
        "code",
    }
    assert set(re.findall(r"<(\w+)", rendered)) <= allowed


def test_a_code_block_outlives_the_fences_in_it():
    block = Code("```\nalert()\n````\n끝")
    rendered = MarkdownIt("commonmark").render(render_markdown(Report("t", "", (Section("s", "s", (block,)),)), "ko"))
    (code,) = re.findall(r"<code[^>]*>(.*?)</code>", rendered, re.DOTALL)
    assert html.unescape(code) == block.text + "\n"


def test_escaped_names_stay_readable():
    assert escape("finance_ko_mcq") == "finance_ko_mcq"
    assert escape("a|b") == "a\\|b"


def test_a_comparison_is_rendered_by_the_same_renderers():
    runs = [report_runs.make_run(runs_dir() / name) for name in ("가", "나")]
    for run in runs:
        report_runs.add_scores(run, ("base", "sft"), n=40)
    report = comparison_of(*runs)
    page, markdown = read(render_html(report, "en"), "en"), read_markdown(render_markdown(report, "en"))
    assert [cell for cell in markdown.cells if cell] == [cell for cell in page.cells if cell]


def test_plots_know_both_languages(report):
    page = render_html(report, "ko")
    figures = [json.loads(v) for _, name, v in read(page, "ko").attributes if name == "data-figure"]
    assert len(figures) > 20
    for figure in figures:
        assert set(figure["texts"]) == {"ko", "en"}
        assert len(figure["texts"]["ko"]["names"]) == len(figure["data"])
        assert "template" not in figure["layout"]
    assert any("학습 손실" in figure["texts"]["ko"]["names"][0] for figure in figures)


def test_text_in_both_languages_and_text_in_one():
    from alphaf_orch.report.html import both

    assert both(Label("가<", "a<")) == '<span lang="ko">가&lt;</span><span lang="en">a&lt;</span>'
    assert both(Label("SFT", "SFT")) == "SFT"
    assert both("a\n<b>") == "a<br>&lt;b&gt;"
