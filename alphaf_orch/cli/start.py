"""Where `alphaf` begins and ends: signals, standard output and errors, and the exit code, around the command."""

from __future__ import annotations

import contextlib
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
        _say_to_make(code)
        raise
    except KeyboardInterrupt:  # while its last words were said
        sys.stderr.write(f"error: alphaf was interrupted by {signals.name()}\n")
        code = signals.LATER_CODE if signals.goes_on_later() else signals.CODE
        _say_to_make(code)
        sys.exit(code)
    except OSError as error:  # of the help, which no command printed
        from alphaf_orch.core.disk import disk_error

        failure = disk_error(error)
        if failure is None:
            raise
        failure.show()
        _say_to_make(failure.exit_code)
        sys.exit(failure.exit_code)
    finally:
        signals.over()
        calls = sys.modules.get("alphaf_orch.core.calls")
        if calls:  # else it held nothing
            calls.ended(code)


def _say_to_make(code: int) -> None:
    """Say with which code alphaf ends where make called it: make's own is 2 whatever that of its recipe was."""
    if code and os.environ.get("MAKELEVEL", "0") != "0" and sys.argv[1:2] not in (["job"], ["part"]):
        from alphaf_orch.core.spoken import spoken

        with contextlib.suppress(OSError):  # a reader that is gone
            sys.stderr.write(f"  {spoken(f'exit:  {code} (make ends with 2)')}\n")
