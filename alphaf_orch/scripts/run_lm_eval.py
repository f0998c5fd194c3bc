"""Child program: lm-eval's own command line, in a process that can load our native classes too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lm_eval.__main__ import cli_evaluate

if TYPE_CHECKING:
    from alphaf_orch.scripts.orion import register
else:
    from orion import register

if __name__ == "__main__":
    register()
    cli_evaluate()
