"""The report of one run, and of several side by side.

Beside it are the pages of an ablation and of a bake-off; what all pages share stands above it, in `report`.
Face: `content.report_of`, `content.comparison_of`.
"""
