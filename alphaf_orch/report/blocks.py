"""The parts a report is made of, as plain values: built once, rendered by `html` and `markdown`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from alphaf_orch.core.wording import Text

Tone = Literal["plain", "good", "bad", "warn", "muted", "code"]
Level = Literal["worse", "error", "warning", "info"]


@dataclass(frozen=True)
class Link:
    """A name that leads to a part of the page; elsewhere it is the name alone."""

    text: Text
    target: str


@dataclass(frozen=True)
class Cell:
    """One cell: its text and, in smaller type below, what the text depends on and what became of it.

    `links` stand behind the text; `anchor` is what a link leads to.
    """

    text: Text
    tone: Tone = "plain"
    sub: Text = ""
    change: Text = ""
    change_tone: Tone = "muted"
    links: tuple[Link, ...] = ()
    anchor: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; `numeric` columns (all behind the first `text_columns`) are set to the right."""

    kind: ClassVar[str] = "table"
    header: tuple[Text, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: Text = ""
    text_columns: int = 1


@dataclass(frozen=True)
class KeyValues:
    """Names with a value each."""

    kind: ClassVar[str] = "keyvalues"
    rows: tuple[tuple[Text, Cell], ...]


@dataclass(frozen=True)
class Verdict:
    """What is to be done, in one sentence; below it what that rests on."""

    kind: ClassVar[str] = "verdict"
    headline: Text
    points: tuple[Text, ...] = ()
    tone: Tone = "plain"


@dataclass(frozen=True)
class Measured:
    """One line of a card: whose figure, the figure, and its interval."""

    name: Text
    value: Text
    interval: Text = ""
    tone: Tone = "plain"


@dataclass(frozen=True)
class Card:
    """One figure in large type, or one a model."""

    label: Text
    value: Text = ""
    note: Text = ""
    tone: Tone = "plain"
    lines: tuple[Measured, ...] = ()
    target: str = ""


@dataclass(frozen=True)
class Cards:
    """What a reader in a hurry should see."""

    kind: ClassVar[str] = "cards"
    items: tuple[Card, ...]


@dataclass(frozen=True)
class Note:
    """A sentence or two; a level makes it a warning. `where` says what it is about, `target` where that stands."""

    kind: ClassVar[str] = "note"
    text: Text
    level: Level | None = None
    where: Text = ""
    target: str = ""


@dataclass(frozen=True)
class Figure:
    """A plot for the page (plotly's `data` and `layout`) and the table of its values that stands for it elsewhere.

    `names` has the name of each trace and `ticks` the names along y, where these are no numbers; they and the titles
    are not in `layout`, because plotly knows one language only.
    """

    kind: ClassVar[str] = "figure"
    id: str
    title: Text
    data: tuple[Mapping[str, Any], ...]
    layout: Mapping[str, Any]
    names: tuple[Text, ...]
    x_title: Text
    y_title: Text
    values: Table
    ticks: tuple[Text, ...] = ()
    paper: bool = True


@dataclass(frozen=True)
class Turn:
    """One message of a prompt; without a role where the prompt has no markers."""

    role: Text
    text: str


@dataclass(frozen=True)
class Answer:
    """What one model said, and how it was judged."""

    label: Text
    text: str
    verdict: Text = ""
    tone: Tone = "plain"


@dataclass(frozen=True)
class SideBySide:
    """One prompt, what was expected, and the answers beside each other."""

    kind: ClassVar[str] = "sidebyside"
    title: Text
    turns: tuple[Turn, ...]
    gold: str
    answers: tuple[Answer, ...]
    remark: Text = ""


@dataclass(frozen=True)
class Code:
    """Text for a machine, as it is."""

    kind: ClassVar[str] = "code"
    text: str
    caption: Text = ""


@dataclass(frozen=True)
class Fold:
    """Blocks behind a summary line, closed on the screen and open on paper, unless they are for the screen alone."""

    kind: ClassVar[str] = "fold"
    title: Text
    blocks: tuple[Block, ...]
    paper: bool = True


Block = Verdict | Table | KeyValues | Cards | Note | Figure | SideBySide | Code | Fold


@dataclass(frozen=True)
class Section:
    """A part of the report with its own entry in the contents; `group` names the run where there are several."""

    id: str
    title: Text
    blocks: tuple[Block, ...]
    group: str = ""


@dataclass(frozen=True)
class Report:
    """The whole: a title, a line below it, a line at the end, and the sections."""

    title: Text
    subtitle: Text
    sections: tuple[Section, ...]
    footer: Text = ""


def flatten(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks with those inside folds, in their order."""
    found: list[Block] = []
    for block in blocks:
        found.append(block)
        if isinstance(block, Fold):
            found += flatten(block.blocks)
    return found
