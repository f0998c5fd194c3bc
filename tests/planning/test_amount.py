"""How many micro batches a rank gets of the data: too few are refused before anything is loaded."""

import pytest
from amounts import RECIPE, UNPACKED, report

from alphaf_orch.core.errors import DataError
from alphaf_orch.planning.amount import check_amount, micro_batches, planned_steps, rows_held_out
from alphaf_orch.programs.training.counts import packed


def refusal(found, recipe=RECIPE, ranks=8):
    with pytest.raises(DataError) as caught:
        check_amount(found, recipe, ranks, "sft", "reports/data.json")
    return caught.value


def test_ten_packed_sequences_are_none_for_eight_ranks_of_two():
    """The shipped sample on the article's machine: 38,797 tokens."""
    error = refusal(report([97] * 399 + [94]))
    assert error.exit_code == 3
    assert error.what == (
        "sft would train no step: 400 rows of 38,797 tokens in all fill 10 packed sequences of 4,096, and"
        " 8 rank(s) x micro_batch_size 2 need 16 of them (65,536 tokens) for one"
    )
    ways = ("--gpus 4", "--set sft.micro_batch_size=1", "--set sft.sample_packing=false")
    assert error.fix == f"with these data: {', or '.join(ways)}; or give more"


def test_gpus_are_offered_as_those_of_each_machine():
    with pytest.raises(DataError) as caught:
        check_amount(report([97] * 399 + [94]), RECIPE, 16, "sft", "", nodes=2)
    assert "--gpus 2," in caught.value.fix, "on two machines four ranks are two each"


def test_what_is_offered_works():
    found = report([97] * 399 + [94])
    batch = RECIPE["micro_batch_size"] * 4 * 8
    assert check_amount(found, RECIPE | {"gradient_accumulation_steps": batch // 8}, 4, "sft", "")
    for change in ({"micro_batch_size": 1}, {"sample_packing": False}):
        assert micro_batches(found, RECIPE | change, 8) > 0


@pytest.mark.parametrize(
    ("machines", "sequences", "way"),
    [(2, 17, "--gpus 4"), (2, 5, "--gpus 1"), (2, 3, "--nodes 1 --gpus 1"), (4, 5, "--nodes 1 --gpus 2")],
)
def test_of_several_machines_the_gpus_of_each_are_advised(machines, sequences, way):
    """16 ranks: what the option takes are the GPUs of one machine, and the ways that are offered work."""
    found = report([4096] * (sequences + 1))
    with pytest.raises(DataError) as caught:
        check_amount(found, RECIPE, 16, "sft", "", nodes=machines)
    assert caught.value.fix.startswith(f"with these data: {way}, or ") or caught.value.fix.startswith(
        f"with these data: {way};"
    )
    words = way.split()
    ranks = int(words[-1]) * (1 if "--nodes" in words else machines)
    assert micro_batches(found, RECIPE, ranks) > 0


def test_a_step_of_fewer_micro_batches_is_said():
    (warning,) = check_amount(report([4096] * 34), RECIPE, 8, "sft", "")
    assert warning == (
        "sft: the data give each rank 2 micro batches an epoch, so that a step is made of 2 instead of 4"
        " (global batch 32 instead of 64)"
    )
    assert check_amount(report([4096] * 80), RECIPE, 8, "sft", "") == []


def test_an_evaluation_that_would_see_no_row_is_said():
    recipe = RECIPE | {"eval_sample_packing": False}
    (warning,) = check_amount(report([4096] * 700), recipe, 8, "sft", "")
    assert warning.startswith("sft: 14 rows are held out, and 8 x 2 make one evaluation batch: there will be no eval")
    assert check_amount(report([4096] * 700), recipe | {"val_set_size": 16}, 8, "sft", "") == []


def test_rows_that_are_used_twice_are_said():
    warnings = check_amount(report([50] * 5), UNPACKED | {"gradient_accumulation_steps": 1}, 4, "sft", "")
    assert warnings == ["sft: 5 rows for 4 x 2 of a micro batch: some are used twice in a step"]


def test_all_rows_too_long():
    error = refusal(report([300, 412], 256), UNPACKED, 1)
    assert "each of the 2 rows is longer than sequence_len 256, and dropped" in error.what
    assert error.fix == "with these data: --set sft.sequence_len=412 (if the model reads as much); or give more"


def test_changes_that_work_only_together():
    error = refusal(report([300, 412], 256), RECIPE, 2)
    ways = (
        "sequence_len=412 (if the model reads as much)",
        "micro_batch_size=1",
        "sample_packing=false",
        "val_set_size=0",
    )
    assert error.fix.startswith("with these data: --set sft.sequence_len=412")
    assert all(f"--set sft.{way}" in error.fix for way in ways)


def test_the_only_row_is_held_out():
    error = refusal(report([60]), UNPACKED | {"val_set_size": 0.02}, 1)
    assert "val_set_size 0.02 takes the only row away" in error.what
    assert error.fix == "with these data: --set sft.val_set_size=0; or give more"
    assert check_amount(report([60] * 5), UNPACKED | {"val_set_size": 0.02}, 1, "sft", "") != []


def test_packing_a_million_rows_stays_bounded():
    assert packed((4096 for _ in range(10**6)), 4096) == 1024
    assert packed([2049] * 7, 4096) == 7
    assert packed([1] * 4097, 4096) == 2


@pytest.mark.parametrize(
    ("lengths", "changes", "ranks", "section", "steps"),
    [
        ([4096] * 66, {"max_steps": 7}, 8, "sft", 7),
        # 65 sequences beside the two held out: 32 micro batches, one step of 8 ranks x 4.
        ([4096] * 67, {"num_epochs": 2}, 8, "sft", 2),
        ([4096] * 67, {"num_epochs": 2.5}, 8, "sft", 2),
        ([4096] * 67, {"num_epochs": 1}, 1, "sft", 8),
        ([50] * 100, {"num_epochs": 1, "sample_packing": False, "val_set_size": 0}, 1, "sft", 13),
        ([50] * 100, {"num_epochs": 2, "sample_packing": False, "val_set_size": 0}, 1, "sft", 25),
        ([50] * 100, {"num_epochs": 2, "sample_packing": False, "val_set_size": 0}, 1, "dpo", 26),
        ([50] * 3, {"num_epochs": 3, "sample_packing": False, "val_set_size": 0}, 2, "dpo", 3),
    ],
)
def test_steps_are_counted_as_the_trainers_count_them(lengths, changes, ranks, section, steps):
    """axolotl rounds all epochs together, TRL each one; axolotl without packing up, with packing down."""
    assert planned_steps(report(lengths), RECIPE | changes, ranks, section) == steps


def test_steps_do_not_depend_on_how_the_global_batch_is_cut_up():
    found = report([4096] * 700)
    cut = [(1, 32), (2, 16), (4, 8), (8, 4), (16, 2), (32, 1)]
    recipes = [(RECIPE | {"num_epochs": 2, "gradient_accumulation_steps": steps}, ranks) for ranks, steps in cut]
    assert len({planned_steps(found, recipe, ranks, "sft") for recipe, ranks in recipes}) == 1


def test_rows_held_out_are_of_those_that_are_not_dropped():
    found = report([5000] * 10 + [100] * 90)
    recipe = RECIPE | {"excess_length_strategy": "drop"}
    assert rows_held_out(found, recipe | {"val_set_size": 0.1}) == 9
    assert rows_held_out(found, recipe | {"val_set_size": 20}) == 20
    assert rows_held_out(found, recipe | {"val_set_size": 0}) == 0
