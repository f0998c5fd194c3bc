"""Which files of a model folder are its tokenizer: those that are laid over, hashed, and looked for."""

from __future__ import annotations

# As patterns: settings, vocabulary, chat template, and a tokenizer's own code.
PATTERNS = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template.*", "vocab.*", "merges.txt", "*.model",
    "*.tiktoken", "tokenization_*.py",
)  # fmt: skip
# Any one row is a complete vocabulary; vocab.json needs its merges beside it, qwen.tiktoken is Qwen1's own.
COMPLETE = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"), ("qwen.tiktoken",))
