"""A server on the loopback that answers like an OpenAI-compatible one, or fails as a test wishes."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]
PRESET = {
    "model": "심판",
    "api_key_env": None,
    "temperature": 0.0,
    "max_tokens": 64,
    "timeout_s": 5,
    "concurrency": 4,
    "retries": 0,
    "max_failures": 100,
    "template": "ko",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: Stub

    def do_POST(self) -> None:
        stub = self.server.stub  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with stub.lock:
            stub.bodies.append(body)
            stub.headers.append(dict(self.headers))
            stub.paths.append(self.path)
            stub.times.append(time.monotonic())
            number = len(stub.bodies)
            stub.in_flight += 1
            stub.most_in_flight = max(stub.most_in_flight, stub.in_flight)
        try:
            stub.behave(body["messages"][-1]["content"], number)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has given up
        finally:
            with stub.lock:
                stub.in_flight -= 1

    def do_GET(self) -> None:
        stub = self.server.stub  # type: ignore[attr-defined]
        context = {"max_model_len": stub.max_model_len} if stub.max_model_len else {}
        send(200, {"object": "list", "data": [{"id": name, **context} for name in stub.models]})(self)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class Stub:
    """Runs the server; `behave(prompt, n)` says what the n-th request gets."""

    def __init__(self, behave: Callable[[str, int], Answer]) -> None:
        self.behave = behave
        self.models = ["심판"]
        self.max_model_len: int | None = None
        self.lock = threading.Lock()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.in_flight = self.most_in_flight = 0

    def __enter__(self) -> Stub:
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.stub = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def prompts(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.bodies]


def send(status: int, value: Any, headers: dict[str, str] | None = None) -> Answer:
    """Answer with a JSON value, or with bytes as they are."""

    def answer(handler: Handler) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        for name, text in (headers or {}).items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def say(text: str | None, *, usage: bool = True) -> Answer:
    """Answer as a chat completion does."""
    body: dict[str, Any] = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "심판",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return send(200, body)


def message(said: dict[str, Any], finish: str = "stop") -> Answer:
    """Answer with a message as a server puts it, and why it ended."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **said}}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return send(200, {"object": "chat.completion", "choices": [choice], "usage": usage})


def refuse(status: int, text: str, **more: Any) -> Answer:
    """Refuse as OpenAI-compatible servers do."""
    return send(status, {"error": {"message": text, **more}})


def verdict(winner: str, reason: str = "정확하다") -> Answer:
    return say(json.dumps({"winner": winner, "reason": reason}, ensure_ascii=False))


def after(seconds: float, then: Answer) -> Answer:
    """Answer later."""

    def answer(handler: Handler) -> None:
        time.sleep(seconds)
        then(handler)

    return answer


def drip(handler: Handler) -> None:
    """Send a byte now and then and never come to an end."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def half(handler: Handler) -> None:
    """Promise more than is sent, then close."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.wfile.flush()
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    """Close without a word."""
    handler.close_connection = True


def blocks(prompt: str) -> tuple[str, str]:
    """Return what a prompt shows as the answers A and B."""
    found = re.findall(r"<<<답변 [AB] 시작 \w+>>>\n(.*?)\n<<<답변 [AB] 끝 \w+>>>", prompt, flags=re.DOTALL)
    return found[0], found[1]
