"""Around a command: who will be told is said before it begins, and how it ended is told behind it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import click

from alphaf_orch.core import calls, signals
from alphaf_orch.core.errors import ConfigError, GoesOnLater, Interrupted, Stalled, interrupted
from alphaf_orch.core.guard import survived_by
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths
from alphaf_orch.core.record import now
from alphaf_orch.runs.notify.killed import last_word
from alphaf_orch.runs.notify.message import Event, failed, message, standing_at, with_standing
from alphaf_orch.runs.notify.send import checked, readable_by_others, send
from alphaf_orch.settings.config import RunConfig

Say = Callable[[str], None]
_telling: list[RunPaths] = []  # what is told of: a command that a job calls is the job's to tell of


@contextlib.contextmanager
def told_of(
    config: RunConfig | None,
    paths: RunPaths,
    say: Say,
    *,
    in_job: bool = False,
    ends: Callable[[], bool] = lambda: True,
) -> Iterator[None]:
    """Tell whoever `notify:` names how what is done inside ended; raise ConfigError where nobody could be reached.

    Nothing is told of what is refused before a lock is held: whoever typed it sees it; in a job (`in_job`) nobody does,
    and a notification that cannot be sent stops none. A good end is told where `ends` says so behind it, and never of
    an arm: its experiment tells its own.
    """
    notify = config.notify if config and not _telling else None
    if notify is None:
        yield
        return
    arm = (paths.root.parent / EXPERIMENT_FILE).is_file()
    try:
        who = checked(notify)
    except ConfigError as error:
        if not in_job:
            raise
        say(f"warning: notify: {error.what} ({error.where})")
    else:
        if not arm:
            say(f"notify: on {', '.join(notify.on)} {' and '.join(who)} will be told")
    if found := "" if arm else readable_by_others(notify):
        say(f"warning: notify: others can read {found}, which holds the webhook's address: chmod 600 it")
    begun, since, held = time.monotonic(), now(), calls.times_held()

    def tell(event: Event, **facts: Any) -> None:
        if event in notify.on and (in_job or calls.times_held() > held):
            told = message(event, paths, _command(), seconds=round(time.monotonic() - begun, 1), **facts)
            for problem in send(notify, with_standing(told, paths, since)):
                say(f"warning: notify: {problem}; this {event} was not told")

    _telling.append(paths)
    last = last_word(notify, paths, _command(), since)
    try:
        with survived_by(last) if "failure" in notify.on else contextlib.nullcontext():
            yield
    except (KeyboardInterrupt, Interrupted) as stop:
        known = stop if isinstance(stop, Interrupted) else _stopped(paths)
        if isinstance(known, GoesOnLater):
            tell("requeue", state="requeued", **failed(known))
        elif signals.asked_by() != signal.SIGINT:  # of one's own Ctrl-C one knows
            tell("failure", state="interrupted", **failed(known))
        raise
    except Stalled as error:
        tell("failure" if "failure" in notify.on else "stall", state="failed", **failed(error))
        raise
    except Exception as error:
        tell("failure", state="failed", **failed(error))
        raise
    finally:
        _telling.remove(paths)
    if not arm and ends():
        tell("end", state="done", exit_code=0)


def told_by_jobs(config: RunConfig, carried: Sequence[str], say: Say) -> None:
    """Say whom the jobs will tell; raise ConfigError where they could reach nobody, as far as that is seen here.

    `carried` are the variables that the profile hands to jobs.
    """
    notify = config.notify
    if notify is None:
        return
    name = notify.webhook_env
    if name and name not in carried:
        raise ConfigError(
            f"the jobs would not have the variable {name}, which notify takes the webhook's address from",
            where="key notify.webhook_env; `env:` of the profile",
            fix="put the address into a file that only you can read, on a disk that the machines share, and name it by"
            f" notify.webhook_file; or name {name} under `env:` of the profile",
            code="config.variable_not_passed",
        )
    say(f"notify: on {', '.join(notify.on)} the jobs will tell {' and '.join(checked(notify))}")


def stalled(config: RunConfig, paths: RunPaths, stage: str, silent: float, say: Say) -> None:
    """Tell that a stage has given no sign of life for so many seconds, where that was asked for; it goes on."""
    notify = config.notify
    if notify is None or "stall" not in notify.on:
        return
    what = f"{stage}: no progress for {silent / 60:.0f} minutes: neither log nor metrics nor files grow"
    told = message("stall", paths, _command(), stage=stage, state="running", what=what, where=str(paths.log(stage)))
    for problem in send(notify, standing_at(replace(told, next="it goes on; look at its log"), paths)):
        say(f"warning: notify: {problem}; this stall was not told")


def _command() -> str:
    context = click.get_current_context(silent=True)
    return (context.info_name or "") if context else ""


def _stopped(paths: RunPaths) -> Interrupted:
    """Return what a bare interrupt becomes further up."""
    fix = "the same command goes on where it stopped"
    return interrupted(f"it was interrupted by {signals.name()}", where=str(paths.root), fix=fix)
