"""`alphaf job`: what a job of a scheduler runs on each of its machines; no command for people."""

from __future__ import annotations

import contextlib

import click

from alphaf_orch.cli.options import command, log_console
from alphaf_orch.clusters.submitted import Submitted, the_submitted
from alphaf_orch.core.calls import keep_in
from alphaf_orch.core.hardware import detect_machine
from alphaf_orch.core.nodes import Seat
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.report.card import write_model_card
from alphaf_orch.runs.in_job import job_seat, run_stage, written_down
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
    with written_down(paths, record) if first else contextlib.nullcontext():
        _do(paths, record, seat)


def _do(paths: RunPaths, record: Submitted, seat: Seat | None) -> None:
    if record.stage is None:
        from alphaf_orch.cli.main import main

        main.main(list(record.argv), prog_name="alphaf", standalone_mode=False)
        return
    keep_in(paths.log("alphaf"))
    if run_stage(paths, record, seat, detect_machine(), log_console()):
        write_model_card(paths)
