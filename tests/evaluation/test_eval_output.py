"""lm-eval's files read as scores and samples, in the form that lm-eval 0.4.11 writes them."""

import json
import os

import pytest

from alphaf_orch.core.errors import StageError
from alphaf_orch.evaluation.lm_eval_output import read_metrics, read_output, read_samples

TIME = "2026-11-24T12-56-14.180546"
CHAT = "<|im_start|>user\n질문<|im_end|>\n<|im_start|>assistant\n"


def line(number, doc, *, filters="none", **values):
    return {
        "doc_id": number,
        "doc": doc,
        "target": "목표",
        "arguments": {"gen_args_0": {"arg_0": CHAT, "arg_1": {"until": []}}},
        "resps": [["답"]],
        "filtered_resps": ["답"],
        "filter": filters,
        "metrics": list(values),
        "doc_hash": f"{number:064x}",
        **values,
    }


def choice(number, doc, target, likelihoods, sent, **values):
    return {
        **line(number, doc, **values),
        "target": str(target),
        "arguments": {f"gen_args_{i}": {"arg_0": CHAT, "arg_1": text} for i, text in enumerate(sent)},
        "resps": [[[str(value), "False"]] for value in likelihoods],
        "filtered_resps": [[str(value), "False"] for value in likelihoods],
    }


@pytest.fixture
def wrote(tmp_path):
    def write(scores, lines, *, planned=None, better=None):
        count = len({row["doc_id"] for row in lines}) if planned is None else planned
        values = {
            "results": {"t": {"alias": "t", **scores}},
            "higher_is_better": {"t": better or {}},
            "n-samples": {"t": {"original": 99, "effective": count}},
        }
        (tmp_path / f"results_{TIME}.json").write_text(json.dumps(values), encoding="utf-8")
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines)
        (tmp_path / f"samples_t_{TIME}.jsonl").write_text(text, encoding="utf-8")
        # A task whose name goes on where this one's ends.
        (tmp_path / f"samples_t_2_{TIME}.jsonl").write_text("not ours\n", encoding="utf-8")
        return read_output(tmp_path)

    return write


def test_scores_with_their_errors_the_main_one_first(wrote):
    scores = {
        "length_chars,none": 41.5, "length_chars_stderr,none": 2.0,
        "citation_format,none": 0.5, "citation_format_stderr,none": 0.25,
        "macro_f1,none": 0.4, "macro_f1_stderr,none": "N/A",
    }  # fmt: skip
    better = {"citation_format": True, "length_chars": None, "macro_f1": True}
    output = wrote(scores, [line(0, {}), line(1, {})], better=better)
    found = read_metrics(output, "t", "citation_format")
    assert list(found) == ["citation_format", "length_chars", "macro_f1"]
    first = found["citation_format"]
    assert (first.value, first.stderr, first.n, first.higher_is_better) == (0.5, 0.25, 2, True)
    assert found["length_chars"].higher_is_better is None
    assert found["macro_f1"].stderr is None


def test_a_filter_is_named_where_there_are_several(wrote):
    scores = {"exact_match,strict": 0.0, "exact_match,flexible": 1.0}
    lines = [
        line(0, {"id": "a"}, filters="strict", exact_match=0.0),
        line(0, {"id": "a"}, filters="flexible", exact_match=1.0),
    ]
    output = wrote(scores, lines)
    assert list(read_metrics(output, "t", "exact_match")) == ["exact_match", "exact_match[flexible]"]
    (sample,) = read_samples(output, "t", {})
    assert sample.scores == {"exact_match": 0.0, "exact_match[flexible]": 1.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "N/A", None, True])
def test_a_score_that_is_no_number_is_an_error(wrote, value):
    output = wrote({"acc,none": value}, [line(0, {})])
    with pytest.raises(StageError, match="the score acc of t is not a number"):
        read_metrics(output, "t", "acc")


def test_a_generation_is_kept_as_it_was_said(wrote):
    row = line(0, {"id": "r1", "topic": "금리", "long": "가" * 500, "golden": 2}, citation_format=True, macro_f1=[1, 2])
    row["filtered_resps"] = ["2"]
    (sample,) = read_samples(wrote({"citation_format,none": 1.0}, [row]), "t", {"output_type": "generate_until"})
    assert (sample.id, sample.prompt, sample.answer, sample.gold) == ("r1", CHAT, "답", "목표")
    assert sample.scores == {"citation_format": 1.0}, "what only counts over all rows is no score of one"
    assert sample.details == {"topic": "금리", "golden": 2, "filtered": "2"}


def test_chat_completions_keep_their_messages_as_the_prompt(wrote):
    row = line(0, {"id": "r1"}, exact_match=1.0)
    row["arguments"]["gen_args_0"]["arg_0"] = ['[{"role": "user", "content": "질문"}]']
    (sample,) = read_samples(wrote({"exact_match,none": 1.0}, [row]), "t", {})
    assert sample.prompt == '[{"role": "user", "content": "질문"}]'


@pytest.mark.parametrize(
    ("doc", "column", "target", "sent", "answer", "gold"),
    [
        # A position; letters are shown with the row's own words.
        ({"choices": ["예금", "적금", "펀드"], "answer": 2}, "answer", 2, ["A", "B", "C"], "B. 적금", "C. 펀드"),
        # The option's own text in a column.
        ({"label": "중립"}, "label", "중립", ["긍정", "부정", "중립"], "부정", "중립"),
        # Options that are numbers: a column's text is the option, a number its position.
        ({"gold": "3"}, "gold", "3", ["1", "2", "3", "4"], "2", "3"),
        ({"gold": 2}, "gold", 2, ["1", "2", "3", "4"], "2", "3"),
        ({}, "{{n}}", 0, [" 1", " 2"], "2", "1"),
    ],
)
def test_a_choice_is_shown_as_the_option_chosen(wrote, doc, column, target, sent, answer, gold):
    likelihoods = [-3.0, -0.25, *(-5.0 for _ in sent[2:])]
    row = choice(0, {"id": "m1", **doc}, target, likelihoods, sent, acc=0.0)
    config = {"output_type": "multiple_choice", "doc_to_target": column}
    (sample,) = read_samples(wrote({"acc,none": 0.0}, [row]), "t", config)
    assert (sample.answer, sample.gold) == (answer, gold)
    assert sample.details["logprobs"] == likelihoods


def test_an_options_own_likelihood_is_no_option(wrote):
    row = choice(0, {"id": "m"}, 1, [-1.0, -2.0, -0.1, -0.2], ["A", "B", "A", "B"], acc_mutual_info=1.0)
    for number in (2, 3):
        row["arguments"][f"gen_args_{number}"]["arg_0"] = ""
    config = {"output_type": "multiple_choice", "doc_to_target": "answer"}
    (sample,) = read_samples(wrote({"acc_mutual_info,none": 1.0}, [row]), "t", config)
    assert (sample.answer, sample.gold, sample.details["logprobs"]) == ("A", "B", [-1.0, -2.0])


def test_rows_come_in_their_order_each_with_an_id_of_its_own(wrote):
    """Ranks write one after the other; the same row twice in a data set is still two rows."""
    lines = [line(2, {"id": 7}), line(0, {"q": "x"}), line(3, {"id": 7}), line(1, {"id": 0})]
    samples = read_samples(wrote({"acc,none": 1.0}, lines), "t", {})
    assert [sample.id for sample in samples] == ["0" * 16, "0", "7", "7#2"]


@pytest.mark.parametrize(
    ("lines", "planned", "what"),
    [
        ([line(0, {}), line(1, {})], 3, "samples of 2 rows of t, 3 were planned"),
        ([line(0, {}), line(0, {}), line(1, {})], 2, "samples of 2 rows of t, 2 were planned"),
    ],
)
def test_missing_and_doubled_rows_are_errors(wrote, lines, planned, what):
    with pytest.raises(StageError, match=what):
        read_samples(wrote({"acc,none": 1.0}, lines, planned=planned), "t", {})


def test_files_that_are_absent_or_cut_off(wrote, tmp_path):
    assert read_output(tmp_path) is None
    output = wrote({"acc,none": 1.0}, [line(0, {})])
    samples = output.sample_file("t")
    samples.write_text(samples.read_text("utf-8")[:40], "utf-8")
    with pytest.raises(StageError, match="the samples of t are cut off"):
        read_samples(output, "t", {})
    samples.unlink()
    with pytest.raises(StageError, match="lm-eval wrote no samples of t"):
        read_samples(output, "t", {})
    output.file.write_text("{", "utf-8")
    assert read_output(tmp_path) is None


def test_a_pipe_in_the_place_of_results_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / f"results_{TIME}.json")
    assert read_output(tmp_path) is None
