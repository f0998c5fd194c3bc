"""Write docs/commands from the commands' own --help, a page each and an index; --check only compares.

The width is fixed and every language is asked of a process of its own, so that neither the terminal nor the language of
whoever writes the pages shows in them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Container
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "commands"
WIDTH = 110
# Where more is told of a command: pages beside the folder.
MORE = {
    "ablate": ("ablation", "neftune", "lora-or-full"),
    "attach": ("resume",),
    "bakeoff": ("bakeoff",),
    "board": ("board",),
    "bundle": ("offline",),
    "cancel": ("resume", "clusters"),
    "chat": ("models",),
    "clean": ("disk",),
    "compare": ("reports",),
    "doctor": ("doctor",),
    "dpo": ("configuration", "data"),
    "estimate": ("estimate",),
    "eval": ("evaluation", "metrics", "own-benchmarks"),
    "init": ("configuration", "models"),
    "judge": ("human-preference",),
    "logs": ("resume", "clusters"),
    "merge-models": ("model-merging",),
    "models": ("models", "licences"),
    "notify": ("notify",),
    "plan": ("concepts", "configuration"),
    "repair": ("resume",),
    "report": ("reports",),
    "run": ("concepts", "configuration", "data"),
    "runs": ("concepts",),
    "schema": ("configuration", "own-benchmarks"),
    "sft": ("configuration", "data", "engines"),
    "show": ("concepts", "errors"),
    "verify": ("resume", "security"),
    "watch": ("board",),
}
WORDS = {
    "en": {
        "suffix": "",
        "title": "Commands",
        "made": "Written from the commands themselves by `make commands`: options and defaults of this version.",
        "called": "How `alphaf` is called, and how it gets on the PATH:"
        " [concepts](../concepts.md#how-alphaf-is-called)."
        " Every option with the commands that take it: [configuration](../configuration.md).",
        "head": "| Command | What it does |",
        "more": "More",
        "all": "All commands",
    },
    "ko": {
        "suffix": ".ko",
        "title": "명령",
        "made": "`make commands`가 명령 자체의 도움말에서 만든 문서입니다. 옵션과 기본값은 이 버전의 것입니다.",
        "called": "`alphaf`를 부르는 방법과 PATH에 추가하는 방법은 [개념](../concepts.md#how-alphaf-is-called)에,"
        " 옵션별로 쓸 수 있는 명령은 [설정](../configuration.ko.md)에 있습니다.",
        "head": "| 명령 | 하는 일 |",
        "more": "더 읽을 문서",
        "all": "모든 명령",
    },
}


def helps() -> dict[str, tuple[str, str]]:
    """Return each command's first sentence and whole help, in the language of this process."""
    import click

    from alphaf_orch.cli.main import COMMANDS, load

    found = {}
    for name in COMMANDS:
        command = load(name)
        under = list(command.commands) if isinstance(command, click.Group) else []
        text = "\n\n".join([said(name), *(said(name, each) for each in under)])
        found[name] = (" ".join(text.split("\n\n")[1].split()), text)
    return found


def said(*words: str) -> str:
    """Return what a command's --help prints."""
    from click.testing import CliRunner

    from alphaf_orch.cli.main import main

    done = CliRunner().invoke(main, [*words, "--help"], prog_name="alphaf", terminal_width=WIDTH)
    if done.exit_code:
        raise RuntimeError(f"alphaf {' '.join(words)} --help ended with {done.exit_code}: {done.output}")
    return re.sub(r"\n{3,}", "\n\n", done.output.rstrip())


def asked(language: str) -> dict[str, tuple[str, str]]:
    """Return what `helps` says in that language, of a python that was started in it."""
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "ALPHAF_MAKE")}
    env |= {"ALPHAF_LANG": language, "ALPHAF_CALLED": ".venv/bin/alphaf", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    argv = [sys.executable, __file__, "--helps"]
    said = subprocess.run(argv, env=env, cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout
    return {name: (sentence, text) for name, (sentence, text) in json.loads(said).items()}


def pages(language: str, told: dict[str, tuple[str, str]], there: Container[str]) -> dict[str, str]:
    """Return file name and text of the pages in that language of the commands in `there`, and of the index."""
    words = WORDS[language]
    suffix = words["suffix"]

    def place(name: str) -> str:
        return f"{name}{suffix if name in there else ''}.md"

    rows = "".join(f"| [`alphaf {name}`]({place(name)}) | {told[name][0]} |\n" for name in told)
    top = f"# {words['title']}\n\n{words['made']}\n{words['called']}\n\n"
    made = {f"README{suffix}.md": f"{top}{words['head']}\n|---|---|\n{rows}"}
    for name in (each for each in told if each in there):
        more = [_more(page, suffix) for page in MORE.get(name, ())]
        said = f"{words['more']}: {', '.join(more)}. " if more else ""
        shown = told[name][1].replace(f": alphaf {name}", f": .venv/bin/alphaf {name}")
        made[place(name)] = f"# alphaf {name}\n\n```text\n{shown}\n```\n\n{said}[{words['all']}](README{suffix}.md).\n"
    return made


def _more(page: str, suffix: str) -> str:
    translated = (FOLDER.parent / f"{page}{suffix}.md").is_file()
    return f"[{page}](../{page}{suffix if translated else ''}.md)"


def wanted() -> dict[str, str]:
    """Return all pages as they should be, by file name; a Korean one of each command whose help is said in Korean."""
    english, korean = asked("en"), asked("ko")
    said = [name for name in korean if korean[name] != english[name]]
    return pages("en", english, list(english)) | pages("ko", korean, said)


def main() -> int:
    """Write the pages, or with --check return 1 where they are not what they would be."""
    if "--helps" in sys.argv[1:]:
        print(json.dumps(helps()))
        return 0
    should = wanted()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    if "--check" in sys.argv[1:]:
        stale = sorted(name for name in should.keys() | there.keys() if should.get(name) != there.get(name))
        if stale:
            print(f"docs/commands: {', '.join(stale)} not as the commands say; run `make commands`", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name in there.keys() - should.keys():
        (FOLDER / name).unlink()
    for name, text in should.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
