"""Children that ask models: lm-eval with our classes known, the look at tokenizers, answers to prompts, chat.

Programs: `run_lm_eval`, `eval_tokenizer`, `task_index`, `generate_answers`, `chat`.
"""
