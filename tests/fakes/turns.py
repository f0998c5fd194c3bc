"""Tokenizers and chat templates whose turns end in other ways than ChatML's: Gemma's, Phi's, Llama 3.2's, no end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}"
    "{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else 'user') + '\n'"
    " + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
DATED = (
    "{{ bos_token }}{% set today = strftime_now('%d %b %Y') %}"
    "{{ '<|head|>system<|tail|>Today Date: ' + today + '<|eot|>' }}{% for m in messages %}"
    "{{ '<|head|>' + m['role'] + '<|tail|>' + m['content'] | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|tail|>' }}{% endif %}"
)
PUT_TOGETHER = PHI.replace("'<|end|>\n'", "'<|' + 'end' + '|>\n'")
NO_END = (
    "{% for m in messages %}{{ '### ' + m['role'] + ':\n' + m['content'] + '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant:\n' }}{% endif %}"
)
# template, special tokens by name, further tokens
LAYOUTS: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "gemma": (
        GEMMA,
        {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
        ("<start_of_turn>", "<end_of_turn>"),
    ),
    "phi": (
        PHI,
        {"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<unk>"},
        ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>"),
    ),
    "dated": (
        DATED,
        {"bos_token": "<s>", "eos_token": "<|eot|>", "pad_token": "<pad>"},
        ("<|head|>", "<|tail|>"),
    ),
    "put_together": (
        PUT_TOGETHER,
        {"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<unk>"},
        ("<|end|>", "<|user|>", "<|assistant|>"),
    ),
    "no_end": (NO_END, {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}, ()),
}
ANSWERED = [
    {"role": "user", "content": "기준금리는 누가 정하나요?"},
    {"role": "assistant", "content": "금융통화위원회가 정합니다."},
    {"role": "user", "content": "몇 명인가요?"},
    {"role": "assistant", "content": "일곱 명입니다."},
]


def tokenizer(layout: str) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer of the layout, with its template."""
    from tiny import CORPUS
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    template, named, more = LAYOUTS[layout]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[*named.values(), *more],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=core, **named)
    made.chat_template = template
    return made


def model_folder(folder: Path, layout: str) -> Path:
    """Write what the plan reads of a model of that layout, without a tool: config, tokenizer files, empty weights."""
    template, named, more = LAYOUTS[layout]
    folder.mkdir(parents=True)
    config: dict[str, Any] = {"model_type": "llama", "vocab_size": 320, "max_position_embeddings": 512}
    added = [{"id": number, "content": text} for number, text in enumerate([*named.values(), *more])]
    for name, value in (
        ("config.json", config),
        ("tokenizer.json", {"added_tokens": added, "model": {"vocab": {}}}),
        ("tokenizer_config.json", named),
    ):
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    header = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    return folder


def rows(path: Path, *messages: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps({"messages": m}, ensure_ascii=False) + "\n" for m in messages), "utf-8")
    return str(path)
