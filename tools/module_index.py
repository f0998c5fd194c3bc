"""Write the index of modules into ARCHITECTURE.md, each with its first docstring line; --check only compares."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- modules: written by tools/module_index.py -->\n", "<!-- /modules -->\n"
# The order of the import-linter contract, top to bottom; a package that is not in it comes last.
ORDER = (
    "",
    *("cli", "board", "report", "experiments", "bundle", "evaluation", "judging", "scores", "runs", "clusters"),
    *("planning", "estimates", "settings", "inputs", "core", "programs", "_child"),
)


def first_line(module: Path) -> str:
    """Return the first line of the module's docstring, empty where it has none."""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def index(package: Path) -> str:
    """Return the index as Markdown: a heading a package, a line a module; `__init__.py` speaks for its package."""
    folders = defaultdict(list)
    for module in sorted(package.rglob("*.py")):
        if module.name != "__init__.py" and "__pycache__" not in module.parts:
            folders[module.parent.relative_to(package)].append(module)
    parts = []
    for folder in sorted(folders, key=_place):
        name = (Path(package.name) / folder).as_posix()
        said = first_line(package / folder / "__init__.py") if (package / folder / "__init__.py").is_file() else ""
        parts.append(f"\n**`{name}/`** {said}".rstrip() + "\n\n")
        parts += [f"- `{module.name}`: {first_line(module)}\n" for module in folders[folder]]
    return "".join(parts) + "\n"


def _place(folder: Path) -> tuple[int, str]:
    top = folder.parts[0] if folder.parts else ""
    return ORDER.index(top) if top in ORDER else len(ORDER), folder.as_posix()


def with_index(page: str, made: str) -> str:
    """Return the page with `made` between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + made + END + after


def main() -> int:
    """Write the page, or with --check return 1 where it is not what it would be."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = with_index(page, index(ROOT / "alphaf_orch"))
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
    elif page != wanted:
        print("ARCHITECTURE.md: the index of modules is not up to date; run `make fmt`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
