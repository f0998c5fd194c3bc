"""Layouts of other families: each is refused before training with what to do, or goes through the whole chain."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import layouts
import pytest
from data_rows import chat, line, write
from own_process import alphaf
from tiny import CORPUS, IM_END, IM_START

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.programs.common import Failure

REPO = Path(__file__).parents[2]
LINES = {"tokenizer", "embedding_rows", "eos_pad", "dtype", "no_lora_keys", "weights", "rendering"}
TRAIN = "sft.lora_modules_to_save=[embed_tokens,lm_head]"


@pytest.fixture
def data_stats(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("alphaf_orch.programs.training.data_stats")


@pytest.fixture
def notes(data_stats: ModuleType, tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that counts one row with a folder's tokenizer and returns what is said of its tokens."""

    def count(folder: Path, trained: list[str] | None = (), allow: bool = False, answer: str = "네") -> list[str]:  # type: ignore[assignment]
        config = {
            "tokenizer": str(folder),
            "sequence_len": 64,
            "eot_tokens": [],  # how turns end is not the question here
            "kind": "chat",
            "datasets": [{"path": str(write(tmp_path, line(chat("금리는?", answer))))}],
            "output": str(tmp_path / "stats.json"),
            "probe": str(tmp_path / "probe.jsonl"),
            "model_rows": {"trained": trained, "allow_untrained": allow},
        }
        (tmp_path / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
        found: list[str] = data_stats.run(data_stats.load_config(str(tmp_path / "config.yaml")))["notes"]
        return found

    return count


def refusal(data_stats: ModuleType, call: Callable[[], Any]) -> str:
    with pytest.raises(Failure) as caught:
        call()
    assert caught.value.code == 4
    message: str = caught.value.message
    return message


def zeros(weight: Any) -> None:
    weight[2] = 0


def nearly(weight: Any) -> None:
    import torch

    # As bfloat16 rounds rows that were one before some steps moved them a little.
    weight[2:5] = weight[1] + 1e-3 * weight[1].abs().mean() * torch.randn(3, weight.shape[1])


@pytest.mark.parametrize("options", [{}, {"tied": True}, {"max_shard_size": "40KB"}, {"rows": 20}])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (layouts.one_row, "has the row of"),
        (nearly, "has the row of"),
        (zeros, "has a row of zeros"),
    ],
)
def test_markers_without_a_row_of_their_own_are_refused(
    change: Callable[[Any], None], why: str, options: dict[str, Any], notes: Any, data_stats: Any, tmp_path: Path
) -> None:
    folder = layouts.qwen(tmp_path / "base", change, **options)
    assert (folder / "model.safetensors.index.json").is_file() is ("max_shard_size" in options)
    message = refusal(data_stats, lambda: notes(folder))
    assert f"{IM_END} ({why}" in message and "in embed_tokens" in message
    assert ("in lm_head" in message) is not ("tied" in options)
    assert f"--set '{TRAIN}'" in message and "allow_untrained_tokens: true" in message
    # What trains the rows is fine, and so is a person who says so.
    assert notes(folder, ["embed_tokens", "lm_head"]) == notes(folder, None) == []
    assert why in notes(folder, allow=True)[0]


def test_a_sound_base_is_trained_without_a_word(notes: Any, tmp_path: Path) -> None:
    for number, options in enumerate(({}, {"tied": True}, {"rows": 20})):
        assert notes(layouts.qwen(tmp_path / str(number), **options)) == []


def test_rows_added_by_resizing_are_refused(notes: Any, data_stats: Any, tmp_path: Path) -> None:
    """As transformers adds them, all at the mean, and as they are while nobody has: with no row at all."""
    from tiny import CHATML, llama

    for resized in (True, False):
        made = layouts.tokenizer("<|endoftext|>", eos_token="<|endoftext|>", template=CHATML)
        model = llama(len(made))
        made.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
        if resized:
            model.resize_token_embeddings(len(made))
        folder = layouts.save(tmp_path / f"resized {resized}", made, model)
        message = refusal(data_stats, lambda folder=folder: notes(folder))
        wanted = "has the row of" if resized else f"has no row in lm_head, which has {model.config.vocab_size}"
        assert f"{IM_END} (" in message and wanted in message


def test_what_a_model_need_not_write_is_not_asked_of_its_head(notes: Any, data_stats: Any, tmp_path: Path) -> None:
    """No base ever wrote its bos or the mark that opens a turn; what ends an answer it must write."""

    def changed(tokens: slice) -> Callable[[Any], None]:
        tables: list[Any] = []

        def change(weight: Any) -> None:
            tables.append(weight)
            if len(tables) == 2:  # the head comes second
                weight[tokens] = weight[3]

        return change

    assert notes(layouts.qwen(tmp_path / "start", changed(slice(1, 2)))) == []
    message = refusal(data_stats, lambda: notes(layouts.qwen(tmp_path / "end", changed(slice(2, 3)))))
    assert f"{IM_END} (has the row of {layouts.SHARED} in lm_head)" in message and IM_START not in message
    with_embedding = layouts.qwen(tmp_path / "both", layouts.one_row)
    only_head = refusal(data_stats, lambda: notes(with_embedding, ["embed_tokens"]))
    assert "lm_head" in only_head.splitlines()[0] and "embed_tokens" not in only_head.splitlines()[0]


def test_a_faint_row_is_said_and_not_refused(notes: Any, tmp_path: Path) -> None:
    def faint(weight: Any) -> None:
        weight[2] *= 0.2

    said = notes(layouts.qwen(tmp_path / "base", faint))
    assert said[0].startswith(f"the base model may not have learnt {IM_END} (has a row near zero in embed_tokens")


def test_text_that_a_tokenizer_cannot_spell(notes: Any, data_stats: Any, tmp_path: Path) -> None:
    from tiny import CHATML
    from transformers import AutoTokenizer

    folder = layouts.unknown_newline(tmp_path / "base")
    made = AutoTokenizer.from_pretrained(folder)
    made.chat_template = CHATML
    made.save_pretrained(folder)
    assert r"cannot spell '\n' of the chat template: it becomes <unk>" in refusal(data_stats, lambda: notes(folder))
    made.chat_template = CHATML.replace("\\n", " ")
    made.save_pretrained(folder)
    known = "기준금리는 한국은행 금융통화위원회가 정합니다. " * 8
    assert notes(folder, answer=known + "♥") == ["2 tokens in 1 conversations are <unk>"]  # ? and ♥
    assert "cannot spell the data" in refusal(data_stats, lambda: notes(folder, answer="♥ ♡ ♥ ♡"))


def test_a_template_may_write_the_token_that_is_also_the_unknown_one(notes: Any, tmp_path: Path) -> None:
    one = "<|endoftext|>"
    template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    made = layouts.tokenizer(one, "<pad>", eos_token=one, bos_token=one, pad_token="<pad>", template=template)
    made.unk_token = one
    assert notes(layouts.save(tmp_path / "base", made, layouts.llama(len(made)))) == []


# Texts on their way to the model


def normalised(folder: Path, normalizer: dict[str, Any]) -> Path:
    """Save a model whose tokenizer normalises every text."""
    file = layouts.qwen(folder) / "tokenizer.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**values, "normalizer": normalizer}), encoding="utf-8")
    return folder


def test_a_tokenizer_that_changes_the_data_is_told_and_one_that_changes_most_of_it_refused(
    notes: Any, data_stats: Any, tmp_path: Path
) -> None:
    (said,) = notes(normalised(tmp_path / "nfd", {"type": "NFD"}))
    assert "texts of 1 of 1 conversations back in another Unicode form" in said
    assert notes(normalised(tmp_path / "nfkc", {"type": "NFKC"})) == []
    message = refusal(data_stats, lambda: notes(tmp_path / "nfkc", answer="㈜한국은행입니다."))
    assert "the tokenizer changes texts of 1 of 1 conversations, such as '㈜한국은행입' into '(주)한국은'" in message
    lower = normalised(tmp_path / "lower", {"type": "Lowercase"})
    assert "'GDP 3%' into 'gdp 3%'" in refusal(data_stats, lambda: notes(lower, answer="GDP 3%"))


@pytest.mark.parametrize("model_type", ["qwen2_5_vl_text", "no_such_type", None])
def test_a_model_that_transformers_has_no_class_for_is_refused_before_training(
    model_type: str | None, notes: Any, data_stats: Any, tmp_path: Path
) -> None:
    folder = layouts.qwen(tmp_path / "base")
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values = {k: v for k, v in {**values, "model_type": model_type}.items() if v is not None}
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    message = refusal(data_stats, lambda: notes(folder))
    assert message.startswith("error: transformers ") and str(folder / "config.json") in message
    assert ("cannot load" in message) is (model_type != "qwen2_5_vl_text")


@pytest.mark.parametrize("role", ["system", "user"])
def test_texts_that_a_template_leaves_out(role: str, data_stats: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from alphaf_orch.programs.training.text_kept import check_left_out, left_out

    made = AutoTokenizer.from_pretrained(layouts.qwen(tmp_path / "base"))
    template = f"{{% for m in messages if m['role'] != '{role}' %}}{{{{ m['content'] }}}}{{% endfor %}}"
    turns = [("system", "짧게"), ("user", "금리는?"), ("assistant", "3.5%")]
    messages = [{"role": who, "content": text} for who, text in turns]
    found = left_out(made, template, [messages])
    assert found == {role: 1}
    assert left_out(made, made.chat_template, [messages]) == {}
    if role == "user":
        assert check_left_out(found, 1, "here")[0].endswith("of 1 conversations: texts of user in 1")
        return
    with pytest.raises(Failure) as caught:
        check_left_out(found, 1, "here")
    assert caught.value.code == 3


def test_a_bos_that_the_template_lacks_or_writes_twice_is_said(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from alphaf_orch.programs.training.text_kept import bos_notes

    made = AutoTokenizer.from_pretrained(layouts.gemma(tmp_path / "base"))
    bos = made.bos_token_id
    assert bos_notes(made, [bos, 9]) == []
    assert "before every text, the chat template writes none" in bos_notes(made, [9, bos])[0]
    assert bos_notes(made, [bos, bos, 9]) == ["the chat template writes <bos> twice"]
    plain = AutoTokenizer.from_pretrained(layouts.qwen(tmp_path / "plain"))
    assert bos_notes(plain, [9]) == []


# The whole chain


def run(place: Path, folder: Path, python: Path, *sets: str, system: str = "") -> subprocess.CompletedProcess[str]:
    settings = ("sft.max_steps=2", "sft.lora_r=8", "dpo.max_steps=2", "dpo.lora_r=8", "dpo.logging_steps=1", *sets)
    args = [part for item in settings for part in ("--set", item)]
    korean = CORPUS[:3]
    rows = [chat(korean[i % 3], f"{korean[(i + 1) % 3]} {korean[i // 14]}") for i in range(40)]
    pairs = [
        {"prompt": korean[i % 3], "chosen": korean[(i + 1) % 3], "rejected": korean[(i + 2) % 3]} for i in range(24)
    ]
    if system:
        rows = [{"messages": [{"role": "system", "content": system}, *row["messages"]]} for row in rows]
        pairs = [{**pair, "system": system} for pair in pairs]
    data, preferences = (
        write(place, *map(line, some), name=name) for some, name in ((rows, "행.jsonl"), (pairs, "쌍.jsonl"))
    )
    return alphaf(
        place, "run", "--run", "r", "--model", str(folder), "--data", str(data), "--dpo-data", str(preferences),
        "--gpus", "0", *args, python=python,
    )  # fmt: skip


def test_a_refusal_of_the_data_stage_is_the_commands_own(tmp_path: Path, warm_python: Path) -> None:
    done = run(tmp_path, layouts.qwen(tmp_path / "base", layouts.one_row, template=None), warm_python)
    assert done.returncode == 4, done.stderr
    said = done.stderr[done.stderr.index("error:") :].splitlines()
    assert said[0].startswith(f"error: the base model has not learnt {IM_START} (has the row of {IM_END}")
    assert [text.split(":")[0] for text in said[1:]] == ["  where", "  next", "  code"]
    stages = json.loads(RunPaths(tmp_path / "실행" / "r").manifest.read_text(encoding="utf-8"))["stages"]
    assert list(stages) == ["data"]


CHAINS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "tied, markers added": (layouts.tied_base, ()),
    "system turns for a template that takes none": (layouts.gemma, ("sft.chat_template=gemma3",)),
    "special tokens apart": (layouts.special_map_only, ()),
    "untrained markers, trained": (lambda f: layouts.qwen(f, layouts.one_row, template=None), (TRAIN,)),
    "a tokenizer without line ends": (
        layouts.unknown_newline,
        (f'sft.tokens=["{IM_START}","{IM_END}","\\n"]', TRAIN),
    ),
    "heads of their own width": (
        layouts.of_class("Qwen3", num_key_value_heads=2, head_dim=32, tie_word_embeddings=True),
        (),
    ),
    "fused linear layers": (
        layouts.of_class("Phi3", num_key_value_heads=2, original_max_position_embeddings=512),
        (),
    ),
}


def check_begins(base: Path, paths: RunPaths, system: str) -> None:
    """Check that what was trained begins as the base's own tokenizer begins a text, and holds the system's text."""
    from datasets import load_from_disk
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(paths.merged("dpo"))
    bos = (
        [made.bos_token_id] if AutoTokenizer.from_pretrained(base)("금리")["input_ids"][0] == made.bos_token_id else []
    )
    (prepared,) = (path.parent for path in paths.prepared.rglob("dataset_info.json"))
    pair = json.loads(paths.probe("dpo").read_text(encoding="utf-8").splitlines()[0])
    for ids in (load_from_disk(prepared)[0]["input_ids"], pair["input_ids"]):
        assert [i for i in ids if i == made.bos_token_id and i != made.eos_token_id] == bos == ids[: len(bos)]
        assert system in made.decode(ids)


@pytest.mark.parametrize("name", CHAINS)
def test_the_whole_chain_on_a_layout(name: str, tmp_path: Path, warm_python: Path) -> None:
    from safetensors import safe_open

    build, sets = CHAINS[name]
    base, system = build(tmp_path / "모델"), "짧게 답하세요." if build is layouts.gemma else ""
    done = run(tmp_path, base, warm_python, *sets, system=system)
    assert done.returncode == 0, done.stdout + done.stderr
    paths = RunPaths(tmp_path / "실행" / "r")
    check_begins(base, paths, system)
    stages = json.loads(paths.manifest.read_text(encoding="utf-8"))["stages"]
    for stage in ("merge_sft", "merge_dpo"):
        contract = stages[stage]["result"]["contract"]
        assert set(contract) >= LINES and all(contract.values())
    tensors = {}
    for folder in (base, paths.merged("dpo")):
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            tensors[folder] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    before, after = tensors.values()
    assert before.keys() == after.keys(), "a tied head is still the embedding"
    adapted = json.loads((paths.adapter("dpo") / "adapter_config.json").read_text(encoding="utf-8"))["target_modules"]
    linear = {key.split(".")[-2] for key, value in before.items() if ".0." in key and value.ndim == 2}
    assert set(adapted) == linear, "DPO adapts every linear layer of a layer"
    if TRAIN in sets:
        old, rows = (tensors["model.embed_tokens.weight"] for tensors in (before, after))
        assert not rows[: len(old)].equal(old)
        assert not rows[1].equal(rows[2]), "markers that had one row have each their own"
