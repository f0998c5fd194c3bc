"""Interactive plots, as plotly's own data and layout; colours and fonts come from the page's style."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alphaf_orch.core.wording import LANGUAGES, Label, Text, in_language, join, named
from alphaf_orch.planning.stages import SECTIONS
from alphaf_orch.report.blocks import Block, Cell, Figure, Note, Table
from alphaf_orch.report.figures import NONE, number
from alphaf_orch.report.names import CURVES, STAGES, STEP

Rows = Sequence[Mapping[str, Any]]

_POINTS = 1500  # more than a screen has columns
_TICK_CHARS = 24
_SCREEN = {"learning_rate", "grad_norm"}  # what nobody decides by is not printed
_PAIRED = {"loss": "eval_loss", "rewards/chosen": "rewards/rejected"}


@dataclass(frozen=True)
class Line:
    """One curve: what it is called and its points."""

    name: Text
    x: tuple[float, ...]
    y: tuple[float | None, ...]


def training_curves(
    id_prefix: str, runs: Sequence[tuple[str, Mapping[str, Rows]]], stages: Sequence[str] = SECTIONS
) -> Sequence[Block]:
    """Return the curves of the stages, those of several runs over each other, or in words that there are none yet."""
    figures: list[Block] = []
    for stage in stages:
        with_it = [(name, metrics[stage]) for name, metrics in runs if stage in metrics]
        figures += _curves(f"{id_prefix}-{stage}", named(STAGES, stage), with_it)
    return figures or [Note(Label("학습 기록이 아직 없습니다.", "No training metrics yet."))]


def _curves(id_prefix: str, title: Text, runs: Sequence[tuple[str, Rows]]) -> list[Figure]:
    """Return a figure for each quantity that the metrics have."""
    figures = []
    for key in CURVES:
        if key in _PAIRED.values():
            continue
        keys = [key, *([_PAIRED[key]] if key in _PAIRED else [])]
        lines = []
        for run, rows in runs:
            for each in keys:
                line = _line(run, rows, each)
                if line.x:
                    lines.append(line)
        if lines:
            heading = join([title, _pair_title(key) if key in _PAIRED else CURVES[key]])
            figure = line_figure(f"{id_prefix}-{key.replace('/', '-')}", heading, lines)
            figures.append(replace(figure, paper=key not in _SCREEN))
    return figures


def line_figure(figure_id: str, title: Text, lines: Sequence[Line], y_title: Text = "") -> Figure:
    """Return curves over the training steps."""
    import plotly.graph_objects as go

    plot = go.Figure()
    for line in lines:
        x, y = thin(line.x, line.y)
        plot.add_trace(
            go.Scatter(x=x, y=y, mode="lines+markers" if len(x) <= 60 else "lines", hovertemplate="%{y:.4g}")
        )
    plot.update_layout(hovermode="x unified", showlegend=len(lines) > 1)
    small = max((abs(y) for line in lines for y in line.y if y is not None), default=0) < 0.01
    plot.update_yaxes(exponentformat="power" if small else "none")
    header = (Label("곡선", "Curve"), Label("점", "Points"), Label("처음", "First"), Label("최소", "Min"),
              Label("최대", "Max"), Label("마지막", "Last"))  # fmt: skip
    values = Table(header, tuple(_summary(line) for line in lines))
    return _figure(figure_id, title, plot, tuple(line.name for line in lines), STEP, y_title, values)


def bar_figure(
    figure_id: str,
    title: Text,
    groups: Sequence[Text],
    bars: Sequence[tuple[Text, Sequence[tuple[float, float, float] | None]]],
    values: Table,
    x_title: Text,
) -> Figure:
    """Return bars with their intervals (value, low, high), a colour for each model and a group for each score."""
    import plotly.graph_objects as go

    plot = go.Figure()
    for _, figures in bars:
        plot.add_trace(
            go.Bar(
                orientation="h",
                y=list(range(len(groups))),
                x=[figure[0] if figure else None for figure in figures],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [figure[2] - figure[0] if figure else None for figure in figures],
                    "arrayminus": [figure[0] - figure[1] if figure else None for figure in figures],
                    "thickness": 1.2,
                    "width": 3,
                },
                hovertemplate="%{x:.1%}",
            )
        )
    # Lying bars leave the names of the scores a line of their own, on a telephone and on paper too.
    plot.update_layout(barmode="group", bargap=0.28, bargroupgap=0.08, hovermode="y unified", showlegend=True)
    plot.update_xaxes(tickformat=".0%", rangemode="tozero")
    plot.update_yaxes(tickvals=list(range(len(groups))), autorange="reversed")
    made = _figure(figure_id, title, plot, tuple(name for name, _ in bars), x_title, "", values)
    return replace(made, ticks=tuple(groups))


def folded(text: Text) -> Text:
    """Return the text in short lines, to stand beside an axis."""
    if isinstance(text, str):
        return "\n".join(textwrap.wrap(text, _TICK_CHARS)) or text
    return Label(*("\n".join(textwrap.wrap(in_language(text, each), _TICK_CHARS)) for each in LANGUAGES))


def thin(x: Sequence[float], y: Sequence[float | None]) -> tuple[list[float], list[float | None]]:
    """Return at most about _POINTS points; of each stretch its lowest and highest stay, so that no spike is lost."""
    if len(x) <= _POINTS:
        return list(x), list(y)
    size = math.ceil(2 * len(x) / _POINTS)
    kept: set[int] = {0, len(x) - 1}
    for start in range(0, len(x), size):
        stretch = range(start, min(start + size, len(x)))
        there = [i for i in stretch if y[i] is not None]
        # A gap is a value that was not finite: it has to stay a gap.
        kept.update(i for i in stretch if y[i] is None)
        if there:
            kept |= {min(there, key=lambda i: y[i] or 0.0), max(there, key=lambda i: y[i] or 0.0)}
    order = sorted(kept)
    return [x[i] for i in order], [y[i] for i in order]


def _line(run: str, rows: Sequence[Mapping[str, Any]], key: str) -> Line:
    # A resumed training writes some steps a second time; the later line is the one that went on.
    by_step = {row["step"]: row[key] for row in rows if key in row and "step" in row}
    name = named(CURVES, key)
    order = sorted(by_step)
    return Line(join([run, name]), tuple(order), tuple(by_step[step] for step in order))


def _summary(line: Line) -> tuple[Cell, ...]:
    there = [y for y in line.y if y is not None]
    figures = [there[0], min(there), max(there), there[-1]] if there else [None] * 4
    return (
        Cell(line.name),
        Cell(number(len(line.x))),
        *(Cell(number(figure) if there else NONE) for figure in figures),
    )


def _figure(
    figure_id: str, title: Text, plot: Any, names: tuple[Text, ...], x_title: Text, y_title: Text, values: Table
) -> Figure:
    made = plot.to_plotly_json()
    made["layout"].pop("template", None)
    return Figure(figure_id, title, tuple(made["data"]), made["layout"], names, x_title, y_title, values)


def _pair_title(key: str) -> Label:
    return Label("손실", "Loss") if key == "loss" else Label("보상", "Rewards")
