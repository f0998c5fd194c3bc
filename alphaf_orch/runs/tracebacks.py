"""What a program died of, by the python tracebacks in its log: the cause rather than what launched it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

HEADER = "Traceback (most recent call last):"
_LINKS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
# Launchers say only that a process of theirs failed; `accelerate`, torch's elastic agent, deepspeed.
_LAUNCHER = re.compile(r"/(accelerate/commands|torch/distributed/(run|launcher|elastic/agent)|deepspeed/launcher)\b")
_DIED = re.compile(r"died with <Signals\.\w+: (\d+)>")
_NOT_FATAL = ("Exception ignored in", "Error in sys.excepthook", "Error in atexit")
_RANK = re.compile(r"\[rank(\d+)\]: ?")
# What the other ranks say when one is gone.
_FOLLOWS = re.compile(
    r"DistBackendError|DistNetworkError|DistStoreError|[Cc]onnection (closed|reset) by (remote )?peer|Broken pipe"
    r"|remote process exited|ncclRemoteError|Watchdog caught collective operation timeout"
)
# A line of a log, of a progress bar or of ours, which ends an exception's message.
_OTHER = re.compile(r"[WEIF]\d{4} \d\d:|\[\d{4}-\d\d-\d\d|.*\d+%\||error: |Exception ignored in|Error in ")
_ROOT_CAUSE = "Root Cause (first observed failure):"
_MESSAGE_LINES = 4  # pydantic and torch say what is wrong in the lines behind the exception's name
_CHAIN = 4  # exceptions of one chain that are told: the first ones, and the last


@dataclass
class _Chain:
    """One exception with those it came from, the first cause first."""

    begin: int
    texts: list[str] = field(default_factory=list)
    launcher: bool = False

    def text(self) -> str:
        shown = self.texts if len(self.texts) <= _CHAIN else [*self.texts[: _CHAIN - 1], self.texts[-1]]
        first, *later = dict.fromkeys(shown)
        return "\n".join([first, *(f"led to: {each.splitlines()[0]}" for each in later)])


def cause(lines: Sequence[str]) -> str:
    """Return the exception that a log's program died of, first cause first; empty where there is none.

    Of several ranks it is that of the one that failed first: as torch's elastic agent saw it, else by the order of
    the log, those aside that only lost the connection to another one.
    """
    rank, code, recorded = _elastic(lines)
    recorded = f"[rank{rank}]: {recorded}" if recorded else ""
    if recorded and not _FOLLOWS.search(recorded):
        return recorded
    if code < 0 and code != -15:
        return f"rank {rank} was killed by signal {-code}{oom_hint(code)}"
    by_rank: dict[str, list[tuple[int, str]]] = {}
    for number, line in enumerate(lines):
        found = _RANK.match(line)
        by_rank.setdefault(found[1] if found else "", []).append((number, line[found.end() :] if found else line))
    unprefixed = list(_chains(by_rank.pop("", [])))
    killed = [found for chain in unprefixed if chain.launcher and (found := _DIED.search(chain.texts[-1]))]
    if killed:
        return f"its process was killed by signal {killed[0][1]}{oom_hint(-int(killed[0][1]))}"
    plain = [chain for chain in unprefixed if not chain.launcher]
    ends = {name: chains[-1] for name, stream in by_rank.items() if (chains := list(_chains(stream)))}
    if ends:
        own = {name: chain for name, chain in ends.items() if not _FOLLOWS.search(chain.texts[-1])}
        if recorded and not own:
            return recorded
        own = own or ends
        first = rank if rank in own else min(own, key=lambda name: own[name].begin)
        return f"[rank{first}]: {own[first].text()}"
    return recorded or (plain[-1].text() if plain else "")


def oom_hint(code: int) -> str:
    """Return what a process that ended with this code mostly met, for those in the kernel's way."""
    return " (the kernel's out-of-memory killer sends 9)" if code == -9 else ""


def without_launcher(lines: Sequence[str]) -> list[str]:
    """Return the lines without what launchers print of a process that failed."""
    begins = [chain.begin for chain in _chains(list(enumerate(lines))) if chain.launcher]
    return list(lines[: begins[0]] if begins else lines)


def _elastic(lines: Sequence[str]) -> tuple[str, int, str]:
    """Return rank, exit code and recorded exception of the first failure in the elastic agent's summary, if any."""
    start = next((number for number, line in enumerate(lines) if line.startswith(_ROOT_CAUSE)), None)
    if start is None:
        return "", 0, ""
    block = list(itertools.takewhile(lambda line: not line.startswith("====="), lines[start + 1 :]))
    text = "\n".join(block)
    rank = re.search(r"^\s+rank\s+: (\d+)", text, flags=re.MULTILINE)
    code = re.search(r"^\s+exitcode\s+: (-?\d+)", text, flags=re.MULTILINE)
    # The recorded traceback is told behind a name, in a column of its own.
    told = [line.removeprefix("  ") for line in block]
    chains = list(_chains(list(enumerate(told))))
    return rank[1] if rank else "", int(code[1]) if code else 0, chains[-1].text() if chains else ""


def _chains(lines: Sequence[tuple[int, str]]) -> Iterator[_Chain]:
    """Yield the chains of exceptions in the order they end in; `lines` are numbered."""
    chain: _Chain | None = None
    linked = False
    place, before = 0, ""
    while place < len(lines):
        number, line = lines[place]
        place += 1
        if not line.endswith(HEADER):  # behind a progress bar it is not a line of its own
            if line.strip() in _LINKS:
                linked = True
            before = line.strip() or before
            continue
        ignored = before.startswith(_NOT_FATAL)
        launcher = False
        # Another header among the frames is of another rank that prints at the same time.
        while place < len(lines) and (lines[place][1][:1].strip() == "" or lines[place][1].endswith(HEADER)):
            launcher = launcher or bool(_LAUNCHER.search(lines[place][1]))
            place += 1
        message: list[str] = []
        while place < len(lines) and len(message) < _MESSAGE_LINES:
            text = lines[place][1]
            if message and (not text.strip() or text.endswith(HEADER) or text in _LINKS or _OTHER.match(text)):
                break
            if text.strip() not in message:  # the same of another rank
                message.append(text.strip())
            place += 1
        if ignored or not message:
            continue
        if chain is None or not linked:
            if chain is not None:
                yield chain
            chain = _Chain(number)
        chain.texts.append("\n".join(message))
        chain.launcher = launcher
        linked = False
        before = ""
    if chain is not None:
        yield chain
