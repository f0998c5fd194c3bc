"""A finished run of tiny real models, made without training, and partners of every kind: where merge tests start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from tiny import CHATML, llama, tokenizer

MESSAGES = [
    {"role": "user", "content": "기준금리는 누가 정합니까?"},
    {"role": "assistant", "content": "금융통화위원회입니다."},
]
VICUNA = (
    "{% for m in messages %}{{ ('Human: ' if m['role'] == 'user' else 'Assistant:\\n') + m['content'] + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"
)


def save_model(
    folder: Path,
    seed: int,
    *,
    tied: bool = False,
    dtype: str = "float32",
    words: Any = None,
    template: str | None = CHATML,
    licence: str | None = None,
    **sizes: Any,
) -> Path:
    """Save a random Llama with its tokenizer into the folder; return it."""
    import torch

    made = words or tokenizer()
    made.chat_template = template
    model = llama(sizes.pop("rows", len(made)), tied=tied, seed=seed, **sizes).to(getattr(torch, dtype))
    for part in (model.config, model.generation_config):
        part.bos_token_id, part.eos_token_id = made.bos_token_id, made.eos_token_id
        part.pad_token_id = made.pad_token_id
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    if licence:
        (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n# 모델\n", encoding="utf-8")
    return folder


def other_words() -> Any:
    """Return the tiny tokenizer with one token fewer and two more, so that most ids are others."""
    core = json.loads(tokenizer().backend_tokenizer.to_str())
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    vocabulary = core["model"]["vocab"]
    last = max((token for token in vocabulary if len(token) > 1), key=vocabulary.__getitem__)
    core["model"]["merges"] = [merge for merge in core["model"]["merges"] if "".join(merge) != last]
    del vocabulary[last]
    # The first ones are the special tokens; the rest is turned round.
    size = len(vocabulary)
    core["model"]["vocab"] = {t: i if i < 5 else size + 4 - i for t, i in vocabulary.items()}
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(core)),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="<|im_end|>",
        pad_token="</s>",
    )
    made.add_tokens(["<|파트너|>"], special_tokens=True)
    return made


def write_merge_run(root: Path, base: Path, **own: Any) -> Path:
    """Write a run whose SFT and DPO models are finished, made from the base; return its folder."""
    for seed, section in enumerate(("sft", "dpo"), start=1):
        folder = save_model(root / section / "merged", seed, **own)
        ids = tokenizer().apply_chat_template(MESSAGES, tokenize=True, return_dict=False)
        place = root / "probes"
        place.mkdir(exist_ok=True)
        (place / f"{section}.jsonl").write_text(
            json.dumps({"messages": MESSAGES, "input_ids": list(ids)}, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        contract = {
            "merged_dir": str(folder),
            "probe": str(place / f"{section}.jsonl"),
            "trained_ids": str(place / f"{section}.jsonl"),
        }
        (root / "rendered").mkdir(exist_ok=True)
        (root / "rendered" / f"merge_{section}_contract.yaml").write_text(
            yaml.safe_dump(contract, allow_unicode=True), encoding="utf-8"
        )
    (root / "probes" / "data.jsonl").write_text(
        json.dumps({"messages": MESSAGES}, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (root / "config.yaml").write_text(yaml.safe_dump({"model": str(base)}, allow_unicode=True), encoding="utf-8")
    ended = {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:01+00:00", "seconds": 1.0}
    done = {"state": "done", "version": 1, "spec": {}, "result": {}, **ended}
    stages = {name: {**done, "fingerprint": name, "log": f"logs/{name}.log"} for name in ("merge_sft", "merge_dpo")}
    manifest = {
        "format": 1, "run": root.name, "alphaf": "0.1.0", "created": "2026-01-01", "model": base.name,
        "base_model": str(base), "base_revision": None, "licence": "Apache-2.0", "machine": {"python": "3.11"},
        "stages": stages,
    }  # fmt: skip
    (root / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
    return root
