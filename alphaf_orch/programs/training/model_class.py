"""Whether the installed transformers has a class that writes text for a model, asked before anything is trained."""

from __future__ import annotations

from pathlib import Path

from alphaf_orch.programs.architectures.orion import register_files
from alphaf_orch.programs.common import MODEL, Failure
from alphaf_orch.programs.native_types import NATIVE_TYPES


def check_class(folder: Path, *, trust_remote_code: bool) -> None:
    """Raise Failure where AutoModelForCausalLM would not load a folder's model; the weights are not touched."""
    from transformers import AutoConfig, __version__
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    register_files()
    place = str(folder / "config.json")
    fix = "use a model of a family that this transformers has a class for (…ForCausalLM)"
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).partition(" This could be because")[0]
        raise Failure(
            MODEL,
            f"transformers {__version__} cannot load the model: {reason}",
            where=place,
            fix=fix,
            code="model.not_loadable",
        ) from error
    known = config.model_type in NATIVE_TYPES or type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if not known and "AutoModelForCausalLM" not in (getattr(config, "auto_map", None) or {}):
        what = f"transformers {__version__} has no class that writes text for model type {config.model_type}"
        raise Failure(MODEL, what, where=place, fix=fix, code="model.not_supported")
