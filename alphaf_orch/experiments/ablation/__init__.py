"""Arms that are identical but for what is named: made, proven alike, compared.

Face: `factors.make_ablation`, `results.read_ablation`, `evidence.checks`, `noise.read_noise`.
"""
