"""`alphaf clean`: parse, call one function, print."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, out_console, with_options
from alphaf_orch.core.disk import size
from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.core.names import named_folder
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, cache_dir, runs_dir
from alphaf_orch.core.places import freed
from alphaf_orch.core.shown import Table, show_line
from alphaf_orch.core.spoken import say
from alphaf_orch.runs.cleaning import caches
from alphaf_orch.runs.cleaning.needless import Found, arms, everywhere, in_use, of_run
from alphaf_orch.runs.cleaning.remove import clean_run
from alphaf_orch.runs.find import existing_run

_AGE = re.compile(r"(\d{1,9})\s*([hdw])")
_AGE_S = {"h": 3600, "d": 86400, "w": 7 * 86400}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


class _Age(click.ParamType[float]):
    """A time such as 12h, 30d or 2w, in seconds."""

    name = "AGE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds; fail for what is no such time."""
        found = _AGE.fullmatch(str(value).strip().lower())
        if not found:
            self.fail(f"{value} is no time: write 12h, 30d or 2w", param, ctx)
        return float(int(found[1]) * _AGE_S[found[2]])


class _Size(click.ParamType[int]):
    """An amount such as 500M or 50G, in bytes; powers of 1024, as everything that is printed."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes; fail for what is no amount."""
        found = _SIZE.fullmatch(str(value).strip())
        if not found:
            self.fail(f"{value} is no amount: write 500M or 50G", param, ctx)
        return round(float(found[1]) * float(1024 ** " kmgt".index(found[2].lower() or " ")))


@command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--merged", is_flag=True, help="Also merged models that only the next stage of their chain read.")
@click.option("--caches", "only_caches", is_flag=True, help="The caches alone: what each holds, and since when unused.")
@click.option("--older-than", type=_Age(), metavar="AGE", help="Of our caches, what was not used for 30d, 2w, 12h.")
@click.option("--max-size", type=_Size(), metavar="SIZE", help="Of our caches, the least recently used beyond 50G.")
@click.option("--yes", "-y", is_flag=True, help="Delete it; without, it is only shown.")
@with_options("as_json")
def clean(
    runs: tuple[str, ...],
    merged: bool,
    only_caches: bool,
    older_than: float | None,
    max_size: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Show what finished runs need no more, and what the caches hold; with --yes, delete it.

    Without a name, every run and the caches. Of runs that are in use or not finished nothing is touched; of the
    caches only what --older-than or --max-size names.
    """
    bounded = older_than is not None or max_size is not None
    if runs and (only_caches or bounded):
        raise ConfigError(
            "caches belong to no run",
            where=" ".join(runs),
            fix="leave out the names, or the options of caches",
            code="config.not_together",
        )
    found = _named(runs, merged) if runs else [] if only_caches else everywhere(merged=merged)
    entries = [] if runs else caches.entries()
    gone = caches.chosen(entries, older_than_s=older_than, max_size=max_size, now=time.time()) if bounded else ()
    told = _told(found, entries, gone)
    if not as_json:
        _print(out_console(), found, entries, gone, shown=not runs)
    if yes:
        told["freed"] = _delete(found, gone, merged=merged, told=not as_json)
    elif not as_json:
        _next(found, gone)
    if as_json:
        answer("clean", told)


def _named(names: Sequence[str], merged: bool) -> list[Found]:
    """Return what may go of the named runs; raise RunStateError for one that is in use."""
    found = []
    for name in names:
        folder = runs_dir() if "/" in name else named_folder(runs_dir(), name)  # an arm is a run
        several = (folder / EXPERIMENT_FILE).is_file()
        each = [RunPaths(file.parent) for file in arms(folder)] if several else [existing_run(name)]
        for paths in each:
            busy = in_use(paths)
            if busy:
                raise RunStateError(busy, where=str(paths.root), fix="clean it when that has ended", code="run.in_use")
            found.append(of_run(paths, merged=merged))
    return found


def _delete(found: Sequence[Found], gone: Sequence[caches.Entry], *, merged: bool, told: bool) -> int:
    total = 0
    for each in found:
        if not each.items:
            continue
        try:
            total += clean_run(each, merged=merged)[0]
        except RunStateError as error:  # begun since it was looked at
            say(f"kept: {each.name}: {error.what}", err=True)
    size_of_caches, used = caches.drop(gone)
    for name in used:
        say(f"kept: {name}: in use", err=True)
    if told:
        say(f"deleted: {size(total + size_of_caches)}")
    return total + size_of_caches


def _next(found: Sequence[Found], gone: Sequence[caches.Entry]) -> None:
    paths = [item.path for each in found for item in each.items]
    total = freed(paths) + sum(entry.size for entry in gone)
    if paths or gone:
        say(f"nothing was deleted; the same command with --yes frees {size(total)}")
    else:
        say("nothing of it needs to go")


def _print(
    console: Console,
    found: Sequence[Found],
    entries: Sequence[caches.Entry],
    gone: Sequence[caches.Entry],
    *,
    shown: bool,
) -> None:
    if any(each.items for each in found):
        table = _table("run", "what", "kind", "size", "last used", "why it may go")
        for each in found:
            for item in each.items:
                why = f"{item.why}; then {item.lost}" if item.lost else item.why
                place = str(item.path.relative_to(each.paths.root))
                table.add_row(each.name, place, item.kind, size(item.size), _day(item.used), why)
        console.print(table)
    for each in found:
        for reason in each.kept:
            show_line(console, f"kept: {each.name}: {reason}")
    if shown:
        _print_caches(console, entries, gone)


def _print_caches(console: Console, entries: Sequence[caches.Entry], gone: Sequence[caches.Entry]) -> None:
    table = Table(
        "cache", "entries", "size", "last used", "unused since", "what it is; what becomes of what is deleted"
    )
    for kind, (what, then) in caches.OURS.items():
        own = [entry for entry in entries if entry.kind == kind]
        if own:
            used = [entry.used for entry in own]
            total = size(sum(entry.size for entry in own))
            table.add_row(Text(kind), f"{len(own):,}", total, _day(max(used)), _day(min(used)), f"{what}; {then}")
    for cache in caches.theirs():
        used_ = _day(cache.used) if cache.used else ""
        table.add_row(cache.name, "", size(cache.size), used_, "", f"{cache.folder}: not ours; {cache.fix}")
    if table.row_count:
        console.print(table)
        show_line(console, f"ours are in {cache_dir()}; --older-than 30d and --max-size 50G bound them")
    for entry in gone:
        name = f"{entry.kind}/{entry.name}"
        show_line(console, f"goes: {name}, {size(entry.size)}, last used {_day(entry.used)}")


def _table(*names: str) -> Table:
    """Return a table that cuts no name short."""
    table = Table()
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _told(found: Sequence[Found], entries: Sequence[caches.Entry], gone: Sequence[caches.Entry]) -> dict[str, Any]:
    return {
        "items": [
            {
                "run": each.name,
                "path": str(item.path),
                "kind": item.kind,
                "bytes": item.size,
                "used": item.used,
                "why": item.why,
                "lost": item.lost,
            }
            for each in found
            for item in each.items
        ],
        "kept": [{"run": each.name, "why": reason} for each in found for reason in each.kept],
        "caches": [
            {
                "kind": entry.kind,
                "name": entry.name,
                "bytes": entry.size,
                "used": entry.used,
                "kept": entry.kept,
                "goes": entry in gone,
            }
            for entry in entries
        ],
        "freed": 0,
    }


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
