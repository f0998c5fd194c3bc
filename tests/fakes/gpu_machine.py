"""`alphaf` on a machine with one GPU, which is none: what its trainer does is the test's to say.

GRACE: the seconds that a launcher gets to end by itself once another machine has failed.
"""

import os
import sys

from alphaf_orch.core import hardware
from alphaf_orch.runs import runner
from alphaf_orch.runs.nodes import follower, leader

hardware._all_gpus = lambda: ("NVIDIA H100 of a test",)
hardware._smallest_memory = lambda devices: 85 * 10**9
runner.check_devices = lambda *_: None  # it would ask torch
leader.GRACE_S = follower.GRACE_S = float(os.environ.get("GRACE", "60"))

from alphaf_orch.cli.main import main  # noqa: E402

sys.argv[0] = "alphaf"
main()
