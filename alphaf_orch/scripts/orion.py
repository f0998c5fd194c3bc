"""The architectures that transformers has no class for and we do; light to import, the rest is in register().

Every program that loads a model or a tokenizer calls register() or register_files() first.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

# config.json's model_type; a model of such a type needs no remote code, whatever its auto_map says.
NATIVE_TYPES = frozenset({"orion"})


@cache
def register_files() -> None:
    """Make AutoConfig and AutoTokenizer read Orion's files with our classes, and Llama's tokenizers keep `legacy`.

    Chat templates see the run's date from here on. Loads no model code; repeatable.
    """
    from transformers import AutoConfig, AutoTokenizer

    if TYPE_CHECKING:
        from alphaf_orch.scripts.llama_legacy import keep_legacy
        from alphaf_orch.scripts.orion_config import OrionConfig, OrionTokenizer
        from alphaf_orch.scripts.template_date import fix_date
    else:
        from llama_legacy import keep_legacy
        from orion_config import OrionConfig, OrionTokenizer
        from template_date import fix_date

    fix_date()
    keep_legacy()
    AutoConfig.register(OrionConfig.model_type, OrionConfig, exist_ok=True)
    AutoTokenizer.register(OrionConfig, tokenizer_class=OrionTokenizer, exist_ok=True)


@cache
def register() -> None:
    """Make all of transformers' Auto classes load Orion with our classes and no remote code; repeatable."""
    from transformers import AutoModel, AutoModelForCausalLM

    if TYPE_CHECKING:
        from alphaf_orch.scripts.orion_config import OrionConfig
        from alphaf_orch.scripts.orion_model import OrionForCausalLM, OrionModel
    else:
        from orion_config import OrionConfig
        from orion_model import OrionForCausalLM, OrionModel

    register_files()
    AutoModel.register(OrionConfig, OrionModel, exist_ok=True)
    AutoModelForCausalLM.register(OrionConfig, OrionForCausalLM, exist_ok=True)
