"""Builds a tiny random model and its Korean tokenizer, the same files every time; see --architecture."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from alphaf_orch.programs.common import FAILED, Failure, program, publish
from alphaf_orch.programs.models.tiny_architectures import (
    CONTEXT,
    SEED,
    SHAPE,
    require_size,
    write_eeve,
    write_orion,
    write_qwen,
)
from alphaf_orch.programs.rows import texts

# axolotl's `chat_template: chatml` writes this text, so every stage renders a conversation the same way.
CHATML = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LOCK = ".lock"
PAD, BOS, START, END = "</s>", "<s>", "<|im_start|>", "<|im_end|>"


@contextlib.contextmanager
def making(output: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes output in one step at the end of the block; never writes over a model.

    Another process that makes the same is waited for; where it has made it, the program ends with code 0. What a
    killed process left is thrown away.
    """
    if output.exists():
        raise Failure(
            FAILED,
            "the model is already there",
            where=output,
            fix="remove the folder to make it anew",
            code="stage.folder_taken",
        )
    partial = output.with_name(f"{output.name}.partial")
    with locked(partial):
        if output.exists():
            shutil.rmtree(partial)
            print(f"{output} was made by another process meanwhile")
            raise SystemExit(0)
        for rubbish in partial.iterdir():
            if rubbish.is_dir():
                shutil.rmtree(rubbish)
            elif rubbish.name != LOCK:
                rubbish.unlink()
        yield partial
        publish(partial, output)
        (output / LOCK).unlink()


def locked(folder: Path) -> TextIO:
    """Return the lock inside a folder, which is made where it lacks; whoever has it is waited for.

    It lies inside, so that nothing is left beside the model, and the kernel lets go of it however a process ends.
    """
    while True:
        with contextlib.suppress(FileNotFoundError):  # the folder has just got its final name, or was removed
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / LOCK).open("a+", encoding="utf-8")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                print(f"waits for process {lock.read().strip()}, which writes {folder}", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock.fileno()), (folder / LOCK).stat()):
                lock.truncate(0)
                lock.write(str(os.getpid()))
                lock.flush()
                return lock
            lock.close()


def corpus(data: Path) -> list[str]:
    """Return all strings of a JSONL file's rows, in order; ends the program where the file can't be read."""
    try:
        rows = [json.loads(line) for line in data.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, ValueError) as error:
        what = f"the training text can't be read: {error}"
        raise Failure(FAILED, what, where=data, fix="give a JSONL file in UTF-8", code="stage.unreadable") from error
    found = list(texts(rows))
    if not found:
        raise Failure(
            FAILED,
            "the training text is empty",
            where=data,
            fix="give a JSONL file with conversations",
            code="stage.too_little_text",
        )
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
    require_size(core.get_vocab_size(), vocab)
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


def main(argv: list[str]) -> None:
    """Write the model and tokenizer to --output, complete or not at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="JSONL, the tokenizer's training text")
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="llama")
    parser.add_argument("--vocab", type=int, default=1024, help="default: %(default)s, at least 260")
    args = parser.parse_args(argv)
    if args.vocab < 260:
        parser.error(f"--vocab {args.vocab}: 256 bytes and 4 markers need at least 260")
    lines = corpus(args.data)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the order of counting must not depend on threads
    with making(args.output) as partial:
        try:
            ARCHITECTURES[args.architecture](partial, lines, args.vocab)
        except Failure:
            shutil.rmtree(partial)
            raise
    print(f"built {args.output}")


if __name__ == "__main__":
    program(main)
