"""What `alphaf watch` shows: lines for a terminal of any size, made of one look at the runs folder."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from alphaf_orch.board.described import Run, Stage, epoch
from alphaf_orch.board.followed import Curve
from alphaf_orch.board.state import QUIET_S, Snapshot, Working
from alphaf_orch.core.progress import clock
from alphaf_orch.core.spoken import spoken
from alphaf_orch.core.tail import one_line

Curves = Callable[[str, str], Curve | None]

_STYLE = {
    "running": "green", "working": "green", "done": "dim", "queued": "yellow", "requeued": "yellow",
    "failed": "bold red", "damaged": "bold red", "interrupted": "magenta",
}  # fmt: skip
_BARS, _ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
_TREND, _TREND_ROWS = 12, 60  # cells, and the newest logged rows that they show; ours
_LAST = 5  # runs that have ended, of those that changed last
_BESIDE = 10  # lines of a screen that are no rows: title, heads, cards, what ended last
_LEAST = 3  # rows of however small a screen
_LOGS = 3  # stages whose last lines are shown
# A phone's ssh shows what and how far, a wide screen also how fast and where.
_FROM_WIDTH = {"loss": 50, "trend": 72, "tokens/s": 84, "where": 100}
_FULL_WIDTH = 200  # ours: a line of a log that is wider is read in the log


@dataclass(frozen=True)
class View:
    """How wide and high a screen is and what it can show; height 0: there is no end to it."""

    width: int
    height: int
    unicode: bool

    @property
    def ellipsis(self) -> str:
        """What stands for what is cut off."""
        return "…" if self.unicode else "~"

    def cut(self, text: str, width: int | None = None) -> str:
        """Return the text no wider than so many cells; Hangul is two cells wide."""
        most = self.width if width is None else width
        if cell_len(text) <= most:
            return text
        while text and cell_len(text) > most - 1:
            text = text[:-1]
        return f"{text}{self.ellipsis}" if most > 0 else ""

    def name(self, text: str) -> str:
        """Return a run's name no wider than its share; what sets arms apart stands at its end."""
        most = max(8, self.width // (3 if self.width < 100 else 4))
        if cell_len(text) <= most:
            return text
        while cell_len(text) > most - 1:
            text = text[1:]
        return f"{self.ellipsis}{text}"

    def bars(self, values: Sequence[float], width: int) -> str:
        """Return numbers as a line of bars, each the mean of its share of them; empty where there is no line."""
        if len(values) < 2:
            return ""
        width = min(width, len(values))
        cuts = [round(each * len(values) / width) for each in range(width + 1)]
        means = [statistics.fmean(values[a:b]) for a, b in itertools.pairwise(cuts)]
        signs, low, high = (_BARS if self.unicode else _ASCII_BARS), min(means), max(means)
        span = high - low or 1.0
        return "".join(signs[min(len(signs) - 1, int((mean - low) / span * len(signs)))] for mean in means)


def overview(look: Snapshot, curves: Curves, view: View, experiment: str = "") -> RenderableType:
    """Return everything that works, is queued or ended last; of an experiment its arms alone."""
    runs = [run for run in look.runs if not experiment or run.experiment == experiment]
    names = {run.name for run in runs}
    working = [each for each in look.working if each.run in names]
    head = [_title(look, runs, view, f"experiment {experiment}" if experiment else str(look.root))]
    body = _table(look, working, runs, curves, view)
    ended = [run for run in runs if run.state not in ("working", "queued", "unread")]
    last = sorted(ended, key=lambda run: run.changed, reverse=True)[:_LAST]
    body += [_told(_ended(run), _STYLE.get(run.state, ""), view) for run in last]
    return _fitted([*head, *body, *_cards(look, view)], working[:_LOGS], view)


def detail(look: Snapshot, run: Run, curves: Curves, view: View) -> RenderableType:
    """Return one run: its stages, how far the one that works is, and the end of its log."""
    working = [each for each in look.working if each.run == run.name]
    who = run.holder or "nobody works on it"
    title = f"{run.name}: {'damaged' if run.damage else run.state}, {who}{', is to stop' if run.stopping else ''}"
    parts: list[RenderableType] = [_told(title, "bold", view)]
    parts += [_told(f"damaged: {run.damage}; next: {run.fix}", "bold red", view)] if run.damage else []
    rows = [
        (
            Text(stage.name),
            Text(stage.state, style=_STYLE.get(stage.state, "")),
            Text(_took(look, stage)),
            Text("; ".join(filter(None, (stage.job, stage.told.split("\n", 1)[0])))),
        )
        for stage in run.stages
    ]
    parts.append(_grid(("stage", "state", "time", ""), rows, view))
    for each in working:
        parts += _figures(look, each, curves, view)
    findings = [f"warning: {each.what}" for stage in run.stages for each in stage.findings]
    parts += [_told(text, "yellow", view) for text in findings[-3:]]
    return _fitted([*parts, *_cards(look, view)], working or [], view)


def _title(look: Snapshot, runs: Sequence[Run], view: View, name: str) -> Text:
    states = [run.state for run in runs]
    order = ("working", "queued", "failed", "interrupted", "damaged", "done", "begun", "unread")
    count = ", ".join(f"{states.count(state)} {state}" for state in order if state in states)
    now = time.strftime("%H:%M:%S", time.localtime(look.at))
    return _told(f"{now}  {count or 'no runs'}  {name}", "bold", view)


def _table(
    look: Snapshot, working: Sequence[Working], runs: Sequence[Run], curves: Curves, view: View
) -> list[RenderableType]:
    """Return a row for each stage that works or waits; why it waits stands below them where the screen is narrow."""
    waiting = [(run, [stage for stage in run.stages if stage.state in ("queued", "requeued")]) for run in runs]
    queued = [(run, stages[0], len(stages) - 1) for run, stages in waiting if stages]
    if not working and not queued:
        return [_told("nothing works here at this moment", "dim", view)]
    more = [name for name, least in _FROM_WIDTH.items() if view.width >= least]
    rows, reasons = [], []
    for each in working:
        cells = {
            "loss": _figure(each.progress.figures.get("loss")),
            "trend": view.bars(_losses(curves, each)[-_TREND_ROWS:], _TREND),
            "tokens/s": _whole(each.progress.figures.get("tokens_per_s")),
            "where": _where(each),
        }
        more_cells = [Text(cells[name]) for name in more]
        told = map(Text, (each.stage, _step(each), _left(look, each)))
        rows.append([Text(view.name(each.run), style="green"), *told, *more_cells])
    for run, stage, behind in queued:
        why = "; ".join(filter(None, (stage.job, stage.told)))
        name = f"{stage.name} and {behind} more" if behind else stage.name
        last = [Text(why if each == "where" else "") for each in more]
        rows.append([Text(view.name(run.name), style="yellow"), Text(name), Text(stage.state), Text(""), *last])
        if why and "where" not in more:
            reasons.append(_told(f"{view.name(run.name)} {stage.name}: {why}", "yellow", view))
    most = max(_LEAST, view.height - _BESIDE) if view.height else len(rows)
    cut = [_told(f"and {len(rows) - most} more", "dim", view)] if len(rows) > most else []
    return [_grid(("run", "stage", "step", "ETA", *more), rows[:most], view), *cut, *reasons[:most]]


def _figures(look: Snapshot, each: Working, curves: Curves, view: View) -> list[RenderableType]:
    """Return how far a stage is, its figures, and its loss over all of its steps."""
    figures = each.progress.figures
    known = {key: value for key, value in figures.items() if key not in ("loss", "tokens_per_s")}
    parts = [each.stage, _step(each), _left(look, each) and f"ETA {_left(look, each)}"]
    parts += [f"loss {_figure(figures['loss'])}"] if "loss" in figures else []
    parts += [f"{_whole(figures['tokens_per_s'])} tokens/s"] if "tokens_per_s" in figures else []
    parts += [f"{key.rpartition('/')[2]} {value:.3g}" for key, value in known.items()]
    lines: list[RenderableType] = [_told("  ".join(filter(None, parts)), "green", view)]
    losses = _losses(curves, each)
    if len(losses) > 1:
        ends = f"{losses[0]:.3f} ", f" {losses[-1]:.3f}"
        lines.append(_told(f"{ends[0]}{view.bars(losses, max(8, min(60, view.width - 20)))}{ends[1]}", "", view))
    return lines


def _fitted(parts: Sequence[RenderableType], working: Sequence[Working], view: View) -> RenderableType:
    """Return the parts, and below them as many last lines of logs as there is room for."""
    height = len(_plain_console(view).render_lines(Group(*parts), pad=False))
    room = (view.height or 1000) - height
    each_room = min(40 if len(working) == 1 else 8, room // max(1, len(working)) - 1)
    if each_room < 1:
        return Group(*parts)
    logs: list[RenderableType] = []
    for each in working:
        quiet = "" if each.quiet_s is None or each.quiet_s < QUIET_S else f", quiet for {clock(each.quiet_s)}"
        logs.append(_told(f"-- {each.run} {each.stage}{quiet}", "bold yellow" if quiet else "bold", view))
        logs += [_told(line, "dim", view) for line in each.log[-each_room:]]
    return Group(*parts, *logs)


def _plain_console(view: View) -> Console:
    return Console(width=view.width, height=view.height or 1000, color_system=None, markup=False, emoji=False)


def _cards(look: Snapshot, view: View) -> list[RenderableType]:
    lines = []
    for number, card in enumerate(look.cards.cards):
        busy = "" if card.busy is None else f" {card.busy:3d} %"
        memory = f" {card.used / 2**30:.1f}/{card.memory / 2**30:.0f} GiB" if card.memory else ""
        slowed = ", slowed by heat or power" if card.slowed else ""
        lines.append(_told(f"GPU {number}{busy}{memory}  {card.name}{slowed}", "cyan", view))
    return list(lines)


def _grid(heads: Sequence[str], rows: Sequence[Sequence[Text]], view: View) -> Table:
    """Return rows as a table no wider than the screen; what does not fit is cut off the last column."""
    gap = 2 if view.width >= 60 else 1
    rows = [[Text(one_line(cell.plain), style=cell.style) for cell in row] for row in rows]
    widths = [max(map(cell_len, (head, *(row[at].plain for row in rows)))) for at, head in enumerate(heads[:-1])]
    rest = max(0, view.width - sum(widths) - gap * len(widths))
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_edge=False)
    for head in heads:
        right = head in ("step", "ETA", "loss", "tokens/s", "time")
        table.add_column(head, header_style="dim", no_wrap=True, overflow="crop", justify="right" if right else "left")
    for *first, last in rows:
        table.add_row(*first, Text(view.cut(last.plain, rest), style=last.style))
    return table


def _told(text: str, style: str, view: View) -> Text:
    told = view.cut(one_line(spoken(text)), min(view.width, _FULL_WIDTH))
    return Text(told, style=style, no_wrap=True, overflow="crop", end="\n")


def _ended(run: Run) -> str:
    hurt = next((stage for stage in run.stages if stage.state in ("failed", "damaged", "interrupted")), None)
    told = run.damage or (f"{hurt.name} {hurt.state}: {hurt.told}" if hurt and hurt.told else hurt.name if hurt else "")
    first = told.split("\n", 1)[0]
    return f"{run.name}: {run.state}{f', {first}' if first else ''}"


def _took(look: Snapshot, stage: Stage) -> str:
    if stage.seconds is not None:
        return clock(stage.seconds)
    return clock(max(0.0, look.at - since)) if stage.state == "running" and (since := epoch(stage.started)) else ""


def _step(each: Working) -> str:
    step, steps = each.progress.step, each.progress.max_steps
    if step is None:
        return "working"
    return str(step) if steps is None else f"{step}/{steps}"


def _left(look: Snapshot, each: Working) -> str:
    eta, at = each.progress.eta_s, each.progress.time
    return "" if eta is None else clock(max(0.0, eta - (look.at - at if at else 0.0)))


def _where(each: Working) -> str:
    """Return machine, job and since when of who works there, without his command, which is `alphaf` in most cases."""
    return each.holder.rpartition(", on host ")[2]


def _losses(curves: Curves, each: Working) -> list[float]:
    found = curves(each.run, each.stage)
    return [point.figures["loss"] for point in found.points if "loss" in point.figures] if found else []


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
