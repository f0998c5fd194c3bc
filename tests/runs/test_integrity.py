"""Files of finished stages that are not what was written: every harm, and whoever looks at them or loads them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fake_tool
import pytest
from fake_run import Fake, finished
from harms import cut, empty, flip, zeros

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import fingerprint, write_manifest
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs import checkpoints, damage, sums

MERGED = "sft/merged/model.safetensors"
ADAPTER = "sft/adapter_model.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole chain that the stand-ins have made: runs, cache and what tells the stand-ins how."""
    folder = tmp_path_factory.mktemp("만든")
    finished(folder, "tiny")
    return folder


@pytest.fixture
def fake(fake: Fake, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setenv("ALPHAF_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ALPHAF_CACHE", str(made / "cache"))
    return fake


@pytest.fixture
def root(made: Path, fake: Fake, tmp_path: Path) -> Path:
    """The run, copied: so its files have other times than those that were recorded."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    return tmp_path / "runs" / "tiny"


@pytest.fixture
def run(alphaf, fake: Fake):
    def call(*args: str):
        return alphaf(args[0], "--config", str(fake.config), *args[1:])

    return call


def grow(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


HARMS: dict[str, Callable[[Path], object]] = {
    "empty": empty, "cut": cut, "zeros": zeros, "flip": flip, "gone": Path.unlink, "grown": grow,
}  # fmt: skip


LOADING = (
    ("dpo", "--run", "tiny"), ("merge-models", "--run", "tiny", "--stage", "sft"),
    ("eval", "--run", "tiny", "--stages", "sft"), ("judge", "--run", "tiny", "--a", "sft", "--b", "base"),
    ("judge", "--run", "tiny", "--votes", "--prompts", "preference_ko", "--a", "sft"),
)  # fmt: skip


def state(run, stage: str) -> tuple[str, str]:
    planned = json.loads(run("plan", "--run", "tiny", "--json").stdout)
    return next((found["state"], found["reason"]) for found in planned["stages"] if found["name"] == stage)


def test_a_whole_run_is_whole_wherever_it_lies(root, run, alphaf, fake):
    assert sums.damaged(RunPaths(root), read=True) == ()
    verified = alphaf("verify", "tiny")
    assert verified.exit_code == 0, verified.output
    assert "merge_sft: whole" in verified.stdout
    assert "sft/checkpoint-10: whole" in verified.stdout
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    again = run("run", "--model", "tiny")
    assert "nothing to do" in again.stderr
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert fake.calls() == []


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_model_is_told_by_all_that_look_and_refused_by_all_that_load(harm, root, run, alphaf):
    HARMS[harm](root / MERGED)
    assert state(run, "merge_sft")[0] == "damaged"
    assert MERGED in state(run, "merge_sft")[1]
    shown = json.loads(alphaf("show", "tiny", "--json").stdout)["stages"]["merge_sft"]
    assert (shown["state"], MERGED in shown["error"]) == ("damaged", True)
    for command in LOADING if harm == "flip" else LOADING[:1]:
        refused = alphaf(*command)
        assert refused.exit_code == 6, (command, refused.output)
        assert f"merge_sft of run tiny is damaged: {MERGED}" in refused.stderr
        assert f"where: {root / MERGED}" in refused.stderr
        assert "next:  `alphaf verify tiny`" in refused.stderr
    verified = alphaf("verify", "tiny")
    assert verified.exit_code == 6
    assert "merge_sft: DAMAGED" in verified.stdout
    assert f"  {MERGED} " in verified.stdout
    assert verified.stdout.count("DAMAGED") == 1


def test_lists_and_reports_tell_of_damage(root, alphaf):
    flip(root / MERGED)
    assert "merge_sft damaged" in " ".join(alphaf("runs").stdout.split())
    assert alphaf("report", "tiny").exit_code == 0
    assert MERGED in (root / "report.en.md").read_text(encoding="utf-8")
    assert "달라졌거나 없어짐" in (root / "report.ko.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["dpo/merged/model.safetensors", "dpo/merged/config.json"])
def test_a_talk_with_a_damaged_model_is_refused(file, root, alphaf):
    cut(root / file)
    refused = alphaf("chat", "tiny", "--prompt", "안녕")
    assert refused.exit_code == 6
    assert f"merge_dpo of run tiny is damaged: {file} has " in refused.stderr


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "chat_template.jinja"])
@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_settings_and_tokenizer_of_a_model_are_looked_at_too(file, harm, root, run, alphaf):
    """The stand-in writes no tokenizer: what lies there is recorded, as if its stage had."""
    model = root / "dpo" / "merged"
    (model / file).write_text('{"long": "enough"}', encoding="utf-8")
    entry = json.loads((root / "manifest.json").read_text(encoding="utf-8"))["stages"]["merge_dpo"]
    sums.record_files("merge_dpo", RunPaths(root), entry)
    assert state(run, "merge_dpo")[0] == "cached"
    HARMS[harm](model / file)
    assert f"dpo/merged/{file}" in state(run, "merge_dpo")[1]
    assert f"dpo/merged/{file}" in alphaf("verify", "tiny").stdout


def test_a_flip_behind_a_stat_that_was_put_back_is_found_by_whoever_reads(root, run, alphaf):
    """A disk that gives other bytes changes no times: a look trusts them, a reading does not."""
    flip(root / MERGED)
    kept = root / "sums" / "merge_sft.json"
    values = json.loads(kept.read_text(encoding="utf-8"))
    values.pop("self")
    stat = (root / MERGED).stat()
    times = {"inode": stat.st_ino, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}
    values["files"][MERGED] |= times
    kept.write_text(json.dumps({**values, "self": fingerprint(values)}), encoding="utf-8")
    assert state(run, "merge_sft")[0] == "cached"
    verified = alphaf("verify", "tiny")
    assert verified.exit_code == 6
    assert f"{MERGED} is not what was written" in verified.stdout
    with pytest.raises(RunStateError, match="is not what was written"):
        damage.refuse_model(root / "sft" / "merged", "use")


def test_what_a_loader_would_read_beside_what_was_written_is_named(root, run, alphaf):
    (root / "dpo" / "merged" / "modeling_own.py").write_text("import os", encoding="utf-8")
    assert "dpo/merged/modeling_own.py was not there when the stage ended" in state(run, "merge_dpo")[1]
    assert alphaf("verify", "tiny").exit_code == 6


@pytest.mark.parametrize(
    ("stage", "file"), [("merge_sft", MERGED), ("merge_dpo", "dpo/merged/config.json"), ("data", "reports/data.json")]
)
def test_a_damaged_stage_is_set_aside_and_made_anew_and_what_followed_stays(stage, file, root, run, alphaf, fake):
    zeros(root / file, 4)
    harmed = (root / file).read_bytes()
    done = run("run", "--model", "tiny")
    assert done.exit_code == 0, done.output
    assert fake.calls() == [stage]
    assert f"{stage}: damaged: {file}" in done.stderr
    assert (root / "damaged" / stage / file).read_bytes() == harmed, "nothing of the user's is lost"
    assert alphaf("verify", "tiny").exit_code == 0
    assert "nothing to do" in run("run", "--model", "tiny").stderr


def test_a_damaged_adapter_whose_merged_model_is_whole_is_told_and_left(root, run, alphaf, fake):
    zeros(root / ADAPTER, 4)
    done = run("run", "--model", "tiny")
    assert done.exit_code == 0
    assert fake.calls() == []
    assert (
        f"warning: sft is damaged: {ADAPTER} is not what was written; left as it is: merge_sft has been made of it"
        in done.stderr
    )
    assert alphaf("verify", "tiny").exit_code == 6


def test_a_damaged_adapter_that_is_needed_comes_from_its_last_checkpoint(root, run, alphaf, fake):
    cut(root / ADAPTER)
    empty(root / MERGED)
    done = run("run", "--model", "tiny")
    assert done.exit_code == 0, done.output
    assert fake.calls() == ["sft", "merge_sft"]
    assert fake.argv("sft")[-1] == f"--resume_from_checkpoint={root}/sft/checkpoint-10"
    assert (root / "damaged" / "sft" / ADAPTER).is_file()
    assert alphaf("verify", "tiny").exit_code == 0


def test_a_damaged_adapter_without_a_whole_checkpoint_is_no_reason_to_train_for_days_unasked(root, run, fake):
    cut(root / ADAPTER)
    empty(root / MERGED)
    for folder in (root / "sft").glob("checkpoint-*"):
        empty(folder / "adapter_model.safetensors")
    refused = run("run", "--model", "tiny")
    assert refused.exit_code == 6
    assert "no whole checkpoint is left to make it anew from" in refused.stderr
    assert f"move {root / 'sft'} away and give the same command" in refused.stderr
    assert fake.calls() == []
    shutil.move(root / "sft", root / "old")
    assert run("run", "--model", "tiny").exit_code == 0
    assert fake.calls() == ["sft", "merge_sft"]


def test_checkpoints_and_prepared_rows_of_finished_trainings_may_go(root, run, alphaf):
    for folder in root.glob("*/checkpoint-*"):
        shutil.rmtree(folder)
    shutil.rmtree(root / "prepared")
    assert alphaf("verify", "tiny").exit_code == 0
    assert {found["state"] for found in json.loads(alphaf("show", "tiny", "--json").stdout)["stages"].values()} == {
        "done"
    }


@pytest.mark.parametrize("file", ["optimizer.pt", "trainer_state.json", "alphaf_checksums.json"])
def test_a_damaged_checkpoint_is_named(file, root, alphaf):
    flip(root / "dpo" / "checkpoint-5" / file)
    verified = alphaf("verify", "tiny")
    assert verified.exit_code == 6
    assert "dpo/checkpoint-5: DAMAGED" in verified.stdout
    assert file in verified.stdout


def test_answers_are_read_line_by_line_whatever_a_text_holds(root, alphaf):
    answers = root / "answers" / "sft" / "질문.jsonl"
    answers.parent.mkdir(parents=True)
    line = json.dumps({"id": "1", "turns": ["위\u2028아래\u2029또\u0085끝"]}, ensure_ascii=False) + "\n"
    answers.write_text(line * 2, encoding="utf-8")
    verified = alphaf("verify", "tiny")
    assert verified.exit_code == 0, verified.output
    answers.write_text(line + line[:20], encoding="utf-8")
    verified = alphaf("verify", "tiny")
    assert verified.exit_code == 6
    assert f"{answers.name} is cut off or no JSON" in verified.stdout


def test_a_record_of_hashes_that_is_damaged_says_so_of_itself(root, alphaf):
    flip(root / "sums" / "merge_dpo.json")
    verified = alphaf("verify", "tiny")
    assert verified.exit_code == 6
    assert "sums/merge_dpo.json cannot be read: the hashes are lost" in verified.stdout
    assert verified.stdout.count("DAMAGED") == 1


def test_a_stage_without_hashes_is_judged_by_its_form_and_recorded_on_request(root, run, alphaf):
    shutil.rmtree(root / "sums")
    for folder in root.glob("*/merged"):
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    verified = alphaf("verify", "tiny")
    assert "sft: no hashes recorded: its form is whole" in verified.stdout
    # What its stage recorded of the whole model tells of a file more.
    assert "sft/merged is not what was written: its fingerprint is another" in verified.stdout
    assert state(run, "merge_sft")[0] == "cached"
    assert "hashes recorded of: data, preprocess, sft" in alphaf("verify", "tiny", "--record").stdout
    flip(root / ADAPTER)
    assert f"{ADAPTER} is not what was written" in alphaf("verify", "tiny").stdout


def test_a_cut_model_of_an_earlier_version_is_told(root, run, alphaf):
    shutil.rmtree(root / "sums")
    (root / "sft" / "merged" / "tokenizer.json").write_text("{}", encoding="utf-8")
    cut(root / MERGED)
    assert state(run, "merge_sft")[0] == "damaged"
    assert alphaf("dpo", "--run", "tiny").exit_code == 6


def test_kept_scores_that_are_cut_are_named(root, alphaf):
    kept = root / "eval" / "sft" / "finance_ko_mcq.jsonl"
    kept.parent.mkdir(parents=True)
    kept.write_text('{"id": 1}\n{"id": ', encoding="utf-8")
    verified = alphaf("verify", "tiny")
    assert verified.exit_code == 6
    assert "eval/sft/finance_ko_mcq.jsonl is cut off or no JSON" in verified.stdout


@pytest.mark.parametrize("ended", ["is missing", "raises"])
def test_a_checkpoint_that_its_training_deletes_meanwhile_is_no_damage(ended, root, alphaf, monkeypatch):
    judge, gone = checkpoints.damage, root / "dpo" / "checkpoint-5"

    def damage(folder: Path) -> str | None:
        if folder != gone:
            return judge(folder)
        shutil.rmtree(folder)
        if ended == "raises":
            raise FileNotFoundError(2, "No such file or directory", str(folder / "model.safetensors"))
        return "model.safetensors is missing"

    monkeypatch.setattr(checkpoints, "damage", damage)
    verified = alphaf("verify", "tiny")
    assert verified.exit_code == 0, verified.output
    assert "dpo/checkpoint-5" not in verified.output
    assert "sft/checkpoint-" in verified.output


def test_what_a_stage_wrote_is_all_recorded_but_checkpoints_cards_and_logs(root):
    (root / "sft" / "README.md").touch()
    entry = json.loads((root / "manifest.json").read_text(encoding="utf-8"))["stages"]["sft"]
    sums.record_files("sft", RunPaths(root), entry)
    files = set(sums.recorded("sft", RunPaths(root), entry) or ())
    assert {ADAPTER, "metrics/sft.jsonl"} <= files
    assert not any("checkpoint-" in file or file.endswith((".md", ".log")) or "merged" in file for file in files)


def test_a_model_of_another_run_is_not_merged_or_trained_from_when_it_is_damaged(root, run, alphaf, tmp_path):
    flip(root / "dpo" / "merged" / "model.safetensors")
    with pytest.raises(RunStateError, match="merge_dpo of run tiny is damaged"):
        damage.refuse_model(root / "dpo" / "merged", "look")
    damage.refuse_model(tmp_path, "look")
    damage.refuse_model(root / "sft" / "merged", "use")


def test_a_manifest_of_something_else_above_a_model_is_nobody_s_to_judge(root, tmp_path):
    """A bundle leaves its own where it is installed, and the cache of models lies below."""
    there = shutil.copytree(root / "sft" / "merged", tmp_path / "alphaf" / "cache" / "models" / "tiny")
    (tmp_path / "alphaf" / "manifest.json").write_text('{"format": 1, "wheels": []}', encoding="utf-8")
    damage.refuse_model(there, "use")
    cut(root / "manifest.json")
    with pytest.raises(RunStateError, match="the manifest cannot be read"):
        damage.refuse_model(root / "sft" / "merged", "use")


def test_a_model_that_was_handed_off_where_it_was_trained_is_known_by_who_wrote_last(tmp_path):
    """Full fine-tuning: its merge writes the settings of the training's folder again."""
    paths = RunPaths(tmp_path / "full")
    entry = {"state": "done", "fingerprint": "a", "started": "now", "ended": "then"}
    stages = {"sft": entry, "merge_sft": {**entry, "spec": {"adapter": "full"}}}
    write_manifest(paths.manifest, {"format": 1, "stages": stages})
    weights, settings = paths.adapter("sft") / "model.safetensors", paths.adapter("sft") / "config.json"
    fake_tool.safetensors(weights)
    settings.write_text("{}", encoding="utf-8")
    sums.record_files("sft", paths, entry)
    settings.write_text('{"eos_token_id": 2}', encoding="utf-8")
    sums.record_files("merge_sft", paths, stages["merge_sft"])
    assert sums.damaged(paths, read=True) == ()
    flip(weights)
    (found,) = sums.damaged(paths, read=False)
    assert (found.stage, found.path) == ("sft", weights)
    with pytest.raises(RunStateError, match=r"merge_sft of run full is damaged: sft/model\.safetensors"):
        damage.refuse(paths, ["merge_sft"], "look")


def test_a_damaged_stage_of_another_arm_is_not_taken_over(root):
    from alphaf_orch.runs import sharing

    said: list[str] = []
    stage = Stage("sft", "axolotl", (), {}, (root / "sft",), {})
    assert sharing._whole(stage, RunPaths(root), said.append)
    flip(root / ADAPTER)
    assert not sharing._whole(stage, RunPaths(root), said.append)
    assert said == [f"sft: not taken from tiny: sft of run tiny is damaged: {ADAPTER} is not what was written"]


def test_an_arm_whose_manifest_is_cut_keeps_no_other_arm_from_its_work(root):
    from alphaf_orch.runs import sharing

    said: list[str] = []
    RunPaths(root).manifest.write_text('{"format": 1, "sta', encoding="utf-8")
    stage = Stage("sft", "axolotl", (), {}, (root / "sft",), {})
    assert sharing._donor(stage, RunPaths(root.parent / "other"), said.append) is None
    assert said[0].startswith("sft: not taken from tiny: the manifest cannot be read")


def test_hard_links_of_an_arm_change_no_hash(root, tmp_path):
    """Linking changes the times of the file that is linked: it is read once more, and is what it was."""
    os.link(root / MERGED, tmp_path / "arm.safetensors")
    assert sums.damaged(RunPaths(root), read=False) == ()


def test_a_large_model_that_was_moved_is_not_read_by_who_only_looks(root, run, monkeypatch):
    monkeypatch.setattr(sums, "QUICK_BYTES", -1)
    flip(root / MERGED)
    assert state(run, "merge_sft")[0] == "cached"
    assert sums.damaged(RunPaths(root), read=True)


def test_a_fake_tool_that_is_killed_while_saving_leaves_no_checkpoint_to_trust(run, fake, tmp_path):
    """No hashes: the callback that writes them comes after the last file."""
    fake.behave(sft="fail")
    run("sft", "--model", "tiny")
    folder = tmp_path / "runs" / "tiny" / "sft"
    fake_tool.checkpoint(folder, 8)
    (folder / "checkpoint-8" / "alphaf_checksums.json").unlink()
    fake.behave()
    done = run("sft", "--model", "tiny")
    assert done.exit_code == 0
    assert fake.argv("sft")[-1].endswith("checkpoint-5")
    assert "checkpoint-8 is passed over: alphaf_checksums.json is missing" in done.stderr
