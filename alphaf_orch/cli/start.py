"""Where `alphaf` begins and ends: signals, standard output and errors, and the exit code, around the command."""

from __future__ import annotations

import sys

from alphaf_orch.core import signals


def main() -> None:
    """Run the command; a signal at any moment, or a reader that is gone, ends or harms nothing half-way."""
    signals.begin()  # the first instruction
    from alphaf_orch.core.streams import make_lasting

    make_lasting()
    from alphaf_orch.cli.main import main as command

    try:
        command()
    except KeyboardInterrupt:  # while its last words were said
        sys.stderr.write(f"error: alphaf was interrupted by {signals.name()}\n")
        sys.exit(signals.CODE)
    except OSError as error:  # of the help, which no command printed
        from alphaf_orch.core.disk import disk_error

        failure = disk_error(error)
        if failure is None:
            raise
        failure.show()
        sys.exit(failure.exit_code)
    finally:
        signals.over()
