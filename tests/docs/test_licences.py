"""Every package that a lock names has a licence that is on the list, or an exception with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from audit import licences
from audit.exceptions import EXCEPTIONS

from alphaf_orch.core.paths import template_folders
from alphaf_orch.inputs.licences import STRICTEST, read_licence
from alphaf_orch.inputs.presets import list_presets

PAGE = Path(__file__).parents[2] / "docs" / "licences.md"


def test_every_locked_package_has_a_licence_that_is_allowed():
    assert list(licences.problems(EXCEPTIONS)) == []


def test_exceptions_have_a_reason_and_stand_in_the_page():
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in EXCEPTIONS if f"`{name}`" not in page and not name.startswith("nvidia-")] == []
    assert all(len(reason) > 40 for reason in EXCEPTIONS.values())


def test_what_is_unknown_copyleft_or_not_recorded_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(licences, "LOCKS", tmp_path)
    monkeypatch.setattr(licences, "RECORD", tmp_path / "licences.tsv")
    (tmp_path / "x.lock").write_text(
        "Good.One==1  # via y\nsilent==2 ; python_version < '3.12'\ncopyleft==3\nnew==4\n", "utf-8"
    )
    rows = "name\tversion\tlicence\ngood-one\t1\tMIT\nsilent\t2\t\ncopyleft\t3\tAGPL-3.0-only\n"
    (tmp_path / "licences.tsv").write_text(rows, "utf-8")
    told = list(licences.problems({"gone": "x"}))
    assert [line.split(":")[0] for line in told] == ["copyleft", "new", "silent", "gone"]
    (first, *_) = licences.problems({"copyleft": "x", "silent": "x", "new": "x"})
    assert first.startswith("new: its licence is not recorded")


def test_a_version_is_not_passed_by_the_licence_of_another(tmp_path, monkeypatch):
    monkeypatch.setattr(licences, "LOCKS", tmp_path)
    monkeypatch.setattr(licences, "RECORD", tmp_path / "licences.tsv")
    (tmp_path / "cpu.lock").write_text("changed==9\ncut==1\nsame==1\n", "utf-8")
    (tmp_path / "gpu.lock").write_text("changed==10\ncut==2\nsame==1\n", "utf-8")
    rows = "name\tversion\tlicence\nchanged\t10\tMIT\nchanged\t9\tAGPL-3.0-only\ncut\t1\tMIT\nsame\t1\tMIT\n"
    (tmp_path / "licences.tsv").write_text(rows, "utf-8")
    told = list(licences.problems({}))
    assert [line.split(":")[0] for line in told] == ["changed", "cut"]
    assert "9: AGPL-3.0-only" in told[0]
    assert "is not recorded for 2" in told[1]


def test_the_record_has_a_line_for_each_locked_version(tmp_path, monkeypatch):
    """Ten is above nine, a build is its version, and a version that nobody has says whose licence it was given."""
    monkeypatch.setattr(licences, "LOCKS", tmp_path)
    monkeypatch.setattr(licences, "RECORD", tmp_path / "licences.tsv")
    (tmp_path / "cpu.lock").write_text("torch==9\nnever==1\n", "utf-8")
    (tmp_path / "gpu.lock").write_text("torch==10\ntorch==11\n", "utf-8")
    answers = {
        "torch==10": {"name": "Torch", "version": "10", "license_expression": "AGPL-3.0-only"},
        "installed": {"name": "torch", "version": "9+cpu", "license_expression": "MIT"},
    }

    def run(argv, **_):
        if "-c" in argv:
            return SimpleNamespace(stdout=json.dumps([answers["installed"]]), returncode=0)
        wanted = Path(argv[argv.index("-r") + 1]).read_text("utf-8").split()
        assert len({line.partition("==")[0] for line in wanted}) == len(wanted)
        absent = [line for line in wanted if line not in answers]
        if absent:
            return SimpleNamespace(stderr=f"No matching distribution found for {absent[0]}", returncode=1)
        report = {"install": [{"metadata": answers[line]} for line in wanted]}
        Path(argv[argv.index("--report") + 1]).write_text(json.dumps(report), "utf-8")
        return SimpleNamespace(stderr="", returncode=0)

    monkeypatch.setattr(licences.subprocess, "run", run)
    assert licences.record("python") == 1
    assert (tmp_path / "licences.tsv").read_text("utf-8").splitlines()[1:] == [
        "never\t1\t",
        "torch\t10\tAGPL-3.0-only",
        "torch\t11\tAGPL-3.0-only\t10",
        "torch\t9\tMIT",
    ]


@pytest.mark.parametrize(
    ("metadata", "expression", "allowed"),
    [
        ({"license_expression": "Apache-2.0 OR GPL-3.0-only"}, "Apache-2.0 OR GPL-3.0-only", True),
        ({"license_expression": "MIT AND GPL-2.0-only"}, "MIT AND GPL-2.0-only", False),
        ({"classifier": ["License :: OSI Approved", "License :: OSI Approved :: BSD License"]}, "BSD-3-Clause", True),
        ({"classifier": ["License :: OSI Approved :: GNU Affero General Public License v3"]}, "AGPL-3.0-only", False),
        ({"license": "GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3"}, "LicenseRef-LGPL", False),
        ({"license": "NVIDIA Proprietary Software"}, "LicenseRef-NVIDIA", False),
        ({"license": "LGPL-3.0-only"}, "LGPL-3.0-only", False),
        ({}, "", False),
    ],
)
def test_what_metadata_state(metadata, expression, allowed):
    assert licences.spdx(metadata) == expression
    assert licences.is_allowed(expression) == allowed


def test_every_preset_names_a_licence_that_is_known():
    (shipped,) = template_folders()
    unknown = [p.name for p in list_presets((shipped / "models",)) if read_licence(p.licence).strictness == STRICTEST]
    assert unknown == []
