"""`--set`: keys and types are checked against axolotl's recorded keys and the DPO program's own."""

import pytest

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.values import parse_value
from alphaf_orch.settings.keys import axolotl_keys, check_section, dpo_keys, parse_set


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        ("2e-5", 2e-5),
        ("2.0e-5", 2e-5),
        ("-1E+3", -1000.0),
        ("true", True),
        ("null", None),
        ("auto", "auto"),
        ("[q_proj, v_proj]", ["q_proj", "v_proj"]),
        ("{use_reentrant: false}", {"use_reentrant": False}),
        ("<|im_end|>", "<|im_end|>"),
        ("[unclosed", "[unclosed"),
    ],
)
def test_values_are_yaml_and_a_bare_exponent_is_a_number(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_sections_and_nesting():
    found = parse_set(
        ["lora_r=64", "sft.neftune_noise_alpha=45", "dpo.beta=0.05", "special_tokens.pad_token=</s>",
         "special_tokens.eos_token=<|im_end|>"],
        default="sft",
    )  # fmt: skip
    assert found == {
        "sft": {
            "lora_r": 64,
            "neftune_noise_alpha": 45,
            "special_tokens": {"pad_token": "</s>", "eos_token": "<|im_end|>"},
        },
        "dpo": {"beta": 0.05},
    }


def test_a_bare_key_of_alphaf_dpo_is_a_dpo_key():
    assert parse_set(["beta=0.2"], default="dpo") == {"sft": {}, "dpo": {"beta": 0.2}}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("lora_rank=64", "lora_rank: did you mean lora_r?"),
        ("learnig_rate=1e-4", "learnig_rate: did you mean learning_rate?"),
        ("num_train_epochs=3", "num_train_epochs: did you mean num_epochs?"),
        ("beta=0.1", "beta: did you mean dpo.beta?"),
        ("dpo.rl_beta=0.1", "rl_beta: did you mean beta?"),
        ("dpo.max_length=512", "max_length: did you mean sequence_len?"),
        ("zzzzqq=1", "zzzzqq: no such key"),
        ("learning_rate=abc", "learning_rate is 'abc', which is no number"),
        ("lora_r=true", "lora_r is True, which is no integer"),
        ("lora_r=1.5", "lora_r is 1.5, which is no integer"),
        ("save_strategy=best", "save_strategy is 'best': no checkpoint would prove that the training reached its end"),
        (
            "early_stopping_patience=2",
            "early_stopping_patience would end the training before its planned step, as a crash does",
        ),
        ("bf16=maybe", "bf16 is 'maybe', none of its values"),
        ("dpo.backend=unslooth", "backend is 'unslooth', none of its values: did you mean unsloth?"),
        ("lora_r", "'lora_r' is not key=value"),
        ("=3", "'=3' is not key=value"),
        ("dpo.base_model=x", "base_model: no such key"),
    ],
)
def test_a_wrong_key_or_type_is_refused_with_the_nearest_known_one(item, message):
    with pytest.raises(ConfigError) as caught:
        parse_set([item], default="sft")
    assert caught.value.what == message
    assert caught.value.where == f"--set {item}"
    assert caught.value.exit_code == 2


def test_a_config_file_section_is_checked_too():
    with pytest.raises(ConfigError, match="lora_rank: did you mean lora_r"):
        check_section("sft", {"lora_rank": 4}, "my.yaml")


def test_the_records_hold_the_keys_the_recipes_live_on():
    assert {"lora_r", "sequence_len", "micro_batch_size", "neftune_noise_alpha", "plugins"} <= set(axolotl_keys())
    assert {"beta", "loss_type", "lora_r", "sequence_len", "backend"} <= set(dpo_keys())
    assert "output_dir" not in dpo_keys()


def test_all_mistakes_of_the_options_and_of_the_config_are_told_in_one_go(alphaf, tmp_path):
    (tmp_path / "설정.yaml").write_text(
        "model: tiny\nsft: {lora_rr: 8}\nmerge:\n  partner: [a]\n  method: dare_tie\n  density: 0\n  seed: x\n", "utf-8"
    )
    told = alphaf("plan", "--config", "설정.yaml", "--set", "lora_r=no", "--set", "num_epoch=1", "--set", "x")
    assert told.exit_code == 2
    for said in (
        "7 mistakes:",
        "설정.yaml line 2, key sft.lora_rr: ",
        "설정.yaml line 5, key merge.method: merge.method: ",
        "did you mean dare_ties?",
        "설정.yaml line 6, key merge.density: merge.density is 0",
        "설정.yaml line 7, key merge.seed: merge.seed is 'x'",
        "--set lora_r=no: lora_r is False, which is no integer",
        "--set num_epoch=1: num_epoch: did you mean num_epochs?",
        "--set x: 'x' is not key=value",
    ):
        assert said in told.stderr, told.stderr
