"""The shape of everything that is printed with --json, by its name; docs/schemas/output is made of them.

No command imports it: the types are for whoever reads the code, for `tools/output_schemas.py` and for the tests.
Face: `names.SHAPES`.
"""
