"""A bake-off's plan, criteria, ranking and report, on scores made up; the real one is in test_bakeoff_real.py."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from bakeoff_runs import MODELS, found, planned, support
from report_runs import add_result, make_run

from alphaf_orch.core.errors import ConfigError, ModelError
from alphaf_orch.core.paths import template_folders
from alphaf_orch.core.wording import in_language
from alphaf_orch.experiments.bakeoff.answers import sheet_prompts
from alphaf_orch.experiments.bakeoff.criteria import COUNTS, Criterion, Part, complete, versatility_parts
from alphaf_orch.experiments.bakeoff.plan import BakeoffAsked, plan_bakeoff
from alphaf_orch.experiments.bakeoff.ranking import leaders, parse_weights, rank, sensitivity
from alphaf_orch.report.bakeoff.page import bakeoff_report
from alphaf_orch.report.blocks import Note, SideBySide, Table, flatten
from alphaf_orch.report.html import render_html
from alphaf_orch.report.markdown import render_markdown
from alphaf_orch.scores.compare import mismatch
from alphaf_orch.scores.loaded import load_run
from alphaf_orch.scores.results import Sample

EQUAL = {"versatility": 1.0, "korean": 1.0, "performance": 1.0}


def criteria(**values: tuple[float | None, float | None, float | None]) -> dict[str, dict[str, Criterion]]:
    return {
        name: {key: Criterion(key, value, ()) for key, value in zip(EQUAL, each, strict=True)}
        for name, each in values.items()
    }


def test_every_arm_is_the_same_but_for_its_model() -> None:
    arms = planned(sets=("max_steps=3",)).experiment.arms
    assert [arm.config.model for arm in arms] == list(MODELS)
    rest = [arm.config.model_dump(exclude={"model"}) for arm in arms]
    assert rest[0] == rest[1] == rest[2]
    assert rest[0]["data"] == ("sample",) and rest[0]["sft"] == {"max_steps": 3}


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (BakeoffAsked(models=("tiny-eeve", "tiny-qewn")), ModelError, "no model is called 'tiny-qewn'"),
        (BakeoffAsked(models=("tiny-eeve",)), ConfigError, "two models or more"),
        (BakeoffAsked(models=("tiny-eeve", "tiny-eeve")), ConfigError, "named twice"),
        (BakeoffAsked(models=("tiny-eeve", "smollm2")), ConfigError, "different SFT data"),
        (BakeoffAsked(models=("tiny-eeve", "tiny-qwen"), elsewhere=("finance-ko",)), ConfigError, "on both sides"),
        (
            BakeoffAsked(models=("tiny-eeve", "tiny-qwen"), elsewhere=("general-kr",)),
            ConfigError,
            "no suite general-kr",
        ),
        (BakeoffAsked(models=("tiny-eeve", "tiny-qwen"), sets=("dpo.beta=0.1",)), ConfigError, "no DPO"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_starts(asked: BakeoffAsked, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        plan_bakeoff(asked)


def test_the_command_refuses_an_unknown_model_and_writes_nothing(alphaf, tmp_path: Path) -> None:
    done = alphaf("bakeoff", "--models", "tiny-eeve,없는모델")
    assert done.exit_code == 4 and "없는모델" in done.output
    assert not (tmp_path / "실행").exists()


def test_a_dry_run_shows_the_same_commands_for_every_arm_and_writes_nothing(alphaf, tmp_path: Path) -> None:
    done = alphaf("bakeoff", "--models", ",".join(MODELS), "--name", "trio", "--limit", "4", "--dry-run", "--full")
    assert done.exit_code == 0, done.output
    for name in MODELS:
        assert f"--run trio/{name} --config" in done.output
        assert f"--run trio/{name} --stages base,sft --suite finance-ko --suite general-ko --limit 4" in done.output
    assert not (tmp_path / "실행").exists()


def test_versatility_counts_each_library_once_and_leaves_out_what_is_not_installed() -> None:
    parts = {name: versatility_parts(each["answers"], "Apache-2.0") for name, each in support()["candidates"].items()}
    made = complete(parts, "versatility")
    assert made["tiny-eeve"].value == 1.0
    # transformers, axolotl, mergekit and lm-eval by our own count half, the licence is permissive.
    assert made["tiny-orion"].value == pytest.approx((4 * COUNTS["own"] + 1) / 5)
    assert [part.name for part in made["tiny-eeve"].lacking] == ["unsloth"]


def test_a_part_that_only_one_candidate_lacks_leaves_its_criterion_empty_and_not_low() -> None:
    parts = {"a": (Part("x", 1.0), Part("y", 0.2)), "b": (Part("x", 1.0), Part("y", None, "the arm failed"))}
    made = complete(parts, "korean")
    assert made["a"].value == pytest.approx(0.6)
    assert made["b"].value is None and [part.why for part in made["b"].lacking] == ["the arm failed"]


def test_the_three_criteria_come_from_the_scores_as_stated() -> None:
    own = found().criteria()["tiny-qwen"]
    # The mean of 0.7 (base on general Korean), 1 / (1 + 1 token a syllable) and 1 - 0.1 wrong answers.
    assert own["korean"].value == pytest.approx((0.7 + 0.5 + 0.9) / 3)
    # 0.8 after SFT, less the 0.4 that it cost elsewhere.
    assert own["performance"].value == pytest.approx(0.8 - 0.4)


def test_a_result_under_another_limit_is_no_result() -> None:
    whole, limited = found(), found(limit=8)
    assert whole.criteria()["tiny-qwen"]["performance"].value is not None
    assert limited.criteria()["tiny-qwen"]["performance"].value is None


def test_equal_totals_share_a_place_and_the_next_place_is_left_out() -> None:
    places = rank(criteria(a=(0.5, 0.5, 0.5), b=(0.4, 0.5, 0.6), c=(0.1, 0.1, 0.1)), EQUAL)
    assert [(place.candidate, place.place) for place in places] == [("a", 1), ("b", 1), ("c", 3)]
    assert leaders(criteria(a=(0.5, 0.5, 0.5), b=(0.4, 0.5, 0.6)), EQUAL) == ("a", "b")


def test_a_candidate_without_a_criterion_is_placed_on_what_it_has_and_never_by_a_zero() -> None:
    places = {p.candidate: p for p in rank(criteria(a=(0.5, 0.5, 0.5), b=(0.9, None, None), c=(1.0, 0.1, 0.1)), EQUAL)}
    assert places["a"].place == 1 and places["a"].whole and places["a"].of == 2
    lacking = places["b"]
    assert not lacking.whole and (lacking.place, lacking.of, lacking.has) == (2, 3, ("versatility",))
    assert lacking.total == pytest.approx(0.9)
    nothing = rank(criteria(a=(0.5, 0.5, 0.5), d=(None, None, None)), EQUAL)[-1]
    assert nothing.candidate == "d" and nothing.place is None and nothing.total is None


def test_sensitivity_says_whose_lead_hangs_on_one_weight() -> None:
    values = criteria(a=(0.9, 0.5, 0.5), b=(0.5, 0.5, 0.8))
    by = {(each.criterion, each.factor): each.leaders for each in sensitivity(values, EQUAL)}
    assert leaders(values, EQUAL) == ("a",)
    assert by["performance", 2.0] == ("b",) and by["versatility", 0.5] == ("b",)
    assert by["korean", 2.0] == by["korean", 0.5] == by["versatility", 2.0] == ("a",)
    assert ("korean", 2.0) not in {(e.criterion, e.factor) for e in sensitivity(values, {**EQUAL, "korean": 0.0})}


def test_weights_are_read_and_bad_ones_refused() -> None:
    assert parse_weights(None) == EQUAL
    assert parse_weights("korean=2, performance=0.5") == {**EQUAL, "korean": 2.0, "performance": 0.5}
    for bad in ("quality=1", "korean=많이", "korean", "korean=-1", "korean=nan", "korean=1,korean=2",
                "versatility=0,korean=0,performance=0"):  # fmt: skip
        with pytest.raises(ConfigError):
            parse_weights(bad)


def test_the_sheet_meets_another_category_with_each_prompt_and_grows_without_changing() -> None:
    prompts = sheet_prompts(template_folders()).prompts
    first = prompts[:12]
    assert len({prompt.category for prompt in first}) == 12
    assert all(len(prompt.turns) == 1 for prompt in prompts)
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 90


def rows_of(table: Table) -> dict[str, list[str]]:
    return {in_language(row[0].text, "en"): [in_language(cell.text, "en") for cell in row[1:]] for row in table.rows}


def test_the_report_has_ranking_quantities_answers_and_evidence_in_both_languages() -> None:
    report = bakeoff_report(found(), EQUAL, chosen=False)
    sections = {section.id: section.blocks for section in report.sections}
    assert {
        "ranking",
        "quantities",
        "gain",
        "forgetting",
        "sheet",
        "evidence",
        "compare-differences",
    } <= sections.keys()
    assert "failed" not in sections
    ranking = next(block for block in sections["ranking"] if isinstance(block, Table))
    assert [in_language(row[1].text, "en") for row in ranking.rows] == ["tiny-eeve", "tiny-qwen", "tiny-orion"]
    tables = [block for block in sections["quantities"] if isinstance(block, Table)]
    performance = rows_of(tables[2])
    assert performance["Gain by SFT"] == ["+40.0 pt", "+40.0 pt", "+20.0 pt"]
    assert performance["Change elsewhere (forgetting)"] == ["0.0 pt", "−40.0 pt", "0.0 pt"]
    cells = next(row for row in tables[2].rows if in_language(row[0].text, "en").startswith("Change elsewhere"))
    assert [cell.tone for cell in cells[1:]] == ["plain", "bad", "plain"]
    sheet = [block for block in sections["sheet"] if isinstance(block, SideBySide)]
    assert len(sheet) == 2 and [in_language(a.label, "en") for a in sheet[0].answers] == [f"{m} · SFT" for m in MODELS]
    evidence = next(block for block in sections["evidence"] if isinstance(block, Table))
    assert len(evidence.rows) == 3 * 8
    page = render_html(report, "ko")
    assert "&lt;b&gt;3.5%&lt;/b&gt;" in page and "<b>3.5%</b>" not in page
    korean, english = (render_markdown(report, language) for language in ("ko", "en"))
    assert "한국어 능력" in korean and "Korean ability" in english and "공동" not in korean


def test_a_failed_arm_is_said_in_place_and_leaves_the_others_their_ranking() -> None:
    findings = found(broken="tiny-qwen")
    report = bakeoff_report(findings, EQUAL, chosen=True)
    sections = {section.id: section.blocks for section in report.sections}
    failed = [block for block in sections["failed"] if isinstance(block, Note)]
    assert [note.where for note in failed] == ["tiny-qwen"] and "not here" in in_language(failed[0].text, "en")
    assert "/home/kim" not in render_markdown(report, "en")
    places = rank(findings.criteria(), EQUAL)
    assert [(p.candidate, p.place, p.whole) for p in places][:2] == [("tiny-eeve", 1, True), ("tiny-orion", 2, True)]
    assert places[2].candidate == "tiny-qwen" and not places[2].whole and places[2].has == ("versatility",)
    for table in (block for block in sections["quantities"] if isinstance(block, Table)):
        for row in table.rows:
            for cell in row[1:]:
                assert in_language(cell.text, "en").strip()
                if in_language(cell.text, "en") == "not measured":
                    assert in_language(cell.sub, "en").strip(), in_language(row[0].text, "en")


def test_what_could_not_be_asked_is_said_in_every_cell_and_fails_nothing_else() -> None:
    whole = found()
    findings = type(whole)(
        **{**vars(whole), "support": {}, "failed": {"native_support": "native_support exited with 1"}}
    )
    report = bakeoff_report(findings, EQUAL, chosen=False)
    table = next(
        b for b in flatten(next(s for s in report.sections if s.id == "quantities").blocks) if isinstance(b, Table)
    )
    assert all("exited with 1" in in_language(cell.sub, "en") for cell in table.rows[0][1:])
    own = findings.criteria()["tiny-eeve"]
    assert own["performance"].value is not None and own["korean"].value is not None


def test_unsloths_fast_paths_are_read_from_its_source_and_not_from_a_list_of_ours() -> None:
    source = """
class FastLanguageModel:
    def from_pretrained(model_type):
        if model_type == "llama":
            dispatch_model = FastLlamaModel
        elif model_type == "qwen2":
            if not NEW:
                raise ImportError
            dispatch_model = FastQwen2Model
        elif model_type == "whisper":
            other = 1
        else:
            return FastModel.from_pretrained(model_type)
class Another:
    def from_pretrained(model_type):
        if model_type == "bert":
            dispatch_model = FastBertModel
"""
    from alphaf_orch.programs.facts.native_questions import dispatched

    assert list(dispatched(ast.parse(source))) == ["llama", "qwen2"]


class WordTokenizer:
    """A tokenizer of whole words with a word mark, as far as the figures ask it."""

    unk_token_id = 0
    entries = ("<unk>", "<0xEA>", "▁금리", "▁상품", "금", "리", "▁는", "\ufffd")

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        known = {entry: number for number, entry in enumerate(self.entries)}
        spelt = {"▁오르다": [1, 1, 7]}  # what it has no entry for: two bytes and half a character
        return {"input_ids": [n for word in text.split() for n in spelt.get(f"▁{word}", [known.get(f"▁{word}", 0)])]}

    def __len__(self) -> int:
        return len(self.entries)

    def decode(self, ids: list[int]) -> str:
        return "".join(self.entries[number].replace("▁", " ") for number in ids)

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.entries[number] for number in ids]


def test_the_tokenizers_figures_are_those_counted_by_hand(tmp_path: Path) -> None:
    from alphaf_orch.programs.facts.tokenizer_facts import facts, korean_text

    text = tmp_path / "글.jsonl"
    rows = [{"question": "금리는 3.5%", "choices": ["금리", "ETF 상품"]}, {"turns": ["오르다!"]}]
    text.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert korean_text([str(text)]) == "금리는 금리 상품 오르다"
    made = facts(WordTokenizer(), "금리는 금리 상품 오르다")
    # 금리는 is unknown; 금리 and 상품 are an entry each; 오르다 is three pieces.
    assert made["tokens"] == 6 and made["pieces"] == pytest.approx(4 / 6)
    assert made["tokens_per_syllable"] == pytest.approx(6 / 10)
    # 금, 리 and 는 have an entry of their own: 금 2, 리 2, 는 1 of 10 syllables.
    assert made["one_token_syllables"] == pytest.approx(5 / 10)


def test_a_base_and_an_sft_model_that_end_by_other_markers_are_compared(tmp_path: Path) -> None:
    """A Qwen base ends at `<|endoftext|>`, its SFT at `<|im_end|>`: the model's own, and no other way of asking."""
    run = make_run(tmp_path / "run")
    asked = {"do_sample": False, "max_gen_toks": 192}
    rows = [Sample(f"q-{i}", "문제", "답", "정답", {"acc": float(i % 2)}) for i in range(8)]
    add_result(run, "base", "quiz", rows, generation={**asked, "eos_token_id": [1000, 1002]})
    add_result(run, "sft", "quiz", rows, generation=asked)
    add_result(run, "dpo", "quiz", rows, generation={**asked, "max_gen_toks": 64})
    scored = load_run(run).scored
    assert mismatch(scored["base"]["quiz"], scored["sft"]["quiz"]) == ""
    assert "max_gen_toks" in in_language(mismatch(scored["sft"]["quiz"], scored["dpo"]["quiz"]), "en")
