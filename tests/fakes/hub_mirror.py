"""A mirror of the hub on loopback: what huggingface_hub asks to list and download a repository at a commit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Files = Mapping[str, bytes]


def commit(repo: str) -> str:
    return hashlib.sha1(repo.encode()).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Mirror:
    """Its address, what was asked of it, and what it does wrong on purpose."""

    def __init__(self, repos: Mapping[str, Files]) -> None:
        self.repos = repos
        self.asked: list[str] = []
        self.gated: set[str] = set()
        self.changed: dict[str, bytes] = {}  # content of a file that is served in place of the listed one
        self.url = ""

    def listing(self, repo: str) -> dict[str, Any]:
        siblings = []
        for name, content in self.repos[repo].items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git_hash(content)}
            if name.endswith((".safetensors", ".bin", ".parquet")):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        return {
            "id": repo,
            "sha": commit(repo),
            "siblings": siblings,
            "gated": "manual" if repo in self.gated else False,
        }


@contextlib.contextmanager
def mirror(repos: Mapping[str, Files]) -> Iterator[Mirror]:
    """Serve the repositories, `models/ORG/NAME` and `datasets/ORG/NAME`, until the end of the block."""
    made = Mirror(repos)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0].strip("/")
            made.asked.append(f"{self.command} {path}")
            if path.endswith("/auth-check"):
                self._send(401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"}, body=body)
            elif path.startswith("api/"):
                repo = path.removeprefix("api/").partition("/revision/")[0]
                self._send(
                    200, json.dumps(made.listing(repo)).encode(), {"Content-Type": "application/json"}, body=body
                )
            else:
                repo, _, rest = path.partition("/resolve/")
                repo = repo if repo.startswith("datasets/") else f"models/{repo}"
                name = rest.partition("/")[2]
                content = made.changed.get(name, made.repos[repo][name])
                tags = {"ETag": f'"{git_hash(made.repos[repo][name])}"', "X-Repo-Commit": commit(repo)}
                self._send(200, content, tags, body=body)

        def _send(self, code: int, content: bytes, headers: Mapping[str, str], *, body: bool) -> None:
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
