"""The tasks there are: YAML of ours, of the user and of lm-eval, read, checked and made ready with their rows.

May not import the rest of `evaluation`, which stands on it.
Face: `task.Task`, `suites.find_tasks`, `suites.select_tasks`, `rows.require_data`.
"""
