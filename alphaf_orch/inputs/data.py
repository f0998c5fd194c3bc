"""Checks of data: each returns facts about the data, or raises DataError before anything is trained."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache
from inspect import getfile
from pathlib import Path

from alphaf_orch.core.errors import DataError
from alphaf_orch.core.record import fingerprint
from alphaf_orch.inputs.kept import found_once, times
from alphaf_orch.inputs.parts import read_whole
from alphaf_orch.inputs.row_check import BYTE_ORDER_MARK, NEEDED, Broken, Part, first_format
from alphaf_orch.inputs.sources import Source, missing_hint, refuse_pattern
from alphaf_orch.programs.mistakes import Mistakes, Unit
from alphaf_orch.programs.quality import Quality
from alphaf_orch.programs.row_keys import RowError
from alphaf_orch.programs.rows import Format, Kind, conversation


def check_file(path: str | Path, want: Kind, origin: str | Path | None = None, unit: Unit | None = None) -> Source:
    """Return the facts of a JSON Lines file, read line by line (memory: under 200 bytes a row).

    It is read once and known again until inode, size or times change: in this process, and where it is large in later
    ones too. Raises DataError with the rows that must not be trained on, their lines and keys; `origin` is the file
    they came from, where the user gave another one, and `unit` how these rows are numbered there (`row` if not said).
    """
    file = Path(path).absolute()
    _check_place(file)
    name, unit = Path(origin or file), unit or ("row" if origin else "line")
    asked = {"want": want, "checks": _checks(), "name": str(name), "unit": unit}
    facts = found_once("data", file, asked, lambda: {"source": asdict(_read(file, want, name, unit))})
    return replace(Source(**facts["source"]), path=str(file))


@cache
def _checks() -> str:
    """Return what tells these checks from those of another version, which may refuse other rows."""
    files = (__file__, *(getfile(part) for part in (Source, Part, Quality, RowError, conversation)))
    return fingerprint([Path(file).read_text(encoding="utf-8") for file in files])


def _read(file: Path, want: Kind, name: Path, unit: Unit) -> Source:
    _refuse_array(file, name)
    before = file.stat()
    form = _form(file, want, name, unit)
    parts, digest = read_whole(file, before.st_size, want, form, unit, name)
    if times(before) != times(file.stat()):
        raise DataError(
            "the file changed while it was read",
            where=str(name),
            fix="Try again when it is complete",
            code="data.changed",
        )
    whole = _whole(parts, name, unit)
    masked_by = _common_mask(parts, whole.mistakes)
    # Of a file that is no JSON Lines at all, one word is enough.
    whole.mistakes.check(DataError, alone=not whole.parsed)
    if not whole.rows:
        raise DataError(
            "the file has no rows", where=str(name), fix=f"Give a file with data. {NEEDED[want]}.", code="data.no_rows"
        )
    worst = whole.quality.worst(whole.rows)
    if worst:
        raise DataError(
            worst, where=str(name), fix="Mend the data where they come from (docs/data.md)", code="data.poor_quality"
        )
    return Source(
        path=str(file),
        kind="local",
        format=whole.form,
        rows=whole.rows,
        turns=whole.turns,
        systems=whole.systems,
        duplicates=whole.rows - len(set(whole.digests)),
        sha256=digest,
        size=before.st_size,
        message_field_training=min(masked_by) if masked_by else None,
        system_key=whole.system_key,
        extra_keys=whole.extra_keys,
        nfd_rows=whole.quality.counts["nfd"],
    )


def _form(file: Path, want: Kind, name: Path, unit: Unit) -> Format | None:
    """Return the format of the first row, None where the first lines are none; one of the other kind is refused."""
    found = first_format(file, want)
    if found is None:
        return None
    number, form = found
    if (form == "preference") != (want == "preference"):
        stage = "DPO" if form == "preference" else "SFT"
        raise DataError(
            f"a row in the format '{form}' where {want} rows are needed",
            where=f"{name} line {number}" if unit == "line" else f"{name} row {number}",
            fix=f"{NEEDED[want]}; give this file to {stage}",
            code="data.other_kind",
        )
    return form


def _whole(parts: list[Part], name: Path, unit: Unit) -> Part:
    """Return the parts of a file as one; raise DataError where one of them cannot be read at all."""
    whole = Part(Mistakes(name, unit), parts[0].form)
    for part in parts:
        if part.broken:
            raise _encoding_error(name, part.broken, whole.lines, whole.size)
        whole.mistakes.extend(part.mistakes, before=whole.lines)
        whole.parsed |= part.parsed
        if part.unreadable:
            break
        whole.lines += part.lines
        whole.size += part.size
        whole.rows += part.rows
        whole.turns += part.turns
        whole.systems += part.systems
        whole.digests.extend(part.digests)
        whole.system_key |= part.system_key
        whole.extra_keys |= part.extra_keys
        whole.quality.extend(part.quality)
    return whole


def _common_mask(parts: list[Part], mistakes: Mistakes) -> frozenset[str]:
    """Return the keys that mask every masked turn: axolotl reads one (message_field_training).

    Where no key does, that is noted as the mistake of the first row with another one.
    """
    common: frozenset[str] | None = None
    lines = 0
    for part in parts:
        for keys, number in part.masks.items():
            here = keys or frozenset()
            both = here if common is None else common & here
            if not both:
                names = ", ".join(sorted({*(common or ()), *here}))
                what = f"assistant turns are masked by different keys ({names or 'mixed in one row'})"
                fix = "Mask every turn by one of them: train, training (false) or weight (0)"
                mistakes.add(lines + number, f"{what}, and axolotl reads one", fix=fix, code="data.wrong_mask")
                return frozenset()
            common = both
        lines += part.lines
    return common or frozenset()


def _check_place(file: Path) -> None:
    if not file.is_file():
        raise DataError(f"no such file: {file.name}", where=str(file), fix=missing_hint(file), code="data.file_missing")
    refuse_pattern(file, str(file), "Rename the file or folder without * ? [ and ::")


def _refuse_array(file: Path, name: Path) -> None:
    """Raise DataError for a JSON array: its single line could be the whole file."""
    with file.open("rb") as stream:
        if stream.read(4096).removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"["):
            raise DataError(
                "the file is one JSON array; only JSON Lines is read (one object a line)",
                where=str(name),
                fix=f"Convert it: jq -c '.[]' '{name}' > '{name.with_suffix('.jsonl')}'",
                code="data.json_array",
            )


def _encoding_error(file: Path, broken: Broken, lines: int, size: int) -> DataError:
    """Return what to do about a line that is not UTF-8, with `lines` lines and `size` bytes in front of its part."""
    number, raw = lines + broken.number, broken.raw
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        first = error.start
    at = size + broken.start + first
    guess, said = None, "it is not a text in UTF-8"
    if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        guess, said = "UTF-16", "it looks like UTF-16"
    # One bad byte in good UTF-8 has Korean text before it; CP949 fails at the first Korean character.
    elif raw[:first].isascii() and "\ufffd" not in raw.decode("cp949", errors="replace"):
        guess, said = "CP949", "it looks like CP949 (EUC-KR)"
    target = file.with_name(f"{file.stem}.utf8{file.suffix}")
    convert = f"Convert it: iconv -f {guess} -t UTF-8 '{file}' > '{target}'"
    return DataError(
        f"line {number} is not UTF-8: byte 0x{raw[first]:02x} at byte offset {at} of the file; {said}",
        where=f"{file} line {number}, byte offset {at}",
        fix=convert if guess else "Save the file as UTF-8; a compressed file must be unpacked first",
        code="data.not_utf8",
    )
