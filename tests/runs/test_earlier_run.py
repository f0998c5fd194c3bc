"""A run that an earlier version made is listed, shown, planned, reported and not trained again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import earlier_run
import pytest
from golden import recorded

from alphaf_orch.core.record import read_manifest

RECORDS = Path(__file__).parents[1] / "records"
STAGES = ["base_model", "data", "preprocess", "sft", "merge_sft"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return earlier_run.bring(tmp_path / "옛것", monkeypatch)


def test_it_is_listed_and_shown(run, alphaf):
    assert earlier_run.NAME in alphaf("runs").output
    shown = json.loads(alphaf("show", earlier_run.NAME, "--json").output)
    assert {name: entry["state"] for name, entry in shown["stages"].items()} == dict.fromkeys(STAGES, "done")
    assert shown["model"] == str(run / "sft" / "merged")


def test_the_same_command_has_nothing_to_do(run, alphaf):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = alphaf("sft", "--run", earlier_run.NAME)
    assert done.exit_code == 0, done.output
    assert "nothing to do" in done.output
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert not changed


def test_nothing_is_wrong_in_it_and_no_look_changes_it(run, alphaf):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert alphaf("repair", earlier_run.NAME).output == f"nothing is wrong in {earlier_run.NAME}\n"
    for args in (("runs",), ("show", earlier_run.NAME), ("repair", earlier_run.NAME, "--apply")):
        assert alphaf(*args).exit_code == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_changed_setting_is_told_with_both_values(run, alphaf):
    done = alphaf("sft", "--run", earlier_run.NAME, "--set", "lora_r=8")
    assert done.exit_code
    assert "lora_r" in done.output
    assert "4" in done.output
    assert read_manifest(run / "manifest.json")["stages"]["sft"]["state"] == "done"


@pytest.mark.parametrize("language", ["ko", "en"])
def test_its_report_is_as_recorded(run, alphaf, language):
    """Line for line, but for the moment of writing, and intervals and tests, which are those of today."""
    file = run / f"report.{language}.md"
    scored = _scored(file)
    assert alphaf("report", earlier_run.NAME).exit_code == 0
    text = "\n".join(_lasting(file)) + "\n"
    assert text == recorded(RECORDS / f"earlier-run.{language}.md", text)
    assert scored and scored == _scored(file)  # the form may be another one, no score is


_METHODS = {
    "### How to read this, and the statistics",
    "### 읽는 법과 통계 방법",
    "### Every comparison and test",
    "### 모든 비교와 검정",
}
# In brackets: intervals, tests, and what could have been seen.
_FIGURES = re.compile(r"\\\[[^]]*\]| p=[\d.]+| \((?:seen|none would)[^)]*\)| ?\([^)]*보였을 것\)| ?\([^)]*않았을 것\)")


def _scored(file: Path) -> dict[str, list[str]]:
    """Return the scores of the models by metric, in the order of the tasks."""
    found: dict[str, list[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 6 and re.search("[↑↓]<br>", cells[1]):
            found.setdefault(cells[1].partition("<br>")[2], []).append(
                " ".join(cell.partition("<br>")[0] for cell in cells[3:5])
            )
    return {metric: sorted(scores) for metric, scores in found.items()}


def _lasting(file: Path) -> list[str]:
    """Return the lines less the moment of writing, the intervals, and how they were made."""
    found, method = [], False
    for line in file.read_text(encoding="utf-8").splitlines():
        method = line in _METHODS or (method and not line.startswith("#"))
        if not method and not re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", line):
            found.append(_FIGURES.sub("", line))
    return found
