"""A webhook on the loopback: keeps what it is told, and answers as a test wishes."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote


class Told(ThreadingHTTPServer):
    """Use as a context manager; `codes` are answered in turn, the last one for ever; `hold` until `go` is set."""

    daemon_threads = True

    def __init__(self, *codes: int, location: str = "", hold: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.codes, self.location, self.hold = list(codes or (200,)), location, hold
        self.go = threading.Event()
        self.bodies: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hooks/{'q1w2e3r4t5' * 3}?room=비밀방"

    def __enter__(self) -> Told:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Told

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        server.raw.append(body)
        server.bodies.append(json.loads(body))
        server.paths.append(self.path)
        server.headers.append(dict(self.headers))
        if server.hold:
            server.go.wait(60)
        code = server.codes.pop(0) if len(server.codes) > 1 else server.codes[0]
        self.send_response(code)
        if server.location:
            self.send_header("Location", quote(server.location, safe=":/?="))
        self.send_header("Content-Length", "2")
        self.end_headers()
        with contextlib.suppress(OSError):  # it was given up
            self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        pass
