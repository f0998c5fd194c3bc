"""What is secret never goes out: the environment's secrets by value, others by their shape, in texts and in files."""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import unquote

from alphaf_orch.core.secret_forms import SHORTEST as _SHORTEST
from alphaf_orch.core.secret_forms import folded, forms, parts
from alphaf_orch.core.walk import walked

P = ParamSpec("P")
T = TypeVar("T")
STARS = "***"
_SHORTEST_PASSWORD = 4  # one inside an address, or the judge's key, is certain to be one
_ENV_NAME = re.compile(
    r"TOKEN(?!I[ZS]ER)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|APIKEY|(^|_)KEY(_|$)|KEY$|_PWD$|_PASS$"
    r"|(^|_)(AUTH|PAT|PW|DSN|COOKIE)(_|$)|WEBHOOK|CONN(ECTION)?_STR"
)
_NAME = (
    r"api[_-]?key|(?:access|secret|private|signing|encryption|account)[_-]?key|access[_-]?key[_-]?id|passw(?:or)?d"
    r"|passphrase|(?:client|app)[_-]?secret"
    r"|(?:hub|hf|auth|access|api|bearer|refresh|session|security|github|gitlab|wandb)[_-]?token"
)
# Of an address the password, or a user name alone, by which tokens are given to http.
# ASCII: a Korean word may stand right before or behind, and is no part of an address or token.
USERINFO = re.compile(r"(?ai)\b([a-z][a-z0-9+.-]{1,30})://([^\s/?#:@'\"<>]{1,999})(?::([^\s/'\"<>]{0,999}))?@")
QUERY = re.compile(
    rf"(?i)(?<=[?&;])((?:[\w-]*(?:{_NAME})|token|key|secret|sig|signature|x-amz-[\w-]+)=)([^\s&;#'\"<>]+)"
)
# What makes a secret of a word in running text: what stands before it, what belongs to it, what follows.
_BEFORE = {
    "key": re.compile(r"(?:api|access|secret|private|signing|encryption|account)[_-]?$"),
    "secret": re.compile(r"(?:client|app)[_-]?$"),
    "token": re.compile(r"(?:hub|hf|auth|access|api|bearer|refresh|session|security|github|gitlab|wandb)[_-]?$"),
    "passw": re.compile(""),
    "passphrase": re.compile(""),
}
_BEHIND = re.compile(
    r"(?:[_-]?id|ord|d)?['\"]?[ \t]{0,9}[=:][ \t]{0,9}['\"]?(?!(?i:none|null|true|false|str|bool)\b)"
    r"([^\s'\",;&)}\].…$<*{][^\s'\",;&)}\]]{3,999})"
)
_HEADER = re.compile(
    r"(?ai)(authorization['\"]?[ \t]{0,9}[:=][ \t]{0,9}['\"]?(?:(?:bearer|basic|token)[ \t]{1,9})?"
    r"|\bbearer[ \t]{1,9}(?=[^\s'\"]*\d))([\w.~+/=-]{8,})"
)
# The tokens of the Hub, OpenAI-like servers, GitHub, GitLab, Slack, AWS, Google, PyPI, npm; JSON web tokens.
SHAPES = re.compile(
    r"(?a)(?<![\w-])(hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|xox[abprs]-[\w-]{10,}|A(?:KIA|SIA)[0-9A-Z]{16}|AIza[\w-]{35}|pypi-[\w-]{16,}|npm_\w{36}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
    # Whoever has the address of a webhook may write there: Slack, Discord, Teams, Mattermost, Telegram, JANDI, Dooray.
    r"|hooks\.slack(?:-gov)?\.com/[\w/-]{8,}|discord(?:app)?\.com/api/webhooks/[\w/-]{8,}"
    r"|webhook\.office\.com/[\w@/-]{8,}|hooks/[a-z0-9]{26}|api\.telegram\.org/bot\d+:[\w-]{20,}"
    r"|wh\.jandi\.com/connect-api/webhook/[\w/-]{8,}|hook\.dooray\.com/services/[\w/-]{8,})(?![\w-])"
)
_PEM = re.compile(r"(?s)-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(.{1,20000}?)-----END")
_NETRC = re.compile(r"\bmachine\s+\S+\s+login\s+\S+\s+password\s+(\S+)")
# A password that an address should have percent-encoded; only of a variable, whose value is one address.
_RAW_PASSWORD = re.compile(r"://[^\s:/@]*:(\S+)@")
_PIECE = 8 << 20
_OVERLAP = 1 << 14  # of two pieces of one line: longer than a secret
_COMPOUND = re.compile(rf"(?i)[\w.-]*(?:{_NAME})")
_ENDS = ("token", "key", "secret", "password", "passwd", "passphrase", "credential", "credentials")
# The tokens of a tokenizer, and the name that Comet gives an experiment.
_NO_SECRET = re.compile(
    r"(?:\w*_)?(?:bos|eos|unk|sep|pad|cls|mask|image|video|audio|boi|eoi|eot|eom|start|end|turn|special)_token"
    r"|comet_experiment_key"
)
_remembered: set[str] = set()


def remember(secret: str) -> None:
    """Have a secret masked from now on that no name gives away, such as the key of a judge."""
    if len(secret) >= _SHORTEST_PASSWORD:
        _remembered.add(secret)


def secrets(env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the secrets that the environment holds, in every form in which a tool may repeat them, longest first."""
    return _in_all_forms(tuple((os.environ if env is None else env).items()), frozenset(_remembered))


@lru_cache(maxsize=8)
def _in_all_forms(env: tuple[tuple[str, str], ...], remembered: frozenset[str]) -> tuple[str, ...]:
    found = set(remembered)
    for name, value in env:
        text = value.strip()
        if _ENV_NAME.search(name.upper()) and len(text) >= _SHORTEST and not text.startswith(("/", "~", "./")):
            found.update(parts(text, is_secret_name))
        found.update(raw for raw in _RAW_PASSWORD.findall(text) if len(raw) >= _SHORTEST_PASSWORD)
        for scheme, user, password in USERINFO.findall(text):
            if len(password) >= _SHORTEST_PASSWORD:
                both = f"{unquote(user)}:{unquote(password)}".encode()
                found |= {password, unquote(password), base64.b64encode(both).decode()}
            elif not password and len(user) >= _SHORTEST and scheme.lower() in ("http", "https"):
                found |= {user, unquote(user)}
    return tuple(sorted({form for text in found for form in forms(text)}, key=lambda text: (-len(text), text)))


def spans(text: str, *, shapes: bool = True) -> Iterator[tuple[int, int]]:
    """Yield where secrets stand: the known ones, and with `shapes` what looks like one."""
    # One search each: a pattern of all would try every one of them at every letter.
    known = secrets()
    for secret in known:
        yield from ((at, at + len(secret)) for at in _places(text, secret))
    yield from folded(text, known)
    if not shapes:
        return
    for found in USERINFO.finditer(text):
        if found[3]:
            yield found.span(3)
        elif found[3] is None and found[1].lower() in ("http", "https"):
            yield found.span(2)
    yield from (found.span(2) for found in QUERY.finditer(text))
    yield from (found.span() for found in SHAPES.finditer(text))
    for word, pattern in (("PRIVATE KEY-----", _PEM), ("machine", _NETRC)):
        if word in text:
            yield from (found.span(1) for found in pattern.finditer(text))
    yield from _named(text)


def _named(text: str) -> Iterator[tuple[int, int]]:
    """Yield the values behind names of secrets; the words are sought first, for one pattern of all would be slow."""
    lower = text.lower()
    if len(lower) != len(text):  # a letter whose small form is longer: places would not agree
        lower = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    for word, before in _BEFORE.items():
        for at in _places(lower, word):
            found = _BEHIND.match(text, at + len(word))
            if found and before.search(lower[max(0, at - 12) : at]):
                yield found.span(1)
    for word in ("authorization", "bearer"):
        for at in _places(lower, word):
            found = _HEADER.match(text, at)
            if found:
                yield found.span(2)


def _places(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


def mask(text: str, *, shapes: bool = True) -> str:
    """Return the text with three stars for every secret in it."""
    return _replaced(text, lambda _: STARS, shapes=shapes)


def mask_values(value: Any) -> Any:
    """Return a JSON value with every text in it masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {
            # A key tells what its value is, which the value alone does not.
            key: STARS if isinstance(each, str) and each and _COMPOUND.fullmatch(str(key)) else mask_values(each)
            for key, each in value.items()
        }
    return [mask_values(each) for each in value] if isinstance(value, list | tuple) else value


def is_secret_name(name: str) -> bool:
    """Return whether a key of that name holds a secret: `hub_token` does, `pad_token` does not."""
    lower = name.lower()
    return lower.endswith(_ENDS) and not _NO_SECRET.fullmatch(lower)


def _replaced(text: str, by: Callable[[str], str], *, shapes: bool) -> str:
    parts, end = [], 0
    for start, stop in sorted(spans(text, shapes=shapes)):
        if stop > end:
            start = max(start, end)
            parts += [text[end:start], by(text[start:stop])]
            end = stop
    return "".join([*parts, text[end:]])


class MaskedStream:
    """A text stream that masks what is written to it, and is the other one in all else."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without the secrets in it."""
        return int(self._stream.write(mask(text)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class FileMask:
    """Puts stars over the secrets of a file that may still be growing, in place and length for length.

    Whoever writes to it goes on undisturbed, and whatever ends this process, no byte of the file is lost.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def advance(self, *, final: bool = False) -> None:
        """Mask the whole lines that are new; `final` the last one too, whole or not."""
        try:
            if self._path.stat().st_size <= self._offset:
                return
            file = self._path.open("r+b")
        except FileNotFoundError:  # nothing was printed
            return
        with file:
            while True:
                file.seek(self._offset)
                new = file.read(_PIECE)
                whole = max(new.rfind(b"\n"), new.rfind(b"\r")) + 1
                if (whole and len(new) == _PIECE) or (not final and len(new) < _PIECE):
                    new = new[:whole]
                if not new:
                    return
                again = 0 if whole or len(new) < _PIECE else _OVERLAP
                masked = _replaced_bytes(new)
                if masked != new:
                    file.seek(self._offset)
                    file.write(masked)
                self._offset += len(new) - again


def _replaced_bytes(data: bytes) -> bytes:
    text = data.decode("utf-8", "surrogateescape")

    def stars(secret: str) -> str:
        return "*" * len(secret.encode("utf-8", "surrogateescape"))

    return _replaced(text, stars, shapes=True).encode("utf-8", "surrogateescape")


def hides_secrets(run: Callable[P, T]) -> Callable[P, T]:
    """Return a function that runs a program, such that its log (keyword `log`) is masked while and after it runs.

    The program writes straight into the file, no pipe between: one would stop it when this process is killed. The new
    lines are masked before each `on_poll`, so that a kill leaves those of one poll, which the next try masks.
    """

    @wraps(run)
    def masked(*args: P.args, **kwargs: P.kwargs) -> T:
        hidden, look = FileMask(cast(Path, kwargs["log"])), cast(Callable[[], None], kwargs["on_poll"])

        def poll() -> None:
            with contextlib.suppress(OSError):  # a full disk, which must not end a training; tried again at the end
                hidden.advance()
            look()

        try:
            return run(*args, **{**kwargs, "on_poll": poll})  # type: ignore[arg-type]
        finally:
            hidden.advance(final=True)

    return masked


def mask_logs(folder: Path, since: float) -> None:
    """Mask the logs that tools keep beside ours below a folder (`debug.log` of axolotl), written after `since`.

    Nothing else is touched: settings and weights are read again, and no tool prints into them.
    """
    for path in walked(folder):
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile: nobody reads it
            if path.suffix == ".log" and path.is_file() and not path.is_symlink() and path.stat().st_mtime >= since:
                FileMask(path).advance(final=True)
