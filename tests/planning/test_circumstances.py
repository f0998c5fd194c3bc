"""What a training is known by: all that its formulas read, so that nothing is scaled from another kind of training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from measurements import H100, REPORT

from alphaf_orch.core.hardware import Machine
from alphaf_orch.estimates.cost import MIB, StageCost
from alphaf_orch.estimates.measured import Measured, keep_measured, read_measured
from alphaf_orch.planning.circumstances import circumstances, data_key, installed_versions, used_gpus, used_nodes
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.forecast import forecast, hardware
from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.settings.options import Options, settings

MACHINE = Machine((H100,) * 8, 16, tuple("01234567"), 85_500_000_000)
WHOLE_MODULES = "sft.lora_modules_to_save=[embed_tokens,lm_head]"
LIGER = "plugins=[axolotl.integrations.liger.LigerPlugin]"


def planned(gpus: int, *sets: str, data: tuple[str, ...] = ()) -> Plan:
    """EEVE's plan for that many H100s."""
    config, paths = settings(Options(model="eeve", gpus=gpus, sets=sets, data=data))
    return make_plan(config, MACHINE, paths.root, Scope(dry=True, merge=True))


def stage_of(name: str, plan: Plan, kept: tuple[Measured, ...] = ()) -> StageCost:
    """What is forecast of a stage of the plan."""
    found = forecast(plan, hardware(MACHINE, plan.gpus["sft"]), kept=kept)
    return next(stage for stage in found.stages if stage.name == name)


def sft(plan: Plan, kept: tuple[Measured, ...] = ()) -> StageCost:
    """What is forecast of the plan's SFT."""
    return stage_of("sft", plan, kept)


def ran_as_the_formula_says(plan: Plan) -> tuple[Measured, ...]:
    """What is kept of a run whose peak was exactly the formula's, read again as another command reads it."""
    stage = next(stage for stage in plan.stages if stage.name == "sft")
    facts = hardware(MACHINE, plan.gpus["sft"]).facts(used_gpus(plan, stage), used_nodes(plan, stage))
    memory = sft(plan).memory
    assert memory is not None
    found = circumstances(plan, stage, facts, installed_versions(stage.argv[0]))
    keep_measured(replace(found, run="before", at="then", got={"peak_mib": memory.recorded / MIB}))
    return read_measured()


@pytest.mark.parametrize(
    ("gpus", "before", "now"),
    [
        (8, ["adapter=full"], ["sft.micro_batch_size=2"]),
        (8, ["adapter=full", "sft.sequence_len=2048"], ["sft.sequence_len=4096"]),
        (8, ["adapter=lora", "engine=fsdp2", WHOLE_MODULES], ["sft.micro_batch_size=1"]),
        (8, ["adapter=lora", "engine=zero3", WHOLE_MODULES], ["sft.micro_batch_size=1"]),
        (1, [], ["sft.selective_checkpointing=true"]),
        (1, [], ["sft.chunked_cross_entropy_num_chunks=1"]),
        (1, [], ["sft.bnb_config_kwargs={bnb_4bit_use_double_quant: false}"]),
        (1, ["sft.chunked_cross_entropy=null", LIGER], ["sft.liger_cross_entropy=true"]),
        (1, ["sft.gradient_checkpointing=false", "sft.micro_batch_size=1"], ["sft.micro_batch_size=2"]),
        (1, ["sft.lora_dropout=0.05"], ["sft.lora_dropout=0.1"]),
    ],
)  # fmt: skip
def test_a_run_that_took_what_the_formula_says_changes_no_estimate(gpus, before, now):
    kept = ran_as_the_formula_says(planned(gpus, *before))
    plan = planned(gpus, *before, *now)
    formula = sft(plan).memory
    assert formula is not None
    assert sft(plan, kept).peak.value == pytest.approx(formula.total, rel=0.001)
    assert sft(planned(gpus, *before), kept).memory_basis == "measured here (run before)"


def test_how_much_is_dropped_out_is_not_another_training_and_whether_is():
    kept = ran_as_the_formula_says(planned(1, "sft.lora_dropout=0.05"))
    assert sft(planned(1, "sft.lora_dropout=0.1"), kept).memory_basis == "measured here (run before)"
    assert sft(planned(1, "sft.lora_dropout=0"), kept).memory_basis == "by formula"


@pytest.mark.parametrize("name", ["data", "preprocess"])
def test_ten_times_the_rows_take_longer_to_read_than_what_was_measured(name, tmp_path):
    plan = planned(1)
    (source,) = plan.sources["sft"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text(Path(source.path).read_text(encoding="utf-8") * 10, encoding="utf-8")
    stage = next(stage for stage in plan.stages if stage.name == name)
    found = circumstances(plan, stage, hardware(MACHINE, 1).facts(1, 1), installed_versions(stage.argv[0]))
    data = {"key": data_key(plan, "sft"), "report": {**REPORT, "rows": source.rows}}
    kept = (replace(found, run="before", got={"seconds": 7.0}, data=data),)
    assert stage_of(name, plan, kept).seconds.value == 7
    assert stage_of(name, plan, kept).time_basis == "measured here (run before)"
    more = stage_of(name, planned(1, data=(str(rows),)), kept)
    assert more.seconds.value == pytest.approx(7 * (15 + source.rows / 100) / (15 + source.rows / 1000))
    assert more.time_basis == "scaled from run before"
