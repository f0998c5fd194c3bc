"""The hand-off contract: what must hold of a merged model before another stage, or a user, may load it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import read_json
from alphaf_orch.programs.merging.contract_models import Models
from alphaf_orch.programs.merging.contract_turns import turns_line
from alphaf_orch.programs.merging.contract_weights import Line, dtype_line, embedding_rows_line, keys_line, weights_line
from alphaf_orch.programs.training.template_tokens import template_tokens

PROBES = 64  # ours: probe conversations tried before giving up; each renders in milliseconds
SPECIAL_IDS = ("eos_token_id", "pad_token_id", "bos_token_id")


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What to check and where, as written in contract.yaml; paths are made of its strings."""

    base_model: str  # a folder, or a hub id whose files are in the local cache
    base_revision: str | None = None
    adapter_dir: Path
    scratch_dir: Path
    merged_dir: Path
    adapter: str  # qlora, lora or full
    dtype: str | None = None  # bfloat16, float16 or float32; None asks for what the base has
    probe: Path | None = None  # JSONL rows with `messages`; None where the data has no conversations
    trained_ids: tuple[Path, ...]  # axolotl's prepared folders, or JSONL rows with `messages` and `input_ids`
    report: Path
    sampled_tensors: int = 12  # ours
    seed: int = 0
    tolerances: dict[str, float] = field(default_factory=dict)  # {weights: N} in spacings of the dtype
    trust_remote_code: bool = False
    eot_tokens: list[str] | None = None  # what ends a turn; None: what the chat template writes there; []: nothing
    train_on_inputs: bool = False  # whether users' turns carry loss on purpose
    trained_turns: str = "all"  # which of the assistant's turns carry loss: all, or the last (DPO)

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> Contract:
        """Return the contract of a parsed contract.yaml; raises ValueError naming the key that is wrong."""
        known = {part.name for part in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown key {unknown[0]!r}")
        given = {key: value for key, value in values.items() if value is not None}
        for key in ("adapter_dir", "scratch_dir", "merged_dir", "report"):
            if key not in given:
                raise ValueError(f"key {key!r} is missing")
            given[key] = Path(given[key])
        if "probe" in given:
            given["probe"] = Path(given["probe"])
        paths = given.get("trained_ids", ())
        given["trained_ids"] = tuple(Path(p) for p in ([paths] if isinstance(paths, str) else paths))
        if not given["trained_ids"]:
            raise ValueError("key 'trained_ids' is missing")
        for key, choices in (
            ("adapter", ("qlora", "lora", "full")),
            ("dtype", (None, "bfloat16", "float16", "float32")),
            ("trained_turns", (None, "all", "last")),
        ):
            if given.get(key) not in choices:
                raise ValueError(f"{key} is {given.get(key)!r}, expected one of {', '.join(map(str, choices))}")
        if "base_model" not in given:
            raise ValueError("key 'base_model' is missing")
        return cls(**given)

    def base_dir(self) -> Path:
        """Return the base model's folder; raises FileNotFoundError for a hub id that is not cached here."""
        if Path(self.base_model).is_dir():
            return Path(self.base_model)
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(self.base_model, revision=self.base_revision, local_files_only=True))


def load_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    """Return the tokenizer of a folder, from its own files only."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)


def render(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    """Return the token ids of a whole conversation under the tokenizer's own chat template."""
    return list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False))


def _described(tokenizer: Any) -> dict[str, Any]:
    return {
        "size": len(tokenizer),
        "special_tokens": {
            name: [token, tokenizer.convert_tokens_to_ids(token)]
            for name, token in sorted(tokenizer.special_tokens_map.items())
            if isinstance(token, str)
        },
        "added_tokens": dict(sorted(tokenizer.get_added_vocab().items())),
        "chat_template": tokenizer.chat_template,
        "vocabulary": tokenizer.get_vocab(),
    }


def tokenizer_line(merged: Any, trained: Any) -> Line:
    """Return whether the merged tokenizer is the trained one: vocabulary, special tokens, chat template."""
    found, wanted = _described(merged), _described(trained)
    differing = [key for key in wanted if found[key] != wanted[key]]
    moved = sum(found["vocabulary"].get(token) != i for token, i in wanted["vocabulary"].items())
    details = [f"{key} is {found[key]!r}, trained with {wanted[key]!r}" for key in differing if key != "vocabulary"]
    details += [f"{moved} tokens of the trained vocabulary are missing or moved"] if moved else []
    if wanted["chat_template"] is None:
        details.append("the trained tokenizer has no chat template")
    for side in (found, wanted):
        del side["vocabulary"]  # hundreds of thousands of entries do not belong in a report
    return Line("tokenizer", not details and not differing, found, wanted, "; ".join(details))


def eos_pad_line(tokenizer: Any, config: dict[str, Any], generation: dict[str, Any]) -> Line:
    """Return whether tokenizer, config.json and generation_config.json agree on eos, pad and bos ids."""
    expected = {key: getattr(tokenizer, key) for key in SPECIAL_IDS}
    measured: dict[str, Any] = {
        "config.json": {key: config.get(key) for key in SPECIAL_IDS},
        "generation_config.json": {key: generation.get(key) for key in SPECIAL_IDS},
    }
    problems = [f"the tokenizer has no {key}" for key in SPECIAL_IDS[:2] if expected[key] is None]
    for name, ids in measured.items():
        for key, value in ids.items():
            if expected[key] is None:
                continue
            # Only eos may be a list: a model can end a turn with several tokens.
            agrees = expected[key] in value if isinstance(value, list) else value == expected[key]
            if not agrees:
                problems.append(f"{name} has {key} {value}, the tokenizer {expected[key]}")
    same = expected["pad_token_id"] is not None and expected["pad_token_id"] == expected["eos_token_id"]
    warning = ["warning: pad is eos, so a trainer that masks pad also masks the end of an answer"] if same else []
    return Line("eos_pad", not problems, measured, expected, "; ".join(problems + warning))


def _trained_rows(paths: tuple[Path, ...]) -> Iterator[tuple[int, Any, Any]]:
    """Yield length, ids and labels (None: not recorded), as arrow scalars, of JSONL files' and arrow folders' rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for path in paths:
        if path.is_file():
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    ids, labels = (pa.scalar(row.get(k), pa.list_(pa.int64())) for k in ("input_ids", "labels"))
                    yield len(row["input_ids"]), ids, labels if "labels" in row else None
        for file in sorted(path.rglob("*.arrow")) if path.is_dir() else ():
            with pa.memory_map(str(file)) as source:
                for batch in pa.ipc.open_stream(source):
                    column = batch.column("input_ids")
                    labels = batch.column("labels") if "labels" in batch.schema.names else None
                    for i, length in enumerate(pc.list_value_length(column).to_pylist()):
                        yield length, column[i], None if labels is None else labels[i]


def _shared_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def ids_line(tokenizer: Any, trained: tuple[Path, ...]) -> Line:
    """Return whether the trained ids mean something to the tokenizer: all that can be said without conversations."""
    ids = [i for _, row, _ in islice(_trained_rows(trained), PROBES) for i in row.as_py()]
    outside = sum(i >= len(tokenizer) for i in ids)
    # A tokenizer may call its eos or bos the unknown token too: then nothing is known of them without the texts.
    meant = tokenizer.unk_token_id in (None, *(getattr(tokenizer, key) for key in SPECIAL_IDS))
    unknown = 0 if meant else ids.count(tokenizer.unk_token_id)
    measured = {"ids": len(ids), "outside": outside, "unknown_ids": unknown}
    detail = "the data holds no conversations: only the ids themselves were checked"
    return Line(
        "rendering", bool(ids) and not outside and not unknown, measured, {"outside": 0, "unknown_ids": 0}, detail
    )


def rendering_line(tokenizer: Any, probe: Path | None, trained: tuple[Path, ...], trust_remote_code: bool) -> Line:
    """Return whether a probe conversation renders to the very ids of a trained row, without unk, stably."""
    if probe is None:
        return ids_line(tokenizer, trained)
    expected = {"found": True, "unknown_ids": 0, "changed_by_saving": 0}
    if tokenizer.chat_template is None:
        return Line("rendering", False, None, expected, "the tokenizer has no chat template")
    rows = _probes(probe)
    rendered = [render(tokenizer, messages) for messages in rows]
    wanted, lengths = {tuple(ids) for ids in rendered}, {len(ids) for ids in rendered}
    problems = []
    # Lengths first: only a row as long as a probe is turned into Python integers.
    found = any(n in lengths and tuple(ids.as_py()) in wanted for n, ids, _ in _trained_rows(trained))
    closest = 0
    if not found:
        for _, ids, _ in islice(_trained_rows(trained), PROBES):
            closest = max([closest, *(_shared_prefix(ids.as_py(), one) for one in rendered)])
        problems.append(
            f"none of {len(rows)} probe rows is among the trained rows; the closest pair shares {closest} ids"
        )
    # What a person wrote may hold a character that the base never had; the template's own text must not.
    unknown = len(template_tokens(tokenizer, rows).unknown)
    problems += (
        [f"{unknown} pieces of the chat template are the unknown token {tokenizer.unk_token}"] if unknown else []
    )
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        again = load_tokenizer(Path(folder), trust_remote_code)
        changed = sum(render(again, messages) != ids for messages, ids in zip(rows, rendered, strict=True))
    problems += [f"{changed} of {len(rows)} probe rows change when the tokenizer is saved again"] if changed else []
    measured = {"found": found, "unknown_ids": unknown, "changed_by_saving": changed}
    return Line("rendering", not problems, measured, expected, "; ".join(problems))


def _probes(probe: Path | None) -> list[list[dict[str, str]]]:
    """Return the sample conversations, or none where the data holds no conversations."""
    if probe is None:
        return []
    with probe.open(encoding="utf-8") as lines:
        return [json.loads(line)["messages"] for line in islice(lines, PROBES)]


def turn_ends_line(
    tokenizer: Any,
    probe: Path | None,
    trained: tuple[Path, ...],
    generation: dict[str, Any],
    *,
    eot_tokens: Sequence[str] | None = None,
    train_on_inputs: bool = False,
    trained_turns: str = "all",
) -> Line:
    """Return whether each answer's end carries loss in the trained rows, no other turn does, and generation stops."""
    conversations = [(messages, render(tokenizer, messages)) for messages in _probes(probe) if tokenizer.chat_template]
    return turns_line(
        tokenizer,
        conversations,
        _trained_rows(trained),
        generation,
        eot_tokens=eot_tokens,
        train_on_inputs=train_on_inputs,
        trained_turns=trained_turns,
    )


def check(contract: Contract, merged_dir: Path) -> list[Line]:
    """Return every line of the contract for a merged folder, in report order."""
    remote = contract.trust_remote_code
    models = Models(merged_dir, contract.base_dir(), contract.adapter_dir, contract.adapter, remote)
    config = read_json(merged_dir / "config.json")
    generation = read_json(merged_dir / "generation_config.json")
    tokenizer = load_tokenizer(merged_dir, remote)
    # Full fine-tuning writes what it trained in; an adapter's merge writes what the base has.
    dtype = contract.dtype or (models.merged if contract.adapter == "full" else models.base).main_dtype()
    return [
        tokenizer_line(tokenizer, load_tokenizer(contract.adapter_dir, remote)),
        embedding_rows_line(models, len(tokenizer), config.get("vocab_size", 0)),
        eos_pad_line(tokenizer, config, generation),
        dtype_line(models, dtype),
        keys_line(models),
        weights_line(
            models,
            dtype,
            sampled=contract.sampled_tensors,
            seed=contract.seed,
            tolerance=contract.tolerances.get("weights"),
        ),
        rendering_line(tokenizer, contract.probe, contract.trained_ids, remote),
        turn_ends_line(
            tokenizer,
            contract.probe,
            contract.trained_ids,
            generation,
            eot_tokens=contract.eot_tokens,
            train_on_inputs=contract.train_on_inputs,
            trained_turns=contract.trained_turns,
        ),
    ]
