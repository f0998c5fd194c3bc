"""All that a closed machine needs, collected on a connected one: wheels, models, data, an installer, their hashes.

May import evaluation, judging and all below them; not experiments, which stands beside it.
Face: `request.Request`, `contents.plan_bundle`, `collect.collect`, `split.split`.
"""
