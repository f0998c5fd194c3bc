"""The repository's pages as a folder that mkdocs builds from, laid out as they are here, with what they link to."""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Callable
from pathlib import Path

TOP = ("README.md", "README.ko.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "runs/README.md")
ASSETS = Path(__file__).with_name("assets")
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")
# The site has a switch for that; on its own line the words stand alone.
_OTHER_LANGUAGE = re.compile(
    r"(?:^|,? *)(?:한국어|Korean|영어|English): \[[^\]]*\]\([^)\s]+\.md\)\.?(?:\n\n)?", re.MULTILINE
)


def sources(root: Path) -> list[str]:
    """Return the pages of the repository, by their path in it."""
    beneath = sorted(path.relative_to(root).as_posix() for path in (root / "docs").rglob("*.md"))
    return [name for name in TOP if (root / name).is_file()] + beneath


def stage(root: Path, folder: Path) -> list[str]:
    """Fill the folder with the pages and with the files that they link to; return the pages."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = sources(root)
    linked: set[str] = set()
    for page in pages:
        text = _Page(root, page, pages, linked).text()
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).write_text(text, encoding="utf-8")
    for name in linked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, folder / name)
    shutil.copytree(ASSETS, folder / "assets")
    return pages


def headings(text: str) -> list[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    found = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in found]


def with_anchors_of(original: str, translated: str) -> str:
    """Return a translated page that has the anchors of the original too: links to those are in pages of both languages.

    They stand at the headings of the same place; where one page has more headings, at the top.
    """
    theirs, ours = headings(original), headings(translated)
    if len(theirs) != len(ours):
        return re.sub(
            r"^(# .+)$", rf"\1{''.join(_anchor(name, ours) for name in theirs)}", translated, count=1, flags=re.M
        )
    names = iter(theirs)
    return _outside_fences(
        translated,
        lambda prose: re.sub(r"^#+ .+$", lambda head: head[0] + _anchor(next(names), ours), prose, flags=re.MULTILINE),
    )


def _anchor(name: str, there: list[str]) -> str:
    return "" if name in there else f'<a id="{name}"></a>'


def english(page: str) -> str:
    """Return the name that both languages of a page share."""
    return page.removesuffix(".ko.md") + ".md" if page.endswith(".ko.md") else page


class _Page:
    """One page, and its text as the site wants it."""

    def __init__(self, root: Path, name: str, pages: list[str], linked: set[str]) -> None:
        self._root, self._name, self._pages, self._linked = root, name, pages, linked

    def text(self) -> str:
        text = (self._root / self._name).read_text(encoding="utf-8")
        if self._name.endswith(".ko.md") and english(self._name) in self._pages:
            text = with_anchors_of((self._root / english(self._name)).read_text(encoding="utf-8"), text)
        return _outside_fences(text, lambda prose: _LINK.sub(self._link, _OTHER_LANGUAGE.sub("", prose)))

    def _link(self, link: re.Match[str]) -> str:
        words, (address, _, anchor) = _LINK.sub(self._link, link[1]), link[2].partition("#")
        if not address or re.match(r"[a-z]+:", address):
            return f"[{words}]({link[2]})"
        target = posixpath.normpath(posixpath.join(posixpath.dirname(self._name), address))
        if target in self._pages:
            return f"[{words}]({english(address)}{'#' * bool(anchor)}{anchor})"
        if (self._root / target).is_dir():
            return words  # there is nothing of a folder in a site
        if (self._root / target).is_file():
            self._linked.add(target)
        return f"[{words}]({address})"


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    made, last = "", 0
    for fence in _FENCE.finditer(text):
        made += change(text[last : fence.start()]) + fence[0]
        last = fence.end()
    return made + change(text[last:])
