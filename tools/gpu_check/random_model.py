"""A model of a preset's shape with random weights, bf16: built where it is used, because it is too large to be sent."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def main() -> None:
    """Write model and tokenizer to --output; the vocabulary has the preset's size, the tokenizer a small one."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from alphaf_orch.inputs.samples import sample_path
    from alphaf_orch.planning.base import find_preset
    from alphaf_orch.programs.models.build_tiny import corpus, train_tokenizer
    from alphaf_orch.settings.config import RunConfig

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--preset", default="eeve")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--small", action="store_true", help="a hidden size of 64, for a rehearsal on CPU")
    asked = parser.parse_args()
    shape = find_preset(RunConfig(model=asked.preset)).architecture
    assert shape is not None
    tokenizer = train_tokenizer(corpus(sample_path("finance_ko_sft.jsonl")), 1024)
    sizes: dict[str, Any] = {
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_attention_heads": shape.attention_heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocab_size,
    }
    if asked.small:
        sizes.update(
            hidden_size=64, intermediate_size=192, num_attention_heads=4, num_key_value_heads=2, vocab_size=1024
        )
    config = LlamaConfig(
        **sizes,
        num_hidden_layers=asked.layers or shape.layers,
        max_position_embeddings=shape.context,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16",
    )
    torch.manual_seed(42)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    model.save_pretrained(asked.output)
    tokenizer.save_pretrained(asked.output)
    print(f"built {asked.output}: {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
