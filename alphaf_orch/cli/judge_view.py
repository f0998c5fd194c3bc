"""A judge's figures for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from alphaf_orch.core.progress import tell
from alphaf_orch.core.tables import Table


def percent(estimate: Mapping[str, Any]) -> str:
    """Return a share with its interval, `62.5% [51.0, 73.1]`, or why there is none."""
    if estimate["value"] is None:
        return str(estimate["note"])
    text = f"{estimate['value']:.1%}"
    if estimate["low"] is None:
        return f"{text} ({estimate['note']})"
    return f"{text} [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"


def print_comparison(console: Console, summary: Mapping[str, Any], folder: Path) -> None:
    """Print who won, by category, and what makes the judge believable or not."""
    a, b = summary["a"], summary["b"]
    table = Table(f"{a} vs {b}", "prompts", "wins", "ties", "losses", f"win rate of {a} [95%]")
    for name, row in [*summary["categories"].items(), ("all", summary)]:
        n = row["win_rate"]["n"]
        table.add_row(name or "-", *map(str, (n, row["wins"], row["ties"], row["losses"])), percent(row["win_rate"]))
    console.print(table)
    consistency = summary["consistency"]
    chars = summary["mean_chars"]
    lines = {
        "length-controlled win rate": percent(summary["length_controlled"]["win_rate"]),
        "first shown wins": percent(summary["position_bias"]),
        "both orders agree": "-" if consistency is None else f"{consistency:.1%} of prompts",
        "mean length": "-" if chars["a"] is None else f"{a} {chars['a']:.0f}, {b} {chars['b']:.0f} characters",
    }
    if summary["identical_answers"]:
        lines["same answer"] = f"{summary['identical_answers']} prompts"
    _print(console, lines, summary, folder)


def print_votes(console: Console, summary: Mapping[str, Any], folder: Path) -> None:
    """Print the share of right answers of each stage."""
    table = Table(summary["source"], "rows", "O", "share of O [95%]", "without vote")
    for stage, row in summary["stages"].items():
        cells = (str(row["rows"]), str(row["right"]), percent(row["share"]), str(row["without_vote"]))
        table.add_row(stage, *cells)
    console.print(table)
    _print(console, {}, summary, folder)


def ended(summary: Mapping[str, Any]) -> str:
    """Return what became of everything that was asked: `18 judged, 12 refused`."""
    counts = {end: summary[end] for end in ("judged", "unreadable", "refused", "unanswered")}
    return ", ".join(f"{count} {end}" for end, count in counts.items() if count or end == "judged")


def _print(console: Console, lines: dict[str, str], summary: Mapping[str, Any], folder: Path) -> None:
    tokens = summary["tokens"]
    counted = f"{tokens['prompt']:,} in, {tokens['completion']:,} out"
    if tokens["verdicts_without_count"]:
        counted += f", not counted by the server for {tokens['verdicts_without_count']} verdicts"
    unreadable = f"{summary['parse_failures']} of {summary['verdicts']} verdicts; {summary['retried']} asked again"
    causes = [f"{cause['end']}, {cause['verdicts']} questions: {cause['why']}" for cause in summary["causes"]]
    asked = {"prompts" if "prompts" in summary else "rows": ended(summary)}
    shown = [*({"judge": summary["judge"], **asked, **lines, "unreadable": unreadable}).items()]
    shown += [("why", cause) for cause in causes] + [("tokens", counted), ("files", str(folder))]
    for name, text in shown:
        tell(console, f"{name}: {text}")
