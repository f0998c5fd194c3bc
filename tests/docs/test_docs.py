"""The documentation: links resolve, commands and options exist, every page is named, both languages agree."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from itertools import takewhile
from pathlib import Path

import click
import pytest

from alphaf_orch.cli.main import COMMANDS, HIDDEN, load
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.keys import parse_set

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "runs" / "README.md"])
PAIRS = [
    (page.with_name(page.name.replace(".ko.md", ".md")), page)
    for page in PAGES
    if page.name.endswith(".ko.md")
    and page.with_name(page.name.replace(".ko.md", ".md")).exists()
    and page.parent.name != "commands"  # what a command says is in another language there
]
MESSAGES = ROOT / "docs" / "error-codes.md"  # with the modules that they come from
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PASSED_ON = re.compile(r"^(\w[\w-]*):.*\n\t\$\(ALPHAF\) ([\w-]+)", re.MULTILINE)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    return FENCE.sub("", text(page))


def spans(page: Path) -> list[str]:
    """Return inline code and the lines of shell blocks: whatever a reader may type, and no list of messages."""
    if page == MESSAGES:
        return []
    inline = re.findall(r"`([^`\n]+)`", prose(page))
    shell = [line for language, body in FENCE.findall(text(page)) if language == "sh" for line in body.splitlines()]
    return inline + shell


def makefile() -> str:
    return text(ROOT / "Makefile")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):.*## ", makefile(), flags=re.MULTILINE))


def words(span: str) -> list[str]:
    """Return the first command's words: what it is piped into is another's."""
    return list(takewhile(lambda word: word != "|", shlex.split(span.replace("…", ""))))


def used(page: Path) -> list[tuple[str, list[str]]]:
    """Return (program, its arguments) of every `make` and `alphaf` call in the page's code."""
    found = []
    for span in spans(page):
        if not re.search(r"\b(make|alphaf) ", span):
            continue
        argv = words(span)
        while argv and re.fullmatch(r"[A-Z_]+=.*", argv[0]):  # PIP_NO_INDEX=1 make setup
            argv.pop(0)
        if argv and Path(argv[0]).name in ("make", "alphaf"):
            found.append((Path(argv[0]).name, argv[1:]))
    return found


def check_alphaf(arguments: list[str], where: str) -> None:
    """Fail for a command or option that `alphaf` lacks, or a --set that it refuses."""
    if not arguments or arguments[0].startswith("-"):
        known = {"--help", "--version", "-h"}
        assert set(arguments) <= known, where
        return
    if arguments == ["COMMAND", "--help"]:
        return
    assert arguments[0] in COMMANDS | HIDDEN, where
    command = load(arguments[0])
    if isinstance(command, click.Group) and arguments[1:2] and arguments[1] in command.commands:
        command, arguments = command.commands[arguments[1]], arguments[1:]
    options = {name: param for param in command.params for name in (*param.opts, *param.secondary_opts)}
    sets = []
    for position, word in enumerate(arguments[1:], start=1):
        if word.startswith("-"):
            name = word.partition("=")[0]
            assert name in options or name == "--help", f"{where}: {name}"
            if name in ("--set", "-s"):
                sets.append(arguments[position + 1])
    parse_set(sets, default="dpo" if arguments[0] == "dpo" else "sft")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page))
    gone = []
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists():
            gone.append(link)
        elif anchor:
            heads = re.findall(r"^#+ (.+)$", text(target), flags=re.MULTILINE)
            if anchor not in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}:
                gone.append(link)
    assert gone == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != MESSAGES], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_file_of_ours_that_a_page_names_is_there(page: Path) -> None:
    """`programs/…` lies in the package; words in capitals are placeholders; one page is written by `make gpu-check`."""
    tops = "alphaf_orch|docs|programs|requirements|schemas|templates|tests|tools"
    named = {
        name
        for name in re.findall(rf"`((?:{tops})/[^`\s:]*)(?:::\w+)?`", prose(page))
        if not re.search(r"[A-Z]{3,}", name)
    }
    assert {name for name in named if not [*ROOT.glob(name), *(ROOT / "alphaf_orch").glob(name)]} <= {
        "docs/gpu-verification.md"
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page: Path) -> None:
    if page.name == "error-codes.md":
        return  # its messages are templates
    passed_on = dict(PASSED_ON.findall(makefile()))
    variables = set(re.findall(r"\b[A-Z][A-Z_]*\b", makefile()))
    for program, arguments in used(page):
        where = f"{page.name}: {program} {' '.join(arguments)}"
        if program == "alphaf":
            check_alphaf(arguments, where)
            continue
        goals = [word for word in arguments if "=" not in word]
        assert set(goals) <= targets() | {"X"}, where
        given = dict(word.split("=", 1) for word in arguments if "=" in word)
        assert given.keys() <= variables, where
        for goal in goals:
            if goal in passed_on:
                command = passed_on[goal]
                check_alphaf([command, *shlex.split(given.get("ARGS", ""))], where)
                parse_set(given.get("SET", "").split(), default="dpo" if command == "dpo" else "sft")


def test_the_pages_name_commands_at_all() -> None:
    found = {(program, *arguments[:1]) for page in PAGES for program, arguments in used(page)}
    assert {("make", "demo"), ("make", "test"), ("make", "sft"), ("make", "dpo"), ("alphaf", "models")} <= found


def test_a_wrong_command_is_noticed() -> None:
    with pytest.raises(AssertionError):
        check_alphaf(["train"], "here")
    with pytest.raises(AssertionError):
        check_alphaf(["dpo", "--trust-remote-code"], "here")
    with pytest.raises(click.ClickException):
        check_alphaf(["sft", "--set", "lora_rank=4"], "here")


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_every_make_target_is_in_the_table_of_users_or_in_that_of_developers(name: str) -> None:
    row = re.compile(r"^\| `make ([a-z-]+)` \|", flags=re.MULTILINE)
    assert set(row.findall(text(ROOT / name))) | set(row.findall(text(ROOT / "CONTRIBUTING.md"))) == targets()


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_readme_is_short_and_names_every_page(name: str) -> None:
    readme = text(ROOT / name)
    assert readme.count("\n") < 300
    pages = {str(page.relative_to(ROOT)) for page in PAGES} - {"README.md", "README.ko.md"}
    # A page each; the folder's index has their rows.
    pages -= {page for page in pages if page.startswith("docs/commands/") and "/README." not in page}
    assert {page for page in pages if f"]({page})" not in readme} == {"runs/README.md"}


def fences(page: Path) -> list[tuple[str, str]]:
    """Return every block with its language: what comments say in shell and YAML is the reader's language."""
    return [
        (language, re.sub(r"(^|[ \t]+)#(?!!).*$", "", body, flags=re.MULTILINE) if language in ("sh", "yaml") else body)
        for language, body in FENCE.findall(text(page))
    ]


def sections(page: Path) -> list[str]:
    """Return the prose cut at its headings; what stands before the first one is a section too."""
    return re.split(r"^#+ .*$", prose(page), flags=re.MULTILINE)


def tables(section: str) -> list[str]:
    return re.findall(r"^\|.*$", section, flags=re.MULTILINE)


def code(part: str) -> set[str]:
    """Return what stands in backquotes: identifiers, commands and messages, which are not translated."""
    return {" ".join(span.split()) for span in re.findall(r"`([^`]+)`", part)}


def numbers(part: str) -> set[str]:
    return set(re.findall(r"\d(?:[\d.,]*\d)?", re.sub(r"\]\([^)]*\)", "]", part)))


def places(page: Path, section: str) -> Counter[tuple[str, int]]:
    """Return where the section's links lead: the page, whatever its language, and the number of its heading."""
    led: Counter[tuple[str, int]] = Counter()
    for link in re.findall(r"\]\(([^)\s]+)\)", section):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        position = -1
        if anchor and target.suffix == ".md" and target.exists():
            heads = re.findall(r"^#+ (.+)$", prose(target), flags=re.MULTILINE)
            position = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads].index(anchor)
        led[(link if ":" in link else re.sub(r"\.ko(\.\w+)$", r"\1", str(target)), position)] += 1
    return led


def test_no_page_has_a_section_twice() -> None:
    heads = {page.relative_to(ROOT): Counter(re.findall(r"^## .+$", prose(page), flags=re.MULTILINE)) for page in PAGES}
    assert {name: head for name, found in heads.items() for head, count in found.items() if count > 1} == {}


@pytest.mark.parametrize(("english", "korean"), PAIRS, ids=[korean.name for _, korean in PAIRS])
def test_a_page_in_two_languages_has_the_same_sections_blocks_and_links(english: Path, korean: Path) -> None:
    def shape(page: Path) -> list[str]:
        return re.findall(r"^(#+) ", prose(page), flags=re.MULTILINE)

    # What a command prints is in the reader's language; test_walks.py compares the commands.
    told = {"console"} if korean.name == "walks.ko.md" else set()
    assert [each for each in fences(korean) if each[0] not in told] == [
        each for each in fences(english) if each[0] not in told
    ]
    assert shape(korean) == shape(english)
    for number, (ours, theirs) in enumerate(zip(sections(korean), sections(english), strict=True)):
        assert places(korean, ours) == places(english, theirs), f"section {number} leads elsewhere"


@pytest.mark.parametrize(("english", "korean"), PAIRS, ids=[korean.name for _, korean in PAIRS])
def test_a_page_in_two_languages_has_the_same_rows_names_and_figures(english: Path, korean: Path) -> None:
    for number, (ours, theirs) in enumerate(zip(sections(korean), sections(english), strict=True)):
        assert len(tables(ours)) == len(tables(theirs)), f"section {number}: a table has more rows in one of them"
        for row, same in zip(tables(ours), tables(theirs), strict=True):
            assert code(row) == code(same), same
            assert numbers(same) <= numbers(row), same
        assert code(theirs) - code(ours) == set(), f"section {number} lacks names"
        assert numbers(theirs) - numbers(ours) == set(), f"section {number} lacks figures"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name.endswith(".ko.md")], ids=lambda page: page.name)
def test_a_korean_page_leads_to_korean_pages(page: Path) -> None:
    """A line that names a page in both languages is right too, and so is the page's own English twin."""
    astray = []
    for line in prose(page).splitlines():
        links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", line)}
        for link in {link for link in links if link.endswith(".md") and not link.endswith(".ko.md")}:
            twin = link.removesuffix(".md") + ".ko.md"
            if (page.parent / twin).exists() and twin not in links and (page.parent / twin).resolve() != page:
                astray.append(link)
    assert astray == []


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_readme_names_the_locked_versions(name: str) -> None:
    pins = re.findall(r"^([\w-]+==[\w.]+)", text(ROOT / "requirements" / "gpu.lock"), flags=re.MULTILINE)
    table = re.search(r"^\| \| \|\n\|---\|---\|\n((?:\| .*torch .*\n|\| .*\n)+)", text(ROOT / name), flags=re.MULTILINE)
    assert table is not None
    named = re.findall(r"\b([a-z][\w-]+) (\d[\d.]+\d)", table[1])
    assert len(named) == 16
    assert {f"{tool}=={version}" for tool, version in named} <= set(pins)


def test_configuration_names_every_key_and_every_option() -> None:
    page = text(ROOT / "docs" / "configuration.md")
    assert {key for key in RunConfig.model_fields if f"`{key}`" not in page} == set()
    table = {}
    for names, commands in re.findall(r"^\| (`--.+?) \| ([a-z, -]+) \|", page, flags=re.MULTILINE):
        for option in re.findall(r"--[\w-]+", names):
            left_out = commands.removeprefix("all but ")
            listed = set(left_out.split(", "))
            table[option] = set(COMMANDS) - listed if left_out != commands else listed
    there: dict[str, set[str]] = {}
    for command in COMMANDS:
        found = load(command)
        inner = found.commands.values() if isinstance(found, click.Group) else ()
        for param in (*found.params, *(param for each in inner for param in each.params)):
            if isinstance(param, click.Option):
                there.setdefault(next(o for o in param.opts if o.startswith("--")), set()).add(command)
    assert table == there


def test_errors_names_every_exit_code() -> None:
    from alphaf_orch.core import errors

    codes = {kind.exit_code for kind in errors.AlphafError.__subclasses__()}
    named = {int(code) for code in re.findall(r"^\| (\d+) \|", text(ROOT / "docs" / "errors.md"), flags=re.MULTILINE)}
    assert codes <= named
