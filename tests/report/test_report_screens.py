"""The page as a person meets it: its first screen, tables on a telephone, on paper, and through a screen reader."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import report_runs
from chromium import Chromium, Page

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.report.html import render_html
from alphaf_orch.report.run.content import report_of

SIZES = ((1400, 900), (420, 900))
LOOKS = [(language, theme) for language in ("ko", "en") for theme in ("light", "dark")]
CUT_OFF = "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
# What lies over something else, of the texts of one plot.
OVERPRINTED = """[...document.querySelectorAll('.plot')].flatMap((plot) => {
  const texts = [...plot.querySelectorAll('.xtick text, .ytick text, .legendtext')].filter((e) => e.textContent);
  const boxes = texts.map((e) => [e.textContent, e.getBoundingClientRect()]).filter(([, box]) => box.width);
  return boxes.flatMap(([name, a], i) => boxes.slice(i + 1)
    .filter(([, b]) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
    .map(([other]) => `${name} / ${other}`));
})"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The page of a run as `make demo` leaves it: one task, asked eight times of three models."""
    run = report_runs.make_run(tmp_path_factory.mktemp("runs") / "demo")
    for stage in ("base", "sft", "dpo"):
        rows = [report_runs._rag(i, stage, random.Random(f"{stage}/{i}"), 1) for i in range(8)]
        report_runs.add_result(run, stage, "finance_ko_rag", rows)
    return written(run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The page of a run with everything that a page may have: several tasks, a judge, something that became worse."""
    run = report_runs.make_run(tmp_path_factory.mktemp("runs") / "한글-실행")
    report_runs.add_scores(run, ("base", "sft"), n=60)
    for task, make in (("mcq", report_runs._mcq), ("rag", report_runs._rag)):
        rows = [make(i, "base", random.Random(f"dpo/{i}"), 1) for i in range(60)]
        report_runs.add_result(run, "dpo", f"finance_ko_{task}", rows)
    report_runs.add_judge(run)
    return written(run)


def written(run: RunPaths) -> Path:
    run.html_report.write_text(render_html(report_of([run]), "ko"), encoding="utf-8")
    return run.html_report


def opened(chromium: Chromium, page: Path, size: tuple[int, int], language: str = "ko", theme: str = "light") -> Page:
    tab = chromium.page()
    tab.size(*size)
    tab.open(f"{page.as_uri()}?lang={language}&theme={theme}")
    tab.wait("document.readyState === 'complete' && document.querySelector('.plot svg.main-svg')", 90)
    return tab


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("language", "theme"), LOOKS)
def test_the_first_screen_holds_the_verdict_and_a_card_for_everyone(chromium, whole, size, language, theme):
    tab = opened(chromium, whole, size, language, theme)
    below = tab.ask("document.querySelector('.cards li dl').getBoundingClientRect().bottom")
    assert below < size[1], "a manager scrolls to the first figure"
    assert tab.ask("document.documentElement.scrollWidth") <= size[0]
    said = tab.ask("document.querySelector('.verdict .headline').innerText")
    assert ("SFT 모델을 유지하세요" if language == "ko" else "keep the SFT model") in said
    assert tab.ask(OVERPRINTED) == []
    assert tab.faults() == []
    if (size, language, theme) == (SIZES[0], *LOOKS[0]):
        tab.ask("document.querySelector('.verdict').innerHTML += '<img src=\"data:,\"><button></button>'")
        assert {fault.partition(":")[0] for fault in tab.faults()} == {"image-alt", "button-name"}, "it would say so"


@pytest.mark.parametrize("size", SIZES)
def test_no_column_is_cut_off_folded_or_not(chromium, whole, size):
    tab = opened(chromium, whole, size)
    assert tab.ask(CUT_OFF) == 0
    tab.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    tab.wait(f"{CUT_OFF} === 0")
    # A row that became a list still says which column a value is of.
    label = "getComputedStyle(document.querySelector('.stacked td[data-ko]'), '::before').content"
    assert tab.ask(label).strip('"')


def test_cards_stand_below_each_other_on_a_telephone(chromium, whole):
    lefts = "new Set([...document.querySelectorAll('.cards li')].map((e) => e.getBoundingClientRect().left)).size"
    assert opened(chromium, whole, (420, 900)).ask(lefts) == 1
    assert opened(chromium, whole, (1400, 900)).ask(lefts) == 3


def test_a_count_leads_to_the_row_it_counts(chromium, whole):
    tab = opened(chromium, whole, (1400, 900))
    row = "document.getElementById(document.querySelector('#summary td a').hash.slice(1))"
    assert "출처 표기 형식" in tab.ask(f"{row}.innerText")
    assert tab.ask(f"{row}.closest('section').id") == "scores"


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_demo_is_printed_on_six_pages_at_most(chromium, demo, language):
    tab = opened(chromium, demo, (1400, 900), language, "dark")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", tab.printed())) <= 6


def test_nothing_is_cut_off_or_overprinted_on_paper(chromium, whole):
    tab = opened(chromium, whole, (688, 1000))  # A4 less its margins, in CSS pixels
    tab.call("Emulation.setEmulatedMedia", media="print")
    tab.ask("dispatchEvent(new Event('beforeprint'))")
    assert tab.ask(OVERPRINTED) == []
    assert tab.ask("[...document.querySelectorAll('table')].filter((e) => e.offsetWidth > 690).length") == 0
    assert tab.ask("document.querySelectorAll('.stacked').length") == 0
