"""Every recipe of every model, loaded and validated by the installed axolotl's own code, as on 8 H100s."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from alphaf_orch.core.paths import template_folders
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.config import RunConfig

MODELS = ("eeve", "eeve-instruct", "qwen", "orion", "smollm2", "tiny", "tiny-eeve", "tiny-qwen", "tiny-orion")
ADAPTERS = ("qlora", "lora", "full")

# Runs in a process of its own: axolotl's imports warn, and our tests turn warnings into errors.
VALIDATE = """
import json, sys
from pathlib import Path
from axolotl.utils.config import prepare_plugins, validate_config
from axolotl.utils.dict import DictDefault
import yaml

found = {}
for name in sys.argv[2:]:
    values = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    gpus = int(sys.argv[1])
    cfg = DictDefault(values)
    prepare_plugins(cfg)
    card = "sm_90" if gpus else None
    capabilities = {"bf16": gpus > 0, "fp8": False, "n_gpu": gpus, "n_node": 1, "compute_capability": card}
    try:
        checked = validate_config(cfg, capabilities=capabilities, env_capabilities={"torch_version": "2.13.0"})
    except ValueError as error:
        found[name] = {"error": str(error)}
        continue
    # A key that axolotl does not know is dropped without a word.
    lost = [k for k, v in values.items() if v is not None and k not in checked]
    found[name] = {"lost": lost, "learning_rate": checked.learning_rate, "adapter": checked.adapter}
print("RESULT" + json.dumps(found))
"""


def validate(gpus: int, files: list[Path]) -> dict:
    from alphaf_orch.core.command import child_env
    from alphaf_orch.core.paths import CHILD

    done = subprocess.run(
        [sys.executable, "-c", VALIDATE, str(gpus), *map(str, files)],
        capture_output=True,
        text=True,
        env=child_env({"PYTHONPATH": str(CHILD)}, online=False),
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    return json.loads(line.removeprefix("RESULT"))


def test_all_presets_are_covered():
    (folder,) = template_folders()
    assert {path.stem for path in (folder / "models").glob("*.yaml")} == {*MODELS, "generic"}
    assert {path.name.split(".")[0] for path in (folder / "sft").glob("*.j2")} == set(ADAPTERS)


@pytest.mark.parametrize("kind", ["gpu", "cpu"])
def test_axolotl_accepts_every_template_for_every_model_and_drops_no_key(kind, tmp_path, eight_gpus, cpu):
    machine = eight_gpus if kind == "gpu" else cpu
    files = []
    for model, adapter in itertools.product(MODELS, ADAPTERS):
        gpus = None if kind == "gpu" else 0
        config = RunConfig(model=model, gpus=gpus, sft={"adapter": adapter})
        plan = make_plan(config, machine, tmp_path / f"{model}-{adapter}", Scope(dry=True))
        for stage, names in (("sft", {"sft.yaml"}), ("merge_sft", {"merge_sft.yaml"} if adapter != "full" else set())):
            found = next(s for s in plan.stages if s.name == stage)
            for path, file in found.files.items():
                if path.name in names:
                    target = tmp_path / f"{model}-{adapter}-{path.name}"
                    target.write_text(file.text, encoding="utf-8")
                    files.append(target)
    results = validate(len(machine.gpus), files)
    assert len(results) == len(MODELS) * (2 * len(ADAPTERS) - 1)
    wrong = {Path(name).name: r for name, r in results.items() if "error" in r or r["lost"]}
    assert wrong == {}
    for name, result in results.items():
        if name.endswith("-sft.yaml"):
            adapter = Path(name).name.removesuffix("-sft.yaml").rpartition("-")[2]
            assert result["adapter"] == (None if adapter == "full" else adapter)
            assert isinstance(result["learning_rate"], float)


def test_axolotl_refuses_what_it_should_so_that_the_test_above_can_fail(tmp_path):
    """A misspelt key is dropped in silence, a wrong value is an error: both must show."""
    base = {
        "base_model": "x", "datasets": [{"path": "x", "type": "chat_template"}], "micro_batch_size": 1,
        "gradient_accumulation_steps": 1, "learning_rate": 1e-4,
    }  # fmt: skip
    misspelt, wrong = tmp_path / "misspelt.yaml", tmp_path / "wrong.yaml"
    misspelt.write_text(json.dumps({**base, "lora_rank": 4}))
    wrong.write_text(json.dumps({**base, "learning_rate": "abc"}))
    results = validate(0, [misspelt, wrong])
    assert results[str(misspelt)]["lost"] == ["lora_rank"]
    assert "error" in results[str(wrong)]
