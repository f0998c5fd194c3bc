"""The whole text of every rendered recipe, as recorded; `make golden` rewrites the records, nothing else does."""

from pathlib import Path

import pytest
from golden import recorded

from alphaf_orch.core.paths import PACKAGE, template_folders
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.merge import METHODS

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {
    "eeve-qlora": {},
    "eeve-lora": {"sft": {"adapter": "lora"}},
    "eeve-full": {"sft": {"adapter": "full"}},
    "eeve-4gpus-r64-neftune": {"gpus": 4, "sft": {"lora_r": 64, "neftune_noise_alpha": 45}},
    "smollm2-cpu": {"model": "smollm2", "gpus": 0},
    **{f"eeve-merge-{method}": {"merge": {"partner": "eeve-instruct", "method": method}} for method in METHODS},
}
FILES = {
    f"{case}--{path}": (case, path)
    for case, paths in {
        "eeve-qlora": ("sft.yaml", "accelerate_sft.yaml", "merge_sft.yaml", "merge_sft_contract.yaml", "dpo.yaml",
                       "merge_dpo.yaml", "data.yaml", "dpo_data.yaml"),
        "eeve-lora": ("sft.yaml", "merge_sft.yaml"),
        "eeve-full": ("sft.yaml",),
        "eeve-4gpus-r64-neftune": ("sft.yaml",),
        "smollm2-cpu": ("sft.yaml", "accelerate_sft.yaml", "dpo.yaml"),
        **{f"eeve-merge-{method}": ("merge_models.yaml", "mergekit.yaml") for method in METHODS},
        "eeve-merge-dare_ties": ("merge_models.yaml", "mergekit.yaml", "merge_models_contract.yaml"),
    }.items()
    for path in paths
}  # fmt: skip


def rendered(case, machine, tmp_path) -> dict[str, str]:
    plan = make_plan(
        RunConfig(**{"model": "eeve", **CASES[case]}), machine, tmp_path / "runs" / "r", Scope(dry=True, merge=True)
    )
    texts = {path.name: file.text for stage in plan.stages for path, file in stage.files.items()}
    places = {str(tmp_path): "/TMP", str(PACKAGE): "/PACKAGE", str(template_folders()[-1]): "/TEMPLATES"}
    for name, text in texts.items():
        for place, word in places.items():
            text = text.replace(place, word)
        texts[name] = text
    return texts


@pytest.mark.parametrize("name", FILES)
def test_a_rendered_file_is_as_recorded(name, eight_gpus, tmp_path):
    case, path = FILES[name]
    text = rendered(case, eight_gpus, tmp_path)[path]
    assert text == recorded(GOLDEN / name, text)


def test_every_record_is_used():
    assert {path.name for path in GOLDEN.iterdir() if path.is_file()} == set(FILES)


def test_every_template_is_recorded(eight_gpus, tmp_path):
    """A template that no record shows could change without a test noticing."""
    (folder,) = template_folders()
    shown = {"sft/qlora", "sft/lora", "sft/full", "dpo/dpo", "merge_adapter/qlora", "merge_adapter/lora"}
    shown |= {f"merge_models/{method}" for method in METHODS}
    shown |= {f"engines/{engine}" for engine in ("ddp", "fsdp2", "hsdp", "zero2", "zero3")}  # tests/golden/engines
    assert {str(p.relative_to(folder)).removesuffix(".yaml.j2") for p in folder.rglob("*.yaml.j2")} == shown
