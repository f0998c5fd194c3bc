"""The whole chain with the real tools on the tiny model: axolotl, bitsandbytes, TRL, on CPU."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from canary import CANARY, ENVIRONMENT, leaks
from harms import flip
from processes import end as end_all
from processes import guards_of, kill_all
from watched import alone, calls, elsewhere, without_network

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.processes import living, mark_of
from alphaf_orch.core.stamps import unstamped
from alphaf_orch.core.stop import wish

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder with a Korean name and a space for all runs of this module."""
    return tmp_path_factory.mktemp("금융 모델")


def alphaf(place: Path, *args: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*args), cwd=place, env=environment(place), capture_output=True, text=True, timeout=timeout, check=False
    )


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "alphaf_orch", *args]


def environment(place: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ALPHAF_")}
    return kept | {
        "PYTHONPATH": str(REPO),
        "ALPHAF_CACHE": str(place / "cache"),
        "ALPHAF_RUNS": str(place / "실행 폴더"),
        "HF_HOME": str(place / "hf"),
        # The threads of a toy model spend their time waiting for each other.
        "OMP_NUM_THREADS": "1",
    }


def manifest(place: Path, run: str) -> dict:
    return json.loads((place / "실행 폴더" / run / "manifest.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def chain(place):
    """The finished run `t` and what the first call printed."""
    config = place / "설정.yaml"
    config.write_text(
        "trackers: {use_mlflow: true, use_tensorboard: true, use_wandb: true, use_trackio: true}\n", encoding="utf-8"
    )
    for folder in ("home", "tmp"):
        (place / folder).mkdir()
    # Of the folder that one stands in, a tracker may keep where it was cloned from.
    remote = ["git", "remote", "add", "origin", f"https://{CANARY}@git.bank/alphaf.git"]
    for argv in (["git", "init", "--quiet"], remote):
        subprocess.run(argv, cwd=place, check=True)
    return seen(place, "run", "--model", "tiny", "--run", "t", "--config", str(config))


def seen(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ours with canaries around it and no network, its calls kept beside `place`; it must succeed."""
    own = {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp")}
    look = [] if without_network() else alone(traced(place, args[0]))
    done = subprocess.run(
        [*look, *command(*args)], cwd=place, env=environment(place) | ENVIRONMENT | own,
        capture_output=True, text=True, timeout=900, check=False, umask=0,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def traced(place: Path, what: str) -> Path:
    return place.with_name(f"{place.name} calls of {what}")


def test_who_asks_somebody_off_this_machine_is_seen(tmp_path):
    if lacking := without_network():
        pytest.skip(lacking)
    asks = "import socket\nfor to in ('127.0.0.1', '192.0.2.1'): socket.socket().connect_ex((to, 9))"
    # Of a child too, as the tools are.
    argv = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", sys.executable, "-c", asks]
    subprocess.run([*alone(tmp_path / "calls"), *argv], check=True)
    assert calls(tmp_path / "calls") == 2
    (found,) = elsewhere(tmp_path / "calls")
    assert "192.0.2.1" in found


def test_the_chain_and_every_tracker_ask_nobody_off_this_machine(chain, place):
    lacking = without_network()
    if lacking:
        pytest.skip(lacking)
    trace = traced(place, "run")
    assert calls(trace) > 10, "the tools talk among themselves"
    assert elsewhere(trace) == []


def test_the_chain_and_every_tracker_keep_no_secret(chain, place):
    found = [file for file in leaks(place, chain.stdout, chain.stderr) if not file.startswith(f"{place}/.git/")]
    assert found == []


def test_nothing_of_a_chain_is_anybody_s_to_change(chain, place):
    """Started with umask 0, as some containers are."""
    run = place / "실행 폴더" / "t"
    assert [file for file in (run, *run.rglob("*")) if not file.is_symlink() and file.stat().st_mode & 0o002] == []


def test_the_chain_ends_with_a_checked_model(chain, place):
    stages = manifest(place, "t")["stages"]
    assert list(stages) == ["base_model", "data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo"]
    assert {entry["state"] for entry in stages.values()} == {"done"}
    assert stages["sft"]["result"]["steps"] == 10
    assert stages["dpo"]["result"]["steps"] == 6
    lines = {"tokenizer", "embedding_rows", "eos_pad", "dtype", "no_lora_keys", "weights", "rendering", "turn_ends"}
    for name in ("merge_sft", "merge_dpo"):
        assert stages[name]["result"]["contract"] == dict.fromkeys(lines, True)
    assert stages["sft"]["result"]["loss_last"] < stages["sft"]["result"]["loss_first"]
    assert stages["data"]["result"]["rows"] == manifest(place, "t")["data"]["sft"][0]["rows"] > 300


def test_nothing_is_written_but_into_the_run_and_our_cache(chain, place):
    """The table of docs/disk.md: no training row, and no file at all, in home, scratch, the hub's folder or here."""
    files = {str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()}
    elsewhere = {name for name in files if not name.startswith(("실행 폴더/t/", "cache/", ".git/"))}
    # axolotl hands wandb a copy of the recipe, without rows, and forgets it (utils/callbacks).
    known = ("tmp/torchinductor_", "tmp/axolotl_config_")
    assert {name for name in elsewhere if not name.startswith(known)} == {"설정.yaml"}
    kept = {Path(name).parts[1] for name in files if name.startswith("cache/")}
    assert kept <= {"models", "rows", "making", "measured.jsonl", "recipes", "identity", "data", ".using"}
    run = place / "실행 폴더" / "t"
    assert not any(file.is_file() for file in (run / ".partial").rglob("*")), "the rows are gone with the training"
    for file in (place / "cache" / "rows").glob("*.jsonl"):
        assert file.stat().st_mode & 0o077 == 0 and file.parent.stat().st_mode & 0o077 == 0


@pytest.fixture(scope="module")
def forked(chain, place, warm_python):
    """A function that runs `alphaf` on the toy model, every stage forked of the warm parent; the run `warm` is done."""

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        argv = [str(warm_python), "-m", "alphaf_orch", *args, "--model", "tiny"]
        return subprocess.run(argv, cwd=place, env=environment(place), capture_output=True, text=True, timeout=400)

    done = call("run", "--run", "warm")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warm:" not in done.stderr, "every stage was forked"
    return call


def test_forked_of_a_warm_parent_it_is_the_same_model(forked, place):
    for model in ("sft", "dpo"):
        cold, warm = (place / "실행 폴더" / run / model / "merged" / "model.safetensors" for run in ("t", "warm"))
        assert cold.read_bytes() == warm.read_bytes()
    cold, warm = (manifest(place, run)["stages"] for run in ("t", "warm"))
    for stage in ("preprocess", "sft", "merge_sft", "dpo", "merge_dpo"):
        assert 0.9 < warm[stage]["peak_memory_mib"] / cold[stage]["peak_memory_mib"] < 1.25


def test_after_one_run_the_next_one_s_peak_is_known_within_a_tenth(forked, place):
    """The bar of docs/estimate.md: measured of the run `warm`, asked for another seed, measured again."""
    again = ("--run", "again", "--set", "seed=7", "--set", "dpo.seed=7")
    said = forked("estimate", *again, "--json")
    assert said.returncode == 0, said.stderr
    stages = {stage["name"]: stage for stage in json.loads(said.stdout)["stages"]}
    done = forked("run", *again)
    assert done.returncode == 0, done.stderr
    for name in ("sft", "dpo"):
        lines = (place / "실행 폴더" / "again" / "metrics" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        measured = max(json.loads(line)["peak_memory_mib"] for line in lines) * 2**20
        assert stages[name]["memory_basis"] == "measured here (run warm)"
        assert stages[name]["time_basis"] == "measured here (run warm)"
        assert stages[name]["rows_basis"] == "counted by run warm"
        assert abs(stages[name]["peak"]["value"] / measured - 1) <= 0.10, (name, stages[name]["peak"], measured)
        assert stages[name]["steps"]["value"] == manifest(place, "again")["stages"][name]["result"]["steps"]


def test_the_final_model_has_a_card_the_hub_would_take(chain, place):
    from huggingface_hub import ModelCard

    run = place / "실행 폴더" / "t"
    card = ModelCard.load(run / "dpo" / "merged" / "README.md")
    assert (card.data.license, card.data.pipeline_tag) == ("apache-2.0", "text-generation")
    assert "DPO (TRL on transformers)" in card.content
    assert str(place) not in card.content
    assert not (run / "sft" / "merged" / "README.md").exists(), "a card is for the final model"


def test_the_log_says_which_path_dpo_took(chain, place):
    log = (place / "실행 폴더" / "t" / "logs" / "dpo.log").read_text(encoding="utf-8")
    assert "DPO with transformers on cpu" in log
    assert manifest(place, "t")["stages"]["dpo"]["result"]["backend"] == "transformers"


def test_the_user_sees_lines_of_ours_only(chain):
    lines = [unstamped(line) for line in chain.stderr.splitlines()]
    for line in lines:
        assert line.split(":")[0].split()[0] in {
            "base_model", "data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo",
        }, line  # fmt: skip
    assert " chat t" in chain.stdout
    counted = next(line for line in lines if line.startswith("data: done"))
    assert re.search(
        r"\d+ rows, \d+ turns, [\d,]+ tokens \(longest \d+\), [\d.]+% longer than sequence_len 512", counted
    )


def test_metrics_are_json_lines(chain, place):
    for stage, steps in (("sft", 10), ("dpo", 6)):
        path = place / "실행 폴더" / "t" / "metrics" / f"{stage}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        losses = [row for row in rows if "loss" in row]
        assert [row["step"] for row in losses] == list(range(1, steps + 1))
        assert {row["world_size"] for row in losses} == {1}


def test_mlflow_and_tensorboard_have_every_step_in_files_of_the_run(chain, place, monkeypatch):
    from mlflow.tracking import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    root = place / "실행 폴더" / "t" / "trackers"
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient((root / "mlflow").as_uri())
    (experiment,) = (found for found in client.search_experiments() if found.name == "alphaf")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"t-sft", "t-dpo"}
    for name, steps in (("sft", 10), ("dpo", 6)):
        rows = [
            json.loads(line)
            for line in (place / "실행 폴더" / "t" / "metrics" / f"{name}.jsonl")
            .read_text(encoding="utf-8")
            .splitlines()
        ]
        losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
        history = client.get_metric_history(runs[f"t-{name}"].info.run_id, "loss")
        assert sorted((metric.step, metric.value) for metric in history) == losses
        (folder,) = {path.parent for path in (root / "tensorboard" / name).rglob("events.out.tfevents.*")}
        events = EventAccumulator(str(folder)).Reload()
        assert [event.step for event in events.Scalars("train/loss")] == list(range(1, steps + 1))


def test_wandb_and_trackio_write_into_the_run_too(chain, place):
    root = place / "실행 폴더" / "t" / "trackers"
    assert len(list((root / "wandb").glob("offline-run-*"))) == 2
    assert list((root / "trackio").glob("*.db"))
    assert not (place / "wandb").exists()
    assert not (place / "mlruns").exists()


def test_a_second_run_does_nothing_and_is_quick(chain, place):
    before = manifest(place, "t")
    started = time.monotonic()
    again = alphaf(place, "run", "--model", "tiny", "--run", "t")
    assert again.returncode == 0
    assert "nothing to do" in again.stderr
    assert manifest(place, "t") == before
    assert time.monotonic() - started < 5


def test_the_model_can_be_talked_to(chain, place):
    said = alphaf(place, "chat", "t", "--prompt", "ETF란 무엇입니까?", "--max-new-tokens", "8")
    assert said.returncode == 0, said.stderr
    assert "Traceback" not in said.stderr


def test_all_that_the_chain_wrote_is_whole_and_one_bit_is_missed(chain, place):
    """In a copy, whose files have times that nobody recorded."""
    assert "dpo/checkpoint-" in alphaf(place, "verify", "t").stdout
    copy = shutil.copytree(place / "실행 폴더" / "t", place / "실행 폴더" / "사본")
    whole = json.loads(alphaf(place, "verify", "사본", "--json").stdout)["parts"]
    assert {part["state"] for part in whole.values()} == {"whole"}, whole
    assert {"sft", "merge_sft", "dpo", "merge_dpo"} <= whole.keys()
    flip(copy / "dpo" / "merged" / "model.safetensors")
    flip(next((copy / "dpo").glob("checkpoint-*")) / "rng_state.pth")
    found = alphaf(place, "verify", "사본")
    assert found.returncode == 6
    assert found.stdout.count("DAMAGED") == 2
    refused = alphaf(place, "chat", "사본", "--prompt", "ETF란?")
    assert refused.returncode == 6
    assert "merge_dpo of run 사본 is damaged: dpo/merged/model.safetensors is not what was written" in refused.stderr


def test_an_evaluation_and_its_report_ask_nobody_off_this_machine_and_keep_no_secret(chain, place):
    if lacking := without_network():
        pytest.skip(lacking)
    asked = seen(place, "eval", "--run", "t", "--task", "finance_ko_sentiment", "--limit", "2", "--stages", "dpo")
    written = seen(place, "report", "t")
    for what in ("eval", "report"):
        assert elsewhere(traced(place, what)) == []
    run = place / "실행 폴더" / "t"
    assert list((run / "eval").rglob("*.json*"))
    assert (run / "report.html").is_file()
    assert leaks(run, asked.stdout, asked.stderr, written.stdout, written.stderr) == []


def test_a_wish_to_make_room_and_kill_9_in_the_middle_then_the_same_command_finishes(chain, place):
    """After the first checkpoint; the second time everything of the run is killed at once, as a power loss would."""
    args = ("sft", "--model", "tiny", "--run", "k", "--set", "max_steps=150", "--set", "save_steps=20")
    process = subprocess.Popen(
        command(*args), cwd=place, env=environment(place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    sft = place / "실행 폴더" / "k" / "sft"
    end = time.monotonic() + 300
    while not list(sft.glob("checkpoint-*/trainer_state.json")) and time.monotonic() < end:
        time.sleep(0.1)
    # The wish first: as it returns, launcher and trainer are gone, and with them the workers that load the data.
    wish(RunPaths(sft.parent).stop_wish, "later", "the time limit of job 17")
    assert process.wait(timeout=60) == 75
    assert living(mark_of(sft.parent / ".lock")) == []
    # The step that it was in is a checkpoint, whatever `save_steps` says.
    assert "SIGINT: the training ends with a checkpoint" in (sft.parent / "logs" / "sft.log").read_text("utf-8")
    newest = max(int(path.name.rpartition("-")[2]) for path in sft.glob("checkpoint-*"))
    (sent_back,) = manifest(place, "k")["stages"]["sft"]["requeues"]
    assert sent_back["checkpoint"] == f"checkpoint-{newest}"
    said = f"sft: stopped at step {newest} of 150 for the time limit of job 17; checkpoint-{newest} kept"
    assert said in (sft.parent / "logs" / "alphaf.log").read_text("utf-8")
    assert newest >= json.loads((sft.parent / "metrics" / "sft.jsonl").read_text("utf-8").splitlines()[-1])["step"]
    assert kill_all(sft.parent / "rendered" / "sft.yaml", signal.SIGKILL) == 0
    before = len((sft.parent / "metrics" / "sft.jsonl").read_text("utf-8").splitlines())
    process = subprocess.Popen(
        command(*args), cwd=place, env=environment(place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    metrics = sft.parent / "metrics" / "sft.jsonl"
    while len(metrics.read_text("utf-8").splitlines()) < before + 5 and time.monotonic() < end:
        time.sleep(0.1)
    end_all(guards_of(process.pid))
    process.kill()
    assert kill_all(sft.parent / "rendered" / "sft.yaml", signal.SIGKILL) >= 2, "launcher and trainer"
    process.wait(timeout=30)
    assert manifest(place, "k")["stages"]["sft"]["state"] == "running"
    refused = alphaf(place, "dpo", "--run", "k")
    assert refused.returncode == 6
    assert "the SFT of run k is not finished: running" in refused.stderr
    (sft / "checkpoint-9999").mkdir()
    done = alphaf(place, *args)
    assert done.returncode == 0, done.stderr
    entry = manifest(place, "k")["stages"]["sft"]
    assert entry["result"]["steps"] == 150
    resumed = next(a for a in entry["argv"] if a.startswith("--resume_from_checkpoint="))
    assert "checkpoint-9999" not in resumed
    first = int(resumed.rsplit("-", 1)[1])
    rows = [json.loads(line) for line in (sft.parent / "metrics" / "sft.jsonl").read_text("utf-8").splitlines()]
    steps = [row["step"] for row in rows if "loss" in row]
    assert first > 0
    assert steps[-(150 - first) :] == [*range(first + 1, 151)]
    followed = [(one, next_one) for one, next_one in itertools.pairwise(steps) if next_one != one + 1]
    assert len(followed) <= 2, "two stops"
    assert all(next_one <= one for one, next_one in followed), "no step is left out"
