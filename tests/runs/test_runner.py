"""Skip, resume, refuse, judge, record: the state machine, with a stand-in for the tools and real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import fake_tool
import harms
import pytest
import ranks
from processes import end, guards_of, kill_all

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.stamps import unstamped
from alphaf_orch.report.run.lineage import recipe_changes
from alphaf_orch.scores.loaded import load_run

STAGES = ["base_model", "data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo"]


@pytest.fixture
def run(alphaf, fake):
    def call(*args):
        return alphaf(args[0], "--config", str(fake.config), *args[1:])

    return call


def root(name="tiny"):
    return Path(os.environ["ALPHAF_RUNS"]) / name


def manifest(name="tiny"):
    return json.loads((root(name) / "manifest.json").read_text(encoding="utf-8"))


def states(name="tiny"):
    return {stage: entry["state"] for stage, entry in manifest(name)["stages"].items()}


def test_the_chain_runs_in_order_and_a_second_call_does_nothing(run, fake):
    first = run("run", "--model", "tiny")
    assert first.exit_code == 0, first.output
    assert fake.calls() == STAGES
    assert set(states().values()) == {"done"}
    before = (root() / "manifest.json").read_bytes()
    fake.forget()
    second = run("run", "--model", "tiny")
    assert second.exit_code == 0
    assert fake.calls() == []
    assert "nothing to do" in second.stderr
    assert (root() / "manifest.json").read_bytes() == before


def test_a_recipe_that_axolotl_refuses_is_refused_before_a_base_model_is_made(run, fake):
    asked = ("sft", "--model", "tiny", "--set", "sft.eval_strategy=epoch", "--set", "sft.val_set_size=0")
    fake.behave(refused=[{"key": "eval_strategy", "value": "epoch", "reason": "there are no rows for it"}])
    refused = run(*asked)
    assert refused.exit_code == 2
    assert "there are no rows for it" in refused.stderr
    assert fake.calls() == []


def test_axolotl_is_asked_about_no_recipe_that_has_been_trained(run, fake):
    asked = ("sft", "--model", "tiny", "--set", "sft.warmup_steps=1")
    fake.behave(merge_sft="fail")
    first = run(*asked)
    assert first.exit_code == 8
    assert first.stderr.count("is asked once") == 1, "before the base model is made and behind it: one question"
    shutil.rmtree(Path(os.environ["ALPHAF_CACHE"]) / "recipes")
    fake.behave(refused=[{"key": "warmup_steps", "value": 1, "reason": "it is not asked"}])
    again = run(*asked)
    assert again.exit_code == 0, again.stderr
    assert "is asked once" not in again.stderr


def test_brackets_in_a_path_are_shown(run, fake, tmp_path, monkeypatch):
    python = tmp_path / "env[gpu]" / "python"
    python.parent.mkdir()
    fake.python.rename(python)
    fake.config.write_text(f"tools: {{axolotl: '{python}', dpo: '{python}'}}\ngpus: 0\n", "utf-8")
    monkeypatch.setenv("ALPHAF_RUNS", str(tmp_path / "runs[gpu]"))
    fake.behave(validate_recipe="fail")
    done = run("sft", "--model", "tiny", "--set", "sft.warmup_steps=1")
    assert done.exit_code == 0, done.stderr
    assert f"axolotl could not be asked about warmup_steps: {python} gave no answer" in done.stderr
    assert f"sft: started, log {root() / 'logs' / 'sft.log'}" in done.stderr


def test_what_is_recorded(run, fake, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    monkeypatch.setenv("WANDB_API_KEY", "also-secret")
    assert run("run", "--model", "tiny").exit_code == 0
    text = (root() / "manifest.json").read_text(encoding="utf-8")
    assert "hf_very_secret" not in text
    assert "also-secret" not in text
    sft = manifest()["stages"]["sft"]
    assert {"HF_TOKEN", "WANDB_API_KEY", "CUDA_VISIBLE_DEVICES"} <= set(sft["environment"])
    assert sft["origins"]["bf16"] == {"by": "hardware/cpu.yaml", "recipe": "true"}
    assert sft["result"] == {"steps": 10, "loss_first": 2.0, "loss_last": 1.0, "rewards/accuracies": 0.75}
    assert sft["versions"]["axolotl"] == "1.0"
    assert sft["exit_code"] == 0
    assert sft["seconds"] >= 0
    assert sft["peak_memory_mib"] > 0
    assert len(sft["fingerprint"]) == 64
    assert manifest()["stages"]["merge_sft"]["spec"]["upstream"] == sft["fingerprint"]
    data = manifest()["data"]
    assert data["sft"][0]["rows"] > 300
    assert len(data["dpo"][0]["sha256"]) == 64
    assert manifest()["base_revision"].startswith("local:")
    rendered = sorted(path.name for path in (root() / "rendered").iterdir())
    assert rendered == [
        "accelerate_sft.yaml", "data.yaml", "dpo.yaml", "dpo_data.yaml", "merge_dpo.yaml", "merge_dpo_contract.yaml",
        "merge_sft.yaml", "merge_sft_contract.yaml", "sft.yaml",
    ]  # fmt: skip
    assert sorted(p.name for p in (root() / "logs").iterdir()) == sorted(f"{name}.log" for name in STAGES)


def test_who_set_what_is_read_from_the_manifest_and_of_older_runs_from_the_comments(run, fake):
    assert run("sft", "--model", "tiny", "--set", "sft.eval_causal_lm_metrics=[chrf]").exit_code == 0
    data = load_run(RunPaths(root()))
    told = recipe_changes(data, "sft")
    assert told["bf16"] == ("false", "true", "hardware/cpu.yaml")
    assert told["eval_causal_lm_metrics"] == ("[chrf]", "–", "yours")
    silent = {name: text.replace("  # ", " # ") for name, text in data.rendered.items()}
    assert recipe_changes(replace(data, rendered=silent), "sft") == told
    older = json.loads(json.dumps(data.manifest))
    del older["stages"]["sft"]["origins"]
    assert list(recipe_changes(replace(data, manifest=older), "sft").items()) == list(told.items())


def test_a_failed_stage_says_why_and_the_same_command_goes_on_from_its_checkpoint(run, fake):
    fake.behave(sft="fail")
    failed = run("run", "--model", "tiny")
    assert failed.exit_code == 7
    assert failed.stderr.splitlines()[-6:] == [
        "error: sft exited with 1: the GPU fell off the bus",
        "  where: slot 3",
        "  next:  put it back",
        f"  where: log: {root()}/logs/sft.log",
        "  next:  mend the cause; the same command goes on from what is finished",
        "  code:  stage.program_failed",
    ]
    assert states()["sft"] == "failed"
    fake.behave()
    fake.forget()
    assert run("run", "--model", "tiny").exit_code == 0
    assert fake.calls() == STAGES[3:]
    assert fake.argv("sft")[-1] == f"--resume_from_checkpoint={root()}/sft/checkpoint-5"


def test_exit_code_0_with_an_adapter_is_not_success(run, fake):
    fake.behave(sft="half")
    stopped = run("sft", "--model", "tiny")
    assert stopped.exit_code == 7
    assert "sft: stopped at step 5 of 10" in stopped.stderr
    assert (root() / "sft" / "adapter_model.safetensors").is_file()
    assert states()["sft"] == "failed"
    assert "merge_sft" not in states()


@pytest.mark.parametrize(
    ("behaviour", "message"), [("nan", "the loss is not finite"), ("no_output", "no valid checkpoint was written")]
)
def test_artefacts_are_judged(behaviour, message, run, fake):
    fake.behave(sft=behaviour)
    failed = run("sft", "--model", "tiny")
    assert failed.exit_code == 7
    assert message in failed.stderr


def test_the_newest_valid_checkpoint_is_taken_not_the_highest_number(run, fake):
    fake.behave(sft="fail")
    run("sft", "--model", "tiny")
    (root() / "sft" / "checkpoint-9").mkdir()
    shutil.copytree(root() / "sft" / "checkpoint-5", root() / "sft" / "checkpoint-8")
    (root() / "sft" / "checkpoint-8" / "optimizer.pt").write_bytes(b"PK cut off")
    fake.behave()
    assert run("sft", "--model", "tiny").exit_code == 0
    assert fake.argv("sft")[-1].endswith("checkpoint-5")


def test_a_damaged_checkpoint_is_passed_over_said_and_recorded_and_kept(run, fake):
    fake.behave(sft="fail")
    run("sft", "--model", "tiny")
    newer = shutil.copytree(root() / "sft" / "checkpoint-5", root() / "sft" / "checkpoint-8")
    state = json.loads((newer / "trainer_state.json").read_text()) | {"global_step": 8}
    (newer / "trainer_state.json").write_text(json.dumps(state))
    shutil.copyfile(newer / "optimizer.pt", newer / "rng_state.pth")
    fake_tool.hashed(newer)
    harms.empty(newer / "rng_state.pth")
    planned = json.loads(run("plan", "--run", "tiny", "--json").stdout)
    assert [s["state"] for s in planned["stages"] if s["name"] == "sft"] == ["resume"]
    fake.behave()
    done = run("sft", "--model", "tiny")
    assert done.exit_code == 0
    assert fake.argv("sft")[-1].endswith("checkpoint-5")
    size = (newer / "optimizer.pt").stat().st_size
    reason = f"checkpoint-8 is passed over: rng_state.pth is empty, cut off or damaged (0 of {size} bytes)"
    assert f"sft: {reason}\nsft: goes on from checkpoint-5\n" in "".join(
        map(unstamped, done.stderr.splitlines(keepends=True))
    )
    assert manifest()["stages"]["sft"]["passed_over"] == [reason]
    assert newer.is_dir()


def test_without_a_whole_checkpoint_the_training_begins_anew_and_says_so(run, fake):
    fake.behave(sft="fail")
    run("sft", "--model", "tiny")
    archive = root() / "sft" / "checkpoint-5" / "optimizer.pt"
    archive.write_bytes(archive.read_bytes().replace(b"x", b"\0", 1))
    fake.behave()
    done = run("sft", "--model", "tiny")
    assert done.exit_code == 0
    assert not fake.argv("sft")[-1].startswith("--resume")
    assert "sft: checkpoint-5 is passed over: optimizer.pt" in done.stderr
    assert "sft: begins anew: no checkpoint is whole" in done.stderr


def test_a_run_that_stands_beyond_its_planned_end_is_refused_with_what_to_do(run, fake):
    """What earlier versions made of a training that was killed between its last checkpoint and its end."""
    fake.behave(sft="half")
    run("sft", "--model", "tiny")
    sft = root() / "sft"
    for step in (12, 13):
        shutil.copytree(sft / "checkpoint-5", sft / f"checkpoint-{step}")
        file = sft / f"checkpoint-{step}" / "trainer_state.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"global_step": step}))
    fake.behave()
    fake.forget()
    again = run("sft", "--model", "tiny")
    assert again.exit_code == 0, "one before the planned end is left"
    assert "sft: checkpoint-13 is passed over: it stands beyond the planned 10 steps" in again.stderr
    content = manifest()
    content["stages"] = {k: v for k, v in content["stages"].items() if k != "merge_sft"}
    content["stages"]["sft"]["state"] = "failed"
    (root() / "manifest.json").write_text(json.dumps(content))
    for step in (5, 10):
        shutil.rmtree(sft / f"checkpoint-{step}")
    fake.forget()
    refused = run("sft", "--model", "tiny")
    assert refused.exit_code == 6
    assert "sft of run tiny stands at checkpoint-13, beyond its planned end" in refused.stderr
    assert f"move {sft} away and give the command again to train it anew, or use --run NEW" in refused.stderr
    assert fake.calls() == []
    assert (sft / "checkpoint-13").is_dir()
    shutil.move(sft, root() / "old")
    assert run("sft", "--model", "tiny").exit_code == 0


@pytest.mark.parametrize(("weights", "launched"), [(None, []), (b"\0" * 8, ["dpo", "merge_dpo"])])
def test_a_finished_dpo_whose_record_was_lost_is_taken_over_if_its_weights_are_whole(weights, launched, run, fake):
    assert run("run", "--model", "tiny").exit_code == 0
    content = manifest()
    content["stages"]["dpo"]["state"] = "running"
    del content["stages"]["merge_dpo"]
    (root() / "manifest.json").write_text(json.dumps(content))
    shutil.rmtree(root() / "dpo" / "merged")
    (root() / "dpo" / "trainer_state.json").write_text("{}")
    if weights:
        (root() / "dpo" / "adapter_model.safetensors").write_bytes(weights)
    fake.forget()
    assert run("run", "--model", "tiny").exit_code == 0
    assert fake.calls() == (launched or ["merge_dpo"])
    assert set(states().values()) == {"done"}
    if weights:
        assert fake.argv("dpo")[-1].endswith("checkpoint-10")


def test_metrics_that_a_killed_trainer_cut_off_do_not_end_alphaf(run, fake):
    fake.behave(sft="fail")
    run("sft", "--model", "tiny")
    file = root() / "metrics" / "sft.jsonl"
    with file.open("a") as metrics:
        metrics.write('{"time": 1.0, "step": 7, "wor')
    fake.behave()
    done = run("sft", "--model", "tiny")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("losses", "rows", "told"),
    [
        ([], [{"step": 10, "train_loss": 1.5}], None),
        ([], [{"step": 10, "train_loss": None, "non_finite": ["train_loss"]}], "the loss is not finite"),
        ([], [], "no loss was logged"),
    ],
)
def test_a_finished_training_without_a_logged_step_is_judged_by_its_mean_loss(losses, rows, told, tmp_path):
    from alphaf_orch.core.errors import StageError
    from alphaf_orch.runs.verify import training_summary

    fake_tool.checkpoint(tmp_path, 10)
    fake_tool.safetensors(tmp_path / "adapter_model.safetensors")
    file = tmp_path / "checkpoint-10" / "trainer_state.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"log_history": losses}))
    fake_tool.hashed(file.parent)
    metrics = tmp_path / "sft.jsonl"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def judged():
        return training_summary("sft", tmp_path, tmp_path / "log", metrics)

    if told is None:
        assert judged() == {"steps": 10, "loss_first": 1.5, "loss_last": 1.5}
    else:
        with pytest.raises(StageError, match=told):
            judged()


def test_a_violated_contract_stops_the_chain_with_its_own_exit_code(run, fake):
    fake.behave(merge_sft="fail")
    broken = run("run", "--model", "tiny")
    assert broken.exit_code == 8
    assert "the model breaks its hand-off contract" in broken.stderr
    assert "tokenizer: 485 entries, 487 trained" in broken.stderr
    assert "dpo" not in fake.calls()


def test_changed_settings_are_refused_with_the_difference(run, fake):
    assert run("sft", "--model", "tiny").exit_code == 0
    fake.forget()
    before = (root() / "manifest.json").read_bytes()
    refused = run("sft", "--model", "tiny", "--set", "lora_r=8")
    assert refused.exit_code == 6
    assert "sft of run tiny was made from other inputs" in refused.stderr
    assert "-recipe.lora_r: 256" in refused.stderr
    assert "+recipe.lora_r: 8" in refused.stderr
    assert "--run NEW" in refused.stderr
    assert fake.calls() == []
    assert (root() / "manifest.json").read_bytes() == before
    assert run("sft", "--model", "tiny").exit_code == 0, "the refused settings must not have been kept"


def test_a_run_finished_under_another_default_is_told_the_option_that_keeps_it(run, fake):
    """The recipe's default attention has changed once; what was trained under the old one stays what it is."""
    assert run("sft", "--model", "tiny").exit_code == 0
    content = manifest()
    sft = content["stages"]["sft"]
    sft["spec"]["recipe"] |= {"attn_implementation": "flash_attention_2", "max_grad_norm": None}
    sft["fingerprint"] = fingerprint(["sft", 1, sft["spec"]])
    (root() / "manifest.json").write_text(json.dumps(content))
    refused = run("sft", "--model", "tiny")
    assert refused.exit_code == 6
    back = ("--set", "sft.attn_implementation=flash_attention_2", "--set", "sft.max_grad_norm=null")
    assert f"or take the change back: {' '.join(back)}\n" in refused.stderr
    fake.forget()
    for stage in ("merge_sft",):
        content["stages"].pop(stage)
    (root() / "manifest.json").write_text(json.dumps(content))
    shutil.rmtree(root() / "sft" / "merged")
    assert run("sft", "--model", "tiny", *back).exit_code == 0
    assert fake.calls() == ["merge_sft"]


def test_changed_data_is_refused(run, fake, tmp_path):
    row = '{"messages": [{"role": "user", "content": "가?"}, {"role": "assistant", "content": "%s"}]}\n'
    data = tmp_path / "내 데이터.jsonl"
    data.write_text(row % "나", encoding="utf-8")
    assert run("sft", "--model", "tiny", "--data", str(data)).exit_code == 0
    data.write_text(row % "다", encoding="utf-8")
    refused = run("sft", "--model", "tiny", "--data", str(data))
    assert refused.exit_code == 6
    assert "sha256" in refused.stderr


def test_new_settings_for_a_stage_not_yet_run_are_taken_and_remembered(run, fake):
    assert run("sft", "--model", "tiny").exit_code == 0
    assert run("dpo", "--run", "tiny", "--set", "beta=0.3").exit_code == 0
    config = (root() / "config.yaml").read_text(encoding="utf-8")
    assert "beta: 0.3" in config
    fake.forget()
    assert run("run", "--run", "tiny").exit_code == 0
    assert fake.calls() == []


def test_a_run_remembers_its_settings(run, fake):
    assert run("sft", "--model", "tiny", "--run", "r8", "--set", "lora_r=8").exit_code == 0
    fake.forget()
    assert run("sft", "--run", "r8").exit_code == 0
    assert fake.calls() == []


def test_finished_weights_without_a_manifest_are_not_trained_over(run, fake):
    assert run("sft", "--model", "tiny").exit_code == 0
    (root() / "manifest.json").unlink()
    fake.forget()
    refused = run("sft", "--model", "tiny")
    assert refused.exit_code == 6
    assert "holds weights that the manifest knows nothing of" in refused.stderr
    assert "sft" not in fake.calls()


def test_a_cut_off_index_is_no_checkpoint_and_no_crash(run, fake):
    fake.behave(sft="fail")
    run("sft", "--model", "tiny")
    broken = shutil.copytree(root() / "sft" / "checkpoint-5", root() / "sft" / "checkpoint-8")
    (broken / "model.safetensors.index.json").write_text('{"weight_map": {"a"')
    fake.behave()
    assert run("sft", "--model", "tiny").exit_code == 0
    assert fake.argv("sft")[-1].endswith("checkpoint-5")


def test_what_another_call_finished_before_the_lock_came_is_not_done_again(run, fake, monkeypatch):
    """The other call ends just when this one has looked and is about to take the lock."""
    from alphaf_orch.runs import runner

    lock, others = runner.locked, []

    def locked_after_another(paths):
        monkeypatch.setattr(runner, "locked", lock)
        others.append(run("sft", "--model", "tiny"))
        return lock(paths)

    run("sft", "--model", "tiny", "--run", "warm")  # the base model is there
    fake.forget()
    monkeypatch.setattr(runner, "locked", locked_after_another)
    assert run("sft", "--model", "tiny").exit_code == 0
    assert others[0].exit_code == 0
    assert fake.calls() == ["data", "preprocess", "sft", "merge_sft"]


def test_a_half_written_preprocess_folder_is_made_anew(run, fake):
    fake.behave(preprocess="fail")
    assert run("sft", "--model", "tiny").exit_code == 7
    assert any((root() / "prepared").iterdir())
    fake.behave()
    assert run("sft", "--model", "tiny").exit_code == 0


def test_a_merge_renamed_before_a_crash_is_taken_over(run, fake):
    assert run("sft", "--model", "tiny").exit_code == 0
    content = manifest()
    content["stages"]["merge_sft"]["state"] = "running"
    (root() / "manifest.json").write_text(json.dumps(content))
    fake.forget()
    assert run("sft", "--model", "tiny").exit_code == 0
    assert fake.calls() == []
    assert states()["merge_sft"] == "done"


def test_dpo_takes_the_last_finished_sft(run, fake):
    run("sft", "--model", "tiny", "--run", "먼저")
    time.sleep(1.1)
    run("sft", "--model", "tiny", "--run", "나중")
    fake.behave(sft="half")
    run("sft", "--model", "tiny", "--run", "안끝남")
    fake.behave()
    assert run("dpo").exit_code == 0
    assert states("나중")["merge_dpo"] == "done"
    assert "dpo" not in states("먼저")


def test_dpo_refuses_a_killed_sft(run, fake):
    fake.behave(sft="half")
    run("sft", "--model", "tiny")
    refused = run("dpo", "--run", "tiny")
    assert refused.exit_code == 6
    assert "the SFT of run tiny is not finished: failed" in refused.stderr
    assert "alphaf sft --run tiny" in refused.stderr


def test_a_missing_tool_is_named_before_anything_is_launched(run, fake):
    fake.behave(versions={"python": "3.11", "torch": "2"})
    missing = run("sft", "--model", "tiny")
    assert missing.exit_code == 9
    assert "needs axolotl, transformers, not installed" in missing.stderr
    assert fake.calls() == []


def start(fake, *args):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which `alphaf` would heed
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "alphaf_orch", args[0], "--config", str(fake.config), *args[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    finally:
        signal.signal(signal.SIGHUP, before)


def wait_for(log: Path, text: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if log.is_file() and text in log.read_text(encoding="utf-8", errors="replace").splitlines():
            return
        time.sleep(0.1)
    raise AssertionError(f"{text!r} never came in {log}")


def test_tokens_that_were_let_pass_are_checked_anew_once_they_are_not(run, fake):
    settings = fake.config.read_text(encoding="utf-8")
    fake.config.write_text(settings + "allow_untrained_tokens: true\n", encoding="utf-8")
    fake.behave(sft="fail")
    assert run("sft", "--model", "tiny").exit_code == 7
    fake.forget()
    assert run("sft", "--model", "tiny").exit_code == 7
    assert fake.calls() == ["sft"]
    fake.forget()
    fake.behave()
    fake.config.write_text(settings + "allow_untrained_tokens: false\n", encoding="utf-8")
    assert run("sft", "--model", "tiny").exit_code == 0
    assert fake.calls() == ["data", "sft", "merge_sft"]


def test_a_data_stage_of_a_version_that_looked_at_no_tokens_is_kept(run, fake):
    assert run("sft", "--model", "tiny").exit_code == 0
    written = manifest()
    del written["stages"]["data"]["result"]["model_rows"]
    (root() / "manifest.json").write_text(json.dumps(written), encoding="utf-8")
    fake.forget()
    assert run("sft", "--model", "tiny").exit_code == 0
    assert fake.calls() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_keeps_what_is_there_and_can_be_resumed(number, run, fake):
    fake.behave(sft="hang")
    process = start(fake, "sft", "--model", "tiny")
    wait_for(root() / "logs" / "sft.log", "hanging")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "sft was interrupted" in err
    assert "Traceback" not in err
    assert states()["sft"] == "interrupted"
    fake.behave()
    assert run("sft", "--model", "tiny").exit_code == 0
    assert fake.argv("sft")[-1].endswith("checkpoint-5")


def test_a_killed_alphaf_leaves_the_run_locked_while_its_trainer_lives(run, fake):
    fake.behave(sft="hang")
    process = start(fake, "sft", "--model", "tiny")
    wait_for(root() / "logs" / "sft.log", "hanging")
    end(guards_of(process.pid))  # else it ends what is left
    process.kill()
    process.communicate(timeout=30)
    refused = run("sft", "--model", "tiny")
    assert refused.exit_code == 6
    assert "the run tiny is in use" in refused.stderr
    assert kill_all(root() / "rendered" / "sft.yaml", signal.SIGTERM) == 1
    time.sleep(1)
    assert states()["sft"] == "running"
    fake.behave()
    assert run("sft", "--model", "tiny").exit_code == 0
    assert fake.argv("sft")[-1].endswith("checkpoint-5")


def test_a_rank_that_outlives_alphaf_and_its_launcher_holds_the_run(run, fake, tmp_path):
    fake.behave(sft="ranks")
    process = start(fake, "sft", "--model", "tiny")
    wait_for(root() / "logs" / "sft.log", "hanging")
    end(guards_of(process.pid))  # else it ends what is left
    process.kill()
    process.communicate(timeout=30)
    kill_all(root() / "rendered" / "sft.yaml", signal.SIGKILL)
    try:
        left = sorted(ranks.alive(tmp_path / "ranks"))
        assert len(left) == 2, "no descriptor and no session of ours: nothing but the mark tells of them"
        fake.forget()
        refused = run("sft", "--model", "tiny")
        assert refused.exit_code == 6
        assert f"the run tiny is in use (by process {left[0]}: " in refused.stderr
        assert "ranks deaf" in refused.stderr, "who it is"
        assert f"kill {left[0]} {left[1]}" in refused.stderr
        assert fake.calls() == []
    finally:
        ranks.kill(tmp_path / "ranks")
    fake.behave()
    assert run("sft", "--model", "tiny").exit_code == 0
    assert fake.argv("sft")[-1].endswith("checkpoint-5")


def test_ctrl_c_twice_leaves_no_rank_and_says_interrupted(run, fake, tmp_path):
    fake.behave(sft="ranks")
    process = start(fake, "sft", "--model", "tiny")
    wait_for(root() / "logs" / "sft.log", "hanging")
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None, "the ranks are given time"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "sft was interrupted" in err
    assert states()["sft"] == "interrupted"
    assert ranks.alive(tmp_path / "ranks") == []


def test_two_at_once_are_kept_apart(run, fake):
    fake.behave(sft="hang")
    process = start(fake, "sft", "--model", "tiny")
    wait_for(root() / "logs" / "sft.log", "hanging")
    try:
        second = run("sft", "--model", "tiny")
        assert second.exit_code == 6
        assert f"by process {process.pid}" in second.stderr
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_two_runs_that_need_the_same_base_model_have_it_made_once(fake):
    fake.behave(base_model="slow")
    first = start(fake, "sft", "--model", "tiny", "--run", "하나")
    seen = first.stderr.readline()  # the base model is begun
    second = start(fake, "sft", "--model", "tiny", "--run", "둘")
    waiting = second.stderr.readline()
    fake.control.with_name("go").touch()
    said = [before + process.communicate(timeout=60)[1] for before, process in ((seen, first), (waiting, second))]
    assert [process.returncode for process in (first, second)] == [0, 0], said
    assert fake.calls().count("base_model") == 1
    waits = "base_model: waits for run {}, which makes the same"
    assert sum(waits.format(other) in text for text, other in zip(said, ("둘", "하나"), strict=True)) == 1, said
    assert [states(name)["merge_sft"] for name in ("하나", "둘")] == ["done", "done"]


def test_two_runs_that_fetch_the_same_take_turns(tmp_path):
    from alphaf_orch.core.paths import RunPaths
    from alphaf_orch.planning.stages import Stage
    from alphaf_orch.runs import sharing

    stage = Stage("base_model", "axolotl", ("fetch",), {}, (), {"repo": "org/name"}, online=True)
    said, order = [], []

    def second():
        with sharing.turn(stage, RunPaths(tmp_path / "둘"), said.append):
            order.append("second")

    other = threading.Thread(target=second)
    with sharing.turn(stage, RunPaths(tmp_path / "하나"), said.append):
        other.start()
        end = time.monotonic() + 10
        while not said and time.monotonic() < end:
            time.sleep(0.01)
        order.append("first")
    other.join()
    assert said == ["base_model: waits for run 하나, which makes the same"]
    assert order == ["first", "second"]


def test_a_run_that_an_earlier_version_began_goes_on_with_the_base_model_it_has(run, alphaf, fake):
    from alphaf_orch.core.paths import RunPaths, cache_dir
    from alphaf_orch.inputs.identity import folder_identity, old_identity
    from alphaf_orch.runs.chain import chain_models

    assert run("sft", "--model", "tiny", "--run", "base").exit_code == 0
    folder = cache_dir() / "models" / "tiny"
    old = old_identity(folder)
    text = fake.config.read_text(encoding="utf-8")
    fake.config.write_text(f"{text}base_revision: '{old}'\n", encoding="utf-8")
    assert run("sft", "--model", "tiny").exit_code == 0
    assert manifest()["base_revision"] == old
    fake.forget()
    again = alphaf("sft", "--run", "tiny")
    assert "nothing to do" in again.stderr
    assert fake.calls() == []
    assert chain_models(RunPaths(root()), ("base",))[0].identity == folder_identity(folder), "scores are not shared"
    (folder / "config.json").write_text('{"other": 1}')
    refused = alphaf("sft", "--run", "tiny")
    assert refused.exit_code == 6
    assert f"the base model is not the one this run began with ({old} then" in refused.stderr


def test_the_merged_model_is_known_once_it_is_made(run):
    from alphaf_orch.inputs.identity import folder_identity

    assert run("sft", "--model", "tiny").exit_code == 0
    assert manifest()["stages"]["merge_sft"]["result"]["identity"] == folder_identity(root() / "sft" / "merged")


def test_verbose_streams_the_tool_s_own_output(run, fake):
    fake.behave(sft="fail")
    shown = run("sft", "--model", "tiny", "-v")
    assert "error: the GPU fell off the bus\n" in shown.stderr


def test_show_and_runs(run, alphaf, fake):
    run("run", "--model", "tiny")
    found = json.loads(alphaf("show", "tiny", "--json").stdout)
    assert found["model"] == str(root() / "dpo" / "merged")
    assert found["stages"]["dpo"]["result"]["rewards/accuracies"] == 0.75
    assert [row["run"] for row in json.loads(alphaf("runs", "--json").stdout)["runs"]] == ["tiny"]
    text = alphaf("show", "tiny").stdout
    assert "2.000 → 1.000" in text
    assert f"model: {root()}/dpo/merged" in text
    assert "alphaf chat tiny" in text


def test_plan_says_new_cached_and_changed(run, alphaf, fake):
    run("sft", "--model", "tiny")
    found = json.loads(alphaf("plan", "--run", "tiny", "--json").stdout)
    assert {s["name"]: s["state"] for s in found["stages"]} == {
        "data": "cached", "preprocess": "cached", "sft": "cached", "merge_sft": "cached",
        "dpo_data": "new", "dpo": "new", "merge_dpo": "new",
    }  # fmt: skip
    changed = json.loads(alphaf("plan", "--run", "tiny", "--set", "lora_r=8", "--json").stdout)
    assert {s["name"]: s["state"] for s in changed["stages"]}["sft"] == "changed"
