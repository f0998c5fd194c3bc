"""The architectures that transformers has no class for and we do; light to import, the rest is in register().

Every program that loads a model or a tokenizer calls register() or register_files() first.
"""

from __future__ import annotations

from functools import cache


@cache
def register_files() -> None:
    """Make AutoConfig and AutoTokenizer read Orion's files with our classes, and Llama's tokenizers keep `legacy`.

    Chat templates see the run's date from here on. Loads no model code; repeatable.
    """
    from transformers import AutoConfig, AutoTokenizer

    from alphaf_orch.programs.architectures.llama_legacy import keep_legacy
    from alphaf_orch.programs.architectures.orion_config import OrionConfig, OrionTokenizer
    from alphaf_orch.programs.template_date import fix_date

    fix_date()
    keep_legacy()
    AutoConfig.register(OrionConfig.model_type, OrionConfig, exist_ok=True)
    AutoTokenizer.register(OrionConfig, tokenizer_class=OrionTokenizer, exist_ok=True)


@cache
def register() -> None:
    """Make all of transformers' Auto classes load Orion with our classes and no remote code; repeatable."""
    from transformers import AutoModel, AutoModelForCausalLM

    from alphaf_orch.programs.architectures.orion_config import OrionConfig
    from alphaf_orch.programs.architectures.orion_model import OrionForCausalLM, OrionModel

    register_files()
    AutoModel.register(OrionConfig, OrionModel, exist_ok=True)
    AutoModelForCausalLM.register(OrionConfig, OrionForCausalLM, exist_ok=True)
