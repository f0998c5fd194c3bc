"""Who gets an answer of the board's and what: token, names, methods, reports; nothing but what is meant."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import board_runs
import pytest
import report_runs

from alphaf_orch.board import serve
from alphaf_orch.board.access import Token
from alphaf_orch.board.serve import served
from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.stop import read_wish

GUARDED = ("/", "/api/state", "/api/live", "/api/curve?run=run&stage=sft", "/api/log?run=run&stage=sft")


def soon(true) -> None:
    """Wait until it is so; a board looks at the whole folder about once a second."""
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


class Client:
    """Asks a board as anybody on this machine can."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token

    def ask(self, path: str, *, method="GET", token: str | None = "", host="", body=None, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["Host"] = host or f"127.0.0.1:{self.port}"
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        answer.text = answer.read().decode("utf-8", "replace")
        connection.close()
        return answer

    def value(self, path: str):
        answer = self.ask(path)
        assert answer.status == 200, answer.text
        return json.loads(answer.text)


@pytest.fixture
def run() -> RunPaths:
    return report_runs.make_run(runs_dir() / "run")


@pytest.fixture
def board(run):
    with served(0, control=False) as (made, port, _):
        yield Client(port, made.token.value)


@pytest.fixture
def steering(run):
    with served(0, control=True) as (made, port, _):
        yield Client(port, made.token.value)


def test_without_the_token_nothing_is_told(board):
    for path in GUARDED:
        _refused_without_token(board, path)


def _refused_without_token(board, path):
    assert board.ask(path).status == 200
    for token in (None, "x", board.token[:-1], board.token + "x", "한글", "Bearer"):
        given = token if token is None or token.isascii() else quote(token)
        answer = board.ask(path, token=given)
        assert answer.status == 403, (path, token)
        assert "run" not in re.sub("<.*?>|data-spoken=.*", "", answer.text, flags=re.DOTALL).split()
    # In the address it counts for the page alone: what a script asks has it in a header.
    sign = "&" if "?" in path else "?"
    answer = board.ask(f"{path}{sign}token={board.token}", token=None)
    assert answer.status == (200 if path == "/" else 403)
    assert board.ask(f"/?token={board.token}x", token=None).status == 403


def test_only_loopback_names_are_answered(board):
    good = ("localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:9", "[::1]:7")
    bad = (
        "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "0.0.0.0", "evil@localhost",
        "localhost:x", "localhost/evil", "[", "127.0.0.1#x", "10.0.0.7:8080", "localhost.",
    )  # fmt: skip
    for host in (*good, *bad):
        for path in ("/api/live", "/board.js", "/"):
            answer = board.ask(path, host=host)
            assert answer.status == (200 if host in good else 403), (host, path)
            assert "access-control-allow-origin" not in answer.headers


def test_a_board_that_only_shows_takes_no_other_method(board, run):
    with board_runs.trained(run):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            for path in ("/api/stop", "/api/live", "/"):
                answer = board.ask(path, method=method, body=json.dumps({"run": "run"}))
                assert answer.status == 405, (method, path)
                assert answer.headers["allow"] == "GET, HEAD"
    assert read_wish(run.stop_wish) is None
    assert board.ask("/api/live", method="HEAD").text == ""


def test_every_answer_forbids_what_a_page_of_ours_does_not_do(board):
    for path in (f"/?token={board.token}", "/board.js", "/board.css", "/api/live", "/nothing", "/page/x/y"):
        answer = board.ask(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers
        assert "server" not in answer.headers
        assert board.token not in answer.text
    page = board.ask("/").text
    assert not re.search(r"<script(?! src=\"/board.js\")|<style|style=|https?://| on\w+=", page)


def test_what_did_not_change_is_not_sent_again(board, run):
    for path in ("/api/state", "/api/live", "/api/log?run=run&stage=sft"):
        first = board.ask(path)
        again = board.ask(path, if_none_match=first.headers["etag"])
        assert (again.status, again.text) == (304, ""), path
    version = board.value("/api/live")["version"]
    (run.root / "report.html").write_text("<p>new", "utf-8")
    soon(lambda: board.value("/api/live")["version"] != version)
    assert board.value("/api/state")["runs"][0]["pages"][0]["name"] == "report.html"


def test_a_report_is_opened_by_its_own_address_and_by_no_other(board, run):
    run.html_report.write_text("<script>var x</script>보고서", "utf-8")
    (run.root / "compare-x.html").write_text("other", "utf-8")
    (run.root / "secret.txt").write_text("secret", "utf-8")
    outside = runs_dir().parent / "outside.html"
    outside.write_text("outside", "utf-8")
    (run.root / "compare-link.html").symlink_to(outside)
    (run.root / "compare-folder.html").mkdir()
    os.mkfifo(run.root / "compare-pipe.html")
    (run.root / "sweep").symlink_to(runs_dir().parent)
    (runs_dir().parent / "report.html").write_text("outside", "utf-8")
    soon(lambda: board.value("/api/state")["runs"][0]["pages"])
    pages = {page["name"]: page["href"] for page in board.value("/api/state")["runs"][0]["pages"]}
    answer = board.ask(pages["report.html"], token=None)
    assert (answer.status, answer.text) == (200, "<script>var x</script>보고서")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts") and "allow-same-origin" not in policy
    assert "default-src 'none'" in policy and "connect-src" not in policy
    assert board.ask(pages["compare-x.html"], token=None).text == "other"
    for name in ("compare-link.html", "compare-folder.html", "compare-pipe.html", "sweep/report.html"):
        if name in pages:
            assert board.ask(pages[name]).status == 404, name
    ticket = pages["report.html"].split("/")[2]
    for path in (
        "run/secret.txt", "run/compare-x.html", "run/manifest.json", "run/../run/report.html", "../outside.html",
        "run/..%2f..%2foutside.html", "run%2freport.html%00", "/etc/passwd", "report.html", "",
    ):  # fmt: skip
        answer = board.ask(f"/page/{ticket}/{path}")
        assert answer.status in (403, 404), path
        assert answer.text not in ("secret", "outside", "other")
        # And with the right ticket for a name that is no report's.
        good = Token(board.token).ticket(path if path != "run/compare-x.html" else "run/compare-y.html")
        assert board.ask(f"/page/{good}/{path}").status in (403, 404), path
    assert board.ask(f"/page/{quote('한')}/run/report.html").status == 403


def test_what_is_no_stage_of_a_run_has_no_curve_and_no_log(board, run):
    (run.root / "secret.log").write_text("secret", "utf-8")
    strange = ("", "none", "../secret", "..%2fsecret", "/etc/passwd", "%00", "manifest.json")
    for stage in strange:
        for kind in ("log", "curve"):
            assert board.ask(f"/api/{kind}?run=run&stage={stage}").status == 404
            assert board.ask(f"/api/{kind}?run={stage}&stage=sft").status == 404
    assert len(board.value("/api/curve?run=run&stage=sft")["points"]) > 5


def test_a_run_is_stopped_by_a_wish_and_only_by_the_page_itself(steering, run):
    def stop(name="run", **more):
        return steering.ask("/api/stop", method="POST", body=json.dumps({"run": name}), **more)

    assert stop().status == 409  # nobody works on it
    with board_runs.trained(run):
        soon(lambda: steering.value("/api/state")["runs"][0]["state"] == "working")
        here = f"http://localhost:{steering.port}"
        for more, status in (
            ({"token": None}, 403), ({"token": "x"}, 403), ({"host": "evil.example"}, 403),
            ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Origin": here}, 403),
            ({"Sec_Fetch_Site": "cross-site"}, 403), ({"Sec_Fetch_Site": "same-site"}, 403),
            ({"name": "none"}, 404), ({"name": "../run"}, 404), ({"name": ["run"]}, 404), ({"name": None}, 404),
        ):  # fmt: skip
            assert stop(**more).status == status, more
        assert steering.ask("/api/stop", method="POST", body="{").status == 404
        assert steering.ask("/api/stop", method="POST", body="[" * 4000).status == 404
        assert steering.ask("/api/stop", method="POST", body=" " * 5000).status == 413
        assert steering.ask("/api/stop").status == 405
        assert steering.ask("/api/live", method="POST").status == 405
        assert read_wish(run.stop_wish) is None
        assert stop(Origin=f"http://127.0.0.1:{steering.port}", Sec_Fetch_Site="same-origin").status == 200
    wish = read_wish(run.stop_wish)
    assert (wish.kind, wish.why) == ("stop", "the board")


def test_what_the_button_does_ends_a_training(fake, tmp_path):
    fake.behave(sft="hang")
    argv = [sys.executable, "-m", "alphaf_orch", "sft", "--model", "tiny", "--config", str(fake.config)]
    trained = RunPaths(runs_dir() / "tiny")
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        with served(0, control=True) as (made, port, _):
            client = Client(port, made.token.value)
            soon(lambda: any(each["stage"] == "sft" and each["log"] for each in client.value("/api/live")["working"]))
            answer = client.ask("/api/stop", method="POST", body=json.dumps({"run": "tiny"}))
            assert answer.status == 200, answer.text
            _, err = process.communicate(timeout=60)
            assert process.returncode == 130, err
            assert "the board" in err
            soon(lambda: client.value("/api/state")["runs"][0]["state"] == "interrupted")
            assert made._folder.run("tiny").stopping is False
    finally:
        process.kill()
        process.communicate()
    assert read_wish(trained.stop_wish) is None


def test_a_port_that_is_taken_is_told_and_boards_stand_side_by_side(board):
    with pytest.raises(ConfigError, match=f"port {board.port} is in use") as told, served(board.port, control=False):
        pass
    assert "--port" in told.value.fix
    with served(0, control=False) as (other, port, _):
        assert Client(port, other.token.value).ask("/api/live").status == 200
        assert Client(port, board.token).ask("/api/live").status == 403
    with socket.create_connection(("127.0.0.1", board.port)):  # of loopback alone
        pass
    assert listening_on(board.port) == {"0100007F"}


def test_a_folder_that_is_none_is_told_before_anything_is_served(monkeypatch, tmp_path):
    place = tmp_path / "file"
    place.write_text("", "utf-8")
    monkeypatch.setenv("ALPHAF_RUNS", str(place))
    with pytest.raises(RunStateError, match="cannot be read") as told, served(0, control=False):
        pass
    assert "ALPHAF_RUNS" in told.value.fix


def listening_on(port: int) -> set[str]:
    """Return the addresses, as the kernel writes them, on which something listens on a port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {line[1].split(":")[0] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"}


def test_what_fails_inside_is_told_without_a_trace(board, monkeypatch, capfd):
    monkeypatch.setattr("alphaf_orch.board.server.curve_json", lambda _: 1 / 0)
    answer = board.ask("/api/curve?run=run&stage=sft")
    assert answer.status == 500
    assert "Traceback" not in answer.text and "ZeroDivisionError" not in answer.text
    assert board.ask("/api/live").status == 200
    said = capfd.readouterr().err
    assert said.startswith("error: the board failed at one request: ZeroDivisionError")
    assert "Traceback" not in said
    kept = Path(re.search(r"trace: (\S+)", said)[1])
    assert "Traceback" in kept.read_text()
    kept.unlink()
    assert board.token not in said


def test_connections_of_others_that_say_nothing_end_no_board(board):
    def half() -> socket.socket:
        made = socket.create_connection(("127.0.0.1", board.port), timeout=20)
        made.sendall(b"GET / HTTP/1.1\r\nHost: x")
        return made

    with contextlib.ExitStack() as kept:
        made = [kept.enter_context(half()) for _ in range(serve.MOST_CONNECTIONS + 20)]
        assert board.ask("/api/live").status == 200
        for each in made[:20]:  # the oldest ones were closed
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1) == b""
        made[-1].sendall(b"\r\n\r\n")
        assert made[-1].recv(12) == b"HTTP/1.1 403"  # and the newest lives


def test_an_error_that_cannot_be_kept_ends_no_board(board, monkeypatch, capfd):
    monkeypatch.setattr("alphaf_orch.board.server.curve_json", lambda _: 1 / 0)
    monkeypatch.setattr(serve.tempfile, "mkstemp", lambda **_: open("/nowhere/at-all"))  # noqa: PTH123, SIM115
    assert board.ask("/api/curve?run=run&stage=sft").status == 500
    assert board.ask("/api/live").status == 200
    assert "ZeroDivisionError" in (said := capfd.readouterr().err) and "trace: none (" in said


def test_the_command_prints_the_address_and_ends_by_ctrl_c(tmp_path):
    argv = [sys.executable, "-m", "alphaf_orch", "board"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        port, token = re.fullmatch(r"board: http://127\.0\.0\.1:(\d+)/\?token=(\S{40,})\n", lines[0]).groups()
        assert f"ssh -L {port}:127.0.0.1:{port} " in lines[1]
        assert "Ctrl-C" in lines[2]
        client = Client(int(port), token)
        assert client.value("/api/state")["runs"] == []
        assert client.ask(f"/?token={token}", token=None).status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (130, "")
    assert err == "the board has ended (Ctrl-C (SIGINT))\n"
    assert not list(tmp_path.glob("**/*.log"))
