"""What is rendered, read by SkyPilot's own library and by the models of Kubeflow's package (`make setup-skypilot`)."""

import copy
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from alphaf_orch.core.paths import PACKAGE

GOLDEN = Path(__file__).parents[1] / "golden" / "clouds"
PYTHON = PACKAGE.parent / ".venv-skypilot" / "bin" / "python"
WRONG_TASKS = {
    "unknown key": "num_nods: 2",
    "unknown resource": "resources: {acelerators: 'H100:8'}",
    "no number of cards": "resources: {accelerators: 'H100:x'}",
    "no cloud": "resources: {infra: awz/us-east-1}",
    "no variable's name": "envs: {1A: x}",
    "no exit code": "resources: {job_recovery: {recover_on_exit_codes: [300]}}",
}


def recorded(scheduler: str) -> dict[str, str]:
    """Every recorded file of ours, the several of an ablation apart."""
    found = {}
    for record in sorted(GOLDEN.glob(f"*.{scheduler}.yaml")):
        for part in record.read_text(encoding="utf-8").split("#### ")[1:]:
            name, _, text = part.partition("\n")
            found[f"{record.name}: {name}"] = text
    return found


def misspelt(text: str) -> dict[str, str]:
    """A manifest with one key of it misspelt, one place after another, and with values of another kind."""
    value = yaml.safe_load(text)
    places = {
        "of the set": ("spec", "network"),
        "of a stage": ("spec", "replicatedJobs", 0),
        "of a job": ("spec", "replicatedJobs", 0, "template", "spec"),
        "of a pod": ("spec", "replicatedJobs", 0, "template", "spec", "template", "spec"),
        "of a container": ("spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "containers", 0),
    }
    found = {}
    for what, place in places.items():
        wrong = copy.deepcopy(value)
        inner = wrong
        for key in place:
            inner = inner[key]
        inner["misspeltKey"] = True
        found[f"key {what}"] = yaml.safe_dump(wrong)
    value["spec"]["replicatedJobs"][0]["template"]["spec"]["backoffLimit"] = "ten"
    found["no number"] = yaml.safe_dump(value)
    return found


@pytest.fixture(scope="module")
def understood(tmp_path_factory) -> dict:
    """What they make of everything, asked once: SkyPilot takes seconds to import."""
    if not PYTHON.is_file():
        pytest.skip("no .venv-skypilot: make setup-skypilot")
    manifests = recorded("kubernetes")
    asked = {
        "skypilot": {
            **recorded("skypilot"),
            **{k: f"name: x\n---\nrun: 'true'\n{v}\n" for k, v in WRONG_TASKS.items()},
        },
        "kubernetes": {**manifests, **misspelt(next(iter(manifests.values())))},
    }
    home = tmp_path_factory.mktemp("home")  # SkyPilot writes ~/.sky when it is imported
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    child = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name("asked_of_theirs.py"))],
        input=json.dumps(asked), capture_output=True, text=True, env=env, timeout=300, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2000:]
    return json.loads(child.stdout)


def test_skypilot_reads_every_pipeline_as_it_is_meant(understood):
    for name, text in recorded("skypilot").items():
        (head, *tasks), found = list(yaml.safe_load_all(text)), understood["skypilot"][name]
        assert "refused" not in found, (name, found)
        assert (found["name"], found["chain"]) == (head["name"], True)
        assert [_of_ours(task, meant) for task, meant in zip(found["tasks"], tasks, strict=True)] == [
            _plainly(task, head["name"] if len(tasks) == 1 else None) for task in tasks
        ], name


def _of_ours(found: dict, meant: dict) -> dict:
    """What SkyPilot has of the keys that we wrote, its defaults left out."""
    resources = {key: found["resources"].get(key) for key in meant["resources"]}
    resources["job_recovery"] = {key: resources["job_recovery"][key] for key in meant["resources"]["job_recovery"]}
    resources["image_id"] = next(iter(resources["image_id"].values()))
    return {**{key: found.get(key) for key in meant}, "resources": resources}


def _plainly(task: dict, only: str | None) -> dict:
    """A task of ours as SkyPilot writes it: cards as a mapping, the secret's value in its place."""
    resources = dict(task["resources"])
    if "accelerators" in resources:
        card, _, count = resources["accelerators"].partition(":")
        resources["accelerators"] = {card: int(count)}
    return {**task, "name": only or task["name"], "resources": resources, "secrets": {"HF_TOKEN": "of the test"}}


@pytest.mark.parametrize("what", WRONG_TASKS)
def test_skypilot_refuses_what_is_none_of_its_keys(understood, what):
    assert "refused" in understood["skypilot"][what]


def test_the_models_of_jobset_have_every_key_that_is_written(understood):
    """They pass over a key that is none of theirs, so what comes back has to be what went in."""
    for name, text in recorded("kubernetes").items():
        assert understood["kubernetes"][name] == yaml.safe_load(text), name


@pytest.mark.parametrize("what", ["of the set", "of a stage", "of a job", "of a pod", "of a container"])
def test_a_misspelt_key_does_not_come_back(understood, what):
    found = understood["kubernetes"][f"key {what}"]
    assert "refused" not in found and "misspeltKey" not in json.dumps(found)


def test_the_models_of_jobset_refuse_another_kind_of_value(understood):
    assert "backoffLimit" in understood["kubernetes"]["no number"]["refused"]
