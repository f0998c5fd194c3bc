"""Child program: lm-eval's own command line, in a process that can load our native classes too."""

from __future__ import annotations

from lm_eval.__main__ import cli_evaluate

from alphaf_orch.programs.architectures.orion import register

if __name__ == "__main__":
    register()
    cli_evaluate()
