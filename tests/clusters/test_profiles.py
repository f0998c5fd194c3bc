"""A site's profile: found, read as it is written, every mistake told with its line, and what a job gets by it."""

from pathlib import Path

import pytest

from alphaf_orch.clusters.jobs import Needs
from alphaf_orch.clusters.profiles import described, granted, load_profile
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import template_folders
from alphaf_orch.estimates.shapes import H100_BYTES
from alphaf_orch.settings.clusters import On, parse_on


def load(folder: Path, text: str, scheduler="slurm"):
    path = folder / "우리 클러스터.yaml"
    path.write_text(text, "utf-8")
    return load_profile(On(scheduler, str(path)), template_folders())


def refused(folder: Path, text: str, scheduler="slurm") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, scheduler)
    return caught.value


def test_values_stay_what_is_written(tmp_path):
    profile = load(
        tmp_path,
        "partition: 8\naccount: 0123\nqos: on\ntime: 24:00:00\nmemory: 64000\ngpus_per_node: 8\n"
        "stages:\n  merge: {time: 1:30:00, cpus: 4, memory: 1e3}\n",
    )
    assert (profile.partition, profile.account, profile.qos) == ("8", "0123", "on")
    assert (profile.time, profile.memory, profile.gpus_per_node) == ("24:00:00", "64000", 8)
    merge = profile.stages["merge"]
    assert (merge.time, merge.cpus, merge.memory) == ("1:30:00", 4, "1e3")


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ("partiton: gpu\n", "unknown key partiton: did you mean partition?", "line 1, key partiton"),
        ("stages:\n  train:\n    tme: 1:00\n", "unknown key tme: did you mean time?", "line 3, key stages.train.tme"),
        ("qos: a\nstages:\n  trian: {}\n", "unknown key trian: did you mean train?", "line 3, key stages.trian"),
        ("container:\n  runtime: pyxis\n  imag: x\n", "container.image: field required", "line 1, key container.image"),
        ("container: {runtime: docker, image: x}\n", "container.runtime", "line 1, key container.runtime"),
        ("gpus_per_node: -1\n", "gpus_per_node", "line 1, key gpus_per_node"),
        ("gpus: all\n", "gpus", "line 1, key gpus"),
        ("modules: cuda\n", "modules", "line 1, key modules"),
        ("env: [A B]\n", "env.0", "line 1, key env.0"),
        ("time: [1]\n", "time", "line 1, key time"),
        ("a: 1\na: 2\n", "given twice", "line 2"),
        ("scheduler: skypilot\n", "one of skypilot", "line 1, key scheduler"),
        ("scheduler: lsf\n", "scheduler", "line 1, key scheduler"),
        ("- a\n", "not a mapping", "line 1"),
        ("account: https://kim:geheim@host/x\n", "password", "key account"),
        ("setup:\n  - export WANDB_API_KEY=0f1e2d3c4b5a\n", "setup sets WANDB_API_KEY", "line 1, key setup"),
        (
            "stages:\n  eval:\n    extra: [--export=HF_TOKEN=hfx]\n",
            "extra sets HF_TOKEN",
            "line 3, key stages.eval.extra",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(text, what, where, tmp_path):
    error = refused(tmp_path, text)
    assert what in error.what, error
    assert where in f"{error.where}\n{error.what}", error
    assert "우리 클러스터.yaml" in error.where
    assert error.fix


def test_no_secret_is_repeated(tmp_path):
    for text in ("setup: [export HF_TOKEN=abcdefgh12345678]\n", "account: hf_abcdefghijklmnopqrstuvwxyz0123456789\n"):
        error = refused(tmp_path, text)
        assert "abcdefgh" not in error.message


def test_a_line_may_name_a_variable(tmp_path):
    assert load(tmp_path, "setup: [export HF_TOKEN=$MY_TOKEN, export N=3]\nenv: [MY_TOKEN]\n").env == ("MY_TOKEN",)


def test_a_profile_is_found_by_name_the_users_folder_first(tmp_path, monkeypatch):
    monkeypatch.setenv("ALPHAF_TEMPLATES", str(tmp_path))
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "h100.yaml").write_text("partition: mine\n")
    (tmp_path / "clusters" / "slurm.yaml").write_text("partition: ours\n")
    folders = template_folders()
    assert load_profile(On("slurm", "h100"), folders).partition == "mine"
    assert load_profile(On("slurm"), folders).partition == "ours"
    with pytest.raises(ConfigError) as caught:
        load_profile(On("slurm", "h10"), folders)
    assert "did you mean h100?" in caught.value.what
    assert "slurm" in caught.value.fix


def test_a_path_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_profile(On("slurm", str(tmp_path / "no.yaml")), template_folders())


def test_every_profile_that_is_shipped_is_one():
    folder = template_folders()[-1] / "clusters"
    files = sorted(folder.rglob("*.yaml"))
    assert folder / "slurm.yaml" in files
    for file in files:
        scheduler = next(
            name for name in ("skypilot", "kubernetes", "slurm") if f"scheduler: {name}" in file.read_text("utf-8")
        )
        profile = load_profile(On(scheduler, str(file)), template_folders())
        assert profile.scheduler == scheduler


def test_every_commented_key_of_the_shipped_profile_is_one(tmp_path):
    lines = (template_folders()[-1] / "clusters" / "slurm.yaml").read_text("utf-8").splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("scheduler:"))
    uncommented = [
        line.removeprefix("# ") for line in lines[head:] if not line.startswith(("# What one", "# tokenise,"))
    ]
    profile = load(tmp_path, "\n".join(uncommented))
    assert (profile.partition, profile.stages["merge"].time, profile.env) == ("gpu", "2:00:00", ("WANDB_API_KEY",))


def test_a_role_goes_before_the_profile(tmp_path):
    profile = load(
        tmp_path,
        "partition: gpu\ntime: 1-0\nextra: [--exclusive]\nstages:\n"
        "  merge: {partition: cpu, cpus: 8, extra: [--nice=5]}\n  eval: {gpus: 2}\n",
    )
    merge, train, score = (
        granted(profile, needs) for needs in (Needs("merge"), Needs("train", 8, 2), Needs("eval", 1))
    )
    assert (merge.partition, merge.cpus, merge.time, merge.gpus) == ("cpu", 8, "1-0", 0)
    assert merge.extra == ("--exclusive", "--nice=5")
    assert (train.partition, train.gpus, train.nodes, train.cpus) == ("gpu", 8, 2, 32)
    assert (score.gpus, score.cpus) == (2, 8)
    assert granted(profile, Needs("data")).cpus is None  # the site's own default


def test_the_machine_is_what_is_described(tmp_path):
    machine = described(load(tmp_path, "gpus_per_node: 8\ngpu: NVIDIA H100 80GB HBM3\n"), 1)
    assert machine.gpus == ("NVIDIA H100 80GB HBM3",) * 8
    assert machine.memory == H100_BYTES
    unknown = described(load(tmp_path, ""), 4)
    assert (len(unknown.gpus), unknown.memory, unknown.card) == (4, 0, "")
    assert described(load(tmp_path, "gpus_per_node: 0\n"), 4).gpus == ()


@pytest.mark.parametrize("text", ["slurn", "local:x", "", "Slurm:a", "lsf"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ConfigError, match="no place to run"):
        parse_on(text)


def test_a_place_is_read():
    assert parse_on("slurm:/a b/c:d.yaml") == On("slurm", "/a b/c:d.yaml")
    assert str(parse_on("kubernetes")) == "kubernetes"
