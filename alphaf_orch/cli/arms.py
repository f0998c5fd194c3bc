"""What `ablate` and `bakeoff` share where a scheduler takes the arms: submitted and followed, or printed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import How, log_console
from alphaf_orch.cli.plan_view import print_arms_end
from alphaf_orch.cli.submit import file_json, print_file
from alphaf_orch.cli.wait import follow_jobs, so_far
from alphaf_orch.clusters.pipelined import files_of
from alphaf_orch.clusters.submit import Live
from alphaf_orch.core.spoken import say
from alphaf_orch.experiments.experiment import Experiment, ExperimentPaths
from alphaf_orch.experiments.plan import plan_arms
from alphaf_orch.experiments.submit import (
    REPORT,
    Beside,
    Submission,
    Wanted,
    places,
    report_job,
    submit_experiment,
    wanted_jobs,
)
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import STAGE_ORDER
from alphaf_orch.runs.notify.call import told_by_jobs
from alphaf_orch.runs.submission import Site


def submit_arms(
    experiment: Experiment,
    paths: ExperimentPaths,
    site: Site,
    how: How,
    parallel: int | None,
    beside: Beside | None = None,
) -> int | None:
    """Submit what an experiment lacks and print the ids; with --wait follow it to its end, and return its code."""
    told_by_jobs(experiment.arms[0].config, site.profile.env, partial(say, err=True))
    report = report_job(experiment, how.lang)
    since = so_far(paths.root)
    done = submit_experiment(
        experiment, paths, site, report, log_console(), beside,
        parallel=parallel, online=how.online, verbose=how.verbose,
    )  # fmt: skip
    if how.as_json:
        answer("submission", _told_json(experiment, done))
    else:
        _tell(experiment, paths, site, done)
    if not how.wait or not (done.ids or done.live):
        return None
    ids = [*done.ids.values(), *(each.record.job_id for each in done.live.values())]
    code = follow_jobs(experiment.name, ids, None if done.live else since, retold=(REPORT,))
    if how.as_json:
        answer("submission", {**_told_json(experiment, done), "exit_code": code})
    return code


def _told_json(experiment: Experiment, done: Submission) -> dict[str, Any]:
    under_way = {f"{each.record.run}:{each.record.name}": each.record.job_id for each in done.live.values()}
    return {"run": experiment.name, "submitted": dict(done.ids), "under_way": under_way}


def _tell(experiment: Experiment, paths: ExperimentPaths, site: Site, done: Submission) -> None:
    by_run: dict[str, list[str]] = {}
    for job in done.wanted.jobs:
        by_run.setdefault(job.run, []).append(f"{job.name} {done.ids.get(job.key, 'waits')}")
    for run, jobs in by_run.items():
        taken = _taken(experiment, done.wanted.shared.get(run, {}))
        say(f"[{_short(run, experiment)}] {', '.join(jobs)}{taken}")
    under_way: dict[str, list[str]] = {}
    for each in sorted(done.live.values(), key=_as_they_come):
        under_way.setdefault(each.record.run, []).append(f"{each.record.name} ({each})")
    for run, jobs in under_way.items():
        say(f"[{_short(run, experiment)}] under way already: {', '.join(jobs)}")
    failed = sum(outcome.state == "failed" for outcome in done.outcomes.values())
    if not done.ids and not done.live:
        what = f"{failed} arm(s) cannot start, the others are done" if failed else "all of it is done"
        say(f"experiment {experiment.name}: nothing to submit, {what}; report: {paths.page}")
        return
    name = experiment.name
    say(f"experiment {name}: {len(done.ids) or 'no'} job(s) submitted to {site.on}")
    say(f"state: `alphaf show {name}`; output: `alphaf logs {name} -f`; take it back: `alphaf cancel {name}`")


def _as_they_come(live: Live) -> tuple[str, int]:
    """Return what puts jobs under way by when they were submitted, and an arm's as its stages come."""
    stage = live.record.stage
    return live.record.at[:16], STAGE_ORDER.index(stage) if stage else len(STAGE_ORDER)


def _taken(experiment: Experiment, shared: Mapping[str, str]) -> str:
    """Return in words which stages an arm takes over, of whom."""
    by_maker: dict[str, list[str]] = {}
    for stage, maker in shared.items():
        by_maker.setdefault(maker, []).append(stage)
    found = [f"{', '.join(stages)} of {_short(maker, experiment)}" for maker, stages in by_maker.items()]
    return f"; shares {' and '.join(found)}" if found else ""


def _short(run: str, experiment: Experiment) -> str:
    return run.removeprefix(f"{experiment.name}/")


def dry_arms(
    experiment: Experiment, paths: ExperimentPaths, site: Site, language: str, parallel: int | None, beside: Beside
) -> tuple[dict[str, Plan], Wanted]:
    """Return what would be submitted were nothing under way; nothing is asked of the scheduler, nothing written."""
    plans, _ = plan_arms(experiment, paths, site, online=False, dry=True)
    report = report_job(experiment, language)
    return plans, wanted_jobs(experiment, paths, plans, site, report, beside, parallel=parallel, live={})


def jobs_of_arms(wanted: Wanted, paths: ExperimentPaths, site: Site) -> list[dict[str, Any]]:
    """Return the files that a scheduler would be given as JSON values."""
    files = files_of(wanted.jobs, site.profile, site.scheduler, partial(places, paths), site.place)
    return [file_json(file) for file in files]


def print_jobs(
    console: Console, wanted: Wanted, paths: ExperimentPaths, site: Site, plans: Mapping[str, Plan], how: How
) -> None:
    """Print what all of it takes; where all is asked for, before that every file, whole.

    These are what each stage reads, what the scheduler is given, and the command that hands it over.
    """
    here, shown = site.place, set[Path]()
    files = files_of(wanted.jobs, site.profile, site.scheduler, partial(places, paths), here)
    for file in files if how.full else ():
        console.rule(f"{', '.join(job.key for job in file.jobs)} on {site.on}", align="left")
        stages = [stage for job in file.jobs if (stage := wanted.stages.get(job.key))]
        for path, rendered in [item for stage in stages for item in stage.files.items()]:
            if path not in shown:
                shown.add(path)
                console.out(f"# {path}", highlight=False)
                console.out(rendered.text, highlight=False)
        print_file(console, file)
    print_arms_end(console, plans, lambda plan: site.machine(plan.config), how, tools_here=False)
    count = len(wanted.jobs)
    say(f"dry run: {count} jobs; nothing was submitted to {site.on.scheduler}, and nothing was written")
