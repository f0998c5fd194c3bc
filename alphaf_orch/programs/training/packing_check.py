"""Asks the loaded model, before its first step, whether rows packed into one sequence see each other."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from alphaf_orch.programs.common import MODEL, Failure

TOKENS = 16  # ours: a row long enough for attention to reach over its border
LEAK = 0.01  # ours: apart, the kernels compute the same numbers and this is 0; mixed, it is near 1


class RowsApart(TrainerCallback):  # type: ignore[misc]
    """Guarantees that packed training keeps its rows apart, whatever the architecture, the attention and the card.

    axolotl marks the border of two rows by position ids that begin again. Whether that reaches the attention
    depends on the model's code, and where it does not, rows are mixed without a word.
    """

    def on_train_begin(self, args: Any, *_: Any, model: Any = None, **__: Any) -> None:
        """Raise Failure where a packed row depends on the row before it."""
        if not getattr(args, "sample_packing", False):
            return
        found = leakage(model)
        if found > LEAK:
            what = (
                f"{type(model).__name__} mixes packed rows: changing one moves the next by {found:.0%} of what it"
                " would inside one row"
            )
            attention = getattr(model.config, "_attn_implementation", None)
            failure = Failure(
                MODEL,
                what,
                where=f"attention {attention}",
                fix="--set sft.sample_packing=false",
                code="model.packing_mixed",
            )
            failure.show()
            raise failure


def leakage(model: Any) -> float:
    """Return how far a row's logits move with the row packed before it, as a share of the same inside one row."""
    import torch

    device = next(model.parameters()).device
    draw = torch.Generator().manual_seed(0)
    first, other, row = torch.randint(model.config.vocab_size, (3, 1, TOKENS), generator=draw).to(device)
    positions = torch.arange(2 * TOKENS, device=device)[None]

    def logits(before: Any, position_ids: Any) -> Any:
        ids = torch.cat([before, row], dim=1)
        return model(input_ids=ids, position_ids=position_ids, use_cache=False).logits[:, TOKENS:].float()

    def moved(position_ids: Any) -> float:
        return float((logits(first, position_ids) - logits(other, position_ids)).norm())

    training = model.training
    model.eval()  # without dropout
    with torch.no_grad():
        packed, together = moved(positions % TOKENS), moved(positions)
    model.train(training)
    return packed / together if together else 0.0
