"""A kill, or a power cut, between any two writes of ours: the same command goes on to the same end."""

from __future__ import annotations

import difflib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import in_process
import pytest
from fake_run import Fake

# All of them with ALPHAF_WHOLE=1 (a minute and a half); else every so many, beginning with the first.
EVERY = 1 if os.environ.get("ALPHAF_WHOLE") else 47
PASSING = {"started", "ended", "seconds", "created"}


class Killed(BaseException):
    """The end of the process: nothing that it would have done behind this happens."""


class Death:
    """Ends the process at the n-th step of its writes: half a file, a file that is not flushed, not put in place."""

    def __init__(self, at: int, child: in_process.Child, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.steps, self.child = at, 0, child
        write_text = Path.write_text

        def write(path: Path, text: str, *args, **kwargs) -> int:
            if self._dies():
                write_text(path, text[: len(text) // 2], *args, **kwargs)
                raise Killed
            return write_text(path, text, *args, **kwargs)

        monkeypatch.setattr(Path, "write_text", write)
        for name in ("fsync", "replace", "rename"):
            monkeypatch.setattr(os, name, self._dying(getattr(os, name)))
        for name in ("unlink", "mkdir", "rmdir"):
            monkeypatch.setattr(os, name, self._dead(getattr(os, name)))

    @property
    def over(self) -> bool:
        """Whether the process has ended; what it does on its way out of our test touches no file."""
        return self.steps >= self.at

    def _dies(self) -> bool:
        if self.over:
            raise Killed
        self.steps += not self.child.running
        return self.over

    def _dying(self, function):
        def call(*args, **kwargs):
            if self._dies():
                raise Killed
            return function(*args, **kwargs)

        return call

    def _dead(self, function):
        def call(*args, **kwargs):
            if self.over:
                raise Killed
            return function(*args, **kwargs)

        return call


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, dict, list[str]]]:
    """Return how many steps the writes of an undisturbed chain have, and how it ends."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("ganz")
        run = _chain(place, patch)
        death = Death(1 << 30, run.child, patch)
        assert run("run", "--model", "tiny").exit_code == 0
        yield death.steps, *_end(place)


def _chain(place: Path, patch: pytest.MonkeyPatch):
    from click.testing import CliRunner

    from alphaf_orch.cli.main import main

    fake = Fake(place)
    patch.setenv("FAKE_TOOL", str(fake.control))
    for name, folder in (("ALPHAF_RUNS", "runs"), ("ALPHAF_CACHE", "cache"), ("HF_HOME", "hf")):
        patch.setenv(name, str(place / folder))

    def run(*args: str):
        return CliRunner().invoke(main, [args[0], "--config", str(fake.config), *args[1:]])

    run.child = in_process.bring(patch)
    return run


def _end(place: Path) -> tuple[dict, list[str]]:
    """Return the manifest less its times, and the names of all files that a run has in the end."""
    text = (place / "runs" / "tiny" / "manifest.json").read_text("utf-8").replace(str(place), "PLACE")
    manifest = json.loads(text)
    copy = (place / "runs" / "tiny" / "manifest.json.copy").read_text("utf-8").replace(str(place), "PLACE")
    assert json.loads(copy) == manifest, "the copy is not of the manifest"
    for entry in (manifest, *manifest["stages"].values()):
        for key in PASSING & entry.keys():
            del entry[key]
    for entry in manifest["stages"].values():
        # Paths are part of them, and of each test another.
        del entry["fingerprint"], entry["spec"], entry["rendered"], entry["environment"]
        entry.pop("argv"), entry.pop("command")  # resumed from a checkpoint or not
        entry.pop("exit_code", None), entry.pop("peak_memory_mib", None)
    names = (path.relative_to(place / "runs") for path in (place / "runs").rglob("*") if path.suffix != ".partial")
    return manifest, sorted(str(name) for name in names if ".partial" not in name.parts)  # that is scratch


def _difference(one: tuple[dict, list[str]], other: tuple[dict, list[str]]) -> str:
    lines = [json.dumps(each, indent=1, sort_keys=True).splitlines() for each in (one, other)]
    return "\n".join(difflib.unified_diff(*lines, n=1, lineterm=""))


def _killed_everywhere(whole, tmp_path: Path, first: int) -> list[str]:
    steps, manifest, files = whole
    wrong = []
    for at in range(first, steps + 1, EVERY):
        place = tmp_path / str(at)
        place.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            run = _chain(place, patch)
            with pytest.MonkeyPatch.context() as dying:
                death = Death(at, run.child, dying)
                with pytest.raises(Killed):
                    run("run", "--model", "tiny")
                assert death.over
            again = run("run", "--model", "tiny")
            if again.exit_code or again.exception:
                wrong.append(f"step {at}: {again.output[-300:]} {again.exception!r}")
            elif _end(place) != (manifest, files):
                wrong.append(f"step {at}: {_difference(_end(place), (manifest, files))}")
        shutil.rmtree(place)
    return wrong


def test_the_same_command_goes_on_to_the_same_end_after_a_kill_at_any_write(whole, tmp_path):
    assert whole[0] > 100, "the steps are not seen"
    assert not _killed_everywhere(whole, tmp_path, 1)
