"""What is written of one call of alphaf."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict

import pytest

from alphaf_orch.core import calls
from alphaf_orch.core.errors import DiskError
from alphaf_orch.core.holder import myself
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.runs.attach import attached_call
from alphaf_orch.runs.follow import root_of


def written(log, begins=0):
    log.parent.mkdir(parents=True, exist_ok=True)
    facts = {"holder": asdict(myself()), "command": "alphaf", "lock": "/x", "begins": begins, "exit_code": None}
    log.with_suffix(".json").write_text(json.dumps(facts))
    return calls.read_call(log)


@pytest.mark.parametrize("begins", [-1, True, 10**30])
def test_a_place_where_no_line_can_begin_is_not_read(begins, tmp_path):
    assert written(tmp_path / "alphaf.log", begins) is None


def test_a_full_disk_does_not_change_how_a_call_ends(tmp_path, monkeypatch):
    def full(*_):
        raise DiskError("no space left on device", where="x", fix="y", code="disk.full")

    monkeypatch.setattr(calls, "_call", written(tmp_path / "alphaf.log"))
    monkeypatch.setattr(calls, "write_atomic", full)
    calls.ended(3)


def test_a_name_in_the_other_spelling_is_attached_to(tmp_path, monkeypatch):
    monkeypatch.setenv("ALPHAF_RUNS", str(tmp_path))
    name = unicodedata.normalize("NFD", "실험")
    written(RunPaths(runs_dir() / name).log("alphaf"))
    assert attached_call(root_of("실험")).command == "alphaf"
