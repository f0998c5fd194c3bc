"""The report of an ablation, made of what `experiments.ablation` found.

Face: `page.ablation_report`, `scores.verdict`.
"""
