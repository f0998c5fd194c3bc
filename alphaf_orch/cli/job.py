"""`alphaf job`: what a job of a scheduler runs on each of its machines; no command for people."""

from __future__ import annotations

import contextlib
from functools import partial

import click

from alphaf_orch.cli.options import command, log_console
from alphaf_orch.clusters.submitted import Submitted, read_submitted, the_submitted
from alphaf_orch.core.calls import keep_in
from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.hardware import detect_machine
from alphaf_orch.core.nodes import Seat
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.experiments.experiment import ExperimentPaths
from alphaf_orch.report.card import write_model_card
from alphaf_orch.runs.in_job import job_seat, run_stage, written_down
from alphaf_orch.runs.notify.call import told_of
from alphaf_orch.settings.config import RunConfig, build_config, read_remembered
from alphaf_orch.settings.options import submitted_paths


@command()
@click.argument("run")
@click.argument("name")
def job(run: str, name: str) -> None:
    """Do what a submitted job is for: make its stage of a run, or call alphaf with what its record says."""
    paths = submitted_paths(run)
    record = the_submitted(paths, name)
    seat = job_seat(record)
    first = seat is None or not seat.rank
    console = log_console()
    told = told_of(_settings(paths), paths, partial(tell, console), in_job=True, ends=lambda: _is_last(paths, record))
    with told if first else contextlib.nullcontext(), written_down(paths, record, first=first):
        _do(paths, record, seat)


def _settings(paths: RunPaths) -> RunConfig | None:
    """Return what the run, or the first arm of the experiment, was set to; None for what cannot be read: it is told."""
    arms = sorted(ExperimentPaths(paths.root).settings("x").parent.glob("*.yaml"))
    file = paths.config if not arms else arms[0]
    try:
        return build_config(read_remembered(file), str(file))
    except AlphafError:
        return None


def _is_last(paths: RunPaths, record: Submitted) -> bool:
    """Return whether no other job of the run waits for this one."""
    try:
        return not any(record.job_id in other.after for other in read_submitted(paths))
    except AlphafError:  # rather told once too often
        return True


def _do(paths: RunPaths, record: Submitted, seat: Seat | None) -> None:
    if record.stage is None:
        from alphaf_orch.cli.main import main

        main.main(list(record.argv), prog_name="alphaf", standalone_mode=False)
        return
    if seat is None or not seat.rank:
        keep_in(paths.log("alphaf"))
    if run_stage(paths, record, seat, detect_machine(), log_console()):
        write_model_card(paths)
