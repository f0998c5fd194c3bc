"""Paths of a run are made in one module."""

import re
from pathlib import Path

import alphaf_orch

PACKAGE = Path(alphaf_orch.__file__).parent
# The classes that name files: of a run, and of an experiment around its runs.
NAMES = {"core/paths.py", "experiments/experiment.py", "board/known.py"}
BUILT = re.compile(r"\broot /|\.root\.joinpath\(|paths\.root\}/")


def test_no_module_but_those_that_name_them_builds_a_path_of_a_run():
    built = {
        f"{file.relative_to(PACKAGE)}:{number}"
        for package in (
            "cli",
            "board",
            "report",
            "experiments",
            "evaluation",
            "judging",
            "scores",
            "runs",
            "clusters",
            "planning",
        )
        for file in (PACKAGE / package).rglob("*.py")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if BUILT.search(line) and str(file.relative_to(PACKAGE)) not in NAMES
    }
    assert built == set()
