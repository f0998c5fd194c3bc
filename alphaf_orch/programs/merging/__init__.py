"""Children that merge, an adapter by axolotl or whole models by mergekit, and check the hand-off contract.

Programs: `merge_adapter`, `merge_models`.
"""
