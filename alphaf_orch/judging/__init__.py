"""Prompts that models answer, and one judge that is asked about the answers.

May import scores and all below it; not evaluation, which stands beside it.
Face: `prompts.load_prompts`, `answers.ensure_answers`, `preset.load_judge`, `pairs.compare`, `votes.judge_votes`.
"""
