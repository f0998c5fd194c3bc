"""One request: what is sent, and what each way of failing is called."""

import asyncio
import socket
import time

import pytest
from judge_stub import PRESET, Stub, after, drip, half, hang_up, say, send

from alphaf_orch.core.errors import ConfigError, ToolError
from alphaf_orch.judging.client import JudgeClient, NoReplyError, Reply
from alphaf_orch.judging.preset import JudgePreset


def ask(url: str, prompt: str = "질문", **changes) -> Reply:
    async def work() -> Reply:
        async with JudgeClient(JudgePreset(**{**PRESET, "url": url, **changes})) as client:
            await client.find_model()
            return await client.ask(prompt)

    return asyncio.run(work())


def find_model(url: str, **changes) -> str:
    async def work() -> str:
        async with JudgeClient(JudgePreset(**{**PRESET, "url": url, "model": None, **changes})) as client:
            return await client.find_model()

    return asyncio.run(work())


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def test_a_reply_and_its_tokens():
    with Stub(lambda *_: say("예")) as stub:
        assert ask(stub.url) == Reply("예", 100, 10)
    assert stub.paths == ["/v1/chat/completions"]
    assert stub.bodies == [
        {"model": "심판", "messages": [{"role": "user", "content": "질문"}], "temperature": 0.0, "max_tokens": 64}
    ]


def test_no_count_and_no_text_are_no_failures():
    with Stub(lambda *_: say(None, usage=False)) as stub:
        assert ask(stub.url) == Reply("", None, None)


def test_further_fields_reach_the_server():
    with Stub(lambda *_: say("예")) as stub:
        ask(stub.url, extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    assert stub.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_nothing_of_the_environment_is_sent_along(monkeypatch):
    """Keys, organisations and proxies set for other programs concern no judge."""
    proxy = Stub(lambda *_: say("대리"))
    with Stub(lambda *_: say("예")) as stub, proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("OPENAI_API_KEY", "sk-elsewhere")
        monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: 1\nAuthorization: Bearer sk-ambient")
        assert ask(stub.url).text == "예"
    assert proxy.bodies == []
    assert {name.lower() for name in stub.headers[0]} <= {
        "host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent",
        "x-stainless-raw-response",
    }  # fmt: skip
    assert "secret" not in str(stub.headers) and "sk-" not in str(stub.headers)


def test_the_key_is_sent_and_never_repeated(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    with Stub(lambda *_: send(401, {"error": {"message": "bad key s3cret"}})) as stub:
        with pytest.raises(NoReplyError) as caught:
            ask(stub.url, api_key_env="JUDGE_KEY")
        assert stub.headers[0]["Authorization"] == "Bearer s3cret"
    assert caught.value.for_good
    assert "s3cret" not in str(caught.value)
    assert "HTTP 401" in str(caught.value)


@pytest.mark.parametrize(
    ("behave", "what", "for_good"),
    [
        (send(500, {"error": "속이 비었다"}), "HTTP 500", False),
        (send(400, {"error": {"message": "context length"}}), "HTTP 400: .*context length", False),
        (send(404, {"error": {"message": "no model"}}), "HTTP 404", True),
        (send(307, b"", {"Location": "http://127.0.0.1:9/v1"}), "HTTP 307", True),
        (send(200, b"<html>proxy</html>"), "no JSON$", False),
        (send(200, b"\xff\xfe"), "no JSON$", False),
        (send(200, b"[" * 100_000), "no JSON$", False),
        (send(200, []), "no JSON object", False),
        (send(200, {}), "no message", False),
        (send(200, {"choices": []}), "no message", False),
        (send(200, {"choices": None}), "no message", False),
        (send(200, {"choices": [{"message": None}]}), "no message", False),
        (send(200, {"choices": [{"message": {"content": [1]}}]}), "no text", False),
        (half, "closed|incomplete|disconnected", False),
        (hang_up, "disconnected", False),
        (after(3, say("늦었다")), "no answer within 0.5 s", False),
        (drip, "no answer within 0.5 s", False),
    ],
)
def test_every_failure_has_a_name(behave, what, for_good):
    started = time.monotonic()
    with Stub(lambda *_: behave) as stub, pytest.raises(NoReplyError, match=what) as caught:
        ask(stub.url, timeout_s=0.5)
    assert caught.value.for_good == for_good
    assert len(stub.bodies) == 1
    assert time.monotonic() - started < 5


def test_it_tries_again_with_growing_pauses():
    with Stub(lambda _, n: say("예") if n == 3 else send(500, {})) as stub:
        assert ask(stub.url, retries=2).text == "예"
    first, second = (b - a for a, b in zip(stub.times, stub.times[1:], strict=False))
    assert first > 0.3 and second > 0.7


def test_it_waits_as_long_as_the_server_says():
    with Stub(lambda _, n: say("예") if n == 2 else send(429, {}, {"Retry-After": "1.4"})) as stub:
        assert ask(stub.url, retries=1).text == "예"
    assert stub.times[1] - stub.times[0] > 1.3


def test_a_server_that_is_not_there():
    with pytest.raises(NoReplyError, match=r"(?i:connect)"):
        ask(f"http://127.0.0.1:{free_port()}/v1")


def test_the_model_is_the_only_one_that_the_server_lists():
    with Stub(lambda *_: say("예")) as stub:
        assert find_model(stub.url) == "심판"
        assert find_model(stub.url, model="다른") == "다른"
        for models in ([], ["하나", "둘"]):
            stub.models = models
            with pytest.raises(ConfigError, match="one judge must be named"):
                find_model(stub.url)
    with pytest.raises(ToolError, match="the judge does not answer"):
        find_model(f"http://127.0.0.1:{free_port()}/v1")
