"""Take the screenshots of docs/images from a report's page: python tools/screenshots.py runs/demo/report.html."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Name, how the page is opened, the one section shown (its folds open), and the size of the window.
SHOTS = (
    ("report-summary", "?lang=ko&theme=light", None, "1360,1160"),
    ("report-scores", "?lang=en&theme=dark", "scores", "1360,1560"),
    ("report-cases", "?lang=ko&theme=light", "cases", "1360,1060"),
    ("report-curves", "?lang=ko&theme=dark", "curves", "1360,1160"),
    ("report-narrow", "?lang=en&theme=light", None, "480,1000"),
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=8000",
)  # fmt: skip


def only(text: str, section: str | None) -> str:
    """Return the page with one section alone: a screenshot begins at the top of what there is."""
    if section is None:
        return text
    hidden = f"section:not(#{section}) {{ display: none; }}</style>"
    return text.replace("</style>", hidden, 1).replace('<details class="fold">', '<details class="fold" open>')


def main() -> int:
    """Write one PNG for each of SHOTS; return 1 where there is no chromium or it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent.parent / "docs" / "images")
    options = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser or not options.page.is_file():
        what = f"there is no page {options.page}" if browser else "there is no chromium"
        print(f"error: {what}\n  where: PATH, or the page\n  next:  install chromium; alphaf report makes the page")
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    text = options.page.read_text(encoding="utf-8")
    for name, query, section, size in SHOTS:
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
