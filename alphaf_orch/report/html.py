"""A report as one self-contained HTML page; everything in it is text until the template escapes it."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import jinja2
from markupsafe import Markup, escape

from alphaf_orch.core.paths import find_template, template_folders
from alphaf_orch.core.wording import LANGUAGES, Language, Text, in_language
from alphaf_orch.core.yaml_files import read_text
from alphaf_orch.report.blocks import Figure, Report
from alphaf_orch.report.names import LEVELS, WORDS


def render_html(report: Report, language: Language) -> str:
    """Return the page, opening in `language`; it holds both languages, both themes and plotly itself."""
    from plotly.offline import get_plotlyjs

    folders = template_folders()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["both"] = both
    environment.filters["figure"] = figure_json
    for each in LANGUAGES:
        environment.filters[f"in_{each}"] = partial(in_language, language=each)
    template = environment.from_string(_read(folders, "report.html.jinja"))
    return template.render(
        report=report,
        title=in_language(report.title, language),
        language=language,
        words=WORDS,
        levels=LEVELS,
        # Ours and plotly's, not data: the only text that goes into the page as it is.
        style=Markup(_read(folders, "report.css")),
        script=Markup(_read(folders, "report.js")),
        plotly=Markup(get_plotlyjs()),
    )


def both(text: Text) -> Markup:
    """Return the text escaped, in both languages where they differ; the page shows one of them."""
    if isinstance(text, str):
        return _lines(text)
    if text.ko == text.en:
        return _lines(text.en)
    spans = (Markup('<span lang="{}">{}</span>').format(each, _lines(in_language(text, each))) for each in LANGUAGES)
    return Markup("").join(spans)


def figure_json(figure: Figure) -> str:
    """Return what the page's script draws, as JSON; it goes into an attribute, where nothing can end a script."""
    texts: dict[str, Any] = {
        "names": figure.names,
        "ticks": figure.ticks,
        "titles": (figure.x_title, figure.y_title),
    }
    spoken = {
        language: {key: [in_language(text, language) for text in values] for key, values in texts.items()}
        for language in LANGUAGES
    }
    # plotly writes its own JSON for numbers that JSON lacks; there are none here, and this would say so.
    return json.dumps(
        {"data": figure.data, "layout": figure.layout, "texts": spoken}, ensure_ascii=False, allow_nan=False
    )


def _lines(text: str) -> Markup:
    return Markup("<br>").join(escape(line) for line in text.split("\n"))


def _read(folders: Any, name: str) -> str:
    return read_text(find_template(folders, f"report/{name}"))
