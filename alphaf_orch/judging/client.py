"""One judge behind an OpenAI-compatible endpoint: a prompt goes in, its reply and token counts come out."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import openai

from alphaf_orch.core.errors import ConfigError, ToolError
from alphaf_orch.core.masking import mask, remember
from alphaf_orch.judging.preset import JudgePreset
from alphaf_orch.judging.refusals import WORDS, Kind, hint, kind_of, message

CONNECT_S = 10.0
_SAID = 300  # characters of an error that are kept
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # fields of vLLM, SGLang and llama.cpp; OpenRouter; Ollama
# Everything else that the library adds (machine, Python, organisation) is nobody's business. The last one is how it
# remembers that we want to read the body ourselves.
_HEADERS = {
    "host",
    "accept",
    "accept-encoding",
    "connection",
    "content-type",
    "content-length",
    "user-agent",
    "x-stainless-raw-response",
}


@dataclass(frozen=True)
class Reply:
    """What the judge said, and what it cost where the server counts.

    `cut` where max_tokens ended it; `thoughts` are the characters that the server tells apart from the answer.
    """

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cut: bool = False
    thoughts: int = 0


class NoReplyError(Exception):
    """A request that was not answered after all its tries; `for_good` where no other will be either.

    `fix` says what to do about it where that is known.
    """

    def __init__(self, what: str, *, for_good: bool = False, fix: str | None = None) -> None:
        super().__init__(what)
        self.for_good = for_good
        self.fix = fix


class RefusedError(NoReplyError):
    """A request that is refused for what it asks, whoever asks it again; others may be answered."""

    def __init__(self, kind: Kind, what: str) -> None:
        super().__init__(what)
        self.kind = kind


class _Bounded(openai.DefaultAsyncHttpxClient):
    """Gives each try an end: a server that drips bytes never meets the library's limit, which is between two bytes.

    An answer that another try would meet again is marked so, as the library wants it: of status 429 and 5xx too.
    """

    def __init__(self, seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = seconds

    async def send(self, request: Any, **options: Any) -> Any:
        """Return the response with its body, or raise TimeoutError."""
        async with asyncio.timeout(self._seconds):
            response = await super().send(request, **options)
            if response.status_code >= 400:
                await response.aread()
                if kind_of(response.status_code, response.text):
                    response.headers["x-should-retry"] = "false"
            return response


class JudgeClient:
    """Sends prompts to one server and nowhere else; use as an async context manager."""

    def __init__(self, preset: JudgePreset) -> None:
        self._preset, self._key = preset, preset.key()
        remember(self._key or "")
        self.model = preset.model or ""
        self.context: int | None = None  # tokens that the server says a request may have

    async def __aenter__(self) -> JudgeClient:
        preset = self._preset
        http = _Bounded(
            2 * preset.timeout_s,
            trust_env=False,  # no proxy and no .netrc of the environment
            follow_redirects=False,
            verify=ssl.create_default_context(),  # the machine's own certificates, or SSL_CERT_FILE
            event_hooks={"request": [self._strip]},
        )
        timeout = openai.Timeout(preset.timeout_s, connect=min(CONNECT_S, preset.timeout_s))
        self._client = openai.AsyncOpenAI(
            base_url=preset.url, api_key="none", max_retries=preset.retries, timeout=timeout, http_client=http
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def _strip(self, request: Any) -> None:
        for name in [name for name in request.headers if name.lower() not in _HEADERS]:
            del request.headers[name]
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"

    async def find_model(self) -> str:
        """Return the judge's model: the preset's, else the only one that the server lists.

        Raises ToolError where there is no server and ConfigError where it has none or several models.
        """
        if not self.model:
            try:
                body = await self._ask(self._client.models.with_raw_response.list())
            except NoReplyError as error:
                raise ToolError(
                    f"the judge does not answer: {error}",
                    where=f"{self._preset.url}/models",
                    fix="start the server, or name another with --judge URL; answers that are made already are kept",
                    code="tool.no_answer",
                ) from None
            listed = body.get("data")
            listed = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
            names = [str(row.get("id")) for row in listed]
            if len(names) != 1:
                raise ConfigError(
                    f"the server lists {', '.join(names) or 'no model'}: one judge must be named",
                    where=f"{self._preset.url}/models",
                    fix="say --judge-model NAME",
                    code="config.server_model",
                )
            self.model = names[0]
            self.context = _count(listed[0].get("max_model_len"))  # vLLM and SGLang tell it
        return self.model

    async def ask(self, prompt: str) -> Reply:
        """Return the reply to a prompt; raise NoReplyError when all tries failed, RefusedError where none helps."""
        preset = self._preset
        system = [{"role": "system", "content": preset.system}] if preset.system else []
        sampling = {} if preset.temperature is None else {"temperature": preset.temperature}
        create: Any = self._client.chat.completions.with_raw_response.create
        call = create(
            model=self.model,
            messages=[*system, {"role": "user", "content": prompt}],
            **sampling,
            **{preset.max_tokens_field: preset.max_tokens},
            extra_body=preset.extra_body or None,
        )
        return _reply(await self._ask(call))

    async def _ask(self, call: Any) -> dict[str, Any]:
        """Return the JSON object that the server answers with, whatever goes wrong named in one NoReplyError."""
        try:
            raw = await call
            body = json.loads(raw.content)
        except openai.APIStatusError as error:
            raise _refused(error.status_code, error.response.text) from None
        except (openai.APITimeoutError, TimeoutError):
            raise NoReplyError(f"no answer within {self._preset.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            # Nobody listens there, or the name is of no machine: the other questions go the same way.
            absent = type(error.__cause__).__name__ == "ConnectError"
            raise NoReplyError(mask(f"{error.__cause__ or error}"), for_good=absent) from None
        except (ValueError, RecursionError):
            raise NoReplyError("the server's answer is no JSON") from None
        if not isinstance(body, dict):
            raise NoReplyError("the server's answer is no JSON object")
        return body


def _reply(body: dict[str, Any]) -> Reply:
    """Return what the judge said; raise NoReplyError where the body holds no message, RefusedError for a refusal."""
    try:
        choice = body["choices"][0]
        said = choice["message"]
    except (LookupError, TypeError):
        raise _without_message(body) from None
    if not isinstance(said, dict):
        raise _without_message(body)
    text, ended = _text(said.get("content")), choice.get("finish_reason")
    if not text and (ended == "content_filter" or said.get("refusal")):
        kind: Kind = "filtered" if ended == "content_filter" else "declined"
        raise RefusedError(kind, mask(f"{WORDS[kind]}: {said.get('refusal') or 'an empty reply'}")[:_SAID])
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    counts = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    thoughts = next((each for name in _THOUGHTS if isinstance(each := said.get(name), str)), "")
    # What is cut or parsed later is masked before: half a key would not be known for one.
    return Reply(mask(text), *counts, cut=ended == "length", thoughts=len(thoughts))


def _refused(status: int, body: str) -> NoReplyError:
    """Return what an answer of this status is; its first words are the reason, or the status itself."""
    kind, told = kind_of(status, body), mask(" ".join(body.split()))[:_SAID]
    if kind is None or kind == "for_all":
        fix = hint(message(body)) if kind else None
        return NoReplyError(f"HTTP {status}: {told}", for_good=kind is not None, fix=fix)
    return RefusedError(kind, f"{WORDS[kind]}: HTTP {status}: {told}")


def _without_message(body: dict[str, Any]) -> NoReplyError:
    """Return what a body with status 200 and no message is: some gateways put the error of another server there."""
    error = body.get("error")
    if not error:
        return NoReplyError("the server's answer holds no message")
    code = error.get("code") if isinstance(error, dict) else None
    return _refused(code if isinstance(code, int) else 500, json.dumps({"error": error}, ensure_ascii=False))


def _text(content: object) -> str:
    """Return the text of a message, of several parts too; raise NoReplyError where it is anything else."""
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        texts = (part.get("text") for part in content if part.get("type") in ("text", "output_text"))
        content = "".join(text for text in texts if isinstance(text, str))
    if not isinstance(content, str):
        raise NoReplyError("the server's message is no text")
    return content


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
