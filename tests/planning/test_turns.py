"""The end of a turn: found in the chat template, told to axolotl, checked in the labels; and one date for a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from turns import ANSWERED, DATED, LAYOUTS, model_folder, tokenizer

from alphaf_orch.core.errors import ConfigError, DataError
from alphaf_orch.core.paths import CHILD, EXPERIMENT_FILE, RunPaths
from alphaf_orch.inputs import chat_templates
from alphaf_orch.planning.plan import Scope, make_plan
from alphaf_orch.programs.turn_end import NO_END
from alphaf_orch.runs import run_date
from alphaf_orch.settings.config import RunConfig

ROOT = Path(__file__).parents[2]
DRY = Scope(dry=True)


def rows(path: Path, *messages: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps({"messages": m}, ensure_ascii=False) + "\n" for m in messages), "utf-8")
    return str(path)


def pairs(path: Path, *, system: bool) -> str:
    prompt = [{"role": "system", "content": "간단히"}] if system else []
    prompt.append({"role": "user", "content": "금리는?"})
    sides = {k: [*prompt, {"role": "assistant", "content": text}] for k, text in (("chosen", "3%"), ("rejected", "1%"))}
    path.write_text(json.dumps(sides, ensure_ascii=False) + "\n", "utf-8")
    return str(path)


def files(
    machine: Any, tmp_path: Path, layout: str, *, system_pairs: bool = False, **sft: Any
) -> dict[str, dict[str, Any]]:
    """Return what a run on a model of the layout would write, by file name."""
    model = tmp_path / layout
    config = RunConfig(
        model=str(model if model.is_dir() else model_folder(model, layout)),
        data=(rows(tmp_path / "rows.jsonl", ANSWERED),),
        dpo_data=(pairs(tmp_path / "pairs.jsonl", system=system_pairs),),
        sft=sft,
    )
    plan = make_plan(config, machine, tmp_path / "run", DRY)
    return {path.name: file.values for stage in plan.stages for path, file in stage.files.items()}


@pytest.mark.parametrize(("layout", "end"), [("gemma", "<end_of_turn>"), ("phi", "<|end|>")])
def test_the_token_behind_an_answer_is_told_to_axolotl_and_the_checks(cpu, tmp_path, layout, end):
    made = files(cpu, tmp_path, layout)
    assert made["sft.yaml"]["eot_tokens"] == [end]
    assert made["data.yaml"]["eot_tokens"] == [end]
    assert made["merge_sft_contract.yaml"]["eot_tokens"] == [end]
    assert made["merge_dpo_contract.yaml"]["trained_turns"] == "last"


@pytest.mark.parametrize("layout", ["dated"])
def test_a_turn_that_ends_in_eos_needs_no_key(cpu, tmp_path, layout):
    assert "eot_tokens" not in files(cpu, tmp_path, layout)["sft.yaml"]


def test_a_template_without_an_end_is_refused_unless_the_user_says_so(cpu, tmp_path):
    with pytest.raises(ConfigError, match=NO_END) as caught:
        files(cpu, tmp_path, "no_end")
    assert "--set sft.eot_tokens=[]" in caught.value.fix
    made = files(cpu, tmp_path, "no_end", eot_tokens=[])
    assert [made[name]["eot_tokens"] for name in ("sft.yaml", "data.yaml", "merge_sft_contract.yaml")] == [[], [], []]
    assert made["dpo_data.yaml"]["eot_tokens"] == made["merge_dpo_contract.yaml"]["eot_tokens"] == []


def test_the_users_own_end_wins_and_is_checked(cpu, tmp_path):
    assert files(cpu, tmp_path, "phi", eot_tokens=["<|end|>"])["sft.yaml"]["eot_tokens"] == ["<|end|>"]
    with pytest.raises(ConfigError, match=r"writes no </s> behind an assistant's turn, but '<\|end\|>"):
        files(cpu, tmp_path, "phi", eot_tokens=["</s>"])
    with pytest.raises(ConfigError, match=r"does not end every assistant's turn with one of <\|endoftext\|>"):
        files(cpu, tmp_path, "phi", eot_tokens=["<|endoftext|>"])
    with pytest.raises(ConfigError, match="### is no token of the vocabulary"):
        files(cpu, tmp_path, "no_end", chat_template="jinja", eot_tokens=["###"], chat_template_jinja=HASHES)


HASHES = "{% for m in messages %}{{ m['role'] + ':' + m['content'] + '###' }}{% endfor %}"


def test_an_end_that_axolotl_would_not_find_in_the_template_is_refused(cpu, tmp_path):
    with pytest.raises(ConfigError, match="only where the chat template spells it"):
        files(cpu, tmp_path, "put_together")


def test_the_users_template_reaches_every_stage_even_after_its_file_is_gone(cpu, tmp_path):
    file = tmp_path / "t.jinja"
    file.write_text(LAYOUTS["phi"][0], "utf-8")
    made = files(cpu, tmp_path, "phi", chat_template="jinja", chat_template_jinja=str(file))
    for name in ("sft.yaml", "data.yaml"):
        assert (made[name]["chat_template"], made[name]["chat_template_jinja"]) == ("jinja", LAYOUTS["phi"][0])
    assert made["sft.yaml"]["eot_tokens"] == ["<|end|>"]
    assert files(cpu, tmp_path, "gemma", chat_template="gemma")["data.yaml"]["chat_template"] == "gemma"
    with pytest.raises(ConfigError, match="the chat template cannot be read"):
        files(cpu, tmp_path, "phi", chat_template="jinja", chat_template_jinja="{% for %}")


def test_rows_with_a_system_turn_are_refused_where_the_template_takes_none(cpu, tmp_path):
    with pytest.raises(DataError, match="1 rows begin with a system turn, which the chat template refuses") as caught:
        files(cpu, tmp_path, "gemma", system_pairs=True)
    assert caught.value.where.startswith(str(tmp_path / "pairs.jsonl"))
    config = RunConfig(
        model=str(tmp_path / "gemma"),
        data=(rows(tmp_path / "sys.jsonl", [{"role": "system", "content": "간단히"}, *ANSWERED]),),
    )
    with pytest.raises(DataError, match="1 rows begin with a system turn"):
        make_plan(config, cpu, tmp_path / "run", Scope(("sft",), dry=True))
    files(cpu, tmp_path, "phi", system_pairs=True)


def test_what_axolotl_spells_ends_every_turn_of_its_own_templates():
    ends = {
        name: chat_templates.template_of({"chat_template": name, "special_tokens": {"eos_token": "</s>"}}, None)
        for name in chat_templates._recorded()
    }
    assert {name for name, found in ends.items() if found is None or found.end is None} == {"llava", "metharme"}
    assert {name for name, found in ends.items() if found and not found.takes_system} == {"gemma"}


@pytest.mark.real
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


# The labels


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


@pytest.mark.real
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


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
def test_a_masked_answer_and_rows_without_labels_are_told_apart(monkeypatch):
    made, ids, labels = trained_row("phi", eot_tokens=["<|end|>"])
    line = line_of(made, ids, None)
    assert line.ok
    assert "recorded without labels" in line.detail
    monkeypatch.setitem(ANSWERED[1], "train", False)
    assert line_of(made, ids, labels).detail == "1 turns of others carry loss"


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
def test_a_template_without_an_end_breaks_the_contract_unless_none_is_wanted():
    made, ids, labels = trained_row("no_end")
    assert line_of(made, ids, labels).detail.startswith(NO_END)
    assert line_of(made, ids, labels, eot_tokens=[]).ok


@pytest.mark.real
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


@pytest.mark.real
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
    from alphaf_orch.programs.training.data_stats import check_end

    made = tokenizer(layout)
    config = {"chat_template": "tokenizer_default", "kind": "chat", **changes}
    if said is None:
        check_end(made, made.chat_template, config)
    else:
        with pytest.raises(Failure) as caught:
            check_end(made, made.chat_template, config)
        assert said in caught.value.message


# The date


def test_a_run_keeps_the_date_of_its_first_day(tmp_path):
    paths = RunPaths(tmp_path / "runs" / "r")
    paths.root.mkdir(parents=True)
    write = lambda values: paths.manifest.write_text(json.dumps({"format": 1, "stages": {}, **values}))  # noqa: E731
    write({"created": "2024-02-03T12:00:00+00:00"})
    assert run_date.run_date(paths) == "2024-02-03"
    # Begun by an older version: the day on which the rows were tokenised.
    write({"created": "2024-02-03T12:00:00+00:00", "stages": {"preprocess": {"started": "2024-02-05T12:00:00+00:00"}}})
    assert run_date.run_date(paths) == "2024-02-05"
    write({"date": "2024-02-02", "created": "2024-02-03T12:00:00+00:00"})
    assert run_date.date_env(paths) == {"ALPHAF_DATE": "2024-02-02"}
    assert run_date.run_date(RunPaths(paths.root / "sweep" / "weight-0.5")) == "2024-02-02"


def test_all_arms_of_an_experiment_have_its_date(tmp_path):
    folder = tmp_path / "runs" / "experiment"
    folder.mkdir(parents=True)
    (folder / EXPERIMENT_FILE).write_text(json.dumps({"format": 1, "date": "2024-02-02", "created": "…"}))
    assert run_date.run_date(RunPaths(folder / "arm")) == "2024-02-02"


@pytest.mark.real
def test_every_tool_renders_the_date_of_the_run(tmp_path):
    made = tokenizer("dated")
    made.save_pretrained(tmp_path / "t")
    code = (
        "import sys; from transformers import AutoTokenizer\n"
        "if sys.argv[2] == 'axolotl':\n"
        "    from alphaf_orch.programs.training.axolotl_plugin import AlphafPlugin; AlphafPlugin().register({})\n"
        "else:\n"
        "    from orion import register_files; register_files()\n"
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
