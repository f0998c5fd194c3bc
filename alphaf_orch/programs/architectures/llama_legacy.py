"""Keeps the rule `legacy` of a Llama tokenizer when it is saved, which transformers 5.16.1 forgets.

With `legacy: true`, as Llama 2's and SOLAR's tokenizers have it, every text between special tokens gets a space in
front. Without the key in the saved tokenizer_config.json the rule is false when it is loaded again: a model
would be asked with other ids than it was trained on.
"""

from __future__ import annotations

from functools import cache, wraps
from typing import Any


@cache
def keep_legacy() -> None:
    """Make LlamaTokenizer write a true `legacy` into tokenizer_config.json; repeatable."""
    from transformers import LlamaTokenizer

    original = LlamaTokenizer.__init__

    @wraps(original)
    def keeping(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if self.legacy:
            self.init_kwargs["legacy"] = True  # what save_pretrained writes

    LlamaTokenizer.__init__ = keeping
