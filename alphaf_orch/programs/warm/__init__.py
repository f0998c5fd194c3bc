"""The warm parent: imports a family of tools once and forks for every program of it, on CPU (docs/performance.md).

Programs: `parent`.
Face: `families.family`.
"""
