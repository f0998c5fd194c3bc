"""Trained weights in float32: around a bfloat16 weight w the next ones are w/128 away, and small steps are lost."""

from __future__ import annotations

from typing import Any


def trained_in_float32(model: Any) -> None:
    """Make float32 what is trained in 16 bits; what its modules take and give keeps its dtype.

    PEFT casts the weights of its own layers (peft/tuners/tuners_utils.py, cast_adapter_dtype), not those of whole
    modules beside them (modules_to_save). AdamW's second moment suffers most: in bfloat16 0.999 v is v again.
    """
    import torch

    narrow = (torch.bfloat16, torch.float16)
    # Before anything is cast: a tied weight is one parameter of two modules.
    dtypes = {id(p): p.dtype for p in model.parameters() if p.requires_grad and p.dtype in narrow}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            dtype = dtypes.get(id(parameter))
            if dtype is None:
                continue
            if isinstance(module, torch.nn.Embedding | torch.nn.Linear):
                module.register_forward_pre_hook(_taking)
                module.register_forward_hook(_giving(dtype))
            parameter.data = parameter.data.float()


def _taking(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.to(module.weight.dtype) if value.is_floating_point() else value for value in inputs)


def _giving(dtype: Any) -> Any:
    return lambda _module, _inputs, output: output.to(dtype)
