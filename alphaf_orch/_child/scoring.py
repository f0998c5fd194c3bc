"""The scoring functions under the name by which the python of evaluation tasks imports them (docs/metrics.md)."""

from alphaf_orch.programs.scoring import *  # noqa: F403
