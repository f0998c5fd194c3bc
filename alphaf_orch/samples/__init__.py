"""Korean finance sample data for trying the pipeline; all names of firms and products are invented."""

from __future__ import annotations

from pathlib import Path

FILES = ("finance_ko_sft.jsonl", "finance_ko_sft_heldout.jsonl", "finance_ko_dpo.jsonl", "finance_ko_citation.jsonl")


def sample_path(name: str) -> Path:
    """Return the path of one of FILES; raises ValueError for any other name."""
    if name not in FILES:
        raise ValueError(f"no sample file {name!r}; there are {', '.join(FILES)}")
    return Path(__file__).with_name(name)
