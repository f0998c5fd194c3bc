"""The `alphaf` command: each module parses, calls one function below and prints.

May import every other package. `main` knows the commands by name and imports a module when its command is called.
Face: `main.main`.
"""
