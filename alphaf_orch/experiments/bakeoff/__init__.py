"""Base models side by side after the same SFT, by the article's criteria.

Face: `plan.plan_bakeoff`, `run.run_bakeoff`, `criteria.Criterion`, `ranking.rank`.
"""
