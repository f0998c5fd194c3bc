"""What a training needs and takes: measured, scaled from what was measured, or by formula."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from estimate_recipes import DPO, EACH, FULL, KERNELS, ORION, QLORA
from measurements import EEVE, H100, REPORT, SCALED, asked, measured

from alphaf_orch.estimates import speed
from alphaf_orch.estimates.cost import BY_FORMULA, MIB, merge_cost, reading_cost, training_cost
from alphaf_orch.estimates.memory import phases
from alphaf_orch.estimates.ranges import Range, exactly
from alphaf_orch.estimates.rows import Rows
from alphaf_orch.estimates.shapes import Setup
from alphaf_orch.estimates.trained import Section
from alphaf_orch.planning import circumstances

EIGHT_LAYERS = replace(EEVE, layers=8, parameters=2_080_444_416)
# What training_of fills in by the engine: a path, and a table of which only is asked whether there is one.
OF_THE_ENGINE = {"fsdp_config", "deepspeed"}


def test_the_formula_gives_what_an_h100_measured():
    """docs/gpu-verification.md: 5,180 tokens/s of 48 layers, 29,153 of 8, sequences of short rows packed."""
    for shape, tokens_per_s in ((EEVE, 5180), (EIGHT_LAYERS, 29_153)):
        found = training_cost("sft", asked(shape=shape), [], [])
        assert found.tokens_per_s.value == pytest.approx(tokens_per_s, rel=0.05)
        assert found.tokens_per_s.low < tokens_per_s < found.tokens_per_s.high
        assert found.time_basis == BY_FORMULA


def test_the_formula_s_interval_holds_what_others_published():
    """NeMo AutoModel, bf16 LoRA at 4096 without recomputation: Llama3-8B, 12,473 tokens/s a GPU."""
    llama = replace(EEVE, layers=32, vocab_size=128_256, parameters=8_030_261_248)
    recipe = {"adapter": "lora", "lora_r": 16, "sample_packing": True}
    flops = speed.flops_per_token(llama, recipe, 4096)
    assert speed.reached(H100, recipe, 1).low / flops < 12_473 < speed.reached(H100, recipe, 1).high / flops


def test_operations_of_a_token():
    dense = EEVE.parameters - EEVE.vocab_size * EEVE.hidden_size
    assert speed.flops_per_token(EEVE, {}, 0) == pytest.approx(6 * dense)
    assert speed.flops_per_token(EEVE, {"gradient_checkpointing": True}, 0) == pytest.approx(8 * dense)
    lora = {"adapter": "lora", "lora_r": 1}
    assert speed.flops_per_token(EEVE, lora, 0) == pytest.approx(4 * dense, rel=0.01)
    assert speed.flops_per_token(EEVE, lora, 0, preference=True) == pytest.approx(6 * dense, rel=0.01)
    added = {**lora, "lora_r": 256}
    assert speed.flops_per_token(EEVE, added, 0) == pytest.approx(4 * dense + 6 * 1_006_632_960)
    attention = speed.flops_per_token(EEVE, {}, 4096) - speed.flops_per_token(EEVE, {}, 0)
    assert attention == 3 * 2 * 4096 * 4096 * 48


def test_the_same_training_is_said_by_what_it_took():
    found = training_cost("sft", asked(), [measured()], [])
    assert found.memory_basis == found.time_basis == "measured here (run earlier)"
    assert found.peak.value == 24453 * MIB + found.memory.unseen
    assert found.seconds.value == pytest.approx(99 * 6.3 + 73)
    assert found.seconds.low < found.seconds.value < found.seconds.high


def test_several_runs_of_it_make_the_interval():
    runs = [measured(), measured(peak_mib=20000.0, step_s=9.0), measured(peak_mib=30000.0, step_s=5.0)]
    found = training_cost("sft", asked(), runs, [])
    assert (found.peak.low, found.peak.high) == tuple(n * MIB + found.memory.unseen for n in (20000, 30000))
    assert found.seconds.low <= 99 * 5 + 73
    assert found.seconds.high >= 99 * 9 + 73


def test_with_other_data_the_speed_holds_and_the_steps_are_counted_anew():
    other = Rows({**REPORT, "tokens": {"total": 880_000, "max": 300}}, exactly(1.0), "", "another-key")
    found = training_cost("sft", asked(rows=other, steps=exactly(200)), [measured()], [])
    assert found.time_basis == "measured here (run earlier), with other data"
    assert found.seconds.value == pytest.approx(200 * 4 * 2 * 4096 / 5180 + 73, rel=0.02)


def test_what_the_formula_missed_of_a_near_training_is_carried_over():
    near = measured(shape=EIGHT_LAYERS, peak_mib=7977.0, tokens_per_s=29_153.0)
    found = training_cost("sft", asked(), [], [near])
    there = asked(shape=EIGHT_LAYERS).memory()
    assert found.peak.value == pytest.approx(found.memory.total + 7977 * MIB - there.recorded)
    assert found.tokens_per_s.value == pytest.approx(5180, rel=0.05)
    assert found.memory_basis == found.time_basis == "scaled from run earlier"


def test_what_is_too_far_off_is_not_scaled_from():
    speck = replace(EEVE, layers=1, hidden_size=64, intermediate_size=128, vocab_size=512, parameters=100_000)
    found = training_cost("sft", asked(), [], [measured(shape=speck)])
    assert found.memory_basis == found.time_basis == BY_FORMULA


@pytest.mark.parametrize(
    "lacks",
    [
        {"shape": {"layers": 48}, "scaled": {}},
        {"shape": {"layers": 48}},
        {"scaled": {}},
        {"scaled": {"micro_batch_size": 2}},
        {"scaled": {"sequence_len": 4096}},
    ],
)
def test_a_line_that_lacks_something_is_not_scaled_from(lacks):
    found = training_cost("sft", asked(), [], [replace(measured(), **lacks)])
    assert found.memory_basis == found.time_basis == BY_FORMULA


def test_eight_gpus_keep_most_of_their_speed_and_nodes_less():
    one, eight = (training_cost("sft", asked(setup=Setup(gpus)), [], []) for gpus in (1, 8))
    assert 0.85 <= eight.tokens_per_s.value / one.tokens_per_s.value / 8 <= 1
    nodes = training_cost("sft", asked(setup=Setup(8, nodes=2)), [], [])
    assert nodes.tokens_per_s.value / 16 < eight.tokens_per_s.value / 8


def test_of_a_card_without_a_data_sheet_only_the_time_is_not_known():
    found = training_cost("sft", asked(card="Some Accelerator"), [], [])
    assert (found.seconds, found.tokens_per_s) == (None, None)
    assert found.peak is not None


def test_padded_pairs_are_never_longer_than_sequence_len():
    recipe = {**SCALED, "load_in_4bit": True, "sequence_len": 1024}
    pairs = Rows({**REPORT, "tokens": {"total": 4000 * 900, "max": 1024}, "sequence_len": 1024}, Range(1, 0.5, 3), "")
    per_step = asked(recipe=recipe, rows=pairs, section="dpo").tokens_per_step()
    assert per_step.low < per_step.value <= per_step.high == 4 * 2 * 2 * 1024


def test_a_merge_is_known_by_one_of_this_machine_and_scaled_by_size():
    merged = replace(measured(shape=EIGHT_LAYERS), stage="merge_sft", got={"seconds": 45.0})
    again = merge_cost("merge_sft", exactly(1), EIGHT_LAYERS, [merged])
    assert (again.seconds.value, again.time_basis) == (45.0, "measured here (run earlier)")
    larger = merge_cost("merge_sft", exactly(1), EEVE, [merged])
    assert larger.seconds.value == pytest.approx(45 * EEVE.parameters / EIGHT_LAYERS.parameters)
    assert merge_cost("merge_sft", exactly(1), None, [merged]).time_basis == BY_FORMULA


def rows_of(report, key):
    return Rows(report, exactly(1.0), "", key)


def test_what_reads_rows_is_scaled_by_them_and_not_by_the_model_s_size():
    read = replace(measured(shape=EIGHT_LAYERS), stage="data", strict={}, scaled={}, got={"seconds": 13.0})
    more = rows_of({**REPORT, "rows": 40_000}, "another-key")
    larger = reading_cost("data", exactly(1), EIGHT_LAYERS, more, [read])
    assert larger.seconds.value == pytest.approx(13 * (15 + 40) / (15 + 4))
    assert larger.time_basis == "scaled from run earlier"
    of_a_larger_model = reading_cost("data", exactly(1), EEVE, rows_of(REPORT, "a-key"), [read])
    assert (of_a_larger_model.seconds.value, of_a_larger_model.time_basis) == (13.0, "scaled from run earlier")
    again = reading_cost("data", exactly(1), EIGHT_LAYERS, rows_of(REPORT, "a-key"), [read])
    assert (again.seconds.value, again.time_basis) == (13.0, "measured here (run earlier)")
    others_as_many = reading_cost("data", exactly(1), EIGHT_LAYERS, rows_of(REPORT, "another-key"), [read])
    assert others_as_many.time_basis == "scaled from run earlier"


def test_rows_that_are_not_known_or_were_not_kept_give_the_formula():
    read = replace(measured(), stage="data", strict={}, scaled={}, got={"seconds": 13.0})
    for found in (
        reading_cost("data", exactly(9), EEVE, None, [read]),
        reading_cost("data", exactly(9), EEVE, rows_of(REPORT, "a-key"), [replace(read, data={})]),
        reading_cost("data", exactly(9), EEVE, rows_of({**REPORT, "rows": 10**7}, "another-key"), [read]),
    ):
        assert (found.seconds, found.time_basis) == (exactly(9), BY_FORMULA)


def evaluating(setup, kept=(), **recipe):
    """Return the seconds of three evaluations of 200 rows, and the cost of the whole training."""
    other = Rows(REPORT, exactly(1.0), "", "another-key")
    changed = asked(rows=other, setup=setup, recipe={**asked().recipe, **recipe})
    without = training_cost("sft", changed, [], kept)
    found = training_cost("sft", replace(changed, held_out=200, evaluations=3), [], kept)
    return found.seconds.value - without.seconds.value, found


def test_rows_held_out_are_padded_to_their_own_length():
    """Whatever the training is padded to (programs/training/eval_padding.py); packed ones fill what they are in."""
    for changes in ({}, {"eval_sample_packing": False}, {"sample_packing": False, "pad_to_sequence_len": False}):
        seconds, found = evaluating(Setup(1), **changes)
        share = 2 * EEVE.parameters / asked().flops_per_token()
        assert seconds == pytest.approx(600 * 110 * share / found.tokens_per_s.value)


def test_an_evaluation_measured_on_one_gpu_is_shared_by_more():
    one = measured(eval_s_per_row=0.1)
    assert evaluating(Setup(1), [one])[0] == pytest.approx(60)
    assert evaluating(Setup(8), [one])[0] == pytest.approx(60 / 8)
    many = replace(one, machine={"card": H100, "gpus": 8, "nodes": 2})
    assert evaluating(Setup(8), [many])[0] == pytest.approx(60 * 2)


def test_a_peak_is_said_to_be_of_the_run_that_measured_it():
    without = replace(measured(), run="newer", got={"tokens_per_s": 5000.0})
    found = training_cost("sft", asked(), [without, measured()], [])
    assert found.memory_basis == "measured here (run earlier)"
    assert found.time_basis == "measured here (run earlier)"


def test_the_formula_of_a_merge_and_of_a_start_holds_what_was_measured():
    for shape, start, merge in ((EEVE, 73, 146), (EIGHT_LAYERS, 57, 45)):
        assert speed.start_seconds(shape, gpu=True).value == pytest.approx(start, rel=0.05)
        assert speed.merge_seconds(shape, gpu=True).value == pytest.approx(merge, rel=0.05)


class Watched(dict[str, Any]):
    """A recipe that notes which of its keys are asked for."""

    def __init__(self, values: dict[str, Any], seen: set[str]) -> None:
        super().__init__(values)
        self.seen = seen

    def __getitem__(self, key: str) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(key)
        return super().get(key, default)

    def keys(self) -> Any:
        raise AssertionError("whoever copies a recipe reads every key of it")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("whoever copies a recipe reads every key of it")


def recipes() -> Iterator[tuple[Section, dict[str, Any]]]:
    """Yield recipes that take each way through the formulas."""
    losses = ({}, {"chunked_cross_entropy": True}, {"liger_cross_entropy": True}, {"cut_cross_entropy": True})
    rows = ({}, {"sample_packing": False, "pad_to_sequence_len": False})
    kept = ({}, {"gradient_checkpointing": False}, {"selective_checkpointing": True})
    for base in (
        QLORA,
        {**QLORA, **ORION},
        {**FULL, "attn_implementation": "flash_attention_2"},
        FULL,
        {**FULL, **EACH},
    ):
        for changes in itertools.product(losses, rows, kept):
            yield "sft", base | changes[0] | changes[1] | changes[2]
    plain = {**QLORA, "load_in_4bit": None, "load_in_8bit": True, "bf16": False, **dict.fromkeys(KERNELS, False)}
    yield "sft", plain
    yield "sft", {**plain, "load_in_8bit": None, "lora_target_linear": None, "lora_target_modules": ["q_proj"]}
    for more in ({}, {"backend": "transformers"}, {"gradient_checkpointing": False}):
        yield "dpo", DPO | more


def test_all_that_the_formulas_read_of_a_recipe_decides_what_kind_of_training_it_is():
    seen: set[str] = set()
    engines = [("ddp", False), ("fsdp2", False), ("zero2", False), ("zero3", True), ("hsdp", True)]
    for section, recipe in recipes():
        setups = [Setup(0), Setup(1), *(Setup(8, 2, engine=engine, offload=offload) for engine, offload in engines)]
        for setup in setups:
            watched = Watched(recipe, seen)
            phases(EEVE, watched, setup, section)
            speed.flops_per_token(EEVE, watched, 512, preference=section == "dpo")
    assert {"accelerator_config", "lora_dropout", "bnb_config_kwargs", "precompute_ref_log_probs"} <= seen
    assert seen - {*circumstances.STRICT, *circumstances.SCALED} <= OF_THE_ENGINE


@pytest.mark.parametrize(
    ("card", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA GH200 480GB", 989.4),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A10G", 70.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA RTX A4000", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
    ],
)
def test_a_card_is_known_by_its_whole_name(card, peak):
    assert speed.peak_flops(card) == (peak and peak * 1e12)
