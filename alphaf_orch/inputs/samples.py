"""Korean finance sample data for trying the pipeline; all names of firms and products are invented."""

from __future__ import annotations

from pathlib import Path

from alphaf_orch.core.paths import template_folders

FILES = ("finance_ko_sft.jsonl", "finance_ko_sft_heldout.jsonl", "finance_ko_dpo.jsonl", "finance_ko_citation.jsonl")


def sample_path(name: str) -> Path:
    """Return the path of one of FILES; raises ValueError for any other name."""
    if name not in FILES:
        raise ValueError(f"no sample file {name!r}; there are {', '.join(FILES)}")
    return template_folders()[-1] / "samples" / name
