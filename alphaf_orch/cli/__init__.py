"""The `alphaf` command: parse, call one function below, print.

May import every other package, inside the function that needs it: `alphaf --help` loads click and this package only.
Face: `main.main`.
"""
