"""What identifies a model folder: a hash of every byte that a loader reads, taken once, kept until a file changes."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from alphaf_orch.core.disk import size
from alphaf_orch.core.errors import ModelError
from alphaf_orch.core.spoken import say
from alphaf_orch.inputs.kept import SMALL_BYTES, drop_absent, keep, kept, lasting, times
from alphaf_orch.inputs.model_files import WEIGHTS, shards
from alphaf_orch.inputs.model_json import model_json
from alphaf_orch.programs.digests import blocks
from alphaf_orch.programs.digests import digests as _read
from alphaf_orch.programs.tokenizer_files import PATTERNS

PREFIX = "local:sha256:"
# Earlier versions hashed the last 64 KiB of each weight file: models that differ elsewhere had one name.
_OLD = re.compile(r"local:[0-9a-f]{32}")
EARLIER = "an earlier version told models apart by the ends of their weight files only"
# What transformers and the servers read beside the weights: settings, tokenizer, chat templates, a model's own code.
_BESIDE = (
    "config.json", "generation_config.json", "adapter_config.json", "*processor_config.json", *PATTERNS,
    "additional_chat_templates/*.jinja", "*.py",
)  # fmt: skip
QUICK_BYTES = 1 << 30  # ours: about a second on one core; more is worth a line on the terminal
_KIND = "identity"  # of what is kept
_OLD_WEIGHTS = (".safetensors", ".bin", ".pth")


def folder_identity(folder: Path) -> str:
    """Return a fingerprint of a model folder that changes with any byte of what a loader reads.

    Weights are those that transformers would load, with settings, tokenizer and code beside them; other files (a
    card, a GGUF, checkpoints) are no part of the model. A large file is read once and known again by inode, size and
    times; says so on stderr where that takes long. Raises ModelError for a file that cannot be read or that changes
    meanwhile.
    """
    files = model_files(folder)
    unread = unread_bytes(files.values())
    if unread > QUICK_BYTES:
        say(f"model {folder}: reading {size(unread)} once to know its weights; kept until a file changes", err=True)
    digest = hashlib.sha256()
    for name, content in zip(files, _digests(list(files.values())), strict=True):
        digest.update(f"{name}\0{content}\n".encode())
    return PREFIX + digest.hexdigest()


def known_identity(folder: Path) -> str | None:
    """Return the fingerprint where it is known or quickly found out, else None: for what only shows a plan."""
    return folder_identity(folder) if unread_bytes(model_files(folder).values()) <= QUICK_BYTES else None


def is_old(identity: object) -> bool:
    """Return whether an earlier version wrote the fingerprint, which does not tell all models apart."""
    return isinstance(identity, str) and _OLD.fullmatch(identity) is not None


def old_identity(folder: Path) -> str:
    """Return what an earlier version called the folder: names, sizes, ends of the weights, other files whole.

    Only to recognise the base model of a run that was begun with it.
    """
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != "." and p.suffix != ".md"):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        for block in blocks(file, max(0, size - (1 << 16)) if file.suffix in _OLD_WEIGHTS else 0, size):
            digest.update(block)
    return f"local:{digest.hexdigest()[:32]}"


def model_files(folder: Path) -> dict[str, Path]:
    """Return the files that a loader would read, by their name in the folder and in its order."""
    found = {*settings_files(folder), *_weights(folder)}
    return {os.path.relpath(file, folder): file for file in sorted(found) if file.is_file()}


def settings_files(folder: Path) -> list[Path]:
    """Return the files beside the weights that a loader would read: settings, tokenizer, chat templates, code."""
    return sorted({file for pattern in _BESIDE for file in folder.glob(pattern) if file.is_file()})


def _weights(folder: Path) -> set[Path]:
    """Return the weight files: those that transformers or a server would choose; where none has such a name, all."""
    config = model_json(folder / "config.json") or {}
    found = {folder / name for name in [config.get("transformers_weights")] if isinstance(name, str)}
    if (folder / "adapter_config.json").is_file():  # transformers would lay it over its base
        found |= set(folder.glob("adapter_model.*"))
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        # Where both are there, who reads decides which: so both count.
        chosen = {folder / name, index, *(folder / shard for shard in shards(index))}
        if any(file.is_file() for file in chosen):
            return found | chosen
        same_kind = set(folder.glob(f"*{Path(name).suffix}"))
        if same_kind:
            return found | same_kind
    return found


def link(source: Path, target: Path) -> None:
    """Make a hard link of a finished file; what is known of its bytes stays known, though its ctime changes."""
    known = _known(source.stat())
    os.link(source, target)
    if known:
        keep(_KIND, source, source.stat(), {"sha256": known})


def _known(stat: os.stat_result) -> str | None:
    return (kept(_KIND, stat) or {}).get("sha256")


def unread_bytes(files: Iterable[Path]) -> int:
    """Return how much `file_digests` would read of files that are worth a thought: small ones are not."""
    stats = [file.stat() for file in files]
    return sum(stat.st_size for stat in stats if stat.st_size > SMALL_BYTES and _known(stat) is None)


def _digests(files: Sequence[Path]) -> list[str]:
    """Return the digest of each file, in order, as a mistake of the model where one cannot be read."""
    try:
        return file_digests(files)
    except OSError as error:
        raise ModelError(
            f"a file of the model cannot be read: {error.strerror}",
            where=str(error.filename),
            fix="make it readable, or copy it again",
            code="model.unreadable",
        ) from error


def file_digests(files: Sequence[Path]) -> list[str]:
    """Return the digest of each file (programs.digests), in order; what is known of a large one is not read again.

    Raises OSError for a file that cannot be read, ModelError for one that changes meanwhile.
    """
    before = [file.stat() for file in files]
    found = {n: known for n, stat in enumerate(before) if (known := _known(stat)) is not None}
    began = time.time_ns()
    unread = [n for n in range(len(files)) if n not in found]
    read = _read([files[n] for n in unread], [before[n].st_size for n in unread])
    for n, digest in zip(unread, read, strict=True):
        if times(files[n].stat()) != times(before[n]):
            raise ModelError(
                "a file of the model changed while it was read",
                where=str(files[n]),
                fix="wait until what writes it has ended, then give the same command",
                code="model.changed",
            )
        found[n] = digest
        if lasting(before[n], began):
            keep(_KIND, files[n], before[n], {"sha256": digest})
    if any(before[n].st_size > SMALL_BYTES for n in unread):
        drop_absent(_KIND)
    return [found[n] for n in range(len(files))]
