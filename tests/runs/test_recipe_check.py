"""Axolotl is asked about a recipe where static rules leave something open: once, and never for what we ship."""

import errno
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from alphaf_orch.core.errors import ConfigError, ToolError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import template_folders
from alphaf_orch.planning.asking import question_of
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.settings.config import RunConfig

JINJA = (
    "{% for m in messages %}{{ m['role'] + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant' }}{% endif %}"
)


def plan(machine, tmp_path, sft=None, **keys):
    return make_plan(RunConfig(model="eeve", gpus=8, sft=sft or {}, **keys), machine, tmp_path, Scope(dry=True))


@pytest.mark.parametrize("model", ["eeve", "qwen", "orion", "smollm2", "tiny"])
@pytest.mark.parametrize("adapter", ["qlora", "lora", "full"])
def test_nothing_is_asked_about_what_we_ship(model, adapter, tmp_path, cpu):
    config = RunConfig(model=model, gpus=0, sft={"adapter": adapter, "max_steps": 3, "sample_packing": False})
    assert question_of(make_plan(config, cpu, tmp_path, Scope(dry=True))) is None


@pytest.mark.parametrize(
    ("sft", "keys"),
    [
        ({"learning_rate": 1e-5, "lora_r": 8, "seed": 0, "val_set_size": 500, "lr_scheduler": "linear"}, None),
        ({"chat_template": "llama3", "bf16": False, "save_steps": 0.1, "wandb_project": "x"}, None),
        ({"lora_r": 8, "warmup_steps": 10}, ("warmup_steps",)),
        ({"lora_modules_to_save": ["embed_tokens", "lm_head"]}, None),  # as the preset of Orion
        ({"lora_modules_to_save": ["lm_head"]}, ("lora_modules_to_save",)),
        ({"load_in_4bit": False}, ("load_in_4bit",)),
        ({"plugins": ["my.Plugin"], "own_thing": 1}, ("plugins", "own_thing")),
        ({"chat_template": "jinja", "chat_template_jinja": JINJA}, None),  # as test_chat_template_real.py trains
        ({"engine": "fsdp2", "fsdp_config": {"reshard_after_forward": True}}, ("fsdp_config",)),
        ({"chunked_cross_entropy_num_chunks": 4}, ("chunked_cross_entropy_num_chunks",)),
    ],
)
def test_what_is_asked(sft, keys, tmp_path, eight_gpus):
    question = question_of(plan(eight_gpus, tmp_path, sft))
    assert (question.keys if question else None) == keys


def test_warm_up_steps_take_the_place_of_the_ratio(tmp_path, eight_gpus):
    values = question_of(plan(eight_gpus, tmp_path, {"warmup_steps": 10})).recipe.values
    assert values["warmup_steps"] == 10
    assert values["warmup_ratio"] is None


@pytest.fixture
def python(tmp_path):
    """Return a function that makes a python which gives one answer and counts how often it is asked."""

    def made(*, refused=(), dropped=(), code=0, axolotl="1.0", torch="2.13.0"):
        answer = json.dumps({"axolotl": "1.0", "recipes": {"sft": {"refused": refused, "dropped": dropped}}})
        versions = json.dumps({"axolotl": axolotl, "torch": torch} if axolotl else {})
        file = tmp_path / "python"
        file.write_text(
            f"#!{sys.executable}\nimport sys\nif 'alphaf_orch.programs.versions' in sys.argv:\n"
            f"    print({json.dumps(versions)})\n    sys.exit()\n"
            f"open({str(tmp_path / 'asked')!r}, 'a').write('x')\n"
            f"open({str(tmp_path / 'question')!r}, 'w').write(open(sys.argv[-1], encoding='utf-8').read())\n"
            f"print('axolotl talks')\nprint({answer!r})\nsys.exit({code})\n"
        )
        file.chmod(file.stat().st_mode | stat.S_IEXEC)
        return str(file)

    return made


def asked(tmp_path):
    return len((tmp_path / "asked").read_text()) if (tmp_path / "asked").exists() else 0


def test_it_is_asked_once_for_a_recipe_and_a_version(python, tmp_path, eight_gpus):
    said = []
    for axolotl in ("1.0", "1.0", "1.1"):
        tools = {"axolotl": python(axolotl=axolotl)}
        # another run of the same recipe is the same question
        check_recipe(plan(eight_gpus, tmp_path / axolotl, {"warmup_steps": 10}, tools=tools), said.append)
    assert asked(tmp_path) == 2
    assert said[0] == "axolotl 1.0 is asked once whether it takes warmup_steps; that takes some seconds"
    check_recipe(plan(eight_gpus, tmp_path, {"warmup_steps": 11}, tools=tools), said.append)
    assert asked(tmp_path) == 3


@pytest.mark.parametrize(
    ("machine", "card"),
    [
        (Machine(tuple("x" * 8), 96, card="sm_80"), "sm_80"),
        (Machine((), 96), "sm_90"),  # a login node: the plan is for the article's cards
        (Machine(("a card",) * 8, 96), None),  # it does not tell: torch will
    ],
)
def test_it_is_asked_for_the_card_that_is_here(machine, card, python, tmp_path):
    check_recipe(plan(machine, tmp_path, {"warmup_steps": 10}, tools={"axolotl": python()}), lambda _: None)
    assert json.loads((tmp_path / "question").read_text(encoding="utf-8")).get("card") == card


def test_for_a_cpu_it_is_asked_for_no_card(python, tmp_path, cpu):
    config = RunConfig(model="eeve", gpus=0, sft={"warmup_steps": 10}, tools={"axolotl": python()})
    check_recipe(make_plan(config, cpu, tmp_path, Scope(dry=True)), lambda _: None)
    assert "card" not in json.loads((tmp_path / "question").read_text(encoding="utf-8"))


def test_an_answer_is_of_the_card_and_the_torch_that_it_was_given_for(python, tmp_path):
    """A login node and a node with A100 share the cache; axolotl takes fp8 on an H100 alone."""
    here = [Machine((), 96), *(Machine(tuple("x" * 8), 96, card=card) for card in ("sm_90", "sm_80", "sm_90"))]
    unknown = [Machine((name,) * 8, 96) for name in ("A", "B", "A")]
    told = []
    for number, machine in enumerate((*here, *unknown)):
        made = plan(machine, tmp_path / str(number), {"warmup_steps": 10}, tools={"axolotl": python()})
        check_recipe(made, lambda _: None)
        told.append(asked(tmp_path))
    assert told == [1, 1, 2, 2, 3, 4, 4]
    for torch, times in (("2.13.0", 4), ("2.14.0", 5)):
        check_recipe(
            plan(here[0], tmp_path, {"warmup_steps": 10}, tools={"axolotl": python(torch=torch)}), lambda _: None
        )
        assert asked(tmp_path) == times


def test_its_own_reason_is_told(python, tmp_path, eight_gpus):
    reason = {"key": "load_in_4bit", "value": False, "reason": "Require cfg.load_in_4bit to be True for qlora"}
    made = plan(eight_gpus, tmp_path, {"load_in_4bit": False}, tools={"axolotl": python(refused=[reason])})
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"load_in_4bit: False: Require cfg\.load_in_4bit to be True") as caught:
            check_recipe(made, lambda _: None)
        assert "key sft.load_in_4bit" in caught.value.where
    assert asked(tmp_path) == 1


def test_a_key_that_it_would_drop_is_refused(python, tmp_path, eight_gpus):
    made = plan(eight_gpus, tmp_path, {"plugins": ["a.B"], "k": 1}, tools={"axolotl": python(dropped=["k"])})
    with pytest.raises(ConfigError, match="axolotl knows no key k, and would drop it"):
        check_recipe(made, lambda _: None)


def test_a_plugin_that_lacks_stops_a_run_and_no_plan_and_is_asked_about_again(python, tmp_path, eight_gpus):
    reason = {"key": "plugins", "value": "a.B", "reason": "it needs b, which is not installed here"}
    made = plan(eight_gpus, tmp_path, {"plugins": ["a.B"]}, tools={"axolotl": python(refused=[reason])})
    said = []
    check_recipe(made, said.append)
    assert "it needs b" in said[-1]
    with pytest.raises(ToolError, match="it needs b, which is not installed here"):
        check_recipe(made, said.append, launches=True)
    assert asked(tmp_path) == 2


@pytest.mark.parametrize(("keys", "words"), [({"axolotl": ""}, "was not asked"), ({"code": 1}, "could not be asked")])
def test_where_it_cannot_be_asked_that_is_said(keys, words, python, tmp_path, eight_gpus):
    said = []
    check_recipe(plan(eight_gpus, tmp_path, {"warmup_steps": 10}, tools={"axolotl": python(**keys)}), said.append)
    assert words in said[-1]


@pytest.mark.parametrize("broken", ["a file is there", "a disk refuses"])
def test_a_cache_that_cannot_be_written_is_said_and_stops_nothing(broken, python, tmp_path, eight_gpus, monkeypatch):
    def read_only(_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    place, said = Path(os.environ["ALPHAF_CACHE"]) / "recipes", []
    made = plan(eight_gpus, tmp_path, {"warmup_steps": 10}, tools={"axolotl": python()})
    if broken == "a file is there":
        place.parent.mkdir(exist_ok=True)
        place.touch()
    else:
        monkeypatch.setattr(os, "fsync", read_only)
    for _ in range(2):
        check_recipe(made, said.append)
    told = "File exists" if broken == "a file is there" else f"the disk is read-only: {place}"
    assert said[1].startswith(f"note: {place} cannot be written ({told}")
    assert asked(tmp_path) == 2


def test_a_preset_and_a_template_of_one_s_own_are_asked_about(tmp_path, eight_gpus):
    (shipped,) = template_folders()
    text = (shipped / "models" / "eeve.yaml").read_text(encoding="utf-8")
    own = tmp_path / "templates"
    (own / "models").mkdir(parents=True)
    (own / "models" / "mine.yaml").write_text(
        text.replace("name: eeve", "name: mine").replace("sft: {}", "sft: {sample_packing_bin_size: 100}"), "utf-8"
    )
    config = RunConfig(model="mine", templates=str(own), gpus=8)
    assert question_of(make_plan(config, eight_gpus, tmp_path / "run", Scope(dry=True))).keys == (
        "sample_packing_bin_size",
    )
    preset = own / "models" / "mine.yaml"
    preset.write_text(preset.read_text("utf-8").replace("sample_packing_bin_size: 100", "lora_r: 0"), "utf-8")
    line = next(n for n, one in enumerate(preset.read_text("utf-8").splitlines(), 1) if one.startswith("sft:"))
    with pytest.raises(ConfigError, match="lora_r is 0") as caught:
        make_plan(config, eight_gpus, tmp_path / "run", Scope(dry=True))
    assert caught.value.where == f"{preset} line {line}, key sft.lora_r"


OWN_ENGINE = "recipe: {fsdp_version: 2, fsdp_config: {auto_wrap_policy: NOPE, bogus: 1}}\n"


@pytest.mark.parametrize("place", ["preset", "hardware"])
def test_what_a_layer_below_says_hides_no_key_of_the_user_s(place, tmp_path, eight_gpus):
    (shipped,) = template_folders()
    own = tmp_path / "templates"
    (own / "models").mkdir(parents=True)
    (own / "hardware").mkdir()
    text = (shipped / "models" / "eeve.yaml").read_text(encoding="utf-8").replace("name: eeve", "name: mine")
    if place == "preset":
        text = text.replace("sft: {}", "sft: {lora_target_linear: true}")
    else:
        gpu = (shipped / "hardware" / "gpu.yaml").read_text(encoding="utf-8")
        (own / "hardware" / "gpu.yaml").write_text(gpu.replace("sft:", "sft:\n  lora_target_linear: true", 1), "utf-8")
    (own / "models" / "mine.yaml").write_text(text, "utf-8")

    def keys(sft):
        config = RunConfig(model="mine", templates=str(own), gpus=8, sft=sft)
        question = question_of(make_plan(config, eight_gpus, tmp_path / "run", Scope(dry=True)))
        return question.keys if question else None

    assert keys({}) is None
    assert keys({"lora_target_linear": False}) == ("lora_target_linear",)


@pytest.mark.parametrize("engine", ["fsdp2", "hsdp"])
def test_an_engine_s_template_of_one_s_own_is_asked_about(engine, tmp_path, eight_gpus, monkeypatch):
    monkeypatch.setenv("ALPHAF_NODE_RANK", "0")
    monkeypatch.setenv("ALPHAF_NODE_ADDRESS", "node0")
    own = tmp_path / "templates" / "engines"
    own.mkdir(parents=True)
    (own / "zero3.yaml.j2").write_text("recipe: {bogus: 1}\n", encoding="utf-8")  # not this one
    nodes = 2 if engine == "hsdp" else 1
    settings = {"templates": str(own.parent), "nodes": nodes, "sft": {"engine": engine}}
    assert question_of(plan(eight_gpus, tmp_path, **settings)) is None
    (own / "fsdp2.yaml.j2").write_text(OWN_ENGINE, encoding="utf-8")
    assert set(question_of(plan(eight_gpus, tmp_path, **settings)).keys) >= {"fsdp_config"}
