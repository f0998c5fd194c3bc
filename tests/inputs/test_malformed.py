"""Malformed inputs of every kind: each is refused in time, with its message, its place and its exit code."""

import json
import os
import signal
import socket
import struct
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import zero_weights
from click.testing import CliRunner

from alphaf_orch.cli.main import main
from alphaf_orch.programs import lines

# Ours: each of them ends in a second; a machine with twenty others at work takes longer.
LIMIT_S = 60
ROW = {"messages": [{"role": "user", "content": "금리란?"}, {"role": "assistant", "content": "돈의 값입니다."}]}
OK = json.dumps(ROW, ensure_ascii=False).encode()
TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 10)) for n in range(9)
)
MERGES = b"a: &a {k: 1}\n" + b"".join(
    b"%c: &%c\n  <<: [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 10)) for n in range(9)
)


class Case(NamedTuple):
    """What is put where, what is called, and what must be said of it."""

    name: str
    put: bytes | Callable[[Path], None]
    code: int
    what: str
    where: str


def config(name: str, content: bytes, what: str, where: str = "c.yaml", code: int = 2) -> Case:
    return Case(name, content, code, what, where)


def fifo(place: Path) -> None:
    os.mkfifo(place)


def sock(place: Path) -> None:
    # A socket's address has 108 bytes: bound by its name in its own folder.
    here = Path.cwd()
    os.chdir(place.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(place.name)
    os.chdir(here)


def link(target: str) -> Callable[[Path], None]:
    return lambda place: place.symlink_to(target)


def sparse(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(1 << 40)


CONFIGS = (
    config("control", b"model: tiny\nsft: a\x01b\n", "the control character U+0001", "c.yaml line 2"),
    config("nul", b"model: ti\0ny\n", "the control character U+0000", "c.yaml line 1"),
    config("escaped-nul", b'model: tiny\ndata: ["a\\0b"]\n', "a NUL character", "c.yaml line 2"),
    config("utf-16", "model: tiny\n".encode("utf-16"), "not UTF-8: byte 0xff", "c.yaml line 1, byte 0"),
    config("cp949", "model: tiny\n# 가나\n".encode("cp949"), "not UTF-8: byte 0xb0", "c.yaml line 2, byte 14"),
    config("flow", b"sft: " + b"[" * 100_000, "it nests more than 50 levels deep", "c.yaml line 1"),
    config("block", b"sft:\n " + b"- " * 20_000 + b"a\n", "it nests more than 50 levels deep", "c.yaml line 2"),
    config("indent", b"".join(b" " * n + b"a:\n" for n in range(2000)), "it nests more than 50", "c.yaml line 51"),
    config("self", b"model: tiny\nsft: &a [*a]\n", "an alias that holds itself", "c.yaml line 2"),
    config("laughs", BOMB + b"model: tiny\n", "stands for more than 100,000 values, by its aliases", "c.yaml line"),
    config("merges", MERGES + b"model: tiny\n", "stands for more than 100,000 values, by its aliases", "c.yaml line"),
    config("digits", b"gpus: " + b"9" * 5000 + b"\n", "a number of 5,000 digits", "c.yaml line 1"),
    config("hex", b"gpus: 0x" + b"f" * 90 + b"\n", "has more than 64 bits", "c.yaml line 1"),
    config("base-60", b"gpus: " + b"1:" * 4000 + b"1\n", "a number of 8,001 digits", "c.yaml line 1"),
    config("int-tag", b"gpus: !!int x\n", "'x' is no int of YAML", "c.yaml line 1"),
    config("bool-tag", b"gpus: !!bool x\n", "'x' is no bool", "c.yaml line 1"),
    config("date", b"model: 2001-13-45\n", "'2001-13-45' is no timestamp", "c.yaml line 1"),
    config("python", b"model: !!python/object/apply:os.system [x]\n", "could not determine a constructor", " line 1"),
    config("twice", b"model: tiny\nsft: {}\nmodel: eeve\n", "key model is given twice, first on line 1", " line 3"),
    config("two", b"model: tiny\n---\nmodel: eeve\n", "but found another document", "c.yaml line 2"),
    config("rich", b"model: tiny\n'[/b]': 1\n", "unknown key [/b]", "c.yaml line 2, key [/b]"),
    config("int-key", b"model: tiny\nsft: {1: 2}\n", "sft.1", "c.yaml line 2, key sft.1"),
    config("texts", b"model: tiny\nsft: {eot_tokens: [5]}\n", "eot_tokens has 5, which is no text", "line 2, key sft"),
    Case("fifo", fifo, 2, "the config is not a file, but a pipe", "c.yaml"),
    Case("socket", sock, 2, "the config is not readable: it is no file", "c.yaml"),
    Case("folder", Path.mkdir, 2, "the config is not a file, but a folder", "c.yaml"),
    Case("zeros", link("/dev/zero"), 2, "the config is not a file, but a device", "c.yaml"),
    Case("circle", lambda place: place.symlink_to(place), 2, "its links lead in a circle", "c.yaml"),
    Case("dangling", link("없음"), 2, "a link that leads to nothing", "c.yaml"),
    Case("terabyte", sparse, 2, "too large: it has 1,099,511,627,776 bytes", "c.yaml"),
)
DATA = (
    Case("nested", b'{"messages":' + b"[" * 100_000, 3, "invalid JSON", "d.jsonl line 1"),
    Case("nested-meta", OK[:-1] + b',"meta":' + b"[" * 5000 + b"]" * 5000 + b"}", 3, "recursion", "d.jsonl line 1"),
    Case("nested-text", json.dumps({"messages": "[" * 100_000}).encode(), 3, "begins like JSON", "d.jsonl line 1"),
    Case("digits", OK[:-1] + b',"meta":' + b"9" * 5000 + b"}", 3, "Exceeds the limit", "d.jsonl line 1"),
    Case("half", OK.replace("금".encode(), b"\\ud83d"), 3, "half", "d.jsonl line 1"),
    Case("long", OK + b"\n" + b"x" * (2 << 20), 3, "the line is longer than 1 MiB", "d.jsonl line 2"),
    Case("nuls", b"\0" * 200, 3, "invalid JSON: Expecting value (column 1)", "d.jsonl line 1"),
    Case("terabyte", sparse, 3, "the file has a hole: from byte 0 on", "d.jsonl"),
    Case("zeros", link("/dev/zero"), 3, "is a device, not a file", "d.jsonl"),
    Case("kernel", link("/proc/self/mem"), 3, "the kernel's own files", "d.jsonl"),
    Case("socket", sock, 3, "is a socket, not a file", "d.jsonl"),
)
WEIGHTS = (
    ("no-offsets", {"a": {"dtype": "F32", "shape": [2]}}, b"", "tensor 'a' has no data_offsets"),
    ("texts", {"a": {**TENSOR, "data_offsets": ["0", "8"]}}, bytes(8), "tensor 'a' has no data_offsets"),
    ("dtype", {"a": {**TENSOR, "dtype": []}}, bytes(8), "tensor 'a' has no dtype"),
    ("shape", {"a": {**TENSOR, "shape": [[1]]}}, bytes(8), "tensor 'a' has no shape"),
    ("mismatch", {"a": {**TENSOR, "shape": [3]}}, bytes(8), "of F32 [3] cannot have 8 bytes"),
    ("overlap", {"a": TENSOR, "b": TENSOR}, bytes(8), "not behind the one before it (8)"),
    ("cut", {"a": TENSOR}, bytes(4), "cut short"),
    ("long", {"a": TENSOR}, bytes(9), "too long"),
    ("list", [1], b"", "the header is no JSON object"),
)
CONFIG_KEYS = (
    ("num_attention_heads", 0, "greater than or equal to 1"),
    ("num_hidden_layers", -1, "greater than or equal to 1"),
    ("hidden_size", 10**4000, "less than or equal to 2147483647"),
    ("vocab_size", "x", "valid integer"),
    ("num_key_value_heads", {"a": 1}, "valid"),
    ("max_position_embeddings", True, "valid integer"),
    ("architectures", 5, "valid list"),
    ("rope_parameters", "x", "valid dictionary"),
    ("rope_theta", "x", "valid number"),
    ("auto_map", 5, "valid dictionary"),
    ("eos_token_id", [[1]], "valid"),
    ("model_type", "\ud800", "half a surrogate pair"),
)
INDEX = "model.safetensors.index.json"
OTHER_FILES = (
    ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "a"}}}, "added_tokens_decoder.x"),
    ("tokenizer_config.json", {"chat_template": [5]}, "chat_template"),
    ("tokenizer.json", {"model": {"vocab": {"a": []}}}, "model.vocab"),
    ("tokenizer.json", {"added_tokens": [{}]}, "added_tokens.0.content"),
    ("tokenizer.json", {"post_processor": {"processors": [1]}}, "post_processor.processors.0"),
    ("generation_config.json", {"eos_token_id": {}}, "eos_token_id"),
    (
        "model.safetensors.index.json",
        {"weight_map": {"a": "../../../etc/passwd"}},
        "weight_map.a: is no plain file name",
    ),
    ("model.safetensors.index.json", {"weight_map": {"a": "/etc/passwd"}}, "weight_map.a: is no plain file name"),
    ("model.safetensors.index.json", {"weight_map": {"a": 5}}, "weight_map.a"),
)
TEMPLATES = (
    ("loops", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}" * 3, "2 seconds"),
    ("memory", "{{ 'x' * 10**10 }}", "512 MiB of memory"),
    ("doubling", "{% set n = namespace(x='aa') %}{% for i in range(64) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "MiB"),
    ("width", "{{ '%99999999999d' % 1 }}", "512 MiB of memory"),
    ("recursion", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "calls itself without an end"),
    ("nesting", "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nests too deep"),
    ("blocks", "{% for a in [1] %}" * 60 + "{% endfor %}" * 60, "cannot be read"),
    ("escape", "{{ cycler.__init__.__globals__.os.system('touch HIT') }}", "is unsafe"),
    ("range", "{% for i in range(10**9) %}{% endfor %}", "Range too big"),
    ("digits", "{{ " + "9" * 5000 + " }}", "cannot be read"),
    ("syntax", "{% if %}", "cannot be read"),
)  # fmt: skip


class Overtime(BaseException):
    """It does not end."""


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Return a function that calls `alphaf` here and checks what it says, in time."""
    monkeypatch.chdir(tmp_path)

    def late(*_: object) -> None:
        raise Overtime

    def check(args: list[str], code: int, what: str, where: str) -> None:
        before = signal.signal(signal.SIGALRM, late)
        signal.alarm(LIMIT_S)
        try:
            result = CliRunner().invoke(main, args, catch_exceptions=False)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        assert result.exit_code == code, result.output
        assert result.stderr.startswith("error: ")
        said, _, places = result.stderr.partition("\n  where: ")
        place, _, fix = places.partition("\n  next:  ")
        assert what in said, result.stderr
        assert where in place, result.stderr
        assert len(fix.strip()) > 3
        assert len(result.stderr) < 5000, "too long to be read"
        assert not list(tmp_path.rglob("HIT"))
        assert not Path(os.environ["ALPHAF_RUNS"]).exists(), "something was written"

    return check


@pytest.fixture
def model(tmp_path) -> Path:
    """Return a whole small model's folder, to be broken."""
    folder = tmp_path / "m"
    folder.mkdir()
    sizes = {
        "num_hidden_layers": 2,
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "vocab_size": 8,
    }
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": False, **sizes}
    tokens = [{"content": "<s>", "id": 0}, {"content": "</s>", "id": 1}, {"content": "<pad>", "id": 2}]
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "chat_template": "{{ messages }}</s>"}
    put(folder / "config.json", config)
    put(folder / "tokenizer.json", {"model": {"vocab": {}}, "added_tokens": tokens})
    put(folder / "tokenizer_config.json", named)
    zero_weights.write(
        folder / "model.safetensors",
        {"model.embed_tokens.weight": ("F32", (8, 8)), "lm_head.weight": ("F32", (8, 8))},
    )
    return folder


def put(file: Path, value: object) -> None:
    file.write_text(json.dumps(value), encoding="utf-8")


def laid(case: Case, place: Path) -> None:
    if isinstance(case.put, bytes):
        place.write_bytes(case.put)
    else:
        case.put(place)


@pytest.mark.parametrize("case", CONFIGS, ids=lambda case: case.name)
def test_a_config(refused, tmp_path, case):
    laid(case, tmp_path / "c.yaml")
    refused(["plan", "--config", "c.yaml"], case.code, case.what, case.where)


@pytest.mark.parametrize("case", DATA, ids=lambda case: case.name)
@pytest.mark.parametrize("option", ["--data"])
def test_data(refused, tmp_path, monkeypatch, case, option):
    monkeypatch.setattr(lines, "LINE_BYTES", 1 << 20)
    laid(case, tmp_path / "d.jsonl")
    refused(["plan", "--model", "tiny", option, "d.jsonl"], case.code, case.what, case.where)


@pytest.mark.parametrize(("name", "header", "rest", "what"), WEIGHTS, ids=[each[0] for each in WEIGHTS])
def test_a_header_of_weights(refused, model, name, header, rest, what):
    text = json.dumps(header).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + rest)
    refused(["sft", "--model", "./m", "--data", "sample"], 4, "the weights of m are incomplete", what)


@pytest.mark.parametrize(("key", "value", "what"), CONFIG_KEYS, ids=[each[0] for each in CONFIG_KEYS])
def test_a_key_of_config_json(refused, model, key, value, what):
    file = model / "config.json"
    put(file, {**json.loads(file.read_text(encoding="utf-8")), key: value})
    refused(["plan", "--model", "./m"], 4, what, "config.json, key ")


@pytest.mark.parametrize(("name", "values", "what"), OTHER_FILES)
def test_another_file_of_a_model(refused, model, name, values, what):
    file = model / name
    if name.endswith("index.json"):
        (model / "model.safetensors").unlink()
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    put(file, {**before, **values})
    refused(["plan", "--model", "./m"], 4, what, f"{name}, key {what.partition(':')[0].split('.')[0]}")


@pytest.mark.parametrize("depth", [100_000])
@pytest.mark.parametrize(
    ("name", "what"),
    [("config.json", "it nests too deep to be read"), ("adapter_config.json", "this is an adapter, no whole model")],
)
def test_json_that_nests_too_deep(refused, model, name, what, depth):
    (model / name).write_bytes(b'{"a":' * depth + b"1" + b"}" * depth)
    refused(["plan", "--model", "./m"], 4, what, name)


@pytest.mark.parametrize(("name", "text", "what"), TEMPLATES, ids=[each[0] for each in TEMPLATES])
def test_a_model_s_own_chat_template(refused, model, name, text, what):
    (model / "chat_template.jinja").write_text(text, encoding="utf-8")
    args = ["plan", "--model", "./m", "--set", "chat_template=tokenizer_default"]
    refused(args, 4, what, "chat_template.jinja")


def test_a_chat_template_of_the_user_s_is_his_setting(refused, tmp_path):
    (tmp_path / "x.jinja").write_text("{{ 'x' * 10**10 }}", encoding="utf-8")
    args = ["plan", "--model", "tiny", "--set", "chat_template=jinja", "--set", "chat_template_jinja=x.jinja"]
    refused(args, 2, "512 MiB of memory", "x.jinja")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: {% for i in range(9) %}{{ i }}{% endfor %}\n", "it holds a program (For), not values alone"),
        ("a: {{ cycler.__init__.__globals__.os.system('touch HIT') }}\n", "it holds a program (Call)"),
        ("a: {{ 'x' * 10**10 }}\n", "it holds a program (Mul)"),
        ("{% include '/etc/passwd' %}\n", "it holds a program (Include)"),
        ("a: {{ " + "(" * 5000 + "1" + ")" * 5000 + " }}\n", "it nests too deep"),
        ("a: {{ sequence_len.__class__ | yaml }}\n", "unsafe"),
    ],
)
def test_a_recipe_from_elsewhere_runs_nothing(refused, tmp_path, monkeypatch, text, what):
    (tmp_path / "t" / "dpo").mkdir(parents=True)
    (tmp_path / "t" / "dpo" / "dpo.yaml.j2").write_text(text, encoding="utf-8")
    monkeypatch.setenv("ALPHAF_TEMPLATES", "t")
    refused(["plan", "--model", "tiny"], 2, what, "dpo.yaml.j2")


@pytest.mark.parametrize(
    ("args", "code", "what"),
    [
        (["plan", "--model", "tiny", "--run", "가" * 86], 2, "the run name has 258 bytes, and at most 220 are taken"),
        (["plan", "--model", "tiny", "--run", "a\u202eb"], 2, "is not a run name"),
        (["plan", "--model", "tiny", "--run", "a\nb"], 2, "is not a run name"),
        (["plan", "--model", "tiny", "--run", "[/b]"], 2, "'[/b]' is not a run name"),
        (["plan", "--run", "r", "--model", "가" * 86], 2, "the path is too long"),
        (["plan", "--model", "tiny", "--data", "나" * 100], 2, "the path is too long"),
        (["plan", "--model", "tiny", "--config", "다" * 100], 2, "its name is too long"),
        (["plan", "--model", "tiny", "--data", "a/" * 2500], 2, "the path is too long"),
        (["plan", "--model", "tiny", "--data", "~nobody-here/x"], 3, "no such file"),
        (["plan", "--model", "tiny", "--run", "a\udcffb"], 2, "is not UTF-8"),
        (["plan", "--model", "tiny", "--set", "lora_r=" + "[" * 3000], 2, "lora_r"),
        (["plan", "--model", "tiny", "--set", "lora_r=" + "9" * 5000], 2, "lora_r"),
        (["plan", "--model", "tiny", "--set", "lora_r=!!int x"], 2, "lora_r"),
        (["plan", "--model", "tiny", "--set", "lora_r=true"], 2, "lora_r is True"),
        (["plan", "--model", "tiny", "--set", "learning_rate=-0.0"], 2, "learning_rate is -0.0"),
        (["plan", "--model", "tiny", "--set", "micro_batch_size=0"], 2, "micro_batch_size is 0"),
        (["plan", "--model", "tiny", "--set", "special_tokens.eos_token=5"], 2, "special_tokens has 5"),
    ],
)
def test_a_name_or_an_option(refused, args, code, what):
    refused(args, code, what, "")


@pytest.mark.parametrize("name", ["ALPHAF_RUNS", "ALPHAF_CACHE", "ALPHAF_TEMPLATES"])
def test_a_folder_of_ours_that_no_system_takes(alphaf, monkeypatch, name):
    monkeypatch.setenv(name, "x/" * 2500)
    result = alphaf("plan", "--model", "tiny", "--data", "sample")
    if name == "ALPHAF_CACHE" and not result.exit_code:
        return  # nothing is kept there by a plan
    assert result.exit_code in (2, 6)  # 6: as a file of a run that cannot be read
    assert "too long" in result.stderr
    assert len(result.stderr) < 3000


def test_a_folder_of_runs_is_no_markup(alphaf, monkeypatch):
    monkeypatch.setenv("ALPHAF_RUNS", "[/b]")
    assert alphaf("runs").exit_code == 0
    result = alphaf("plan", "--model", "tiny")
    assert result.exit_code == 0, result.stderr


def test_a_name_in_either_spelling_is_one_run(alphaf, tmp_path):
    decomposed = unicodedata.normalize("NFD", "한글")
    folder = Path(os.environ["ALPHAF_RUNS"]) / decomposed
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("model: tiny\n", encoding="utf-8")
    for name in ("한글", decomposed):
        result = alphaf("plan", "--run", name)
        assert result.exit_code == 0, result.stderr
    assert [each.name for each in folder.parent.iterdir()] == [decomposed]


def test_a_pipe_is_told_without_waiting(refused, tmp_path):
    os.mkfifo(tmp_path / "c.yaml")
    began = time.monotonic()
    refused(["plan", "--config", "c.yaml"], 2, "a pipe", "c.yaml")
    assert time.monotonic() - began < 10
