"""The processes of an evaluation as values: whole files and command lines, and what the keys depend on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from eval_run import write_model, write_run, write_tasks
from golden import recorded

from alphaf_orch.core.command import child_env
from alphaf_orch.core.errors import ModelError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import PACKAGE, RunPaths
from alphaf_orch.evaluation.cells import Cell, Place
from alphaf_orch.evaluation.options import EvalOptions, Target, choose_target, counted_rows, planned_rows
from alphaf_orch.evaluation.plan import lm_eval_stage, make_cell, model_files, tokenizer_stage
from alphaf_orch.evaluation.tasks.suites import find_tasks, render_tasks, select_tasks
from alphaf_orch.runs.chain import chain_models
from alphaf_orch.runs.reference import (
    TrainedSystems,
    context_length,
    find_reference,
    stop_ids,
    tokenizer_identity,
    trained_systems,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "eval"
PYTHON = "/opt/lm eval/bin/python"
TARGETS = {
    "hf-cpu": Target("hf"),
    "hf-8gpus": Target("hf", 8),
    "hf-gpu-batch16": Target("hf", 1, 16),
    "vllm-4gpus": Target("vllm", 4),
    "openai": Target("openai", 0, None, "http://10.0.0.7:8000/v1", "alpha-f"),
    "openai-chat": Target("openai-chat", 0, 32, "http://10.0.0.7:8000/v1", "alpha-f"),
}


@pytest.fixture
def tasks(tmp_path):
    templates = write_tasks(tmp_path / "templates")
    return select_tasks(find_tasks((templates,), PYTHON), ("mine",), ())


EIGHT = Machine(tuple("GPU" for _ in range(8)), 96)


@pytest.fixture
def paths(tmp_path):
    return RunPaths(write_run(tmp_path / "runs" / "금융", PYTHON))


@pytest.fixture
def place(paths):
    def made(target=TARGETS["hf-cpu"]):
        models = chain_models(paths)
        return Place(paths, PYTHON, find_reference(paths, models), target, False, EIGHT, child_env({}, online=False))

    return made


def cells(place, tasks, stage="sft", limit=None):
    (model,) = chain_models(place.paths, (stage,))
    return [make_cell(place, model, task, limit, "0.4.11") for task in tasks]


def shown(stage, tmp_path):
    lines = [json.dumps(list(stage.argv), ensure_ascii=False), json.dumps(dict(stage.env))]
    for path, file in stage.files.items():
        lines.append(f"--- {path}\n{file.text}")
    text = "\n".join(lines) + "\n"
    return text.replace(str(tmp_path), "/TMP").replace(str(PACKAGE), "/PACKAGE")


def compare(name, text):
    assert text == recorded(GOLDEN / name, text)


@pytest.mark.parametrize("name", TARGETS)
def test_lm_eval_is_started_as_recorded(name, place, tasks, tmp_path):
    made = place(TARGETS[name])
    # Chat completions give no probabilities.
    asked = [t for t in tasks if t.output_type == "generate_until"] if name == "openai-chat" else tasks
    chosen = cells(made, asked, limit=4)
    folder = made.paths.rendered("eval_sft")
    stage = lm_eval_stage(made, chosen, render_tasks(asked, made.env, folder))
    # The key of the kept answers is a hash over model files; what it depends on is tested below.
    text = shown(stage, tmp_path)
    kept = Path(stage.files[made.paths.rendered("eval_sft.yaml")].values["use_cache"]).parent.name
    compare(f"{name}.txt", text.replace(kept, "responses-KEY"))


def test_the_tokenizers_are_looked_at_as_recorded(place, tasks, tmp_path):
    made = place()
    compare("tokenizer.txt", shown(tokenizer_stage(made, chain_models(made.paths), tasks), tmp_path))


def test_before_any_training_the_tokenizer_is_set_up_as_the_trainer_will(tasks, tmp_path):
    paths = RunPaths(write_run(tmp_path / "runs" / "neu", PYTHON, stages=()))
    models = chain_models(paths)
    reference = find_reference(paths, models)
    assert reference.folder is None
    made = Place(paths, PYTHON, reference, Target("hf"), False, Machine((), 2), {})
    (file,) = tokenizer_stage(made, models, tasks).files.values()
    assert file.values["reference"] is None
    assert file.values["chat_template"] == "chatml"
    assert set(file.values["special_tokens"]) == {"bos_token", "eos_token", "pad_token"}
    assert made.tokenizer(models[0]) == paths.scratch("eval") / "tokenizer_base"


def test_what_the_run_says_of_template_and_tokens_reaches_an_evaluation_before_any_training(tmp_path):
    file = tmp_path / "내 틀.jinja"
    file.write_text("{{ messages[0]['content'] }}<|end|>", encoding="utf-8")
    said = {
        "chat_template": "jinja", "chat_template_jinja": str(file), "tokens": ["<|end|>"],
        "special_tokens": {"eos_token": "<|end|>"},
    }  # fmt: skip
    paths = RunPaths(write_run(tmp_path / "runs" / "neu", PYTHON, stages=()))
    settings = yaml.safe_load(paths.config.read_text(encoding="utf-8"))
    paths.config.write_text(yaml.safe_dump({**settings, "sft": said}, allow_unicode=True), encoding="utf-8")
    setup = find_reference(paths, chain_models(paths)).setup
    assert setup["chat_template_jinja"] == file.read_text(encoding="utf-8")
    assert setup["added_tokens"] == ["<|end|>"]
    assert setup["special_tokens"]["eos_token"] == "<|end|>"
    assert setup["special_tokens"]["pad_token"], "the preset's own stays"


def test_every_record_is_used():
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.txt" for name in [*TARGETS, "tokenizer"]}


def test_the_key_changes_with_all_that_scores_depend_on(place, tasks):
    made = place()
    cell = cells(made, tasks)[0]

    def key(place=made, model=cell.model, task=cell.task, limit=None, lm_eval="0.4.11"):
        return make_cell(place, model, task, limit, lm_eval).key

    others = {
        "model": key(model=replace(cell.model, identity="local:other")),
        "task": key(task=replace(cell.task, content="0" * 64)),
        "limit": key(limit=3),
        "lm-eval": key(lm_eval="0.4.12"),
        "tokenizer": key(place=replace(made, reference=replace(made.reference, identity="other"))),
        "backend": key(place=replace(made, target=Target("vllm", 1))),
        "served": key(place=replace(made, target=TARGETS["openai"])),
    }
    assert key() == cell.key
    assert len({cell.key, *others.values()}) == len(others) + 1


def test_the_key_does_not_change_with_place_devices_and_batch(place, tasks, tmp_path):
    made = place()
    cell = cells(made, tasks)[0]
    moved = replace(cell.model, path=str(tmp_path / "elsewhere"))
    write_model(Path(moved.path), 1)
    assert make_cell(made, moved, cell.task, None, "0.4.11").key == cell.key
    for target in (Target("hf", 8), Target("hf", 0, 32)):
        assert make_cell(replace(made, target=target), cell.model, cell.task, None, "0.4.11").key == cell.key
    assert make_cell(made, cell.model, cell.task, 10**6, "0.4.11").key == cell.key, "a limit that leaves nothing out"


def test_a_limit_says_nothing_of_rows_that_only_lm_eval_counts(place, tasks):
    """A hub data set may have more rows than its YAML says, and a filter leaves some out."""
    made = place()
    cell = cells(made, tasks)[0]
    hub = replace(cell.task, dataset="org/name")
    filtered = replace(cell.task, config={**cell.task.config, "process_docs": "!function x.y"})
    assert [counted_rows(task) for task in (cell.task, hub, filtered)] == [6, None, None]
    assert make_cell(made, cell.model, hub, 6, "0.4.11").settings["limit"] == 6


def kept_answers(place, chosen: list[Cell]):
    stage = lm_eval_stage(place, chosen, {})
    return stage.files[place.paths.rendered(f"eval_{chosen[0].model.stage}.yaml")].values["use_cache"]


def test_kept_answers_serve_any_limit_and_no_other_model_or_backend(place, tasks):
    made, server = place(), place(TARGETS["openai"])
    here = kept_answers(made, cells(made, tasks))
    assert here == kept_answers(made, cells(made, tasks, limit=2))
    assert here != kept_answers(server, cells(server, tasks))
    changed = Path(chain_models(made.paths, ("sft",))[0].path) / "config.json"
    changed.write_text(changed.read_text().replace('"seed": 1', '"seed": 9'))
    assert here != kept_answers(made, cells(made, tasks))


def test_a_tokenizer_is_known_by_what_it_does(tmp_path):
    one, two = tmp_path / "a", tmp_path / "b"
    for folder in (one, two):
        write_model(folder, 1)
    (two / "tokenizer_config.json").write_text('{"name_or_path": "/elsewhere", "eos_token": "<|im_end|>"}')
    (two / "config.json").write_text("{}")
    assert tokenizer_identity(one) == tokenizer_identity(two)
    (two / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    assert tokenizer_identity(one) != tokenizer_identity(two)


def test_the_trained_end_marker_ends_the_base_models_answers_too(tmp_path):
    base, trained = tmp_path / "base", tmp_path / "sft"
    for folder, eos in ((base, 2), (trained, [4, 5])):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"vocab_size": 320, "eos_token_id": eos}))
    assert stop_ids(base, trained) == [2, 4, 5]
    assert stop_ids(trained, trained) == []
    assert stop_ids(base, None) == []
    # An id that the base model has no row for cannot be one that it writes.
    (trained / "generation_config.json").write_text(json.dumps({"eos_token_id": 320}))
    assert stop_ids(base, trained) == []


def test_context_length_is_read_from_the_config(tmp_path):
    file = tmp_path / "config.json"
    assert context_length(tmp_path) is None
    for values, length in (({"n_positions": 1024}, 1024), ({"text_config": {"max_position_embeddings": 77}}, 77)):
        file.write_text(json.dumps(values))
        assert context_length(tmp_path) == length


def test_a_hub_base_is_read_from_the_cache_and_missed_with_a_name(place, tmp_path, monkeypatch):
    made = place()
    model = replace(chain_models(made.paths, ("base",))[0], path="org/name", revision="abc")
    env = {"HF_HOME": str(tmp_path / "hub")}
    with pytest.raises(ModelError, match="org/name"):
        model_files(model, env)
    snapshot = tmp_path / "hub" / "hub" / "models--org--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    assert model_files(model, env) == snapshot


def test_system_texts_of_the_training_samples(paths, tmp_path):
    found = trained_systems(paths.probe("data"))
    assert found is not None
    assert (len(found.texts), found.conversations, found.with_system) == (1, 2, 1)
    assert trained_systems(tmp_path / "none.jsonl") is None


def test_system_texts_are_read_line_by_line_and_what_is_no_line_is_left_out(tmp_path):
    probe = tmp_path / "data.jsonl"
    system = "위\u2028아래\u2029또\u0085끝"
    line = json.dumps({"messages": [{"role": "system", "content": system}]}, ensure_ascii=False)
    broken = ["[]", '{"messages": [{"role": "system", "content": [1]}]}', "\x00\x00", line[:20]]
    probe.write_text("\n".join([line, *broken]), encoding="utf-8")
    assert trained_systems(probe) == TrainedSystems(frozenset({system}), 1, 1)
    probe.write_text(line[:20], encoding="utf-8")
    assert trained_systems(probe) is None


def test_no_rank_is_left_without_a_question(tasks):
    assert choose_target(EvalOptions(), tasks, EIGHT) == Target("hf", 6)
    assert choose_target(EvalOptions(limit=4), tasks, EIGHT) == Target("hf", 4)
    assert choose_target(EvalOptions(gpus=2), tasks, EIGHT) == Target("hf", 2)
    assert choose_target(EvalOptions(gpus=0), tasks, EIGHT) == Target("hf", 0)
    assert choose_target(EvalOptions(backend="vllm"), tasks, EIGHT) == Target("vllm", 8)
    assert planned_rows(replace(tasks[0], rows=None), None) is None
    assert planned_rows(replace(tasks[0], rows=None), 5) == 5


def test_a_server_address_is_completed(tasks):
    options = EvalOptions(stages=("sft",), backend="openai", server="http://host:8000/")
    assert choose_target(options, tasks, Machine((), 2)).server == "http://host:8000/v1"
    options = replace(options, server="https://host/llm/v1/")
    assert choose_target(options, tasks, Machine((), 2)).server == "https://host/llm/v1"
