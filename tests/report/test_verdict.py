"""The sentence that a report opens with: what to do, from the paired tests, and nothing where they show nothing."""

from __future__ import annotations

import random

import pytest
import report_runs

from alphaf_orch.core.paths import runs_dir
from alphaf_orch.core.wording import in_language
from alphaf_orch.report.blocks import Cards, Fold, Note, Table, Verdict, flatten
from alphaf_orch.report.run.content import comparison_of, report_of
from alphaf_orch.report.verdict import verdict, verdicts
from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.results import Metric, TaskResult
from alphaf_orch.scores.table import Arm, build


def scored(n: int, limit: int | None = None, **rights: int) -> dict[str, Scored]:
    """Return a task's result in which the first rows of each metric are 1; a name that ends in _low is better low."""
    metrics = {name: Metric(right / n, None, n, not name.endswith("_low")) for name, right in rights.items()}
    result = TaskResult("t", "s", "m", "k", {}, {"limit": limit}, {}, metrics, n, 1.0, "", {})
    rows = {name: {str(i): float(i < right) for i in range(n)} for name, right in rights.items()}
    labels = dict.fromkeys(map(str, range(n)), ("A", "A"))
    return {"t": Scored(result, rows, labels, {}, 0)}


def told(*results: dict[str, Scored]) -> tuple[str, str, str]:
    """Return the headline in English and Korean, and its tone, of base, SFT and DPO with these results."""
    names = ("base", "SFT", "DPO")
    arms = [Arm(name, name, tasks, names[i - 1] if i else None) for i, (name, tasks) in enumerate(zip(names, results))]  # noqa: B905
    found = verdict(build(arms) if arms else None)
    return in_language(found.headline, "en"), in_language(found.headline, "ko"), found.tone


def test_a_loss_keeps_the_model_before_it():
    english, korean, tone = told(
        scored(16, citation_format=0), scored(16, citation_format=14), scored(16, citation_format=0)
    )
    assert english == "DPO lowered citation format by 87.5 points (p<0.001): keep the SFT model."
    assert korean == "DPO: 출처 표기 형식 87.5%p 하락(p<0.001). SFT 모델을 유지하세요."
    assert tone == "bad"


def test_a_gain_names_the_model_to_use_and_what_was_not_shown_behind_it():
    english, korean, tone = told(scored(60, acc=10), scored(60, acc=40), scored(60, acc=41))
    assert english.startswith(
        "SFT raised accuracy by 50.0 points (p<0.001): use the SFT model. SFT → DPO: no difference"
    )
    assert korean.startswith("SFT: 정확도 50.0%p 상승(p<0.001). SFT 모델을 쓰세요. SFT → DPO: 모델 간 차이가 확인되지")
    assert tone == "good"
    assert told(scored(60, acc=10), scored(60, acc=30), scored(60, acc=55))[0].endswith(": use the DPO model.")


def test_so_few_questions_decide_nothing():
    english, korean, tone = told(scored(8, acc=0), scored(8, acc=5), scored(8, acc=6))
    assert english == "Not enough questions to say which model is better (8 asked): ask more before you choose."
    assert korean == "문항이 8개뿐이라 어느 모델이 나은지 판단하기에 부족합니다. 문항을 늘려 다시 평가하세요."
    assert tone == "warn"


def test_enough_questions_without_a_difference_give_no_reason_to_change():
    english, _, tone = told(scored(60, acc=30), scored(60, acc=31))
    assert english == "No difference between the models was shown (60 questions): no reason to change the model."
    assert tone == "muted"


def test_a_gain_with_a_loss_is_the_reader_s_to_weigh():
    english, korean, tone = told(scored(60, acc=10, looping_low=0), scored(60, acc=50, looping_low=30))
    assert english == (
        "SFT raised looping_low (lower is better) by 50.0 points (p<0.001) and accuracy by 66.7 points (p<0.001):"
        " weigh which counts more before you leave the base model."
    )
    assert "looping_low(낮을수록 좋음) 50.0%p 상승" in korean
    assert tone == "warn"


def test_a_gain_on_a_model_that_had_lost_is_not_yet_one_on_the_base():
    english, _, tone = told(scored(60, acc=50), scored(60, acc=10), scored(60, acc=45))
    assert english == (
        "DPO raised accuracy by 58.3 points (p<0.001): compare it with the base model before you use it."
    )
    assert tone == "warn"
    assert told(scored(60, acc=50), scored(60, acc=30), scored(60, acc=5))[0].endswith(": keep the base model.")


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ((), "No verdict: there are no scores yet."),
        ((scored(8, acc=1),), "No verdict: only one model has scores, nothing to compare."),
        ((scored(60, acc=1), scored(60, limit=60, acc=50)), "The results cannot be compared with each other."),
    ],
)
def test_without_a_comparison_there_is_no_verdict(results, said):
    assert told(*results)[0] == said


def test_runs_that_were_trained_once_each_are_not_chosen_between():
    arms = [Arm("a", "a", scored(60, acc=5)), Arm("b", "b", scored(60, acc=50), "a", apart=True)]
    (found,) = verdicts(build(arms))
    assert in_language(found.headline, "en").endswith(
        "(p<0.001): each was trained only once, train with more seeds before you choose."
    )
    assert found.tone == "warn"


@pytest.fixture
def lost():
    """A run whose DPO lost what SFT had learnt."""
    run = report_runs.make_run(runs_dir() / "demo")
    report_runs.add_scores(run, ("base", "sft"), n=60)
    rows = [report_runs._rag(i, "base", random.Random(f"dpo/{i}"), 1) for i in range(60)]
    report_runs.add_result(run, "dpo", "finance_ko_rag", rows)
    return run


def section(report, name: str):
    return next(each for each in report.sections if each.id == name)


def test_the_page_opens_with_it_and_warns_of_the_loss_first(lost):
    report = report_of([lost])
    first = section(report, "summary").blocks[0]
    assert isinstance(first, Verdict)
    assert "keep the SFT model" in in_language(first.headline, "en")
    warning = section(report, "warnings").blocks[0]
    assert (isinstance(warning, Note), warning.level) == (True, "worse")
    anchors = {cell.anchor for block in flatten(section(report, "scores").blocks) if isinstance(block, Table)
               for row in block.rows for cell in row if cell.anchor}  # fmt: skip
    counts = next(block for block in section(report, "summary").blocks if isinstance(block, Table))
    links = [link for row in counts.rows for cell in row for link in cell.links]
    assert {in_language(link.text, "en") for link in links} >= {"citation format", "citation recall"}
    assert {warning.target, *(link.target for link in links)} <= anchors
    compared = comparison_of(lost, report_runs.make_run(runs_dir() / "빈-실행"))
    assert isinstance(compared.sections[0].blocks[0], Verdict)


def test_cards_have_every_model_with_its_interval_and_both_times(lost):
    (cards,) = [block for block in section(report_of([lost]), "summary").blocks if isinstance(block, Cards)]
    card = next(card for card in cards.items if "citation format" in in_language(card.label, "en"))
    assert [in_language(line.name, "en") for line in card.lines] == ["base", "SFT", "DPO"]
    assert all(str(line.interval).startswith("[") for line in card.lines)
    assert in_language(card.note, "en") == "n=60, 95% intervals"
    stages = next(card for card in cards.items if in_language(card.label, "en") == "Stages done")
    assert in_language(stages.note, "en") == "training 11:54 · evaluation 7:10"


def test_guards_that_stayed_at_zero_are_folded(lost):
    blocks = section(report_of([lost]), "scores").blocks
    shown = [cell.sub for block in blocks if isinstance(block, Table) for cell, *_ in block.rows]
    (fold,) = [block for block in blocks if isinstance(block, Fold) and "all zero" in in_language(block.title, "en")]
    folded = [cell.sub for block in fold.blocks if isinstance(block, Table) for cell, *_ in block.rows]
    assert folded == ["empty"]
    assert "empty" not in shown
    assert "looping" in shown, "the base model loops"
