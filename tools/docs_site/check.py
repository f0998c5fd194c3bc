"""What a built site must be: every link and anchor in it leads somewhere in it, and no page needs a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself; a link that a reader follows may lead out.
_FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("object", "data"),
    ("form", "action"),
}
_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class _Seen(HTMLParser):
    """The addresses in a page, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.diagram = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.anchors |= {said[name] for name in ("id", "name") if said.get(name)}
        self.diagram |= "mermaid" in said.get("class", "").split()
        self.fetched += [said[name] for kind, name in _FETCHED if kind == tag and said.get(name)]
        if tag == "link":
            # An alternate or a canonical address is not fetched; icons and style sheets are.
            (self.links if said.get("rel") in ("alternate", "canonical") else self.fetched).append(said.get("href", ""))
        elif tag == "a" and "href" in said:
            self.links.append(said["href"])
        self.fetched += [one or two for one, two in _URL.findall(said.get("style", ""))]


@cache
def _seen(page: Path) -> _Seen:
    seen = _Seen()
    seen.feed(page.read_text(encoding="utf-8"))
    return seen


def faults(site: Path) -> Iterator[str]:
    """Name each address that leads nowhere, and each that a browser would fetch from elsewhere."""
    for page in sorted(site.rglob("*.html")):
        name, seen = page.relative_to(site).as_posix(), _seen(page)
        if seen.diagram:
            yield f"{name}: a mermaid diagram, whose renderer the theme would fetch"
        for address in [*seen.fetched, *_in_styles(page)]:
            if _is_elsewhere(address):
                yield f"{name}: fetches {address}"
            elif not address.startswith("data:"):
                yield from (f"{name}: {fault}" for fault in _leads(site, page, address))
        for address in seen.links:
            if not urlsplit(address).scheme:
                yield from (f"{name}: {fault}" for fault in _leads(site, page, address))
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        yield from (
            f"{sheet.relative_to(site)}: fetches {one or two}"
            for one, two in _URL.findall(text)
            if _is_elsewhere(one or two)
        )


def _in_styles(page: Path) -> list[str]:
    styles = re.findall(r"<style[^>]*>(.*?)</style>", page.read_text(encoding="utf-8"), re.DOTALL)
    return [one or two for style in styles for one, two in _URL.findall(style)]


def _is_elsewhere(address: str) -> bool:
    return bool(urlsplit(address).netloc) or urlsplit(address).scheme in ("http", "https", "ftp", "ws", "wss")


def _leads(site: Path, page: Path, address: str) -> Iterator[str]:
    parts = urlsplit(address)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site.resolve()) or not target.is_file():
        yield f"{address} leads nowhere"
    elif target.suffix == ".html" and not _is_place(target, unquote(parts.fragment)):
        yield f"{address}: no such place in that page"


def _is_place(page: Path, anchor: str) -> bool:
    """Return whether the page has that anchor, or the theme: the top of a page, the switches of its menus."""
    return not anchor or anchor.startswith("__") or anchor in _seen(page).anchors
