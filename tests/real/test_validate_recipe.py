"""The installed axolotl, asked about recipes by our program: its own reasons, by key, and the keys that it drops."""

import json

import yaml

from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.config import RunConfig

LIGER = "axolotl.integrations.liger.LigerPlugin"
CHANGES = {
    "as it is": {},
    "wrong type": {"dion_lr": "x"},
    "both": {"warmup_steps": 10},
    "not with qlora": {"load_in_4bit": False},
    "no key": {"lora_rank": 4, "fsdp_config": {"reshard_after_forward": True, "reshard": True}, "fsdp_version": 2},
    "no plugin": {"plugins": ["no.such.Plugin"]},
    "plugin": {"plugins": [LIGER], "liger_rope": True},
    "without the plugin": {"liger_rope": True},  # asked behind it, in the same process
    "another package": {"plugins": ["axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"]},
}


def test_axolotl_gives_its_own_reasons(tmp_path, eight_gpus):
    import subprocess
    import sys

    from alphaf_orch.core.command import PROGRAM_ENV, child_env, program

    plan = make_plan(RunConfig(model="eeve"), eight_gpus, tmp_path, Scope(dry=True))
    recipe = next(stage.own_file for stage in plan.stages if stage.name == "sft")
    # Of its own losses on a GPU, where another one is the machine's.
    loss = RunConfig(model="eeve", gpus=8, sft={"plugins": [LIGER], "liger_fused_linear_cross_entropy": True})
    plan = make_plan(loss, eight_gpus, tmp_path, Scope(dry=True))
    other = next(stage.own_file for stage in plan.stages if stage.name == "sft")
    question = tmp_path / "질문.json"
    texts = {name: yaml.safe_dump({**recipe.values, **change}) for name, change in CHANGES.items()}
    texts["a loss of a plugin"] = yaml.safe_dump(other.values)
    question.write_text(json.dumps({"recipes": texts, "gpus": 8, "card": "sm_90"}), encoding="utf-8")
    done = subprocess.run(
        program(sys.executable, "training.validate_recipe", str(question)),
        env=child_env(PROGRAM_ENV, online=False), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().rpartition("\n")[2])["recipes"]
    keys = {name: [reason["key"] for reason in answer["refused"]] for name, answer in found.items()}
    assert keys == {
        "as it is": [], "wrong type": ["dion_lr"], "both": ["warmup_steps"], "not with qlora": ["load_in_4bit"],
        "no key": [], "no plugin": ["plugins"], "plugin": [], "without the plugin": [], "another package": ["plugins"],
        "a loss of a plugin": [],
    }  # fmt: skip
    assert found["both"]["refused"][0]["reason"] == "warmup_steps and warmup_ratio are mutually exclusive"
    assert "axolotl's fork of cut-cross-entropy" in found["another package"]["refused"][0]["reason"]
    dropped = {name: answer["dropped"] for name, answer in found.items() if answer["dropped"]}
    assert dropped == {"no key": ["lora_rank", "fsdp_config.reshard"], "without the plugin": ["liger_rope"]}
