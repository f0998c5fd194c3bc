"""What `alphaf ablate --detect` says: how many rows and seeds a difference needs."""

from __future__ import annotations

from rich.console import Console

from alphaf_orch.core.progress import tell
from alphaf_orch.core.tables import Table
from alphaf_orch.experiments.ablation.detect import Outlook
from alphaf_orch.scores.power import POWER, planned, rows_needed

_SEEDS = (1, 2, 3, 5, 8, 12)  # ours: who can pay for more trainings than twelve a variant need not be told

_MOST_SEEDS = 50


def print_outlook(console: Console, found: Outlook, points: float, seeds: int) -> None:
    """Print for some numbers of seeds what the suite's rows would show and how many rows the difference needs."""
    basis, wanted = found.basis, points / 100
    console.print(
        f"to see a difference of {points:g} points in the overall score with {POWER:.0%} power"
        f" ({found.tasks} tasks, {basis.rows:,} rows, about {basis.units:,.0f} of them independent;"
        f" {found.tests} tests, corrected by Holm):",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("seeds", f"seen from, with {basis.rows:,} rows", f"rows needed for {points:g} points", "")
    for count in seeds_shown(seeds):
        needed = rows_needed(basis, count, wanted, found.tests)
        enough = needed is not None and needed <= basis.rows
        note = "shows that rows differ, never why" if count == 1 else "enough" if enough else ""
        asked = " (asked for)" if count == seeds else ""
        seen = f"{100 * planned(basis, count, found.tests):.1f} points"
        table.add_row(f"{count}{asked}", seen, f"{needed:,}" if needed else "no number of rows", note)
    console.print(table)
    tell(console, f"needed: {needed_words(found, wanted)}")
    tell(console, f"noise of the rows: {found.rows_from}")
    tell(console, f"noise of the seeds: {found.seeds_from}")
    tell(console, "nothing was trained; leave --detect out to run the experiment")


def seeds_shown(seeds: int) -> list[int]:
    """Return the numbers of seeds that are shown, the one asked for among them."""
    return sorted({*_SEEDS, seeds})


def needed_words(found: Outlook, wanted: float) -> str:
    """Return the fewest seeds with the rows there are, else the fewest with which any number of rows would do."""
    needs = {count: rows_needed(found.basis, count, wanted, found.tests) for count in range(2, _MOST_SEEDS + 1)}
    for count, rows in needs.items():
        if rows is not None and rows <= found.basis.rows:
            return f"{count} seeds for each variant with the {found.basis.rows:,} rows of the suite"
    for count, rows in needs.items():
        if rows is not None:
            return f"{count} seeds for each variant and {rows:,} rows like these (the suite has {found.basis.rows:,})"
    return f"more than {_MOST_SEEDS} seeds for each variant, whatever the rows: ask for a larger difference"
