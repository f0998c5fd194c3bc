"""The commands by name, their options, and the objects that these are handed as."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

import click
import pytest

from alphaf_orch.cli.main import COMMANDS, load, main
from alphaf_orch.cli.options import OPTIONS
from alphaf_orch.evaluation.options import EvalOptions

# `--prompts` is a file to `judge` and a number to `bakeoff`.
ITS_OWN_TWICE = {"prompts"}


def declared(command: click.Command) -> dict[str, click.Parameter]:
    """Return the parameters of a command by the name that they are handed under."""
    return {str(param.name): param for param in command.params}


def taken(command: click.Command) -> tuple[dict[str, Any], set[str]]:
    """Return the objects that a command's function takes, by name, and what it takes as it is."""
    assert command.callback is not None
    hints = get_type_hints(command.callback)
    hints.pop("return")
    kinds = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    return kinds, set(hints) - set(kinds)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_of_each_what_its_own_help_begins_with(name: str) -> None:
    assert isinstance(main, click.Group)
    command = load(name)
    assert command.name == name
    first = " ".join(str(command.help).split("\n\n")[0].split())
    assert f"{first} ".startswith(f"{main.commands[name].get_short_help_str(10)} ")


@pytest.mark.parametrize("name", ["evaluate", "judge"])
def test_what_runs_here_imports_nothing_that_submits_or_trains(name: str) -> None:
    code = f"import sys, alphaf_orch.cli.{name}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {f"alphaf_orch.{each}" for each in ("cli.submit", "cli.execute", "runs.submission")}
    assert heavy & set(done.stdout.split()) == set()


def test_the_list_of_commands_imports_none_of_them() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from alphaf_orch.cli.main import main\n"
        "print(CliRunner().invoke(main, ['--help']).exit_code, CliRunner().invoke(main, ['--version']).exit_code)\n"
        "print(*(name for name in sys.modules if name.startswith('alphaf_orch.') or name in ('rich', 'pydantic')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    codes, modules = done.stdout.splitlines()
    assert codes == "0 0"
    assert set(modules.split()) <= {
        "alphaf_orch.cli",
        "alphaf_orch.cli.help",
        "alphaf_orch.cli.main",
        "alphaf_orch.core",
        "alphaf_orch.core.called",
        "alphaf_orch.core.masking",
        "alphaf_orch.core.secret_forms",
        "alphaf_orch.core.spoken",
        "alphaf_orch.core.walk",
        "alphaf_orch.core.wording",
    }


def test_a_command_that_is_not_there_is_told_with_its_likes(alphaf) -> None:
    result = alphaf("modles")
    assert result.exit_code == 2
    assert "No such command 'modles'" in result.output
    assert "models" in result.output


def test_a_command_is_called_by_its_own_usage(alphaf) -> None:
    result = alphaf("dpo", "--no-such-option")
    assert result.exit_code == 2
    assert result.output.startswith("Usage: main dpo [OPTIONS]\n")


def test_completion_knows_commands_and_their_options() -> None:
    from click.shell_completion import ShellComplete

    complete = ShellComplete(main, {}, "alphaf", "_ALPHAF_COMPLETE")
    assert {item.value for item in complete.get_completions([], "me")} == {"merge-models"}
    assert {item.value for item in complete.get_completions(["bakeoff"], "--mod")} == {"--models"}
    assert {item.value for item in complete.get_completions(["eval"], "--st")} == {"--stages"}


def test_every_option_that_commands_share_is_declared_once() -> None:
    where = defaultdict(set)
    for name in COMMANDS:
        for param in load(name).params:
            if isinstance(param, click.Option):
                where[param.name].add(name)
    assert {option for option, commands in where.items() if len(commands) > 1} <= set(OPTIONS) | ITS_OWN_TWICE
    assert set(OPTIONS) <= set(where)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_shared_option_is_the_same_in_every_command_but_for_help_metavar_and_default(name: str) -> None:
    def facts(option: click.Parameter) -> tuple[object, ...]:
        assert isinstance(option, click.Option)
        return option.opts, option.type.to_info_dict(), option.multiple, option.is_flag, option.envvar

    @OPTIONS[name]()
    def function() -> None: ...

    (shared,) = click.command()(function).params
    assert shared.name == name
    for command in map(load, COMMANDS):
        option = declared(command).get(name)
        if isinstance(option, click.Option):
            assert facts(option) == facts(shared)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_reaches_one_place_and_its_absence_is_the_field_s_default(name: str) -> None:
    command = load(name)
    kinds, plain = taken(command)
    places = [
        (field.name, field) for kind in kinds.values() for field in fields(kind) if field.name in declared(command)
    ]
    assert sorted([*(field for field, _ in places), *plain]) == sorted(declared(command))
    unsaid = command.make_context(name, [], resilient_parsing=True).params
    for param, field in places:
        if field.default is not MISSING:
            assert unsaid[param] == field.default, param


@pytest.mark.parametrize("name", COMMANDS)
def test_a_field_that_no_option_fills_has_a_default(name: str) -> None:
    kinds, _ = taken(load(name))
    for kind in kinds.values():
        assert {f.name for f in fields(kind) if f.default is MISSING} <= set(declared(load(name)))


def test_what_an_evaluation_was_asked_is_said_again_in_options() -> None:
    asked = EvalOptions(
        stages=("sft", "dpo"), suites=("finance-ko", "a b"), tasks=("t",), limit=8, backend="openai",
        server="http://host:1/v1", server_model="m", batch_size=2, gpus=0,
    )  # fmt: skip
    unsaid = {field.name for field in fields(EvalOptions) if getattr(asked, field.name) == field.default}
    assert unsaid == {"run"}
    for options in (asked, EvalOptions()):
        context = load("eval").make_context("eval", list(options.argv()))
        assert EvalOptions(**{field.name: context.params[field.name] for field in fields(EvalOptions)}) == options
