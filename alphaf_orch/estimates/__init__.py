"""What a run needs, known before it starts: memory of each GPU by part, and which engine fits.

May import settings, inputs and all below them; pure functions of a model's shape and a rendered recipe, no torch.
Face: `memory.peak_memory`, `fit.engine_for`, `fit.largest_micro_batch_size`.
"""
