"""Rows as people have them, read and turned into the one canonical form that is hashed, counted, trained and shown.

Face: `recognise.canonical`, `converting.convert`. May import: `programs`.
"""
