"""The order of the pages in the site. A page that no section names stands in the last one: none is left out."""

from __future__ import annotations

from typing import Any

from docs_site.stage import english

SECTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("First steps", "시작하기"): (
        "walks",
        "concepts",
        "data",
        "models",
        "chat-templates",
        "configuration",
        "errors",
        "error-codes",
        "terms",
    ),
    ("Closed networks", "폐쇄망"): ("offline", "container", "security", "licences", "disk"),
    ("Training", "학습"): (
        "estimate",
        "doctor",
        "engines",
        "several-nodes",
        "trackers",
        "hand-off-contract",
        "model-merging",
    ),
    ("Experiments", "실험"): ("bakeoff", "ablation", "neftune", "lora-or-full"),
    ("Results", "결과"): ("evaluation", "metrics", "own-benchmarks", "human-preference", "reports"),
    ("Clusters", "클러스터"): ("clusters", "clusters-cloud", "clusters-design"),
    ("Operation", "운영"): (
        "json",
        "board",
        "notify",
        "resume",
        "reliability",
        "performance",
        "gpu-check",
        "gpu-verification",
    ),
}
COMMANDS = ("Commands", "명령")
REST = ("More pages", "그 밖의 문서")
CODE = ("The code", "코드")
_CODE = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "runs/README.md")


def navigation(pages: list[str]) -> list[Any]:
    """Return mkdocs' navigation of these pages, in English."""
    left = list(dict.fromkeys(map(english, pages)))

    def taken(names: list[str]) -> list[str]:
        found = [name for name in names if name in left]
        for name in found:
            left.remove(name)
        return found

    made: list[Any] = taken(["README.md"])
    made += [{title[0]: taken([f"docs/{name}.md" for name in names])} for title, names in SECTIONS.items()]
    commands = {COMMANDS[0]: taken([name for name in left if name.startswith("docs/commands/")])}
    code = {CODE[0]: taken(list(_CODE))}
    rest = {REST[0]: taken(list(left))}
    return [
        section for section in (*made, commands, rest, code) if not isinstance(section, dict) or any(section.values())
    ]


def korean() -> dict[str, str]:
    """Return the titles of the sections in Korean."""
    return dict([*SECTIONS, COMMANDS, REST, CODE])
