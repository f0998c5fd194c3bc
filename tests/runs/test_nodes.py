"""One run on two machines: who does what, what each refuses, and that none waits for ever. Real processes, tools that
are none."""

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from machines import Machines
from processes import kill_all, until
from rich.console import Console

from alphaf_orch.core.errors import StageError
from alphaf_orch.core.nodes import Seat
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.stop import of_job, wish
from alphaf_orch.runs import attempt, runner
from alphaf_orch.runs.nodes import leader
from alphaf_orch.runs.nodes.signs import Voice
from alphaf_orch.settings.config import RunConfig

CHAIN = ["base_model", "data", "preprocess", "sft", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo"]
OTHER_WRITES_NOTHING = {"when": "--machine_rank 1", "then": "no_output"}


@pytest.fixture
def fake(fake):
    fake.config.write_text(
        f"tools: {{axolotl: '{fake.python}', dpo: '{fake.python}'}}\nmodel: tiny\n"
        "gpus: 1\nnodes: 2\nnode_timeout: 12\nsft: {micro_batch_size: 1, gradient_accumulation_steps: 1}\n",
        "utf-8",
    )
    fake.behave(sft=OTHER_WRITES_NOTHING)
    return fake


@pytest.fixture
def machines(fake, tmp_path):
    made = Machines(fake.config, tmp_path)
    yield made
    made.stop()
    kill_all(fake.python, signal.SIGKILL)


def patience(fake, seconds):
    text = fake.config.read_text("utf-8")
    fake.config.write_text(text.replace("node_timeout: 12", f"node_timeout: {seconds}"), "utf-8")


def root():
    return Path(os.environ["ALPHAF_RUNS"]) / "tiny"


def sft_calls(fake):
    calls = [json.loads(line) for line in fake.control.with_name("calls.jsonl").read_text().splitlines()]
    return {
        call["argv"][call["argv"].index("--machine_rank") + 1]: call["argv"] for call in calls if call["stage"] == "sft"
    }


def option(argv, name):
    return argv[argv.index(name) + 1]


def wait_for(fake, stage, count=1):
    end = time.monotonic() + 30
    while fake.calls().count(stage) < count:
        assert time.monotonic() < end, fake.calls()
        time.sleep(0.05)


def test_the_first_machine_does_all_and_the_other_its_part_of_the_training(machines, fake):
    (first, said), (other, other_said) = machines.both("run", env={"ALPHAF_JOB": ""})  # typed by hand
    assert (first, other) == (0, 0), said + other_said
    assert sorted(fake.calls()) == sorted(CHAIN)
    argv = sft_calls(fake)
    assert option(argv["0"], "--main_process_port") == option(argv["1"], "--main_process_port") not in ("0", "29500")
    assert option(argv["0"], "--main_process_ip") == option(argv["1"], "--main_process_ip") == "127.0.0.1"
    assert option(argv["1"], "--num_processes") == "2"
    assert option(argv["1"], "--rdzv_conf") == "timeout=12"
    assert (root() / "logs" / "sft.node1.log").is_file()
    recorded = json.loads((root() / "manifest.json").read_text("utf-8"))["stages"]
    assert recorded["sft"]["spec"]["global_batch_size"] == 2
    assert option(recorded["sft"]["argv"], "--machine_rank") == "0"
    assert "judges the result" in other_said
    assert "merge_sft" not in other_said
    fake.forget()
    (first, said), (other, _) = machines.both("run")
    assert (first, other) == (0, 0)
    assert "nothing to do" in said
    assert fake.calls() == []


def test_both_go_on_from_the_same_checkpoint(machines, fake):
    fake.behave(sft={"when": "--machine_rank 1", "then": "no_output", "else": "fail"})
    (first, _), (other, other_said) = machines.both("sft")
    assert (first, other) == (7, 7)
    assert "machine 0 failed: sft exited with 1: the GPU fell off the bus" in other_said
    fake.behave(sft=OTHER_WRITES_NOTHING)
    fake.forget()
    assert [code for code, _ in machines.both("sft")] == [0, 0]
    argv = sft_calls(fake)
    assert argv["0"][-1] == argv["1"][-1] == f"--resume_from_checkpoint={root() / 'sft' / 'checkpoint-5'}"


def test_a_machine_that_fails_ends_the_others_launcher(machines, fake):
    fake.behave(sft={"when": "--machine_rank 1", "then": "fail", "else": "hang"})
    (first, said), (other, other_said) = machines.both("sft", env={"GRACE": "0.5"})
    assert (first, other) == (7, 7), said + other_said
    assert "machine 1 failed: sft.node1 exited with 1: the GPU fell off the bus" in said
    assert "the GPU fell off the bus" in other_said


def test_a_machine_that_never_comes_is_named(machines, fake):
    patience(fake, 1)
    first, said = machines.end(machines.start(0, "sft"))
    assert first == 6
    assert "sft was not started: 1 of 2 machines are here, 1 did not come in 1 s" in said
    assert "sft" not in fake.calls()


def test_a_first_machine_that_never_comes_or_shares_no_folder_is_not_waited_for(machines, fake):
    patience(fake, 1)
    other, said = machines.end(machines.start(1, "sft"))
    assert other == 6
    assert "machine 0 gave no sign of life in 1 s" in said
    assert "ALPHAF_RUNS" in said
    assert fake.calls() == []
    assert not (root() / "manifest.json").exists()


def test_what_ends_the_first_machine_ends_the_other_with_its_code(machines, fake, tmp_path):
    (tmp_path / "빈.jsonl").write_text("", "utf-8")
    (first, _), (other, said) = machines.both("sft", "--data", str(tmp_path / "빈.jsonl"))
    assert first == other == 3
    assert "machine 0 failed" in said


@pytest.mark.parametrize(("killed", "code"), [(0, 6), (1, 7)])
def test_a_machine_that_dies_is_noticed(machines, fake, killed, code):
    patience(fake, 3)
    fake.behave(sft="hang")
    both = [machines.start(rank, "sft", env={"ALPHAF_JOB": "dies"}) for rank in (0, 1)]
    wait_for(fake, "sft", 2)
    both[killed].kill()
    ended, said = machines.end(both[1 - killed])
    assert ended == code
    assert f"machine {killed} has given no sign of life for 3 s" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_machine_that_is_interrupted_says_so(number, machines, fake):
    patience(fake, 40)
    fake.behave(sft="hang")
    first, other = (machines.start(rank, "sft", env={"ALPHAF_JOB": "stops", "GRACE": "0.5"}) for rank in (0, 1))
    wait_for(fake, "sft", 2)
    begun = time.monotonic()
    other.send_signal(number)
    code, said = machines.end(other)
    assert code == 130, said
    assert "machine 1 of the run tiny was interrupted" in said
    code, said = machines.end(first)
    assert code == 7
    assert "machine 1 failed: it was interrupted" in said
    assert time.monotonic() - begun < 30


def test_a_wish_to_make_room_ends_all_machines_with_the_code_that_sends_the_job_back(machines, fake):
    patience(fake, 40)
    fake.behave(sft="hang")
    env = {"SLURM_JOB_ID": "17", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2", "GRACE": "0.5"}
    both = [
        machines.start(None, "sft", env={**env, "SLURM_NODEID": str(n), "MASTER_ADDR": "127.0.0.1"}) for n in (0, 1)
    ]
    wait_for(fake, "sft", 2)
    wish(of_job(RunPaths(root()).stop_wish, "17"), "later", "the time limit of job 17", job="17", restart=0)
    (first, said), (other, other_said) = map(machines.end, both)
    assert (first, other) == (75, 75), said + other_said
    assert "sft: stopped at step 5 of 10 for the time limit of job 17; checkpoint-5 kept" in said
    assert "machine 0 has stopped: sft: stopped at step 5 of 10 for the time limit of job 17" in other_said


def test_a_machine_that_leaves_between_two_trainings_is_not_waited_for(machines, fake):
    patience(fake, 300)
    fake.behave(base_model="slow")
    first, other = (machines.start(rank, "sft", env={"ALPHAF_JOB": "leaves"}) for rank in (0, 1))
    until(lambda: RunPaths(root()).word(1).is_file() and "base_model" in fake.calls(), 60)
    other.send_signal(signal.SIGINT)
    assert machines.end(other)[0] == 130
    fake.control.with_name("go").touch()
    code, said = machines.end(first)
    assert code == 6, said
    assert "machine 1 has left: machine 1 of the run tiny was interrupted" in said


def test_other_tools_are_refused_and_the_first_machine_says_so(machines, fake, tmp_path):
    other_tools = tmp_path / "other" / "control.json"
    other_tools.parent.mkdir()
    versions = dict.fromkeys(("python", "axolotl", "transformers", "trl", "peft", "mergekit"), "1.0")
    other_tools.write_text(json.dumps({"versions": versions | {"torch": "2.0"}}))
    first = machines.start(0, "sft")
    code, said = machines.end(machines.start(1, "sft", env={"FAKE_TOOL": str(other_tools)}))
    assert code == 9
    assert "torch 2.0 (1.0 on machine 0)" in said
    code, said = machines.end(first)
    assert code == 6
    assert "machine 1 refuses to take part in sft: other versions than on machine 0: torch 2.0" in said
    assert "sft" not in fake.calls()


def test_who_is_not_told_which_machine_it_is_starts_nothing_and_may_look(machines, fake):
    code, said = machines.end(machines.start(None, "run"))
    assert code == 2
    assert "which of the 2 machines this is, nobody says" in said
    assert "ALPHAF_NODE_RANK" in said
    assert fake.calls() == []
    code, said = machines.end(machines.start(None, "run", "--dry-run", "--full"))
    assert code == 0
    assert "--num_machines 2" in said.replace("\n", " ")


def test_in_a_slurm_step_of_one_machine_all_but_the_spread_training_may_be_done(machines, fake):
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NUM_TASKS": "1"}
    step |= {"SLURM_NODEID": "0", "SLURM_STEP_NODELIST": "gpu03"}
    code, said = machines.end(machines.start(None, "sft", env=step))
    assert code == 2
    assert "srun --nodes=2 --ntasks-per-node=1" in said
    assert fake.calls() == []
    code, said = machines.end(machines.start(None, "sft", "--dry-run", env=step))
    assert code == 0, said
    assert [code for code, _ in machines.both("sft")] == [0, 0]
    code, said = machines.end(machines.start(None, "dpo", "--run", "tiny", env=step))
    assert code == 0, said
    assert "dpo" in fake.calls()


def test_several_machines_without_gpus_are_refused(machines):
    code, said = machines.end(machines.start(0, "sft", "--gpus", "0"))
    assert code == 2
    assert "on a CPU axolotl trains in one process" in said


def test_the_arms_of_an_experiment_train_on_one_machine_each(alphaf, fake):
    refused = alphaf("ablate", "neftune", "--model", "tiny", "--config", str(fake.config), "--dry-run")
    assert refused.exit_code == 2
    assert "the arms of an experiment train on one machine each" in refused.stderr


def test_a_training_of_rays_needs_ray(fake, alphaf, monkeypatch):
    from alphaf_orch.core import hardware

    monkeypatch.setattr(hardware, "_all_gpus", lambda: ("H100", "H100"))
    monkeypatch.setattr(hardware, "_smallest_memory", lambda _: 85 * 10**9)
    monkeypatch.setattr(runner, "check_devices", lambda *_: None)
    asked = ("sft", "--config", str(fake.config), "--gpus", "1", "--nodes", "1", "--set", "use_ray=true")
    refused = alphaf(*asked)
    assert refused.exit_code == 9
    assert "the recipe has use_ray and ray is not installed" in refused.stderr
    assert "sft" not in fake.calls()


def test_why_another_machine_failed_is_waited_for_and_told(tmp_path, monkeypatch):
    """Its ranks get time to stop, so that the launcher here ends before the one whose machine is the cause."""
    monkeypatch.setattr(leader, "LOOK_S", 0.01)
    words = [{"attempt": "", "state": "trains"}] * 3
    words.append({"attempt": "", "state": "failed", "error": "this machine lost its card", "where": "its log"})
    said = []
    paths = RunPaths(tmp_path / "실행" / "r")
    with Voice(paths, 0, "job", 1) as voice:
        made = leader.Leader(paths, Seat(0, "ALPHAF_NODE_RANK", "", 0, "job"), 2, 1, voice, said.append)
        made._others = [SimpleNamespace(rank=1, word=lambda: words.pop(0) if len(words) > 1 else words[0])]
        made.working(failed=True)
    assert said == ["machine 1 failed: this machine lost its card (its log)"]


def test_another_machine_that_is_out_of_memory_is_told_to_whoever_decides_of_a_retry(tmp_path, monkeypatch):
    monkeypatch.setattr(leader, "LOOK_S", 0.01)
    word = {"attempt": "", "state": "failed", "error": "sft exited with 1: CUDA out of memory", "where": "its log"}
    paths = RunPaths(tmp_path / "실행" / "r")
    with Voice(paths, 0, "job", 1) as voice:
        made = leader.Leader(paths, Seat(0, "ALPHAF_NODE_RANK", "", 0, "job"), 2, 1, voice, lambda _: None)
        made._others = [SimpleNamespace(rank=1, word=lambda: word)]
        with pytest.raises(StageError, match="machine 1 failed: sft exited with 1: CUDA out of memory"):
            made.working(failed=True)


@pytest.mark.parametrize("spread", [True, False])
def test_what_the_other_machines_read_is_not_written_again(spread, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(attempt, "launch", lambda *_, **keys: given.append(keys["files"]))
    monkeypatch.setattr(attempt, "StageWatch", lambda *_: SimpleNamespace(look=None, rows=lambda *, ended: None))
    paths = RunPaths(tmp_path / "실행" / "r")
    files = {paths.rendered("sft.yaml"): "its text"}
    stage = SimpleNamespace(name="sft", clear_first=(), env={}, files=files, online=False, kind="ask", section=None)
    leads = SimpleNamespace(watch=None) if spread else None
    tried = attempt.Attempt(paths, RunConfig(model="tiny"), Console(quiet=True), 0, leads, verbose=False)
    tried.run(stage, (), {}, lambda: None)
    assert given == [{} if spread else files]
