"""Models asked a benchmark by lm-eval, as they were trained; what is known is not asked again.

May import scores and all below it; not judging, which stands beside it.
Face: `options.EvalOptions`, `request.plan_evaluation`, `request.known_results`, `run.evaluate`.
"""
