"""The run's date in chat templates: `strftime_now` of transformers says it on any day, in every process of a run."""

from __future__ import annotations

import os
from datetime import datetime, tzinfo


def fix_date() -> None:
    """Make chat templates see $ALPHAF_DATE (YYYY-MM-DD) as today, at midnight; nothing changes where it is not set.

    Of transformers 5.16.1: templates ask `strftime_now`, which asks the module's own `datetime`. axolotl, TRL and
    lm-eval render through it.
    """
    said = os.environ.get("ALPHAF_DATE")
    if not said:
        return
    from transformers.utils import chat_template_utils

    day = datetime.fromisoformat(said)

    class RunDate(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return day.replace(tzinfo=tz)

    chat_template_utils.datetime = RunDate
