"""The global batch is kept on fewer GPUs; layers win in their order."""

import pytest

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.render import plain
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.planning.recipes import adapter_of, global_batch, keep_global_batch, with_own_batch
from alphaf_orch.settings.config import RunConfig

RECIPE = plain({"micro_batch_size": 2, "gradient_accumulation_steps": 4})


@pytest.mark.parametrize(("gpus", "steps"), [(4, 8), (2, 16), (1, 32), (0, 32), (16, 2)])
def test_accumulation_rises_as_gpus_fall(gpus, steps):
    kept = keep_global_batch(RECIPE, [], written_for=8, gpus=gpus, option="--gpus")
    assert kept == {"gradient_accumulation_steps": steps}
    assert global_batch(plain({**RECIPE.values, **kept}), gpus) == 64


def test_nothing_changes_on_the_gpus_it_was_written_for():
    assert keep_global_batch(RECIPE, [], written_for=8, gpus=8, option="--gpus") == {}


def test_a_batch_that_cannot_be_cut_is_refused_with_the_counts_that_can():
    with pytest.raises(ConfigError) as caught:
        keep_global_batch(RECIPE, [], written_for=8, gpus=3, option="--gpus")
    assert caught.value.what == "a global batch of 64 cannot be cut into 3 GPUs x micro_batch_size 2"
    assert "use one of 1, 2, 4, 8 GPUs" in caught.value.fix


def test_the_user_s_own_accumulation_is_taken_as_it_is():
    layers = [("model eeve", {}), ("yours", {"gradient_accumulation_steps": 3})]
    assert keep_global_batch(RECIPE, layers, written_for=8, gpus=1, option="--gpus") == {}


@pytest.mark.parametrize(
    ("layers", "adapter"),
    [
        ([], "qlora"),
        ([("m", {"adapter": "lora"})], "lora"),
        ([("m", {"adapter": "lora"}), ("u", {"adapter": "full"})], "full"),
        ([("u", {"adapter": None})], "full"),
    ],
)
def test_the_last_layer_says_which_recipe(layers, adapter):
    assert adapter_of(layers) == adapter


def test_an_unknown_adapter_is_refused(cpu, tmp_path):
    for sets in ({"adapter": "dora"}, {"adapter": "fulll"}):
        with pytest.raises(ConfigError, match=f"adapter is '{sets['adapter']}'"):
            make_plan(RunConfig(model="eeve", sft=sets), cpu, tmp_path, Scope(dry=True))


MACHINE = ("hardware/gpu.yaml", {"micro_batch_size": 8, "gradient_accumulation_steps": 2, "other": 1})


@pytest.mark.parametrize(("gpus", "micro", "steps"), [(2, 8, 1), (4, 4, 1), (8, 2, 1), (16, 1, 1)])
def test_a_batch_that_the_machine_s_layer_cut_is_cut_smaller_for_more_gpus(gpus, micro, steps):
    recipe = plain({"micro_batch_size": 8, "gradient_accumulation_steps": 2})
    kept = keep_global_batch(recipe, [MACHINE, ("yours", {})], written_for=1, gpus=gpus, option="--gpus")
    values = {**recipe.values, **kept}
    assert (values["micro_batch_size"], values["gradient_accumulation_steps"]) == (micro, steps)
    assert global_batch(plain(values), gpus) == 16


def test_a_batch_that_no_micro_batch_cuts_is_refused_whoever_chose_it():
    recipe = plain({"micro_batch_size": 8, "gradient_accumulation_steps": 2})
    with pytest.raises(ConfigError, match="16 cannot be cut into 3 GPUs"):
        keep_global_batch(recipe, [MACHINE], written_for=1, gpus=3, option="--gpus")


@pytest.mark.parametrize("key", ["micro_batch_size", "gradient_accumulation_steps"])
@pytest.mark.parametrize("hand", ["model own", "yours"])
def test_who_names_a_part_of_the_cut_gets_the_recipe_s_other_part(hand, key):
    """Or a run that named one of them would go on with another global batch."""
    layers = [MACHINE, (hand, {key: 4})]
    assert with_own_batch(layers) == [("hardware/gpu.yaml", {"other": 1}), (hand, {key: 4})]
    assert with_own_batch([MACHINE, (hand, {"seed": 1})]) == [MACHINE, (hand, {"seed": 1})]
