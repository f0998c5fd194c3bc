"""Builds a tiny random model and its Korean tokenizer, the same files every time; see --architecture."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphaf_orch.scripts.tiny_architectures import (
        CONTEXT,
        SEED,
        SHAPE,
        TextError,
        write_eeve,
        write_orion,
        write_qwen,
    )
else:
    from tiny_architectures import CONTEXT, SEED, SHAPE, TextError, write_eeve, write_orion, write_qwen

# axolotl's `chat_template: chatml` writes this text, so every stage renders a conversation the same way.
CHATML = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PAD, BOS, START, END = "</s>", "<s>", "<|im_start|>", "<|im_end|>"


def failure(what: str, *, where: str, fix: str) -> SystemExit:
    """Return the exit to raise: python prints its three facts on stderr and ends with code 1."""
    return SystemExit(f"error: {what}\n  where: {where}\n  next:  {fix}")


def partial_dir(output: Path) -> Path:
    """Return an empty folder beside output to write into; never gives way to write over a finished model."""
    if output.exists():
        raise failure("the model is already there", where=str(output), fix="remove the folder to make it anew")
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def texts(value: Any) -> Iterator[str]:
    """Yield every string inside a JSON value, whatever the row's format."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key in value:
            yield from texts(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def corpus(data: Path) -> list[str]:
    """Return all strings of a JSONL file's rows, in order; ends the program where the file can't be read."""
    try:
        rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        what = f"the training text can't be read: {error}"
        raise failure(what, where=str(data), fix="give a JSONL file in UTF-8") from error
    found = list(texts(rows))
    if not found:
        raise failure("the training text is empty", where=str(data), fix="give a JSONL file with conversations")
    return found


def train_tokenizer(lines: list[str], vocab: int) -> Any:
    """Return a fast tokenizer of exactly `vocab` entries: four markers, 256 bytes, the rest merges."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()  # macOS files hold Korean decomposed, which would be other tokens
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    make_trainer: Any = trainers.BpeTrainer  # its stub has no types
    trainer = make_trainer(
        vocab_size=vocab,
        special_tokens=[PAD, BOS, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(lines, trainer)
    if (size := core.get_vocab_size()) != vocab:
        raise TextError(f"the training text gives {size} tokens, not {vocab}")
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHATML,
        model_max_length=CONTEXT,
    )


def build_model(tokenizer: Any) -> Any:
    """Return the random Llama, whose config and generation config name the tokenizer's special tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    return LlamaForCausalLM(
        LlamaConfig(
            **SHAPE,
            vocab_size=len(tokenizer),
            num_key_value_heads=2,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def write_llama(folder: Path, lines: list[str], vocab: int) -> None:
    """Write the plain tiny model: a Llama whose vocabulary has both ChatML markers."""
    tokenizer = train_tokenizer(lines, vocab)
    build_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


ARCHITECTURES = {"llama": write_llama, "eeve": write_eeve, "qwen": write_qwen, "orion": write_orion}


def main() -> None:
    """Write the model and tokenizer to --output, complete or not at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="JSONL, the tokenizer's training text")
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="llama")
    parser.add_argument("--vocab", type=int, default=1024, help="default: %(default)s, at least 260")
    args = parser.parse_args()
    if args.vocab < 260:
        parser.error(f"--vocab {args.vocab}: 256 bytes and 4 markers need at least 260")
    lines = corpus(args.data)
    partial = partial_dir(args.output)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the order of counting must not depend on threads
    try:
        ARCHITECTURES[args.architecture](partial, lines, args.vocab)
    except TextError as error:
        shutil.rmtree(partial)
        raise failure(str(error), where="--data", fix="give more text or another --vocab") from error
    partial.rename(args.output)
    print(f"built {args.output}")


if __name__ == "__main__":
    main()
