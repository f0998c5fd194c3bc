"""Every engine on 1, 2 and 8 GPUs of one and two machines, for each model and adapter: what is launched, or why not.

A record has, for each case, the command, accelerate's file, the engine's file and the lines of sft.yaml that are not
those of DDP on 8 GPUs; of a case that is refused the message. `make golden` rewrites them.
"""

import difflib
import itertools
import os
from pathlib import Path

import pytest

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.paths import PACKAGE, template_folders
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.config import RunConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "engines"
MODELS, ADAPTERS = ("eeve", "qwen", "orion"), ("qlora", "lora", "full")
ENGINES, GPUS, NODES = ("", "ddp", "fsdp2", "zero2", "zero3", "hsdp"), (1, 2, 8), (1, 2)
SFT = Scope(sections=("sft",), dry=True)


def planned(root, machine, model, adapter, engine, gpus, nodes, **more):
    sft = {"adapter": adapter, **({"engine": engine} if engine else {}), **more}
    plan = make_plan(RunConfig(model=model, gpus=gpus, nodes=nodes, sft=sft), machine, root, SFT)
    return next(stage for stage in plan.stages if stage.name == "sft")


def told(stage, texts) -> list[str]:
    """Return the parts of a stage that an engine has a say in, short."""
    argv = stage.argv[4 : stage.argv.index("-m", 2)]
    lines = ["$ accelerate launch " + " ".join(argv)]
    files = {path.name: file for path, file in stage.files.items()}
    recipe = files.pop("sft.yaml").text
    for name in sorted(files):
        lines += [f"{name}:", *(f"  {line}" for line in files[name].text.splitlines())]
    if texts:
        diff = difflib.unified_diff(texts[0].splitlines(), recipe.splitlines(), n=0, lineterm="")
        lines += ["sft.yaml:", *(f"  {line}" for line in diff if not line.startswith(("@@", "---", "+++")))]
    return [line for line in lines if line]


@pytest.fixture
def _told_where(monkeypatch):
    monkeypatch.setenv("ALPHAF_NODE_RANK", "0")
    monkeypatch.setenv("ALPHAF_NODE_ADDRESS", "node0")


@pytest.mark.usefixtures("_told_where")
@pytest.mark.parametrize(("model", "adapter"), [*itertools.product(MODELS, ADAPTERS)])
def test_what_each_engine_launches_is_as_recorded(model, adapter, eight_gpus, tmp_path):
    root = tmp_path / "runs" / "r"
    # DDP on 8 GPUs is refused for `full`: there the difference is to FSDP2.
    compared = planned(root, eight_gpus, model, adapter, "fsdp2" if adapter == "full" else "ddp", 8, 1)
    texts = [file.text for path, file in compared.files.items() if path.name == "sft.yaml"]
    found: dict[str, str] = {}
    same: dict[str, list[str]] = {}
    for nodes, gpus, engine in itertools.product(NODES, GPUS, ENGINES):
        case = f"{nodes} x {gpus} {engine or '(none named)'}"
        try:
            lines = told(planned(root, eight_gpus, model, adapter, engine, gpus, nodes), texts)
        except AlphafError as error:
            lines = [f"refused: {error.what}", f"  where: {error.where}", f"  next: {error.fix}"]
        same.setdefault("\n".join(lines), []).append(case)
    found = {", ".join(cases): text for text, cases in same.items()}
    text = "\n\n".join(f"## {case}\n{told_text}" for case, told_text in found.items()) + "\n"
    for place, word in ((tmp_path, "/TMP"), (PACKAGE, "/PACKAGE"), (template_folders()[-1], "/TEMPLATES")):
        text = text.replace(str(place), word)
    file = GOLDEN / f"{model}-{adapter}.txt"
    if os.environ.get("ALPHAF_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_every_record_is_used():
    assert {path.stem for path in GOLDEN.iterdir()} == {
        f"{model}-{adapter}" for model, adapter in itertools.product(MODELS, ADAPTERS)
    }
