"""What the report says about runs of all kinds: whole, unfinished, broken; and what it must not say."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import fake_tool
import pytest
import report_runs

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.wording import in_language
from alphaf_orch.inputs.identity import folder_identity
from alphaf_orch.report.blocks import Cards, Figure, Note, Report, SideBySide, Table, flatten
from alphaf_orch.report.html import render_html
from alphaf_orch.report.markdown import render_markdown
from alphaf_orch.report.run.content import comparison_of, report_of
from alphaf_orch.scores.loaded import load_run


@pytest.fixture
def whole(tmp_path) -> RunPaths:
    """A finished run with scores of three stages and a judged comparison."""
    run = report_runs.make_run(runs_dir() / "한글-실행")
    report_runs.add_scores(run, ("base", "sft", "dpo"))
    report_runs.add_judge(run)
    return run


def warnings(report: Report) -> list[tuple[str | None, str]]:
    (section,) = [section for section in report.sections if section.id == "warnings"]
    return [
        (block.level, f"{in_language(block.where, 'en')}: {in_language(block.text, 'en')}")
        for block in section.blocks
        if isinstance(block, Note) and block.level
    ]


def blocks_of(report: Report, kind: type) -> list:
    return [b for section in report.sections for b in flatten(section.blocks) if isinstance(b, kind)]


def change_manifest(run: RunPaths, change) -> None:
    manifest = json.loads(run.manifest.read_text("utf-8"))
    change(manifest)
    run.manifest.write_text(json.dumps(manifest), "utf-8")


def test_a_whole_run_has_every_section(whole):
    report = report_of([whole])
    ids = [section.id for section in report.sections]
    assert ids == ["summary", "warnings", "chain", "scores", "judge", "cases", "curves", "data", "lineage"]
    english = render_markdown(report, "en")
    for fact in (
        "한글-실행", "HuggingFaceTB/SmolLM2-135M-Instruct", "Apache-2.0", "2026-11-24 12:18 UTC", "6.3 GiB", "1:29",
        "2.010 → 1.410", "8fb8df77a4839326136c0d809ad4fa7c312b3302", "122,696", "17 (4.3%)", "08" * 32, "ab" * 32,
        "axolotl | 0.19.0",
    ):  # fmt: skip
        assert fact in english, fact


def test_curves_are_drawn_for_what_was_measured(whole):
    figures = {figure.id: figure for figure in blocks_of(report_of([whole]), Figure)}
    assert set(figures) == {
        "score-bars-0-0", "curve-sft-loss", "curve-sft-learning_rate", "curve-sft-grad_norm", "curve-dpo-loss",
        "curve-dpo-learning_rate", "curve-dpo-grad_norm", "curve-dpo-rewards-margins",
        "curve-dpo-rewards-accuracies", "curve-dpo-rewards-chosen",
    }  # fmt: skip
    loss = figures["curve-sft-loss"]
    assert [len(trace["x"]) for trace in loss.data] == [12, 2]
    assert [in_language(name, "en") for name in loss.names] == ["training loss", "eval loss"]


def test_many_tasks_are_all_plotted(whole):
    for i in range(30):
        samples = [report_runs.sample(f"q{n}", float(n % 2)) for n in range(50)]
        report_runs.add_result(whole, "sft", f"kmmlu_{i:02}", samples)
    report = report_of([whole])
    bars = [figure for figure in blocks_of(report, Figure) if figure.id.startswith("score-bars")]
    assert [len(figure.ticks) for figure in bars] == [12, 12, 9]
    assert len({tick for figure in bars for tick in figure.ticks}) == 33
    (cards,) = blocks_of(report, Cards)
    assert [in_language(card.value, "en") for card in cards.items[-3:]] == ["25", "8 / 8", "3"]


def test_a_resumed_training_shows_each_step_once(whole):
    lines = [json.loads(line) for line in whole.metrics("dpo").read_text("utf-8").splitlines()]
    again = [{**line, "loss": 9.0} for line in lines if line["step"] in (5, 6)]
    report_runs.write_lines(whole.metrics("dpo"), [*lines[:6], *again, *lines[6:]])
    (loss,) = [figure for figure in blocks_of(report_of([whole]), Figure) if figure.id == "curve-dpo-loss"]
    assert list(loss.data[0]["x"]) == list(range(1, 9))
    assert [loss.data[0]["y"][i] for i in (4, 5)] == [9.0, 9.0]


def test_a_long_curve_is_thinned_and_keeps_its_spikes_and_gaps(whole):
    rows = [{"step": i, "time": 0.0, "max_steps": 9000, "loss": 1.0} for i in range(9000)]
    rows[4567]["loss"] = 99.0
    rows[7000]["loss"] = None
    report_runs.write_lines(whole.metrics("sft"), rows)
    (loss,) = [figure for figure in blocks_of(report_of([whole]), Figure) if figure.id == "curve-sft-loss"]
    (trace,) = loss.data
    assert len(trace["x"]) < 3100
    assert max(y for y in trace["y"] if y is not None) == 99.0
    assert None in trace["y"]


def test_cases_show_prompts_without_markers_and_both_answers(whole):
    report = report_of([whole], cases=2)
    cases = [case for case in blocks_of(report, SideBySide) if "mcq" in in_language(case.title, "en")]
    assert len(cases) == 8  # 2 better and 2 worse, from base to sft and from sft to dpo
    titles = [in_language(case.title, "en") for case in cases]
    assert titles[:4] == [*sorted(titles[:2]), *sorted(titles[2:4])]
    case = cases[0]
    assert [in_language(turn.role, "en") for turn in case.turns] == ["system", "user", "assistant"]
    assert "<|im_" not in "".join(turn.text for turn in case.turns)
    assert [answer.tone for answer in case.answers] == ["bad", "good"]
    assert case.answers[1].text == case.gold != case.answers[0].text
    assert blocks_of(report_of([whole], cases=0), SideBySide) == []


def test_judged_conversations_carry_the_reason(whole):
    judged = [c for c in blocks_of(report_of([whole]), SideBySide) if "preferred" in in_language(c.title, "en")]
    assert judged
    for case in judged:
        assert report_runs.REASON in in_language(case.remark, "ko")
        assert {answer.text for answer in case.answers} != {"–"}
        assert case.turns
    winners = {in_language(case.title, "en").split()[0] for case in judged}
    assert winners == {"DPO", "SFT"}


def test_answers_made_anew_since_the_verdict_are_not_shown(whole):
    from alphaf_orch.judging.prompts import EMBEDDED

    path = whole.answers("dpo", EMBEDDED)
    path.write_text(path.read_text("utf-8").replace("차근차근", "대충대충"), "utf-8")
    judged = [c for c in blocks_of(report_of([whole]), SideBySide) if "preferred" in in_language(c.title, "en")]
    assert {case.answers[0].text for case in judged} == {"–"}


def test_a_biased_judge_and_one_nobody_can_read_are_warned_of(whole):
    report_runs.add_judge(whole, bias=0.9)
    path = whole.judge("dpo-vs-sft") / "verdicts.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row in rows[:20]:
        row["winner"] = None
    report_runs.write_lines(path, rows)
    from alphaf_orch.judging.summary import write_summary

    write_summary(path.parent, "dpo", "sft")
    texts = [text for _, text in warnings(report_of([whole])) if text.startswith("Judge")]
    assert any("position bias" in text for text in texts)
    assert any("unreadable verdicts: 20 of" in text for text in texts)
    assert any("not judged in both orders" in text for text in texts)


def test_a_clean_run_is_told_only_what_is_true(whole):
    assert [(level, text.split(": ")[0]) for level, text in warnings(report_of([whole]))] == [
        ("warning", "data check"),
        ("warning", "preference data check"),
        ("warning", "base · Answers with citations"),
    ]


@pytest.mark.parametrize(
    ("entry", "level", "said"),
    [
        ({"state": "failed", "error": "dpo exited with 1"}, "error", "DPO training: the stage failed: dpo exited"),
        ({"state": "interrupted"}, "warning", "DPO training: the stage was interrupted"),
        ({"state": "running"}, "warning", "DPO training: no record of the stage's end"),
    ],
)
def test_a_stage_that_did_not_end_well_is_warned_of(whole, entry, level, said):
    change_manifest(whole, lambda manifest: manifest["stages"]["dpo"].update(entry))
    assert any(found == level and text.startswith(said) for found, text in warnings(report_of([whole])))


def test_broken_contracts_nan_losses_overfitting_and_dirty_code_are_warned_of(whole):
    contract = {"ok": False, "lines": [{"line": "eos_pad", "ok": False, "detail": "no pad"}]}
    report_runs.write(whole.report("merge_dpo"), json.dumps(contract))
    rows = [json.loads(line) for line in whole.metrics("sft").read_text("utf-8").splitlines()]
    rows[5] |= {"loss": None, "non_finite": ["loss"]}
    rows[-1]["eval_loss"] = 2.5
    report_runs.write_lines(whole.metrics("sft"), rows)
    change_manifest(whole, lambda manifest: manifest.update(git_dirty=True))
    found = warnings(report_of([whole]))
    assert found[0][0] == "error"  # the gravest first
    texts = [text for _, text in found]
    assert "DPO adapter merge: hand-off contract broken: eos_pad · no pad" in texts
    assert "| eos_pad | – | ✕ broken |" in render_markdown(report_of([whole]), "en")
    assert "| tokenizer | ○ holds | – |" in render_markdown(report_of([whole]), "en")
    assert any("loss is not finite (NaN or infinite): 1 time(s), first at step 5" in text for text in texts)
    assert any("eval loss rose again: 1.610 at step 0, 2.500 at the end" in text for text in texts)
    assert any("uncommitted changes" in text for text in texts)


def test_what_eval_warned_of_few_rows_and_other_prompts_are_passed_on(whole):
    report_runs.add_result(whole, "base", "quiz", [report_runs.sample(f"q{i}", 1.0) for i in range(9)])
    report_runs.add_result(
        whole, "sft", "quiz", [report_runs.sample(f"q{i}", 1.0, prompt="딴 문제") for i in range(9)], ["no template"]
    )
    texts = [text for _, text in warnings(report_of([whole]))]
    assert "SFT · quiz: no template" in texts
    assert "base · quiz, SFT · quiz: only 9 rows: wide intervals, small differences cannot be shown" in texts
    assert "quiz · base → SFT: other prompts for the same rows: 9" in texts


def test_scores_of_a_model_that_is_there_no_more_are_warned_of(whole):
    merged = whole.merged("sft") / "model.safetensors"
    fake_tool.safetensors(merged)
    fake_tool.safetensors(whole.adapter("sft") / "adapter_model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        report_runs.write(merged.parent / name, "{}")
    (stale,) = [text for level, text in warnings(report_of([whole])) if level == "error"]
    assert stale.startswith("SFT · Finance questions with four options")
    assert stale.endswith("the scores are not of the model in the folder now: it changed after the evaluation")
    identity = folder_identity(merged.parent)
    for path in (whole.root / "eval" / "sft").glob("*.json"):
        values = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**values, "model": {"identity": identity}}), "utf-8")
    assert "error" not in [level for level, _ in warnings(report_of([whole]))]


def test_scores_under_an_earlier_version_s_name_of_a_model_are_left_out_and_said(whole):
    other = report_runs.make_run(runs_dir() / "다른-실행")
    report_runs.add_scores(other, ("sft",))
    shown = len(blocks_of(comparison_of(whole, other), Table))
    for path in (whole.root / "eval" / "sft").glob("*.json"):
        values = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**values, "model": {"identity": f"local:{'0' * 32}"}}), "utf-8")
    said = "scores of an earlier version may be another model's and are left out: run `alphaf eval` again"
    (stale,) = [text for level, text in warnings(report_of([whole])) if level == "error"]
    assert stale.startswith("SFT · Finance questions with four options")
    assert stale.endswith(said)
    loaded = load_run(whole)
    assert list(loaded.scored) == ["base", "dpo"]
    assert len(loaded.disbelieved["sft"]) == len(loaded.scored["dpo"])
    compared = comparison_of(whole, other)
    (note,) = [note for note in blocks_of(compared, Note) if note.level == "error"]
    assert (in_language(note.text, "en"), in_language(note.where, "en")[:18]) == (said, "한글-실행 · SFT · Fina")
    assert len(blocks_of(compared, Table)) <= shown


def test_unlike_results_are_warned_of_in_place(whole):
    report_runs.add_scores(whole, ("dpo",), limit=120)
    report = report_of([whole])
    (scores,) = [section for section in report.sections if section.id == "scores"]
    said = [in_language(b.text, "en") for b in scores.blocks if isinstance(b, Note) and b.level == "warning"]
    expected = "Finance questions with four options · SFT → DPO · not compared · other settings: limit None ≠ 120"
    assert expected in said
    assert "✕ not compared" in render_markdown(report, "en")


def test_recipe_changes_name_their_origin(whole):
    (table,) = [
        block
        for block in blocks_of(report_of([whole]), Table)
        if in_language(block.caption, "en") == "What differs from the SFT recipe"
    ]
    assert [[in_language(cell.text, "en") for cell in row] for row in table.rows] == [
        ["bf16", "false", "true", "hardware/cpu.yaml"],
        ["max_steps", "12", "null", "model smollm2"],
        ["eval_causal_lm_metrics", "[chrf]", "–", "yours"],
    ]


def test_no_folder_of_a_user_and_no_host_is_in_a_report(whole, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "h100-서울")
    change_manifest(
        whole,
        lambda manifest: manifest["stages"]["dpo"].update(
            state="failed", error=f"no file {Path.home()}/비밀 폴더/x.json on {platform.node()}, see {whole.root}/logs"
        ),
    )
    page = render_markdown(report_of([whole]), "en")
    assert "no file \\~/비밀 폴더/x.json on host, see logs" in page
    for private in ("/home/kim", str(Path.home()) + "/", str(whole.root), str(runs_dir()), platform.node()):
        assert private not in page, private
    assert "…/금융.jsonl" in page
    assert "python -m sft rendered/sft.yaml" in page


def test_a_comparison_hides_the_same(whole, other):
    report_runs.write(whole.config, "model: smollm2\ndatasets: [{path: /home/kim/비밀/a.jsonl, type: chat_template}]\n")
    page = render_markdown(comparison_of(whole, other), "en")
    assert "…/a.jsonl" in page
    assert "/home/kim" not in page


def test_a_run_with_nothing_but_a_manifest_is_reported_honestly(tmp_path):
    run = RunPaths(runs_dir() / "막-시작")
    report_runs.write(run.manifest, json.dumps({"format": 1, "stages": {}}))
    report = report_of([run])
    english = render_markdown(report, "en")
    for said in ("SFT training · not run yet", "No scores yet", "No training metrics yet", "No data statistics yet"):
        assert said in english
    assert "0 / 0" in english
    assert render_html(report, "ko").count("<section") == 6


def test_an_unfinished_run_with_half_a_line_of_metrics(whole):
    with whole.metrics("sft").open("a", encoding="utf-8") as file:
        file.write('{"step": 13, "lo')
    assert [len(f.data[0]["x"]) for f in blocks_of(report_of([whole]), Figure) if f.id == "curve-sft-loss"] == [12]


@pytest.mark.parametrize("broken", ["eval/sft/finance_ko_mcq.jsonl", "reports/data.json", "metrics/sft.jsonl"])
def test_a_broken_file_is_named(whole, broken):
    report_runs.write(whole.root / broken, "{nonsense\n")
    with pytest.raises(RunStateError) as error:
        report_of([whole])
    assert broken in error.value.where


def test_votes_are_shown(whole):
    share = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 50, "note": None}
    stage = {"rows": 50, "without_vote": 0, "right": 40, "share": share, "unanimous": 0.9}
    report_runs.write(
        whole.judge("votes-rag") / "summary.json", json.dumps({"source": "rag", "stages": {"sft": stage}})
    )
    english = render_markdown(report_of([whole]), "en")
    assert "Votes against the gold answer (O/X) · rag" in english
    assert "80.0%<br>\\[70.0%, 90.0%\\]" in english


@pytest.fixture
def other(whole) -> RunPaths:
    """A second run: another learning rate, other answers."""
    run = report_runs.make_run(runs_dir() / "둘째")
    report_runs.add_scores(run, ("base", "sft"), seed=2)
    change_manifest(run, lambda m: m["stages"]["sft"]["spec"]["recipe"].update(learning_rate=1e-4))
    return run


def test_a_comparison_shows_only_what_differs(whole, other):
    report = comparison_of(whole, other)
    tables = {in_language(table.caption, "en"): table for table in blocks_of(report, Table)}
    rows = [[in_language(cell.text, "en") for cell in row] for row in tables["SFT recipe"].rows]
    assert rows == [["learning_rate", "0.0002", "0.0001"]]
    assert "DPO recipe" not in tables
    assert "Settings" not in tables


def test_a_comparison_pairs_the_same_stages(whole, other):
    report = comparison_of(whole, other)
    english = render_markdown(report, "en")
    assert "SFT · Finance questions with four options · finance\\_ko\\_mcq" in english.replace(
        "finance_ko_mcq", "finance\\_ko\\_mcq"
    )
    assert "둘째 (vs 한글-실행)" in english
    overlaid = [figure for figure in blocks_of(report, Figure) if figure.id == "compare-sft-loss"]
    assert [in_language(name, "en") for name in overlaid[0].names] == [
        "한글-실행 · training loss", "한글-실행 · eval loss", "둘째 · training loss", "둘째 · eval loss",
    ]  # fmt: skip
    assert any(
        "둘째 · SFT" in in_language(a.label, "en") for case in blocks_of(report, SideBySide) for a in case.answers
    )


def test_two_runs_were_trained_once_each_so_only_their_rows_can_be_said_to_differ(whole, other):
    report_runs.add_result(whole, "sft", "quiz", [report_runs.sample(f"q{i}", 0.0) for i in range(60)])
    report_runs.add_result(other, "sft", "quiz", [report_runs.sample(f"q{i}", 1.0) for i in range(60)])
    for stage in ("base",):
        report_runs.add_result(whole, stage, "quiz", [report_runs.sample(f"q{i}", 0.0) for i in range(60)])
        report_runs.add_result(other, stage, "quiz", [report_runs.sample(f"q{i}", 1.0) for i in range(60)])
    english = render_markdown(comparison_of(whole, other), "en")
    rows = [line for line in english.splitlines() if "| quiz · accuracy |" in line]
    assert ["rows better, cause not known (one seed)" in line for line in rows if "SFT" in line] == [True]
    assert ["| better |" in line for line in rows if "base" in line] == [True], "no training of ours made a base model"
    assert "whether the setting did it cannot be known from one seed" in english
    within = render_markdown(report_of([other]), "en")
    assert "one seed" not in within, "the chain of one run is about its own models"


def test_the_same_base_model_is_not_compared_with_itself(whole, other):
    for run in (whole, other):
        path = run.eval_result("base", "finance_ko_mcq")
        values = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**values, "model": {"identity": "abc"}}), "utf-8")
    report = comparison_of(whole, other)
    pairs = [row for table in blocks_of(report, Table) if len(table.header) == 10 for row in table.rows]
    named = {(in_language(row[0].text, "en"), in_language(row[1].text, "en")) for row in pairs}
    task = "Finance questions with four options · accuracy"
    assert ("한글-실행 · base → 둘째 · base", task) not in named
    assert ("한글-실행 · SFT → 둘째 · SFT", task) in named


def test_several_runs_are_one_page_that_begins_with_the_comparison(whole, other):
    report = report_of([whole, other])
    assert [section.id for section in report.sections][:5] == [
        "compare-verdict", "compare-differences", "compare-stages", "compare-scores", "compare-curves",
    ]  # fmt: skip
    assert {section.group for section in report.sections} == {"한글-실행 · 둘째", "한글-실행", "둘째"}
    ids = [section.id for section in report.sections] + [figure.id for figure in blocks_of(report, Figure)]
    assert len(ids) == len(set(ids))


def test_the_command_writes_page_and_markdown(alphaf, whole, other):
    done = alphaf("report", "한글-실행")
    assert done.exit_code == 0
    assert done.output.split() == [str(whole.root / name) for name in ("report.html", "report.ko.md", "report.en.md")]
    assert all(Path(name).is_file() for name in done.output.split())
    assert whole.html_report.stat().st_size < 8_000_000
    newest = alphaf("report")
    assert newest.output.split()[0] == str(other.html_report)
    both = alphaf("report", "한글-실행", "둘째", "--output", "둘 다.html", "--lang", "en", "--cases", "1")
    assert both.output.splitlines() == ["둘 다.html", "둘 다.ko.md", "둘 다.en.md"]
    assert '<html lang="en" data-lang="en">' in Path("둘 다.html").read_text("utf-8")
    compared = alphaf("compare", "한글-실행", "둘째")
    assert compared.output.split()[0] == str(whole.root / "compare-둘째.html")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("report", "없는-실행"), 6, "there is no run 없는-실행"),
        (("compare", "한글-실행", "한글-실행"), 2, "a run is named twice"),
        (("report", "한글-실행", "--output", "/proc/x/report.html"), 2, "the report cannot be written"),
    ],
)
def test_what_cannot_be_reported_is_said(alphaf, whole, arguments, code, said):
    done = alphaf(*arguments)
    assert done.exit_code == code
    assert said in done.output


def test_without_any_run_there_is_nothing_to_report(alphaf):
    done = alphaf("report")
    assert (done.exit_code, "there is no run yet" in done.output) == (6, True)
