"""Values that cost more than they say: each is refused, or worked through, within its time."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alphaf_orch.core.errors import ConfigError, DataError, ModelError
from alphaf_orch.core.piped import as_file
from alphaf_orch.core.secret_forms import folded
from alphaf_orch.core.values_template import TemplateError, fill
from alphaf_orch.core.yaml_files import read_document
from alphaf_orch.evaluation.tasks.task_yaml import read_task_file
from alphaf_orch.inputs.executable import pickled_weights
from alphaf_orch.inputs.safetensors_header import _sizes

SECRET = "hf_" + "a1B2" * 8
AT_ONCE_S = 2.0


@pytest.mark.parametrize("filler", [" ", "|", "\t", "│"])
def test_a_long_run_of_what_frames_a_line_is_searched_for_secrets_at_once(filler):
    begun = time.monotonic()
    assert list(folded("x" + filler * 1_000_000 + "y\nz", [SECRET])) == []
    assert time.monotonic() - begun < AT_ONCE_S


def test_a_secret_over_two_framed_lines_is_found():
    text = f"│ token {SECRET[:9]} │\n│ {SECRET[9:]} │"
    ((first, last),) = folded(text, [SECRET])
    assert text[first:last].startswith(SECRET[:9]) and text[first:last].endswith(SECRET[9:])


@pytest.mark.parametrize("value", ["!!set {a, b}", "!!binary aGVsbG8="])
def test_yaml_values_that_no_json_holds_are_refused_with_their_line(value, tmp_path):
    (tmp_path / "c.yaml").write_text(f"model: tiny\nsft: {{lora_target_modules: {value}}}\n", "utf-8")
    with pytest.raises(ConfigError, match="a value of the kind") as refused:
        read_document(tmp_path / "c.yaml")
    assert "line 2" in refused.value.where


def test_a_date_in_yaml_is_the_text_that_was_written(tmp_path):
    (tmp_path / "c.yaml").write_text("date: 2026-11-26\n", "utf-8")
    assert read_document(tmp_path / "c.yaml").values == {"date": "2026-11-26"}


def test_a_current_folder_that_is_gone_is_told(tmp_path):
    script = "import os,sys; os.mkdir('x'); os.chdir('x'); os.rmdir('../x'); os.execv(sys.executable, sys.argv[1:])"
    argv = [sys.executable, "-c", script, sys.executable, "-m", "alphaf_orch", "runs"]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: the current folder is gone")


def test_a_shape_has_no_more_axes_than_a_tensor():
    assert _sizes([2**62] * 64) is not None
    assert _sizes([2**62] * 65) is None


def test_a_number_of_gpus_without_end_is_refused_at_once(alphaf):
    begun = time.monotonic()
    done = alphaf("plan", "--model", "tiny", "--gpus", "99999999999999999999")
    assert done.exit_code in (2, 5)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("name", ["../m0/model.safetensors", "sub/evil.bin", "/etc/passwd"])
def test_weights_named_in_a_config_lie_in_the_model_s_folder(name, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "transformers_weights": name}), "utf-8")
    with pytest.raises(ModelError, match="is no plain file name"):
        pickled_weights(tmp_path)


def test_templates_keep_the_filters_that_only_make_a_value_plain():
    text = "{{ a | default('x') | trim }} {{ n | int }} {% if n == -1 %}{{ b | tojson }}{% endif %}"
    assert fill(text, (), {"a": " y ", "n": "-1", "b": [1]}) == "y -1 "
    with pytest.raises(TemplateError, match="it holds a program"):
        fill("{% for each in n %}{% endfor %}", (), {"n": []})


def test_the_data_of_a_task_have_a_name(tmp_path):
    (tmp_path / "t.yaml").write_text("task: t\ndataset_path: [json]\ndataset_kwargs: {data_files: a.jsonl}\n", "utf-8")
    with pytest.raises(ConfigError, match="dataset_path is no name of a data set") as refused:
        read_task_file(tmp_path / "t.yaml")
    assert "line 2" in refused.value.where


def test_memory_of_a_process_is_no_file_of_rows():
    with pytest.raises(DataError, match="the kernel's own files"):
        as_file(Path("/proc/self/mem"))
