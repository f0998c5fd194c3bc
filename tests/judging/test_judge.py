"""Comparing two models: both orders, failures counted exactly, stops and changes, under a Korean path."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from judge_stub import PRESET, Stub, after, blocks, drip, half, hang_up, say, send, verdict
from judged import TEMPLATES, by_quality, judge, quiet, rows
from rich.console import Console

from alphaf_orch.core.errors import DataError, GoesOnLater, Interrupted, RunStateError, ToolError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.stop import wish
from alphaf_orch.judging.pairs import compare
from alphaf_orch.judging.preset import JudgePreset
from alphaf_orch.judging.prompts import Prompt, PromptSet
from alphaf_orch.judging.wording import JudgePrompts

REPO = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "실행 폴더" / "judge" / "dpo-vs-sft"


def test_every_prompt_is_judged_in_both_orders(folder):
    with Stub(by_quality) as stub:
        summary = judge(folder, stub.url, 3)
    shown = sorted(blocks(prompt) for prompt in stub.prompts())
    assert shown == sorted(
        pair for i in range(3) for pair in [(f"좋은 답 q{i}", f"나쁜 답 q{i}"), (f"나쁜 답 q{i}", f"좋은 답 q{i}")]
    )
    found = sorted(rows(folder), key=lambda row: (row["id"], row["order"]))
    assert [(row["id"], row["order"], row["winner"]) for row in found] == [
        (f"q{i}", order, "a") for i in range(3) for order in ("ab", "ba")
    ]
    first = found[0]
    assert first.pop("seconds") >= 0
    assert set(first.pop("keys")) == {"prompt", "a", "b", "template", "judge"}
    assert first == {
        "id": "q0", "category": "일상", "prompt_set": "묶음", "order": "ab", "a_chars": 7, "b_chars": 7, "winner": "a",
        "reason": "정확하다", "error": None, "reply": None, "attempts": 1,
        "usage": {"prompt_tokens": 100, "completion_tokens": 10}, "judge": "심판",
    }  # fmt: skip
    assert summary == json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert (summary["wins"], summary["ties"], summary["losses"]) == (3, 0, 0)
    assert summary["tokens"] == {"prompt": 600, "completion": 60, "verdicts_without_count": 0}
    assert summary["position_bias"]["value"] == 0.5
    assert summary["consistency"] == 1


def test_two_turns_are_shown_whole(folder):
    prompts = PromptSet("묶음", (Prompt("q", "", ("하나", "둘")),), "")
    with Stub(lambda *_: verdict("tie")) as stub:
        judge(folder, stub.url, prompts=prompts)
    assert "첫 번째 질문" in stub.prompts()[0]
    assert rows(folder)[0]["a_chars"] == 2 * len("좋은 답 q")


def test_a_judge_that_loves_the_first_place_is_found_out(folder):
    with Stub(lambda *_: verdict("A")) as stub:
        summary = judge(folder, stub.url, 10)
    assert summary["position_bias"]["value"] == 1
    assert summary["consistency"] == 0
    assert (summary["wins"], summary["ties"], summary["losses"]) == (0, 10, 0)


def test_planted_bias_is_measured(folder):
    """Of 20 prompts the judge takes 12 by quality and 8 by place: 12 + 16 of 40 first-shown wins."""

    def behave(prompt, n):
        number = int(re.search(r"질문 (\d+)", prompt)[1])
        return verdict("A") if number < 8 else by_quality(prompt, n)

    with Stub(behave) as stub:
        summary = judge(folder, stub.url, 20)
    assert summary["position_bias"]["value"] == pytest.approx(28 / 40)
    assert summary["position_bias"]["low"] < 0.7 < summary["position_bias"]["high"]
    assert summary["consistency"] == pytest.approx(12 / 20)
    assert summary["win_rate"]["value"] == pytest.approx((12 + 8 / 2) / 20)


def test_an_unreadable_reply_is_asked_again_with_a_reminder(folder):
    with Stub(lambda prompt, _: verdict("tie") if "다시 알립니다" in prompt else say("글쎄요")) as stub:
        summary = judge(folder, stub.url, 2)
    assert len(stub.bodies) == 8
    assert [row["attempts"] for row in rows(folder)] == [2, 2, 2, 2]
    assert rows(folder)[0]["usage"] == {"prompt_tokens": 200, "completion_tokens": 20}
    assert (summary["parse_failures"], summary["retried"], summary["requests"], summary["ties"]) == (0, 4, 8, 2)


def test_three_unreadable_replies_are_a_null_and_count_nowhere(folder):
    def behave(prompt, n):
        return say('{"winner": "둘 다"}') if "질문 1" in prompt else by_quality(prompt, n)

    with Stub(behave) as stub:
        summary = judge(folder, stub.url, 3)
        again = judge(folder, stub.url, 3)
    assert len(stub.bodies) == 2 + 2 + 2 * 3
    lost = [row for row in rows(folder) if row["id"] == "q1"]
    assert [(row["winner"], row["attempts"], row["reply"]) for row in lost] == [(None, 3, '{"winner": "둘 다"}')] * 2
    assert lost[0]["error"] == "the keys are winner"
    assert (summary["parse_failures"], summary["judged"], summary["incomplete"]) == (2, 2, 1)
    assert summary["win_rate"]["n"] == 2
    assert again == summary


def test_one_readable_order_is_no_verdict_on_a_prompt(folder):
    with Stub(lambda prompt, n: say("?") if blocks(prompt)[0] == "좋은 답 q0" else by_quality(prompt, n)) as stub:
        summary = judge(folder, stub.url, 2)
    assert (summary["judged"], summary["incomplete"], summary["parse_failures"]) == (1, 1, 1)


def test_half_characters_of_a_reply_do_not_stop_the_file(folder):
    with Stub(lambda *_: say('{"winner": "A", "reason": "\\ud83d!"}', usage=False)) as stub:
        judge(folder, stub.url, 1)
    assert [row["reason"] for row in rows(folder)] == ["?!", "?!"]
    assert rows(folder)[0]["usage"] is None


def test_a_mix_of_failures_is_counted_exactly(folder):
    """Ten questions, each with its own fate; two tries for what the server fails at."""
    fates = {
        ("q0", "ab"): [send(500, {}), "ok"],  # mended by the second try
        ("q0", "ba"): [send(429, {}, {"Retry-After": "1"}), "ok"],
        ("q1", "ab"): [send(500, {}), send(503, {})],  # unanswered
        ("q1", "ba"): [after(1.5, say("늦었다")), "ok"],
        ("q2", "ab"): [drip],  # unanswered: whoever sends byte by byte gets no second try
        ("q2", "ba"): [half, "ok"],
        ("q3", "ab"): [hang_up, hang_up],  # unanswered
        ("q3", "ba"): [send(200, b"<html>")],  # unanswered: no second try helps
        ("q4", "ab"): [say("말만 많다"), "ok"],  # a reminder
        ("q4", "ba"): ["ok"],
    }
    seen: dict[tuple[str, str], int] = {}

    def behave(prompt, n):
        first, _ = blocks(prompt)
        name = (first.split()[-1], "ab" if first.startswith("좋은") else "ba")
        seen[name] = seen.get(name, 0) + 1
        fate = fates[name][seen[name] - 1]
        return by_quality(prompt, n) if fate == "ok" else fate

    with Stub(behave) as stub, pytest.raises(ToolError, match="4 questions were not answered"):
        judge(folder, stub.url, 5, retries=1, timeout_s=0.7, concurrency=10)
    assert seen == {name: len(fate) for name, fate in fates.items()}
    assert len(stub.bodies) == sum(map(len, fates.values()))
    assert len(rows(folder)) == 6
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert (summary["verdicts"], summary["judged"], summary["retried"]) == (6, 2, 1)

    with Stub(by_quality) as stub:
        summary = judge(folder, stub.url, 5)
    assert len(stub.bodies) == 4, "only what lacked a verdict"
    assert (summary["verdicts"], summary["judged"], summary["wins"]) == (10, 5, 5)


def test_the_line_says_how_far_it_is(folder, monkeypatch):
    monkeypatch.setattr("alphaf_orch.judging.progress._PLAIN_EVERY_S", 0)
    monkeypatch.setattr("alphaf_orch.judging.sitting._TICK_S", 0.1)
    screen = io.StringIO()
    monkeypatch.setattr("judged.quiet", lambda: Console(file=screen))
    slow = Stub(lambda prompt, n: after(0.4, by_quality(prompt, n)) if n > 2 else send(500, {}) if n == 1 else say("?"))
    with slow as stub, pytest.raises(ToolError):
        judge(folder, stub.url, 2, concurrency=1)
    lines = screen.getvalue().splitlines()
    lines = [line.partition(" ")[2] for line in lines]
    assert lines[0] == "judge dpo vs sft: 4 questions"
    assert any("0/4  0 tokens  1 unanswered" in line for line in lines), "while the judge thinks"
    assert any("1/4  220 tokens  1 unanswered  ETA 0:0" in line for line in lines)
    assert lines[-1].startswith("judge dpo vs sft: 3/4  440 tokens  1 unanswered  (0:0")


def test_no_more_requests_at_a_time_than_asked_for(folder):
    with Stub(lambda prompt, n: after(0.03, by_quality(prompt, n))) as stub:
        judge(folder, stub.url, 20, concurrency=5)
    assert stub.most_in_flight == 5


def test_a_dead_server_ends_it_and_keeps_the_verdicts(folder):
    with Stub(lambda prompt, n: by_quality(prompt, n) if n <= 5 else send(503, {"error": "꺼짐"})) as stub:
        with pytest.raises(ToolError, match="the judge does not answer: HTTP 503") as caught:
            judge(folder, stub.url, 50, max_failures=3, concurrency=1)
        assert len(stub.bodies) == 9
    assert stub.url in caught.value.where
    assert str(folder) in caught.value.where
    assert len(rows(folder)) == 5
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8"))["verdicts"] == 5


def test_a_wrong_key_ends_it_at_once(folder):
    with Stub(lambda *_: send(401, {"error": "key"})) as stub:
        with pytest.raises(ToolError, match="HTTP 401"):
            judge(folder, stub.url, 50, concurrency=1)
        assert len(stub.bodies) == 1
    assert rows(folder) == []
    assert not (folder / "summary.json").exists()


def test_a_limit_may_grow_and_shrink(folder):
    with Stub(by_quality) as stub:
        assert judge(folder, stub.url, 6, limit=2)["prompts"] == 2
        assert judge(folder, stub.url, 6, limit=4)["prompts"] == 4
        assert judge(folder, stub.url, 6, limit=1)["prompts"] == 4, "verdicts that are there count"
    assert len(stub.bodies) == 8


def test_a_second_call_asks_nothing(folder):
    with Stub(by_quality) as stub:
        first = judge(folder, stub.url, 3)
        before = (folder / "verdicts.jsonl").read_bytes()
        assert judge(folder, stub.url, 3) == first
    assert len(stub.bodies) == 6
    assert (folder / "verdicts.jsonl").read_bytes() == before


@pytest.mark.parametrize("torn", [40, 1], ids=["in the middle", "before the line end"])
def test_a_line_that_was_cut_off_is_asked_again(folder, torn):
    with Stub(by_quality) as stub:
        judge(folder, stub.url, 3)
        file = folder / "verdicts.jsonl"
        file.write_bytes(file.read_bytes()[:-torn])
        summary = judge(folder, stub.url, 3)
    assert len(stub.bodies) == 7
    assert len(rows(folder)) == 6
    assert summary["verdicts"] == 6


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"a": "더 좋은 답"}, "the answers of dpo"),
        ({"b": "더 나쁜 답"}, "the answers of sft"),
        ({"model": "다른 심판"}, "the judge"),
        ({"temperature": 0.5}, "the judge"),
        ({"prompts": PromptSet("묶음", (Prompt("q0", "", ("다른 질문",)),), "")}, "the prompt"),
        ({"prompts": PromptSet("묶음", (Prompt("q1", "금융", ("질문 1",)),), "")}, "q0 .. is not asked for"),
    ],
)
def test_verdicts_of_something_else_are_never_mixed_in(folder, changes, what):
    with Stub(by_quality) as stub:
        judge(folder, stub.url, 1)
        before = (folder / "verdicts.jsonl").read_bytes()
        with pytest.raises(RunStateError, match=what) as caught:
            judge(folder, stub.url, 1, **changes)
    assert caught.value.where == str(folder)
    assert len(stub.bodies) == 2
    assert (folder / "verdicts.jsonl").read_bytes() == before


def test_a_broken_line_in_the_middle_is_named(folder):
    with Stub(by_quality) as stub:
        judge(folder, stub.url, 1)
        file = folder / "verdicts.jsonl"
        file.write_bytes(b"{half\n" + file.read_bytes())
        with pytest.raises(RunStateError, match="no JSON object") as caught:
            judge(folder, stub.url, 1)
    assert caught.value.where.endswith("verdicts.jsonl line 1")


def test_what_cannot_be_judged_is_refused_before_anything_is_answered(tmp_path):
    preset = JudgePreset(**{**PRESET, "url": "http://127.0.0.1:9/v1"})
    templates = JudgePrompts("ko", TEMPLATES)
    for prompts in ((), (Prompt("q", "", ("하나", "둘", "셋")),)):
        with pytest.raises(DataError):
            compare(
                RunPaths(tmp_path), "dpo", "sft", PromptSet("묶음", prompts, ""), preset, templates,
                limit=None, max_new_tokens=8, console=quiet(), verbose=False,
            )  # fmt: skip


PROGRAM = """
import signal, sys
from pathlib import Path
from alphaf_orch.core.errors import AlphafError
from judged import judge

def interrupt(*_): raise KeyboardInterrupt
signal.signal(signal.SIGTERM, interrupt)
signal.signal(signal.SIGUSR1, interrupt)
try:
    judge(Path(sys.argv[1]), sys.argv[2], 30, concurrency=2)
except AlphafError as error:
    print(error.message)
    sys.exit(error.exit_code)
"""


def start(folder: Path, url: str) -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": f"{REPO}{os.pathsep}{REPO / 'tests' / 'fakes'}"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), url],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_what_was_judged_before_a_stop_is_not_asked_again(folder, number):
    with Stub(lambda prompt, n: after(0.02, by_quality(prompt, n)) if n <= 10 else after(30, say("?"))) as stub:
        process = start(folder, stub.url)
        end = time.monotonic() + 60
        while len(stub.bodies) < 12 and time.monotonic() < end:
            time.sleep(0.01)
        if number == signal.SIGTERM:
            with pytest.raises(RunStateError, match=rf"the judging of dpo-vs-sft is in use \(by process {process.pid}"):
                judge(folder, stub.url, 30)
        if number == signal.SIGUSR1:
            wish(RunPaths(folder.parents[1]).stop_wish, "later", "the time limit of job 17")
        else:
            process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert len(rows(folder)) == 10
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        code = GoesOnLater.exit_code if number == signal.SIGUSR1 else Interrupted.exit_code
        assert (process.returncode, err) == (code, "")
        assert out.startswith("judging was interrupted")
        assert json.loads((folder / "summary.json").read_text(encoding="utf-8"))["verdicts"] == 10
    with Stub(by_quality) as stub:
        summary = judge(folder, stub.url, 30)
    assert len(stub.bodies) == 50
    assert (summary["verdicts"], summary["wins"]) == (60, 30)


def test_the_command_says_what_is_wrong(alphaf, tmp_path):
    run = tmp_path / "실행" / "r"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"format": 1, "stages": {}}), encoding="utf-8")
    (run / "config.yaml").write_text(yaml.safe_dump({"model": "tiny"}), encoding="utf-8")
    for args, code, what in (
        (["--a", "dpo", "--b", "sft"], 2, "no run is named"),
        (["--run", "nobody", "--a", "dpo", "--b", "sft"], 6, "there is no run nobody"),
        (["--run", "r", "--b", "sft"], 2, "--a is missing"),
        (["--run", "r", "--a", "dpo", "--b", "dpo"], 2, "cannot be compared with itself"),
        (["--run", "r", "--a", "dpo", "--b", "sftt"], 2, "sftt is no stage"),
        (["--run", "r", "--a", "dpo", "--b", "sft", "--judge", "nobody"], 2, "no judge is called 'nobody'"),
        (["--run", "r", "--a", "dpo", "--b", "sft", "--summary"], 6, "dpo was not judged against sft"),
        (["--run", "r", "--a", "dpo", "--b", "sft", "--task", "x"], 2, "a comparison has no task"),
        (["--run", "r", "--a", "dpo", "--b", "sft"], 6, "model of run r is not finished"),
    ):
        result = alphaf("judge", *args)
        assert (result.exit_code, what in result.stderr) == (code, True), result.stderr
        assert "  where: " in result.stderr and "  next:  " in result.stderr


def test_the_command_prints_the_figures(alphaf, folder, tmp_path):
    run = tmp_path / "실행" / "r"
    with Stub(by_quality) as stub:
        judge(run / "judge" / "dpo-vs-sft", stub.url, 4)
    (run / "manifest.json").write_text(json.dumps({"format": 1, "stages": {}}), encoding="utf-8")
    shown = alphaf("judge", "--run", "r", "--a", "dpo", "--b", "sft", "--summary")
    assert shown.exit_code == 0
    assert "100.0% [51.0, 100.0]" in shown.stdout, "Wilson's interval: no prompt came out otherwise"
    assert "tokens: 800 in, 80 out" in shown.stdout
    assert "금융" in shown.stdout
    as_json = alphaf("judge", "--run", "r", "--a", "dpo", "--b", "sft", "--summary", "--json")
    assert json.loads(as_json.stdout)["categories"].keys() == {"금융", "일상"}
