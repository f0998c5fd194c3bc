"""Every engine on 1, 2 and 8 GPUs of one and two machines, for each model and adapter: what is launched, or why not.

A record has, for each case, the command, accelerate's file, the engine's file and the lines of sft.yaml that an engine
or the number of GPUs changed; of a case that is refused the message. `make golden` rewrites them.
"""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from golden import recorded

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.nodes import Node
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import plan_run
from alphaf_orch.planning.resolve import resolve, with_engine
from alphaf_orch.settings.config import RunConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "engines"
MODELS, ADAPTERS = ("eeve", "qwen", "orion"), ("qlora", "lora", "full")
ENGINES, GPUS, NODES = ("", "ddp", "fsdp2", "zero2", "zero3", "hsdp"), (1, 2, 8), (1, 2)
SFT = Scope(sections=("sft",), dry=True)


def read(root, machine, model, adapter):
    """Return a run of the model, for its cases to differ from."""
    return resolve(RunConfig(model=model, gpus=8, sft={"adapter": adapter, "engine": "zero3"}), machine, root, SFT)


def trained(resolved, adapter, engine, gpus, nodes):
    """Return the training of a case, planned as any is: `read` has spared it the reading."""
    sft = {"adapter": adapter, **({"engine": engine} if engine else {})}
    config = resolved.config.model_copy(update={"sft": sft, "nodes": nodes})
    node = Node(0, "node0", 29511) if nodes > 1 else Node()
    case = replace(resolved, config=config, gpus={"sft": gpus, "dpo": 1}, node=node)
    return next(found for found in plan_run(with_engine(case)).stages if found.name == "sft")


def told(stage) -> str:
    """Return the parts of a stage that an engine has a say in, a line each."""
    lines = ["$ accelerate launch " + " ".join(stage.argv[4 : stage.argv.index("-m", 2)])]
    files = {path.name: file for path, file in stage.files.items()}
    recipe = files.pop("sft.yaml")
    lines += [f"{name}: {json.dumps(files[name].values)}" for name in sorted(files)]
    changed = ("engine ", "keeps the global batch")
    keys = [key for key, origin in recipe.origins.items() if origin.by.startswith(changed)]
    lines += [line for line in recipe.text.splitlines() if line.partition(":")[0] in keys]
    return "\n".join(lines)


@pytest.mark.parametrize(("model", "adapter"), [*itertools.product(MODELS, ADAPTERS)])
def test_what_each_engine_launches_is_as_recorded(model, adapter, eight_gpus, tmp_path):
    resolved = read(tmp_path / "runs" / "r", eight_gpus, model, adapter)
    cases: dict[str, list[str]] = {}
    for nodes, gpus, engine in itertools.product(NODES, GPUS, ENGINES):
        try:
            text = told(trained(resolved, adapter, engine, gpus, nodes))
        except AlphafError as error:
            text = f"refused: {error.what}\n  where: {error.where}\n  next: {error.fix}"
        cases.setdefault(text, []).append(f"{nodes} x {gpus} {engine or '(none named)'}")
    text = "\n\n".join(f"## {', '.join(named)}\n{text}" for text, named in cases.items()) + "\n"
    text = text.replace(str(tmp_path), "/TMP")
    assert text == recorded(GOLDEN / f"{model}-{adapter}.txt", text)


def test_every_record_is_used():
    assert {path.stem for path in GOLDEN.iterdir()} == {
        f"{model}-{adapter}" for model, adapter in itertools.product(MODELS, ADAPTERS)
    }
