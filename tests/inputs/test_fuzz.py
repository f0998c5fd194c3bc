"""Every parser of what others wrote, over generated inputs: it returns, or says what is wrong in an error of its own.

`make fuzz` gives each of them ALPHAF_FUZZ inputs from a seed that it prints; the tests give them some dozens, the same
ones each time.
"""

import itertools
import json
import os
import tempfile
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is of the dev extra")
import yaml  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from rich.console import Console  # noqa: E402

from alphaf_orch.core.errors import AlphafError  # noqa: E402
from alphaf_orch.core.names import check_run_name  # noqa: E402
from alphaf_orch.core.progress import StageLine, new_metrics  # noqa: E402
from alphaf_orch.core.record import read_json, read_manifest  # noqa: E402
from alphaf_orch.core.values import parse_value  # noqa: E402
from alphaf_orch.core.values_template import TemplateError, fill  # noqa: E402
from alphaf_orch.core.yaml_files import parse_document  # noqa: E402
from alphaf_orch.evaluation.lm_eval_output import read_metrics, read_output, read_samples  # noqa: E402
from alphaf_orch.evaluation.tasks.task_yaml import check_task, read_task_file  # noqa: E402
from alphaf_orch.inputs.data import check_file  # noqa: E402
from alphaf_orch.inputs.model_files import (  # noqa: E402
    added_tokens,
    adds_bos,
    read_template,
    read_vocabulary,
    special_tokens,
    split_card,
)
from alphaf_orch.inputs.own_model import generic_preset  # noqa: E402
from alphaf_orch.inputs.safetensors_header import read_header  # noqa: E402
from alphaf_orch.judging.prompts import load_prompts  # noqa: E402
from alphaf_orch.judging.refusals import message  # noqa: E402
from alphaf_orch.judging.reply import UnreadableError, parse_verdict  # noqa: E402
from alphaf_orch.judging.verdicts import read_rows  # noqa: E402
from alphaf_orch.programs.formats.json_rows import NotRows, json_rows  # noqa: E402
from alphaf_orch.programs.formats.recognise import Asked, canonical  # noqa: E402
from alphaf_orch.programs.json_lines import whole_rows  # noqa: E402
from alphaf_orch.programs.row_keys import RowError  # noqa: E402
from alphaf_orch.runs.launch import said_of  # noqa: E402
from alphaf_orch.runs.watch.findings import Health  # noqa: E402
from alphaf_orch.settings.config import build_config  # noqa: E402
from alphaf_orch.settings.keys import check_section, parse_set  # noqa: E402
from alphaf_orch.settings.merge import parse_sweep, read_settings  # noqa: E402
from alphaf_orch.settings.ranges import DPO, SFT  # noqa: E402

COUNT = int(os.environ.get("ALPHAF_FUZZ", "15"))  # inputs for each parser
FOLDERS = (Path(__file__).parents[2] / "templates" / "models",)
fuzzed = settings(
    max_examples=COUNT,
    deadline=None,
    database=None,
    derandomize=COUNT < 1000,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
NUMBERS = itertools.count()

words = st.sampled_from(
    (
        "messages", "conversations", "prompt", "chosen", "rejected", "role", "content", "from", "value", "user",
        "assistant", "system", "instruction", "input", "output", "history", "text", "train", "weight", "tools", "label",
        "completions", "row", "row_idx", "turns", "id", "A", "B", "C", "tie", "winner", "reason", "model", "sft", "dpo",
        "data", "gpus", "lora_r", "learning_rate", "max_steps", "tiny", "eos_token", "chat_template", "stages",
        "format", "results", "n-samples", "doc", "doc_id", "filter", "acc,none", "metric", "task", "dataset_path",
        "metadata", "include", "tag", "vocab", "added_tokens", "single", "processors", "금리란?", "가나다", "[/b]", "�",
        '\x00', "..", "~", "{{", "}}", "''",
    )
)  # fmt: skip
texts = words | st.text(max_size=12) | st.text(alphabet="[]{}:,-&*!|>'\"#%@`\n\t \\0129.eE+x<~/\ud800가", max_size=30)
numbers = st.integers() | st.floats() | st.sampled_from((0, -0.0, 2**63, 10**400, float("nan"), float("inf"), -1))
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
mappings = st.dictionaries(texts, values, max_size=5)
turns = st.lists(
    st.dictionaries(st.sampled_from(("role", "content", "from", "value", "train", "weight")), leaves), max_size=4
)
rows = st.dictionaries(words, turns | values, max_size=5)
keys = st.sampled_from(
    sorted({*SFT, *DPO, "special_tokens", "plugins", "eot_tokens", "datasets", "lora_target_modules"})
)
raw = st.binary(max_size=80) | texts.map(lambda text: text.encode("utf-8", "surrogatepass"))


def dumped(value: Any) -> str:
    return json.dumps(value, default=str)


json_texts = values.map(dumped) | texts | st.builds(lambda a, b: dumped(a)[: b % 40], values, st.integers(0, 40))
json_lines = st.lists(json_texts | rows.map(dumped), max_size=4).map("\n".join)


@pytest.fixture(scope="module")
def place():
    """Return a function that gives a new file's name: what is known of files goes by their names and times."""
    with tempfile.TemporaryDirectory() as folder:

        def new(name: str, content: str | bytes) -> Path:
            path = Path(folder) / str(next(NUMBERS)) / name
            path.parent.mkdir()
            data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
            path.write_bytes(data)
            return path

        yield new


def told(call: Callable[[], object], *errors: type[BaseException]) -> None:
    """Call; an error that is told to the user as one is an answer too, if it says anything."""
    try:
        call()
    except (AlphafError, *errors) as error:
        assert str(error)
        str(error).encode("utf-8", "backslashreplace")


@fuzzed
@given(texts | mappings.map(lambda value: yaml.safe_dump(value, allow_unicode=True)) | json_texts)
def test_yaml(text):
    told(lambda: parse_document(text, "f"))


@fuzzed
@given(st.tuples(keys | texts, texts | leaves.map(str) | json_texts))
def test_options(pair):
    parse_value(pair[1])
    told(lambda: parse_set([f"{pair[0]}={pair[1]}", f"dpo.{pair[0]}={pair[1]}"], default="sft"))
    told(lambda: parse_sweep([f"{pair[0]}={pair[1]}", f"weight={pair[1]}"]))


@fuzzed
@given(st.dictionaries(st.sampled_from(("model", "data", "datasets", "gpus", "sft", "dpo", "merge", "tools")), values))
def test_a_config(found):
    told(lambda: build_config(found, "f"))


@fuzzed
@given(st.dictionaries(keys, values, max_size=4), st.sampled_from(("sft", "dpo")))
def test_recipe_keys(found, section):
    told(lambda: check_section(section, found, "f"))


@fuzzed
@given(mappings, mappings)
def test_a_merge(found, default):
    told(lambda: read_settings({"partner": "tiny", **found}, default, "f"))


@fuzzed
@given(texts)
def test_a_run_name(name):
    told(lambda: check_run_name(name))


@fuzzed
@given(rows | values, st.sampled_from(("chat", "preference")))
def test_a_row(row, want):
    told(lambda: canonical(row, Asked(want, {}, None)), RowError)


@fuzzed
@given(json_lines | raw)
def test_rows_of_json(content):
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    told(lambda: list(json_rows(BytesIO(data))[1]), NotRows)


@fuzzed
@given(json_lines | raw, st.sampled_from(("chat", "preference")))
def test_a_file_of_rows(place, content, want):
    file = place("d.jsonl", content)
    told(lambda: check_file(file, want))


@fuzzed
@given(raw | st.dictionaries(texts, st.fixed_dictionaries({"dtype": leaves, "shape": values, "data_offsets": values})))
def test_a_header_of_weights(place, content):
    text = content if isinstance(content, bytes) else dumped(content).encode()
    file = place("model.safetensors", len(text).to_bytes(8, "little") + text)
    said = read_header(file, file.stat().st_size, 0)
    assert said


MODEL = {
    "config.json": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 8,
        "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 8, "num_key_value_heads": 2, "head_dim": 4,
        "rope_theta": 1.0, "rope_parameters": {}, "max_position_embeddings": 8, "eos_token_id": 1, "auto_map": {},
        "num_experts": 0, "text_config": {}, "quantization_config": None,
    },
    "tokenizer.json": {"model": {"vocab": {}}, "added_tokens": [{"content": "</s>", "id": 1}], "post_processor": {}},
    "tokenizer_config.json": {"eos_token": "</s>", "pad_token": "<p>", "added_tokens_decoder": {},
                              "chat_template": "x"},
    "generation_config.json": {"eos_token_id": 1},
    "special_tokens_map.json": {"eos_token": "</s>"},
    "added_tokens.json": {"<x>": 3},
    "vocab.json": {"a": 1},
}  # fmt: skip


@fuzzed
@given(st.sampled_from(sorted(MODEL)), st.data())
def test_the_files_of_a_model(place, broken, data):
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(MODEL[broken])), values, max_size=3) | mappings)
    folder = place("README.md", "---\nlicense: mit\n---\n").parent
    for name, found in MODEL.items():
        text = dumped({**found, **changed} if name == broken else found)
        (folder / name).write_text(text, encoding="utf-8")
    for look in (read_vocabulary, added_tokens, special_tokens, adds_bos, read_template):
        told(lambda look=look: look(folder))
    told(lambda: generic_preset(str(folder), FOLDERS, {"HF_HOME": "/nowhere"}))


@fuzzed
@given(texts | mappings.map(lambda found: f"---\n{yaml.safe_dump(found)}---\nx"))
def test_a_model_s_card(text):
    told(lambda: split_card(text), yaml.YAMLError)


PIECES = ("{{", "}}", "{%", "%}", "a", "|yaml", "if", "for", "'", "(", "*", " ")


@fuzzed
@given(texts | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_a_template(text):
    told(lambda: fill(text, (("yaml", str),), {"a": 1}), TemplateError)


@fuzzed
@given(json_texts | st.builds(lambda a, b, c: f"{a}{b}{c}", texts, json_texts, texts))
def test_a_verdict(reply):
    told(lambda: parse_verdict(reply, "winner", ("A", "B", "tie")), UnreadableError)
    message(reply)


@fuzzed
@given(json_lines)
def test_kept_verdicts(place, content):
    file = place("verdicts.jsonl", content + "\n")
    told(lambda: list(read_rows(file)))


@fuzzed
@given(json_lines | raw)
def test_prompts(place, content):
    file = place("p.jsonl", content)
    told(lambda: load_prompts(str(file), ()))


LOG = (
    "Traceback (most recent call last):", '  File "x.py", line 1, in f', "ValueError: x", "error: x", "  where: y",
    "  next:  z", "[rank0]: RuntimeError: NCCL", "torch.cuda.OutOfMemoryError: CUDA out of memory", "exitcode : -9",
    "The above exception was the direct cause of the following exception:", "Root Cause (first observed failure):",
    "[0]:", "  rank      : 0 (local_rank: 0)", "$ accelerate launch", "died with <Signals.SIGKILL: 9>",
)  # fmt: skip


@fuzzed
@given(st.lists(st.sampled_from(LOG) | texts | json_texts, max_size=14))
def test_a_trainer_s_log(lines):
    said_of(lines)
    whole_rows("\n".join(lines))


@fuzzed
@given(st.dictionaries(st.sampled_from(("task", "dataset_path", "dataset_kwargs", "metadata", "metric_list", "include",
       "tag", "output_type", "doc_to_text", "doc_to_target", "test_split", "group")), values))  # fmt: skip
def test_a_task(place, found):
    file = place("t.yaml", yaml.safe_dump(found, allow_unicode=True))
    told(lambda: check_task(read_task_file(file)))


@fuzzed
@given(values, json_lines, st.dictionaries(st.sampled_from(("acc,none", "acc_stderr,none", "alias")), values))
def test_what_lm_eval_wrote(place, more, samples, scores):
    found = {"results": {"t": scores}, "n-samples": {"t": {"effective": 1}}, **(more if isinstance(more, dict) else {})}
    file = place("results_x.json", dumped(found if isinstance(more, dict | None) else more))
    (file.parent / "samples_t_x.jsonl").write_text(samples, encoding="utf-8", errors="surrogatepass")
    output = read_output(file.parent)
    if output is not None:
        told(lambda: read_metrics(output, "t", "acc"))
        told(lambda: read_samples(output, "t", {}))


@fuzzed
@given(json_texts | st.fixed_dictionaries({"format": st.just(1), "stages": values}).map(dumped) | raw)
def test_a_manifest(place, content):
    file = place("manifest.json", content)
    told(lambda: read_manifest(file))
    read_json(file)


METRICS = ("loss", "step", "max_steps", "time", "grad_norm", "learning_rate", "tokens_per_s", "train_loss",
           "non_finite", "fp16", "rewards/chosen", "rewards/margins", "rewards/accuracies")  # fmt: skip
odd = numbers | values | st.lists(st.sampled_from(METRICS))


@fuzzed
@given(st.dictionaries(st.sampled_from(METRICS), odd, max_size=5), st.integers(1, 25), json_lines)
def test_the_metrics_of_a_training(place, row, times, more):
    """A whole window of a row, and others between."""
    file = place("sft.jsonl", f"{dumped({'loss': 0.5} | row)}\n" * times + more + "\n")
    health = Health()
    found, _ = new_metrics(file, 0)
    assert len(found) >= times
    for each in found:
        health.add(each)
    line = StageLine(Console(file=StringIO()), "sft", file.with_name("none"), file, verbose=False)
    line._metrics = file
    line.poll()
    assert line.line()
