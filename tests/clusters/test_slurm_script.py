"""A job's sbatch file, as text: what Slurm and bash read of it is tried with the real ones in tests/slurm."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.limits import seconds
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.clusters.slurm.header import asked_before, output_pattern, quoted
from alphaf_orch.clusters.slurm.scheduler import Slurm
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Container, Profile

PLACE = Place(
    "/opt/파이썬 3/bin/python", "/home/kim/my work", {"ALPHAF_RUNS": "/data/runs", "HF_HOME": "/data/it's hf"}
)


def profile(**values) -> Profile:
    return Profile(**{"scheduler": "slurm", **values})


def script(job=None, place=PLACE, root="/data/runs/r", **values) -> str:
    job = job or Job("r", "sft", Needs("train", 8, 2), "sft")
    return Slurm().script(job, profile(**values), RunPaths(Path(root)), place)[1]


def header(text: str) -> dict[str, str]:
    """Return the options of the file as sbatch takes them: the last of each name."""
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH --")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def launched(text: str) -> list[str]:
    (line,) = re.findall(r"^srun (--nodes=\d+ --ntasks-per-node=1 --cpu-bind.*) &$", text, re.MULTILINE)
    return shlex.split(line)


def test_the_header_says_what_the_profile_and_the_job_say():
    values = {"account": "acc", "partition": "gpu", "qos": "long", "time": "2-00:00:00", "memory": "200G", "cpus": 64}
    stages = {"train": {"partition": "h100", "extra": ("--constraint=nvlink",)}}
    found = header(script(**values, env=("WANDB_API_KEY",), stages=stages, extra=("#SBATCH --exclusive",)))
    assert found == {
        "job-name": "r:sft", "account": "acc", "partition": "h100", "qos": "long", "nodes": "2", "ntasks-per-node": "1",
        "cpus-per-task": "64", "gres": "gpu:8", "mem": "200G", "time": "2-00:00:00", "signal": "B:USR1@600",
        "requeue": "", "open-mode": "append", "output": "/data/runs/r/jobs/sft.out", "chdir": '"/home/kim/my work"',
        "export": "HOME,USER,LOGNAME,LANG,WANDB_API_KEY", "kill-on-invalid-dep": "yes",
        "exclusive": "", "constraint": "nvlink",
    }  # fmt: skip
    assert list(found)[-2:] == ["exclusive", "constraint"]  # behind ours, where the last one wins


def test_what_nobody_says_is_the_sites_to_say():
    found = header(script(Job("r", "data", Needs("data"), "data")))
    assert not {"account", "partition", "qos", "time", "mem", "gres", "cpus-per-task"} & set(found)


@pytest.mark.parametrize(
    ("gres", "option"),
    [
        ("gpu", "--gres=gpu:8"),
        ("gpu:h100", "--gres=gpu:h100:8"),
        ("gpus-per-node", "--gpus-per-node=8"),
        ("gpus-per-node:h100", "--gpus-per-node=h100:8"),
        ("none", None),
    ],
)
def test_gpus_are_asked_for_by_the_sites_word(gres, option):
    asked = [line for line in script(gres=gres).splitlines() if "gres" in line or "gpus" in line]
    assert asked == ([f"#SBATCH {option}"] if option else [])


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("90", 5400), ("90:30", 5430), ("36:00:00", 129600), ("2-00:00:00", 172800), ("1-2", 93600), ("1-2:3", 93780),
        ("unlimited", None), ("INFINITE", None), ("0", None),
    ],
)  # fmt: skip
def test_a_time_limit_is_read_as_slurm_reads_it(text, limit):
    assert seconds(text) == limit


@pytest.mark.parametrize("text", ["2h", "1.5", "1:2:3:4", "-5", "1-", "two days", "", "00:00:00"])
def test_what_is_no_time_limit_is_refused_before_anything_is_submitted(text):
    with pytest.raises(ConfigError, match="no time limit of Slurm") as caught:
        script(time=text)
    assert "2-00:00:00" in caught.value.fix


@pytest.mark.parametrize(("time", "before"), [("2-00:00:00", 600), ("10", 300), ("1", 30), (None, 600), ("0", 600)])
def test_a_short_job_is_asked_for_a_checkpoint_at_half_its_time(time, before):
    job = Job("r", "sft", Needs("train"), "sft")
    assert asked_before(profile(time=time), job) == before
    text = script(job, time=time)
    assert header(text)["signal"] == f"B:USR1@{before}"
    assert f"local before={before} " in text  # what alphaf is told that it has


def test_a_job_that_is_never_asked_gets_no_signal():
    assert "signal" not in header(script(stop_before=0))


@pytest.mark.parametrize("memory", ["200 G", "1.5T", "lots", "-1"])
def test_what_is_no_amount_of_memory_is_refused(memory):
    with pytest.raises(ConfigError, match="no amount of memory"):
        script(memory=memory)


@pytest.mark.parametrize("line", ["echo hello", "", "--exclusive\nrm -rf ~", "# a comment"])
def test_an_extra_line_that_is_no_option_is_refused(line):
    with pytest.raises(ConfigError, match="no option of sbatch"):
        script(extra=(line,))


def test_a_value_is_quoted_for_slurm_which_is_no_shell():
    assert quoted("gpu-h100_80gb:8,x") == "gpu-h100_80gb:8,x"
    assert quoted("a b") == '"a b"'
    assert quoted("""a "b" \\ $c `d` # 'e' 가""") == """\"a \\"b\\" \\\\ $c `d` # 'e' 가\""""
    for text in ("a\nb", "a\tb", "\x1b"):
        with pytest.raises(ConfigError, match="line end or another control character"):
            quoted(text)


def test_an_output_file_is_named_by_a_pattern():
    assert output_pattern("/a/100%j.out") == "/a/100%%j.out"
    with pytest.raises(ConfigError, match="backslash"):
        output_pattern("/a\\b")


def test_the_launch_is_one_alphaf_on_each_machine():
    words = launched(script(Job("실험/팔 1", "sft", Needs("train", 8, 2), "sft")))
    assert words[:5] == ["--nodes=2", "--ntasks-per-node=1", "--cpu-bind=none", "--wait=0", "--input=none"]
    assert words[5:] == ["/opt/파이썬 3/bin/python", "-m", "alphaf_orch", "job", "실험/팔 1", "sft"]


def test_pyxis_gets_the_folders_that_a_job_needs_under_their_own_paths():
    place = Place(
        "python3", "/data/work", {"ALPHAF_RUNS": "/data/runs", "ALPHAF_CACHE": "/data/work/cache", "LANG": "C"}
    )
    container = Container(runtime="pyxis", image="nvcr.io#nvidia/pytorch:25.01-py3", mounts=("/raid:/raid:ro",))
    words = launched(script(place=place, container=container))
    assert "--container-image=nvcr.io#nvidia/pytorch:25.01-py3" in words
    assert "--container-mounts=/data/runs:/data/runs,/data/work:/data/work,/raid:/raid:ro" in words
    assert "--container-workdir=/data/work" in words
    inside = words[words.index("env") :]
    assert inside[1:4] == ["ALPHAF_RUNS=/data/runs", "ALPHAF_CACHE=/data/work/cache", "LANG=C"]
    assert inside[4:6] == ["python3", "-m"]


def test_what_the_settings_name_is_mounted_but_for_what_the_user_mounts_himself():
    reads = ("/data/runs/a.jsonl", "/home/kim/rows.jsonl", "/raid/model")
    job = Job("r", "sft", Needs("train", 8), "sft", reads=reads)
    place = Place("python3", "/data/work", {"ALPHAF_RUNS": "/data/runs"})
    container = Container(runtime="pyxis", image="i", mounts=("/nfs/raid:/raid:ro",))
    mounts = "/data/runs:/data/runs,/data/work:/data/work,/home/kim/rows.jsonl:/home/kim/rows.jsonl,/nfs/raid:/raid:ro"
    assert f"--container-mounts={mounts}" in launched(script(job, place, container=container))


def test_apptainer_gets_gpus_where_the_job_has_some():
    container = Container(runtime="apptainer", image="/img/a b.sif", python="/opt/py")
    words = launched(script(container=container))
    start = words.index("apptainer")
    assert words[start : start + 3] == ["apptainer", "exec", "--nv"]
    assert "--bind=/home/kim/my work:/home/kim/my work" in words
    assert words[words.index("/img/a b.sif") + 1] == "env"
    assert "--nv" not in launched(script(Job("r", "merge_sft", Needs("merge"), "merge_sft"), container=container))


def test_enroot_is_told_of_the_job_by_whoever_starts_it_on_each_machine(tmp_path):
    """Only the machine knows its number: the names are found there, as bash really finds them."""
    place = Place("python3", "/data/work", {"ALPHAF_RUNS": "/data/runs"})
    container = Container(runtime="enroot", image="img.sqsh", python="py")
    words = launched(script(place=place, container=container, env=("WANDB_API_KEY",), scratch="/fast/$USER"))
    shown = tmp_path / "enroot"
    shown.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    shown.chmod(0o755)
    start = words.index("bash")
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_NODEID": "1", "SLURM_JOB_ID": "7", "ODD": "a\nb c"}
    said = subprocess.run(words[start:], env=env, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == "start"
    assert {"SLURM_NODEID", "SLURM_JOB_ID"} == {after for word, after in itertools.pairwise(said) if word == "--env"}
    assert "--mount=/data/work:/data/work:none:x-create=auto,rbind" in said
    assert {"--env=WANDB_API_KEY", "--env=TMPDIR"} <= set(said)
    assert said[said.index("img.sqsh") :][:5] == ["img.sqsh", "sh", "-c", 'cd "$0" && exec "$@"', "/data/work"]


@pytest.mark.parametrize("runtime", ["pyxis", "enroot"])
def test_a_folder_that_a_runtime_cannot_be_given_is_refused(runtime):
    with pytest.raises(ConfigError, match="a blank in its path"):
        script(container=Container(runtime=runtime, image="i"))
    with pytest.raises(ConfigError, match="a comma"):
        script(place=Place("p", "/a,b", {}), container=Container(runtime="apptainer", image="i"))


def test_a_runtime_of_other_schedulers_is_refused():
    with pytest.raises(ConfigError, match="itself starts no container"):
        script(container=Container(runtime="image", image="i"))


RUNNING = '[ "$1" = requeue ] && echo "scontrol $*" || echo "JobId=7 JobState=RUNNING Reason=None"'


def bash(text: str, tmp_path: Path, **stubs: str) -> subprocess.CompletedProcess[str]:
    """Run a job's file by bash, with stand-ins for Slurm's commands."""
    for name, body in {"srun": "exit 0", "scontrol": RUNNING, **stubs}.items():
        file = tmp_path / name
        file.write_text(f"#!/bin/bash\n{body}\n")
        file.chmod(0o755)
    path = tmp_path / "job.sbatch"
    path.write_text(text, "utf-8")
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "PARENT": "x"}
    return subprocess.run(("bash", str(path)), env=env, capture_output=True, text=True, timeout=30, check=False)


def small(tmp_path, **values):
    return script(Job("r", "sft", Needs("train"), "sft"), Place("python3", str(tmp_path), {}), str(tmp_path), **values)


@pytest.mark.parametrize("code", [0, 7, 74, 127, 143])
def test_the_code_of_srun_is_that_of_the_job(code, tmp_path):
    ended = bash(small(tmp_path), tmp_path, srun=f"exit {code}", scontrol='[ "$1" = -o ] || echo back')
    assert (ended.returncode, ended.stdout) == (code, "")


def test_code_75_sends_the_job_back(tmp_path):
    ended = bash(small(tmp_path), tmp_path, srun="exit 75")
    assert (ended.returncode, ended.stdout) == (75, "scontrol requeue 7\n")


@pytest.mark.parametrize(
    ("code", "job", "back"),
    [
        (130, "JobId=7 JobState=RUNNING Reason=None PreemptTime=2026-11-26T23:44:39", True),
        (130, "JobId=7 JobState=RUNNING Reason=None PreemptTime=None", False),
        (143, "JobId=7 JobState=CANCELLED Reason=None PreemptTime=2026-11-26T23:44:39", False),
        (7, "JobId=7 JobState=RUNNING Reason=None PreemptTime=2026-11-26T23:44:39", False),
        (75, "JobId=7 JobState=COMPLETING Reason=None", False),
        (75, "JobId=7 JobState=CANCELLED Reason=None", False),
        (75, "JobId=7 JobState=COMPLETING Reason=TimeLimit Dependency=(null)", True),
    ],
)
def test_a_job_is_sent_back_by_what_slurm_says_of_it_too(code, job, back, tmp_path):
    scontrol = f'[ "$1" = requeue ] && echo back || echo "{job}"'
    ended = bash(small(tmp_path), tmp_path, srun=f"exit {code}", scontrol=scontrol)
    assert (ended.returncode, ended.stdout) == (code, "back\n" if back else "")


def test_a_job_that_cannot_be_sent_back_says_what_to_do(tmp_path):
    scontrol = '[ "$1" = -o ] && echo " JobState=RUNNING "'
    ended = bash(small(tmp_path), tmp_path, srun="exit 75", scontrol=scontrol, sleep="")
    assert ended.returncode == 75
    assert "could not be put back into the queue: submit this run again" in ended.stderr


def test_signals_end_the_wait_and_not_the_job_and_each_is_a_wish(tmp_path):
    """A trapped signal ends `wait`: the code of srun is the one that counts, however many came before."""
    srun = "for n in 1 2 3; do kill -USR1 $PPID; sleep 0.2; done; kill -TERM $PPID; sleep 0.2; exit 42"
    ended = bash(small(tmp_path), tmp_path, srun=srun)
    assert ended.returncode == 42, ended.stderr
    assert ended.stderr.count("asked for a checkpoint") == 3
    from alphaf_orch.core.stop import read_wish

    found = read_wish(tmp_path / ".stop.7")
    assert found and (found.kind, found.why, found.limit) == ("later", "a signal (SIGUSR1) of job 7", False)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("left", "preempted", "why", "seconds"),
    [
        (500, "None", "the time limit", 500),
        (650, "None", "the time limit", 600),
        (3000, "None", "a signal (SIGUSR1)", 600),
        (30, "1795738299", "a preemption", 30),
        (None, "", "the time limit or a preemption", 600),
    ],
)
def test_what_a_signal_means_and_how_long_there_is_are_what_slurm_says(left, preempted, why, seconds, tmp_path):
    """A preemption moves the end of the job to the end of its GraceTime."""
    job = f"JobId=7 JobState=RUNNING EndTime=$((EPOCHSECONDS + {left})) PreemptTime={preempted} x"
    scontrol = f'echo "{job}"' if left else "exit 1"
    bash(small(tmp_path, time="12:00:00"), tmp_path, srun="kill -USR1 $PPID; sleep 0.3; exit 42", scontrol=scontrol)
    from alphaf_orch.core.stop import read_wish

    found = read_wish(tmp_path / ".stop.7")
    assert found and (found.why, found.limit) == (f"{why} of job 7", why == "the time limit")
    assert 0 <= seconds - found.seconds <= 5


def test_a_controller_that_restarts_is_waited_for(tmp_path):
    """Without its answer the job would end as failed, and what waits for it never begin."""
    (tmp_path / "calls").write_text("")
    silent = f"echo x >>{tmp_path}/calls; [ $(wc -l <{tmp_path}/calls) -gt 2 ] || exit 1\n{RUNNING}"
    ended = bash(small(tmp_path), tmp_path, srun="exit 75", scontrol=silent, sleep="")
    assert (ended.returncode, ended.stdout) == (75, "scontrol requeue 7\n"), ended.stderr


@pytest.mark.parametrize(
    ("values", "line"),
    [({"setup": ("cd /nowhere",)}, "cd /nowhere"), ({"setup": ("true", "( exit 3 )", "echo on")}, "exit 3")],
)
def test_a_line_of_the_profile_that_fails_ends_the_job_in_words(values, line, tmp_path):
    ended = bash(small(tmp_path, **values), tmp_path, srun="echo launched")
    assert ended.returncode in (1, 3)
    assert "launched" not in ended.stdout
    assert f"this line of the profile failed with code {ended.returncode}" in ended.stderr
    assert line in ended.stderr


def test_what_was_settled_and_set_up_reaches_srun(tmp_path):
    job = Job("r", "sft", Needs("train"), "sft")
    place = Place("python3", str(tmp_path), {"HF_HOME": "/a 'b' $c"})
    text = script(job, place, str(tmp_path), setup=("export MINE=1",), scratch=f"{tmp_path}/$SLURM_JOB_ID")
    said = bash(text, tmp_path, srun='echo "$HF_HOME|$MINE|$SLURM_EXPORT_ENV|$TMPDIR"').stdout
    assert said == f"/a 'b' $c|1|ALL|{tmp_path}/7\n"
    assert (tmp_path / "7").is_dir()


def test_modules_are_loaded_by_a_shell_that_learns_of_them(tmp_path):
    assert "module load 'my cuda'" in small(tmp_path, modules=("my cuda",))
    ended = bash(small(tmp_path, modules=("cuda",)), tmp_path)
    if ended.returncode:  # no modules on this machine
        assert "module load cuda" in ended.stderr


def test_the_call_says_what_the_job_waits_for():
    job = Job("r", "sft", Needs("train"), "sft")
    slurm, file = Slurm(), Path("/r/jobs/sft.sbatch")
    assert slurm.command(file, job, (), ()) == ("sbatch", "--parsable", str(file))
    found = slurm.command(file, job, ("1", "2;gpu"), ("3",))
    assert found == ("sbatch", "--parsable", "--dependency=afterok:1:2,afterany:3", str(file))


def test_a_template_of_the_users_own_goes_before_ours_and_its_mistakes_are_told(tmp_path):
    (tmp_path / "clusters").mkdir()
    own = tmp_path / "clusters" / "slurm.sbatch.j2"
    own.write_text("#!/bin/bash\n{{ header }}\n{{ nonsense }}\n")
    from alphaf_orch.core.paths import template_folders

    place = Place("p", "/w", {}, (tmp_path, *template_folders()))
    with pytest.raises(ConfigError, match="'nonsense' is undefined"):
        script(place=place)
    own.write_text("#!/bin/bash\n{{ header }}\nmine\n")
    assert script(place=place).endswith("mine\n")
