"""Who is told of what: a webhook on the loopback and a real command, for good ends, failures, stalls and signals."""

from __future__ import annotations

import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from own_process import environment
from processes import until
from told_server import Told

from alphaf_orch.clusters.submitted import Submitted, write_submitted
from alphaf_orch.core import signals
from alphaf_orch.core.errors import ConfigError, GoesOnLater, StageError, Stalled, interrupted
from alphaf_orch.core.lock import held
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, runs_dir
from alphaf_orch.core.record import FORMAT, now, write_manifest
from alphaf_orch.core.stamps import unstamped
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.notify.call import told_by_jobs, told_of
from alphaf_orch.runs.notify.message import message, with_standing
from alphaf_orch.runs.notify.send import send
from alphaf_orch.runs.watch import stall
from alphaf_orch.runs.watch.stage import StageWatch
from alphaf_orch.settings.config import build_config
from alphaf_orch.settings.notify import Notify

SECRET = "https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnop"


@pytest.fixture
def webhook(monkeypatch):
    with Told() as server:
        monkeypatch.setenv("TEAM_ROOM", server.url)
        yield server


@pytest.fixture
def teller(tmp_path) -> Path:
    """A command that keeps its standard input and its variables."""
    script = tmp_path / "알리는 것.py"
    script.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "env = {k: v for k, v in os.environ.items() if k.startswith('ALPHAF_NOTIFY')}\n"
        "told = json.load(sys.stdin) | {'env': env}\n"
        "told |= {'argv': sys.argv[1:]}\n"
        "open(__file__ + '.jsonl', 'a').write(json.dumps(told) + '\\n')\n",
        encoding="utf-8",
    )
    script.chmod(0o700)
    return script


def heard(teller: Path) -> list[dict]:
    kept = teller.with_name(teller.name + ".jsonl")
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


def asking(fake, **notify) -> str:
    values = yaml.safe_load(fake.config.read_text("utf-8"))
    fake.config.write_text(yaml.safe_dump({**values, "notify": notify}, allow_unicode=True), "utf-8")
    return str(fake.config)


@pytest.mark.parametrize(
    ("notify", "key", "says"),
    [
        ({"webhook": SECRET}, "notify.webhook", "holds an address"),
        ({"url": "http://10.0.0.7/x"}, "notify.url", "holds an address"),
        ({"webhook_env": SECRET}, "notify.webhook_env", "holds an address"),
        ({"webhook_file": SECRET}, "notify.webhook_file", "holds an address"),
        ({"webhook_env": "hooks.slack.com/x"}, "notify.webhook_env", "no name of a variable"),
        ({"command": ["curl", "-d", "@-", SECRET]}, "notify.command", "token"),
        ({"command": f"curl {SECRET}"}, "notify.command", "no list of arguments"),
        ({"command": []}, "notify.command", "no list of arguments"),
        ({"webhook_env": "A", "webhook_file": "b"}, "notify", "name one address twice"),
        ({"on": ["end"]}, "notify", "nobody is named"),
        ({}, "notify", "nobody is named"),
        ({"comand": ["x"]}, "notify.comand", "did you mean command?"),
        ({"command": ["x"], "on": ["ends"]}, "notify.on.0", "input should be 'end'"),
        ({"command": ["x"], "on": []}, "notify.on", "at least 1"),
        ({"command": ["x"], "timeout": 600}, "notify.timeout", "less than or equal to 60"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_an_address_not_repeated(notify, key, says):
    with pytest.raises(ConfigError) as refused:
        build_config({"model": "tiny", "notify": notify}, "c.yaml")
    told = refused.value.message
    assert f"key {key}" in told and says in told
    assert "hooks.slack.com" not in told and "10.0.0.7" not in told


def test_a_good_end_is_told_once_and_the_address_is_nowhere_in_the_run(fake, alphaf, webhook, tmp_path):
    place = tmp_path / "주소"
    place.write_text(f"{webhook.url}\n", encoding="utf-8")
    place.chmod(0o644)
    done = alphaf("run", "--model", "tiny", "--config", asking(fake, webhook_file="주소", lang="en"))
    assert done.exit_code == 0, done.output
    assert f"others can read {place}" in done.output
    remembered = yaml.safe_load(RunPaths(runs_dir() / "tiny").config.read_text("utf-8"))
    assert remembered["notify"]["webhook_file"] == str(place)  # whole: a run may be resumed from elsewhere
    assert unstamped(done.output).startswith("notify: on end, failure, stall 127.0.0.1 (a webhook) will be told\n")
    (told,) = webhook.bodies
    assert (
        re.match(r"\[alphaf\] tiny: done \(run, \d:\d\d, ", told["text"]) and str(runs_dir() / "tiny") in told["text"]
    )
    about = {key: told[key] for key in ("event", "name", "command", "state", "exit_code", "format")}
    assert about == {
        "event": "end", "name": "tiny", "command": "run", "state": "done", "exit_code": 0, "format": 1,
    }  # fmt: skip
    (path,), (headers,) = webhook.paths, webhook.headers
    assert path.endswith("?room=%EB%B9%84%EB%B0%80%EB%B0%A9") and headers["User-Agent"] == "alphaf"
    assert "Authorization" not in headers
    secret = "q1w2e3r4t5"
    files = [path for path in runs_dir().rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if secret in path.read_text("utf-8", "replace")] == []
    assert secret not in done.output
    # A second call has nothing to do, and no news.
    assert alphaf("run", "--run", "tiny").exit_code == 0
    assert len(webhook.bodies) == 1


def test_a_failure_is_told_with_what_where_next_and_its_step(fake, alphaf, teller):
    fake.behave(sft="half")
    done = alphaf("run", "--model", "tiny", "--config", asking(fake, command=[str(teller), "한 방", "$HOME;x"]))
    assert done.exit_code == 7
    (told,) = heard(teller)
    assert told["argv"] == ["한 방", "$HOME;x"]  # no shell
    assert (told["event"], told["stage"], told["state"], told["exit_code"]) == ("failure", "sft", "failed", 7)
    assert (told["step"], told["max_steps"]) == (5, 10)
    assert told["what"] == "sft: stopped at step 5 of 10" and told["where"] and told["next"]
    assert told["text"].splitlines()[0].startswith("[alphaf] tiny: 실패했습니다 (sft, ")
    assert "다음: " in told["text"] and "위치: " in told["text"]
    assert told["env"]["ALPHAF_NOTIFY_EVENT"] == "failure" and told["env"]["ALPHAF_NOTIFY_EXIT_CODE"] == "7"
    assert told["env"]["ALPHAF_NOTIFY_TEXT"] == told["text"]


def test_what_is_refused_before_anything_was_begun_is_no_news(fake, alphaf, teller, tmp_path):
    (tmp_path / "bad.jsonl").write_text("{]\n", encoding="utf-8")
    config = asking(fake, command=[str(teller)])
    assert alphaf("run", "--model", "tiny", "--data", "bad.jsonl", "--config", config).exit_code == 3
    assert heard(teller) == []


@pytest.mark.parametrize(
    ("notify", "what"),
    [
        ({"webhook_env": "NOT_SET"}, "there is no address for the webhook"),
        ({"webhook_file": "없다"}, "the file with the webhook's address is not there"),
        ({"command": ["/there/is/none"]}, "the command of notify cannot be run: /there/is/none"),
    ],
)
def test_nobody_to_be_told_ends_no_evening_silently(notify, what, fake, alphaf):
    """Whoever starts it sits there; of days of training that nobody is told of he would not know."""
    done = alphaf("run", "--model", "tiny", "--config", asking(fake, **notify))
    assert (done.exit_code, what in done.output) == (2, True), done.output
    assert fake.calls() == []


@pytest.mark.parametrize(
    "address", ["ftp://host/x", "file:///etc/passwd", "https:///x", "https://a b/", "http://u:p@h/"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(address, fake, alphaf, monkeypatch):
    monkeypatch.setenv("TEAM_ROOM", address)
    done = alphaf("run", "--model", "tiny", "--config", asking(fake, webhook_env="TEAM_ROOM"))
    assert done.exit_code == 2 and "the webhook's address" in done.output
    assert address not in done.output


def test_a_redirect_is_not_followed(monkeypatch):
    with Told() as other, Told(307, location=other.url.replace("127.0.0.1", "localhost")) as server:
        monkeypatch.setenv("TEAM_ROOM", server.url)
        problems = send(Notify(webhook_env="TEAM_ROOM"), message("test", RunPaths(runs_dir() / "x")))
        assert problems == ["127.0.0.1: HTTP 307, a redirect to localhost, which is not followed"]
        assert other.bodies == [] and len(server.bodies) == 1


def test_a_webhook_that_does_not_answer_changes_no_outcome(tmp_path, monkeypatch):
    said, paths = [], RunPaths(tmp_path / "r")
    with Told(hold=True) as server:
        monkeypatch.setenv("TEAM_ROOM", server.url)
        config = build_config({"model": "tiny", "notify": {"webhook_env": "TEAM_ROOM", "timeout": 0.3}}, "c")
        with told_of(config, paths, said.append), held(paths.lock, "the run"):
            pass
    assert said[-1] == "warning: notify: 127.0.0.1 did not answer within 0.3 s; this end was not told"


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(monkeypatch):
    monkeypatch.setattr("alphaf_orch.runs.notify.send._AGAIN_S", 0.05)
    told = message("test", RunPaths(runs_dir() / "x"))
    with Told(503, 200) as server:
        monkeypatch.setenv("TEAM_ROOM", server.url)
        assert send(Notify(webhook_env="TEAM_ROOM"), told) == []
        assert len(server.bodies) == 2
    with Told(404) as server:
        monkeypatch.setenv("TEAM_ROOM", server.url)
        assert send(Notify(webhook_env="TEAM_ROOM"), told) == ["127.0.0.1: HTTP 404: ok"]
        assert len(server.bodies) == 1


def test_nobody_at_the_address_is_said_with_the_reason(monkeypatch):
    with Told() as gone:
        monkeypatch.setenv("TEAM_ROOM", gone.url)
    problems = send(Notify(webhook_env="TEAM_ROOM", timeout=0.3), message("test", RunPaths(runs_dir() / "x")))
    assert problems == ["127.0.0.1: [Errno 111] Connection refused"]


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    with Told() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("TEAM_ROOM", "http://alphaf.invalid/hook")
        assert send(Notify(webhook_env="TEAM_ROOM"), message("test", RunPaths(runs_dir() / "x"))) == []
        assert proxy.paths == ["http://alphaf.invalid/hook"]


def test_words_that_a_chat_takes_for_commands_are_escaped_and_secrets_masked(monkeypatch, webhook):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 20)
    told = message("failure", RunPaths(runs_dir() / "x"), what=f"<!channel> & hf_{'x' * 20} {webhook.url}\nrow: 홍길동")
    assert send(Notify(webhook_env="TEAM_ROOM"), told) == []
    (body,) = webhook.bodies
    assert "&lt;!channel&gt; &amp; ***" in body["text"] and body["what"].startswith("<!channel> & ***")
    assert "홍길동" not in json.dumps(body, ensure_ascii=False)  # what a tool printed below its first line
    assert b"hf_xxx" not in webhook.raw[0] and b"q1w2e3" not in webhook.raw[0]


@pytest.mark.parametrize("what", ["a\0b", "/data/\udcff", "\ud800", "\x1b]52;c;cHdu\x07x"])
def test_whatever_an_error_says_is_told(what, teller, webhook):
    told = message("failure", RunPaths(runs_dir() / "x"), what=f"sft: {what}", where=what)
    assert send(Notify(command=(str(teller),), webhook_env="TEAM_ROOM"), told) == []
    for each in (*heard(teller), *webhook.bodies):
        assert each["what"].startswith("sft: ") and each["what"].isprintable()


def test_a_server_that_breaks_off_while_it_refuses_is_told_by_its_code(monkeypatch, capfd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("TEAM_ROOM", f"http://127.0.0.1:{server.getsockname()[1]}/x")

        def refuse() -> None:
            with server.accept()[0] as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                while not one.recv(1 << 16).endswith(b"}"):
                    pass
                one.sendall(b"HTTP/1.1 400 no\r\nContent-Length: 9\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        problems = send(Notify(webhook_env="TEAM_ROOM"), message("test", RunPaths(runs_dir() / "x")))
    assert problems == ["127.0.0.1: HTTP 400"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_command_that_hangs_or_fails_is_ended_and_said(tmp_path):
    child = tmp_path / "pid"
    slow, bad = tmp_path / "slow.sh", tmp_path / "bad.sh"
    slow.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > '{child}'\nwait\n")
    bad.write_text("#!/bin/sh\necho no room is called x >&2\nexit 3\n")
    for script in (slow, bad):
        script.chmod(0o700)
    told = message("test", RunPaths(runs_dir() / "x"))
    assert send(Notify(command=(str(slow),), timeout=1), told) == ["slow.sh did not end within 1 s and was ended"]
    until(lambda: not Path(f"/proc/{child.read_text().strip()}").exists())
    assert send(Notify(command=(str(bad),)), told) == ["bad.sh exited with 3: no room is called x"]


def test_sigterm_is_news(fake, teller, tmp_path):
    fake.behave(sft="hang")
    config = asking(fake, command=[str(teller)])
    argv = [sys.executable, "-m", "alphaf_orch", "sft", "--model", "tiny", "--config", config]
    env = environment(tmp_path) | {"FAKE_TOOL": str(fake.control)}
    with subprocess.Popen(argv, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: "sft" in fake.calls())
            process.terminate()
            assert process.stderr and b"interrupted" in process.stderr.read()
        finally:
            process.kill()
    (told,) = heard(teller)
    assert (told["event"], told["state"], told["exit_code"]) == ("failure", "interrupted", 130)
    assert "중단되었습니다" in told["text"] and told["stage"] == "sft"


@pytest.mark.parametrize(("number", "news"), [(signal.SIGINT, 0), (signal.SIGTERM, 1), (signal.SIGHUP, 1)])
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), interrupted("stopped", where="w", fix="f")])
def test_an_interrupt_is_news_unless_it_is_ones_own(number, news, stop, tmp_path, teller, monkeypatch):
    monkeypatch.setattr(signals, "asked_by", lambda: number)
    config = build_config({"model": "tiny", "notify": {"command": [str(teller)]}}, "c")
    paths = RunPaths(tmp_path / "r")
    with pytest.raises(type(stop)), told_of(config, paths, lambda _: None), held(paths.lock, "the run"):
        raise stop
    assert [told["state"] for told in heard(teller)] == ["interrupted"] * news


def test_of_a_killed_alphaf_its_watchdog_tells(fake, teller, tmp_path):
    fake.behave(sft="hang")
    config = asking(fake, command=[str(teller)])
    argv = [sys.executable, "-m", "alphaf_orch", "sft", "--model", "tiny", "--config", config]
    env = environment(tmp_path) | {"FAKE_TOOL": str(fake.control)}
    with subprocess.Popen(argv, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: "sft" in fake.calls())
        process.kill()
    until(lambda: heard(teller))
    (told,) = heard(teller)
    assert (told["event"], told["name"], told["state"], told["exit_code"]) == ("failure", "tiny", "killed", 137)
    assert told["stage"] == "sft" and "강제 종료되었습니다" in told["text"]


def test_a_stall_is_told_once(tmp_path, teller, monkeypatch):
    monkeypatch.setattr(stall, "SAID_AFTER_S", 0.1)
    monkeypatch.setattr(stall, "processes", lambda _: [])
    paths, said = RunPaths(tmp_path / "r"), []
    config = build_config({"model": "tiny", "notify": {"command": [str(teller)]}}, "c")
    for file in (paths.log("sft"), paths.metrics("sft")):
        file.parent.mkdir(parents=True, exist_ok=True)
    stage = Stage("sft", "axolotl", (sys.executable,), {}, (tmp_path / "out",), {})
    watch = StageWatch(stage, paths, config, said.append, lambda _: None)
    until(lambda: watch.look() or said)
    watch.look()
    (told,) = heard(teller)
    assert (told["event"], told["stage"], told["state"]) == ("stall", "sft", "running")
    assert "멈춘 것 같습니다" in told["text"]


@pytest.mark.parametrize(
    ("on", "error", "event"),
    [
        (["stall"], Stalled("sft: no progress", where="w", fix="f", code="stage.stalled"), "stall"),
        (["failure", "stall"], Stalled("sft: no progress", where="w", fix="f", code="stage.stalled"), "failure"),
        (["stall"], StageError("x", where="w", fix="f", code="stage.x"), None),
        (["failure"], GoesOnLater("later", where="w", fix="f", code="interrupt.x"), None),
        (["requeue"], GoesOnLater("later", where="w", fix="f", code="interrupt.x"), "requeue"),
        (["failure"], ValueError("a defect"), "failure"),
    ],
)
def test_an_end_is_told_as_what_was_asked_for(on, error, event, teller, tmp_path):
    config = build_config({"model": "tiny", "notify": {"command": [str(teller)], "on": on}}, "c")
    paths = RunPaths(tmp_path / "r")
    with pytest.raises(type(error)), told_of(config, paths, lambda _: None), held(paths.lock, "the run"):
        raise error
    assert [told["event"] for told in heard(teller)] == ([event] if event else [])


def test_a_job_that_cannot_tell_anybody_works_all_the_same(tmp_path):
    config, said = build_config({"model": "tiny", "notify": {"webhook_env": "NOT_HERE"}}, "c"), []
    with told_of(config, RunPaths(tmp_path / "r"), said.append, in_job=True):
        pass
    assert said[0].startswith("warning: notify: there is no address") and said[-1].endswith("this end was not told")


def test_a_job_tells_its_failure_and_the_last_of_a_chain_its_end(fake, alphaf, teller, monkeypatch):
    assert alphaf("sft", "--model", "tiny", "--config", asking(fake, command=["/bin/true"])).exit_code == 0
    paths = RunPaths(runs_dir() / "tiny")
    settings = yaml.safe_load(paths.config.read_text("utf-8")) | {"notify": {"command": [str(teller)]}}
    paths.config.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
    jobs = (("first", "7", ("models",), ()), ("last", "8", ("models",), ("7",)), ("bad", "9", ("show", "none"), ()))
    for name, number, argv, after in jobs:
        write_submitted(paths, Submitted("tiny", name, "slurm", number, at=now(), argv=argv, after=after))
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    codes = {name: alphaf("job", "tiny", name).exit_code for name, *_ in jobs}
    assert codes == {"first": 0, "last": 0, "bad": 6}
    told = heard(teller)
    assert [(each["event"], each["job_id"]) for each in told] == [("end", "8"), ("failure", "8")]
    assert told[1]["what"] == "there is no run none" and "작업 8" in told[1]["text"]


def test_jobs_that_could_reach_nobody_are_not_submitted(monkeypatch, webhook, tmp_path):
    config, said = build_config({"model": "tiny", "notify": {"webhook_env": "TEAM_ROOM"}}, "c"), []
    with pytest.raises(ConfigError, match="the jobs would not have the variable TEAM_ROOM"):
        told_by_jobs(config, ("WANDB_API_KEY",), said.append)
    told_by_jobs(config, ("TEAM_ROOM",), said.append)
    assert said == ["notify: on end, failure, stall the jobs will tell 127.0.0.1 (a webhook)"]
    told_by_jobs(build_config({"model": "tiny"}, "c"), (), pytest.fail)


def test_an_experiment_tells_its_end_and_each_failed_arm(fake, alphaf, teller, monkeypatch):
    monkeypatch.setattr("alphaf_orch.cli.ablate.ablation_report", lambda _: None)
    monkeypatch.setattr("alphaf_orch.cli.ablate.write_report", lambda *_: ())
    fake.behave(sft="fail")
    config = asking(fake, command=[str(teller)])
    ablate = ("ablate", "lora_r=8,16", "--model", "tiny", "--name", "실험", "--limit", "1", "--config", config)
    done = alphaf(*ablate)
    assert done.exit_code == 7, done.output
    told = [(each["event"], each["name"]) for each in heard(teller)]
    arms = {("failure", f"실험/lora_r-{rank}.s42") for rank in (8, 16)}
    assert set(told[:-1]) >= arms and told[-1] == ("failure", "실험")
    assert done.output.count("will be told") == 1


def test_a_good_end_of_an_arm_is_its_experiments_to_tell(tmp_path, teller):
    config = build_config({"model": "tiny", "notify": {"command": [str(teller)]}}, "c")
    (tmp_path / EXPERIMENT_FILE).write_text("{}", "utf-8")
    for paths in (RunPaths(tmp_path / "arm"), RunPaths(tmp_path)):
        with told_of(config, paths, lambda _: None), held(paths.lock, "the run"):
            pass
    assert [told["name"] for told in heard(teller)] == [tmp_path.name]


def test_a_test_message_shows_whether_it_arrives(fake, alphaf, webhook, monkeypatch):
    config = asking(fake, webhook_env="TEAM_ROOM")
    done = alphaf("notify", "--config", config)
    assert (done.exit_code, done.output) == (0, "told 127.0.0.1 (a webhook)\n")
    assert webhook.bodies[0]["event"] == "test" and "시험" in webhook.bodies[0]["text"]
    webhook.codes = [403]
    done = alphaf("notify", "--config", config)
    assert done.exit_code == 9 and "HTTP 403" in done.output
    assert alphaf("notify").exit_code == 2


def test_nobody_is_told_any_more_once_notify_is_null(fake, alphaf, monkeypatch):
    monkeypatch.setattr("alphaf_orch.runs.notify.call.send", lambda *_: pytest.fail("told"))
    paths = RunPaths(runs_dir() / "tiny")
    paths.root.mkdir(parents=True)
    paths.config.write_text("model: tiny\nnotify: {command: [/bin/true]}\n", "utf-8")
    fake.config.write_text(fake.config.read_text("utf-8") + "notify: null\n", "utf-8")
    done = alphaf("sft", "--run", "tiny", "--config", str(fake.config))
    assert done.exit_code == 0 and "will be told" not in done.output
    assert "notify" not in yaml.safe_load(paths.config.read_text("utf-8"))


def test_of_stages_begun_in_one_second_the_last_is_told(tmp_path):
    """Moments are whole seconds, and the last name of the alphabet is no later stage."""
    paths, at = RunPaths(tmp_path / "r"), now()
    begun = {"state": "done", "started": at, "ended": at, "fingerprint": "0", "log": "logs/x.log", "spec": {}}
    paths.root.mkdir()
    write_manifest(paths.manifest, {"format": FORMAT, "stages": {"sft": begun, "merge_sft": begun, "dpo": begun}})
    paths.metrics("sft").parent.mkdir(parents=True)
    paths.metrics("sft").write_text(json.dumps({"step": 5, "max_steps": 10, "loss": 1.0}) + "\n", encoding="utf-8")
    told = with_standing(message("end", paths), paths, at)
    assert (told.stage, told.step) == ("dpo", None)
