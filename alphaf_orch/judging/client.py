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

CONNECT_S = 10.0
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
# Another try, or another question, would meet the same answer.
_FOR_GOOD = (401, 403, 404)


@dataclass(frozen=True)
class Reply:
    """What the judge said, and what it cost where the server counts."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None


class NoReplyError(Exception):
    """A request that was not answered after all its tries; `for_good` where no other will be either."""

    def __init__(self, what: str, *, for_good: bool = False) -> None:
        super().__init__(what)
        self.for_good = for_good


class _Bounded(openai.DefaultAsyncHttpxClient):
    """Gives each try an end: a server that drips bytes never meets the library's limit, which is between two bytes."""

    def __init__(self, seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = seconds

    async def send(self, request: Any, **options: Any) -> Any:
        """Return the response with its body, or raise TimeoutError."""
        async with asyncio.timeout(self._seconds):
            return await super().send(request, **options)


class JudgeClient:
    """Sends prompts to one server and nowhere else; use as an async context manager."""

    def __init__(self, preset: JudgePreset) -> None:
        self._preset, self._key = preset, preset.key()
        remember(self._key or "")
        self.model = preset.model or ""

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
                ) from None
            listed = body.get("data")
            names = [str(row.get("id")) for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
            if len(names) != 1:
                raise ConfigError(
                    f"the server lists {', '.join(names) or 'no model'}: one judge must be named",
                    where=f"{self._preset.url}/models",
                    fix="say --judge-model NAME",
                )
            self.model = names[0]
        return self.model

    async def ask(self, prompt: str) -> Reply:
        """Return the reply to a prompt; raise NoReplyError when all tries failed."""
        preset = self._preset
        call = self._client.chat.completions.with_raw_response.create(
            model=self.model,
            messages=[{"role": "user", "content": prompt}],
            temperature=preset.temperature,
            max_tokens=preset.max_tokens,
            extra_body=preset.extra_body or None,
        )
        body = await self._ask(call)
        try:
            text = body["choices"][0]["message"]["content"]
        except (LookupError, TypeError):
            raise NoReplyError("the server's answer holds no message") from None
        if text is not None and not isinstance(text, str):
            raise NoReplyError("the server's message is no text")
        usage = body.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        # What is cut or parsed later is masked before: half a key would not be known for one.
        return Reply(mask(text or ""), _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))

    async def _ask(self, call: Any) -> dict[str, Any]:
        """Return the JSON object that the server answers with, whatever goes wrong named in one NoReplyError."""
        try:
            raw = await call
            body = json.loads(raw.content)
        except openai.APIStatusError as error:
            said = mask(" ".join(error.response.text.split()))[:300]
            what = f"HTTP {error.status_code}: {said}"
            redirect = error.status_code < 400
            raise NoReplyError(what, for_good=redirect or error.status_code in _FOR_GOOD) from None
        except (openai.APITimeoutError, TimeoutError):
            raise NoReplyError(f"no answer within {self._preset.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            raise NoReplyError(mask(f"{error.__cause__ or error}")) from None
        except (ValueError, RecursionError):
            raise NoReplyError("the server's answer is no JSON") from None
        if not isinstance(body, dict):
            raise NoReplyError("the server's answer is no JSON object")
        return body


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
