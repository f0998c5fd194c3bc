"""What every report ends with, and how it is written: the page and, beside it, Markdown in both languages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from alphaf_orch import __version__
from alphaf_orch.core.called import here
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.masking import mask
from alphaf_orch.core.record import now, write_atomic
from alphaf_orch.core.wording import LANGUAGES, Label, Language, Text, join
from alphaf_orch.report.blocks import Report, Section
from alphaf_orch.report.figures import moment
from alphaf_orch.report.html import render_html
from alphaf_orch.report.markdown import render_markdown


def page(title: Text, about: Sequence[Text], sections: Iterable[Section]) -> Report:
    """Return the report with when and by what it was made; `about` stands below the title."""
    made = Label(f"작성 {moment(now())}", f"made {moment(now())}")
    footer = Label(
        f"alphaf {__version__}이 만든 문서입니다. 이 파일 하나로 완결되며 네트워크를 쓰지 않습니다.",
        f"Made by alphaf {__version__}. This file is complete in itself and uses no network.",
    )
    return Report(title, join([*about, made]), tuple(sections), join([footer, *_called()], " "))


def _called() -> list[Text]:
    """Return how the alphaf of the page's commands was called: whoever reads it elsewhere calls it otherwise."""
    home, spelled = str(Path.home()), here().alphaf
    if spelled == "alphaf":
        return []
    spelled = spelled.replace(f"{home}/", "~/") if home != "/" else spelled  # a user's name is nobody's business
    return [
        Label(
            f"이 문서를 만든 장비에서는 alphaf를 {spelled}(으)로 실행했습니다.",
            f"Where it was made, alphaf was called as {spelled}.",
        )
    ]


def write_report(content: Report, page: Path, language: Language) -> tuple[Path, ...]:
    """Write the files and return their paths, the page first; raise ConfigError where they cannot be written."""
    files = {page: render_html(content, language)}
    for each in LANGUAGES:
        files[page.with_name(f"{page.stem}.{each}.md")] = render_markdown(content, each)
    try:
        for path, text in files.items():
            write_atomic(path, mask(text))
    except OSError as error:
        raise ConfigError(
            f"the report cannot be written: {error.strerror}",
            where=str(page),
            fix="name another file with --output",
            code="config.not_writable",
        ) from None
    return tuple(files)
