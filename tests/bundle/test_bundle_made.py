"""A bundle as it is made: told first, whole, without secrets, gone on with where it was cut, cut into parts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from bundled import CANARY, PYTHON, Made
from hub_mirror import commit, git_hash
from small_packages import checkout, source

from alphaf_orch.bundle.build import build
from alphaf_orch.bundle.collect import _built_before
from alphaf_orch.bundle.contents import Contents, Snapshot, _look
from alphaf_orch.bundle.files import File, below
from alphaf_orch.bundle.make import make_bundle
from alphaf_orch.bundle.packages import find_packages
from alphaf_orch.bundle.request import Wanted
from alphaf_orch.bundle.run import Runner
from alphaf_orch.bundle.seal import seal
from alphaf_orch.bundle.split import _archived, split
from alphaf_orch.core.errors import ConfigError, ContractError, DataError, DiskError, RunStateError, ToolError
from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.stored import Unreadable


def files(folder: Path) -> dict[str, bytes]:
    return {place: (folder / place).read_bytes() for place in below(folder)}


def test_what_comes_is_told_with_its_size_before_anything_is_fetched(made: Made) -> None:
    text = "\n".join(made.lines)
    assert "packages: 3 files, 2." in text
    assert f"model org/judge@{commit('models/org/judge')[:12]}: 2 files, 2.9 MiB" in text
    assert "your files: 1 files, 9 bytes" in text
    assert "built here, for they come as source: quelle" in text
    assert made.lines.index(next(line for line in made.lines if line.startswith("in all"))) < len(made.lines) - 3
    listed = next(n for n, asked in enumerate(made.hub.asked) if asked.startswith("GET api/"))
    fetched = next(n for n, asked in enumerate(made.hub.asked) if "/resolve/" in asked)
    assert listed < fetched


def test_every_file_has_its_sum_and_nothing_else_is_there(made: Made) -> None:
    there = files(made.folder)
    lines = there.pop("SHA256SUMS").decode().splitlines()
    assert lines == [f"{hashlib.sha256(there[place]).hexdigest()}  {place}" for place in sorted(there)]
    manifest = json.loads(there["manifest.json"])
    assert set(manifest["files"]) == set(there) - {"manifest.json", "install.sh", "facts"}
    assert [wheel["name"] for wheel in manifest["wheels"]] == ["alphaf-orch", "eins", "quelle", "zwei"]
    assert manifest["repositories"] == [
        {"kind": "model", "repo": "org/judge", "asked": None, "commit": commit("models/org/judge")}
    ]
    assert made.lines[-2].endswith(hashlib.sha256((made.folder / "SHA256SUMS").read_bytes()).hexdigest())


def test_pickles_and_secrets_stay_behind(made: Made) -> None:
    there = files(made.folder)
    assert not [place for place in there if place.endswith(".bin")]
    assert [place for place, content in there.items() if CANARY.encode() in content or b"127.0.0.1" in content] == []
    assert (made.folder / "data" / "내 데이터.jsonl").stat().st_mode & 0o777 == 0o600


def test_it_goes_on_with_what_is_there_and_is_the_same_bundle(made: Made, copied: Path) -> None:
    """A wheel is gone, another has a changed byte, the model is cut: those three come again, and nothing else."""
    (copied / "wheels" / "eins-1.0-py3-none-any.whl").unlink()
    damaged = next((copied / "wheels").glob("zwei-*"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    model = next(copied.glob("hub/*/snapshots/*/model.safetensors"))
    model.write_bytes(model.read_bytes()[:1000])
    made.hub.asked.clear()
    _, said = made.again(copied)
    fetched = [line for line in said if line.startswith("fetching") and " uv," not in line]
    assert fetched[0] == "fetching 2 packages, 1.8 KiB: eins to zwei"
    assert len(fetched) == 2 and fetched[1].startswith("fetching org/judge at ")
    assert not any("quelle" in line for line in said)
    assert files(copied) == files(made.folder)
    served = [asked for asked in made.hub.asked if asked.startswith("GET") and "/resolve/" in asked]
    assert [asked.rsplit("/", 1)[1] for asked in served if asked.endswith("safetensors")] == ["model.safetensors"]


def test_a_folder_of_somebody_else_is_refused_and_a_stranger_in_a_bundle_named(made: Made, copied: Path) -> None:
    (copied / "wheels" / "mine.whl").touch()
    with pytest.raises(RunStateError, match=r"1 files are no part of this bundle: wheels/mine\.whl"):
        made.again(copied)
    assert (copied / "wheels" / "mine.whl").exists()
    assert not (copied / "SHA256SUMS").exists()  # until it is whole again no installer takes it
    other = copied.parent / "other"
    other.mkdir()
    (other / "file").touch()
    with pytest.raises(RunStateError, match="something else than a bundle"):
        made.again(other)


def test_packages_that_the_index_lacks_are_named_all_at_once(made: Made, tmp_path: Path) -> None:
    lock = "eins==1.0\neins-x==1\nzwei==2.1\n"
    with pytest.raises(ToolError, match=r"no file for the target of eins-x==1, zwei==2\.1"):
        made.again(tmp_path / "b", checkout=checkout(tmp_path / "co", lock), judge_models=[], data=[])


def test_compiled_source_for_another_python_is_named_with_what_to_do(made: Made, tmp_path: Path) -> None:
    source(made.index, "nativ", tag="cp310-cp310-linux_x86_64")
    co = checkout(tmp_path / "co", "nativ==1.0\n")
    with pytest.raises(ToolError) as caught:
        made.again(
            tmp_path / "b", checkout=co, judge_models=[], data=[], target=replace(made.request.target, python="3.12")
        )
    assert "nativ==1.0 (it has compiled parts: nativ-1.0-cp310-cp310-linux_x86_64.whl)" in caught.value.what
    assert "pip wheel --no-deps" in caught.value.fix


def test_what_the_hub_served_is_compared_with_what_it_listed(made: Made, tmp_path: Path) -> None:
    place = "hub/models--o--m/snapshots/c/"
    good, bad = b"{}", b"[]"
    known = (
        File(f"{place}config.json", 2, None),
        File(f"{place}model.safetensors", 2, hashlib.sha256(good).hexdigest()),
        File(f"{place}tokenizer.json", 2, None),
    )
    git = {known[0].path: git_hash(good), known[2].path: git_hash(good)}
    wanted = Wanted("model", "o/m", "c")
    one = Snapshot(wanted, "c", "hub/models--o--m", known, git, tmp_path / "listing", ())
    for file, content in zip(known, (bad, bad, good), strict=True):
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.path).write_bytes(content)
    (tmp_path / "hub/models--o--m/refs").mkdir()
    (tmp_path / "hub/models--o--m/refs/c").write_text("c")
    with pytest.raises(ContractError, match=r"2 files are not what .*config\.json, .*model\.safetensors"):
        seal(Contents(made.request, {}, (one,), ()), {}, tmp_path, tmp_path / ".partial")
    assert [file.path for file in known if (tmp_path / file.path).exists()] == [known[2].path]
    assert not (tmp_path / "SHA256SUMS").exists()


@pytest.mark.parametrize("name", ["pipe", "a\nb.jsonl", os.fsdecode(b"a\xff.jsonl")])
def test_a_pipe_and_a_name_that_media_lose_are_refused(made: Made, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name) if name == "pipe" else (tmp_path / name).touch()
    with pytest.raises(DataError):
        made.again(tmp_path / "b", judge_models=[], data=[str(tmp_path / name)])


def test_the_parts_have_a_size_and_a_sum_each_and_are_the_same_each_time(made: Made, tmp_path: Path) -> None:
    about = json.loads((made.parts / "manifest.json").read_text())
    assert [part["name"] for part in about["parts"]] == [f"bundle.tar.{n:03d}" for n in range(3)]
    assert [part["size"] for part in about["parts"][:2]] == [1_200_000] * 2
    for part in about["parts"]:
        content = (made.parts / part["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (part["size"], part["sha256"])
    shutil.copytree(made.folder, tmp_path / "b")
    assert split(tmp_path / "b", tmp_path / "p", 1_200_000) == made.digest


def test_a_dry_run_leaves_nothing(made: Made, tmp_path: Path) -> None:
    request = replace(made.request, judge_models=[])
    lines = [*make_bundle(request, tmp_path / "b", None, lambda _: None, dry=True)]
    assert lines[-1].startswith("in all")
    assert not (tmp_path / "b").exists()


def test_a_folder_with_any_other_manifest_is_no_bundle(made: Made, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text('{"format": 1}')
    with pytest.raises(RunStateError, match="something else than a bundle"):
        made.again(tmp_path / "run", judge_models=[])


@pytest.mark.parametrize("content", ["", "[", "[1]", '{"wheels": [{"built_from": "x"}]}', "{}"])
def test_a_damaged_manifest_is_told(made: Made, tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(Unreadable, match="the manifest cannot be read"):
        _built_before(tmp_path)
    if content not in ("{}", '{"wheels": [{"built_from": "x"}]}'):
        with pytest.raises(Unreadable, match="the manifest cannot be read"):
            seal(Contents(made.request, {}, (), ()), {}, tmp_path, tmp_path / ".partial")


@pytest.mark.parametrize("content", ["", "[", '[{"name": 1}]', '{"commit": 1}'])
def test_a_damaged_file_of_the_work_is_told(made: Made, tmp_path: Path, content: str) -> None:
    runner = Runner(tmp_path, 0, lambda _: None)
    (tmp_path / f"packages-{fingerprint([{}, made.request.target.platforms(), PYTHON])[:16]}.json").write_text(content)
    with pytest.raises(Unreadable, match=r"packages-\w+\.json cannot be read"):
        find_packages({}, made.request.target, runner)
    wanted = Wanted("model", "o/m", None)
    (tmp_path / f"repository-{fingerprint([*vars(wanted).values(), False])[:16]}.json").write_text(content)
    with pytest.raises(Unreadable, match=r"repository-\w+\.json cannot be read"):
        _look(wanted, "python", made.request, runner)
    (tmp_path / "built.json").write_text(content)
    with pytest.raises(Unreadable, match=r"built\.json cannot be read") as caught:
        build([], tmp_path, {}, made.request.target, runner)
    assert "delete it" in caught.value.fix


def test_parts_that_names_cannot_count_or_a_disk_not_hold_delete_nothing(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sum(path.stat().st_size for path in made.parts.glob("bundle.tar.*"))
    assert _archived(made.folder) == whole
    parts = Path(shutil.copytree(made.parts, tmp_path / "p"))
    with pytest.raises(ConfigError, match=r"1,001 parts of .*, and 1000 can be told apart") as caught:
        split(made.folder, parts, whole // 1001 + 1)
    assert caught.value.fix == "give 1M or more"
    free = {"there": whole // 2}

    def usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free["there"] if parts.exists() else free["there"] + whole)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert split(made.folder, parts, 1_200_000) == made.digest  # the old parts' room counts
    free["there"] = -1_000_000
    with pytest.raises(DiskError, match="the parts need"):
        split(made.folder, parts, 1_200_000)
    assert files(parts) == files(made.parts)
