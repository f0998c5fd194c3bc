"""`alphaf bundle`: parse, call one function, print."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

import click

from alphaf_orch.bundle.files import SUMS, sha256
from alphaf_orch.bundle.make import make_bundle
from alphaf_orch.bundle.request import Request
from alphaf_orch.bundle.split import parse_size
from alphaf_orch.bundle.target import Target
from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, log_console, option, with_options
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.progress import tell
from alphaf_orch.core.spoken import say


@command()
@click.option("--model", "base_models", multiple=True, metavar="NAME", help="A base model to take along; repeatable.")
@option("data", help="Training data to take along; repeatable.")
@option("dpo_data", help="Preference data to take along; repeatable.")
@option("suites", help="A suite whose data sets to take along; repeatable.")
@click.option("--judge-model", "judge_models", multiple=True, metavar="HUB_ID", help="A judge's model; repeatable.")
@click.option("--accel", type=click.Choice(["cpu", "gpu"]), default="gpu", show_default=True, help="The target's lock.")
@click.option("--vllm", is_flag=True, help="Take vLLM's own environment along.")
@click.option("--python", "version", metavar="3.11|3.12", help="The target's Python; default: this one's.")
@click.option(
    "--machine", default=platform.machine, metavar="NAME", help="The target's `uname -m`; default: this one's."
)
@click.option("--glibc", default="2.28", show_default=True, metavar="VERSION", help="The target's, by `ldd --version`.")
@click.option("--split", metavar="SIZE", help="Cut it into parts of at most that size too, such as 4G.")
@click.option("--allow-pickle", is_flag=True, help="Take weights that only pickle reads; reading them runs code.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The bundle's folder.")
@option("config", help="A YAML file of settings (templates, tools).")
@option("dry_run", help="Say what would come and how large it is; fetch nothing.")
@with_options("quiet", "as_json")
def bundle(
    base_models: tuple[str, ...],
    data: tuple[str, ...],
    dpo_data: tuple[str, ...],
    suites: tuple[str, ...],
    judge_models: tuple[str, ...],
    accel: str,
    vllm: bool,
    version: str | None,
    machine: str,
    glibc: str,
    split: str | None,
    allow_pickle: bool,
    out: Path,
    config: Path | None,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Collect what a machine without a network needs: wheels, models, data, an installer; uses the network."""
    limit = parse_size(split) if split else None
    request = Request(
        target=_target(version, machine, glibc),
        accel=accel,
        models=base_models,
        data=data,
        dpo_data=dpo_data,
        suites=suites,
        judge_models=judge_models,
        vllm=vllm,
        allow_pickle=allow_pickle,
        config=config,
    )
    console = log_console()
    lines = []
    for line in make_bundle(request, out, limit, lambda text: tell(console, text), dry=dry_run):
        lines.append(line)
        if not quiet:
            say(line)
    if as_json:
        whole = out.expanduser().absolute()
        digest = None if dry_run else sha256(whole / SUMS)
        answer("bundle", {"folder": str(whole), "dry_run": dry_run, "manifest_sha256": digest, "lines": lines})
    elif quiet:
        ends = [number for number, line in enumerate(lines) if line.startswith("done: ")]
        say("\n".join(lines[ends[-1] if ends else -1 :]))


def _target(version: str | None, machine: str, glibc: str) -> Target:
    python = version or f"{sys.version_info.major}.{sys.version_info.minor}"
    if python not in ("3.11", "3.12"):
        raise ConfigError(
            f"python {python} is none that the locks serve",
            where="--python",
            fix="give 3.11 or 3.12",
            code="config.unknown_value",
        )
    numbers = re.fullmatch(r"(\d{1,2})\.(\d{1,3})", glibc)
    if not numbers:
        raise ConfigError(
            f"{glibc!r} is no version of glibc",
            where="--glibc",
            fix="`ldd --version` there says it: 2.28",
            code="config.unknown_value",
        )
    return Target(python, machine, (int(numbers[1]), int(numbers[2])))
