"""What is printed to be typed next can be typed: with the run or the arm that it speaks of."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.runs.chain import chain_models
from alphaf_orch.runs.find import existing_run, finished_sft

COMMAND = re.compile(r"`(alphaf [^`]+)`|^chat:  (alphaf .+)$", re.MULTILINE)


@pytest.fixture
def arm(alphaf, fake):
    """Return an arm of an experiment whose chain is done by the stand-ins."""
    root = runs_dir() / "비교"
    root.mkdir(parents=True)
    (root / "experiment.json").write_text("{}", encoding="utf-8")
    (root / "팔").mkdir()
    done = alphaf("run", "--run", "비교/팔", "--model", "tiny", "--config", str(fake.config))
    assert done.exit_code == 0, done.output
    return "비교/팔", done.stdout


def commands(text: str) -> list[list[str]]:
    return [shlex.split(first or second)[1:] for first, second in COMMAND.findall(text)]


def test_what_a_finished_arm_says_to_type_finds_the_arm(arm, alphaf):
    name, said = arm
    shown = alphaf("show", name).stdout
    assert f"run {name}" in shown and f"chat:  alphaf chat {name}" in shown and f"chat:  alphaf chat {name}" in said
    for words in commands(said + shown):
        assert existing_run(words[1] if words[0] == "chat" else words[words.index("--run") + 1])
    again = alphaf("dpo", "--run", name, "--dry-run")
    assert again.exit_code == 0, again.output
    assert f"run {name} (tiny)" in again.output
    (typed,) = re.findall(r"^in full:  alphaf (.+)$", again.output, re.MULTILINE)
    assert alphaf(*shlex.split(typed)).exit_code == 0


def test_an_error_of_an_arm_says_commands_that_find_the_arm(arm, alphaf):
    name, _ = arm
    paths = existing_run(name)
    assert isinstance(paths, RunPaths) and paths.full_name == name
    manifest = paths.manifest.read_text(encoding="utf-8")
    paths.manifest.write_text(manifest.replace('"done"', '"failed"'), encoding="utf-8")
    said = []
    for ask in (lambda: finished_sft(paths), lambda: chain_models(paths, ("dpo",))):
        with pytest.raises(AlphafError) as caught:
            ask()
        said.append(f"{caught.value.what} {caught.value.fix}")
    for text in said:
        assert f"run {name} " in text
        (words,) = commands(text)
        assert alphaf(*words, "--dry-run").exit_code == 0, words


def test_the_list_of_runs_names_a_report_once_it_is_there(arm, alphaf):
    record = {"format": 1, "name": "비교", "kind": "ablation", "created": "2026-11-27T00:00:00+00:00"}
    record |= {"request": {}, "asked": [], "arms": []}
    (runs_dir() / "비교" / "experiment.json").write_text(json.dumps(record), encoding="utf-8")
    assert alphaf("runs").stdout.rstrip().endswith("experiment 비교: 0 of 0 arms done")
    (runs_dir() / "비교" / "report.html").touch()
    assert f"report: {runs_dir()}/비교/report.html" in alphaf("runs").stdout
