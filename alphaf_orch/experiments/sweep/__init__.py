"""Merges of one run with other settings, scored apart, the best made the run's own.

Face: `run.run_sweep`, `run.candidates`, `choice.choose`.
"""
