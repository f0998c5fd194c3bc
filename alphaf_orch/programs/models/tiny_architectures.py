"""Tiny random models with the architecture and special-token layout of EEVE, Qwen1.5 and Orion, for build_tiny.py."""

from __future__ import annotations

import io
import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

from alphaf_orch.programs.architectures.llama_legacy import keep_legacy
from alphaf_orch.programs.common import FAILED, Failure, write_whole

END = "<|im_end|>"
CONTEXT = 1024  # as the presets
SEED = 20240501  # any fixed number
ALPHABET = 500  # characters that get a piece of their own; rarer ones are spelt in bytes
UNUSED_ROWS = 21  # Qwen1.5-14B has 152064 rows for 151646 tokens
SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": False,
}


def unsuited(what: str) -> Failure:
    """Return the failure of a training text that does not give the vocabulary that was asked for."""
    return Failure(FAILED, what, where="--data", fix="give more text or another --vocab", code="stage.too_little_text")


def write_eeve(folder: Path, lines: list[str], vocab: int) -> None:
    """Write a Llama with grouped attention and a Korean-extended sentencepiece-like vocabulary of `vocab` entries.

    As EEVE-Korean: <unk> <s> </s>, bytes, the pieces of the old vocabulary, <|im_end|> (eos), the Korean pieces;
    pad is </s>. <|im_start|> is left out, as its presence there is not known: so it is spelt in pieces.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer

    fixed = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    make_trainer: Any = trainers.BpeTrainer  # its stub has no types
    # Named, not limited by number: among equally frequent characters the trainer would choose anew each time.
    alphabet = ["▁", *(char for char, _ in character_counts(lines).most_common(ALPHABET))]
    trainer = make_trainer(
        vocab_size=vocab - len(fixed) - 1,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    core.train_from_iterator(passages(lines), trainer)
    learned = by_number(core)
    korean = [piece for piece in learned if any("HANGUL" in unicodedata.name(char, "") for char in piece)]
    old = [piece for piece in learned if piece not in set(korean)]
    pieces = [*fixed, *old, END, *korean]
    require_size(len(pieces), vocab)
    merges = [tuple(pair) for pair in json.loads(core.to_str())["model"]["merges"]]
    keep_legacy()
    tokenizer = LlamaTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=merges,
        bos_token="<s>",
        eos_token=END,
        pad_token="</s>",
        add_bos_token=True,
        legacy=True,  # as SOLAR, which EEVE extends: a space in front of every text between special tokens
        model_max_length=CONTEXT,
    )
    ids = {"bos_token_id": 1, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 2}
    config = LlamaConfig(
        vocab_size=vocab, num_key_value_heads=2, rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        rms_norm_eps=1e-5, **SHAPE, **ids,
    )  # fmt: skip
    random_model(LlamaForCausalLM, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_qwen(folder: Path, lines: list[str], vocab: int) -> None:
    """Write a Qwen2 with biases on q, k and v, and `vocab` rows for fewer tokens.

    As Qwen1.5: byte-level pieces, then <|endoftext|> (eos and pad of the base), <|im_start|>, <|im_end|>; no bos in
    the tokenizer, though config.json names one; the last rows belong to no token.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import AddedToken, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

    markers = ("<|endoftext|>", "<|im_start|>", END)
    core = Tokenizer(models.BPE())
    # Its own splitting and normalising, learned from an empty tokenizer of that class.
    empty = Qwen2Tokenizer().backend_tokenizer
    core.normalizer, core.pre_tokenizer = normalizers.NFC(), empty.pre_tokenizer
    make_trainer: Any = trainers.BpeTrainer  # its stub has no types
    tokens = vocab - UNUSED_ROWS
    trainer = make_trainer(
        vocab_size=tokens - len(markers),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(lines, trainer)
    require_size(core.get_vocab_size() + len(markers), tokens)
    learned = {piece: number for number, piece in enumerate(by_number(core))}
    merges = [tuple(pair) for pair in json.loads(core.to_str())["model"]["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=learned, merges=merges, model_max_length=CONTEXT)
    tokenizer.add_tokens([AddedToken(marker, normalized=False, special=True) for marker in markers])
    eos = tokenizer.eos_token_id
    config = Qwen2Config(
        vocab_size=vocab, num_key_value_heads=4, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        rms_norm_eps=1e-6, use_sliding_window=False, bos_token_id=eos, eos_token_id=eos, pad_token_id=None, **SHAPE,
    )  # fmt: skip
    random_model(Qwen2ForCausalLM, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_orion(folder: Path, lines: list[str], vocab: int) -> None:
    """Write a native Orion in the form it is published in: a sentencepiece model, no tokenizer.json, an auto_map.

    bos <s>, eos </s>, no ChatML marker; the python files that the auto_map names are not there.
    """
    from transformers import GenerationConfig

    from alphaf_orch.programs.architectures.orion_config import OrionConfig, OrionTokenizer
    from alphaf_orch.programs.architectures.orion_model import OrionForCausalLM

    (folder / "tokenizer.model").write_bytes(sentencepiece_model(lines, vocab))
    settings = {
        "auto_map": {"AutoTokenizer": ["tokenization_orion.OrionTokenizer", None]},
        "tokenizer_class": "OrionTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
    }
    write_like_transformers(folder / "tokenizer_config.json", settings)
    require_size(len(OrionTokenizer.from_pretrained(folder)), vocab)
    values = {
        "architectures": ["OrionForCausalLM"],
        "attention_bias": False,
        "auto_map": {
            "AutoConfig": "configuration_orion.OrionConfig",
            "AutoModelForCausalLM": "modeling_orion.OrionForCausalLM",
        },
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_sequence_length": CONTEXT,
        "model_type": "orion",
        "num_key_value_heads": 4,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-5,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": vocab,
        **SHAPE,
    }
    model = random_model(OrionForCausalLM, OrionConfig.from_dict(values))
    model.save_pretrained(folder)
    GenerationConfig(bos_token_id=1, eos_token_id=2).save_pretrained(folder)
    # With the keys of its time, which transformers would write anew.
    write_like_transformers(folder / "config.json", values)


def random_model(model_class: Any, config: Any) -> Any:
    """Return a random model whose biases and LayerNorms are random too, so that a lost one would show."""
    import torch

    torch.manual_seed(SEED)
    model = model_class(config).float()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith(".bias") or ("norm" in name and config.model_type == "orion"):
                value.add_(torch.randn_like(value), alpha=0.02)
    return model


def sentencepiece_model(lines: list[str], vocab: int) -> bytes:
    """Return a sentencepiece BPE model of `vocab` pieces with byte fallback; raise Failure where the text cannot."""
    import sentencepiece

    counted = character_counts(lines)
    coverage = sum(number for _, number in counted.most_common(ALPHABET)) / max(1, counted.total())
    made = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(passages(lines)),
            model_writer=made,
            model_type="bpe",
            vocab_size=vocab,
            byte_fallback=True,
            character_coverage=min(1.0, coverage),
            # As Llama's: the text is taken as it is.
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            max_sentence_length=1 << 20,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise unsuited(f"sentencepiece refuses: {' '.join(str(error).split())}") from error
    return made.getvalue()


def character_counts(lines: list[str]) -> Counter[str]:
    """Return how often each character occurs that is no space, in the order of first occurrence."""
    return Counter(char for line in lines for char in line if not char.isspace())


def by_number(core: Any) -> list[str]:
    """Return the entries of a trained tokenizer in the order of their ids."""
    found: dict[str, int] = core.get_vocab()
    return sorted(found, key=lambda piece: found[piece])


def passages(lines: list[str]) -> list[str]:
    """Return the texts cut at line breaks: sentencepiece learns from lines and spells a line break in bytes."""
    return [part for line in lines for part in line.splitlines() if part.strip()]


def require_size(found: int, wanted: int) -> None:
    """Raise Failure where the training text gave another number of tokens."""
    if found != wanted:
        raise unsuited(f"the training text gives {found} tokens, not {wanted}")


def write_like_transformers(path: Path, values: dict[str, Any]) -> None:
    """Write JSON as transformers does: sorted, indented by two, UTF-8."""
    write_whole(path, json.dumps(values, ensure_ascii=False, indent=2, sort_keys=True) + "\n")
