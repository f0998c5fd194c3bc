"""Sends a message: to a command of the user's, and to a webhook; both in bounded time, what goes wrong in one line."""

from __future__ import annotations

import html
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from alphaf_orch.core.command import probes
from alphaf_orch.core.errors import AlphafError, ConfigError
from alphaf_orch.core.masking import mask, remember
from alphaf_orch.core.names import expanded
from alphaf_orch.core.small_files import small_text
from alphaf_orch.core.tail import one_line
from alphaf_orch.core.warm import PLACE
from alphaf_orch.runs.notify.message import Message
from alphaf_orch.settings.notify import HOW, Notify

_SAID = 200  # characters of an answer that are repeated
_AGAIN_S = 1.0  # between two tries: of a connection that failed, and of an answer that says to come again
_LATE = "no answer in time"
_COME_AGAIN = (429, 502, 503, 504)
_ADDRESS_BYTES = 8192  # of a file with one address; ours
_LONG = 16  # letters of an address that no two people choose; ours
_KEPT = "%/:=&?~#+!$,;'@()*[]"


class NotTold(Exception):
    """A message that did not arrive, with the reason."""


def checked(notify: Notify) -> tuple[str, ...]:
    """Return who is told, as it is said before the run starts; raise ConfigError for what cannot be reached at all."""
    found = []
    if notify.command:
        program = notify.command[0]
        if not shutil.which(program):
            raise ConfigError(
                f"the command of notify cannot be run: {program}",
                where="key notify.command",
                fix="name a program that exists and may be executed, by its whole path",
                code="config.cannot_run",
            )
        found.append(f"the command {program}")
    if notify.webhook_env or notify.webhook_file:
        found.append(f"{address(notify).hostname} (a webhook)")
    return tuple(found)


def address(notify: Notify) -> SplitResult:
    """Return the address of the webhook, masked from here on; raise ConfigError, which does not repeat it."""
    name, file = notify.webhook_env, notify.webhook_file
    if name:
        text, where = os.environ.get(name, ""), f"the variable {name}, of notify.webhook_env"
    else:
        where = f"{file}, of notify.webhook_file"
        try:
            text = small_text(expanded(str(file)), most=_ADDRESS_BYTES, subject="the file of the webhook is ")
        except FileNotFoundError:
            raise ConfigError(
                "the file with the webhook's address is not there", where=where, fix=HOW, code="config.file_missing"
            ) from None
    text = text.strip()
    if not text:
        raise ConfigError(
            "there is no address for the webhook", where=where, fix=f"set it; {HOW}", code="config.no_value"
        )
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() or not c.isprintable() for c in text):
        fix = "give one line: http:// or https://, a host, and what the service gave you behind it"
        raise ConfigError(
            "the webhook's address is none of http or https", where=where, fix=fix, code="config.not_an_address"
        )
    if parts.username is not None:
        fix = "use a webhook whose address is all that it needs, or a command"
        raise ConfigError(
            "the webhook's address has a user's name in it", where=where, fix=fix, code="config.holds_secret"
        )
    # Of one that is a host alone nothing is secret, and a word of one's own is not to be masked everywhere.
    found = ((text, len(parts.path) > 1 or parts.query), (parts.path, len(parts.path) >= _LONG))
    for secret, is_one in (*found, (parts.query, len(parts.query) >= _LONG)):
        if is_one:
            remember(secret)
    return parts


def readable_by_others(notify: Notify) -> str:
    """Return the file of the address where others than its owner can read it; else nothing."""
    file = expanded(notify.webhook_file) if notify.webhook_file else None
    return str(file) if file and file.is_file() and file.stat().st_mode & 0o077 else ""


def send(notify: Notify, told: Message) -> list[str]:
    """Tell whoever is named, and return what went wrong, in words; nothing that goes wrong is raised."""
    ways: list[Callable[[Notify, Message], None]] = []
    ways += [_to_command] if notify.command else []
    ways += [_to_webhook] if notify.webhook_env or notify.webhook_file else []
    problems: list[str] = []
    for way in ways:
        try:
            way(notify, told)
        except (NotTold, AlphafError, OSError) as problem:
            what = f"{problem.what} ({problem.where})" if isinstance(problem, AlphafError) else str(problem)
            problems.append(mask(what))
        except KeyboardInterrupt:  # the run has ended as it has
            problems.append("interrupted")
    return problems


def variables(told: Message, payload: Mapping[str, Any]) -> dict[str, str]:
    """Return the message as the variables that a command gets beside the JSON on its standard input."""
    known = {key: payload.get(key, "") for key in (*vars(told), "text")}
    return {f"ALPHAF_NOTIFY_{key.upper()}": str(value) for key, value in known.items()}


def _to_command(notify: Notify, told: Message) -> None:
    payload = told.payload(notify.lang)
    env = {key: value for key, value in os.environ.items() if key != PLACE} | variables(told, payload)
    with tempfile.TemporaryFile() as given:
        given.write(json.dumps(payload, ensure_ascii=False).encode() + b"\n")
        given.flush()
        given.seek(0)
        (ended,) = probes([notify.command], env, notify.timeout, given.fileno())
    name = Path(notify.command[0]).name
    if ended.exit_code is None:
        raise NotTold(f"{name} did not end within {notify.timeout:g} s and was ended")
    if ended.exit_code:
        last = (ended.output.strip().splitlines() or [""])[-1][:_SAID]
        raise NotTold(f"{name} exited with {ended.exit_code}{f': {last}' if last else ''}")


def _to_webhook(notify: Notify, told: Message) -> None:
    parts = address(notify)
    payload = told.payload(notify.lang)
    # Slack's control characters (docs: escaping text); Mattermost and Teams show the entities as what they stand for.
    payload["text"] = html.escape(payload["text"], quote=False)
    body = json.dumps(payload, ensure_ascii=False).encode()
    end = time.monotonic() + notify.timeout
    problem: list[str] = []
    # A thread: neither a name that is looked up for long nor an answer that drips is bounded by a socket's time-out.
    posting = threading.Thread(target=_post, args=(parts, body, end, problem), name="notify", daemon=True)
    posting.start()
    posting.join(notify.timeout)
    if posting.is_alive() or _LATE in problem:
        raise NotTold(f"{parts.hostname} did not answer within {notify.timeout:g} s")
    if problem:
        raise NotTold(f"{parts.hostname}: {problem[-1]}")


def _post(parts: SplitResult, body: bytes, end: float, problem: list[str]) -> None:
    """POST until it is taken, refused or too late; `problem` has what came of it, nothing where it was taken."""
    problem.append("nothing was sent")
    while True:
        again, found = _try(parts, body, max(0.1, end - time.monotonic()))
        problem[:] = [found] if found else []
        if not again or time.monotonic() + _AGAIN_S > end:
            return
        time.sleep(_AGAIN_S)


def _said_by(answer: IO[bytes]) -> str:
    """Return what stands in the answer of a server that refused; nothing where it broke off, or steers a terminal."""
    from http.client import HTTPException

    try:
        text = answer.read(_SAID * 4).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return ""
    return one_line(" ".join(text.split()))[:_SAID]


def _try(parts: SplitResult, body: bytes, seconds: float) -> tuple[bool, str]:
    """Return whether another try may help, and what went wrong; nothing where the message was taken."""
    from http.client import HTTPException  # here and below: a run that tells nobody does not import them
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class _NoRedirects(HTTPRedirectHandler):
        def redirect_request(self, *_args: Any) -> None:
            return None

    path = quote(parts.path, safe=_KEPT) or "/"
    url = urlunsplit((parts.scheme, parts.netloc, path, quote(parts.query, safe=_KEPT), ""))
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "alphaf"}
    try:
        with build_opener(_NoRedirects).open(Request(url, body, headers, method="POST"), timeout=seconds):
            return False, ""
    except HTTPError as answer:
        with answer:
            said = _said_by(answer)
        if 300 <= answer.code < 400:
            to = urlsplit(answer.headers.get("Location", "")).hostname or "elsewhere"
            return False, f"HTTP {answer.code}, a redirect to {to}, which is not followed"
        return answer.code in _COME_AGAIN, f"HTTP {answer.code}{f': {said}' if said else ''}"
    except TimeoutError:
        return False, _LATE
    except URLError as error:  # it came no further than to the door
        return True, _LATE if isinstance(error.reason, TimeoutError) else mask(str(error.reason))
    except (OSError, HTTPException, ValueError) as error:  # it may have arrived
        return False, mask(str(error) or type(error).__name__)
