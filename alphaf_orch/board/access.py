"""Who may ask the board: whoever has its token, by a loopback name; what a browser may do with what it answers.

The token stands in the address that the terminal prints, and from there on in a header: a cookie would be sent to
every port of this machine, another user's among them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# The local end of `ssh -L` may have any port, and none but these names: one of somebody's own that leads to 127.0.0.1
# is how a page elsewhere would read what is here (DNS rebinding).
_HOSTS = {"localhost", "127.0.0.1", "::1"}
PAGE = "/page/"
_TICKET_CHARS = 43  # a SHA-256 in base 64 would have as many; of hex, 172 bits

_BOARD = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A report has scripts of its own. In a sandbox it is of no origin: it reads nothing of the board's and asks nobody.
REPORT = (
    "sandbox allow-scripts allow-modals allow-downloads; default-src 'none'; script-src 'unsafe-inline';"
    " style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _BOARD,
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


@dataclass(frozen=True)
class Token:
    """The secret of one board, of 256 bits; in no log and in no file."""

    value: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def fits(self, given: str) -> bool:
        """Return whether it is that; takes the same time whatever was given."""
        return hmac.compare_digest(given.encode(), self.value.encode())

    def ticket(self, page: str) -> str:
        """Return what opens one report, and tells whoever reads it nothing of the token."""
        return hmac.new(self.value.encode(), page.encode(), hashlib.sha256).hexdigest()[:_TICKET_CHARS]

    def opens(self, ticket: str, page: str) -> bool:
        """Return whether a ticket is that of the page."""
        return hmac.compare_digest(ticket.encode(), self.ticket(page).encode())


class Guard:
    """Lets through what has the token and was asked by a loopback name; sets the headers of every answer."""

    def __init__(self, app: App, token: Token, public: Mapping[str, Any], locked: bytes, *, post: bool) -> None:
        self._app, self._token, self._public, self._locked = app, token, public, locked
        self._methods = ("GET", "HEAD", "POST") if post else ("GET", "HEAD")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer, or have the board answer."""
        if scope["type"] != "http":  # no websocket, and nothing is done at the start
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in own]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        refused = self._refused(scope, headers)
        if refused is None:
            await self._app(scope, receive, guarded)
            return
        code, body = refused
        kind = b"text/html; charset=utf-8" if body is self._locked else b"text/plain; charset=utf-8"
        extra = [(b"allow", ", ".join(self._methods).encode())] if code == 405 else []
        start = {"type": "http.response.start", "status": code, "headers": [(b"content-type", kind), *extra]}
        await guarded(start)
        await guarded({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _refused(self, scope: Message, headers: Mapping[str, str]) -> tuple[int, bytes] | None:
        if _host_of(headers.get("host", "")) not in _HOSTS:
            return 403, b"this board answers to localhost and 127.0.0.1 alone\n"
        if scope["method"] not in self._methods:
            return 405, b"this board only shows\n"
        path = scope["path"]
        if scope["method"] in ("GET", "HEAD") and (path in self._public or path.startswith(PAGE)):
            return None  # nothing of anybody's; a page asks for its ticket
        if not self._token.fits(_given(scope, headers)):
            # A browser gets a page whose script knows the token if this tab was open before.
            return 403, self._locked if path == "/" else b"say the token that the terminal printed\n"
        if scope["method"] not in ("GET", "HEAD") and not _of_this_page(headers):
            return 403, b"asked by another page\n"
        return None


def _given(scope: Message, headers: Mapping[str, str]) -> str:
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    # In the address alone of the page itself, where a person puts it.
    asked = parse_qs(str(scope["query_string"], "latin-1")) if scope["path"] == "/" else {}
    return asked.get("token", [""])[0]


def _of_this_page(headers: Mapping[str, str]) -> bool:
    """Return whether what changes something was asked by the board's own page, or by no page at all."""
    origin = headers.get("origin")
    same = origin is None or urlsplit(origin).netloc == headers.get("host")
    return same and headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _host_of(text: str) -> str:
    """Return the name in a Host header, without its port; empty for what is none."""
    try:
        found = urlsplit(f"//{text}")
        _ = found.port  # raises for one that is no number
    except ValueError:
        return ""
    plain = found.username is None and found.password is None and not (found.path or found.query or found.fragment)
    return (found.hostname or "") if plain else ""
