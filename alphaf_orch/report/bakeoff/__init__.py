"""The report of a bake-off, made of what `experiments.bakeoff` found.

Face: `page.bakeoff_report`.
"""
