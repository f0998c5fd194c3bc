"""Which tokens a base model has not learnt, told from their rows in its embedding and its output head.

Certain, and so a reason to refuse:
- no row: the id lies behind the last row, so that training would add a random one;
- zero: no value above 1e-16, the bound of unsloth's and axolotl's `fix_untrained_tokens`;
- same: the row is another special or reserve token's within one bfloat16 spacing (2**-7 of its length), so that a
  model which computes in bfloat16 cannot tell the two apart. Rows that training never met stay as they were made,
  or move together: Qwen's maintainers say so of all their base's markers but <|endoftext|> (QwenLM/Qwen, issue 608);
  rows that transformers adds when it resizes all lie within 1e-9 covariances of the mean.
Likely, and so only said:
- faint, or near the mean: less than half as far from zero, or from the rows' mean, as 95 % of sampled ordinary rows
  (the norm and the distance to unused rows are the indicators of Land and Bartolo 2024, arXiv 2405.05417; the half and
  the 95 % are ours).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# The names axolotl's get_linear_embedding_layers knows, and GPT-2's.
EMBEDDINGS = ("embed_tokens", "embed_in", "word_embeddings", "embeddings", "wte")
HEADS = ("lm_head", "embed_out")
ZERO = 1e-16
SAME = 2**-7
FAR = 0.5
SAMPLE = 256  # ours: ordinary rows to compare with, a few MB of a 14B model
OTHERS = 4096  # ours: special and reserve tokens to compare with, about 40 MB of a 14B model


@dataclass(frozen=True)
class Finding:
    """One token that the base has not learnt, for certain or likely, and how its row says so."""

    token: int
    module: str
    certain: bool
    why: str


class Table:
    """An embedding or head in a safetensors file; guarantees that only the rows asked for are read."""

    def __init__(self, file: Path, name: str) -> None:
        from safetensors import safe_open

        self.file, self.name = file, name
        self.module = name.removesuffix(".weight").rpartition(".")[2]
        with safe_open(file, framework="pt") as opened:
            self.rows = int(opened.get_slice(name).get_shape()[0])

    def read(self, ids: Collection[int]) -> dict[int, torch.Tensor]:
        """Return the rows of the ids that have one, in float32."""
        import torch
        from safetensors import safe_open

        found: dict[int, torch.Tensor] = {}
        with safe_open(self.file, framework="pt") as opened:
            part = opened.get_slice(self.name)
            for start, end in _runs(i for i in ids if i < self.rows):
                found |= zip(range(start, end), part[start:end].to(torch.float32), strict=True)
        return found


def tables(folder: Path) -> tuple[Table | None, Table | None]:
    """Return a model folder's embedding and head; the head is None where it is the embedding, both where unknown.

    Tied is what config.json says, or, where it says nothing, a model without a head of its own.
    """
    files = _tensor_files(folder)
    embedding, head = (_named(files, modules) for modules in (EMBEDDINGS, HEADS))
    if embedding is None:
        return None, None
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tied = config.get("tie_word_embeddings", head is None)
    return Table(files[embedding], embedding), None if tied or head is None else Table(files[head], head)


def modules_to_save(folder: Path) -> tuple[str, ...]:
    """Return what lora_modules_to_save must name to train the rows of embedding and head, as axolotl wants it."""
    embedding, head = tables(folder)
    module = embedding.module if embedding else EMBEDDINGS[0]
    return module, head.module if head else HEADS[module == "embed_in"]


def _named(files: Mapping[str, Path], modules: Sequence[str]) -> str | None:
    found = (n for n in files if n.endswith(".weight") and n.removesuffix(".weight").rpartition(".")[2] in modules)
    return min(found, key=len, default=None)


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Return which file holds which tensor, from the index or the headers."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {name: folder / file for name, file in named.items()}
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as opened:
            files |= dict.fromkeys(opened.keys(), path)
    return files


def _runs(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the ids as half-open ranges of neighbours, so that a block of them is one read."""
    start = end = -1
    for i in sorted(set(ids)):
        if i != end:
            if end > start:
                yield start, end
            start = i
        end = i + 1
    if end > start:
        yield start, end


def untrained(
    folder: Path, tokenizer: Any, *, read: Sequence[int], written: Sequence[int], trained: Collection[str] | None
) -> list[Finding]:
    """Return what the rows say of the tokens a model must read and those it must write.

    `trained` are the modules whose rows training changes (lora_modules_to_save); None is all of them. Nothing is
    found in a model whose embedding has a name that is not known.
    """
    embedding, head = tables(folder)
    if trained is None or embedding is None:
        return []
    modules = {embedding.module, *((head.module,) if head else HEADS)}
    if head is None and modules & set(trained):
        return []  # tied: training either side trains both
    found: list[Finding] = []
    for table, asked in ((embedding, read), (head, written)):
        if table is not None and table.module not in trained:
            found += _judged(table, tokenizer, asked)
    return found


def _judged(table: Table, tokenizer: Any, asked: Sequence[int]) -> Iterator[Finding]:
    import torch

    special = {*tokenizer.get_added_vocab().values(), *tokenizer.all_special_ids}
    reserve = range(len(tokenizer), min(table.rows, len(tokenizer) + SAMPLE))
    others = table.read({*sorted(special)[:OTHERS], *reserve, *asked})
    size = min(len(tokenizer), table.rows)
    ordinary = set(range(0, size, max(1, size // SAMPLE))) - special - set(asked)
    sample = torch.stack(list(table.read(ordinary).values())) if ordinary else None
    for i in asked:
        row = others.get(i)
        if row is None:
            yield Finding(i, table.module, True, f"has no row in {table.module}, which has {table.rows:,}")
            continue
        if float(row.abs().max()) <= ZERO:
            yield Finding(i, table.module, True, f"has a row of zeros in {table.module}")
            continue
        same = [n for n, other in others.items() if n != i and float((row - other).norm()) <= SAME * float(row.norm())]
        if same:
            yield Finding(i, table.module, True, f"has the row of {_spelt(tokenizer, same)} in {table.module}")
        elif sample is not None and (why := _faint(row, sample)):
            yield Finding(i, table.module, False, f"has a row {why} in {table.module}")


def _faint(row: torch.Tensor, sample: torch.Tensor) -> str | None:
    for what, centre in (("near zero", row.new_zeros(())), ("near the mean of all rows", sample.mean(dim=0))):
        usual = float((sample - centre).norm(dim=-1).quantile(0.05))
        if float((row - centre).norm()) < FAR * usual:
            return what
    return None


def _spelt(tokenizer: Any, ids: Sequence[int]) -> str:
    names = [tokenizer.convert_ids_to_tokens(i) if i < len(tokenizer) else f"reserve row {i}" for i in ids]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
