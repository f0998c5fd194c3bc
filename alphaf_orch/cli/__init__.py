"""The `alphaf` command: each module parses, calls one function below and prints; `cli.main.main` is the entry point."""
