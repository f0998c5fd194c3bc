"""A trainer that is none: its ranks really meet, add up what each of them holds, and rank 0 leaves what training does.

Stands in for axolotl's, which trains in one process only on a CPU.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import yaml

sys.path.insert(0, os.environ["FAKES"])
import fake_tool

dist.init_process_group("gloo", timeout=timedelta(seconds=60))
rank, held = dist.get_rank(), torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(held)
print(
    f"rank {rank} of {dist.get_world_size()} on machine {os.environ['GROUP_RANK']}: the sum is {held.item():.0f}",
    flush=True,
)
if os.environ.get("DIES") == str(rank):
    sys.exit("error: this machine lost its card\n  where: slot 3\n  next:  put it back")
dist.barrier()
if rank == 0:
    config = next(word for word in sys.argv if word.endswith(".yaml"))
    fake_tool.train("sft", Path(yaml.safe_load(Path(config).read_text("utf-8"))["output_dir"]), "ok")
dist.barrier()
dist.destroy_process_group()
