"""Two DPO trainings in the ranks of one launch: whole, then resumed. Starting ranks costs more than both of them.

Usage: dpo_twice CONFIG CHECKPOINT RESUMED_CONFIG; the metrics of the second stand in resumed.jsonl.
"""

import os
import sys
from pathlib import Path

from alphaf_orch.programs.training.dpo import main

if __name__ == "__main__":
    whole, checkpoint, resumed = sys.argv[1:]
    Path(f"rank_{os.environ['RANK']}.txt").write_text(os.environ["DS_IGNORE_CUDA_DETECTION"])
    main([whole])
    os.environ |= {"ALPHAF_METRICS": "resumed.jsonl", "ALPHAF_BATCHES": "resumed_batches.jsonl"}
    main([resumed, "--resume_from_checkpoint", checkpoint])
