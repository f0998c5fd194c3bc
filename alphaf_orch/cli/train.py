"""`alphaf sft`, `dpo` and `run`: parse, call one function, print."""

from __future__ import annotations

from dataclasses import replace

from alphaf_orch.cli.execute import execute
from alphaf_orch.cli.options import How, command, with_options
from alphaf_orch.cli.site import site_of
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.stages import stage_name
from alphaf_orch.runs.chain import run_config
from alphaf_orch.runs.find import existing_run, finished_sft, last_finished_sft
from alphaf_orch.runs.submission import coming
from alphaf_orch.settings.options import Options, default_run_name, settings


@command()
@with_options(
    "model",
    "run",
    "config",
    "data",
    "sets",
    "gpus",
    "nodes",
    "trust_remote_code",
    "on_unhealthy",
    "on_oom",
    "stall_timeout",
    "allow_pickle",
    "online",
    "warm",
    "on",
    "wait",
    "dry_run",
    "full",
    "detach",
    "verbose",
    "quiet",
    "as_json",
)
def sft(options: Options, how: How) -> None:
    """Fine-tune a model with axolotl, merge the adapter and check the hand-off."""
    _execute(options, Scope(("sft",), how.online, how.dry_run), how)


@command()
@with_options("model", "run", "config", "data", "sets", "gpus", "on_unhealthy", "on_oom", "stall_timeout")
@with_options("online", "warm", "on", "wait", "dry_run", "full", "detach", "verbose", "quiet", "as_json")
def dpo(options: Options, how: How) -> None:
    """Preference-tune a run's merged SFT model (the last finished one, unless --run names another) and merge again.

    --model shows, with --dry-run, the DPO of a run that is not there yet.
    """
    upstream = ""
    named = options.run or (default_run_name(options.model) if options.model else None)
    if not (how.dry_run and options.model):
        paths = existing_run(named) if named else last_finished_sft()
        named, upstream = paths.full_name, _upstream(paths, options)
    # Here --data and --gpus speak of the DPO.
    meant = replace(
        options, run=named, data=(), dpo_data=options.data, gpus=None, dpo_gpus=options.gpus, default_section="dpo"
    )
    _execute(meant, Scope(("dpo",), how.online, how.dry_run, upstream), how)


@command()
@with_options("model", "run", "config", "data", "dpo_data", "sets", "gpus", "dpo_gpus", "nodes")
@with_options("trust_remote_code", "allow_pickle", "on_unhealthy", "on_oom", "stall_timeout", "online", "warm")
@with_options("on", "wait", "dry_run", "full", "detach", "verbose", "quiet", "as_json")
def run(options: Options, how: How) -> None:
    """Run the whole chain: data, SFT, merge, DPO, merge. What is done is kept; a second call does nothing.

    Where the config names a merge partner (`merge: {partner: ...}`), the model is merged with it at the end.
    """
    _execute(options, Scope(("sft", "dpo"), how.online, how.dry_run, merge=True), how)


def _upstream(paths: RunPaths, options: Options) -> str:
    """Return what tells the SFT that the DPO begins with: finished, or under way where the DPO is to run too."""
    try:
        return finished_sft(paths)
    except RunStateError:
        site = site_of(run_config(paths), options.on)
        found = coming(paths, stage_name("merge", "sft"), site) if site else ""
        if not found:
            raise
        return found


def _execute(options: Options, scope: Scope, how: How) -> None:
    """Run the scope's stages under the settings that the run remembers and the command line adds."""
    config, paths = settings(options)
    execute(config, paths, scope, how)
