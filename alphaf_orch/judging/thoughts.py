"""What a reasoning model thought aloud, taken away before its answer is measured and read."""

from __future__ import annotations

import re

# The marks of DeepSeek, Qwen, EXAONE Deep, Seed, Kimi, Magistral, Cohere, Gemma's medical models, OpenThinker and
# gpt-oss: a reply counts from the last mark that ends thoughts, whether its beginning is there or not, because chat
# templates write the beginning themselves.
_NAMES = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning|reflection)"
_CLOSED = re.compile(
    rf"</{_NAMES}>|\[/(?:THINK|THINKING)\]|◁/think▷|<\|END_THINKING\|>|<\|end_of_thought\|>|<\|/think\|>|<unused95>"
    r"|<\|channel\|>\s*final\b[^<]*<\|message\|>|assistant\s*final(?=\W)",
    re.IGNORECASE,
)
_OPENED = re.compile(
    rf"<{_NAMES}>|\[(?:THINK|THINKING)\]|◁think▷|<\|START_THINKING\|>|<\|begin_of_thought\|>|<\|think\|>"
    r"|<unused94>|<\|channel\|>\s*(?:analysis|commentary)\b|\A\s*analysis(?-i:(?=[A-Z가-힣]))",
    re.IGNORECASE,
)
# gpt-oss where the server leaves out special tokens: `analysis...assistantfinal...`
_BARE = re.compile(r"\s*analysis", re.IGNORECASE)


def closed(text: str) -> int:
    """Return where the answer begins: behind the last mark that ends thoughts, 0 where there is none."""
    ends = [found.end() for found in _CLOSED.finditer(text) if _counts(found, text)]
    return ends[-1] if ends else 0


def opened(text: str) -> str | None:
    """Return the first mark that begins thoughts, None where there is none."""
    found = _OPENED.search(text)
    return found.group().strip() if found else None


def _counts(found: re.Match[str], text: str) -> bool:
    """Whether it is a mark: the words `assistant final` are one only behind gpt-oss's bare `analysis`."""
    return found.group()[0] in "<[◁" or bool(_BARE.match(text))
