"""A table whose title, headers and cells are said in the reader's language."""

from __future__ import annotations

from typing import Any

from rich import table
from rich.console import RenderableType

from alphaf_orch.core.spoken import spoken


class Table(table.Table):
    """Rich's table, made of texts of ours; what is no text of ours stays as it is."""

    def __init__(self, *headers: str, title: str | None = None, **settings: Any) -> None:
        super().__init__(*headers, title=spoken(title or "") or None, **settings)

    def add_column(self, header: RenderableType = "", *given: Any, **settings: Any) -> None:
        """Add a column, its header said in the reader's language."""
        super().add_column(_said(header), *given, **settings)

    def add_row(self, *cells: RenderableType | None, **settings: Any) -> None:
        """Add a row, its texts said in the reader's language."""
        super().add_row(*map(_said, cells), **settings)


def _said(shown: Any) -> Any:
    return spoken(shown) if isinstance(shown, str) else shown
