"""Writes a report: the page and, beside it, the same as Markdown in both languages."""

from __future__ import annotations

from pathlib import Path

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.masking import mask
from alphaf_orch.core.record import write_atomic
from alphaf_orch.core.wording import LANGUAGES, Language
from alphaf_orch.report.blocks import Report
from alphaf_orch.report.html import render_html
from alphaf_orch.report.markdown import render_markdown


def write_report(content: Report, page: Path, language: Language) -> tuple[Path, ...]:
    """Write the files and return their paths, the page first; raise ConfigError where they cannot be written."""
    files = {page: render_html(content, language)}
    for each in LANGUAGES:
        files[page.with_name(f"{page.stem}.{each}.md")] = render_markdown(content, each)
    try:
        for path, text in files.items():
            write_atomic(path, mask(text))
    except OSError as error:
        raise ConfigError(
            f"the report cannot be written: {error.strerror}", where=str(page), fix="name another file with --output"
        ) from None
    return tuple(files)
