"""Write the options of every command into cli/completion.json, which shells complete from; --check only compares."""

from __future__ import annotations

import json
import sys

from alphaf_orch.cli.completion import WORDS, listed
from alphaf_orch.cli.main import COMMANDS, load


def words() -> str:
    """Return the file's text: a line an option."""
    commands = {name: [json.dumps(each, ensure_ascii=False) for each in listed(load(name))] for name in COMMANDS}
    parts = [
        f' "{name}": [\n  ' + ",\n  ".join(lines) + "\n ]" if lines else f' "{name}": []'
        for name, lines in commands.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    """Write the file, or fail where it is not what the commands say."""
    there = WORDS.read_text(encoding="utf-8") if WORDS.is_file() else ""
    if "--check" in sys.argv[1:]:
        sys.exit(0 if there == words() else "alphaf_orch/cli/completion.json is old: make fmt")
    if there != words():
        WORDS.write_text(words(), encoding="utf-8")


if __name__ == "__main__":
    main()
