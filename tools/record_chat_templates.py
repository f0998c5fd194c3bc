"""Write alphaf_orch/schemas/chat_templates.json: how each chat template of the installed axolotl ends a turn.

`tails` is what stands behind an answer that a question follows, and behind the last one; {eos_token} stands for the
model's eos; `system` says whether a system turn is taken, `drops_system` that its text is then left out. `--check`
exits 1 when the record differs.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

from recording import keep


def record() -> dict[str, Any]:
    """Return the record of the installed axolotl's own chat templates, rendered by the installed transformers."""
    from axolotl.utils.chat_templates import base
    from transformers.utils.chat_template_utils import render_jinja_template

    from alphaf_orch.inputs.chat_templates import EOS, of_system
    from alphaf_orch.programs.turn_end import tails

    found: dict[str, Any] = {}
    for name, text in sorted(base._CHAT_TEMPLATES.items()):

        def render(messages: list[dict[str, str]], text: str = text) -> str:
            rendered, _ = render_jinja_template([messages], chat_template=text, bos_token="", eos_token=EOS)
            return str(rendered[0])

        taken, dropped = of_system(render)
        entry: dict[str, Any] = {"tails": list(tails(render)), "system": taken}
        if dropped:
            entry["drops_system"] = True
        found[name] = entry
    return {"axolotl": version("axolotl"), "templates": found}


if __name__ == "__main__":
    sys.exit(keep("alphaf_orch/schemas/chat_templates.json", record, __doc__))
