"""Child program: axolotl's preprocess, from a `__main__` that is light to import.

Its arguments are those of axolotl.cli.preprocess. That module as `__main__` is imported again, the trainer's
libraries with it, by each process that `datasets` spawns to save the rows.
"""

from __future__ import annotations


def main() -> None:
    """Run axolotl's own command line."""
    import fire
    from axolotl.cli.preprocess import do_cli

    fire.Fire(do_cli)


if __name__ == "__main__":
    main()
