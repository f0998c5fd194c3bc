"""Tiny random models and tokenizers that real tools accept, made in well under a second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

IM_START, IM_END = "<|im_start|>", "<|im_end|>"

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

CORPUS = (
    "기준금리는 한국은행 금융통화위원회가 정합니다.",
    "예금자보호 한도는 금융회사별로 적용됩니다.",
    "주택담보대출의 총부채원리금상환비율을 계산합니다.",
    "The base rate is decided by the Monetary Policy Board.",
    "user assistant system\n",
)


def tokenizer(*, chatml: bool = True) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer; with `chatml` its markers, template and `<|im_end|>` as eos."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>", *([IM_START, IM_END] if chatml else [])]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token=IM_END if chatml else "</s>",
        pad_token="</s>" if chatml else "<unk>",
    )
    if chatml:
        made.chat_template = CHATML
    return made


def llama(vocab_size: int, *, tied: bool = False, seed: int = 0, **overrides: Any) -> LlamaForCausalLM:
    """Return a random float32 Llama of two layers, 64 wide (one NF4 block a row)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    }
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, tie_word_embeddings=tied, **(sizes | overrides)))


def save_base(
    folder: Path, *, chatml: bool = True, tied: bool = False, dtype: str = "float32", **overrides: Any
) -> Path:
    """Save a tiny base model with tokenizer, config and generation_config into `folder`; return it."""
    import torch

    made = tokenizer(chatml=chatml)
    model = llama(len(made), tied=tied, **overrides).to(getattr(torch, dtype))
    for part in (model.config, model.generation_config):
        part.bos_token_id, part.eos_token_id = made.bos_token_id, made.eos_token_id
        part.pad_token_id = made.pad_token_id
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
