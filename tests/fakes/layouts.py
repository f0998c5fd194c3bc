"""Tiny models with the token layouts and weight names that differ between families, built in well under a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny import CHATML, CORPUS, IM_END, IM_START, llama

SHARED = "<|fim_pad|>"


def tokenizer(*special: str, template: str | None = None, unknown: str | None = None, **named: str | None) -> Any:
    """Return a BPE tokenizer with these special tokens; byte-level, or with an unknown token over spelt characters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token=unknown))
    if unknown:
        core.pre_tokenizer, core.decoder, alphabet = pre_tokenizers.Metaspace(), decoders.Metaspace(), []
    else:
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder, alphabet = decoders.ByteLevel(), pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([text.strip() for text in CORPUS], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=core, unk_token=unknown, model_max_length=512, **named)
    made.add_special_tokens({"additional_special_tokens": [t for t in special if t not in named.values()]})
    if template:
        made.chat_template = template
    return made


def save(folder: Path, made: Any, model: Any, **options: Any) -> Path:
    """Save both, the configs naming the tokenizer's ids; return the folder."""
    for part in (model.config, model.generation_config):
        for kind in ("bos", "eos", "pad"):
            setattr(part, f"{kind}_token_id", getattr(made, f"{kind}_token_id"))
    model.save_pretrained(folder, **options)
    made.save_pretrained(folder)
    return folder


def qwen(
    folder: Path, change: Callable[[Any], None] | None = None, *, template: str | None = CHATML, tied: bool = False,
    rows: int = 0, **options: Any,
) -> Path:  # fmt: skip
    """Save a bfloat16 model with ChatML's markers among reserve tokens; `change` is given each table's weight."""
    import torch

    made = tokenizer(
        "<|endoftext|>", IM_START, IM_END, SHARED, "<|fim_mid|>", template=template, eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )  # fmt: skip
    model = llama(len(made) + rows, tied=tied).to(torch.bfloat16)
    with torch.no_grad():
        for table in (model.get_input_embeddings(), *([] if tied else [model.get_output_embeddings()])):
            if change:
                change(table.weight)
    return save(folder, made, model, **options)


def one_row(weight: Any) -> None:
    """Give both markers and the reserve tokens one row, as base models of the Qwen family have them."""
    weight[2:5] = weight[1]


def reads_bos(made: Any) -> Any:
    """Return the tokenizer with its bos put before every text, as Llama's and Gemma's have it."""
    from tokenizers.processors import TemplateProcessing

    bos = made.bos_token
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, made.bos_token_id)]
    )
    return made


def tied_base(folder: Path) -> Path:
    """Save a tied model that reads a bos, without markers or template: the markers are added, their rows trained."""
    import torch

    made = reads_bos(tokenizer("<s>", "</s>", "<pad>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"))
    return save(folder, made, llama(len(made), tied=True).to(torch.bfloat16))


GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    "{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n'"
    " + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def gemma(folder: Path) -> Path:
    """Save a tied model with Gemma's markers: its tokenizer and its template begin with bos, and no system turn."""
    import torch

    marks = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    made = reads_bos(tokenizer(*marks, template=GEMMA, **named))
    return save(folder, made, llama(len(made), tied=True).to(torch.bfloat16))


def special_map_only(folder: Path) -> Path:
    """Save a model whose special tokens stand in special_tokens_map.json alone; bos, eos and unk are one token."""
    import torch

    one = "<|endoftext|>"
    made = tokenizer(one, "<pad>", bos_token=one, eos_token=one, pad_token="<pad>")
    save(folder, made, llama(len(made)).to(torch.bfloat16))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings = {k: v for k, v in settings.items() if not k.endswith("_token") and k != "added_tokens_decoder"}
    named = {"bos_token": one, "eos_token": one, "unk_token": one, "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(named), encoding="utf-8")
    return folder


def unknown_newline(folder: Path) -> Path:
    """Save a model whose tokenizer has an unknown token and no line end, which ChatML writes in every turn."""
    import torch

    made = tokenizer(
        "<unk>", "<s>", "</s>", "<pad>", IM_START, IM_END, unknown="<unk>", bos_token="<s>", eos_token="</s>",
        pad_token="<pad>",
    )  # fmt: skip
    return save(folder, made, llama(len(made)).to(torch.bfloat16))


def of_class(name: str, **settings: Any) -> Callable[[Path], Path]:
    """Return a builder of a model of another class of transformers, under its own names of weights."""

    def build(folder: Path) -> Path:
        import torch
        import transformers

        made = tokenizer("<|endoftext|>", IM_START, IM_END, eos_token=IM_END, pad_token="<|endoftext|>")
        sizes = {
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
            "max_position_embeddings": 512, "pad_token_id": 0,
        }  # fmt: skip
        config = getattr(transformers, f"{name}Config")(vocab_size=len(made) + 20, **(sizes | settings))
        torch.manual_seed(0)
        return save(folder, made, transformers.AutoModelForCausalLM.from_config(config).to(torch.bfloat16))

    return build
