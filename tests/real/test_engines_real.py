"""What each engine renders, read by the tools: axolotl's validator, DeepSpeed's config, accelerate's loader."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_axolotl_accepts import VALIDATE

from alphaf_orch.core.command import child_env
from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.nodes import Node
from alphaf_orch.core.paths import CHILD
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import plan_run
from alphaf_orch.planning.resolve import resolve, with_engine
from alphaf_orch.settings.config import RunConfig

SFT = Scope(sections=("sft",), dry=True)
# What `make setup-deepspeed` makes: beside the environment, for accelerate would import it in every stage.
DEEPSPEED = Path(__file__).parents[2] / ".venv-deepspeed"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Return the folder with the files of every accepted engine: a case each, of two machines where only they can."""
    from alphaf_orch.core.hardware import Machine

    machine = Machine(tuple("x" * 8), 96)
    folder = tmp_path_factory.mktemp("engines")
    for model, adapter in itertools.product(("eeve", "orion"), ("qlora", "lora", "full")):
        config = RunConfig(model=model, gpus=8, sft={"adapter": adapter, "engine": "zero3"})
        run = resolve(config, machine, folder / "run", SFT)
        for engine, offload in itertools.product(("ddp", "fsdp2", "zero2", "zero3", "hsdp"), (False, True)):
            nodes = 2 if engine == "hsdp" else 1
            sft = {"adapter": adapter, "engine": engine, **({"engine_offload": True} if offload else {})}
            case = replace(
                run,
                config=config.model_copy(update={"sft": sft, "nodes": nodes}),
                node=Node(0, "node0", 29511) if nodes > 1 else Node(),
            )
            try:
                stage = next(found for found in plan_run(with_engine(case)).stages if found.name == "sft")
            except AlphafError:
                continue
            place = folder / f"{model}-{adapter}-{engine}{'-offload' if offload else ''}"
            place.mkdir()
            for path, file in stage.files.items():
                text = file.text.replace(str(path.parent), str(place))
                (place / path.name).write_text(text, encoding="utf-8")
    return folder


def run(code: str, *args: str, path: tuple[Path, ...] = ()) -> dict:
    """Return what a program told: the tools' imports warn, and our tests turn warnings into errors."""
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        env=child_env({"PYTHONPATH": os.pathsep.join(map(str, (CHILD, *path)))}, online=False),
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line = [line for line in done.stdout.splitlines() if line.startswith("RESULT")][-1]
    return json.loads(line.removeprefix("RESULT"))


_LOAD = """
from accelerate.commands.config.config_args import load_config_from_file
loaded = {}
for name in sys.argv[2:]:
    c = load_config_from_file(str(Path(name).with_name("accelerate_sft.yaml")))
    loaded[name] = [c.num_processes, c.num_machines, c.machine_rank, c.main_process_ip, c.main_process_port,
                    c.distributed_type.value, c.mixed_precision, c.fsdp_config, c.deepspeed_config]
print("RESULT" + json.dumps({name: {**found[name], "accelerate": loaded[name]} for name in found}))
"""


def test_axolotl_and_accelerate_accept_what_each_engine_renders_and_no_key_is_dropped(rendered):
    files = sorted(rendered.glob("*/sft.yaml"))
    assert len(files) > 40
    results = run(VALIDATE + _LOAD, "8", *map(str, files))
    assert len(results) == len(files)
    assert {Path(name).parent.name: r for name, r in results.items() if "error" in r or r["lost"]} == {}
    for name, found in results.items():
        meeting = [16, 2, 0, "node0", 29511] if "hsdp" in Path(name).parent.name else [8, 1, 0, None, None]
        # Of the engine accelerate is told in each rank, by axolotl.
        assert found["accelerate"] == [*meeting, "MULTI_GPU", "bf16", {}, {}]


# "auto" is filled as transformers does before DeepSpeed sees it; without a process group, for the world of one.
_DEEPSPEED = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig
from deepspeed.runtime.config import DeepSpeedConfig
args = SimpleNamespace(world_size=1, per_device_train_batch_size=2, gradient_accumulation_steps=4, max_grad_norm=1.0,
    learning_rate=1e-5, adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8, weight_decay=0.1, fp16=False, bf16=True,
    fp16_full_eval=False, bf16_full_eval=False, save_on_each_node=False, warmup_steps=0)
model = SimpleNamespace(config=SimpleNamespace(hidden_size=4096))
device = lambda part: part and str(getattr(part.device, "value", part.device))
found = {}
for name in sys.argv[1:]:
    hf = HfTrainerDeepSpeedConfig(json.loads(Path(name).read_text(encoding="utf-8")))
    args.get_warmup_steps = lambda steps: 0
    hf.trainer_config_process(args)
    hf.trainer_config_finalize(args, model, 10)
    c = DeepSpeedConfig(hf.config)
    found[name] = {
        "stage": int(c.zero_config.stage), "bf16": c.bfloat16_config.enabled, "batch": c.train_batch_size,
        "saves": bool(c.zero_config.gather_16bit_weights_on_model_save), "own_adam": c.zero_force_ds_cpu_optimizer,
        "untested": c.zero_allow_untested_optimizer,
        "optimizer": device(c.zero_config.offload_optimizer),
        "param": device(c.zero_config.offload_param),
    }
print("RESULT" + json.dumps(found))
"""


@pytest.mark.skipif(not DEEPSPEED.is_dir(), reason="no DeepSpeed beside this environment: make setup-deepspeed")
def test_deepspeed_s_own_config_class_reads_our_json(rendered):
    files = {
        f"{stage}{offload}": next(rendered.glob(f"*-{stage}{offload}/{stage}.json"))
        for stage, offload in itertools.product(("zero2", "zero3"), ("", "-offload"))
    }
    results = run(_DEEPSPEED, *map(str, files.values()), path=(DEEPSPEED,))
    for case, file in files.items():
        third, offload = case.startswith("zero3"), case.endswith("offload")
        assert results[str(file)] == {
            "stage": 3 if third else 2,
            "bf16": True,
            "batch": 8,
            "saves": third,
            "own_adam": not offload,
            "untested": True,
            "optimizer": "cpu" if offload else None,
            "param": "cpu" if offload and third else None,
        }
