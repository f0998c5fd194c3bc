"""What a training needs and takes: measured, scaled from what was measured, or by formula."""

from dataclasses import replace

import pytest
from measurements import EEVE, H100, REPORT, SCALED, STRICT, asked, measured

from alphaf_orch.estimates import speed
from alphaf_orch.estimates.cost import BY_FORMULA, MIB, other_cost, training_cost
from alphaf_orch.estimates.ranges import Range, exactly
from alphaf_orch.estimates.rows import Rows
from alphaf_orch.estimates.shapes import Setup

EIGHT_LAYERS = replace(EEVE, layers=8, parameters=2_080_444_416)


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


def test_a_line_that_lacks_something_is_not_scaled_from():
    broken = replace(measured(), shape={"layers": 48}, scaled={})
    found = training_cost("sft", asked(), [], [broken])
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
    again = other_cost("merge_sft", exactly(1), EIGHT_LAYERS, [merged])
    assert (again.seconds.value, again.time_basis) == (45.0, "measured here (run earlier)")
    larger = other_cost("merge_sft", exactly(1), EEVE, [merged])
    assert larger.seconds.value == pytest.approx(45 * EEVE.parameters / EIGHT_LAYERS.parameters)
    assert other_cost("merge_sft", exactly(1), None, [merged]).time_basis == BY_FORMULA


def test_the_formula_of_a_merge_and_of_a_start_holds_what_was_measured():
    for shape, start, merge in ((EEVE, 73, 146), (EIGHT_LAYERS, 57, 45)):
        assert speed.start_seconds(shape, gpu=True).value == pytest.approx(start, rel=0.05)
        assert speed.merge_seconds(shape, gpu=True).value == pytest.approx(merge, rel=0.05)


def test_strict_values_are_what_the_formula_reads():
    assert asked().recipe == {**STRICT, **SCALED}


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
