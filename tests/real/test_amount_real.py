"""The amount of training beside what the samplers of the tools do."""

import json
import random
import subprocess
import sys

import own_process
import pytest
from amounts import RECIPE, UNPACKED, report

from alphaf_orch.planning.amount import micro_batches, rows_left

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


def test_too_little_for_one_packed_micro_batch_is_refused_and_what_is_offered_trains(tmp_path, warm_python):
    rows = [{"messages": [{"role": "user", "content": f"질문 {i}"}, {"role": "assistant", "content": f"답 {i}"}]}
            for i in range(5)]  # fmt: skip
    data = tmp_path / "다섯.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

    def alphaf(*args):
        named = ("--model", "tiny", "--data", str(data), "--run", "r")
        return own_process.alphaf(tmp_path, "sft", *named, *args, python=warm_python)

    packing = ("--set", "sample_packing=true", "--set", "pad_to_sequence_len=true", "--set", "max_steps=1")
    for known in ("data: done", "data: done"):  # the second time from the report of the first
        refused = alphaf(*packing)
        assert refused.returncode == 3, refused.stderr
        assert known in refused.stderr
        assert "error: sft would train no step: 5 rows of " in refused.stderr
        assert "1 rank(s) x micro_batch_size 2 need 2 of them (1,024 tokens) for one" in refused.stderr
    states = json.loads((tmp_path / "실행" / "r" / "manifest.json").read_text(encoding="utf-8"))["stages"]
    assert set(states) == {"base_model", "data"}
    assert "--set sft.micro_batch_size=1" in refused.stderr
    trained = alphaf(*packing, "--set", "sft.micro_batch_size=1")
    assert trained.returncode == 0, trained.stderr
    assert "sft: done" in trained.stderr
