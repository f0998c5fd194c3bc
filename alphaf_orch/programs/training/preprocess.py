"""Child program: axolotl's preprocess, from a `__main__` that is light to import.

Its arguments are those of axolotl.cli.preprocess. That module as `__main__` is imported again, the trainer's
libraries with it, by each process that `datasets` spawns to save the rows.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run axolotl's own command line."""
    import fire
    from axolotl.cli.preprocess import do_cli

    from alphaf_orch.programs.training.pools import let_pools_end

    let_pools_end()
    fire.Fire(do_cli)
    _check(sys.argv[1])


def _check(recipe: str) -> None:
    """Print how many tokens are trained; end where none is."""
    from alphaf_orch.programs.common import Failure, read_config
    from alphaf_orch.programs.training.trained_tokens import check_trained_tokens

    try:
        print(check_trained_tokens(Path(read_config(recipe)["dataset_prepared_path"])), flush=True)
    except Failure as failure:
        failure.show()
        raise


if __name__ == "__main__":
    main()
