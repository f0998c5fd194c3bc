"""`alphaf notify`: parse, call one function, print."""

from __future__ import annotations

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, with_options
from alphaf_orch.core.errors import ConfigError, ToolError
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.spoken import say
from alphaf_orch.runs.find import existing_run
from alphaf_orch.runs.notify.message import message
from alphaf_orch.runs.notify.send import checked, readable_by_others, send
from alphaf_orch.settings.config import build_config, read_config, read_remembered
from alphaf_orch.settings.notify import with_places
from alphaf_orch.settings.options import Options


@command()
@with_options("run", "config", "as_json")
def notify(options: Options, as_json: bool) -> None:
    """Send a test message to whoever the settings of a run, or a config file, name under `notify:`."""
    paths = existing_run(options.run) if options.run else RunPaths(runs_dir())
    values = read_remembered(paths.config) if options.run else {"model": ""}
    file = read_config(options.config) if options.config else {}
    where = str(options.config or paths.config)
    if isinstance(file.get("notify"), dict):
        file["notify"] = with_places(file["notify"])
    asked = build_config({**values, **file}, where).notify
    if asked is None:
        raise ConfigError(
            "nobody is named to be told",
            where=where if options.config or options.run else "--run or --config",
            fix="name a run or a config whose `notify:` says whom; see docs/notify.md",
            code="config.nothing_named",
        )
    who = " and ".join(checked(asked))
    if found := readable_by_others(asked):
        say(f"warning: others can read {found}, which holds the webhook's address: chmod 600 it", err=True)
    told = message("test", paths, "notify", **({} if options.run else {"name": "test", "where": ""}))
    problems = send(asked, told)
    if problems:
        raise ToolError(
            "; ".join(problems),
            where=f"the test message to {who}",
            fix="mend that and try again",
            code="tool.notify_failed",
        )
    if as_json:
        answer("notify", {"told": list(checked(asked))})
    else:
        say(f"told {who}")
