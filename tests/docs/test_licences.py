"""Every package that a lock names has a licence that is on the list, or an exception with a reason."""

from __future__ import annotations

from pathlib import Path

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
