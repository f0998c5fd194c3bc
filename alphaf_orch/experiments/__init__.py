"""Runs that differ in what is asked about, each arm an ordinary run started as `alphaf` itself.

May import evaluation, judging and all below them. What kinds of experiment share stands here; each kind has a
sub-package, and none of these imports another.
Face: `experiment.Experiment`, `experiment.experiment_paths`, `plan.plan_arms`, `run.run_experiment`.
"""
