"""Every kind of file that rows come in, opened by the library that is made for it: `datasets` in its environment."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from alphaf_orch.programs.formats.files import WRITTEN, Reading, json_of, named, packed_by, shard_files, table_kind
from alphaf_orch.programs.formats.json_rows import NotRows, Numbered


@contextlib.contextmanager
def reading(place: Path) -> Iterator[Reading]:
    """Open the rows of a file, of a folder that `datasets` saved, or of a folder of shards.

    Raises NotRows, also while the rows are taken.
    """
    if place.is_dir():
        yield _folder(place)
        return
    kind = table_kind(place)
    if kind:
        yield Reading(named(WRITTEN[kind], packed_by(place)), "row", _table(kind, [place]))
        return
    with _opened(place) as stream:
        yield json_of(stream, packed_by(place))


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    packed = packed_by(file)
    if packed is None:
        with file.open("rb") as stream:
            yield stream
        return
    import fsspec

    with fsspec.open(str(file), "rb", compression=packed) as stream:
        yield io.BufferedReader(_Unpacked(stream))


class _Unpacked(io.RawIOBase):
    """A decompressor's bytes; what it says of a file that is cut off is told as that."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        import lzma
        import zlib

        import zstandard

        try:
            data = self.stream.read(len(buffer))
        except (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
            raise NotRows(f"the compressed file is cut off or damaged: {error}", code="data.file_damaged") from error
        buffer[: len(data)] = data
        return len(data)


def _table(kind: str, files: list[Path]) -> Numbered:
    """Yield the rows of tables by `datasets`, which keeps no copy of them in its own cache (streaming)."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    wanted: dict[str, Any] = {"data_files": [str(file) for file in files], "split": "train", "streaming": True}
    try:
        if kind == "csv":
            tab = files[0].name.lower().removesuffix(".gz").removesuffix(".zst").endswith(".tsv")
            # Cells are texts: 007, 3.10 and NA stay what they are.
            wanted |= {"sep": "\t" if tab else ",", "encoding": "utf-8-sig", "keep_default_na": False}
            first: dict[str, Any] = next(iter(datasets.load_dataset(kind, **wanted)), {})
            wanted["features"] = datasets.Features(dict.fromkeys(first, datasets.Value("string"))) or None
        found = datasets.load_dataset(kind, **wanted)
        refuse_media(found.features)
        yield from enumerate(found, 1)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        if isinstance(error, NotRows):
            raise
        raise NotRows(_reason(error, kind), code="data.unreadable") from error


def refuse_media(features: Any) -> None:
    """Raise NotRows for columns that hold pictures or sounds."""
    for name, feature in (features or {}).items():
        kind = type(feature).__name__
        if kind in ("Image", "Audio", "Video", "Pdf", "Nifti"):
            raise NotRows(f"column {name} holds {kind.lower()}s: only texts can be trained on", code="data.not_text")


def _reason(error: BaseException, kind: str) -> str:
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None and len(causes) < 5:
        causes.append(causes[-1].__cause__)
    if any(isinstance(each, UnicodeDecodeError) for each in causes):
        return "the file is not UTF-8: convert it by `iconv -f CP949 -t UTF-8`, or save it from Excel as CSV UTF-8"
    return f"cannot be read as {WRITTEN[kind]}: {' '.join(str(causes[-1]).split())[:300]}"


def _folder(folder: Path) -> Reading:
    import datasets

    datasets.disable_progress_bars()
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        try:
            found = datasets.load_from_disk(str(folder))
        except (OSError, ValueError) as error:
            raise NotRows(f"cannot be read as a folder of save_to_disk: {error}", code="data.unreadable") from error
        if isinstance(found, datasets.DatasetDict):
            name = "train" if "train" in found else next(iter(found))
            if len(found) > 1 and name != "train":
                raise NotRows(
                    f"has the splits {', '.join(found)}: give the folder of one of them", code="data.ambiguous"
                )
            found = found[name]
        refuse_media(found.features)
        return Reading("folder of save_to_disk", "row", enumerate(found, 1))
    return _shards(folder)


def _shards(folder: Path) -> Reading:
    files = shard_files(folder)
    kind = table_kind(files[0])
    if kind:
        return Reading(f"{len(files)} {WRITTEN[kind]} files", "row", _table(kind, files))

    def rows() -> Numbered:
        number = 0
        for file in files:
            with reading(file) as each:
                for _, row in each.rows:
                    number += 1
                    yield number, row

    return Reading(f"{len(files)} JSON files", "row", rows())
