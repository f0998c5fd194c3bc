"""Where a resumed training reads its adapter to: each process to itself, none to another's GPU."""

from __future__ import annotations

from typing import Any


def load_adapter_beside_the_gpu(trainer: Any) -> None:
    """Guarantee that an adapter is read into main memory before it is copied over the one in the model.

    transformers 5.16.1 names no device (trainer.py:3452), so peft 0.20.0 says "cuda" (peft_model.py:1460), and
    safetensors takes that for cuda:0 in every rank: eight adapters on the first GPU. What is trained stays where it is.
    """
    model = trainer.model
    load = getattr(model, "load_adapter", None)
    if load is None:
        return

    def load_adapter(model_id: Any, adapter_name: str, **options: Any) -> Any:
        return load(model_id, adapter_name, **{"torch_device": "cpu", **options})

    model.load_adapter = load_adapter
