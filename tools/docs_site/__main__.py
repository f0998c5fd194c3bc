"""Build the pages as a site in English and Korean, strictly and with no network, and check it (`make docs`)."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from docs_site.check import faults
from docs_site.nav import korean, navigation
from docs_site.stage import stage

ROOT = Path(__file__).resolve().parents[2]
# A site that is opened from anywhere has no address to name in these.
NEEDS_AN_ADDRESS = ("404.html", "sitemap.xml", "sitemap.xml.gz")


def build(root: Path, staged: Path, site: Path) -> None:
    """Build the site; mkdocs ends it with SystemExit where a link or an anchor leads nowhere."""
    from mkdocs.commands.build import build as build_pages
    from mkdocs.config import load_config

    logging.basicConfig(level=logging.WARNING, format="docs: %(message)s")
    pages = stage(root, staged)
    config = load_config(
        str(Path(__file__).with_name("mkdocs.yml")),
        docs_dir=str(staged),
        site_dir=str(site),
        nav=navigation(pages),
        strict=True,
    )
    (ours,) = (each for each in config.plugins["i18n"].config.languages if each.locale == "ko")
    ours.nav_translations = korean()
    config.plugins.on_startup(command="build", dirty=False)
    try:
        build_pages(config)
    finally:
        config.plugins.on_shutdown()
    for name in NEEDS_AN_ADDRESS:
        (site / name).unlink(missing_ok=True)


def main() -> int:
    """Build, check, and say where the site is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="the site's folder (site)")
    parser.add_argument(
        "--staged", type=Path, default=ROOT / "build" / "docs_site", help="where the pages are put together"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose pages they are")
    given = parser.parse_args()
    begun = time.monotonic()
    build(given.root, given.staged.absolute(), given.out.absolute())
    found = list(faults(given.out))
    for fault in found:
        print(f"docs: {fault}", file=sys.stderr)
    if found:
        return 1
    pages = len(list(given.out.rglob("*.html")))
    print(f"docs: {pages} pages in {time.monotonic() - begun:.0f} s, begin at {given.out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
