"""Free disk and memory against what a plan needs."""

from __future__ import annotations

from types import SimpleNamespace

from alphaf_orch.runs.machine import room


def test_disk_and_memory_are_held_against_the_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(free=50 << 30))
    assert [check.state for check in room.disk(60 << 30)] == ["fail", "ok"]
    assert [check.state for check in room.disk(40 << 30)] == ["ok", "ok"]
    short = room.space(tmp_path / "없음", (50 << 30) + 1, "run r")
    assert (
        short.state == "fail"
        and short.evidence == "run r will write about 53,687,091,201 bytes, 53,687,091,200 bytes are free"
    )
    monkeypatch.setattr(room, "available", lambda: (8 << 30, 0))
    assert (room.memory(20 << 30).state, room.memory(None).state) == ("warn", "ok")


def test_a_container_s_own_limit_of_memory_counts(tmp_path, monkeypatch):
    meminfo, most, used = (tmp_path / name for name in ("meminfo", "max", "current"))
    meminfo.write_text("MemTotal: 104857600 kB\nMemAvailable: 94371840 kB\n")
    monkeypatch.setattr(room, "_LIMITS", ((most, used),))
    assert room.available(meminfo) == (94371840 * 1024, 0)
    most.write_text("max\n")
    used.write_text(str(2 << 30))
    assert room.available(meminfo) == (94371840 * 1024, 0)
    most.write_text(str(8 << 30))
    assert room.available(meminfo) == (6 << 30, 8 << 30)
