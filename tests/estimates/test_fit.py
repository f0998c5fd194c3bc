"""What fits, the largest micro batch, and the engine that a recipe gets with its reason."""

from __future__ import annotations

from itertools import product

import pytest
from estimate_recipes import DPO, EACH, FULL, LORA, ORION, QLORA, shape

from alphaf_orch.estimates.fit import engine_for, fits, largest_micro_batch_size
from alphaf_orch.estimates.memory import Setup, peak_memory
from alphaf_orch.estimates.shapes import H100_BYTES

SMALL_CARD = 24 * 10**9


@pytest.mark.parametrize(
    ("name", "recipe", "setup", "engine", "reason"),
    [
        (
            "eeve",
            QLORA,
            Setup(8),
            "ddp",
            "the adapter on 10.8B needs 34.5 GiB on each of 8 GPUs of 79.6 GiB: no sharding",
        ),
        ("eeve", QLORA, Setup(1), "ddp", "one GPU: the adapter on 10.8B needs 30.3 GiB of 79.6 GiB"),
        ("eeve", QLORA, Setup(0), "ddp", "trained on the CPU, in one process"),
        (
            "eeve",
            FULL,
            Setup(8),
            "fsdp2",
            "full fine-tuning of 10.8B needs 212.8 GiB a GPU unsharded, 79.6 GiB are there;"
            " sharded over 8 GPUs it needs 28.6 GiB",
        ),
        (
            "eeve",
            FULL,
            Setup(8, 2),
            "hsdp",
            "full fine-tuning of 10.8B needs 212.8 GiB a GPU unsharded, 79.6 GiB are there;"
            " sharded over 8 GPUs of each node it"
            " needs 28.6 GiB",
        ),
        (
            "eeve",
            FULL,
            Setup(2),
            "",
            "full fine-tuning of 10.8B needs 212.8 GiB a GPU unsharded, 79.6 GiB are there;"
            " sharded over 2 GPUs by fsdp2 it"
            " still needs 90.6 GiB; with engine_offload it would fit",
        ),
        (
            "eeve",
            FULL,
            Setup(1),
            "",
            "full fine-tuning of 10.8B needs 171.0 GiB a GPU unsharded, 79.6 GiB are there;"
            " one GPU has nothing to"
            " share with",
        ),
        (
            "eeve",
            LORA,
            Setup(8, gpu_memory=SMALL_CARD),
            "fsdp2",
            "the adapter on 10.8B needs 49.4 GiB a GPU unsharded, 22.4 GiB are there;"
            " sharded over 8 GPUs it needs 17.4 GiB",
        ),
        (
            "qwen",
            QLORA,
            Setup(8, gpu_memory=SMALL_CARD),
            "",
            "the adapter on 14.2B needs 48.4 GiB a GPU unsharded, 22.4 GiB are there;"
            " sharded over 8 GPUs by zero3 it still"
            " needs 25.2 GiB; micro_batch_size 1 would fit",
        ),
    ],
)
def test_an_engine_and_why(name, recipe, setup, engine, reason):
    found = engine_for(shape(name), recipe, setup)
    assert (found.engine, found.reason) == (engine, reason)


def test_over_nodes_what_one_node_cannot_hold_is_shared_by_all():
    found = engine_for(shape("eeve"), FULL, Setup(8, 4, gpu_memory=24 * 10**9))
    assert found.engine == "fsdp2" and "sharded over 4 x 8 GPUs" in found.reason


def test_a_card_of_unknown_size_stops_nothing():
    assert engine_for(shape("orion"), {**LORA, **ORION}, Setup(8, gpu_memory=0)).engine == "ddp"
    assert engine_for(shape("orion"), FULL, Setup(8, gpu_memory=0)).engine == "fsdp2"
    assert fits(shape("orion"), FULL, Setup(1, gpu_memory=0))


@pytest.mark.parametrize(
    ("name", "recipe", "card"),
    list(product(["eeve", "qwen", "orion", "smollm2"], [QLORA, LORA, FULL], [SMALL_CARD, 48 * 10**9, H100_BYTES])),
)
def test_an_engine_that_is_chosen_fits_and_none_is_refused_that_would(name, recipe, card):
    one = shape(name)
    for gpus, nodes in ((1, 1), (2, 1), (8, 1), (8, 2)):
        found = engine_for(one, recipe, Setup(gpus, nodes, card))
        given = recipe if found.engine == "ddp" else {**recipe, **EACH}
        if found.engine:
            assert fits(one, given, Setup(gpus, nodes, card, found.engine))
        else:
            engines = ("fsdp2", "zero3") if gpus * nodes > 1 else ()
            assert not any(fits(one, {**recipe, **EACH}, Setup(gpus, nodes, card, engine)) for engine in engines)
            assert not fits(one, recipe, Setup(gpus, nodes, card))


def test_the_largest_micro_batch_fits_and_the_next_does_not():
    one, setup = shape("qwen"), Setup(8)
    recipe = {**QLORA, "micro_batch_size": 2, "gradient_accumulation_steps": 12}
    micro = largest_micro_batch_size(one, recipe, setup)
    assert 24 % micro == 0 and micro > 1
    after = next(size for size in range(micro + 1, 25) if 24 % size == 0)
    sizes = [peak_memory(one, {**recipe, "micro_batch_size": size}, setup).total for size in (micro, after)]
    assert sizes[0] <= setup.gpu_memory < sizes[1]


def test_no_micro_batch_fits_what_the_weights_alone_overflow():
    assert largest_micro_batch_size(shape("orion"), FULL, Setup(1)) == 0


def test_preference_training_is_asked_alike():
    assert largest_micro_batch_size(shape("eeve"), DPO, Setup(1), "dpo") == 16
    assert engine_for(shape("eeve"), DPO, Setup(1), "dpo").engine == "ddp"
