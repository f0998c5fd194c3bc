"""Write tests/records/unsloth.json: the parameters of the unsloth calls we make, read from its source.

unsloth cannot be installed beside a CPU build of torch, so its source is read, never imported:
`python tools/record_unsloth_signatures.py FOLDER`, where FOLDER holds the package (an unpacked wheel or a
site-packages folder). `--check` exits 1 when the record differs.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from recording import keep

CALLS = {
    "FastLanguageModel.from_pretrained": "loader.py",
    "FastLlamaModel.get_peft_model": "llama.py",
}


def parameters(source: str, call: str) -> list[str]:
    """Return the parameter names of `Class.method` in a module's source, in order."""
    owner, _, name = call.partition(".")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.name == owner:
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name == name:
                    return [a.arg for a in (*part.args.args, *part.args.kwonlyargs)]
    raise SystemExit(f"{call} is not in the source")


def record(folder: Path) -> dict[str, object]:
    """Return the version and the parameters of each call."""
    version = next(folder.glob("unsloth-*.dist-info")).name.split("-")[1].removesuffix(".dist")
    models = folder / "unsloth" / "models"
    calls = {call: parameters((models / file).read_text(encoding="utf-8"), call) for call, file in CALLS.items()}
    return {"unsloth": version.removesuffix(".dist-info"), "calls": calls}


if __name__ == "__main__":
    sys.exit(keep("tests/records/unsloth.json", record, __doc__, "folder"))
