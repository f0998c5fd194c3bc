"""A loopback server that answers as vLLM's /v1/completions does, from a model in this process: ids in, greedy out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Model:
    """A causal language model with what the two endpoints need of it."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.lock = threading.Lock()

    def complete(self, ids: list[int], count: int) -> tuple[str, list[int]]:
        """Return the greedy answer's text and ids."""
        import torch

        with self.lock, torch.no_grad():
            made = self.model.generate(torch.tensor([ids]), max_new_tokens=count, do_sample=False)[0][len(ids) :]
        return str(self.tokenizer.decode(made, skip_special_tokens=True)), made.tolist()

    def logprobs(self, ids: list[int]) -> dict[str, Any]:
        """Return the log probability of each token behind the ones before it, and the likeliest one's."""
        import torch

        with self.lock, torch.no_grad():
            table = torch.log_softmax(self.model(torch.tensor([ids])).logits[0], dim=-1)
        own = [None, *(float(table[at - 1, ids[at]]) for at in range(1, len(ids)))]
        top = [None, *({"t": float(table[at - 1].max())} for at in range(1, len(ids)))]
        return {"token_logprobs": own, "top_logprobs": top}


def answer(model: Model, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the response to one request."""
    if path.endswith("/chat/completions"):
        messages = [{"role": message["role"], "content": message["content"]} for message in body["messages"]]
        ids = model.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        text, _ = model.complete(ids, body["max_tokens"])
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    choices = []
    for number, ids in enumerate(body["prompt"]):
        assert all(isinstance(token, int) for token in ids), "prompts come as ids"
        text, made = model.complete(ids, body["max_tokens"])
        choice: dict[str, Any] = {"index": number, "text": text}
        if body.get("echo"):
            choice["logprobs"] = model.logprobs([*ids, made[0]])
        choices.append(choice)
    return {"choices": choices}


@contextmanager
def serving(folder: Path, name: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve the model on a free port of this machine; yield the address and the requests that came."""
    model, asked = Model(folder), []

    class Handler(BaseHTTPRequestHandler):
        def _say(self, value: dict[str, Any]) -> None:
            body = json.dumps(value, ensure_ascii=False).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._say({"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "us"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"path": self.path, "authorization": self.headers.get("Authorization"), **body})
            self._say(answer(model, self.path, body))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
