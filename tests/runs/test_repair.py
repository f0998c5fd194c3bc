"""`alphaf repair` says what is wrong and what it would do, and does it on request; then the same command goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from breaking import EVERY
from broken_world import WHOLE, World, made_once, put_back  # noqa: F401  (fixtures)

from alphaf_orch.core.record import copy_of


def content(folder: Path) -> dict[str, bytes | str]:
    """Return every file below a folder, of links and pipes what they are."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else "other"
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and path.name != ".lock"
    }


def stages(world: World) -> dict[str, tuple[str, str]]:
    found = json.loads((world.run / "manifest.json").read_text("utf-8"))["stages"]
    return {name: (entry["state"], entry["fingerprint"]) for name, entry in found.items()}


def done(world: World, *args: str) -> str:
    result = world.call(*args)
    assert result.exit_code == 0, (args, result.output, result.exception)
    return result.output


MENDED = [
    *((file, damage) for file in ("manifest.json", "config.yaml") for damage in EVERY),
    *(
        (file, damage)
        for file in (
            ".lock", "eval/sft/finance_ko_mcq.json", "eval/sft/finance_ko_mcq.jsonl", "judge/dpo-vs-sft/verdicts.jsonl",
            "judge/dpo-vs-sft/summary.json", "answers/sft/preference_ko.jsonl", "metrics/sft.jsonl",
            "reports/merge_sft.json", "rendered/sft.yaml", "reports/data.json", "logs/sft.log",
        )
        for damage in EVERY
    ),
]  # fmt: skip


@pytest.mark.parametrize(("file", "damage"), MENDED if WHOLE else MENDED[::19], ids=lambda text: text)
def test_a_dry_call_changes_nothing_and_apply_leads_back_to_the_same_end(file, damage, broken):
    before, whole = stages(broken), content(broken.run)
    EVERY[damage](broken.run / file)
    was = content(broken.run)
    said = done(broken, "repair", "r")
    assert content(broken.run) == was, "a dry call changed something"
    done(broken, "repair", "r", "--apply")
    done(broken, "run", "--run", "r")
    kept = content(broken.run / "damaged") if (broken.run / "damaged").is_dir() else {}
    if file in was and was[file] != whole[file] and not said.startswith("nothing is wrong"):
        assert was[file] in kept.values(), "what was damaged is not kept"
    assert stages(broken) == before
    left = done(broken, "repair", "r")
    assert left.startswith("nothing is wrong in r"), left


def test_a_manifest_without_a_copy_is_proven_by_the_hashes_of_its_stages(broken):
    before = stages(broken)
    for file in (broken.run / "manifest.json", copy_of(broken.run / "manifest.json")):
        file.write_text("{")
    said = done(broken, "repair", "r")
    assert "write one anew of the stages whose files are what they wrote" in said
    done(broken, "repair", "r", "--apply")
    of_the_run = {name: found for name, found in before.items() if name != "base_model"}  # that is no part of it
    assert stages(broken) == of_the_run
    assert "nothing to do" in done(broken, "run", "--run", "r")
    assert stages(broken) == of_the_run
    done(broken, "show", "r")


def test_a_stage_whose_files_are_others_is_not_proven(broken):
    for file in (broken.run / "manifest.json", copy_of(broken.run / "manifest.json")):
        file.unlink()
    weights = broken.run / "dpo" / "merged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    proven = done(broken, "repair", "r").split("by their hashes: ")[1].splitlines()[0]
    assert "merge_sft" in proven
    assert "merge_dpo" not in proven


def test_weights_that_nothing_proves_stay_and_the_way_out_is_told(broken):
    for file in (broken.run / "manifest.json", copy_of(broken.run / "manifest.json")):
        file.unlink()
    shutil.rmtree(broken.run / "sums")
    was = content(broken.run)
    refused = broken.call("repair", "r", "--apply")
    assert refused.exit_code == 6
    assert "nothing proves what" in refused.stderr
    assert "--run NEW" in refused.stderr
    assert content(broken.run) == was


def test_an_interrupted_rename_is_put_in_place(broken):
    manifest = broken.run / "manifest.json"
    before = stages(broken)
    manifest.rename(broken.run / "manifest.json.partial")
    copy_of(manifest).unlink()
    done(broken, "repair", "r", "--apply")
    assert stages(broken) == before
    assert "nothing is wrong" in done(broken, "repair", "r")


def test_what_a_cut_write_left_is_set_aside(broken):
    left = broken.run / "reports" / "data.json.partial"
    left.write_text("{")
    assert "a write was cut off" in done(broken, "repair", "r")
    done(broken, "repair", "r", "--apply")
    assert not left.exists()
    assert [path.read_text() for path in broken.run.glob("damaged/*/reports/data.json.partial")] == ["{"]


def test_settings_of_an_earlier_version_are_asked_for(broken):
    manifest = broken.run / "manifest.json"
    for file in (manifest, copy_of(manifest)):
        known = json.loads(file.read_text("utf-8"))
        del known["config"]
        file.write_text(json.dumps(known), "utf-8")
    (broken.run / "config.yaml").write_text("model: [", "utf-8")
    assert "say them anew" in done(broken, "repair", "r")
    done(broken, "repair", "r", "--apply")
    again = done(broken, "run", "--run", "r", "--config", str(broken.place / "설정.yaml"), "--model", "tiny")
    assert "nothing to do" in again


def test_a_result_that_is_damaged_is_for_run_to_make_anew(broken):
    weights = broken.run / "sft" / "merged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    assert "`alphaf run --run r` sets it aside and makes merge_sft anew" in done(broken, "repair", "r", "--apply")
    done(broken, "run", "--run", "r")
    assert "nothing is wrong" in done(broken, "repair", "r")


def test_a_training_without_a_whole_checkpoint_begins_anew_on_request(broken):
    before = stages(broken)
    for name in ("checkpoint-5", "checkpoint-10"):
        (broken.run / "dpo" / name / "trainer_state.json").write_text("{")
    shutil.rmtree(broken.run / "dpo" / "merged")
    (broken.run / "dpo" / "adapter_model.safetensors").write_bytes(b"\0" * 40)
    assert broken.call("run", "--run", "r").exit_code == 6
    assert "trains dpo anew, from its beginning" in done(broken, "repair", "r")
    done(broken, "repair", "r", "--apply")
    done(broken, "run", "--run", "r")
    assert stages(broken) == before


@pytest.mark.parametrize("damage", list(EVERY) if WHOLE else ["cut", "gone", "a pipe"])
def test_an_experiment_has_its_record_again(damage, broken):
    record = broken.runs / "비교" / "experiment.json"
    before = record.read_bytes()
    EVERY[damage](record)
    assert "put back experiment.json.copy" in done(broken, "repair", "비교")
    done(broken, "repair", "비교", "--apply")
    assert record.read_bytes() == before


def test_nothing_is_mended_under_who_works_there(broken):
    import fcntl

    (broken.run / "manifest.json").write_text("{")
    with (broken.run / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = broken.call("repair", "r", "--apply")
    assert refused.exit_code == 6
    assert "in use" in refused.stderr
    assert (broken.run / "manifest.json").read_text() == "{"


def test_of_a_run_that_is_not_there(broken):
    refused = broken.call("repair", "없음")
    assert refused.exit_code == 6
    assert "there is no run 없음" in refused.stderr
