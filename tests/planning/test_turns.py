"""The end of a turn: found in the chat template, told to axolotl, checked in the labels; and one date for a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from turns import ANSWERED, LAYOUTS, model_folder, rows

from alphaf_orch.core.errors import ConfigError, DataError, ModelError
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths
from alphaf_orch.inputs import chat_templates
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.programs.turn_end import NO_END
from alphaf_orch.runs import run_date
from alphaf_orch.settings.config import RunConfig

DRY = Scope(dry=True)


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


HASHES = (
    "{% for m in messages %}{{ m['role'] + ':' + m['content'] + '###' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


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


def test_weights_that_only_pickle_reads_are_refused_in_a_dry_run_too(cpu, tmp_path):
    folder = model_folder(tmp_path / "phi", "phi")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="the base model has no safetensors weights"):
        files(cpu, tmp_path, "phi")


DROPS = "{% for m in messages if m['role'] != 'system' %}{{ m['content'] + eos_token }}{% endfor %}"


def test_rows_with_a_system_turn_are_refused_where_the_template_leaves_it_out(cpu, tmp_path):
    for sft in ({"chat_template": "mistral_v3_tekken"}, {"chat_template": "jinja", "chat_template_jinja": DROPS}):
        with pytest.raises(DataError, match="1 rows begin with a system turn, which the chat template leaves out"):
            files(cpu, tmp_path, "dated", system_pairs=True, **sft)
        files(cpu, tmp_path, "dated", **sft)


def test_a_template_that_takes_the_system_turn_is_named_and_reaches_every_stage(cpu, tmp_path):
    with pytest.raises(DataError) as caught:
        files(cpu, tmp_path, "gemma", system_pairs=True)
    assert caught.value.fix.endswith("(such as --set sft.chat_template=gemma3)")
    for name in ("gemma3", "chatml"):
        made = files(cpu, tmp_path, "gemma", system_pairs=True, chat_template=name)
        assert made["sft.yaml"]["chat_template"] == made["data.yaml"]["chat_template"] == name
        assert made["sft.yaml"].get("eot_tokens") == made["data.yaml"].get("eot_tokens")
        assert made["sft.yaml"]["special_tokens"] == made["data.yaml"]["special_tokens"]
        assert (made["sft.yaml"]["tokens"] or []) == (made["data.yaml"]["added_tokens"] or [])
    assert made["data.yaml"]["special_tokens"]["eos_token"] == "<|im_end|>"


def test_what_axolotl_spells_ends_every_turn_of_its_own_templates():
    ends = {
        name: chat_templates.template_of({"chat_template": name, "special_tokens": {"eos_token": "</s>"}}, None)
        for name in chat_templates._recorded()
    }
    assert {name for name, found in ends.items() if found is None or found.end is None} == {"llava", "metharme"}
    assert {name for name, found in ends.items() if found and not found.takes_system} == {"gemma"}
    dropping = {"mistral_v2v3", "mistral_v3_tekken", "pixtral"}
    assert {name for name, found in ends.items() if found and found.drops_system} == dropping


# The labels


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
