"""`alphaf estimate`: parse, call one function, print."""

from __future__ import annotations

from dataclasses import replace

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.estimate_view import estimate_json, print_estimate
from alphaf_orch.cli.options import Finite, command, out_console, with_options
from alphaf_orch.cli.plan import machine_of
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.estimates.speed import ARTICLE_CARD
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.forecast import card_bytes, card_room, forecast, hardware
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.options import Options, settings


@command()
@with_options("model", "run", "config", "data", "dpo_data", "sets", "gpus", "dpo_gpus", "nodes")
@with_options("trust_remote_code", "allow_pickle")
@click.option("--gpu-memory", type=Finite(min=1), metavar="GB", help="Memory of one GPU (of --card, the GPU here, 80).")
@click.option("--card", metavar="NAME", help=f"The GPU as its driver names it (the one here, {ARTICLE_CARD}).")
@click.option("--engine", metavar="NAME", help="Short for --set engine=NAME.")
@click.option("--rate", type=Finite(min=0), metavar="PRICE", help="What a GPU-hour costs, in any currency.")
@with_options("as_json")
def estimate(
    options: Options,
    gpu_memory: float | None,
    card: str | None,
    engine: str | None,
    rate: float | None,
    as_json: bool,
) -> None:
    """Say what `alphaf run` would need and take: memory by part, steps, time, disk, GPU-hours; launches nothing.

    No GPU and no weights are needed. What runs measured on this machine goes before the formulas (docs/estimate.md).
    """
    if engine:
        options = replace(options, sets=(*options.sets, f"sft.engine={engine}"))
    chosen, paths = settings(options)
    machine = machine_of(chosen)
    room = _room(machine, card, gpu_memory)
    if room:  # the engine is chosen by it too
        machine = replace(machine, memory=room)
    plan = make_plan(chosen, machine, paths.root, Scope(dry=True, merge=True))
    unnamed = chosen.on != "local" and not machine.memory  # the profile says of no card what it is
    seen = replace(machine, gpus=()) if unnamed else machine
    on = hardware(seen, max(plan.gpus.values()), card=card or "", gpu_memory=room)
    found = forecast(plan, on)
    if as_json:
        answer("estimate", estimate_json(found, rate))
    else:
        print_estimate(out_console(), found, plan.engine.reason and f"{plan.engine.name}, {plan.engine.reason}", rate)


def _room(machine: Machine, card: str | None, gpu_memory: float | None) -> int:
    """Return the bytes of the GPU that is said, 0 where none is, or the one here."""
    if gpu_memory:
        return card_bytes(gpu_memory)
    if not card or card in machine.gpus:
        return 0
    room = card_room(card)
    if not room:
        raise ConfigError(
            f"the memory of a {card} is not known",
            where="--card",
            fix="say --gpu-memory GB, or the whole name as nvidia-smi shows it",
            code="config.unknown_name",
        )
    return room
