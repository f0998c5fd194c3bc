"""4-bit weights: what bitsandbytes makes of a shape is asked before a model of that shape is trained."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

from alphaf_orch.programs.common import Failure
from alphaf_orch.programs.training import nf4_check

REPO = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
BROKEN = max(nf4_check.errors(64, 160, "cpu", torch.float32)) > nf4_check.TOLERANCE
broken = pytest.mark.skipif(not BROKEN, reason="bitsandbytes is right on this processor")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("outputs", "inputs"), [(64, 64), (64, 128), (576, 1536), (160, 64), (100, 100), (300, 192)])
def test_what_the_tool_makes_of_ordinary_shapes_is_nf4(outputs, inputs, dtype):
    assert max(nf4_check.errors(outputs, inputs, "cpu", dtype)) < nf4_check.TOLERANCE / 5


@pytest.mark.parametrize("inputs", [16, 32, 48, 96, 160, 224, 320, 336])
def test_a_width_that_16_divides_and_64_does_not_is_told_from_the_others(inputs):
    """Where the tool is right everywhere (another processor, a mended release) nothing is refused."""
    read, forward = nf4_check.errors(64, inputs, "cpu", torch.float32)
    wrong = BROKEN and inputs % 64 != 0
    assert (read > nf4_check.TOLERANCE, forward > nf4_check.TOLERANCE) == (wrong, wrong)


def test_the_shapes_of_a_model_are_those_of_its_linear_layers(tmp_path):
    tiny.llama(320, hidden_size=160, intermediate_size=192, num_key_value_heads=1).save_pretrained(tmp_path)
    shapes = nf4_check.linear_shapes(str(tmp_path), None, trust_remote_code=False)
    assert shapes == {(160, 160), (40, 160), (192, 160), (160, 192)}, "neither embeddings nor lm_head"


def test_the_refusal_names_shape_tool_and_way_out(monkeypatch):
    monkeypatch.setattr(nf4_check, "errors", lambda _, inputs, *__: iter((0.001, 0.2 if inputs == 160 else 0.001)))
    nf4_check.check_nf4({(64, 128)}, torch.float32, fix="--set sft.adapter=lora")
    with pytest.raises(Failure) as caught:
        nf4_check.check_nf4({(64, 128), (64, 160)}, torch.float32, fix="--set sft.adapter=lora")
    assert caught.value.code == 9
    assert "wrong 4-bit values for linear layers of 64 x 160 (off by 20%)" in caught.value.message
    assert caught.value.message.endswith("next:  --set sft.adapter=lora")


@broken
def test_a_model_of_width_160_is_refused_before_sft_and_before_dpo(tmp_path):
    model = tiny.save_base(tmp_path / "모델 160", hidden_size=160)

    def alphaf(*args: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "alphaf_orch", *args]
        env = os.environ | {"PYTHONPATH": str(REPO)}
        return subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=280, check=False)

    sft = alphaf("sft", "--model", str(model), "--run", "r", "--set", "max_steps=2", "--set", "sequence_len=512")
    assert sft.returncode == 7, sft.stderr
    assert "error: preprocess exited with 9: bitsandbytes" in sft.stderr
    assert "160 x 160 (off by 2" in sft.stderr
    assert "next:  train the adapter on unquantised weights: --set sft.adapter=lora" in sft.stderr
    run = Path(os.environ["ALPHAF_RUNS"]) / "r"
    assert not (run / "sft").exists()

    import yaml
    from dpo_job import PAIRS, SETTINGS, write_pairs

    write_pairs(tmp_path, PAIRS[:4])
    settings = SETTINGS | {"base_model": str(model), "output_dir": "dpo", "max_steps": 1}
    (tmp_path / "dpo.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    line = [sys.executable, "-m", "alphaf_orch.programs.training.dpo", "dpo.yaml"]
    dpo = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert dpo.returncode == 9, dpo.stderr
    assert "next:  train on unquantised weights: --set dpo.load_in_4bit=false" in dpo.stderr
    assert not list((tmp_path / "dpo").glob("checkpoint-*"))
