"""Every prompt ends as judged, unreadable or refused: what one prompt is refused for ends that prompt alone."""

import json
import re
import socket
from pathlib import Path

import pytest
import yaml
from judge_refusals import FILTERED, FOR_ALL, TOO_LONG, UNKNOWN
from judge_stub import Stub, after, message, refuse, say, send, verdict
from judged import by_quality, judge, prompt_set, rows

from alphaf_orch.core.errors import JudgeError, RunStateError, ToolError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.judging.summary import write_summary
from alphaf_orch.report.judge import judge_warnings, judged


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "실행" / "r" / "judge" / "dpo-vs-sft"


def number(prompt: str) -> int:
    return int(re.search(r"질문 (\d+)", prompt)[1])


def refusing(status: int, body, first: int = 2):
    """The first prompts are refused."""
    return lambda prompt, n: send(status, body) if number(prompt) < first else by_quality(prompt, n)


def ended(summary):
    return [summary[key] for key in ("prompts", "judged", "unreadable", "refused", "unanswered", "incomplete")]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        *[(*answer, "too long") for answer in TOO_LONG.values()],
        *[(*answer, "content filter") for answer in FILTERED.values()],
        (*UNKNOWN, "the server refuses the request"),
    ],
    ids=[*TOO_LONG, *(f"filter of {name}" for name in FILTERED), "unknown"],
)
def test_refused_prompts_end_alone_and_the_rest_goes_on(folder, status, body, why):
    with Stub(refusing(status, body)) as stub:
        summary = judge(folder, stub.url, 5, retries=2, max_failures=1)
        asked = len(stub.bodies)
        again = judge(folder, stub.url, 5)
    assert asked == 10, "nothing is asked twice"
    assert len(stub.bodies) == 10, "and not by the next call"
    assert ended(summary) == [5, 3, 0, 2, 0, 2]
    assert (summary["win_rate"]["n"], summary["parse_failures"], summary["refusals"]) == (3, 0, 4)
    assert [(cause["end"], cause["verdicts"]) for cause in summary["causes"]] == [("refused", 4)]
    assert why in summary["causes"][0]["why"] and f"HTTP {status}" in summary["causes"][0]["why"]
    assert again == summary
    lost = [row for row in rows(folder) if row["winner"] is None]
    assert {(row["attempts"], row["reply"]) for row in lost} == {(1, None)}


def test_lengths_that_differ_are_one_cause(folder):
    said = "This model's maximum context length is 4096 tokens. However, your messages resulted in {} tokens."
    with Stub(lambda p, n: refuse(400, said.format(5000 + n)) if number(p) < 2 else by_quality(p, n)) as stub:
        summary = judge(folder, stub.url, 3)
    assert [cause["verdicts"] for cause in summary["causes"]] == [4]


@pytest.mark.parametrize(("status", "body"), FOR_ALL.values(), ids=FOR_ALL)
def test_what_holds_for_all_stops_at_once(folder, status, body):
    with Stub(lambda p, n: send(status, body) if n > 4 else by_quality(p, n)) as stub:
        with pytest.raises(ToolError, match=f"HTTP {status}") as stopped:
            judge(folder, stub.url, 6, retries=2, concurrency=1)
        assert len(stub.bodies) == 5
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        assert ended(summary) == [6, 2, 0, 0, 4, 4], "nobody vanishes"
        assert write_summary(folder, "dpo", "sft") == summary
    assert stopped.value.exit_code == 9
    fix = {"field": "max_completion_tokens", "temperature": "temperature: null", "answer": "lower `max_tokens`"}
    name = next(name for name, answer in FOR_ALL.items() if answer == (status, body))
    assert fix.get(name, "the same command goes on") in stopped.value.fix
    with Stub(by_quality) as stub:
        assert ended(judge(folder, stub.url, 6)) == [6, 6, 0, 0, 0, 0]


def test_a_server_that_is_gone_stops_at_once(folder):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
    with pytest.raises(ToolError, match=r"the judge does not answer: (?i:.*connect)"):
        judge(folder, url, 30, concurrency=1)


@pytest.mark.parametrize(
    "passing",
    [
        send(
            429,
            {"error": {"message": "Rate limit reached: Limit 9, Used 9. Please try again in 6ms."}},
            {"Retry-After": "0.1"},
        ),
        send(
            429,
            {"error": {"message": "You exceeded your current quota. Please retry in 0.1s."}},
            {"Retry-After": "0.1"},
        ),
        send(503, {"error": {"message": "Loading model", "type": "unavailable_error"}}, {"Retry-After": "0.1"}),
        send(529, {"error": {"message": "overloaded"}}, {"Retry-After": "0.1"}),
        after(2, say("늦었다")),
    ],
    ids=["rate limit", "allowance of a minute", "loading", "overloaded", "late"],
)
def test_what_passes_is_tried_again(folder, passing):
    with Stub(lambda p, n: passing if n == 1 else by_quality(p, n)) as stub:
        assert judge(folder, stub.url, 2, retries=1, timeout_s=0.5)["judged"] == 2
    assert len(stub.bodies) == 5


def test_a_refusal_binds_nothing(folder):
    """It is asked again where anything has changed: the server's context, the server, the answers; or on request."""
    with Stub(refusing(*TOO_LONG["vllm"])) as stub:
        judge(folder, stub.url, 3)
    with Stub(by_quality) as stub:
        assert judge(folder, stub.url, 3)["judged"] == 3, "another server"
        assert len(stub.bodies) == 4
    assert [row for row in rows(folder) if "refused" in row] == []
    with Stub(by_quality) as stub, pytest.raises(RunStateError, match="changed since: the judge"):
        judge(folder, stub.url, 3, temperature=0.5)


def test_a_longer_context_of_the_same_server_is_seen(folder):
    with Stub(refusing(*TOO_LONG["vllm"])) as stub:
        stub.max_model_len = 4096
        judge(folder, stub.url, 3, model=None)
        judge(folder, stub.url, 3, model=None)
        assert len(stub.bodies) == 6
        stub.max_model_len, stub.behave = 32768, by_quality
        assert judge(folder, stub.url, 3, model=None)["judged"] == 3
        assert len(stub.bodies) == 6 + 4


def test_what_was_refused_is_asked_again_on_request(folder):
    with Stub(refusing(*TOO_LONG["llama.cpp"])) as stub:
        judge(folder, stub.url, 3)
        for _ in range(2):
            judge(folder, stub.url, 3, again=True)
        judge(folder, stub.url, 3)
        assert len(stub.bodies) == 6 + 4 + 4
        stub.behave = by_quality
        assert judge(folder, stub.url, 3, again=True)["judged"] == 3


def test_refused_prompts_that_nobody_asks_for_any_more_go(folder):
    with Stub(refusing(*TOO_LONG["vllm"])) as stub:
        judge(folder, stub.url, 3)
        stub.behave = by_quality
        kept = prompt_set(3)
        shorter = type(kept)(kept.name, kept.prompts[2:], "")
        summary = judge(folder, stub.url, prompts=shorter)
    assert ended(summary) == [1, 1, 0, 0, 0, 0]


def test_nothing_but_refusals_is_no_success(folder):
    with Stub(lambda *_: send(*TOO_LONG["vllm"])) as stub:
        with pytest.raises(JudgeError, match=r"nothing .* could be read: 6 refused: the prompt is too long") as told:
            judge(folder, stub.url, 3)
        assert told.value.exit_code == 10
        assert ended(json.loads((folder / "summary.json").read_text(encoding="utf-8"))) == [3, 0, 0, 3, 0, 3]
        stub.behave = by_quality
        assert judge(folder, stub.url, 3)["judged"] == 3, "the same command goes on once the cause is mended"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (message({"content": None}), "an empty reply"),
        (message({"content": ""}), "an empty reply"),
        (message({"content": None}, "length"), "cut off at max_tokens: an empty reply"),
        (message({"content": '{"winner": "A", "rea'}, "length"), "cut off at max_tokens: a JSON object that is broken"),
        (message({"content": "<think>음"}, "length"), "cut off at max_tokens: the reply ends inside <think>"),
        (
            message({"content": None, "reasoning_content": '{"winner": "A"}'}, "length"),
            "no answer behind 15 characters",
        ),
        (message({"content": None, "reasoning": "음"}), "no answer behind 1 characters of thoughts"),
        (message({"content": "글쎄요"}), "no JSON object"),
    ],
)
def test_nothing_readable_is_no_success_and_says_why(folder, answer, cause):
    with Stub(lambda *_: answer) as stub:
        for _ in range(2):
            with pytest.raises(JudgeError, match=f"6 unreadable: .*{cause}"):
                judge(folder, stub.url, 3)
    assert len(stub.bodies) == 18
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert ended(summary) == [3, 0, 3, 0, 0, 3]


@pytest.mark.parametrize(
    "said",
    [
        {"content": '{"winner": "tie", "reason": "r"}', "reasoning_content": '{"winner": "A", "reason": "초안"}'},
        {
            "content": [
                {"type": "thinking", "thinking": []},
                {"type": "text", "text": '{"winner": "tie", "reason": "r"}'},
            ]
        },
        {
            "content": f"<think>{'생각 ' * 16_000}</think>" + '{"winner": "Tie", "reason": "\\(3\\%\\)\n\t"}',
            "refusal": None,
        },
    ],
    ids=["thoughts beside", "parts", "long thoughts"],
)
def test_what_is_said_beside_thoughts_is_read(folder, said):
    with Stub(lambda *_: message(said)) as stub:
        assert judge(folder, stub.url, 2)["ties"] == 2


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (message({"content": None}, "content_filter"), "a content filter of the judge"),
        (message({"content": None, "refusal": "I cannot help."}), "the judge declined to answer: I cannot help."),
        (send(200, {"error": {"code": 400, "message": "maximum context length is 9"}}), "too long"),
    ],
)
def test_a_refusal_with_status_200_is_one(folder, answer, why):
    with Stub(lambda p, n: answer if number(p) == 0 else by_quality(p, n)) as stub:
        summary = judge(folder, stub.url, 2)
    assert ended(summary) == [2, 1, 0, 1, 0, 1]
    assert why in summary["causes"][0]["why"]


def test_what_the_preset_says_is_sent(folder):
    changes = {"temperature": None, "max_tokens_field": "max_completion_tokens", "system": "detailed thinking off"}
    with Stub(lambda *_: verdict("A")) as stub:
        judge(folder, stub.url, 1, extra_body={"top_k": 1}, **changes)
    body = stub.bodies[0]
    assert body.pop("messages")[0] == {"role": "system", "content": "detailed thinking off"}
    assert body == {"model": "심판", "max_completion_tokens": 64, "top_k": 1}


def test_command_and_report_say_what_became_of_all(alphaf, folder, tmp_path):
    paths = RunPaths(folder.parents[1])
    with Stub(refusing(*TOO_LONG["vllm"], first=12)) as stub:
        judge(folder, stub.url, 30)
        asked = len(stub.bodies)
    assert asked == 60
    paths.manifest.write_text(json.dumps({"format": 1, "stages": {}}), encoding="utf-8")
    paths.config.write_text(yaml.safe_dump({"model": "tiny"}), encoding="utf-8")
    shown = alphaf("judge", "--run", "r", "--a", "dpo", "--b", "sft", "--summary")
    assert shown.exit_code == 0, shown.stderr
    assert "prompts: 18 judged, 12 refused" in shown.stdout
    assert "why: refused, 24 questions: the prompt is too long for the judge: HTTP 400" in shown.stdout
    told = [note.text for note in judge_warnings(judged(paths))]
    assert [text.en for text in told if "18 judged, 12 refused" in text.en]
    assert [text.ko for text in told if "판정 18, 거부 12" in text.ko]
    assert [text for text in told if "too long" in text.ko and "24" in text.ko]
