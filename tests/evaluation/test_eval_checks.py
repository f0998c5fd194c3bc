"""Whether a model was asked as it was trained: each way in which it can be asked otherwise."""

import pytest

from alphaf_orch.core.errors import StageError
from alphaf_orch.evaluation.checks import check_prompts, check_template, cut_prompts, system_facts, system_warnings
from alphaf_orch.evaluation.lm_eval_output import LmEvalOutput
from alphaf_orch.evaluation.progress import EvalLine
from alphaf_orch.runs.reference import TrainedSystems
from alphaf_orch.scores.results import Sample

FACTS = {
    "chat_template_sha256": "a" * 64,
    "eos": ["<|im_end|>", 2],
    "pad": [None, None],
    "bos": ["<s>", 1],
    "with_system": ["<|im_start|>system\n", "<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"],
    "without_system": ["", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"],
}
NO_SYSTEM = {**FACTS, "with_system": None}
USED = {
    "chat_template_sha": "a" * 64,
    "tokenizer_eos_token": ["<|im_end|>", "2"],
    "tokenizer_pad_token": ["<unk>", "0"],
    "tokenizer_bos_token": ["<s>", "1"],
}
GOOD = "<|im_start|>system\n규칙<|im_end|>\n<|im_start|>user\n질문<|im_end|>\n<|im_start|>assistant\n"
FEW_SHOT = GOOD.replace("질문", "보기<|im_end|>\n<|im_start|>assistant\n답<|im_end|>\n<|im_start|>user\n질문")
PLAIN = "<|im_start|>user\n질문<|im_end|>\n<|im_start|>assistant\n"


def output(tmp_path, **changed):
    return LmEvalOutput(tmp_path / "results.json", {**USED, **changed})


def test_the_same_template_and_tokens_pass(tmp_path):
    check_template(output(tmp_path), "sft", FACTS)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"chat_template_sha": "b" * 64}, "another chat template"),
        ({"chat_template_sha": None}, "another chat template"),
        ({"tokenizer_eos_token": ["</s>", "2"]}, "another eos token"),
        ({"tokenizer_eos_token": ["<|im_end|>", "3"]}, "another eos token"),
        ({"tokenizer_bos_token": None}, "another bos token"),
    ],
)
def test_another_template_or_token_is_an_error_with_both_values(tmp_path, changed, what):
    with pytest.raises(StageError, match=what) as error:
        check_template(output(tmp_path, **changed), "sft", FACTS)
    assert "trained: " in error.value.where


@pytest.mark.parametrize(
    ("prompt", "config", "facts"),
    [
        (GOOD, {"description": "규칙"}, FACTS),
        (GOOD, {"description": "규칙\n"}, FACTS),  # a template that trims
        (PLAIN, {}, FACTS),
        (PLAIN, {"description": "규칙"}, NO_SYSTEM),  # lm-eval leaves it out where the template refuses it
        (GOOD + "정답:", {"description": "규칙", "gen_prefix": "정답: "}, FACTS),
        (GOOD + "정답 3:", {"description": "규칙", "gen_prefix": "정답 {{n}}:"}, FACTS),
        (GOOD, {"description": "{{rule}}"}, FACTS),
        (GOOD, {"description": "rule"}, FACTS),  # a column of the row
        (FEW_SHOT, {"description": "규칙"}, FACTS),
    ],
)
def test_prompts_that_the_template_makes(tmp_path, prompt, config, facts):
    check_prompts([Sample("1", prompt, "", "", {}, {"rule": "규칙"})], config, facts, tmp_path)


@pytest.mark.parametrize(
    ("prompt", "config", "facts"),
    [
        ("<s>" + GOOD, {"description": "규칙"}, FACTS),
        (GOOD + "\n", {"description": "규칙"}, FACTS),
        (GOOD, {"description": "다른 규칙"}, FACTS),
        (GOOD, {}, FACTS),  # a system text that nobody asked for
        (PLAIN, {"description": "규칙"}, FACTS),  # one that got lost
        (GOOD, {"description": "규칙"}, NO_SYSTEM),
        (GOOD + "정답:", {"description": "규칙"}, FACTS),
        (GOOD, {"description": "규칙", "gen_prefix": "정답:"}, FACTS),
        ("규칙\n\n질문", {"description": "규칙"}, FACTS),
    ],
)
def test_prompts_that_it_does_not_make(tmp_path, prompt, config, facts):
    samples = [Sample("0", GOOD if config.get("description") == "규칙" else prompt, "", "", {})]
    samples.append(Sample("행 2", prompt, "", "", {}))
    with pytest.raises(StageError, match="is not what the chat template makes of it") as error:
        check_prompts(samples, config, facts, tmp_path)
    assert str(tmp_path) in error.value.where


def test_system_texts_are_compared_with_the_training_data():
    trained = TrainedSystems(frozenset({"규칙"}), 3, 3)
    assert system_facts({"description": "규칙 "}, trained)["system_in_training"] is True
    assert system_facts({"description": "다른"}, trained)["system_in_training"] is False
    assert system_facts({"description": "규칙"}, None)["system_in_training"] is None
    none = system_facts({}, trained)
    assert none["system"] is None
    assert system_warnings("t", none, FACTS) == [
        "t has no system text; every conversation looked at in the training data had one"
    ]
    assert system_warnings("t", system_facts({}, TrainedSystems(frozenset({"규칙"}), 3, 2)), FACTS) == []
    (said,) = system_warnings("t", system_facts({"description": "규칙"}, trained), NO_SYSTEM)
    assert "no place for the system text of t" in said


def test_cut_prompts_are_said_for_the_last_process_only(tmp_path):
    log = tmp_path / "eval_sft.log"
    log.write_text("$ a\nWARNING Left truncation applied. Original sequence length was 9000\n$ b\nall is well\n")
    assert cut_prompts(log) == []
    log.write_text("$ a\nok\n$ b\nContext length 9 exceeds max length (8). Truncating context.\n")
    assert len(cut_prompts(log)) == 1


def test_the_progress_line_follows_lm_evals_bars(tmp_path):
    from rich.console import Console

    log = tmp_path / "eval_sft.log"
    log.write_text("Running generate_until requests:  99%|#| 99/100 [00:10<00:01,  4.39it/s]\n")
    line = EvalLine(Console(stderr=True), "eval_sft", "2 tasks", log, verbose=False)
    assert "loading" in line.line(), "what an earlier process printed is past"
    with log.open("a") as file:
        file.write("Running loglikelihood requests:  25%|##5  | 5/20 [00:10<00:30,  2.0s/it]\r")
    assert line.line().startswith("eval_sft  loglikelihood 5/20  ETA 00:30")
    with log.open("a") as file:
        file.write("Requesting API:  50%|#####     | 10/20 [01:00<01:00,  6.00s/it]\r")
    assert line.line().startswith("eval_sft  server 10/20  ETA 01:00")
