"""Children that ask libraries and tokenizers about a base model, without training it.

Programs: `native_support`, `tokenizer_facts`.
"""
