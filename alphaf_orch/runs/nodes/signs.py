"""What the machines of a run tell each other: a word of each, by rename, and a sign of life that changes."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from alphaf_orch.core.disk import writing
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import fingerprint, read_json, write_atomic
from alphaf_orch.core.stored import Unreadable, read_text

LOOK_S = 0.5
_BEAT_S = 5.0
# Attributes of a network disk are believed for so long, and for longer no client keeps an old file (nfs(5), acdirmax).
SETTLED_S = 60.0


def pause(patience: float) -> float:
    """Return the seconds between two signs of life, for several to come before the patience ends."""
    return min(_BEAT_S, patience / 4)


class Voice:
    """What one machine says to the others while it is entered; `name` is this start's own."""

    def __init__(self, paths: RunPaths, rank: int, job: str, patience: float) -> None:
        self.name = uuid.uuid4().hex
        self._facts: dict[str, Any] = {"start": self.name, "job": job}
        self._word, self._sign, self._pause = paths.word(rank), paths.sign(rank), pause(patience)
        self._ended = threading.Event()
        self._broken: OSError | None = None
        self._thread = threading.Thread(target=self._beat, name="sign of life", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def say(self, state: str, **facts: Any) -> None:
        """Put a new word in the old one's place; raise what broke the signs of life, a disk that is full."""
        with writing(self._sign):
            if self._broken:
                raise self._broken
        write_atomic(self._word, json.dumps({**self._facts, "state": state, **facts}, ensure_ascii=False, indent=1))

    def _beat(self) -> None:
        # In place, not by rename: a reader of a network disk has the file open at once, and half a line is no sign.
        count = 0
        while True:
            count += 1
            try:
                self._sign.parent.mkdir(parents=True, exist_ok=True)
                self._sign.write_text(f"{self.name} {count}\n", encoding="utf-8")
            except OSError as error:
                self._broken = error
            if self._ended.wait(self._pause):
                return


class Ear:
    """What is heard of another machine: its last word, and for how long it has given no sign of life."""

    def __init__(self, paths: RunPaths, rank: int) -> None:
        self.rank = rank
        self._word, self._sign = paths.word(rank), paths.sign(rank)
        self._seen = self._read_sign()
        self._heard = time.monotonic()
        self._looked = 0.0
        self._last: Mapping[str, Any] = {}
        self.alive = ""  # the start that was heard to live, empty before

    def silent_s(self) -> float:
        """Return the seconds since the last new sign of life, by this machine's own clock."""
        self._look()
        return time.monotonic() - self._heard

    def word(self) -> Mapping[str, Any]:
        """Return the last word, empty where there is none."""
        self._look()
        return self._last

    def _look(self) -> None:
        if time.monotonic() - self._looked < LOOK_S / 2:  # asked several times a second while a program runs
            return
        self._looked = time.monotonic()
        sign = self._read_sign()
        if sign != self._seen and sign.endswith("\n"):
            self._seen, self._heard, self.alive = sign, self._looked, sign.split()[0]
        try:
            self._last = read_json(self._word) or {}
        except OSError:  # replaced by another machine while it was read: the next look finds it
            return

    def _read_sign(self) -> str:
        try:
            return read_text(self._sign)
        except (OSError, Unreadable):  # not there yet, or replaced while it was read
            return ""


def digest(path: Path) -> str:
    """Return what tells two versions of a file apart, its content, or of a folder, the names and sizes of its files.

    Empty where there is nothing.
    """
    if path.is_file():
        return fingerprint(path.read_text(encoding="utf-8"))
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return fingerprint([[str(file.relative_to(path)), file.stat().st_size] for file in files])
    return ""
