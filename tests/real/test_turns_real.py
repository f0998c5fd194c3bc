"""The tokens that end turns, found in the templates by the real tokenizers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from turns import ANSWERED, DATED, tokenizer

from alphaf_orch.core.paths import CHILD
from alphaf_orch.inputs import chat_templates
from alphaf_orch.programs.turn_end import NO_END

ROOT = Path(__file__).parents[2]


def test_the_recorded_templates_are_those_of_the_installed_axolotl():
    from axolotl.utils.chat_templates import base

    script = ROOT / "tools" / "record_chat_templates.py"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), "--check"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, "run `python tools/record_chat_templates.py`\n" + done.stderr[-2000:]
    for name, text in base._CHAT_TEMPLATES.items():
        found = chat_templates.template_of({"chat_template": name, "special_tokens": {"eos_token": "</s>"}}, None)
        assert found is not None
        # axolotl looks for an end that is not eos in the template's text.
        assert found.end in (None, "</s>") or found.end in text, name


def trained_row(layout: str, **settings: Any) -> tuple[Any, list[int], list[int]]:
    """Return the tokenizer with the ids and labels that axolotl makes of a conversation."""
    from axolotl.prompt_strategies.chat_template import load
    from axolotl.utils.dict import DictDefault

    from alphaf_orch.inputs.sources import Source, axolotl_dataset

    made = tokenizer(layout)
    cfg = DictDefault({"chat_template": "tokenizer_default", "sequence_len": 512, "train_on_inputs": False, **settings})
    row = load(made, cfg, axolotl_dataset(Source("x.jsonl", "local", format="messages"))).tokenize_prompt(
        {"messages": ANSWERED}
    )
    return made, list(row["input_ids"]), list(row["labels"])


def line_of(made: Any, ids: list[int], labels: list[int] | None, **changes: Any) -> Any:
    import pyarrow as pa

    from alphaf_orch.programs.merging.contract_turns import turns_line
    from alphaf_orch.programs.turn_end import end_ids

    how = {"eot_tokens": None, "train_on_inputs": False, "trained_turns": "all"} | changes
    generation = how.pop("generation", {"eos_token_id": [made.eos_token_id, *end_ids(made)]})
    trained = [(len(ids), pa.scalar(ids), None if labels is None else pa.scalar(labels))]
    return turns_line(made, [(ANSWERED, ids)], trained, generation, **how)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("layout", "end"), [("gemma", "<end_of_turn>"), ("phi", "<|end|>"), ("dated", "<|eot|>")])
def test_the_contract_reads_in_axolotls_labels_whether_each_end_was_trained(layout, end):
    told = {} if layout == "dated" else {"eot_tokens": [end]}
    made, ids, labels = trained_row(layout, **told)
    number = made.convert_tokens_to_ids(end)
    in_loss = [ids[i] for i in range(len(ids)) if labels[i] != -100]
    assert in_loss.count(number) == 2, "both answers' ends"
    line = line_of(made, ids, labels)
    assert (line.ok, line.detail) == (True, "")
    assert (line.measured["ends"], line.measured["ends_untrained"], line.measured["rows"]) == ([end], 0, 1)
    # What axolotl does when it is not told, and what it would do to a user's turn.
    if told:
        _, _, untold = trained_row(layout)
        line = line_of(made, ids, untold)
        assert line.detail.startswith("the end of 2 of 2 answers carries no loss")
        assert line_of(made, ids, labels, generation={"eos_token_id": made.eos_token_id}).detail == (
            f"generation_config.json has eos_token_id {made.eos_token_id}, without {end}"
        )
    line = line_of(made, ids, list(ids))
    assert line.detail == "2 turns of others carry loss"
    assert line_of(made, ids, list(ids), train_on_inputs=True).ok
    assert "2 turns" not in line_of(made, ids, labels, trained_turns="last").detail
    assert line_of(made, ids, labels, trained_turns="last").detail == "1 turns of others carry loss"


@pytest.mark.filterwarnings("ignore")
def test_a_masked_answer_and_rows_without_labels_are_told_apart(monkeypatch):
    made, ids, labels = trained_row("phi", eot_tokens=["<|end|>"])
    line = line_of(made, ids, None)
    assert line.ok
    assert "recorded without labels" in line.detail
    monkeypatch.setitem(ANSWERED[1], "train", False)
    assert line_of(made, ids, labels).detail == "1 turns of others carry loss"


@pytest.mark.filterwarnings("ignore")
def test_a_template_without_an_end_breaks_the_contract_unless_none_is_wanted():
    made, ids, labels = trained_row("no_end")
    assert line_of(made, ids, labels).detail.startswith(NO_END)
    assert line_of(made, ids, labels, eot_tokens=[]).ok


@pytest.mark.parametrize("layout", ["gemma", "phi"])
def test_the_merge_lets_generation_stop_at_the_end_of_a_turn(tmp_path, layout):
    from alphaf_orch.programs.merging.merge_adapter import write_ids

    made = tokenizer(layout)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": made.eos_token_id}))
    write_ids(tmp_path, made)
    end = made.convert_tokens_to_ids({"gemma": "<end_of_turn>", "phi": "<|end|>"}[layout])
    wrote = json.loads((tmp_path / "generation_config.json").read_text())
    assert wrote["eos_token_id"] == [made.eos_token_id, end]
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == made.eos_token_id
    write_ids(tmp_path, made, [])
    assert json.loads((tmp_path / "generation_config.json").read_text()) == wrote


@pytest.mark.parametrize(
    ("layout", "changes", "said"),
    [
        ("phi", {}, "ends an assistant's turn with <|end|>, which the recipe does not name"),
        ("phi", {"eot_tokens": ["<|end|>"]}, None),
        ("phi", {"kind": "preference"}, None),
        ("no_end", {}, NO_END),
        ("no_end", {"kind": "preference"}, NO_END),
        ("no_end", {"eot_tokens": []}, None),
        ("no_end", {"eot_tokens": ["\n\n###"]}, "does not end every assistant's turn"),
        ("dated", {}, None),
    ],
)
def test_the_data_stage_asks_the_real_tokenizer(layout, changes, said):
    from alphaf_orch.programs.common import Failure
    from alphaf_orch.programs.training.tokenizer import check_end

    made = tokenizer(layout)
    config = {"chat_template": "tokenizer_default", "kind": "chat", **changes}
    if said is None:
        check_end(made, made.chat_template, config)
    else:
        with pytest.raises(Failure) as caught:
            check_end(made, made.chat_template, config)
        assert said in caught.value.message


def test_every_tool_renders_the_date_of_the_run(tmp_path):
    made = tokenizer("dated")
    made.save_pretrained(tmp_path / "t")
    code = (
        "import sys; from transformers import AutoTokenizer\n"
        "if sys.argv[2] == 'axolotl':\n"
        "    from alphaf_orch.programs.training.axolotl_plugin import AlphafPlugin; AlphafPlugin().register({})\n"
        "else:\n"
        "    from alphaf_orch.programs.architectures.orion import register_files; register_files()\n"
        "asked = [{'role': 'user', 'content': 'a'}]\n"
        "print(AutoTokenizer.from_pretrained(sys.argv[1]).apply_chat_template(asked, tokenize=False))"
    )

    def rendered(tool: str, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "t"), tool],
            env=os.environ | {"PYTHONPATH": str(CHILD), "AXOLOTL_DO_NOT_TRACK": "1", **env},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    assert "strftime_now" in DATED
    assert "Today Date: 28 Feb 2023<" in rendered("axolotl", ALPHAF_DATE="2023-02-28")
    assert "Today Date: 28 Feb 2023<" in rendered("ours", ALPHAF_DATE="2023-02-28")
