"""Child programs, run with a tool environment's python; only the stdlib-only ones are imported by the package."""
