"""`alphaf runs`, `show` and `chat`: parse, call one function, print; no stage is run here."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import Finite, command, option, out_console, with_options
from alphaf_orch.cli.views import (
    print_experiment,
    print_run,
    print_runs,
)
from alphaf_orch.core import signals
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.names import named_folder
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.spoken import say
from alphaf_orch.experiments.experiment import ExperimentPaths, all_experiments, is_experiment, read_record
from alphaf_orch.runs.chat import talk
from alphaf_orch.runs.find import all_runs, existing_run, submitted_run
from alphaf_orch.runs.jobs import Told, ask, counted, job_json, with_arms
from alphaf_orch.runs.look import run_json, run_or_damage


@command()
@with_options("as_json")
def runs(as_json: bool) -> None:
    """List the runs and the experiments, the newest last, with the state of each."""
    found, experiments = all_runs(), {paths: with_arms(paths.root) for paths in all_experiments()}
    told = ask([*found, *(each for places in experiments.values() for each in places)])
    rows = [run_or_damage(paths, told) for paths in found]
    if as_json:
        found_experiments = [_told_json(experiment, places, told) for experiment, places in experiments.items()]
        answer("runs", {"runs": rows, "experiments": found_experiments, "jobs_note": told.note or None})
        return
    print_runs(out_console(), rows)
    for experiment, places in experiments.items():
        say(_told(experiment, places, told))
    if told.note:
        say(f"jobs: {told.note}", err=True)


def _told_json(paths: ExperimentPaths, places: Sequence[RunPaths], told: Told) -> dict[str, Any]:
    about = {"experiment": paths.root.name, "folder": str(paths.root)}
    try:
        record = read_record(paths)
    except RunStateError as error:
        return {**about, "damaged": error.what, "next": error.fix, "code": error.code}
    jobs = [job for each in places for job in told.standings.get(each, ())]
    return {
        **about,
        "kind": record["kind"],
        "arms": {arm["name"]: arm["state"] for arm in record["arms"]},
        "jobs": dict(Counter(job.state for job in jobs)),
        "report": str(paths.page) if paths.page.is_file() else None,
    }


def _told(paths: ExperimentPaths, places: Sequence[RunPaths], told: Told) -> str:
    try:
        record = read_record(paths)
    except RunStateError as error:
        return f"experiment {paths.root.name}: damaged: {error.what}; next: {error.fix}"
    done = sum(arm["state"] == "done" for arm in record["arms"])
    jobs = [job for each in places for job in told.standings.get(each, ())]
    said = f", jobs: {counted(jobs)}" if jobs else ""
    report = f", report: {paths.page}" if paths.page.is_file() else ""
    return f"experiment {record['name']}: {done} of {len(record['arms'])} arms done{said}{report}"


@command()
@click.argument("run")
@with_options("as_json")
def show(run: str, as_json: bool) -> None:
    """Show one run: the state of each stage, key metrics and paths; of an experiment that of each arm."""
    if is_experiment(run):
        whole = _experiment(ExperimentPaths(named_folder(runs_dir(), run)))
        if as_json:
            answer("experiment", whole)
        else:
            print_experiment(out_console(), whole)
        return
    paths = submitted_run(run) or existing_run(run)
    found = run_json(paths, ask([paths]))
    if as_json:
        answer("run", found)
    else:
        print_run(out_console(), found)


def _experiment(paths: ExperimentPaths) -> dict[str, Any]:
    """Return an experiment with its arms as they stand; raise RunStateError for a damaged record."""
    record = read_record(paths)
    places = with_arms(paths.root)
    told = ask(places)
    rows = {each.name: run_or_damage(each, told) for each in places[1:]}
    open_ones = {each.name for each in places[1:] if any(job.open for job in told.standings.get(each, ()))}

    def state(arm: Mapping[str, Any]) -> str:  # what is recorded is how it ended, the last time
        return "under way" if arm["name"] in open_ones else str(arm["state"])

    return {
        "experiment": record["name"],
        "kind": record["kind"],
        "folder": str(paths.root),
        "report": str(paths.page) if paths.page.is_file() else None,
        "arms": [
            {"arm": arm["name"], "variant": arm["variant"], "seed": arm["seed"], "state": state(arm)}
            | {"error": arm["error"] or None, "code": arm.get("code") or None, "run": rows.get(arm["name"])}
            for arm in record["arms"]
        ],
        "jobs": [job_json(job, places[0]) for job in told.standings.get(places[0], ())],
        "jobs_note": told.note or None,
    }


@command()
@click.argument("run")
@click.option("--prompt", help="Ask one question and leave.")
@click.option("--system", help="The system message.")
@option("max_new_tokens", default=256, show_default=True)
@click.option("--temperature", type=Finite(min=0), default=0.0, show_default=True, help="0 is greedy.")
def chat(run: str, prompt: str | None, system: str | None, max_new_tokens: int, temperature: float) -> None:
    """Chat with a run's newest finished model; works on CPU too."""
    paths = existing_run(run)
    code = talk(paths, prompt=prompt, system=system, max_new_tokens=max_new_tokens, temperature=temperature)
    if signals.asked():  # whatever the program made of it
        raise KeyboardInterrupt
    sys.exit(code)
