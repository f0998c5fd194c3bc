"""The `alphaf` command: its commands by name, signals, and how an error of the disk or of ours is told."""

from __future__ import annotations

import gc
import io
import os
import pkgutil
import sys
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any

import click

from alphaf_orch import __version__
from alphaf_orch.cli.help import SpokenHelp, show_usage
from alphaf_orch.core.masking import mask

# What is made while a command starts stays: to look through it for garbage again and again is 20 of its 500 ms.
gc.set_threshold(100_000, 20, 20)

# What click says of a command line and in its help is said in the reader's language; its own way there is gettext's.
click.Context.formatter_class = SpokenHelp
click.UsageError.show = show_usage  # type: ignore[method-assign, assignment]
UNFORESEEN = 70  # EX_SOFTWARE of sysexits.h

# Each command's place, and the sentence that its help begins with: the list of commands imports none of them.
COMMANDS = {
    "ablate": (
        "ablate:ablate",
        "Train arms that are identical but for what is named, evaluate them, and say what the difference was worth.",
    ),
    "attach": (
        "attach:attach",
        "Follow the alphaf that works on a run or an experiment, detached or not, and end with its exit code.",
    ),
    "bakeoff": (
        "bakeoff:bakeoff",
        "Compare base models before and after the same SFT: versatility, Korean ability, performance, in one report.",
    ),
    "board": (
        "board:board",
        "Show the runs and what they do in a browser: a local page on 127.0.0.1, read-only, that asks nobody else.",
    ),
    "bundle": (
        "bundle:bundle",
        "Collect what a machine without a network needs: wheels, models, data, an installer; uses the network.",
    ),
    "cancel": (
        "cancel:cancel",
        "End what works, or waits in a queue to work, on a run, an arm (EXPERIMENT/ARM) or an experiment.",
    ),
    "chat": ("look:chat", "Chat with a run's newest finished model; works on CPU too."),
    "clean": (
        "clean:clean",
        "Show what finished runs need no more, and what the caches hold; with --yes, delete it.",
    ),
    "compare": (
        "report:compare",
        "Write two runs side by side: what was set otherwise, and what that did to the scores.",
    ),
    "completion": (
        "completion:completion",
        "Print what makes a shell complete commands, options and names of runs, models, suites: `source` it.",
    ),
    "doctor": (
        "doctor:doctor",
        "Look at this machine before a run: one line a check, what was seen and what to do; fetches nothing.",
    ),
    "dpo": (
        "train:dpo",
        "Preference-tune a run's merged SFT model (the last finished one, unless --run names another) and merge again.",
    ),
    "estimate": (
        "estimate:estimate",
        "Say what `alphaf run` would need and take: memory by part, steps, time, disk, GPU-hours; launches nothing.",
    ),
    "eval": (
        "evaluate:evaluate",
        "Score the models of a run on finance benchmarks, offline; what is known already is not asked again.",
    ),
    "init": (
        "init:init",
        "Write a folder to start from: commented settings, an example of data, a walk-through; say the next commands.",
    ),
    "judge": ("judge:judge", "Let a judge model say which of two models of a run answers better."),
    "logs": (
        "logs:logs",
        "Print what alphaf said of a run or an arm, of all arms of an experiment, or the log of one STAGE.",
    ),
    "merge-models": (
        "merge:merge_models",
        "Merge a run's newest finished model with others by mergekit, and check the hand-off again.",
    ),
    "models": ("models:models", "List the model presets, and whether their weights are on this machine."),
    "notify": (
        "notify:notify",
        "Send a test message to whoever the settings of a run, or a config file, name under `notify:`.",
    ),
    "plan": (
        "plan:plan",
        "Show what `alphaf run` would do and take: stages, rows, steps, time, memory, what lacks; launches nothing.",
    ),
    "repair": (
        "repair:repair",
        "Say what is wrong in the folder of a run or an experiment and what would mend it; with --apply, mend it.",
    ),
    "report": (
        "report:report",
        "Write what a run was worth as one HTML page and as Markdown, and the model card of its final model.",
    ),
    "run": ("train:run", "Run the whole chain: data, SFT, merge, DPO, merge."),
    "runs": ("look:runs", "List the runs and the experiments, the newest last, with the state of each."),
    "sft": ("train:sft", "Fine-tune a model with axolotl, merge the adapter and check the hand-off."),
    "schema": (
        "schema:schema",
        "Print the JSON schema by which editors complete and check a YAML file of yours; without NAME list them.",
    ),
    "show": (
        "look:show",
        "Show one run: the state of each stage, key metrics and paths; of an experiment that of each arm.",
    ),
    "verify": (
        "verify:verify",
        "Read every file of a run and compare it with what was written; each damaged one is named (exit code 6).",
    ),
    "watch": (
        "watch:watch",
        "Show what works in the runs folder, or one run or experiment in detail, again each second; Ctrl-C leaves it.",
    ),
}

# What a job of a scheduler calls; people do not.
HIDDEN = {
    "job": ("job:job", "Do what a submitted job is for."),
    "part": ("part:part", "Do what a submitted job is for of an experiment that is no arm."),
}


def load(name: str) -> click.Command:
    """Return the command of that name, importing its module."""
    command = pkgutil.resolve_name(f"alphaf_orch.cli.{(COMMANDS | HIDDEN)[name][0]}")
    assert isinstance(command, click.Command)
    return command


class _Named(click.Command):
    """A command known by its name and first sentence; its module is imported when it is called."""

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002
        """Return the sentence, whole: one that is cut says as little in the list as nothing."""
        return str(self.help)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        from alphaf_orch.core import signals  # here: it is no part of the list of commands

        command = load(str(self.name))
        from alphaf_orch.core.names import refuse_undecodable

        refuse_undecodable(args)
        words = tuple(args)  # click takes them out of the list
        context = command.make_context(info_name, args, parent, **extra)
        context.meta["alphaf.words"] = words
        signals.working()  # all is imported and understood: from here on a signal finds something to put in order
        return context


class _Alphaf(click.Group):
    """The commands; an interrupt and an error of the disk or of a path, wherever they came up, are told as such."""

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Call the command that the words name; where they say --json, an error of any kind is JSON too."""
        words = list(sys.argv[1:] if args is None else args)
        if standalone_mode and "--json" in words:
            from alphaf_orch.cli.answer import asked, told

            if asked(words):
                told(partial(super().main, words, standalone_mode=False, **extra))
        return super().main(args, standalone_mode=standalone_mode, **extra)

    def invoke(self, ctx: click.Context) -> object:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, where what the disk does not take is told
        except KeyboardInterrupt:
            from alphaf_orch.core import signals
            from alphaf_orch.core.errors import interrupted

            raise interrupted(
                f"alphaf {ctx.invoked_subcommand} was interrupted by {signals.name()}",
                where=os.path.curdir,
                fix="what is finished is kept; the same command goes on where it stopped",
            ) from None
        except OSError as error:
            from alphaf_orch.core.disk import disk_error
            from alphaf_orch.core.names import path_error
            from alphaf_orch.core.stored import misplaced

            failure = disk_error(error) or misplaced(error) or path_error(error)
            if failure is None:
                raise
            raise failure from error
        return result


@click.group(
    cls=_Alphaf,
    commands=[
        _Named(name, help=sentence, hidden=name in HIDDEN) for name, (_, sentence) in (COMMANDS | HIDDEN).items()
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="alphaf")
def main() -> None:
    """SFT with axolotl, DPO with unsloth or TRL, merges and their checks: one run, one folder, one command."""
    os.umask(os.umask(0o077) | 0o002)  # of what we and the tools write, nothing is anybody's to change
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a folder's name may be no UTF-8, and is shown all the same
    sys.excepthook = _unforeseen


def _unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in three lines that alphaf has a defect; the stack trace goes to a file."""
    import tempfile
    import traceback

    try:
        handle, kept = tempfile.mkstemp(prefix="alphaf-", suffix=".trace")
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123  (a descriptor)
            file.write(mask("".join(traceback.format_exception(kind, error, trace))))
        where = f"trace: {kept}"
    except OSError as problem:
        last = traceback.extract_tb(trace)[-1]
        where = f"{last.filename}:{last.lineno}; the trace could not be kept: {problem.strerror}"
    message = mask(f"alphaf itself failed: {kind.__name__}: {error}")
    answer = sys.modules.get("alphaf_orch.cli.answer")
    if answer:  # else no JSON is asked for
        answer.defect(message, where, "report it with that; what is finished is kept", UNFORESEEN)
    from alphaf_orch.core.errors import told

    click.echo(told(message, where, "report it with that; what is finished is kept", "alphaf.defect"), err=True)
    os._exit(UNFORESEEN)
