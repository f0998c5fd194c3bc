"""`alphaf completion`, and what a shell asks at each TAB: answered from a list of the options, importing no command."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from alphaf_orch.cli.main import COMMANDS
from alphaf_orch.cli.offered import KINDS, offered

VARIABLE = "_ALPHAF_COMPLETE"  # click's own way: `bash_complete` and the like, and the words in COMP_WORDS
WORDS = Path(__file__).with_name("completion.json")  # tools/completion_words.py writes it


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, options and names of runs, models, suites: `source` it."""
    click.echo(_SHELLS[shell](click.Group(), {}, "alphaf", VARIABLE).source(), nl=False)


def complete() -> None:
    """Print what the word may become at which a shell's user pressed TAB; nothing, and no error, where that fails."""
    shell = os.environ.pop(VARIABLE).partition("_")[0]
    try:
        answer = _SHELLS[shell](commands(), {}, "alphaf", VARIABLE).complete()
    except Exception:  # noqa: BLE001  (whatever is wrong, it is not to be said into the line that somebody types)
        return
    click.echo(answer.encode())


def commands() -> click.Group:
    """Return the commands with their options, none of which can be called."""
    known = json.loads(WORDS.read_text(encoding="utf-8"))
    made = [
        click.Command(name, params=[_param(each) for each in params], help=COMMANDS[name][1])
        for name, params in known.items()
    ]
    return click.Group("alphaf", commands=made, params=[click.Option(["--version"], is_flag=True)])


def listed(command: click.Command) -> list[dict[str, Any]]:
    """Return the options and arguments of a command as the list has them."""
    return [_listed(param) for param in command.params]


def _listed(param: click.Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {"name": param.name, "kind": _kind(param)}
    if isinstance(param.type, click.Choice):
        found["choices"] = [str(choice) for choice in param.type.choices]
    if isinstance(param, click.Option):
        flag = {"flag": True} if param.is_flag else {}
        return found | {"flags": [*param.opts, *param.secondary_opts], "help": param.help or ""} | flag
    return found | {"nargs": param.nargs}


def _kind(param: click.Parameter) -> str:
    """Return what kind of names a parameter takes; empty where that is the user's own."""
    if isinstance(param.type, click.Path):
        return "file"
    return KINDS.get(str(param.name), "") if isinstance(param.type, click.types.StringParamType) else ""


def _param(listed: Mapping[str, Any]) -> click.Parameter:
    kind, choices = listed["kind"], listed.get("choices")
    taken: dict[str, Any] = {"type": click.Choice(choices) if choices else str}
    if kind:
        taken["shell_complete"] = partial(_offered, kind)
    if "flags" in listed:
        flag = {"is_flag": True} if listed.get("flag") else taken | {"multiple": True}
        return click.Option([*listed["flags"], listed["name"]], help=listed["help"], **flag)
    return click.Argument([listed["name"]], nargs=listed["nargs"], required=False, **taken)


def _offered(
    kind: str, context: click.Context, _param: click.Parameter, incomplete: str
) -> Sequence[CompletionItem[str]]:
    if kind == "file" or (kind in ("model", "data") and incomplete.startswith((".", "/", "~"))):
        return [CompletionItem(incomplete, type="file")]
    found = [CompletionItem(each) for each in offered(kind, context.params, incomplete)]
    return found or ([CompletionItem(incomplete, type="file")] if kind == "data" else [])


class _Bash(BashComplete):
    """Bash, which cuts a word at `=` and `:`, and puts what is answered behind the last of them."""

    def _check_version(self) -> None:  # type: ignore[override]  # it would start a bash to ask
        pass

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        self._said = ""
        if incomplete in ("=", ":"):
            args, incomplete = [*args, incomplete], ""
        if args[-1:] == [":"]:
            self._said = f"{args[-2]}:" if len(args) > 1 else ":"
            args, incomplete = args[:-2], self._said + incomplete
        return [word for word in args if word != "="], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return f"{item.type},{str(item.value).removeprefix(self._said)}"


class _Zsh(ZshComplete):
    """Zsh, asking the alphaf that is typed, which need not be on the PATH."""

    source_template = ZshComplete.source_template.replace(
        "    (( ! $+commands[%(prog_name)s] )) && return 1\n", ""
    ).replace("zsh_complete %(prog_name)s)", "zsh_complete ${(Q)~words[1]} 2>/dev/null)")


class _Fish(FishComplete):
    """Fish, asking the alphaf that is typed."""

    source_template = FishComplete.source_template.replace(
        "(commandline -t) %(prog_name)s)", "(commandline -t) (string unescape (commandline -opc)[1]) 2>/dev/null)"
    )


_SHELLS: Mapping[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}
