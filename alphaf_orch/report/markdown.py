"""The same report as Markdown: for a merge request, a wiki, a diff."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from alphaf_orch.core.wording import Language, Text, in_language, join
from alphaf_orch.report.blocks import (
    Block,
    Card,
    Cards,
    Cell,
    Code,
    Figure,
    Fold,
    KeyValues,
    Note,
    Report,
    Section,
    SideBySide,
    Table,
    Verdict,
)
from alphaf_orch.report.names import LEVELS, WORDS

# What CommonMark and GitHub give a meaning; `_` has one only at the edge of a word.
_SPECIAL = re.compile(r"[\\`*\[\]~$|]|(?<!\w)_|_(?!\w)")
_LINE_START = re.compile(r"^(\s*)([#+=-]|\d+(?=[.)]))")
_URL = re.compile(r"\b(https?|ftp|www)([.:])", re.IGNORECASE)


def render_markdown(report: Report, language: Language) -> str:
    """Return the report in one language."""
    return _Writer(language).report(report)


def escape(text: str) -> str:
    """Return data so that Markdown shows it as it is: no markup, no HTML, no link."""
    shown = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = _SPECIAL.sub(lambda found: "\\" + found[0], shown)
    return _URL.sub(lambda found: f"{found[1]}&#{ord(found[2])};", shown)


def paragraph(text: str) -> str:
    """Return Markdown that stays a paragraph: no heading, no list, whatever it begins with."""
    return _LINE_START.sub(lambda found: f"{found[1]}&#{ord(found[2][0])};{found[2][1:]}", text)


def fence(text: str) -> str:
    """Return a code block that no line of the text can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}text\n{text}\n{marks}"


class _Writer:
    """Turns blocks into Markdown of one language."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def report(self, report: Report) -> str:
        parts = [f"# {self._text(report.title)}", self._text(report.subtitle)]
        group = ""
        for section in report.sections:
            if section.group != group:
                group = section.group
                parts.append(f"# {escape(group)}")
            parts += self._section(section)
        parts.append(self._text(report.footer))
        return "\n\n".join(part for part in parts if part) + "\n"

    def _section(self, section: Section) -> Iterator[str]:
        yield f"## {self._text(section.title)}"
        yield from self._blocks(section.blocks)

    def _blocks(self, blocks: Sequence[Block]) -> Iterator[str]:
        for block in blocks:
            yield from self._block(block)

    def _block(self, block: Block) -> Iterator[str]:
        match block:
            case Verdict():
                yield f"> **{self._text(block.headline)}**"
                yield from (paragraph(self._text(point)) for point in block.points)
            case Table():
                yield from self._table(block)
            case KeyValues():
                rows = [f"| {self._text(name)} | {self._cell(cell)} |" for name, cell in block.rows]
                yield "\n".join(["| | |", "|---|---|", *rows])
            case Cards():
                yield "\n".join(map(self._card, block.items))
            case Note():
                yield self._note(block)
            case Figure():
                yield f"### {self._text(block.title)}"
                yield from self._table(block.values)
            case SideBySide():
                yield from self._side_by_side(block)
            case Code():
                yield from self._caption(block.caption)
                yield fence(block.text)
            case Fold():
                yield f"### {self._text(block.title)}"
                yield from self._blocks(block.blocks)

    def _card(self, card: Card) -> str:
        lines = [join([each.name, join([each.value, each.interval], " ")], " ") for each in card.lines]
        return f"- **{self._text(card.label)}**: {self._text(join([card.value, *lines, card.note]))}"

    def _table(self, table: Table) -> Iterator[str]:
        yield from self._caption(table.caption)
        rule = ["---" if column < table.text_columns else "---:" for column in range(len(table.header))]
        lines = [
            "| " + " | ".join(self._text(name) for name in table.header) + " |",
            "|" + "|".join(rule) + "|",
            *("| " + " | ".join(self._cell(cell) for cell in row) + " |" for row in table.rows),
        ]
        yield "\n".join(lines)

    def _cell(self, cell: Cell) -> str:
        links = join([link.text for link in cell.links], ", ")
        return "<br>".join(filter(None, map(self._text, (cell.text, links, cell.sub, cell.change))))

    def _note(self, note: Note) -> str:
        where = f"**{self._text(note.where)}**: " if note.where else ""
        if note.level is None:
            return paragraph(where + self._text(note.text))
        return f"> **{self._text(LEVELS[note.level])}** {where}{self._text(note.text)}"

    def _side_by_side(self, case: SideBySide) -> Iterator[str]:
        yield f"#### {self._text(case.title)}"
        for turn in case.turns:
            yield from self._quoted(turn.role or WORDS["prompt"], turn.text)
        if case.gold:
            yield from self._quoted(WORDS["gold"], case.gold)
        for answer in case.answers:
            yield from self._quoted(join([answer.label, answer.verdict]), answer.text)
        if case.remark:
            yield paragraph(self._text(case.remark))

    def _quoted(self, name: Text, text: str) -> Iterator[str]:
        yield from self._caption(name)
        yield fence(text)

    def _caption(self, text: Text) -> Iterator[str]:
        if text:
            yield f"**{self._text(text)}**"

    def _text(self, text: Text) -> str:
        return "<br>".join(escape(line) for line in in_language(text, self._language).split("\n"))
