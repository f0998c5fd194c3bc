"""What a flag let in is seen by whoever reads the report of a run."""

from __future__ import annotations

from types import SimpleNamespace

from alphaf_orch.report.run.overview import _allowed

FILE = {"kind": "code", "model": "org/<b>x", "file": "modeling_x.py", "bytes": 3, "sha256": "0" * 64}


def test_the_head_of_a_report_names_each_flag_with_its_files():
    rows = _allowed({"allowed": {"flags": ["--allow-pickle", "--trust-remote-code"], "files": [FILE]}})
    assert [str(cell.text) for _, cell in rows] == [
        "--allow-pickle: nothing here needs it",
        "--trust-remote-code: modeling_x.py of org/<b>x",
    ]
    assert _allowed({}) == []


def test_a_call_that_goes_on_says_what_the_run_was_allowed(cpu, tmp_path, monkeypatch):
    from alphaf_orch.cli import views

    plan = SimpleNamespace(resolved=SimpleNamespace(config=SimpleNamespace(allow_pickle=True, trust_remote_code=False)))
    monkeypatch.setattr(views.allowed, "let_in", lambda _: ())
    assert views.allowed_lines(plan) == ["--allow-pickle: nothing here needs it"]
