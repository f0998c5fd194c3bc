"""What experiments and detached calls print with --json once all has run, by stand-ins: held to its schema."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import answers
import pytest
from bakeoff_runs import support, tokenizers
from whole_run import VERSIONS, whole

REPO = Path(__file__).parents[2]


@pytest.fixture
def tools(fake, tmp_path, monkeypatch):
    """The stand-ins for trainers and for what evaluates; arms are processes of their own."""
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    return whole(fake, tmp_path)


def test_an_ablation_with_a_failed_arm_and_once_it_is_mended(alphaf, tools):
    words = ("ablate", "dpo.beta=0.05,0.1", "--model", "tiny", "--name", "비교", "--task", "my_choice", "--gpus", "0")
    call = (*words, "--config", str(tools.config), "--json")
    tools.behave(versions=VERSIONS, dpo={"when": "0.1", "then": "fail"})
    failed = alphaf(*call)
    assert failed.exit_code == 7, failed.output
    value = json.loads(failed.stdout)
    assert [arm["state"] for arm in value["arms"]] == ["done", "failed"]
    assert "the GPU fell off the bus" in value["arms"][1]["error"]
    assert value["arms"][1]["code"] == "stage.program_failed"
    assert value["error"]["exit_code"] == 7
    tools.behave(versions=VERSIONS)
    done = alphaf(*call)
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert (value["schema"], value["kind"], value["stage"]) == ("alphaf/ablation/1", "ablation", "dpo")
    assert [(arm["state"], arm["exit_code"], arm["error"]) for arm in value["arms"]] == [("done", 0, None)] * 2
    (comparison,) = value["comparisons"]
    assert comparison["tasks"][0]["task"] == "my_choice"
    assert all(Path(file).is_file() for file in value["files"])
    assert json.loads(alphaf("report", "비교", "--json").stdout)["schema"] == "alphaf/ablation/1"
    assert len(json.loads(alphaf("show", "비교", "--json").stdout)["arms"]) == 2


def test_a_bake_off_that_ran(alphaf, tools):
    text = tools.config.with_name("templates") / "eval" / "우리 과제" / "text.yaml"
    text.write_text(text.read_text("utf-8").replace("tag: mine", "tag: other"), "utf-8")
    tools.behave(versions=VERSIONS, native_support=support(), tokenizer_facts=tokenizers())
    words = ("bakeoff", "--models", "tiny-eeve,tiny-qwen", "--name", "고르기", "--task", "my_choice", "--prompts", "0")
    done = alphaf(*words, "--elsewhere", "other", "--gpus", "0", "--config", str(tools.config), "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert (value["schema"], value["failed"]) == ("alphaf/bakeoff/1", {})
    assert sorted(place["candidate"] for place in value["places"]) == ["tiny-eeve", "tiny-qwen"]
    assert all(Path(file).is_file() for file in value["files"])


def test_a_detached_run_says_where_it_goes_on(alphaf, tools):
    argv = [
        sys.executable,
        "-m",
        "alphaf_orch",
        "sft",
        "--model",
        "tiny",
        "--run",
        "뒤에서",
        "--config",
        str(tools.config),
    ]
    done = subprocess.run([*argv, "--detach", "--json"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    value = answers.checked(done.stdout)
    assert (value["schema"], value["run"]) == ("alphaf/detached/1", "뒤에서")
    assert Path(value["log"]).is_file()
    ended = alphaf("attach", "뒤에서", "--json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(alphaf("show", "뒤에서", "--json").stdout)["stages"]["merge_sft"]["state"] == "done"
    again = subprocess.run(
        [*argv, "--set", "lora_r=no", "--detach", "--json"], capture_output=True, text=True, timeout=60
    )
    assert answers.checked(again.stdout)["error"]["exit_code"] == again.returncode == 2
