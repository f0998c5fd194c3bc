"""`alphaf clean`: what finished runs need no more is shown, on request deleted, and nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import yaml
from fake_run import finished

from alphaf_orch.core.cached import lock_of, named, using
from alphaf_orch.core.command import child_env
from alphaf_orch.core.lock import held
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, cache_dir, runs_dir
from alphaf_orch.core.places import freed
from alphaf_orch.runs.cleaning import caches, needless, remove

DAY = 86400


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A folder with the stand-ins, and in it a run that they finished."""
    place = tmp_path_factory.mktemp("clean")
    return place, finished(place, "끝난")


@pytest.fixture
def fake(once, monkeypatch):
    """The stand-ins in that folder, where no run is."""
    place, made = once
    monkeypatch.setenv("FAKE_TOOL", str(made.control))
    monkeypatch.setenv("ALPHAF_RUNS", str(place / "실행"))
    monkeypatch.setenv("ALPHAF_CACHE", str(place / "cache"))
    shutil.rmtree(place / "실행", ignore_errors=True)
    made.behave()
    made.forget()
    return made


@pytest.fixture
def chain(once, fake):
    """The finished run, with a scratch folder that something left."""
    shutil.copytree(once[0] / "runs", runs_dir())
    paths = RunPaths(runs_dir() / "끝난")
    (paths.scratch("merge_sft") / "model.safetensors").parent.mkdir(parents=True)
    (paths.scratch("merge_sft") / "model.safetensors").write_bytes(b"x" * 5000)
    return paths


def manifest(paths: RunPaths) -> dict:
    return json.loads(paths.manifest.read_text(encoding="utf-8"))


def left(paths: RunPaths) -> set[str]:
    """Return what `clean` may take, as far as it is there."""
    found = [*paths.root.glob("*/checkpoint-*"), *paths.root.glob("*/merged"), *paths.root.glob("prepared/*")]
    found += paths.root.glob(".partial/*")
    return {str(path.relative_to(paths.root)) for path in found}


def told(alphaf, *args: str) -> dict:
    done = alphaf("clean", *args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_it_shows_and_deletes_nothing_until_it_is_told_to(chain, alphaf, fake):
    before = left(chain)
    shown = alphaf("clean", "끝난")
    assert "sft/checkpoint-10" in shown.stdout and "sft and its merge are done" in shown.stdout
    assert "nothing was deleted; the same command with --yes frees" in shown.stdout
    assert left(chain) == before
    found = told(alphaf, "끝난")
    assert {Path(item["path"]).name for item in found["items"]} >= {"checkpoint-5", "checkpoint-10", "merge_sft"}
    assert sum(item["bytes"] for item in found["items"]) > 0
    assert not {"sft/merged", "dpo/merged"} & {item["path"] for item in found["items"]}
    deleted = alphaf("clean", "끝난", "--yes")
    assert deleted.stdout.splitlines()[-1].startswith("deleted: ")
    assert left(chain) == {"sft/merged", "dpo/merged"}
    assert told(alphaf, "끝난")["items"] == []
    # The run is what it was: finished, its model there, nothing to be done.
    again = alphaf("run", "--run", "끝난", "--config", str(fake.config))
    assert again.exit_code == 0 and "nothing to do" in again.stderr
    assert fake.calls() == []
    assert {stage["state"] for stage in manifest(chain)["stages"].values()} == {"done"}


def test_intermediate_models_go_only_by_a_word_of_their_own_and_can_be_made_again(chain, alphaf, fake):
    (item,) = [item for item in told(alphaf, "--merged")["items"] if item["kind"] == "merged model"]
    assert item["path"].endswith("sft/merged") and "until `alphaf sft` made it anew" in item["lost"]
    assert alphaf("clean", "끝난", "--merged", "--yes").exit_code == 0
    assert left(chain) == {"dpo/merged"}
    assert manifest(chain)["stages"]["merge_sft"]["cleaned"] == ["sft/merged"]
    for args in (("run", "--run", "끝난", "--config", str(fake.config)), ("show", "끝난"), ("plan", "--run", "끝난")):
        done = alphaf(*args)
        assert done.exit_code == 0, done.output
    assert fake.calls() == []
    asked = alphaf("eval", "--run", "끝난", "--stages", "sft", "--task", "finance_ko_mcq")
    assert asked.exit_code == 6
    assert "the sft model of run 끝난 was deleted by `alphaf clean --merged`" in asked.stderr
    assert "`alphaf sft --run 끝난` merges it anew" in asked.stderr
    made = alphaf("sft", "--run", "끝난", "--config", str(fake.config))
    assert made.exit_code == 0, made.output
    assert fake.calls() == ["preprocess", "merge_sft"], "the check of the merge reads the tokenised rows"
    assert "cleaned" not in manifest(chain)["stages"]["merge_sft"]


def fail(paths: RunPaths, stage: str) -> None:
    found = manifest(paths)
    found["stages"][stage]["state"] = "failed"
    paths.manifest.write_text(json.dumps(found), encoding="utf-8")


def test_a_run_that_is_not_finished_is_left_alone(chain, alphaf):
    before = left(chain)
    fail(chain, "dpo")
    assert told(alphaf, "끝난", "--merged", "--yes")["kept"] == [{"run": "끝난", "why": "not finished: dpo is failed"}]
    assert left(chain) == before
    chain.manifest.write_text("{")
    assert "cannot be read" in told(alphaf, "--yes")["kept"][0]["why"]
    chain.manifest.write_text('{"format": 1}')
    assert told(alphaf, "--yes")["kept"][0]["why"] == "the manifest cannot be read: stages: field required"
    assert left(chain) == before


def test_a_run_that_somebody_works_on_is_left_alone(chain, alphaf):
    before = left(chain)
    for lock in (chain.lock, chain.eval_lock):
        lock.parent.mkdir(exist_ok=True)
        with held(lock, "the run 끝난"):
            refused = alphaf("clean", "끝난", "--yes")
            assert refused.exit_code == 6 and "is in use (by process" in refused.stderr
            assert "is in use" in told(alphaf, "--yes")["kept"][0]["why"]
    assert left(chain) == before


def test_no_link_is_followed_and_nothing_of_others_is_deleted(chain, alphaf, tmp_path):
    outside = tmp_path / "밖"
    (outside / "checkpoint-7").mkdir(parents=True)
    (outside / "checkpoint-7" / "trainer_state.json").write_text("{}")
    (chain.root / "dpo" / "checkpoint-7").symlink_to(outside / "checkpoint-7")
    (chain.root / ".partial" / "link").symlink_to(outside)
    (chain.root / "sft" / "checkpoint-5" / "메모.txt").write_text("mine")
    (chain.root / "sft" / "checkpoint-best").mkdir()
    # A whole folder of the run that is elsewhere.
    shutil.move(chain.root / "prepared", outside / "prepared")
    (chain.root / "prepared").symlink_to(outside / "prepared")
    kept = {each["why"] for each in told(alphaf, "--yes")["kept"]}
    assert "sft/checkpoint-5: it holds 메모.txt, which no trainer writes" in kept
    assert "dpo/checkpoint-7: a link, which is not followed" in kept
    assert {path.name for path in outside.iterdir()} == {"checkpoint-7", "prepared"}
    assert any((outside / "prepared").iterdir()) and (outside / "checkpoint-7" / "trainer_state.json").is_file()
    assert {"sft/checkpoint-5", "sft/checkpoint-best", "dpo/checkpoint-7", ".partial/link"} <= left(chain)
    assert "sft/checkpoint-10" not in left(chain)
    linked = runs_dir() / "이름"
    linked.symlink_to(chain.root)
    assert any("no link is followed" in each["why"] for each in told(alphaf)["kept"])


@pytest.mark.parametrize("lost", ["sft/adapter_model.safetensors", "sft/merged/model.safetensors"])
def test_checkpoints_of_damaged_weights_are_kept(lost, chain, alphaf):
    (chain.root / lost).write_bytes((chain.root / lost).read_bytes()[:-3])
    found = told(alphaf, "끝난", "--merged", "--yes")
    assert "its checkpoints may be what is left" in found["kept"][0]["why"]
    assert {"sft/checkpoint-5", "sft/checkpoint-10", "sft/merged"} <= left(chain)
    assert "dpo/checkpoint-10" not in left(chain)


def test_what_was_set_aside_goes_once_all_is_whole(chain, alphaf):
    (chain.set_aside("sft") / "adapter_model.safetensors").parent.mkdir(parents=True)
    assert [item["kind"] for item in told(alphaf)["items"]].count("set aside") == 1
    weights = chain.root / "sft" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    found = told(alphaf, "--yes")
    assert "adapter_model.safetensors is not what was written" in found["kept"][0]["why"]
    assert (chain.root / "damaged" / "sft").is_dir()
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert alphaf("clean", "--yes").exit_code == 0
    assert not (chain.root / "damaged" / "sft").exists()


def test_what_a_repair_set_aside_is_nobody_elses_and_stays(chain, alphaf):
    metrics = chain.metrics("sft")
    metrics.write_bytes(metrics.read_bytes() + b'{"step": "many"}\n')
    was = metrics.read_bytes()
    assert alphaf("repair", "끝난", "--apply").exit_code == 0
    (copy,) = chain.root.glob("damaged/*/metrics/sft.jsonl")
    anew = chain.set_aside("merge_sft") / "model.safetensors", chain.set_aside("dpo_data") / "a"
    other = chain.damaged / "mine" / "a"
    for file in (*anew, other):
        file.parent.mkdir()
        file.write_text("")
    again = chain.set_aside("merge_sft")
    again.mkdir()
    assert again.name == "merge_sft-2"
    found = [item for item in told(alphaf, "끝난", "--yes")["items"] if item["kind"] == "set aside"]
    assert {Path(item["path"]).name for item in found} == {"merge_sft", "merge_sft-2", "dpo_data"}
    assert {path.name for path in chain.damaged.iterdir()} == {copy.parents[1].name, "mine"}
    assert copy.read_bytes() == was


def test_one_that_was_cut_off_goes_on(chain, alphaf, fake, monkeypatch):
    def killed(_folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(remove.shutil, "rmtree", killed)
        found = needless.of_run(chain, merged=True)
        remove.clean_run(found, merged=True)
    (half,) = chain.root.rglob("*.cleaned")
    assert alphaf("run", "--run", "끝난", "--config", str(fake.config)).exit_code == 0
    assert fake.calls() == []
    assert alphaf("clean", "끝난", "--merged", "--yes").exit_code == 0
    assert not half.exists() and left(chain) == {"dpo/merged"}


def test_a_model_whose_record_was_written_and_that_is_still_there_counts_as_there(chain, alphaf, monkeypatch):
    def killed(_path: Path) -> None:
        raise KeyboardInterrupt

    shutil.rmtree(chain.root / "prepared")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(remove, "delete", lambda path: killed(path) if path.name == "merged" else None)
        remove.clean_run(needless.of_run(chain, merged=True), merged=True)
    assert manifest(chain)["stages"]["merge_sft"]["cleaned"] == ["sft/merged"]
    assert [model.name for model in chain.root.glob("sft/merged")] == ["merged"]
    assert any(item["kind"] == "merged model" for item in told(alphaf, "끝난", "--merged")["items"])


def test_arms_of_an_experiment_wait_for_each_other(chain, alphaf):
    experiment = runs_dir() / "실험"
    experiment.mkdir()
    chain.root.rename(experiment / "a")
    file = experiment / "experiment.json"
    rest = {"variant": "v", "values": {}, "seed": None, "model": "tiny", "exit_code": 0, "error": ""}
    arms = [{"name": "a", "state": "done", **rest}, {"name": "b", "state": "failed", **rest}]
    begun = {"kind": "ablation", "created": "2026-01-01T00:00:00+00:00", "request": {}, "asked": ["a", "b"]}
    record = {"format": 1, "name": "실험", **begun, "arms": arms}
    for damaged in (json.dumps(record)[:-20], json.dumps({**record, "arms": ["a"]})):
        file.write_text(damaged)
        assert "the record of the experiment cannot be read" in told(alphaf, "실험", "--yes")["kept"][0]["why"]
    file.write_text(json.dumps(record))
    assert "arm b, and arms share" in told(alphaf, "실험", "--yes")["kept"][0]["why"]
    record["arms"][1]["state"] = "done"
    file.write_text(json.dumps(record))
    shared = experiment / "a" / "sft" / "checkpoint-10" / "adapter_model.safetensors"
    os.link(shared, experiment / "shared.safetensors")
    found = told(alphaf)
    assert {item["run"] for item in found["items"]} == {"실험/a"}
    whole, alone = freed([shared.parent, experiment / "shared.safetensors"]), freed([shared.parent])
    assert whole - alone == shared.stat().st_blocks * 512, "what another arm has too frees nothing"
    assert alphaf("clean", "실험", "--yes").exit_code == 0
    assert (experiment / "shared.safetensors").is_file() and not shared.exists()


def entry(kind: str, name: str, days: float, size: int = 8192) -> Path:
    path = cache_dir() / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def test_caches_are_listed_and_bounded_by_age_and_size(alphaf):
    old, middle, new = entry("rows", "a.jsonl", 40), entry("eval", "b.json", 20), entry("piped", "c.jsonl", 1)
    samples = entry("eval", "b.jsonl", 20)
    found = told(alphaf, "--caches")
    assert [(each["kind"], each["name"], each["bytes"]) for each in found["caches"]] == [
        ("rows", "a", 8192), ("eval", "b", 16384), ("piped", "c", 8192),
    ]  # fmt: skip
    told(alphaf, "--caches", "--yes")
    assert old.exists(), "without a bound nothing goes"
    assert [each["goes"] for each in told(alphaf, "--caches", "--older-than", "30d")["caches"]] == [True, False, False]
    assert told(alphaf, "--caches", "--older-than", "30d", "--yes")["freed"] == 8192
    assert not old.exists() and middle.exists()
    assert told(alphaf, "--max-size", "10K", "--yes")["freed"] == 16384, "the least recently used goes first"
    assert not middle.exists() and not samples.exists() and new.exists()
    for wrong in (
        ("--older-than", "30"),
        ("--older-than", "9" * 400 + "d"),
        ("--older-than", "9" * 5000 + "d"),
        ("--max-size", "viel"),
        ("--max-size", "9" * 400),
    ):
        assert alphaf("clean", *wrong).exit_code == 2
    assert alphaf("clean", "r", "--max-size", "1G").exit_code == 2


def test_what_a_program_uses_or_an_unfinished_run_needs_stays_in_the_cache(alphaf, chain):
    used, needed, free = (entry("piped", f"{name}.jsonl", 90) for name in ("used", "needed", "free"))
    fail(chain, "sft")
    chain.config.write_text(f"data: [{needed}]\n", encoding="utf-8")
    with using([used]):
        found = {each["name"]: each for each in told(alphaf, "--older-than", "30d", "--yes")["caches"]}
        assert found["used"]["kept"] == "in use" and found["needed"]["kept"].startswith("a run that is not finished")
        assert used.exists() and needed.exists() and not free.exists()
        # Begun between the look and the deletion.
        stale = caches.Entry("piped", "used", (used,), 1, 0.0)
        assert caches.drop([stale]) == (0, ["piped/used"])
    recent = {each["name"]: each["used"] for each in told(alphaf)["caches"]}["used"]
    assert time.time() - recent < DAY, "a use counts, though the file is old"


def test_what_came_through_a_pipe_stays_as_long_as_a_run_was_made_of_it(alphaf, chain, monkeypatch, tmp_path):
    place = tmp_path / "a folder with a long name of many words" / "which the settings of a run write on two lines"
    monkeypatch.setenv("ALPHAF_CACHE", str(place))
    piped, free, rows = entry("piped", "a.jsonl", 90), entry("piped", "b.jsonl", 90), entry("rows", "c.jsonl", 90)
    settings = yaml.safe_dump({"data": [str(piped), str(rows)]})
    assert str(piped) not in settings, "it stands on one line"
    chain.config.write_text(settings, encoding="utf-8")
    found = {each["name"]: each for each in told(alphaf, "--caches", "--max-size", "0", "--yes")["caches"]}
    assert found["a"]["kept"] == "a run was made of it, and nothing makes it again"
    assert piped.is_file() and not free.exists() and not rows.exists()
    fail(chain, "sft")
    (left,) = told(alphaf, "--caches")["caches"]
    assert left["kept"] == "a run that is not finished needs it"


@pytest.mark.parametrize("harm", ["pipe", "torn"])
def test_settings_that_cannot_be_read_keep_the_cache(harm, alphaf, monkeypatch, tmp_path):
    monkeypatch.setenv("ALPHAF_RUNS", str(tmp_path / "실행"))
    config = runs_dir() / "옛" / "config.yaml"
    config.parent.mkdir(parents=True)
    os.mkfifo(config) if harm == "pipe" else config.write_bytes(b"data: [\xff")
    file = entry("rows", "a.jsonl", 90)
    (found,) = told(alphaf, "--caches", "--max-size", "0", "--yes")["caches"]
    assert found["kept"] == f"a run may need it: {config} cannot be read"
    assert file.is_file()
    shutil.rmtree(config.parent)
    told(alphaf, "--caches", "--max-size", "0", "--yes")
    assert not file.exists()


def test_a_pipe_in_the_place_of_a_lock_of_the_cache_is_not_waited_for(alphaf):
    file = entry("rows", "a.jsonl", 90)
    lock_of(file).parent.mkdir(parents=True)
    os.mkfifo(lock_of(file))
    with using([file]):
        refused = alphaf("clean", "--caches", "--max-size", "0", "--yes")
    assert refused.exit_code == 6 and "a.jsonl.lock cannot be read: it is a pipe" in refused.stderr
    assert file.is_file()


def test_what_a_program_reads_of_the_cache_is_found_in_its_files():
    root = cache_dir()
    files = {
        "base_model": str(root / "models" / "tiny"),
        "datasets": [{"path": str(root / "rows" / "a.jsonl")}],
        "n": 3,
    }
    assert named([("python", str(root / "eval" / "x.json")), files]) == {
        root / "models" / "tiny",
        root / "rows" / "a.jsonl",
    }


@pytest.mark.parametrize("absolute", [False, True])
def test_no_name_leads_out_of_the_folder_of_runs(absolute, alphaf):
    outside = runs_dir().parent / "out" / "exp"
    outside.mkdir(parents=True)
    (outside / EXPERIMENT_FILE).write_text("{}")
    runs_dir().mkdir(parents=True, exist_ok=True)
    assert alphaf("clean", str(outside) if absolute else "../out/exp").exit_code == 2


def test_what_torch_compiled_for_our_programs_is_listed_where_they_put_it(alphaf, monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    place = Path(child_env({}, online=False)["TORCHINDUCTOR_CACHE_DIR"])
    place.mkdir(parents=True)
    (place / "kernel.so").write_bytes(b"x" * 4096)
    found = {each.name: each.folder for each in caches.theirs()}
    assert found["torch.compile"] == place
