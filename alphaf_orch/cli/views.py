"""What the user reads: plans, runs, experiments, models and the table at the end, as text or as JSON values."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from alphaf_orch.cli.estimate_view import estimate_json, short_lines
from alphaf_orch.cli.job_view import (
    error_lines,
    failed_lines,
    job_words,
    requeue_lines,
    stageless,
    stages_words,
    waiting_lines,
)
from alphaf_orch.core.command import printable
from alphaf_orch.core.disk import size
from alphaf_orch.core.progress import clock
from alphaf_orch.core.shown import Table, show_line
from alphaf_orch.core.spoken import spoken
from alphaf_orch.inputs.presets import ModelPreset
from alphaf_orch.inputs.sources import Source, taken_as
from alphaf_orch.inputs.weights import WeightsState
from alphaf_orch.planning import allowed
from alphaf_orch.planning.forecast import Forecast
from alphaf_orch.planning.plan import Plan
from alphaf_orch.runs.status import Status

if TYPE_CHECKING:  # `alphaf plan` shows no experiment and need not import one
    from alphaf_orch.experiments.experiment import Arm, Experiment
    from alphaf_orch.runs.whole import Verified


def plan_json(
    plan: Plan, statuses: Sequence[Status], found: Forecast, lacking: Sequence[str], scratch: Path | None = None
) -> dict[str, Any]:
    """Return the plan with each stage's state, argv and rendered files, what it will take, and what lacks."""
    return {
        "run": plan.paths.full_name,
        "folder": str(plan.paths.root),
        "model": plan.preset.name,
        "gpus": dict(plan.gpus),
        "nodes": {section: plan.resolved.nodes(section) for section in plan.gpus},
        "engine": {"name": plan.engine.name, "reason": plan.engine.reason, "offload": plan.engine.offload},
        "data": {section: [_source(source) for source in found] for section, found in plan.sources.items() if found},
        "allowed": {"flags": allowed.given(plan.resolved), "files": [list(each) for each in _let_in(plan)]},
        "disk_bytes": plan.disk_bytes,
        "estimate": estimate_json(found),
        "lacks": list(lacking),
        "scratch": str(scratch) if scratch else None,
        "stages": [
            {
                "name": status.stage.name,
                "state": status.state,
                "reason": status.reason,
                "fingerprint": status.stage.fingerprint,
                "argv": list(status.stage.argv),
                "environment": dict(status.stage.env),
                "files": {str(path): file.text for path, file in status.stage.files.items()},
            }
            for status in statuses
        ],
    }


def print_plan(
    console: Console, plan: Plan, statuses: Sequence[Status], found: Forecast, scratch: Path | None = None
) -> None:
    """Print what would run and why, every rendered file, the exact command of each stage, and what it will take."""
    table = Table("stage", "state", "why", title=plan_title(plan), title_justify="left")
    for status in statuses:
        table.add_row(status.stage.name, spoken(status.state), spoken(status.reason))
    console.print(table)
    for line in (*facts_lines(plan), *data_lines(plan)):
        show_line(console, line)
    shown: set[Path] = set()
    for status in statuses:
        if not status.to_do:
            continue
        console.rule(status.stage.name, align="left")
        for path, file in status.stage.files.items():
            if path not in shown:
                shown.add(path)
                console.out(f"# {scratch / path.name if scratch else path}", highlight=False)
                console.out(file.text, highlight=False)
        env = " ".join(f"{key}={shlex.quote(value)}" for key, value in status.stage.env.items())
        console.out(
            f"$ {env} {printable(status.stage.argv)}" if env else f"$ {printable(status.stage.argv)}",
            highlight=False,
        )
    for line in short_lines(found):
        show_line(console, line)
    show_line(console, f"disk needed: about {size(plan.disk_bytes)}")


def plan_title(plan: Plan) -> str:
    """Return which run of which model a plan is, and on how many machines where these are several."""
    nodes = plan.resolved.nodes("sft")
    on = f" on {nodes} machines" if nodes > 1 else ""
    return f"run {plan.paths.full_name} ({plan.preset.name}){on}"


def facts_lines(plan: Plan) -> list[str]:
    """Return a line for the engine where it was chosen, and one for each flag that lets something in."""
    offload = " with what it can put to the CPU" if plan.engine.offload else ""
    engine = [f"engine: {plan.engine.name}{offload}, {plan.engine.reason}"] if plan.engine.reason else []
    return [*engine, *(f"allowed by {line}" for line in allowed_lines(plan))]


def allowed_lines(plan: Plan) -> list[str]:
    """Return a line for each flag that the run has, said now or remembered, with the files that it lets in."""
    return allowed.lines(allowed.given(plan.resolved), _let_in(plan))


def _let_in(plan: Plan) -> list[tuple[str, str, str]]:
    return [(each.kind, each.model, each.name) for each in allowed.let_in(plan.resolved)]


def _source(source: Source) -> dict[str, Any]:
    about = {"path": source.path, "taken_as": source.taken or source.format, "rows": source.rows}
    return {**about, "unused_keys": dict(source.unused or {})}


def data_lines(plan: Plan, most: int | None = None) -> Iterator[str]:
    """Yield what each data set was taken as, and of its columns nothing reads; of each training `most` at most."""
    for section, found in plan.sources.items():
        for source in found[:most]:
            yield f"{section} data: {source.path}"
            yield f"  taken as: {taken_as(source)}"
            if source.nfd_rows:
                what = f"  {source.nfd_rows:,} rows hold decomposed Hangul (NFD), which costs several times the tokens"
                yield f"{what}: `normalize: NFC` in the config composes it"
            if source.unused:
                unused = ", ".join(f"{key} ({rows:,} rows)" for key, rows in source.unused.items())
                yield f"  not used: {unused}"
        if most and len(found) > most:
            yield f"{section} data: {len(found) - most} more, {sum(each.rows or 0 for each in found):,} rows in all"
        if section == "sft" and any(source.format == "text" for source in found):
            yield "  all of each text is trained on, cut at sequence_len; no turn of a chat is"


def print_run(console: Console, run: Mapping[str, Any]) -> None:
    """Print the stages of a run with time, loss and reward accuracy, the model's path and how to chat with it."""
    table = Table("stage", "state", "time", "loss", "reward accuracy", title=f"run {run['run']}", title_justify="left")
    if run["jobs"]:
        table.add_column("job")
    for name, stage in run["stages"].items():
        result = stage["result"] or {}
        loss = f"{result['loss_first']:.3f} → {result['loss_last']:.3f}" if "loss_first" in result else ""
        accuracy = f"{result['rewards/accuracies']:.2f}" if "rewards/accuracies" in result else ""
        seconds = clock(stage["seconds"]) if stage["seconds"] is not None else ""
        its_job = [job_words(stage["job"]) if stage["job"] else ""] if run["jobs"] else []
        table.add_row(name, stage["state"], seconds, loss, accuracy, *its_job)
    others = stageless(run)
    for job in others:
        table.add_row(job["name"], job["state"], "", "", "", job_words(job))
    console.print(table)
    for name, stage in run["stages"].items():
        for finding in stage["watched"]:
            show_line(console, f"{name}: step {finding['step']}: {finding['what']}")
        if stage["retries"]:
            last = stage["retries"][-1]
            console.out(
                f"{name}: out of memory {len(stage['retries'])} time(s): trained with micro_batch_size"
                f" {last['micro_batch_size']} x {last['gradient_accumulation_steps']}, the same global batch",
                highlight=False,
            )
        for line in requeue_lines(name, stage["state"], stage["requeues"]):
            show_line(console, line)
    for line in (*error_lines(run["stages"]), *waiting_lines(run["stages"], others, run["jobs_note"])):
        show_line(console, line)
    if run["model"]:
        show_line(console, f"model: {run['model']}")
        show_line(console, f"chat:  alphaf chat {run['run']}")


def print_runs(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the runs, one row each, with the stages that are not done, and behind them what is wrong with one."""
    table = Table("run", "base", "started", "stages", "model")
    for row in rows:
        if "damaged" in row:
            table.add_row(row["run"], "", "", "damaged", "")
            continue
        states = stages_words(row)
        nothing = "all done" if row["stages"] else "nothing yet"
        table.add_row(row["run"], row["base"], row["created"], states or nothing, row["model"] or "")
    console.print(table)
    for row in rows:
        if "damaged" in row:
            show_line(console, f"{row['run']}: {row['damaged']}\n  next:  {row['next']}")


def print_experiment(console: Console, whole: Mapping[str, Any]) -> None:
    """Print the arms of an experiment, one row each, with the stages that are not done, and its own jobs."""
    title = f"experiment {whole['experiment']} ({whole['kind']})"
    table = Table("arm", "variant", "seed", "state", "stages", title=title, title_justify="left")
    for arm in whole["arms"]:
        run = arm["run"] or {}
        states = "damaged" if "damaged" in run else stages_words(run) or "all done" if run.get("stages") else ""
        seed = "" if arm["seed"] is None else str(arm["seed"])
        table.add_row(arm["arm"], arm["variant"], seed, arm["state"], states)
    console.print(table)
    for job in whole["jobs"]:
        show_line(console, f"{job['name']}: {job['state']}, job {job_words(job)}")
    for arm in whole["arms"]:
        run = arm["run"] or {}
        whole_run = "stages" in run
        lines = [*error_lines(run["stages"]), *failed_lines(stageless(run))] if whole_run else [run.get("damaged")]
        for line in filter(None, lines):
            show_line(console, f"[{arm['arm']}] {line}")
    for line in waiting_lines({}, whole["jobs"], whole["jobs_note"]):
        show_line(console, line)
    if whole["report"]:
        show_line(console, f"report: {whole['report']}")


def verified_json(found: Sequence[Verified], recorded: Sequence[str]) -> dict[str, Any]:
    """Return what was found of each part of a run, and which stages have hashes only since now."""
    parts = {
        part.name: {
            "state": part.state,
            "files": part.files,
            "bytes": part.bytes,
            "damaged": [{"file": str(one.path), "what": one.what, "needed": one.needed} for one in part.damaged],
            "next": part.fix if part.damaged else None,
        }
        for part in found
    }
    return {"parts": parts, "recorded": list(recorded)}


def print_verified(console: Console, part: Verified, root: Path) -> None:
    """Print one line for a part of a run, and one for each of its damaged files with what to do."""
    said = {"no hashes": "no hashes recorded: its form is whole", "damaged": "DAMAGED"}.get(part.state, part.state)
    amount = " " + spoken(f"({part.files} files, {size(part.bytes)})") if part.files else ""
    console.print(f"{part.name}: {spoken(said)}{amount}", highlight=False, soft_wrap=True, markup=False)
    for one in part.damaged:
        show_line(console, f"  {one.path.relative_to(root)} {one.what}")
    if part.damaged:
        show_line(console, f"  next: {part.fix}")


def print_arms(console: Console, experiment: Experiment, commands: Callable[[Arm], Sequence[Sequence[str]]]) -> None:
    """Print the arms of an experiment with the commands that each is."""
    table = Table("arm", "variant", "seed", title=f"experiment {experiment.name}", title_justify="left")
    for arm in experiment.arms:
        table.add_row(arm.name, arm.variant, "" if arm.seed is None else str(arm.seed))
    console.print(table)
    for arm in experiment.arms:
        for command in commands(arm):
            console.out(spoken(f"$ {printable(('alphaf', *command))}"), highlight=False)


def model_json(preset: ModelPreset, state: WeightsState) -> dict[str, Any]:
    """Return the facts of a preset and whether its weights are on this machine."""
    shape = preset.architecture
    return {
        "name": preset.name,
        "title": preset.title,
        "base_model": preset.base_model,
        "parameters": shape.parameters if shape else None,
        "licence": preset.licence,
        "context": shape.context if shape else None,
        "chat_template": preset.chat_template,
        "trust_remote_code_required": preset.trust_remote_code_required,
        "weights": state.kind,
        "path": str(state.path) if state.path else None,
        "revision": state.revision,
        "detail": state.detail,
    }


def print_models(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the presets, one row each."""
    table = Table("model", "size", "licence", "context", "template", "weights", "hub id")
    for row in rows:
        size = row["parameters"] or 0
        shown = f"{size / 1e9:.1f}B" if size >= 1e9 else f"{size / 1e6:.1f}M"
        remote = " (remote code)" if row["trust_remote_code_required"] else ""
        weights = {"ready": "here", "build": "made on first use"}.get(row["weights"], row["weights"])
        table.add_row(
            row["name"], shown, row["licence"], str(row["context"]), row["chat_template"], weights,
            row["base_model"] + remote,
        )  # fmt: skip
    console.print(table)
