"""A Llama tokenizer with `legacy: true` is the same one after it was saved and loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = "<|im_end|>\n금리<|im_end|>금리"
# A process of its own: what is mended here stays mended for all tests behind it.
SAVE = """
import json, sys
from transformers import LlamaTokenizer
if sys.argv[2] == "mended":
    from alphaf_orch.programs.architectures.llama_legacy import keep_legacy
    keep_legacy(); keep_legacy.cache_clear(); keep_legacy()
pieces = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), "<|im_end|>", "▁", "금", "리", "금리", "▁금리"]
merges = [("금", "리"), ("▁", "금리")]
made = LlamaTokenizer(
    vocab={piece: number for number, piece in enumerate(pieces)}, merges=merges, eos_token="<|im_end|>",
    legacy=json.loads(sys.argv[3]),
)
made.save_pretrained(sys.argv[1])
again = LlamaTokenizer.from_pretrained(sys.argv[1])
again.save_pretrained(sys.argv[1] + "/again")
twice = LlamaTokenizer.from_pretrained(sys.argv[1] + "/again")
ids = [one(sys.argv[4], add_special_tokens=False)["input_ids"] for one in (made, again, twice)]
shown = [made.convert_ids_to_tokens(row) for row in ids]
print("RESULT" + json.dumps(shown))
"""
SPACED = ["<|im_end|>", "▁", "<0x0A>", "금리", "<|im_end|>", "▁금리"]
CLOSE = ["<|im_end|>", "<0x0A>", "금리", "<|im_end|>", "금리"]


@pytest.mark.parametrize(
    ("how", "legacy", "wanted"),
    [
        ("mended", True, [SPACED, SPACED, SPACED]),
        ("mended", False, [CLOSE, CLOSE, CLOSE]),
        # Where this fails, transformers keeps the rule itself and the module can go.
        ("as it is", True, [SPACED, CLOSE, CLOSE]),
    ],
)
def test_the_rule_outlives_saving(how: str, legacy: bool, wanted: list[list[str]], tmp_path: Path) -> None:
    folder = tmp_path / "토크나이저"
    argv = [sys.executable, "-c", SAVE, str(folder), how, json.dumps(legacy), TEXT]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    assert json.loads(line.removeprefix("RESULT")) == wanted
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings.get("legacy") is (True if how == "mended" and legacy else None)
