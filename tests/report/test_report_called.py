"""A report's commands are spelled `alphaf`; its last line says how that was called where it was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphaf_orch.core.called import Called
from alphaf_orch.report.markdown import render_markdown
from alphaf_orch.report.write import page


@pytest.mark.parametrize(
    ("spelled", "said"),
    [
        (".venv/bin/alphaf", "called as .venv/bin/alphaf."),
        ("~HOME~/도구/bin/alphaf", "called as ~/도구/bin/alphaf."),
        ("alphaf", None),
    ],
)
def test_the_last_line_says_how_alphaf_was_called(
    monkeypatch: pytest.MonkeyPatch, spelled: str, said: str | None
) -> None:
    monkeypatch.setenv("HOME", "/home/kim")
    spelled = spelled.replace("~HOME~", str(Path.home()))
    monkeypatch.setattr("alphaf_orch.report.write.here", lambda: Called(spelled))
    made = page("제목", [], [])
    english, korean = (render_markdown(made, language).replace("\\", "") for language in ("en", "ko"))
    assert ("called as" in english) is (said is not None)
    if said:
        assert said in english
        assert said.removeprefix("called as ").rstrip(".") + "(으)로 실행했습니다." in korean
    assert "kim" not in english + korean
