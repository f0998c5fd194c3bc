"""The real lm-eval on tiny models: asked as trained, cached, repeatable, resumable."""

import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from eval_run import SYSTEM, write_run, write_tasks
from processes import end as end_all
from processes import guards_of, kill_all
from quickness import quickest

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.scores.results import read_result, read_samples, run_results

REPO = Path(__file__).parents[2]


def chat(system, user):
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory, warm_python):
    """A run of tiny random models with a Korean name, its base in the cache, and the two tasks."""
    from tiny import llama, save_base, tokenizer

    place = tmp_path_factory.mktemp("평가 실행")
    base = save_base(place / "cache" / "models" / "tiny")
    for name in ("config.json", "generation_config.json"):  # a base model that knows no end of a turn yet
        values = json.loads((base / name).read_text())
        (base / name).write_text(json.dumps(values | {"eos_token_id": 2}))
    run = write_run(place / "실행" / "작은-모델", warm_python, cache=place / "cache")
    for seed, stage in enumerate(("sft", "dpo"), start=1):
        folder = run / stage / "merged"
        for file in folder.iterdir():
            file.unlink()
        made = tokenizer()
        model = llama(len(made), seed=seed)
        for part in (model.config, model.generation_config):
            part.eos_token_id, part.pad_token_id = made.eos_token_id, made.pad_token_id
        model.save_pretrained(folder)
        made.save_pretrained(folder)
    write_tasks(place / "템플릿", rows=60)
    return place


def environment(place):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ALPHAF_")}
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")])),
        "ALPHAF_CACHE": str(place / "cache"),
        "ALPHAF_RUNS": str(place / "실행"),
        "ALPHAF_TEMPLATES": str(place / "템플릿"),
        "HF_HOME": str(place / "hf"),
        "OMP_NUM_THREADS": "1",
    }


def command(*args):
    return [sys.executable, "-m", "alphaf_orch", "eval", "--suite", "mine", "--gpus", "0", *args]


def evaluate(place, *args):
    done = subprocess.run(
        command(*args), cwd=place, env=environment(place), capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def forget(place):
    for path in [*place.glob("실행/*/eval/*/*"), *(place / "cache" / "eval").glob("*")]:
        path.unlink()


def samples(place, stage, task):
    return list(read_samples(RunPaths(place / "실행" / "작은-모델").eval_samples(stage, task)))


@pytest.fixture(scope="module")
def evaluated(place):
    """What the first call printed: base and sft, four rows of both tasks."""
    return evaluate(place, "--stages", "base,sft", "--limit", "4")


def test_both_tasks_are_scored_for_both_models(evaluated, place):
    found = run_results(RunPaths(place / "실행" / "작은-모델"))
    assert {stage: list(tasks) for stage, tasks in found.items()} == {
        "base": ["my_choice", "my_text"],
        "sft": ["my_choice", "my_text"],
    }
    for tasks in found.values():
        for result in tasks.values():
            assert result.n == 4
            assert result.prompt["asserted"] is True
            assert result.prompt["eos"] == ["<|im_end|>", 4]
            assert result.settings["model_dtype"] == "torch.float32"
            assert result.warnings == ()
    # The base model's answers end at the trained marker too.
    stops = {stage: tasks["my_text"].settings["stop_token_ids"] for stage, tasks in found.items()}
    assert stops == {"base": [2, 4], "sft": []}
    assert found["base"]["my_text"].settings["generation"]["eos_token_id"] == [2, 4]
    assert "my_choice" in evaluated.stdout
    assert "(n=4)" in evaluated.stdout


def test_prompts_are_the_trained_template_and_scores_are_those_of_the_answers(evaluated, place):
    for stage in ("base", "sft"):
        for number, sample in enumerate(samples(place, stage, "my_text")):
            assert sample.id == f"t{number}"
            assert sample.prompt == chat(SYSTEM, f"[1] 금리 {number}%.\n\n질문: 금리는?")
            assert "<|im_" not in sample.answer
        for number, sample in enumerate(samples(place, stage, "my_choice")):
            assert sample.prompt == chat("알맞은 글자 하나로 답하세요.", f"{number}. 기준금리를 정하는 곳은?")
            best = max(range(4), key=sample.details["logprobs"].__getitem__)
            assert sample.answer[0] == "ABCD"[best]
            assert sample.scores == {"acc": float(best == number % 4)}


def test_likelihoods_are_those_of_the_model_itself(evaluated, place):
    """Recomputed by plain transformers over the ids that training would see: no BOS, the letter behind the newline."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = place / "실행" / "작은-모델" / "sft" / "merged"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    sample = samples(place, "sft", "my_choice")[0]
    messages = [
        {"role": "system", "content": "알맞은 글자 하나로 답하세요."},
        {"role": "user", "content": "0. 기준금리를 정하는 곳은?"},
    ]
    context = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    newline = tokenizer("\n", add_special_tokens=False)["input_ids"]
    assert context[-len(newline) :] == newline
    for letter, logprob in zip("ABCD", sample.details["logprobs"], strict=True):
        ids = context + tokenizer(letter, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            table = torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1)
        # lm-eval counts the template's last newline to every option.
        tail = range(len(context) - len(newline), len(ids))
        assert sum(float(table[at - 1, ids[at]]) for at in tail) == pytest.approx(logprob, abs=1e-3)


def test_a_second_call_takes_two_seconds_at_most_and_no_torch(evaluated, place):
    def again() -> None:
        done = evaluate(place, "--stages", "base,sft", "--limit", "4")
        assert "nothing to do" in done.stderr
        assert done.stdout == evaluated.stdout

    seconds = quickest(again, 2, time.monotonic)
    assert min(seconds) < 2, seconds
    probe = (
        "import sys; sys.argv[1:] = %r; from alphaf_orch.cli.main import main\ntry:\n    main()\n"
        "finally:\n    print('torch' in sys.modules, file=sys.stderr)"
    )
    arguments = command("--stages", "sft", "--limit", "4")[3:]
    done = subprocess.run(
        [sys.executable, "-c", probe % arguments], env=environment(place), capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "False"


def test_asked_again_without_the_cache_the_figures_are_the_same(evaluated, place):
    run = RunPaths(place / "실행" / "작은-모델")
    before = {task: read_result(run.eval_result("sft", task)).metrics for task in ("my_choice", "my_text")}
    lines = {task: run.eval_samples("sft", task).read_bytes() for task in before}
    kept = run.eval_result("sft", "my_text").stat().st_mtime_ns
    forget(place)
    evaluate(place, "--stages", "sft", "--limit", "4")
    assert run.eval_result("sft", "my_text").stat().st_mtime_ns != kept
    assert {task: read_result(run.eval_result("sft", task)).metrics for task in before} == before
    assert {task: run.eval_samples("sft", task).read_bytes() for task in before} == lines


def stored(file):
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as base:
            return int(base.execute("select count(*) from unnamed").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.fixture
def cold(place):
    """The run with the real python, whose processes are killed as they are."""
    config = place / "실행" / "작은-모델" / "config.yaml"
    before = config.read_text(encoding="utf-8")
    config.write_text(f"model: tiny\ntools: {{axolotl: '{sys.executable}'}}\n", encoding="utf-8")
    yield
    config.write_text(before, encoding="utf-8")


def test_killed_in_the_middle_the_answers_there_are_not_asked_again(place, cold):
    run = place / "실행" / "작은-모델"
    process = subprocess.Popen(
        command("--stages", "dpo", "--batch-size", "1"),
        cwd=place, env=environment(place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end, count = time.monotonic() + 120, 0
    while count < 5 and time.monotonic() < end:
        time.sleep(0.02)
        count = max((stored(file) for file in run.glob(".partial/eval/dpo/responses-*/*.db")), default=0)
    end_all(guards_of(process.pid))
    process.kill()
    assert kill_all(run / "rendered" / "eval_dpo.yaml", signal.SIGKILL) >= 1
    process.wait(timeout=20)
    # 60 texts and 60 questions with four options.
    (file,) = run.glob(".partial/eval/dpo/responses-*/*.db")
    there = stored(file)
    assert 5 <= there < 300
    evaluate(place, "--stages", "dpo", "--batch-size", "1")
    said = (run / "logs" / "eval_dpo.log").read_text(encoding="utf-8").rpartition("\n$ ")[2]
    cached = [int(part.split(",")[0]) for part in said.split("Cached requests: ")[1:]]
    assert sum(cached) == there
    assert len(samples(place, "dpo", "my_choice")) == len(samples(place, "dpo", "my_text")) == 60
    assert not (run / ".partial" / "eval").exists()


def test_a_tokenizer_that_adds_a_bos_by_itself_is_kept_from_it(tmp_path):
    """Llama's does: training, by the chat template, had none, so the prompt's ids must have none either."""
    from tiny import save_base, tokenizer
    from tokenizers.processors import TemplateProcessing

    sft = save_base(tmp_path / "sft")
    made = tokenizer()
    made.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.save_pretrained(sft)
    probe = (
        "import sys\nfrom lm_eval.models.huggingface import HFLM\nfolder = sys.argv[1]\n"
        "for extra in ({}, {'add_bos_token': False}):\n"
        "    lm = HFLM(pretrained=folder, tokenizer=folder, device='cpu', **extra)\n"
        "    print(lm.tok_encode('<|im_start|>user')[0], lm.tok_batch_encode(['<|im_start|>user'])[0][0][0].item())\n"
    )
    said = subprocess.run([sys.executable, "-c", probe, str(sft)], capture_output=True, text=True, check=True)
    plain, ours = said.stdout.splitlines()[-2:]
    assert plain == "1 1", "lm-eval's default puts <s> before the prompt"
    assert ours == "3 3", "with add_bos_token: false it begins with <|im_start|>"


needs_api = pytest.mark.skipif(
    importlib.util.find_spec("tenacity") is None, reason="lm-eval[api] is not installed: tenacity lacks"
)


@needs_api
def test_a_server_that_gets_the_trained_ids_gives_the_same_scores(evaluated, place, monkeypatch):
    from completions_server import serving

    here = {task: samples(place, "sft", task) for task in ("my_choice", "my_text")}
    monkeypatch.setenv("OPENAI_API_KEY", "very-secret")
    with serving(place / "실행" / "작은-모델" / "sft" / "merged", "작은 모델") as (url, asked):
        options = ("--stages", "sft", "--limit", "4", "--backend", "openai", "--server", url)
        arguments = [word for word in command(*options) if word not in ("--gpus", "0")]
        done = subprocess.run(arguments, cwd=place, env=environment(place), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {request["authorization"] for request in asked} == {"Bearer very-secret"}
    assert {request["model"] for request in asked} == {"작은 모델"}
    for task, before in here.items():
        for one, other in zip(before, samples(place, "sft", task), strict=True):
            assert (one.id, one.prompt, one.answer, one.scores) == (other.id, other.prompt, other.answer, other.scores)
    result = read_result(RunPaths(place / "실행" / "작은-모델").eval_result("sft", "my_choice"))
    assert (result.prompt["asserted"], result.settings["server_model"], result.warnings) == (True, "작은 모델", ())
    for file in [*place.rglob("*.json*"), *place.rglob("*.log"), *place.rglob("rendered/**/*.yaml")]:
        assert "very-secret" not in file.read_text(encoding="utf-8", errors="replace"), file


@needs_api
def test_a_chat_server_renders_for_itself_which_is_said(evaluated, place):
    from completions_server import serving

    with serving(place / "실행" / "작은-모델" / "sft" / "merged", "m") as (url, asked):
        options = ("--stages", "sft", "--limit", "2", "--backend", "openai-chat", "--server", url)
        arguments = [*command()[:4], "--task", "my_text", *options]
        done = subprocess.run(arguments, cwd=place, env=environment(place), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "its own chat template, which could not be checked" in done.stdout
    assert asked[0]["messages"][0] == {"role": "system", "content": SYSTEM, "type": "text"}
    (first, _) = samples(place, "sft", "my_text")
    assert SYSTEM in first.prompt
    result = read_result(RunPaths(place / "실행" / "작은-모델").eval_result("sft", "my_text"))
    assert (result.prompt["asserted"], result.prompt["chat_template_sha256"], result.n) == (False, None, 2)
