"""What a stage is, by its name; what its fingerprint depends on."""

from dataclasses import replace
from pathlib import Path

from alphaf_orch.core.render import Origin, Rendered
from alphaf_orch.planning.stages import STAGE_ORDER, Stage, stage_name

FILE = Path("/run/rendered/sft.yaml")
SFT = Stage("sft", "axolotl", ("python",), {FILE: Rendered("a: 1\n", {"a": 1})}, (Path("/run/sft"),), {"recipe": {}})


def test_every_stage_of_a_run_is_found_by_what_it_is():
    stages = [replace(SFT, name=name) for name in STAGE_ORDER]
    shared = {"base_model", "fetch_partners"}  # of no training: only these two have a name for the same
    assert [stage_name(stage.kind, stage.section) for stage in stages if stage.name not in shared] == [
        name for name in STAGE_ORDER if name not in shared
    ]
    assert {stage.name for stage in stages if stage.kind == "merge"} == {"merge_sft", "merge_dpo", "merge_models"}


def test_only_a_training_goes_on_from_a_checkpoint():
    found = {name: replace(SFT, name=name).checkpoints for name in STAGE_ORDER}
    assert {name for name, folder in found.items() if folder} == {"sft", "dpo"}


def test_what_is_no_stage_of_a_run_asks_its_models():
    stage = replace(SFT, name="eval_sft")
    assert (stage.kind, stage.section, stage.own_file) == ("ask", None, None)


def test_who_set_a_value_is_no_part_of_the_fingerprint():
    told = Rendered("a: 1\n", {"a": 1}, {"a": Origin("yours", "2")})
    assert replace(SFT, files={FILE: told}).fingerprint == SFT.fingerprint
