"""An answer's text without the marks of Markdown, HTML and LaTeX around it: what a reader sees, line by line."""

from __future__ import annotations

import html
import re

# CommonMark's own parser is no help here: by its flanking rules `**수수료(율)**은` is not bold, and the stars stay.
_FENCE = re.compile(r"^[ \t>]*(?:```|~~~)[^\n]*\n?", re.MULTILINE)
_HEADING = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+", re.MULTILINE)
_QUOTE = re.compile(r"^[ \t]{0,3}(?:>[ \t]?)+", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*\|?(?:[ \t]*:?-{2,}:?[ \t]*\|)*[ \t]*:?-{3,}:?[ \t]*\|?[ \t]*(?:\n|$)", re.MULTILINE)
_IMAGE = re.compile(r"!\[([^\[\]\n]{0,200})\]\([^()\n]{0,500}\)")
# The target makes it a link: `[2](https://…)`, `[[2]](#2)`, `[약관](a.html "제목")`.
_TARGET = r"\((?:https?://|mailto:|#|\.{0,2}/|[\w./-]+\.(?:html?|md|pdf)\b)[^()\n]{0,500}\)"
_NUMBER_LINK = re.compile(rf"\[?(\[\d{{1,2}}\])\]?{_TARGET}")
_LINK = re.compile(rf"\[([^\[\]\n]{{1,300}})\]{_TARGET}")
_ESCAPED = re.compile(r"\\([\[\]])(?=\d{1,2}\\?\])|(?<=\d)\\(\])")
_BOLD = re.compile(r"\*{2,3}(?=\S)([^*\n]{1,2000}?)(?<=\S)\*{2,3}")
_STRONG = re.compile(r"(?<!\d)\*{2,}|\*{2,}(?!\d)|__+(?=\S)|(?<=\S)__+|~~|`+")
_STAR = re.compile(
    r"(?<![\w*])\*(?=[^\s*])([^*\n]{1,300}?)(?<=[^\s*])\*(?!\*)|(?<=\w)\*(?=[^\s*\d])([^*\n]{1,300}?)(?<=\S)\*(?!\w)"
)
_UNDERSCORE = re.compile(r"(?<!\w)_(?=[^\s_])([^_\n]{1,300}?)(?<=[^\s_])_(?![A-Za-z0-9_])")

_CELL_END = re.compile(r"</t[dh]\s*>", re.IGNORECASE)
_LINE_TAG = re.compile(r"<\s*(?:br|p|div|tr|li|ul|ol|table|h[1-6]|/p|/div|/tr|/li)\b[^<>]{0,200}>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|abbr|b|blockquote|big|caption|center|cite|code|col|colgroup|del|em|font|hr|i|img|ins|kbd|mark|pre|q|s|samp"
    r"|small|span|strike|strong|sub|sup|t[dh]|tbody|tfoot|thead|tr|table|u|ul|ol|var|h[1-6])\b[^<>]{0,200}>",
    re.IGNORECASE,
)

_SYMBOLS = {
    r"times": "×", r"div": "÷", r"cdot": "·", r"approx": "≈", r"simeq": "≈", r"fallingdotseq": "≒", r"rightarrow": "→",
    r"Rightarrow": "→", r"to": "→", r"therefore": "따라서 ", r"triangle": "△", r"ge": "≥", r"geq": "≥", r"le": "≤",
    r"leq": "≤", r"sim": "~", r"pm": "±", r"quad": " ", r"qquad": " ", r"textwon": "₩", r"textdollar": "$",
}  # fmt: skip
_SYMBOL = re.compile(rf"\\({'|'.join(sorted(_SYMBOLS, key=len, reverse=True))})(?![A-Za-z])[ ]?")
_FRACTION = re.compile(r"\\[dtc]?frac\s?\{([^{}]{0,80})\}\s?\{([^{}]{0,80})\}")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s?\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|color\{\w+\})?|math(?:bf|it|rm|sf|bb|cal)|mbox|operatorname|bf|rm|underline|overline)"
    r"(?![A-Za-z])\s?(?:\{([^{}]{0,200})\})?"
)
_LEFT_RIGHT = re.compile(r"\\(?:left|right|big|Big|displaystyle|begin\{\w+\*?\}|end\{\w+\*?\})(?![A-Za-z])[.]?")
# `$3.5$%` is mathematics, `$1,200에서 $1,500` are two amounts of dollars.
_DOLLARS = re.compile(r"\$\$([^$]{1,500})\$\$|(?<![\w$])\$(?=[^\s$])([^$\n가-힣]{1,200})(?<=[^\s$])\$(?!\d)")
_DELIMITER = re.compile(r"\\[()]|\\[\[\]]")


def boxed(text: str) -> list[str]:
    r"""Return what stands in each \boxed{}, the form in which models that learnt mathematics end an answer."""
    return [found[1] for found in _BOXED.finditer(text)]


def plain(text: str, before_boxed: str = "") -> str:
    r"""Return the text without marks; links keep their words, cells their bars; \boxed{} leaves what stands in it."""
    if "<" in text or "&" in text:
        text = _without_html(text)
    text = _FENCE.sub("", text)
    text = _RULE.sub("", _QUOTE.sub("", _HEADING.sub("", text)))
    if "](" in text:
        text = _LINK.sub(r"\1", _NUMBER_LINK.sub(r"\1", _IMAGE.sub(r"\1", text)))
    if "\\" in text or "$" in text or "{,}" in text:
        text = _without_latex(text, before_boxed)
    text = _STRONG.sub("", _BOLD.sub(r"\1", text))  # 2**10 keeps its stars
    text = _STAR.sub(lambda found: found[1] or found[2], text)
    return _UNDERSCORE.sub(r"\1", text)


def _without_html(text: str) -> str:
    text = re.sub(r"\s*\n\s*", "\n", _LINE_TAG.sub("\n", _CELL_END.sub(" | ", text)))
    return html.unescape(_TAG.sub("", text)).replace("\xa0", " ")


def _without_latex(text: str, before_boxed: str) -> str:
    text = _ESCAPED.sub(lambda found: found[1] or found[2], text)
    text = re.sub(r"(?<=\d)(?:\{,\}|\\[,;:! ])(?=\d{3})", ",", text)
    text = _SYMBOL.sub(lambda found: _SYMBOLS[found[1]], text)
    text = _LEFT_RIGHT.sub("", text)
    for _ in range(3):  # \boxed{\text{3번}}, \frac{\text{순이익}}{\text{자산}}
        text = _WRAPPER.sub(lambda found: found[1] or "", text)
        text = _FRACTION.sub(r"\1/\2", text)
    text = _BOXED.sub(lambda found: before_boxed + found[1], text)
    text = re.sub(r"\\([%$#&_{}])", r"\1", text) if "\\" in text else text
    text = _DOLLARS.sub(lambda found: found[1] or found[2], text)
    return re.sub(r"\\[,;:! ]", " ", _DELIMITER.sub("", text))
