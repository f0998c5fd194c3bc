"""How many micro batches a rank gets of the data: too few are refused before anything is loaded."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from alphaf_orch.core.errors import ConfigError, DataError
from alphaf_orch.planning.amount import check_amount, check_settings, micro_batches, rows_left
from alphaf_orch.programs.training.data_stats import Counts, packed

REPO = Path(__file__).parents[2]

RECIPE = {
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "val_set_size": 0.02,
    "sequence_len": 4096,
    "sample_packing": True,
    "attn_implementation": "sdpa",
    "excess_length_strategy": "drop",
}
UNPACKED = RECIPE | {"sample_packing": False, "val_set_size": 0}


def report(lengths, sequence_len=4096):
    counts = Counts()
    for length in lengths:
        counts.add([[{"role": "user", "content": "가"}]], [length], None)
    return counts.summary(sequence_len)


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


def test_what_is_offered_works():
    found = report([97] * 399 + [94])
    batch = RECIPE["micro_batch_size"] * 4 * 8
    assert check_amount(found, RECIPE | {"gradient_accumulation_steps": batch // 8}, 4, "sft", "")
    for change in ({"micro_batch_size": 1}, {"sample_packing": False}):
        assert micro_batches(found, RECIPE | change, 8) > 0


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
    assert "val_set_size 0.02 takes all of 1 rows away" in error.what
    assert error.fix == "with these data: --set sft.val_set_size=0; or give more"
    assert check_amount(report([60] * 5), UNPACKED | {"val_set_size": 0.02}, 1, "sft", "") != []


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"max_steps": 0, "num_epochs": 2}, "max_steps"), ({"max_steps": None, "num_epochs": 0}, "num_epochs")],
)
def test_settings_that_plan_no_step_are_refused(settings, key):
    with pytest.raises(ConfigError, match=f"{key} is 0: no step would be trained"):
        check_settings(settings, "sft")


@pytest.mark.parametrize("settings", [{"max_steps": 3}, {"max_steps": -1, "num_epochs": 1}, {"num_epochs": 0.5}])
def test_settings_that_plan_steps_pass(settings):
    check_settings(settings, "sft")


def test_packing_a_million_rows_stays_bounded():
    assert packed((4096 for _ in range(10**6)), 4096) == 1024
    assert packed([2049] * 7, 4096) == 7
    assert packed([1] * 4097, 4096) == 2


# Prints, for each case, the batches of every rank, made by axolotl's and accelerate's own samplers.
SAMPLERS = """
import json, sys
from accelerate.data_loader import BatchSamplerShard
from axolotl.utils.samplers.multipack import MultipackBatchSampler
from torch.utils.data import BatchSampler, SequentialSampler

found = []
for lengths, micro, ranks, length, packing in json.load(open(sys.argv[1])):
    order = SequentialSampler(lengths)
    sampler = BatchSampler(order, micro, drop_last=False)
    if packing:
        batch, capacity = (1, micro * length) if packing == "long" else (micro, length)
        sampler = MultipackBatchSampler(
            order, batch_size=batch, batch_max_len=capacity, lengths=lengths, bin_size=200, drop_last=True,
            num_processes=1,
        )
    shards = [BatchSamplerShard(sampler, ranks, rank, even_batches=not packing) for rank in range(ranks)]
    found.append([len(list(shard)) for shard in shards])
print("RESULT" + json.dumps(found))
"""


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
def test_the_number_is_that_of_axolotl_s_and_accelerate_s_own_samplers(tmp_path):
    draw = random.Random(5)
    cases = []
    for packing in ("", "rows", "long"):
        for _ in range(20):
            lengths = [draw.randint(1, draw.choice((40, 128))) for _ in range(draw.randint(1, 90))]
            cases.append((lengths, draw.randint(1, 4), draw.choice((1, 2, 3, 8)), 128, packing))
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    line = [sys.executable, "-c", SAMPLERS, str(tmp_path / "cases.json")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout.partition("RESULT")[2])
    zeros = 0
    for (lengths, micro, ranks, length, packing), batches in zip(cases, got, strict=True):
        recipe = UNPACKED | {"micro_batch_size": micro, "sample_packing": bool(packing)}
        if packing == "long":
            recipe |= {"attn_implementation": "flash_attention_2"}
        assert len(set(batches)) == 1, "each rank gets as many"
        counted = micro_batches(report(lengths, length), recipe, ranks)
        # One long row wastes less than the rows that were counted: there a full round may be one too many.
        assert abs(counted - batches[0]) <= (packing == "long"), (lengths, micro, ranks, packing)
        zeros += batches[0] == 0
    assert zeros > 3
    assert rows_left(report([300, 60], 256), RECIPE) == 0


@pytest.mark.real
def test_too_little_for_one_packed_micro_batch_is_refused_and_what_is_offered_trains(tmp_path):
    rows = [{"messages": [{"role": "user", "content": f"질문 {i}"}, {"role": "assistant", "content": f"답 {i}"}]}
            for i in range(5)]  # fmt: skip
    data = tmp_path / "다섯.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

    def alphaf(*args):
        line = [sys.executable, "-m", "alphaf_orch", "sft", "--model", "tiny", "--data", str(data), "--run", "r", *args]
        env = os.environ | {"PYTHONPATH": str(REPO)}
        return subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=280, check=False)

    packing = ("--set", "sample_packing=true", "--set", "pad_to_sequence_len=true", "--set", "max_steps=1")
    for known in ("data: done", "data: done"):  # the second time from the report of the first
        refused = alphaf(*packing)
        assert refused.returncode == 3, refused.stderr
        assert known in refused.stderr
        assert "error: sft would train no step: 5 rows of " in refused.stderr
        assert "1 rank(s) x micro_batch_size 2 need 2 of them (1,024 tokens) for one" in refused.stderr
    states = json.loads((Path(os.environ["ALPHAF_RUNS"]) / "r" / "manifest.json").read_text(encoding="utf-8"))["stages"]
    assert set(states) == {"base_model", "data"}
    assert "--set sft.micro_batch_size=1" in refused.stderr
    trained = alphaf(*packing, "--set", "sft.micro_batch_size=1")
    assert trained.returncode == 0, trained.stderr
    assert "sft: done" in trained.stderr
