"""Where `alphaf` begins and ends: signals, standard output and errors, and the exit code, around the command."""

from __future__ import annotations

import os
import sys

from alphaf_orch.core import signals
from alphaf_orch.core.signals import AWAITED


def main() -> None:
    """Run the command; a signal at any moment, or a reader that is gone, ends or harms nothing half-way."""
    signals.begin()  # the first instruction
    if "_ALPHAF_COMPLETE" in os.environ:  # a shell asks, at each TAB
        from alphaf_orch.cli.completion import complete

        complete()
        return
    from alphaf_orch.core.streams import make_lasting

    make_lasting()
    from alphaf_orch.cli.main import UNFORESEEN
    from alphaf_orch.cli.main import main as command
    from alphaf_orch.core.called import here

    if AWAITED in os.environ:
        from alphaf_orch.core.calls import take_up

        take_up()
    code = UNFORESEEN
    try:
        command(prog_name=here().alphaf)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    except KeyboardInterrupt:  # while its last words were said
        sys.stderr.write(f"error: alphaf was interrupted by {signals.name()}\n")
        code = signals.LATER_CODE if signals.goes_on_later() else signals.CODE
        sys.exit(code)
    except OSError as error:  # of the help, which no command printed
        from alphaf_orch.core.disk import disk_error

        failure = disk_error(error)
        if failure is None:
            raise
        failure.show()
        sys.exit(failure.exit_code)
    finally:
        signals.over()
        calls = sys.modules.get("alphaf_orch.core.calls")
        if calls:  # else it held nothing
            calls.ended(code)
