"""Values that a tool would refuse, or train nothing with, are refused; unusual ones that mean something are taken."""

import re
from pathlib import Path

import pytest

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.values import parse_value
from alphaf_orch.report.figures import NONE, number
from alphaf_orch.settings.keys import axolotl_keys, check_section, dpo_keys, numbers_of, parse_set
from alphaf_orch.settings.merge import check_recipe
from alphaf_orch.settings.options import Options, settings
from alphaf_orch.settings.ranges import DPO, SFT, from_limits

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
WORD = re.compile(r"\S+")
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+?) \|$", re.MULTILINE)
LIGER = "axolotl.integrations.liger.LigerPlugin"

REFUSED = """
    chat_template=nope chat_template=tokenizer_default_fallback_nope
    learning_rate=-1 learning_rate=-2e-4 learning_rate=0 learning_rate=.nan learning_rate=.inf learning_rate=1e999
    learning_rate= learning_rate=null num_epochs=0 num_epochs=-1 num_epochs=null max_steps=0 max_steps=-2 max_steps=
    micro_batch_size=0 micro_batch_size=null gradient_accumulation_steps=0 gradient_accumulation_steps=null
    lora_r=-5 lora_r=0 lora_r=null lora_alpha=0 lora_dropout=7 lora_dropout=1 lora_dropout=-0.1 warmup_ratio=2
    warmup_steps=-1 weight_decay=-1 adam_beta1=1 adam_beta2=-0.5 adam_epsilon=-1.0e-8 val_set_size=1.5
    val_set_size=-1 val_set_size=1 sequence_len=0 seed=-1 seed=4294967296 seed=null max_grad_norm=-1
    lr_scheduler=nope optimizer=nope optimizer=null save_steps=0 save_steps=1.5 eval_steps=0 logging_steps=0
    neftune_noise_alpha=-5 save_total_limit=0 dataset_num_proc=0 attn_implementation=flash adapter=dora
    relora_prune_ratio=2 loss_watchdog_threshold=.nan lr_scheduler_kwargs.num_cycles=.nan
    dpo.beta=0 dpo.beta=-1 dpo.learning_rate=.nan dpo.learning_rate=0 dpo.learning_rate= dpo.num_epochs=0
    dpo.max_steps=0 dpo.max_steps=-2 dpo.micro_batch_size=0 dpo.gradient_accumulation_steps=0 dpo.lora_r=0
    dpo.lora_r=null dpo.lora_alpha=0 dpo.lora_dropout=7 dpo.warmup_ratio=2 dpo.weight_decay=-1 dpo.adam_beta1=1
    dpo.adam_epsilon=0 dpo.val_set_size=1.5 dpo.val_set_size=-1 dpo.sequence_len=0 dpo.seed=-1 dpo.max_grad_norm=-1
    dpo.lr_scheduler=rex dpo.optimizer=muon dpo.save_steps=0 dpo.eval_steps=0 dpo.logging_steps=0
    dpo.save_total_limit=0 dpo.dataset_num_proc=0 dpo.lora_target_modules=[] dpo.loss_type=dpo
"""
TAKEN = """
    max_steps=-1 max_steps=null max_steps=3 learning_rate=2e-4 learning_rate=10 warmup_ratio=0 warmup_ratio=1
    warmup_ratio=null warmup_steps=0 warmup_steps=10 val_set_size=500 val_set_size=2 val_set_size=0 val_set_size=0.5
    save_steps=0.1 save_steps=1 eval_steps=0.25 seed=0 lora_dropout=0 lora_dropout=0.0 lora_alpha=1 num_epochs=0.01
    weight_decay=0 adam_epsilon=0 adam_beta1=0 max_grad_norm=0 max_grad_norm=null neftune_noise_alpha=0
    neftune_noise_alpha=null optimizer=muon optimizer=sgd lr_scheduler=rex lr_scheduler=null lr_scheduler=linear
    chat_template=llama3 chat_template=tokenizer_default chat_template=tokenizer_default_fallback_chatml
    save_total_limit=null attn_implementation=kernels-community/flash-attn3 dataloader_num_workers=0
    evals_per_epoch=0 gc_steps=-1 sequence_len=1 bf16=auto gradient_accumulation_steps=3 adapter=null
    dpo.max_steps=-1 dpo.max_steps=null dpo.val_set_size=1 dpo.val_set_size=0.1 dpo.seed=0 dpo.lora_dropout=0
    dpo.eval_steps=null dpo.warmup_ratio=0 dpo.learning_rate=5e-7 dpo.num_epochs=1 dpo.optimizer=sgd dpo.bf16=auto
"""


@pytest.mark.parametrize("item", WORD.findall(REFUSED))
def test_a_value_that_means_nothing_is_refused_with_key_value_place_and_what_is_allowed(item):
    with pytest.raises(ConfigError) as caught:
        parse_set([item], default="sft")
    error, (key, text) = caught.value, item.removeprefix("dpo.").split("=", 1)
    assert error.where == f"--set {item}"
    assert key.partition(".")[0] in error.what
    value = parse_value(text)
    assert value in (None, []) or repr(value) in error.what
    assert re.search(r"give|use one of|write|put", error.fix)


@pytest.mark.parametrize("item", WORD.findall(TAKEN))
def test_a_value_that_is_only_unusual_is_taken(item):
    section = "dpo" if item.startswith("dpo.") else "sft"
    assert parse_set([item], default="sft")[section]


def test_every_number_of_a_recipe_has_its_range():
    """A key that axolotl adds comes into the table by hand, with the reason for its range."""
    numbers = {key for key, entry in axolotl_keys().items() if {"integer", "number"} & set(entry["types"])}
    limited = {"relora_prune_ratio"}  # by axolotl's own schema
    nested = {"peft_trainable_token_indices"}
    assert numbers - set(SFT) - limited - nested == set()
    assert {key for key in SFT if key not in axolotl_keys()} == set()
    assert set(DPO) <= set(dpo_keys())
    assert all("range" in entry for entry in dpo_keys().values() if {"integer", "number"} & set(entry["types"]))


def test_the_dpo_program_and_the_plan_take_the_same_numbers():
    assert dpo_keys()["beta"]["range"] == from_limits({"gt": 0})
    assert dpo_keys()["max_steps"]["range"] == from_limits({"ge": 1}, also=(-1,))
    assert dpo_keys()["lora_dropout"]["range"].takes(0)
    assert not dpo_keys()["lora_dropout"]["range"].takes(1)


def test_the_ranges_of_the_page_are_those_of_the_table():
    page = DOCS.read_text(encoding="utf-8").split("## Ranges")[1].split("\n### ")[0]
    rows = dict(ROW.findall(page))
    assert len(rows) > 20
    assert {key: numbers_of(axolotl_keys()[key]) for key in rows} == rows


def test_a_bad_value_of_the_config_file_is_told_with_its_line(tmp_path):
    file = tmp_path / "설정.yaml"
    file.write_text("model: tiny\nsft:\n  lora_r: 8\n  learning_rate:\ndpo:\n  beta: 0\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        settings(Options(config=file))
    assert caught.value.where == str(file)
    told = caught.value.what.splitlines()[1:]
    assert [line.partition(":")[0].strip() for line in told] == [
        "line 4, key sft.learning_rate",
        "line 6, key dpo.beta",
    ]
    with pytest.raises(ConfigError) as caught:
        settings(Options(config=file, sets=("learning_rate=2e-4",)))
    assert caught.value.where == f"{file} line 6, key dpo.beta"
    assert settings(Options(config=file, sets=("learning_rate=2e-4", "dpo.beta=0.1")))[0].dpo == {"beta": 0.1}


def test_a_key_of_a_plugin_is_known_where_the_plugin_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"liger_rope is a key of axolotl's LigerPlugin") as caught:
        parse_set(["liger_rope=true"], default="sft", named=())
    assert f"add plugins: [{LIGER}]" in caught.value.fix
    for name in (LIGER, "liger.LigerPlugin", "axolotl.integrations.liger.plugin.LigerPlugin"):
        assert parse_set(["liger_rope=true", f"plugins=[{name}]"], default="sft")["sft"]["liger_rope"] is True
    with pytest.raises(ConfigError, match="liger_rope is 'maybe', which is no boolean"):
        parse_set([f"plugins=[{LIGER}]", "liger_rope=maybe"], default="sft")
    with pytest.raises(ConfigError, match=r"no plugin axolotl.integrations.liger.LigrPlugin: did you mean"):
        parse_set(["plugins=[axolotl.integrations.liger.LigrPlugin]"], default="sft")
    file = tmp_path / "c.yaml"
    file.write_text(f"model: tiny\nsft:\n  plugins: [{LIGER}]\n  liger_rope: true\n", encoding="utf-8")
    assert settings(Options(config=file))[0].sft["liger_rope"] is True
    with pytest.raises(ConfigError, match="liger_rope is a key"):  # --set names another one in its place
        settings(Options(config=file, sets=("plugins=[axolotl.integrations.spectrum.SpectrumPlugin]",)))


def test_a_key_of_somebody_s_own_plugin_is_left_to_axolotl():
    check_section("sft", {"plugins": ["my.Plugin"], "my_key": 3}, "my.yaml")
    with pytest.raises(ConfigError, match="liger_rope is a key"):
        check_section("sft", {"plugins": ["my.Plugin"], "liger_rope": True}, "my.yaml")


def test_a_name_that_yaml_takes_for_a_truth_is_the_name():
    assert parse_set(["eval_strategy=no", "val_set_size=0"], default="sft")["sft"]["eval_strategy"] == "no"
    assert parse_set(["sample_packing=no"], default="sft")["sft"]["sample_packing"] is False


def test_a_number_is_no_truth_and_no_name():
    assert parse_set(["gpu_memory_limit=1"], default="sft")["sft"]["gpu_memory_limit"] == 1
    for item in ("gpu_memory_limit=0", "gpu_memory_limit=-1"):
        with pytest.raises(ConfigError, match="takes a whole number above 0"):
            parse_set([item], default="sft")


def test_a_deepspeed_file_is_remembered_by_its_whole_path(tmp_path, monkeypatch):
    """A run may be gone on with from another folder."""
    monkeypatch.chdir(tmp_path)
    typed = settings(Options(model="tiny", sets=("engine=zero2", "deepspeed=ds.json")))[0]
    assert typed.sft["deepspeed"] == str(tmp_path / "ds.json")
    (tmp_path / "c.yaml").write_text("model: tiny\nsft: {engine: zero2, deepspeed: sub/ds.json}\n", encoding="utf-8")
    assert settings(Options(config=tmp_path / "c.yaml"))[0].sft["deepspeed"] == str(tmp_path / "sub" / "ds.json")
    paths = settings(Options(model="tiny", run="before"))[1]
    paths.root.mkdir(parents=True)
    paths.config.write_text("model: tiny\nsft: {deepspeed: ds.json}\n", encoding="utf-8")
    assert settings(Options(run="before"))[0].sft["deepspeed"] == "ds.json"  # of an earlier version: as it was
    mapping = settings(Options(model="tiny", sets=("engine=zero2", "deepspeed.zero_optimization.stage=2")))[0]
    assert mapping.sft["deepspeed"] == {"zero_optimization": {"stage": 2}}


HUGE = 10**400  # a whole number that no float holds; JSON takes 4,300 digits


@pytest.mark.parametrize("section", ["sft", "dpo"])
@pytest.mark.parametrize("key", ["learning_rate", "adam_beta1", "weight_decay", "val_set_size", "micro_batch_size"])
def test_a_number_of_hundreds_of_digits_is_refused(section, key):
    with pytest.raises(ConfigError, match=key):
        check_section(section, {key: HUGE}, "f")


def test_a_number_of_hundreds_of_digits_is_refused_within_a_value_too():
    with pytest.raises(ConfigError, match="lr_scheduler_kwargs"):
        check_section("sft", {"lr_scheduler_kwargs": {"num_cycles": HUGE}}, "f")


@pytest.mark.parametrize("key", ["t", "weight", "density", "lambda"])
def test_a_merge_by_a_number_of_hundreds_of_digits_is_refused(key):
    with pytest.raises(ConfigError, match=f"merge.{key} is"):
        check_recipe({"partners": ["p"], key: HUGE}, "f")


def test_a_number_that_no_float_holds_is_none_for_a_report():
    assert number(HUGE) == NONE
    assert number(10**300) != NONE
