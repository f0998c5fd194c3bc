"""What a training that is not well leaves, in place of the real one: see fake_tool.py.

oom:N       prints a card's error and fails while its micro batch holds more than N rows; prints none before `training`
oom_loading fails so before the model is loaded
rows:LOSSES writes a row a step with these losses (nan among them), then hangs
mute        prints nothing any more and hangs, with the stacks' signal caught
"""

import json
import math
import sys
import time
from pathlib import Path

from alphaf_orch.programs.stacks import print_stacks_on_signal

BEHAVIOURS = ("oom", "oom_loading", "rows", "mute")
OOM = """Traceback (most recent call last):
  File "/env/axolotl/cli/train.py", line 1, in <module>
    trainer.train()
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB."""


def behave(behaviour: str, recipe: dict, metrics: Path, planned: int) -> None:
    """Do what the behaviour says; return where it says that all is well."""
    name, _, amount = behaviour.partition(":")
    if name == "oom_loading":
        sys.exit(OOM)
    print(f"training on 1 rank(s), {planned} steps", flush=True)
    if name == "oom" and recipe["micro_batch_size"] > int(amount):
        sys.exit(OOM)
    if name == "rows":
        for n, loss in enumerate(map(float, amount.split(","))):
            finite = math.isfinite(loss)
            row = {"step": n + 1, "max_steps": planned, "loss": loss if finite else None, "time": float(n)}
            with metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row | ({} if finite else {"non_finite": ["loss"]})) + "\n")
        time.sleep(60)
    if name == "mute":
        print_stacks_on_signal()
        stuck_here()


def stuck_here() -> None:
    time.sleep(60)
