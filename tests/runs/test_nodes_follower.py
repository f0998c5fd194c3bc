"""What another machine refuses to take part in: the first one is played by the test, by the words that it would say."""

import json
import threading

import pytest
from rich.console import Console

from alphaf_orch.core.command import Finished
from alphaf_orch.core.errors import GoesOnLater, HardwareError, Interrupted, ModelError, RunStateError, StageError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.nodes import Seat
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.runs.nodes import follower
from alphaf_orch.runs.nodes.follower import follow
from alphaf_orch.runs.nodes.signs import Voice, digest

VERSIONS = dict.fromkeys(("python", "axolotl", "transformers", "torch", "trl", "peft", "mergekit"), "1.0")
ONE_GPU = Machine(("H100",), 2, ("0",))


@pytest.fixture
def paths(tmp_path):
    made = RunPaths(tmp_path / "실행" / "한글 런")
    made.rendered("sft.yaml").parent.mkdir(parents=True)
    return made


@pytest.fixture(autouse=True)
def usable_gpus(monkeypatch):
    monkeypatch.setattr(follower, "require_gpus", lambda *_: None)  # it would ask torch


@pytest.fixture
def first(paths, fake):
    """Return a function by which the first machine calls to a training."""
    with Voice(paths, 0, "job", 1) as voice:

        def calls(seen, gpus=1):
            argv = [str(fake.python), "-m", "accelerate.commands.accelerate_cli", "launch", "sft.yaml"]
            common = {"attempt": "a", "stage": "sft", "argv": argv, "env": {}, "versions": VERSIONS}
            voice.say("calls", **common, gpus=gpus, seen={str(path): said for path, said in seen.items()})
            return voice

        yield calls


def take_part(paths):
    follow(paths, Seat(1, "ALPHAF_NODE_RANK", "", 0, "job"), 1, ONE_GPU, Console(quiet=True), verbose=False)


def answer(paths):
    return json.loads(paths.word(1).read_text("utf-8"))


@pytest.mark.parametrize("there", [True, False])
def test_another_version_of_a_file_is_refused_there_and_told(paths, first, there):
    file = paths.rendered("sft.yaml")
    if there:
        file.write_text("base_model: /old\n", "utf-8")
    first({file: "the hash of the new one"})
    with pytest.raises(RunStateError) as refused:
        take_part(paths)
    assert refused.value.what == f"sft.yaml is {'another one' if there else 'not there'} on machine 1"
    assert "ALPHAF_RUNS" in refused.value.fix
    assert (answer(paths)["state"], answer(paths)["error"]) == ("refused", refused.value.what)


def test_other_tokenised_rows_are_refused(paths, first, tmp_path):
    rows = tmp_path / "prepared"
    rows.mkdir()
    (rows / "data.arrow").write_bytes(b"12345")
    said = digest(rows)
    (rows / "data.arrow").write_bytes(b"1234")
    first({rows: said})
    with pytest.raises(RunStateError, match="prepared is another one on machine 1"):
        take_part(paths)


def test_a_base_model_of_the_hub_is_looked_for_in_this_machines_cache(paths, first):
    file = paths.rendered("sft.yaml")
    file.write_text("base_model: yanolja/EEVE-Korean-10.8B-v1.0\nrevision_of_model: abc\n", "utf-8")
    first({file: digest(file)})
    with pytest.raises(ModelError, match="is not in the hub's cache of machine 1"):
        take_part(paths)


def test_fewer_gpus_than_the_first_machine_counts_on_are_refused(paths, first):
    first({}, gpus=8)
    with pytest.raises(HardwareError, match="sft asks for 8 GPUs, this machine has 1"):
        take_part(paths)


def test_a_first_machine_that_fails_is_believed_with_its_code(paths, first):
    first({}).say("failed", error="the disk is full", exit_code=5)
    with pytest.raises(StageError, match="machine 0 failed: the disk is full") as ended:
        take_part(paths)
    assert ended.value.exit_code == 5


def test_what_an_earlier_start_said_is_not_believed(paths):
    with Voice(paths, 0, "job before", 1) as voice:
        voice.say("ended")
    with pytest.raises(RunStateError, match="machine 0 gave no sign of life in 1 s"):
        take_part(paths)


def test_a_machine_whose_torch_sees_no_gpu_is_refused_before_anything_is_started(paths, first, monkeypatch):
    asked = []

    def refuse(python, wanted, *_):
        asked.append((wanted.gpus, wanted.bf16))
        raise HardwareError("NVML lists 1 GPU, torch sees 0", where=python, fix="mend the driver", code="hardware.x")

    monkeypatch.setattr(follower, "require_gpus", refuse)
    recipe = paths.rendered("sft.yaml")
    recipe.write_text("base_model: /old\nbf16: true\n", "utf-8")
    first({recipe: digest(recipe)})
    with pytest.raises(HardwareError, match="torch sees 0"):
        take_part(paths)
    assert asked == [(1, True)] and answer(paths)["state"] == "refused"


@pytest.fixture
def ready(paths, first, monkeypatch):
    """Return a function by which the first machine calls, and says its next word once this one is about to be ready."""

    def calls(state, **facts):
        voice = first({})
        call = voice_word(paths)
        monkeypatch.setattr(follower._Follower, "_check", lambda *_: voice.say(state, **{**call, **facts}))

    return calls


def voice_word(paths):
    said = json.loads(paths.word(0).read_text("utf-8"))
    return {key: value for key, value in said.items() if key != "state"}


@pytest.mark.parametrize(
    ("raised", "told", "seen"),
    [
        (KeyboardInterrupt(), "it was interrupted", Interrupted),
        (RuntimeError("ours"), "RuntimeError", RuntimeError),
        (StageError("it broke", where="there", fix="mend it", code="stage.x"), "it broke", StageError),
    ],
)
def test_however_a_training_ends_here_the_first_machine_is_told(raised, told, seen, paths, ready, monkeypatch):
    def launch(*_, **__):
        raise raised

    monkeypatch.setattr(follower, "launch", launch)
    ready("starts", address="127.0.0.1", port=1)
    with pytest.raises(seen):
        take_part(paths)
    assert (answer(paths)["state"], answer(paths)["error"], answer(paths)["attempt"]) == ("failed", told, "a")
    assert answer(paths)["where"] == ("there" if seen is StageError else str(paths.log("sft.node1")))


def test_who_is_interrupted_while_it_gets_ready_refuses(paths, first, monkeypatch):
    def check(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(follower._Follower, "_check", check)
    first({})
    with pytest.raises(Interrupted):
        take_part(paths)
    said = answer(paths)
    assert (said["state"], said["error"], said["where"]) == ("refused", "it was interrupted", str(paths.root))
    assert "the same command" in said["fix"]


def test_a_first_machine_that_ends_without_a_start_is_not_waited_for(paths, ready):
    ready("ended")
    with pytest.raises(RunStateError, match="machine 0 ended and did not start sft"):
        take_part(paths)


def test_a_first_machine_that_fails_before_the_start_is_believed(paths, ready):
    ready("failed", error="the disk is full", exit_code=5)
    with pytest.raises(StageError, match="machine 0 failed: the disk is full"):
        take_part(paths)


def test_ranks_that_a_wish_on_the_first_machine_stopped_end_here_as_there(paths, first, monkeypatch):
    """All of them stop at one step, and the launcher here may be the first to end: its failure is none."""
    voice = first({})

    def launched(argv, line, *_, **__):
        line.log.parent.mkdir(parents=True, exist_ok=True)
        line.log.write_text("$ x\nerror: the training was stopped by SIGINT at step 3 of 9\n  where: -\n  next:  -\n")
        threading.Timer(0.3, voice.say, ("failed",), {"error": "sft: stopped at step 3", "exit_code": 75}).start()
        return Finished(1, 0.0, 0)

    monkeypatch.setattr(follower, "launch", launched)
    monkeypatch.setattr(follower._Follower, "_check", lambda *_: voice.say(
        "starts", attempt="a", stage="sft", argv=["x", "launch"], env={}, gpus=1, address="127.0.0.1", port=1
    ))  # fmt: skip
    with pytest.raises(GoesOnLater, match="machine 0 has stopped: sft: stopped at step 3") as stopped:
        take_part(paths)
    assert stopped.value.exit_code == 75
