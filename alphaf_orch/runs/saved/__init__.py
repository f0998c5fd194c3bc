"""What a checkpoint must hold to be gone on from, a module for each engine that writes one.

Every kind answers two questions about a folder, by names, sizes and headers, or with every byte read: what is wrong
with the weights, and what with all else that resuming reads.
"""
