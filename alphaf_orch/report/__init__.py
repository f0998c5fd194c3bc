"""What was found, as values (`blocks`), rendered as one HTML page, as Markdown and as a model card.

May import experiments and all below it. Reads what is stored and starts nothing. The pages are built in sub-packages.
Face: `write.write_report`, `card.write_model_card`, `sweep.write_sweep_report`.
"""
