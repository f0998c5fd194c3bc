"""What a plan reads from the disk: once, before anything is planned, and each data file once in a process."""

import os

import pytest
from data_rows import PAIR, chat, line, write

from alphaf_orch.core.errors import ModelError
from alphaf_orch.core.paths import PACKAGE, template_folders
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.experiments.ablation.factors import make_ablation, read_factors
from alphaf_orch.experiments.experiment import ExperimentPaths
from alphaf_orch.experiments.plan import plan_arms
from alphaf_orch.inputs import data, sources
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import plan_run
from alphaf_orch.planning.resolve import resolve
from alphaf_orch.settings.config import RunConfig


@pytest.fixture
def files(tmp_path):
    """Rows of one's own for both trainings."""
    rows = write(tmp_path / "데이터", line(chat(id=1)), line(chat("이자는?")), name="sft.jsonl")
    return rows, write(tmp_path / "데이터", line(PAIR), name="dpo.jsonl")


@pytest.fixture
def reads(monkeypatch):
    """The data files that were read, in order."""
    found = []
    real = data.read_whole
    monkeypatch.setattr(data, "read_whole", lambda file, *args: (found.append(file), real(file, *args))[1])
    return found


def config(files, **settings):
    return RunConfig(**{"model": "tiny", "data": (str(files[0]),), "dpo_data": (str(files[1]),), **settings})


def described(plan):
    return [(stage, {path: file.text for path, file in stage.files.items()}) for stage in plan.stages]


def test_a_data_file_is_read_once_whatever_the_number_of_arms(files, reads, cpu, tmp_path):
    experiment = make_ablation(
        "e",
        read_factors(["lora_r=8,32"], alpha=None),
        config(files),
        seeds=3,
        until="dpo",
        request=EvalOptions(),
        asked={},
    )
    plans, lacking = plan_arms(experiment, ExperimentPaths(tmp_path / "e"), cpu, online=False, dry=True)
    assert (len(plans), lacking) == (6, {})
    assert sorted(reads) == sorted(files)


def test_axolotl_s_own_data_are_hashed_once_too(files, cpu, tmp_path, monkeypatch):
    hashed, real = [], sources.file_hash
    monkeypatch.setattr(sources, "file_hash", lambda file: (hashed.append(file), real(file))[1])
    folder = files[0].parent
    for lora_r in (8, 16):
        said = RunConfig(
            model="tiny", datasets=({"path": str(folder), "type": "chat_template"},), sft={"lora_r": lora_r}
        )
        resolve(said, cpu, tmp_path / "r", Scope(("sft",), dry=True))
    assert sorted(hashed) == sorted(files)


def test_a_file_that_changed_between_two_plans_is_read_again(files, reads, cpu, tmp_path):
    def sha():
        resolved = resolve(config(files), cpu, tmp_path / "r", Scope(("sft",), dry=True))
        return resolved.data["sft"][0].sha256

    first, stat = sha(), files[0].stat()
    text = files[0].read_bytes()
    files[0].write_bytes(text.replace("이자는?".encode(), "금리는?".encode()))
    os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert files[0].stat().st_size == stat.st_size, "only its change time tells"
    assert sha() != first
    assert reads == [files[0]] * 2


def test_a_plan_is_made_from_what_was_resolved_without_a_look_at_the_disk(files, cpu, tmp_path, monkeypatch):
    said = config(files, merge={"partner": "tiny-qwen", "method": "ties"})
    resolved = resolve(said, cpu, tmp_path / "r", Scope(dry=True, merge=True))
    before = described(plan_run(resolved))  # the renderer has read its templates now, and keeps their texts
    assert [stage.name for stage, _ in before][-1] == "merge_models"
    for file in files:
        file.unlink()

    def refused(*args, **options):
        raise AssertionError(f"planning opens {args[0]}")

    for place, name in [
        ("builtins", "open"), ("io", "open"), ("os", "open"), ("os", "scandir"), ("os", "listdir"),
        *(("pathlib.Path", name) for name in ("open", "read_text", "read_bytes", "iterdir", "glob", "rglob")),
    ]:  # fmt: skip
        monkeypatch.setattr(f"{place}.{name}", refused)
    again = plan_run(resolved)
    monkeypatch.undo()
    assert described(again) == before


def test_what_was_said_and_what_was_settled_stay_apart(files, eight_gpus, tmp_path):
    said = config(files, model="eeve")
    resolved = resolve(said, eight_gpus, tmp_path / "r", Scope(dry=True))
    assert resolved.config is said
    assert dict(resolved.gpus) == {"sft": 8, "dpo": 1}
    assert (resolved.remembered.gpus, resolved.remembered.dpo_gpus) == (8, 1)
    assert plan_run(resolved).config == resolved.remembered


def test_the_base_model_is_looked_for_once(files, cpu, tmp_path, monkeypatch):
    from alphaf_orch.planning import base
    from alphaf_orch.planning import resolve as module

    asked = []
    monkeypatch.setattr(module, "find_base", lambda *args, **how: (asked.append(args), base.find_base(*args, **how))[1])
    said = config(files, merge={"partner": "tiny-qwen", "method": "ties"})
    for scope in (Scope(dry=True, merge=True), Scope((), dry=True, upstream="u", merge=True, merge_alone="dpo")):
        plan_run(resolve(said, cpu, tmp_path / "r", scope))
    assert len(asked) == 2, "once a plan"


def test_a_model_s_own_code_is_run_where_it_is_needed_and_allowed_alone(files, eight_gpus, tmp_path):
    (shipped,) = template_folders()
    mine = tmp_path / "mine"
    (mine / "models").mkdir(parents=True)
    text = (shipped / "models" / "eeve.yaml").read_text("utf-8")
    text = text.replace("name: eeve ", "name: own ").replace("code_required: false", "code_required: true")
    (mine / "models" / "own.yaml").write_text(text, "utf-8")

    def told(model, *, allowed):
        said = config(files, model=model, templates=str(mine), trust_remote_code=allowed)
        resolved = resolve(said, eight_gpus, tmp_path / "r", Scope(dry=True))
        found = [file.values for stage in plan_run(resolved).stages for file in stage.files.values()]
        return resolved.remote_code, {values["trust_remote_code"] for values in found if "trust_remote_code" in values}

    assert told("eeve", allowed=True) == (False, {False}), "permission is not need"
    assert told("own", allowed=True) == (True, {True})
    with pytest.raises(ModelError, match="runs python code that comes with its weights"):
        told("own", allowed=False)


def test_need_and_permission_are_weighed_in_one_place():
    asking = [path.name for path in PACKAGE.rglob("*.py") if ".trust_remote_code_required" in path.read_text("utf-8")]
    assert sorted(asking) == ["presets.py", "views.py"], "the second shows it"
