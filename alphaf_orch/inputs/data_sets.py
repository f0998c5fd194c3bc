"""The data that a run names, read and checked: local files, folders, sets of the hub, the rows we ship."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from alphaf_orch.core.errors import DataError
from alphaf_orch.core.several import found_in, raise_all
from alphaf_orch.inputs.formats import Reading, read_hub, read_local
from alphaf_orch.inputs.samples import sample_path
from alphaf_orch.inputs.sources import Source, locate_hub, parse_source
from alphaf_orch.programs.rows import Kind

SAMPLES: Mapping[Kind, Mapping[str, str]] = {
    "chat": {"sample": "finance_ko_sft.jsonl", "sample-citation": "finance_ko_citation.jsonl"},
    "preference": {"sample": "finance_ko_dpo.jsonl"},
}


def check_sources(
    names: tuple[str, ...], kind: Kind, env: Mapping[str, str], how: Reading | None = None
) -> tuple[Source, ...]:
    """Return every named source checked to its last row; the names in SAMPLES are rows we ship.

    A hub set must be in the cache unless `env` allows the network. Raises DataError for rows that must not be trained
    on, those of all the sources in one, and for texts beside conversations, which are two trainings.
    """
    found: list[Source] = []
    raise_all(found_in(partial(_read_into, found, name, kind, env, how or Reading()) for name in names))
    texts = [source for source in found if source.format == "text"]
    if texts and len(texts) < len(found):
        raise DataError(
            "texts for continued pretraining and conversations are given together",
            where=texts[0].path,
            fix="train on the texts in a run of its own (`alphaf sft`), then on the conversations from its model"
            " (--model FOLDER)",
            code="data.kinds_mixed",
        )
    return tuple(found)


def _read_into(found: list[Source], name: str, kind: Kind, env: Mapping[str, str], how: Reading) -> None:
    source = parse_source(str(sample_path(SAMPLES[kind][name])) if name in SAMPLES[kind] else name)
    if source.kind == "local":
        found.append(read_local(Path(source.path), kind, how))
        return
    source = locate_hub(source, env)
    found.append(read_hub(source, kind, how) if source.snapshot else source)
