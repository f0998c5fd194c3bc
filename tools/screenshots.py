"""Take the screenshots of docs/images from a report's page: python tools/screenshots.py PAGE [NAME ...]."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# What of a run is shown in a README: what was found, the main score's card, and the bars of the citation task.
CITATION = """
header, nav, section:not(#summary, #scores), h2, #summary .scroll, .verdict ul, .cards li:not(:has(dl)),
#scores > .blocks > :not(figure), figure details, footer { display: none !important; }
.page { display: block; padding: 1rem; } section { margin: 0 0 0.8rem; }
.cards { grid-template-columns: 1fr !important; }
.cards dl { display: grid; grid-template-columns: repeat(3, 1fr); } .cards dl div { grid-template-columns: auto 1fr; }
"""
# Name, how the page is opened, the one section shown (its folds open) or a style for it, the window and its scale.
SHOTS = (
    ("report-summary", "?lang=ko&theme=light", None, "1360,1160", 1),
    ("report-scores", "?lang=en&theme=dark", "scores", "1360,1560", 1),
    ("report-cases", "?lang=ko&theme=light", "cases", "1360,1060", 1),
    ("report-curves", "?lang=ko&theme=dark", "curves", "1360,1160", 1),
    ("report-narrow", "?lang=en&theme=light", None, "460,1060", 1),
    ("report-citation", "?lang=en&theme=light", CITATION, "880,470", 2),
    ("report-citation.ko", "?lang=ko&theme=light", CITATION, "880,470", 2),
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=8000",
)  # fmt: skip


def only(text: str, shown: str | None) -> str:
    """Return the page with one section alone, or with a style of its own: a screenshot begins at the top."""
    if shown is None:
        return text
    if "{" in shown:
        return text.replace("</style>", f"{shown}</style>", 1)
    hidden = f"section:not(#{shown}) {{ display: none; }}</style>"
    return text.replace("</style>", hidden, 1).replace('<details class="fold', '<details open class="fold')


def main() -> int:
    """Write one PNG for each of SHOTS; return 1 where there is no chromium or it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("names", nargs="*", help="which of them (default: all)")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent.parent / "docs" / "images")
    options = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser or not options.page.is_file():
        what = f"there is no page {options.page}" if browser else "there is no chromium"
        print(f"error: {what}\n  where: PATH, or the page\n  next:  install chromium; alphaf report makes the page")
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    text = options.page.read_text(encoding="utf-8")
    wanted = options.names or [name for name, *_ in SHOTS]
    for name, query, section, size, scale in SHOTS:
        if name not in wanted:
            continue
        target = options.output / f"{name}.png"
        with tempfile.TemporaryDirectory() as scratch:
            page = Path(scratch) / "page.html"
            page.write_text(only(text, section), encoding="utf-8")
            done = subprocess.run(
                [
                    browser,
                    *FLAGS,
                    f"--user-data-dir={scratch}/profile",
                    f"--window-size={size}",
                    f"--force-device-scale-factor={scale}",
                    f"--screenshot={target}",
                    page.as_uri() + query,
                ],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        if done.returncode:
            print(f"error: {name}: {done.stderr[-500:]}\n  where: {target}\n  next:  open the page by hand")
            return 1
        print(f"{target} ({target.stat().st_size:,} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
