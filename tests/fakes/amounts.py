"""A data report and a recipe that the amount of training is computed from."""

from alphaf_orch.programs.training.counts import Counts

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
