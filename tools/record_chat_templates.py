"""Write alphaf_orch/schemas/chat_templates.json: how each chat template of the installed axolotl ends a turn.

`tails` is what stands behind an answer that a question follows, and behind the last one; {eos_token} stands for the
model's eos; `system` says whether a system turn is taken. `--check` exits 1 when the record differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

RECORD = Path(__file__).resolve().parent.parent / "alphaf_orch" / "schemas" / "chat_templates.json"


def record() -> dict[str, Any]:
    """Return the record of the installed axolotl's own chat templates, rendered by the installed transformers."""
    from axolotl.utils.chat_templates import base
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    from alphaf_orch.inputs.chat_templates import EOS
    from alphaf_orch.programs.turn_end import conversation, tails

    found: dict[str, Any] = {}
    for name, text in sorted(base._CHAT_TEMPLATES.items()):

        def render(messages: list[dict[str, str]], text: str = text) -> str:
            rendered, _ = render_jinja_template([messages], chat_template=text, bos_token="", eos_token=EOS)
            return str(rendered[0])

        entry: dict[str, Any] = {"tails": list(tails(render)), "system": True}
        try:
            render(conversation(system=True))
        except TemplateError:
            entry["system"] = False
        found[name] = entry
    return {"axolotl": version("axolotl"), "templates": found}


def main() -> int:
    """Return 0 when the record was written or matches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = json.dumps(record(), indent=1, ensure_ascii=False) + "\n"
    if parser.parse_args().check:
        return 0 if RECORD.read_text(encoding="utf-8") == text else 1
    RECORD.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
