"""Whatever became of a file of a run: every command that reads it goes on, or says which file and what to do.

All of the table with ALPHAF_WHOLE=1 (some minutes); else each file and each damage some times.
"""

from __future__ import annotations

import itertools
import json
import shutil

import pytest
from breaking import EVERY, OTHERS, replaced, values
from broken_world import ANSWERS, WHOLE, made_once, put_back  # noqa: F401  (fixtures)

READERS = {
    "runs": ("runs",),
    "show": ("show", "r"),
    "plan": ("plan", "--run", "r"),
    "estimate": ("estimate", "--run", "r"),
    "run": ("run", "--run", "r"),
    "sft": ("sft", "--run", "r"),
    "dpo": ("dpo",),
    "report": ("report", "r"),
    "compare": ("compare", "r", "other"),
    "summary": ("judge", "--run", "r", "--a", "dpo", "--b", "sft", "--summary"),
    "votes": ("judge", "--run", "r", "--votes", "--task", "finance_ko_mcq", "--judge", "http://127.0.0.1:9/v1",
              "--judge-model", "m"),
    "list": ("eval", "--run", "r", "--list"),
    "eval": ("eval", "--run", "r", "--task", "finance_ko_mcq"),
    "chat": ("chat", "r", "--prompt", "?"),
    "merge": ("merge-models", "--run", "r", "--partner", "tiny", "--dry-run"),
    "ablate": ("ablate", "--model", "tiny", "--set", "sft.lora_r=4", "--name", "비교", "--dry-run"),
    "bakeoff": ("bakeoff", "--models", "tiny-eeve,tiny-qwen", "--name", "비교", "--dry-run"),
    "arm": ("plan", "--run", "비교/tiny-qwen"),
    "repair": ("repair", "r"),
    "repair arms": ("repair", "비교"),
}  # fmt: skip
# What reads each file; `report` and `compare` last a second where nothing is wrong.
FILES = {
    "r/manifest.json": "runs show plan estimate run sft dpo report compare eval chat merge repair",
    "r/manifest.json.copy": "runs show repair",
    "r/config.yaml": "runs plan run report list chat merge repair",
    "r/eval/sft/finance_ko_mcq.json": "report compare votes repair",
    "r/eval/sft/finance_ko_mcq.jsonl": "report compare votes repair",
    "r/judge/dpo-vs-sft/verdicts.jsonl": "report summary repair",
    "r/judge/dpo-vs-sft/summary.json": "report summary repair",
    ANSWERS: "repair",
    "r/metrics/sft.jsonl": "report show repair",
    "r/reports/data.json": "plan estimate run report repair",
    "r/reports/merge_sft.json": "run report repair",
    "r/rendered/sft.yaml": "plan report repair",
    "r/sums/sft.json": "show plan run repair",
    "r/dpo/backend.json": "run",
    "r/sft/checkpoint-10/trainer_state.json": "plan run",
    "r/probes/data.jsonl": "plan run",
    "r/logs/sft.log": "run repair",
    "r/.lock": "run repair",
    "r/dpo/merged/README.md": "report",
    "r/sft/merged/config.json": "runs show plan",
    "비교/experiment.json": "runs ablate bakeoff arm",
    "비교/tiny-qwen/manifest.json": "runs arm",
}
OURS = {0, 2, 3, 4, 5, 6, 7, 8, 9, 10}
ALL = [(file, damage, reader) for file, readers in FILES.items() for damage in EVERY for reader in readers.split()]
QUICK = [each for each in ALL if each[2] not in ("report", "compare")]
TABLE = ALL if WHOLE else QUICK[::23] + [each for each in ALL if each[2] in ("report", "compare")][::61]


def held(result, file: str) -> None:
    """The law: an exit code of ours, no trace, and of a refusal the file, and what to do."""
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in OURS, result.output
    assert "Traceback" not in result.output
    if result.exit_code == 6:
        assert "  where: " in result.stderr
        assert "  next:  " in result.stderr
        assert file.rpartition("/")[2] in result.stderr, f"{file} is not named: {result.stderr}"


@pytest.mark.parametrize(("file", "damage", "reader"), TABLE, ids=map(" - ".join, TABLE))
def test_a_broken_file(file, damage, reader, broken):
    EVERY[damage](broken.runs / file)
    held(broken.call(*READERS[reader]), file)


def test_a_broken_manifest_is_marked_and_all_other_runs_are_listed(broken):
    file = broken.run / "manifest.json"
    for damage, become in EVERY.items():
        become(file)
        listed = broken.call("runs")
        assert listed.exit_code == 0, (damage, listed.output, listed.exception)
        rows = {line.split()[1] for line in listed.stdout.splitlines() if line.startswith("│")}
        assert {"r", "other"} <= rows, damage
        assert "\nr: the manifest cannot be read" in listed.stdout, damage
        assert "\nother: " not in listed.stdout
        assert "`alphaf repair r`" in listed.stdout
        assert "experiment" in listed.stdout
        found = {row["run"]: row for row in json.loads(broken.call("runs", "--json").stdout)["runs"]}
        assert ("damaged" in found["r"], "damaged" in found["other"]) == (True, False), damage
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
        shutil.copyfile(broken.kept / "실행" / "r" / "manifest.json", file)


def test_no_model_is_chosen_for_dpo_while_a_newer_manifest_cannot_be_read(broken):
    (broken.run / "manifest.json").write_text("{")
    refused = broken.call("dpo")
    assert refused.exit_code == 6
    assert "which SFT was finished last cannot be told" in refused.stderr
    assert "--run other" in refused.stderr


def test_a_stage_that_lacks_what_every_version_has_written_is_no_defect_of_ours(broken):
    file = broken.run / "manifest.json"
    whole = json.loads(file.read_text("utf-8"))
    for stage in ("text", [], {"state": "done"}, {**whole["stages"]["sft"], "fingerprint": ...}):
        if isinstance(stage, dict):
            stage = {key: value for key, value in stage.items() if value is not ...}
        file.write_text(json.dumps({**whole, "stages": {**whole["stages"], "sft": stage}}), "utf-8")
        for reader in ("show", "plan", "run"):
            refused = broken.call(*READERS[reader])
            assert refused.exit_code == 6, (stage, reader, refused.output, refused.exception)
            assert "stages.sft" in refused.stderr
    file.write_text(json.dumps({"format": 1}), "utf-8")
    assert "stages: field required" in broken.call("show", "r").stderr


WRONG = ("r/manifest.json", "r/reports/data.json", "r/judge/dpo-vs-sft/summary.json", "비교/experiment.json",
         "r/eval/sft/finance_ko_mcq.json", "r/eval/sft/finance_ko_mcq.jsonl", "r/judge/dpo-vs-sft/verdicts.jsonl",
         "r/metrics/sft.jsonl")  # fmt: skip


@pytest.mark.parametrize("file", WRONG)
def test_values_of_other_kinds(file, broken):
    path = broken.runs / file
    text = path.read_text("utf-8")
    first = text.split("\n", 1)[0] if path.suffix == ".jsonl" else text
    readers = [
        reader for reader in FILES[file].split() if WHOLE or reader in ("runs", "show", "plan", "summary", "repair")
    ]
    cases = list(itertools.product(values(json.loads(first)), OTHERS.items(), readers))
    for way, (_, other), reader in cases if WHOLE else cases[:: max(1, len(cases) // 7)]:
        path.write_text(text, "utf-8")
        replaced(path, way, other)
        held(broken.call(*READERS[reader]), file)
