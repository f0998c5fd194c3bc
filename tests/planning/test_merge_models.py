"""The merge of whole models as the orchestrator plans it: settings, refusals, the stage, the sweep, with stand-ins."""

import json
import os
import re
import shutil
import stat
import struct
import sys
from pathlib import Path

import fake_tool
import pytest
import yaml
from eval_run import Fake, write_model, write_run, write_tasks
from harms import cut, empty

from alphaf_orch.core.command import PROGRAM_ENV
from alphaf_orch.core.errors import ConfigError, ModelError
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.experiments.sweep.choice import choose
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.merge_inputs import read_inputs
from alphaf_orch.planning.merge_partners import MergeModel
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.report.sweep import explained
from alphaf_orch.runs.status import statuses
from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.results import Metric, TaskResult
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.merge import METHODS, mergekit_config, parse_sweep, per_model, read_settings

SHAPES = {
    "model.embed_tokens.weight": (320, 8),
    "model.layers.0.mlp.up_proj.weight": (16, 8),
    "lm_head.weight": (320, 8),
}
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 320, "tie_word_embeddings": False,
}  # fmt: skip
WORDS = {"a": 0, "b": 1}


def write_weights(path, shapes, dtype="F32"):
    """Write a safetensors header without the data behind it being of any use."""
    size = {"F32": 4, "BF16": 2}[dtype]
    header, end = {}, 0
    for name, shape in shapes.items():
        length = size * shape[0] * shape[1]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + length]}
        end += length
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * end)


def model(folder, *, shapes=None, dtype="F32", words=None, template="chatml", **config):
    folder.mkdir(parents=True)
    write_weights(folder / "model.safetensors", shapes or SHAPES, dtype)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    tokenizer = {"model": {"vocab": words or WORDS}, "added_tokens": [{"content": "<|im_end|>", "id": 4}]}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>", "pad_token": "a"}')
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.fixture
def plan(tmp_path, cpu):
    """Return a function that plans the merge of a finished run's DPO model."""
    base = model(tmp_path / "원본")
    root = tmp_path / "runs" / "한글 런"
    model(root / "dpo" / "merged", rows=1)

    def planned(machine=cpu, **merge):
        config = RunConfig(model=str(base), merge=merge)
        return make_plan(config, machine, root, Scope((), upstream="up", merge=True, merge_alone="dpo"))

    return planned


def recipe(plan):
    return next(file.values for path, file in plan.stages[-1].files.items() if path.name == "merge_models.yaml")


@pytest.mark.parametrize(
    ("merge", "said"),
    [
        ({}, "no merge partner is named"),
        ({"partner": ["a"], "methd": "ties"}, "has no setting methd: did you mean"),
        ({"partner": ["a"], "method": "dare_tie"}, "did you mean dare_ties?"),
        ({"partner": ["a", "a"]}, "named twice"),
        ({"partner": ["a", "b"], "method": "slerp"}, "slerp merges exactly two models"),
        ({"partner": ["a"], "method": "linear", "base": "x"}, "linear has no base"),
        ({"partner": ["a"], "method": "slerp", "t": 1.5}, "merge.t is 1.5"),
        ({"partner": ["a"], "method": "slerp", "weight": 0.5}, "slerp has no setting weight"),
        ({"partner": ["a"], "weight": [0.1, 0.2, 0.3]}, "has 3 values for 2 models"),
        ({"partner": ["a"], "density": 0}, "merge.density is 0"),
        ({"partner": ["a"], "weight": "half"}, "which is no number"),
        ({"partner": ["a"], "method": "della", "density": 0.9}, "merge.epsilon is 0.15"),
        ({"partner": ["a"], "method": "ties", "weight": [1, -1]}, "adds up to 0"),
        ({"partner": ["a"], "out_dtype": "int4"}, "use one of: None, bfloat16"),
        ({"partner": ["a"], "method": "linear", "tokenizer": "base"}, "linear has no base"),
        ({"partner": ["a"], "normalize": "yes"}, "merge.normalize is 'yes'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(merge, said, plan, tmp_path, monkeypatch):
    for name in ("a", "b"):
        model(tmp_path / name, num_marker=name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        plan(**merge)
    assert said in refused.value.message


def test_every_method_has_a_template_and_the_command_offers_it():
    from alphaf_orch.cli.merge import merge_models

    (folder,) = template_folders()
    assert {file.name.split(".")[0] for file in (folder / "merge_models").iterdir()} == set(METHODS)
    offered = next(option for option in merge_models.params if option.name == "method").type.choices
    assert tuple(offered) == METHODS


def test_one_weight_is_the_partners_together():
    assert per_model({"weight": 0.6, "partners": ["p"]}, "weight") == [0.4, 0.6]
    assert per_model({"weight": 0.6, "partners": ["p", "q"]}, "weight") == [0.4, 0.3, 0.3]
    assert per_model({"weight": [1, 2], "partners": ["p"]}, "weight") == [1.0, 2.0]
    assert per_model({"density": 0.5, "partners": ["p"]}, "density") == [0.5, 0.5]


def test_mergekit_s_own_settings(plan, tmp_path):
    partner = model(tmp_path / "partner+x@y", marker=1)
    stage = plan(partner=[str(partner)], density=[0.5, 0.6]).stages[-1]
    values = next(file.values for path, file in stage.files.items() if path.name == "mergekit.yaml")
    root = tmp_path / "runs" / "한글 런"
    assert values == {
        "merge_method": "dare_ties",
        "base_model": {"model": {"path": str(tmp_path / "원본")}},
        "models": [
            {"model": {"model": {"path": f"{root}/dpo/merged"}}, "parameters": {"weight": 0.4, "density": 0.5}},
            {"model": {"model": {"path": str(partner)}}, "parameters": {"weight": 0.6, "density": 0.6}},
        ],
        "parameters": {"normalize": False, "rescale": True, "lambda": 1.0, "int8_mask": True},
    }
    assert mergekit_config(recipe(plan(partner=[str(partner)], method="linear")))["base_model"] == {
        "model": {"path": f"{root}/dpo/merged"}
    }
    assert stage.argv[1:] == (
        "-m", "alphaf_orch.programs.merging.merge_models",
        "--config", f"{root}/rendered/merge_models.yaml", "--mergekit", f"{root}/rendered/mergekit.yaml",
        "--contract", f"{root}/rendered/merge_models_contract.yaml",
    )  # fmt: skip
    assert stage.env == {**PROGRAM_ENV, "PYTHONHASHSEED": "0"}
    assert stage.outputs == (root / "merged",)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}, "another architecture: Qwen2ForCausalLM"),
        ({"hidden_size": 16}, "other shapes: hidden_size 16, the run's has 8"),
        ({"num_key_value_heads": 2, "num_hidden_layers": 2}, "other shapes: num_hidden_layers 2"),
        ({"shapes": SHAPES | {"model.layers.0.mlp.up_proj.weight": (8, 16)}}, "other shapes: model.layers.0.mlp"),
        ({"shapes": {k: v for k, v in SHAPES.items() if "mlp" not in k}}, "other tensors: 1 are in one"),
    ],
)
def test_models_that_cannot_be_merged_are_refused_before_launch(other, said, plan, tmp_path):
    partner = model(tmp_path / "p", **other)
    with pytest.raises(ModelError) as refused:
        plan(partner=[str(partner)])
    assert said in refused.value.message


def test_what_is_handled_is_told(plan, tmp_path):
    shapes = {name: (328, 8) if shape[0] == 320 else shape for name, shape in SHAPES.items() if "head" not in name}
    partner = model(
        tmp_path / "다른 모델", shapes=shapes, dtype="BF16", words={"a": 1, "c": 0}, template="vicuna",
        vocab_size=328, tie_word_embeddings=True,
    )  # fmt: skip
    (partner / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n", "utf-8")
    notes = plan(partner=[str(partner)]).merge.notes
    assert notes[0].startswith("다른 모델 has another vocabulary: 1 of the run's tokens are not in it, 1 of its tokens")
    assert "1 have another id" in notes[0]
    assert notes[1].startswith("다른 모델 has 328 embedding rows, the run's model 320")
    assert notes[2] == "다른 모델 is stored in bfloat16, the run's model in float32"
    assert notes[3] == "the run's model has output weights of its own (untied): so has the result"
    assert "asks the merged model under both" in notes[4]
    assert len(notes) == 6


def test_a_model_that_takes_part_twice_is_refused(plan, tmp_path):
    one = model(tmp_path / "one", marker=1)
    shutil.copytree(one, tmp_path / "two")
    with pytest.raises(ModelError, match="are the same model"):
        plan(partner=[str(one), str(tmp_path / "two")])
    with pytest.raises(ModelError, match="is the base of the merge itself"):
        plan(partner=[str(tmp_path / "원본")])
    with pytest.raises(ModelError, match="is the run's own model"):
        plan(partner=[str(tmp_path / "runs" / "한글 런" / "dpo" / "merged")])
    assert plan(partner=[str(tmp_path / "원본")], method="linear").merge.partners[0].name == "원본"


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}


@pytest.mark.parametrize(
    ("own", "theirs", "note"),
    [
        ({"rope_scaling": None}, {"rope_scaling": {"type": "linear", "factor": 4.0}},
         "has rope_scaling rope_type linear, factor 4.0; the result keeps the run's none"),
        ({"rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}},
         {"rope_scaling": {"type": "yarn", "factor": 2.0}, "rope_theta": 1e4},
         "has rope_scaling rope_type yarn, factor 2.0; the result keeps the run's none"),
        ({"rope_parameters": {"rope_theta": 5e5, **LLAMA3}}, {"rope_scaling": LLAMA3, "rope_theta": 5e5}, None),
        ({"rope_parameters": {"rope_theta": 5e5, **LLAMA3}},
         {"rope_parameters": {"rope_theta": 5e5, **LLAMA3, "factor": 32.0}}, "factor 32.0"),
        ({"rope_theta": 1e4}, {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}},
         "has rope_theta 1000000.0; the result keeps the run's 10000.0"),
        ({"max_position_embeddings": 4096}, {"max_position_embeddings": 32768},
         "has max_position_embeddings 32768; the result keeps the run's 4096"),
        ({"sliding_window": None}, {"sliding_window": 4096},
         "has sliding_window 4096; the result keeps the run's none"),
        ({"sliding_window": 4096, "use_sliding_window": False}, {"sliding_window": None}, None),
        ({"partial_rotary_factor": 0.5}, {"rope_parameters": {"partial_rotary_factor": 0.25}},
         "has partial_rotary_factor 0.25; the result keeps the run's 0.5"),
    ],
)  # fmt: skip
def test_what_a_partner_computes_otherwise_is_told_with_both_values(plan, tmp_path, own, theirs, note):
    file = tmp_path / "runs" / "한글 런" / "dpo" / "merged" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **own}))
    made = plan(partner=str(model(tmp_path / "다른 모델", marker=1, **theirs)))
    notes = [text for text in made.merge.notes if text.startswith("다른 모델") and "the result keeps" in text]
    assert len(notes) == (note is not None), notes
    assert note is None or note in notes[0]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"num_local_experts": 8}, "the model is a mixture of experts"),
        ({"quantization_config": {"quant_method": "awq"}}, "the weights are quantised already (awq)"),
        ({"vision_config": {"depth": 1}}, "this is a model of text and images or sound"),
    ],
)
def test_a_partner_of_another_kind_is_refused(plan, tmp_path, change, what):
    with pytest.raises(ModelError) as caught:
        plan(partner=str(model(tmp_path / "다른 모델", **change)))
    assert caught.value.what.startswith(f"the merge model {tmp_path / '다른 모델'}: {what}")


def test_an_adapter_is_no_partner(plan, tmp_path):
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    with pytest.raises(ModelError, match=r": this is an adapter to org/base, no whole model"):
        plan(partner=str(tmp_path / "lora"))


def test_a_folder_that_is_called_as_a_preset_is_told(plan, tmp_path, monkeypatch):
    model(tmp_path / "eeve", marker=1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        plan(partner="eeve")
    assert caught.value.what == "'eeve' is a preset, and a folder here has that name too"
    assert caught.value.fix.startswith("write ./eeve for the folder")
    assert plan(partner="./eeve").merge.partners[0].path == str(tmp_path / "eeve")


def test_a_partner_that_is_not_here_says_how_to_bring_it(plan, tmp_path):
    with pytest.raises(ModelError) as refused:
        plan(partner="yanolja/EEVE-Korean-Instruct-10.8B-v1.0")
    assert "hf download yanolja/EEVE-Korean-Instruct-10.8B-v1.0" in refused.value.message
    code = model(tmp_path / "code", auto_map={"AutoModelForCausalLM": "modeling_x.X"})
    (code / "modeling_x.py").write_text("")
    with pytest.raises(ModelError, match="runs python code"):
        plan(partner=[str(code)])
    broken = model(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:-5])
    with pytest.raises(ModelError, match="are incomplete"):
        plan(partner=[str(broken)])


def test_the_base_s_vocabulary_must_hold_the_trained_tokens(plan, tmp_path):
    partner = model(tmp_path / "p", marker=1)
    base = model(tmp_path / "base", words={"a": 0})
    with pytest.raises(ConfigError, match="would lose 1 tokens that the run was trained with, such as 'b'"):
        plan(partner=[str(partner)], base=str(base), tokenizer="base")


def test_what_the_fingerprint_depends_on(plan, tmp_path):
    partner, other = model(tmp_path / "p", marker=1), model(tmp_path / "q", marker=2)
    moved = tmp_path / "moved"
    shutil.copytree(partner, moved)

    def of(**merge):
        return plan(**merge).stages[-1].fingerprint

    first = of(partner=[str(partner)])
    assert first == of(partner=str(moved)), "where a model lies changes nothing"
    assert first == of(partner=[str(partner)], method="dare_ties", weight=0.6)
    for change in ({"weight": 0.5}, {"seed": 1}, {"method": "ties"}, {"tokenizer": "union"}, {"base": str(other)}):
        assert first != of(partner=[str(partner)], **change), change
    assert first != of(partner=[str(other)])


def test_the_default_of_eeve_is_the_precedent(eight_gpus, tmp_path):
    scope = Scope((), dry=True, upstream="up", merge=True, merge_alone="dpo")
    made = make_plan(RunConfig(model="eeve"), eight_gpus, tmp_path / "eeve", scope)
    values = recipe(made)
    assert (values["method"], values["weight"], values["density"]) == ("dare_ties", [0.4, 0.6], 0.53)
    assert (values["int8_mask"], values["dtype"]) == (True, "bfloat16")
    assert values["partners"] == ["yanolja/EEVE-Korean-Instruct-10.8B-v1.0"]
    assert values["base"] == "yanolja/EEVE-Korean-10.8B-v1.0"
    named = make_plan(RunConfig(model="eeve", merge={"partner": "qwen"}), eight_gpus, tmp_path / "eeve", scope)
    assert recipe(named)["dtype"] is None, "the default is one whole: it holds for its own partner"


def test_only_a_config_that_names_a_partner_makes_it_part_of_the_chain(eight_gpus, tmp_path):
    def names(**settings):
        made = make_plan(RunConfig(model="eeve", **settings), eight_gpus, tmp_path / "r", Scope(dry=True, merge=True))
        return [stage.name for stage in made.stages], made.stages[-1]

    assert names()[0][-1] == "merge_dpo"
    found, last = names(merge={"partner": "eeve-instruct"})
    assert found[-2:] == ["merge_dpo", "merge_models"]
    assert (
        last.files[tmp_path / "r" / "rendered" / "merge_models_contract.yaml"]
        .values["handoff"]
        .endswith("merge_dpo_contract.yaml")
    )
    sft = names(merge={"partner": "eeve-instruct", "stage": "sft"})[1]
    assert sft.spec["upstream"] != last.spec["upstream"]
    assert sft.files[tmp_path / "r" / "rendered" / "merge_models.yaml"].values["model"] == str(
        tmp_path / "r" / "sft" / "merged"
    )


def test_a_merged_model_moved_away_may_be_made_anew_and_one_that_is_there_not(plan, tmp_path):
    made = plan(partner=[str(model(tmp_path / "p", marker=1))])
    entry = {"state": "done", "fingerprint": "other", "started": "then", "ended": "now", "spec": {}}
    manifest = {"stages": {"merge_models": entry}}
    assert statuses(made, manifest)[-1].state == "new"
    made.stages[-1].outputs[0].mkdir(parents=True)
    assert statuses(made, manifest)[-1].state == "changed"


def test_sweeps_are_read():
    assert parse_sweep(["weight=0.3,0.5", "density=1"]) == {"weight": [0.3, 0.5], "density": [1.0]}
    for wrong, said in (("wieght=1", "did you mean weight?"), ("weight=a", "is not a list of numbers")):
        with pytest.raises(ConfigError) as refused:
            parse_sweep([wrong])
        assert said in refused.value.message


def scored(values):
    metric = Metric(sum(values.values()) / len(values), None, len(values), True)
    result = TaskResult("t", "s", "m", "k", {}, {}, {}, {"acc": metric}, len(values), 1.0, "", {})
    return {"t": Scored(result, {"acc": values}, dict.fromkeys(values, ("A", "A")), {}, 0)}


def test_a_difference_is_only_claimed_where_the_rows_show_one():
    rows = range(60)
    bad = scored({str(i): float(i % 10 == 0) for i in rows})
    good = scored({str(i): float(i % 10 != 0) for i in rows})
    same = scored({str(i): float((i + 1) % 10 != 0) for i in rows})
    choice = choose({"weight-0.3": bad, "weight-0.5": good, "weight-0.7": same}, {"dpo": bad})
    assert choice.best == "weight-0.5"
    told = explained(choice)
    assert "no difference shown" in told[1], "the second is as good"
    assert told[2].startswith("against dpo (0.100): +0.800")
    assert told[2].endswith(": better")
    assert choice.of("weight-0.3").against["dpo"].verdict == "none"


# The sweep and the chain, with stand-ins for mergekit, axolotl and lm-eval.

FAKE = Path(__file__).parents[1] / "fakes" / "fake_tool.py"


def tool(folder):
    python = folder / "가짜 mergekit python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    return python


@pytest.fixture
def swept(tmp_path, tmp_path_factory, monkeypatch):
    """A finished run with two stand-ins: one merges, one evaluates."""
    index = tmp_path_factory.getbasetemp() / "task-index.json"
    fake = Fake(tmp_path / "fake", index)
    monkeypatch.setenv("FAKE_TOOL", str(fake.control))
    monkeypatch.setenv("ALPHAF_TEMPLATES", str(write_tasks(tmp_path / "templates")))
    root = write_run(Path(os.environ["ALPHAF_RUNS"]) / "런", fake.python)
    config = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    config["tools"]["mergekit"] = str(tool(tmp_path))
    (root / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    for name, entry in manifest["stages"].items():
        entry |= {"fingerprint": name, "spec": {}, "started": "t", "seconds": 1.0, "log": f"logs/{name}.log"}
    manifest |= {
        "run": "런", "licence": "Apache-2.0", "base_model": "tiny", "base_revision": None, "alphaf": "0.1.0",
        "machine": {"python": "3.11"},
    }  # fmt: skip
    (root / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    write_model(tmp_path / "파트너", 9)
    return root, fake


SWEEP = ("merge-models", "--run", "런", "--partner", "파트너", "--method", "linear", "--sweep", "weight=0.3,0.5",
         "--task", "my_choice")  # fmt: skip


def test_a_sweep_merges_scores_chooses_and_publishes_without_a_second_merge(swept, alphaf):
    root, fake = swept
    done = alphaf(*SWEEP)
    assert done.exit_code == 0, done.output
    calls = fake.launched()
    assert calls == ["merge_models", "merge_models", "tokenizer", "dpo", "partner", "weight-0.3", "weight-0.5"]
    assert "chosen: weight-0.3" in done.stdout
    assert "no difference shown" in done.stdout
    assert (root / "sweep" / "report.ko.md").is_file()
    source, merged = root / "sweep" / "weight-0.3" / "merged", root / "merged"
    assert (merged / "model.safetensors").samefile(source / "model.safetensors")
    assert not (merged / "README.md").samefile(source / "README.md"), "a card is written again"
    assert "mergekit's card" in (merged / "README.md").read_text(encoding="utf-8")
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    entry = manifest["stages"]["merge_models"]
    assert (entry["state"], entry["chosen_from"]) == ("done", "weight-0.3")
    assert manifest["merge_partners"][0]["model"] == "파트너"
    kept = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))["merge"]
    assert kept["weight"] == 0.3
    again = alphaf(*SWEEP)
    assert again.exit_code == 0, again.output
    assert json.loads(alphaf(*SWEEP, "--json").stdout)["best"] == "weight-0.3"
    assert fake.launched() == []
    plain = alphaf("merge-models", "--run", "런")
    assert plain.exit_code == 0, plain.output
    assert "nothing to do" in plain.stderr
    other = alphaf("merge-models", "--run", "런", "--weight", "0.9")
    assert other.exit_code == 6
    assert f"move {merged} away to merge anew" in other.stderr
    assert alphaf(*SWEEP[:8], "weight=0.1", *SWEEP[9:]).exit_code == 6


def test_a_failed_candidate_does_not_hide_the_others_and_ends_in_an_error(swept, alphaf):
    root, fake = swept
    fake.behave(fail_weights=[0.3])
    done = alphaf(*SWEEP)
    assert done.exit_code == 7
    assert "1 of 2 candidates failed: weight-0.3" in done.stderr
    assert "chosen: weight-0.5" in done.stdout
    assert (root / "merged" / "model.safetensors").samefile(root / "sweep" / "weight-0.5" / "merged/model.safetensors")
    fake.behave(fail_weights=[0.3], **{"weight-0.5": "nan"})
    shutil.rmtree(root / "sweep" / "eval")
    shutil.rmtree(Path(os.environ["ALPHAF_CACHE"]) / "eval")
    worse = alphaf(*SWEEP)
    assert worse.exit_code == 7
    assert "2 of 2 candidates failed" in worse.stderr


def test_a_merged_model_is_asked_under_its_own_and_its_partner_s_template(swept, alphaf):
    root, fake = swept
    write_model(root / "merged", 5)
    other = root / "merged" / "partner_template"
    write_model(other, 5)
    (other / "chat_template.jinja").write_text("vicuna, as a test has it\n")
    (other / "generation_config.json").write_text('{"eos_token_id": [4, 7]}')
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    manifest["stages"]["merge_models"] = {"state": "done"}
    (root / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    done = alphaf("eval", "--run", "런", "--stages", "merged", "--task", "my_choice")
    assert done.exit_code == 0, done.output
    calls = {call["stage"]: call["config"] for call in fake.calls()}
    assert list(calls) == ["tokenizer", "merged", "merged_partner_template"]
    places = [calls[name]["model_args"]["tokenizer"] for name in list(calls)[1:]]
    assert places == [str(root / "sft" / "merged"), str(other)]
    assert calls["merged"]["model_args"]["pretrained"] == calls["merged_partner_template"]["model_args"]["pretrained"]
    assert calls["merged_partner_template"]["gen_kwargs"] == {"eos_token_id": [4, 7]}
    assert "gen_kwargs" not in calls["merged"]
    kept = [json.loads((root / "eval" / name / "my_choice.json").read_text("utf-8")) for name in list(calls)[1:]]
    assert kept[0]["key"] != kept[1]["key"]
    assert kept[0]["prompt"]["tokenizer_identity"] != kept[1]["prompt"]["tokenizer_identity"]


def test_a_dry_sweep_launches_and_writes_nothing(swept, alphaf):
    root, fake = swept
    brief = alphaf(*SWEEP, "--dry-run").stdout
    assert "weight: 0.3  # yours" not in brief and re.search(r"weight-0.3 +│ 1 to do", brief), brief
    done = alphaf(*SWEEP, "--dry-run", "--full")
    assert done.exit_code == 0, done.output
    assert "weight: 0.3  # yours" in done.stdout
    tried = json.loads(alphaf(*SWEEP, "--dry-run", "--json").stdout)["candidates"]
    assert [each["values"] for each in tried] == [{"weight": 0.3}, {"weight": 0.5}]
    assert fake.launched() == []
    assert not (root / "sweep").exists()


def test_the_merge_is_part_of_a_run_whose_config_names_a_partner(alphaf, tmp_path, monkeypatch):
    control = tmp_path / "control.json"
    control.write_text("{}")
    monkeypatch.setenv("FAKE_TOOL", str(control))
    python = tool(tmp_path)
    partner = tmp_path / "파트너"
    write_weights_like_the_stand_in(partner)
    config = tmp_path / "설정.yaml"
    tools = f"tools: {{axolotl: '{python}', dpo: '{python}', mergekit: '{python}'}}\ngpus: 0\n"
    config.write_text(f"{tools}merge: {{partner: 파트너, method: ties}}\n", "utf-8")
    done = alphaf("run", "--config", str(config), "--model", "tiny")
    assert done.exit_code == 0, done.output
    calls = [json.loads(line)["stage"] for line in control.with_name("calls.jsonl").read_text().splitlines()]
    assert calls[-2:] == ["merge_dpo", "merge_models"]
    root = Path(os.environ["ALPHAF_RUNS"]) / "tiny"
    assert f"model: {root}/merged" in done.stdout
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    stages = manifest["stages"]
    assert stages["merge_models"]["spec"]["upstream"] == stages["merge_dpo"]["fingerprint"]
    assert yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))["merge"]["partner"] == [str(partner)]
    again = alphaf("run", "--run", "tiny")
    assert again.exit_code == 0
    assert "nothing to do" in again.stderr
    earlier = json.loads(json.dumps(manifest))
    earlier["stages"]["merge_models"] |= {"fingerprint": "0" * 64}
    earlier["stages"]["merge_models"]["spec"]["partners"] = [f"local:{'0' * 32}"]
    (root / "manifest.json").write_text(json.dumps(earlier), encoding="utf-8")
    refused = alphaf("run", "--run", "tiny")
    assert refused.exit_code == 6
    assert "(an earlier version told models apart by the ends of their weight files only)" in refused.stderr
    assert f"move {root}/merged away to merge anew" in refused.stderr
    (root / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (partner / "config.json").write_text('{"changed": 1}')
    refused = alphaf("run", "--run", "tiny")
    assert "earlier version" not in refused.stderr
    assert refused.exit_code == 6
    assert "merge_models of run tiny was made from other inputs" in refused.stderr


def write_weights_like_the_stand_in(folder):
    """Write a partner of the shape that fake_tool gives every model."""
    from fake_tool import safetensors

    safetensors(folder / "model.safetensors")
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_text("{}")
    (folder / "config.json").write_text('{"not_the_base": 1}')


def test_the_paths_of_a_merge_are_the_run_s():
    assert RunPaths(Path("/r")).merged_models == Path("/r/merged")
    assert read_settings({"partner": "a, b"}, {}, "here").partner == ("a", "b")


@pytest.mark.parametrize(("file", "harm"), [("model.safetensors", cut), ("config.json", cut), ("config.json", empty)])
def test_a_damaged_model_of_the_run_is_planned_as_one_that_is_not_there_yet(file, harm, tmp_path):
    """It is made anew before the merge; of the base model's files the shape is known all the same."""
    fake_tool.safetensors(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architectures": []}', encoding="utf-8")
    harm(tmp_path / file)
    settings = read_settings({"partner": "x"}, {}, "here")
    base = MergeModel("base", "base", None, None, "mit", here=False)
    found = read_inputs(settings, "sft", tmp_path, (), base)
    assert (found.own, found.trained) == (None, False)
