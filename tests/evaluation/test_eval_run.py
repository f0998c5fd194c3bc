"""`alphaf eval` from the command line with a stand-in for lm-eval: ask, check, keep, resume, refuse."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from breaking import EVERY
from eval_run import SYSTEM, Fake, change_a_value, forget, write_run, write_tasks, write_weights
from processes import kill_all

from alphaf_orch.core.errors import HardwareError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.stop import wish
from alphaf_orch.scores.results import read_result, read_samples, run_results

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return tmp_path_factory.mktemp("색인") / "index.json"


@pytest.fixture
def fake(tmp_path, monkeypatch, index):
    made = Fake(tmp_path / "도구", index)
    monkeypatch.setenv("FAKE_TOOL", str(made.control))
    monkeypatch.setenv("ALPHAF_TEMPLATES", str(write_tasks(tmp_path / "템플릿")))
    return made


@pytest.fixture
def run(fake):
    return write_run(Path(os.environ["ALPHAF_RUNS"]) / "금융 실험".replace(" ", "-"), fake.python)


@pytest.fixture
def evaluate(alphaf, run):
    def call(*args, stages="sft"):
        return alphaf("eval", "--suite", "mine", "--gpus", "0", *(["--stages", stages] if stages else []), *args)

    return call


def scores(run):
    return {
        stage: {task: {name: metric.value for name, metric in result.metrics.items()} for task, result in found.items()}
        for stage, found in run_results(RunPaths(run)).items()
    }


def test_every_finished_model_is_asked_every_task_and_a_second_call_nothing(evaluate, fake, run):
    first = evaluate(stages=None)
    assert first.exit_code == 0, first.output
    assert fake.launched() == ["tokenizer", "base", "sft", "dpo"]
    # 6 rows: the stand-in always chooses A (rows 0 and 4 of 0..5), and every second text is right.
    expected = {"my_choice": {"acc": pytest.approx(2 / 6)}, "my_text": {"exact_match": 0.5}}
    assert scores(run) == {"base": expected, "sft": expected, "dpo": expected}
    assert "0.333 ±0.100 (n=6)" in first.stdout
    assert not (run / ".partial" / "eval").exists()
    second = evaluate(stages=None)
    assert second.exit_code == 0
    assert fake.launched() == []
    assert "nothing to do" in second.stderr
    assert second.stdout == first.stdout


def test_what_is_recorded(evaluate, fake, run):
    assert evaluate().exit_code == 0
    result = read_result(run / "eval" / "sft" / "my_text.json")
    assert (result.task, result.suite, result.stage, result.n) == ("my_text", "mine", "sft", 6)
    assert result.model["path"] == str(run / "sft" / "merged")
    assert result.model["identity"].startswith("local:")
    assert result.settings["limit"] is None
    assert result.settings["seeds"] == [0, 1234, 1234, 1234]
    assert result.settings["rows"] == 6
    assert result.settings["model_dtype"] == "torch.float32"
    assert result.versions["lm-eval"] == "0.4.11"
    assert result.title == {"ko": "금리 문답", "en": "Questions on rates"}
    assert result.prompt["asserted"] is True
    assert result.prompt["eos"] == ["<|im_end|>", 4]
    assert len(result.prompt["chat_template_sha256"]) == 64
    assert result.prompt["system"] == SYSTEM
    assert result.prompt["system_in_training"] is True
    assert (result.prompt["training_samples"], result.prompt["training_samples_with_system"]) == (2, 1)
    choice = read_result(run / "eval" / "sft" / "my_choice.json")
    assert choice.prompt["system_in_training"] is False
    assert result.warnings == choice.warnings == ()
    first = next(read_samples(run / "eval" / "sft" / "my_choice.jsonl"))
    assert (first.id, first.answer, first.gold, first.scores) == ("c0", "A. 한국은행", "A. 한국은행", {"acc": 1.0})
    assert first.prompt.endswith("0. 기준금리를 정하는 곳은?<|im_end|>\n<|im_start|>assistant\n")
    assert {call["offline"] for call in fake.calls()} == {"1"}


def test_the_result_file_of_each_stage_is_its_own(evaluate, fake, run):
    assert evaluate(stages="base,dpo").exit_code == 0
    assert fake.launched() == ["tokenizer", "base", "dpo"]
    keys = {path: read_result(path).key for path in run.glob("eval/*/*.json")}
    assert len(set(keys.values())) == len(keys) == 4


def test_another_run_of_the_same_base_does_not_ask_it_again(evaluate, fake, run):
    assert evaluate(stages="base").exit_code == 0
    fake.calls()
    other = write_run(run.with_name("둘째"), fake.python)
    done = evaluate("--run", "둘째", stages="base")
    assert done.exit_code == 0, done.output
    assert fake.launched() == []
    assert "known from an earlier evaluation" in done.stderr
    assert scores(other)["base"] == scores(run)["base"]
    assert len(list(read_samples(other / "eval" / "base" / "my_text.jsonl"))) == 6


def test_models_that_differ_in_one_value_of_the_first_layer_share_no_scores(evaluate, fake, run):
    other = write_run(run.with_name("둘째"), fake.python)
    for root in (run, other):
        write_weights(root / "sft" / "merged" / "model.safetensors", 1 << 20)
    change_a_value(other / "sft" / "merged" / "model.safetensors")
    assert evaluate().exit_code == 0
    fake.calls()
    done = evaluate("--run", "둘째")
    assert done.exit_code == 0, done.output
    assert fake.launched() == ["tokenizer", "sft"]
    assert "known from an earlier evaluation" not in done.stderr


def test_weights_that_are_written_into_with_their_times_put_back_are_asked_anew(evaluate, fake, run):
    weights = run / "sft" / "merged" / "model.safetensors"
    write_weights(weights, 1 << 20)
    assert evaluate().exit_code == 0
    fake.calls()
    change_a_value(weights, keep_times=True)
    assert evaluate().exit_code == 0
    assert fake.launched() == ["tokenizer", "sft"]


def test_scores_under_an_earlier_version_s_name_of_the_model_are_not_believed(evaluate, fake, run):
    assert evaluate().exit_code == 0
    for path in (run / "eval" / "sft").glob("*.json"):
        values = json.loads(path.read_text("utf-8"))
        values |= {"key": "0" * 64, "model": {**values["model"], "identity": f"local:{'0' * 32}"}}
        path.write_text(json.dumps(values), "utf-8")
    shutil.rmtree(Path(os.environ["ALPHAF_CACHE"]) / "eval")
    fake.calls()
    done = evaluate()
    assert done.exit_code == 0, done.output
    assert fake.launched() == ["tokenizer", "sft"]
    earlier = "an earlier version told models apart by the ends of their weight files only"
    assert f"eval_sft: the scores kept may be another model's, asked again: {earlier}" in done.stderr
    assert earlier not in evaluate("--limit", "4").stderr


def test_two_evaluations_that_end_at_once_put_one_result_into_the_shared_cache(evaluate, fake, run):
    import fcntl
    import threading

    from alphaf_orch.evaluation import cache as eval_cache

    assert evaluate().exit_code == 0
    paths = RunPaths(run)
    result, samples = paths.eval_result("sft", "my_text"), paths.eval_samples("sft", "my_text")
    shared = eval_cache.shared_file("k" * 64)
    with (shared.parent / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=eval_cache._share, args=(result, samples, "k" * 64))
        second.start()
        time.sleep(0.2)
        assert not shared.with_suffix(".jsonl").exists(), "written into beside another process"
        for file, text in ((shared.with_suffix(".jsonl"), "samples of the first\n"), (shared, "the first")):
            file.write_text(text)
    second.join()
    assert (shared.read_text(), shared.with_suffix(".jsonl").read_text()) == ("the first", "samples of the first\n")


@pytest.mark.parametrize(("damage", "cached"), [("its end cut", False), ("zeros", True), ("gone", True)])
def test_scores_whose_samples_are_damaged_are_set_aside_and_asked_again(damage, cached, evaluate, fake, run):
    assert evaluate().exit_code == 0
    whole = scores(run)
    if not cached:
        shutil.rmtree(Path(os.environ["ALPHAF_CACHE"]) / "eval")
    fake.calls()
    EVERY[damage](run / "eval" / "sft" / "my_text.jsonl")
    again = evaluate()
    assert again.exit_code == 0, again.output
    assert fake.launched() == ([] if cached else ["tokenizer", "sft"])
    assert scores(run) == whole
    assert len(list(read_samples(run / "eval" / "sft" / "my_text.jsonl"))) == 6
    assert "my_text.jsonl cannot be read: " in again.stderr
    assert "; set aside" in again.stderr
    assert len(list(run.glob("damaged/*/eval/sft/my_text.json"))) == 1


@pytest.mark.parametrize("harm", ["cut", "a folder in its place"])
def test_damaged_samples_of_the_shared_cache_make_room_for_new_ones(harm, evaluate, fake, run):
    assert evaluate().exit_code == 0
    whole = scores(run)
    shutil.rmtree(run / "eval")
    cache = Path(os.environ["ALPHAF_CACHE"]) / "eval"
    for samples in list(cache.glob("*.jsonl")):
        if harm == "cut":
            EVERY["its end cut"](samples)
        else:
            samples.unlink()
            samples.mkdir()
    again = evaluate()
    assert again.exit_code == 0, again.output
    assert scores(run) == whole
    aside = [path.name for path in cache.glob("damaged/*/*")]
    assert sorted(aside) == sorted(path.name for path in cache.iterdir() if path.suffix in (".json", ".jsonl"))


def test_a_limit_is_part_of_the_key_and_the_old_scores_stay_in_the_cache(evaluate, fake, run):
    assert evaluate().exit_code == 0
    full = read_result(run / "eval" / "sft" / "my_text.json")
    assert evaluate("--limit", "4").exit_code == 0
    limited = read_result(run / "eval" / "sft" / "my_text.json")
    assert (full.n, limited.n, limited.settings["limit"]) == (6, 4, 4)
    assert full.key != limited.key
    fake.calls()
    assert evaluate().exit_code == 0
    assert fake.launched() == []
    assert read_result(run / "eval" / "sft" / "my_text.json") == full


def test_a_limit_that_leaves_nothing_out_is_no_limit(evaluate, fake, run):
    assert evaluate("--limit", "6").exit_code == 0
    fake.calls()
    assert evaluate().exit_code == 0
    assert fake.launched() == []


def test_scores_the_shared_cache_lost_are_put_there_before_they_are_replaced(evaluate, fake, run):
    assert evaluate().exit_code == 0
    cache = Path(os.environ["ALPHAF_CACHE"]) / "eval"
    for path in cache.iterdir():
        path.unlink()
    assert evaluate("--limit", "4").exit_code == 0
    fake.calls()
    assert evaluate().exit_code == 0
    assert fake.launched() == []


def test_only_what_is_missing_is_asked(evaluate, fake, run):
    assert evaluate("--task", "my_choice").exit_code == 0
    (run / "eval" / "sft" / "my_text.json").unlink()
    for path in (Path(os.environ["ALPHAF_CACHE"]) / "eval").iterdir():
        path.unlink()
    fake.calls()
    assert evaluate().exit_code == 0
    calls = fake.calls()
    assert [call["stage"] for call in calls] == ["tokenizer", "sft"]
    assert calls[1]["config"]["tasks"] == ["my_text"]
    assert not (run / "rendered" / "eval_sft" / "my_choice.yaml").exists()


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ("sft/merged/config.json", '{"max_position_embeddings": 4096, "vocab_size": 320, "eos_token_id": 4, "new": 1}'),
        ("sft/merged/chat_template.jinja", "another template"),
    ],
)
def test_a_model_that_changed_is_asked_again(evaluate, fake, run, changed, text):
    assert evaluate().exit_code == 0
    fake.calls()
    (run / changed).write_text(text)
    assert evaluate().exit_code == 0
    assert fake.launched() == ["tokenizer", "sft"]


def test_a_row_that_changed_is_asked_again_and_other_tasks_are_not(evaluate, fake, run):
    assert evaluate().exit_code == 0
    fake.calls()
    rows = next(Path(os.environ["ALPHAF_TEMPLATES"]).rglob("text.jsonl"))
    rows.write_text(rows.read_text("utf-8").replace("5%", "7%"), "utf-8")
    assert evaluate().exit_code == 0
    assert fake.calls()[1]["config"]["tasks"] == ["my_text"]


@pytest.mark.parametrize(
    ("behaviour", "what"),
    [
        ("template", "asked with another chat template than it was trained with"),
        ("eos", "asked with another eos token than it was trained with"),
        ("prompt", "is not what the chat template makes of it"),
        ("short", "5 rows of my_choice, 6 were planned"),
        ("nan", "the score acc of my_choice is not a number: nan"),
        ("no_scores", "lm-eval wrote no scores of my_choice"),
        (
            "fail",
            "ended without results (exit code 1): the GPU has too little memory: RuntimeError: CUDA out of memory",
        ),
        ("killed", "ended by the kernel's out-of-memory killer without results (exit code -9)"),
        ("fewer", "my_choice was asked 5 of 6 questions"),
    ],
)
def test_what_is_not_as_planned_is_not_kept(evaluate, fake, run, behaviour, what):
    fake.behave(sft=behaviour)
    done = evaluate()
    assert done.exit_code == 7
    assert what in done.stderr
    assert "\n  where: " in done.stderr
    assert "\n  next:  " in done.stderr
    assert list(run.glob("eval/*/*")) == []
    assert not (Path(os.environ["ALPHAF_CACHE"]) / "eval").exists()
    fake.behave()
    assert evaluate().exit_code == 0


def test_an_exit_code_alone_is_no_failure(evaluate, fake, run):
    fake.behave(sft="late")
    assert evaluate().exit_code == 0
    assert scores(run)["sft"]["my_text"] == {"exact_match": 0.5}


def test_a_tokenizer_that_is_not_the_trained_one_ends_it_before_any_question(evaluate, fake, run):
    fake.behave(tokenizer="fail")
    done = evaluate(stages="sft,dpo")
    assert done.exit_code == 7
    assert "the dpo model has another vocabulary" in done.stderr
    assert fake.launched() == ["tokenizer"]


def test_a_failing_model_leaves_the_scores_of_the_one_before(evaluate, fake, run):
    fake.behave(dpo="fail")
    assert evaluate(stages="sft,dpo").exit_code == 7
    assert list(scores(run)) == ["sft"]
    fake.behave()
    fake.calls()
    assert evaluate(stages="sft,dpo").exit_code == 0
    assert fake.launched() == ["tokenizer", "dpo"]


def start(run, *args):
    """Start the command as a process of its own and return it once lm-eval has a question open."""
    command = [sys.executable, "-m", "alphaf_orch", "eval", "--suite", "mine", "--gpus", "0", "--stages", "sft", *args]
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(REPO)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 30
    while not list((run / ".partial" / "eval").glob("sft/responses-*/*.db")) and time.monotonic() < end:
        time.sleep(0.05)
    return process


def test_asked_to_make_room_then_the_same_command_goes_on_with_the_answers_there(evaluate, fake, run):
    fake.behave(sft="hang")
    process = start(run)
    wish(RunPaths(run).stop_wish, "later", "the time limit of job 17")
    _, error = process.communicate(timeout=40)
    assert process.returncode == 75, error
    assert "eval_sft was interrupted, for the time limit of job 17" in error
    answers = list((run / ".partial" / "eval").glob("sft/responses-*/*.db"))
    assert len(answers) == 1
    fake.behave()
    fake.calls()
    assert evaluate().exit_code == 0
    (call,) = (call for call in fake.calls() if call["stage"] == "sft")
    assert call["config"]["use_cache"] + "_rank0.db" == str(answers[0])
    assert not answers[0].exists(), "the answers are dropped once the scores are kept"


def test_two_evaluations_of_a_run_do_not_meet_and_training_may_go_on(evaluate, fake, run):
    fake.behave(sft="hang")
    process = start(run)
    try:
        refused = evaluate("--limit", "2")
        assert refused.exit_code == 6
        assert "the evaluation of run 금융-실험 is in use (by process" in refused.stderr
        from alphaf_orch.runs.runner import locked

        with locked(RunPaths(run)):
            pass
    finally:
        process.kill()
        kill_all(run / "rendered" / "eval_sft.yaml", signal.SIGKILL)
        process.communicate(timeout=20)
    fake.behave()
    assert evaluate().exit_code == 0


def test_json(evaluate, run):
    done = evaluate("--json")
    found = json.loads(done.stdout)
    assert found["run"] == "금융-실험"
    assert found["results"]["sft"]["my_text"]["metrics"]["exact_match"]["value"] == 0.5


def test_a_dry_run_shows_files_and_commands_and_writes_nothing(evaluate, fake, run):
    before = sorted(run.rglob("*"))
    done = evaluate("--dry-run")
    assert done.exit_code == 0, done.output
    assert fake.launched() == []
    assert sorted(run.rglob("*")) == before
    assert "model_args: {pretrained: " in done.stdout
    assert "evaluation.run_lm_eval run --config " in done.stdout
    assert str(run / "rendered" / "eval_sft" / "my_text.yaml") in done.stdout
    planned = json.loads(evaluate("--dry-run", "--json").stdout)
    assert {"stage": "sft", "task": "my_text"} in planned["work"][-1]["asks"]
    assert fake.launched() == []


def test_the_list_names_suite_size_score_and_where_the_rows_are(alphaf, fake):
    done = alphaf("eval", "--list", "--json")
    rows = {row["task"]: row for row in json.loads(done.stdout)["tasks"]}
    assert rows["my_text"]["suites"] == ["mine"]
    assert (rows["my_text"]["rows"], rows["my_text"]["main_metric"], rows["my_text"]["here"]) == (
        6,
        "exact_match",
        True,
    )
    table = alphaf("eval", "--list").stdout
    assert "my_choice" in table
    assert "here" in table


def test_the_newest_finished_run_is_taken(alphaf, fake, run):
    newer = write_run(run.with_name("새"), fake.python)
    manifest = json.loads((newer / "manifest.json").read_text())
    manifest["stages"]["merge_sft"]["ended"] = "2026-02-02T00:00:00+00:00"
    (newer / "manifest.json").write_text(json.dumps(manifest))
    assert alphaf("eval", "--suite", "mine", "--stages", "dpo", "--gpus", "0").exit_code == 0
    assert (newer / "eval" / "dpo" / "my_text.json").is_file()
    assert not (run / "eval").exists()


@pytest.mark.parametrize(
    ("args", "code", "what"),
    [
        (["--stages", "rlhf"], 2, "rlhf is no stage of the chain"),
        (["--stages", "merged"], 6, "the merged model of run 금융-실험 is not finished"),
        (["--stages", "sft", "--suite", "finance"], 2, "there is no suite finance"),
        (["--stages", "sft", "--task", "my_txt"], 2, "there is no task my_txt"),
        (["--stages", "sft", "--suite", "allganize"], 3, "hf download --repo-type dataset"),
        (["--stages", "sft", "--suite", "mine", "--gpus", "2"], 5, "eval asks for 2 GPUs, this machine has 0"),
        (["--stages", "sft", "--suite", "mine", "--backend", "vllm"], 2, "vllm needs a GPU"),
        (["--stages", "sft", "--suite", "mine", "--backend", "openai"], 2, "the backend openai needs a server"),
        (
            ["--stages", "sft", "--suite", "mine", "--backend", "openai", "--server", "localhost:8000/v1"],
            2,
            "'localhost:8000/v1' is no address of a server",
        ),
        (
            ["--stages", "sft", "--suite", "mine", "--backend", "openai", "--server", "http://me:pass@host/v1"],
            2,
            "a password or query in the address",
        ),
        (["--suite", "mine", "--backend", "openai", "--server", "http://host/v1"], 2, "a server serves one model"),
        (
            ["--stages", "sft", "--suite", "mine", "--backend", "openai-chat", "--server", "http://host/v1"],
            2,
            "chat completions give no probabilities, which my_choice need",
        ),
        (["--stages", "sft", "--suite", "mine", "--server", "http://host/v1"], 2, "the backend hf asks no server"),
        (
            ["--stages", "sft", "--suite", "mine", "--gpus", "0", "--backend", "openai", "--server", "http://127.0.0.1:9/v1"],
            9,
            "the server does not answer",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_the_first_process(alphaf, fake, run, args, code, what):
    done = alphaf("eval", *args)
    assert done.exit_code == code, done.output
    assert what in done.stderr
    assert fake.launched() == []
    assert not (run / "eval").exists() or list((run / "eval").glob("*/*")) == []


def test_no_run_and_no_lm_eval(alphaf, fake, monkeypatch):
    nothing = alphaf("eval")
    assert nothing.exit_code == 6
    assert "there is no run with a finished SFT to evaluate" in nothing.stderr
    write_run(Path(os.environ["ALPHAF_RUNS"]) / "r", fake.python)
    fake.behave(versions={"python": "3.11.0"})
    lacking = alphaf("eval", "--suite", "mine", "--gpus", "0")
    assert lacking.exit_code == 9
    assert "lm-eval is not installed" in lacking.stderr


def test_a_server_is_asked_only_where_lm_eval_can(alphaf, fake, run):
    fake.behave(lacking="tenacity")
    server = ("--backend", "openai", "--server", "http://127.0.0.1:9/v1", "--server-model", "m")
    done = alphaf("eval", "--suite", "mine", "--stages", "sft", *server)
    assert done.exit_code == 9
    assert "lm-eval asks servers through tenacity" in done.stderr
    assert "lm-eval[api]" in done.stderr
    assert fake.launched() == []


def test_a_result_cut_off_by_a_crash_is_made_again(evaluate, fake, run):
    assert evaluate().exit_code == 0
    forgotten = run / "eval" / "sft" / "my_text.json"
    whole = forgotten.read_bytes()
    forget(run)
    forgotten.parent.mkdir(parents=True)
    forgotten.write_bytes(whole[:100])
    fake.calls()
    assert evaluate().exit_code == 0
    assert fake.launched() == ["tokenizer", "sft"]
    assert read_result(forgotten).n == 6


def test_vllm_asks_from_an_environment_of_its_own(alphaf, fake, run, monkeypatch, tmp_path):
    monkeypatch.setattr("alphaf_orch.cli.evaluate.detect_machine", lambda: Machine(("GPU",), 2))
    args = ("eval", "--suite", "mine", "--stages", "sft", "--backend", "vllm")
    lacking = alphaf(*args)
    assert lacking.exit_code == 9
    assert "vllm is not installed" in lacking.stderr
    assert "make setup-vllm" in lacking.stderr and f"`tools: vllm:` in {run / 'config.yaml'}" in lacking.stderr
    own = shutil.copy(fake.python, tmp_path / "vllm의 python")
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace("{axolotl:", f"{{vllm: '{own}', axolotl:"), encoding="utf-8")
    fake.behave(versions={"python": "3.11.0", "vllm": "0.33.0"})
    assert "lm-eval is not installed" in alphaf(*args).stderr
    fake.behave(versions={"python": "3.11.0", "vllm": "0.33.0", "lm-eval": "0.4.13"})
    done = alphaf(*args)
    assert done.exit_code == 0, done.output
    started = {
        name: (run / "logs" / f"{name}.log").read_text(encoding="utf-8") for name in ("eval_tokenizer", "eval_sft")
    }
    assert started["eval_tokenizer"].startswith(f"$ '{fake.python}' -m")
    assert started["eval_sft"].startswith(f"$ '{own}' -m")


def test_gpus_that_torch_does_not_see_are_refused_before_a_model_is_asked(alphaf, fake, run, monkeypatch):
    """lm-eval would ask on the processor, and say so in its log alone."""
    asked = []

    def refuse(python, wanted, machine, versions):
        asked.append((python, wanted.gpus, machine.gpus))
        raise HardwareError("NVML lists 1 GPU, torch sees 0", where=python, fix="mend it", code="hardware.x")

    monkeypatch.setattr("alphaf_orch.cli.evaluate.detect_machine", lambda: Machine(("GPU",), 2))
    monkeypatch.setattr("alphaf_orch.evaluation.run.require_gpus", refuse)
    fake.calls()
    result = alphaf("eval", "--suite", "mine", "--stages", "sft")
    assert result.exit_code == 5
    assert asked == [(str(fake.python), 1, ("GPU",))]
    assert fake.launched() == []


def test_clusters_are_stored_with_each_row_and_laid_over_known_scores_without_asking(evaluate, fake, run):
    (yaml,) = Path(os.environ["ALPHAF_TEMPLATES"]).rglob("choice.yaml")
    text = yaml.read_text(encoding="utf-8") + "metadata:\n  version: 1\n"

    def clusters(cluster: str) -> list[str | None]:
        yaml.write_text(text + cluster, encoding="utf-8")
        done = evaluate()
        assert done.exit_code == 0, done.output
        return [each.cluster for each in read_samples(run / "eval" / "sft" / "my_choice.jsonl")]

    def error() -> float:
        return read_result(run / "eval" / "sft" / "my_choice.json").metrics["acc"].stderr

    assert set(clusters("")) == {None}
    assert fake.launched() == ["tokenizer", "sft"]
    found = clusters("  cluster: answer\n")
    assert found[0] == found[4] != found[1] == found[5]
    assert fake.launched() == [], "nothing that a model answered depends on it"
    # Rows 0 and 4 are right and one cluster, 1 and 5 another, 2 and 3 stand alone; the jackknife over the four.
    share = np.array([2, 2, 1, 1]) / 6
    moved = np.array([4 / 3, -2 / 3, -1 / 3, -1 / 3]) / 6 / (1 - share)
    assert error() == pytest.approx(((moved**2).sum() * 3 / 4) ** 0.5)
    assert read_result(run / "eval" / "sft" / "my_choice.json").units == pytest.approx(36 / 10)
    assert set(clusters("")) == {None}
    assert read_result(run / "eval" / "sft" / "my_choice.json").units is None
    assert error() == pytest.approx(np.std([1, 0, 0, 0, 1, 0], ddof=1) / 6**0.5), "as lm-eval computes it"
    for file in (run / "eval" / "sft").iterdir():
        file.unlink()
    assert clusters("  cluster: answer\n") == found, "from the shared cache, which has none"
    assert fake.launched() == []
