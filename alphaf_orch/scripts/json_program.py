"""What child programs share that read a YAML config and write one JSON file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from alphaf_orch.scripts.data_stats import CONFIG, Failure, write_whole
else:
    from data_stats import CONFIG, Failure, write_whole


def answer(argv: list[str], keys: Iterable[str], run: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """Write what `run` makes of the config named on the command line to the file that the config's `output` names.

    Ends with an exit code and one message on failure; all of `keys` must be in the config.
    """
    if len(argv) != 2:
        sys.exit(f"usage: python {Path(argv[0]).name} CONFIG.yaml")
    config = yaml.safe_load(Path(argv[1]).read_text(encoding="utf-8"))
    try:
        missing = [key for key in keys if key not in config]
        if missing:
            raise Failure(CONFIG, f"missing keys: {', '.join(missing)}", where=argv[1], fix="Add them")
        write_whole(config["output"], json.dumps(run(config), ensure_ascii=False, indent=1))
    except Failure as failure:
        print(failure.message, file=sys.stderr)
        raise
