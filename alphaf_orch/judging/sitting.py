"""One sitting of a judge: what is kept stays, the rest is asked, every outcome is written as it comes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from alphaf_orch.core import signals
from alphaf_orch.core.errors import JudgeError, ToolError, interrupted
from alphaf_orch.core.record import fingerprint
from alphaf_orch.judging.client import JudgeClient
from alphaf_orch.judging.pool import Failures, Outcome, Question, ask_all
from alphaf_orch.judging.preset import JudgePreset
from alphaf_orch.judging.progress import JudgeLine
from alphaf_orch.judging.verdicts import Name, Row, VerdictFile, open_verdicts

_TICK_S = 0.5
_LOG = "look at the server's log"


@dataclass(frozen=True)
class Sitting:
    """Questions to one judge, the file of their verdicts, and how a row of that file is recognised."""

    title: str
    path: Path
    questions: Sequence[Question]
    name: Callable[[Row], Name]
    expected: Callable[[Row], Mapping[str, str] | None]
    parts: Mapping[str, str]  # what each key of a row stands for, in words
    again: bool = False  # ask what was refused, though nothing has changed


# Makes the summary; what it is given are the names of the questions that have no row.
Summarize = Callable[[Sequence[Name]], Row]


def hold(sitting: Sitting, preset: JudgePreset, console: Console, summarize: Summarize) -> Row:
    """Return the summary after asking what has no verdict yet; it is made too where not all went well.

    Raises RunStateError where the file belongs to another question, ToolError where the judge did not answer all
    of them, JudgeError where nothing of all that was asked can be read, and Interrupted on Ctrl-C; every verdict so
    far is kept then.
    """
    with open_verdicts(sitting.path) as file:
        try:
            return asyncio.run(_hold(sitting, preset, console, file, summarize))
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise interrupted(
                "judging was interrupted",
                where=str(sitting.path),
                fix="the same command goes on with the questions that lack a verdict",
            ) from None


async def _hold(
    sitting: Sitting, preset: JudgePreset, console: Console, file: VerdictFile, summarize: Summarize
) -> Row:
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    # What is ignored stays so.
    before = {number: handler for number in signals.STOPPING if callable(handler := signal.getsignal(number))}

    def stop(number: int) -> None:
        signals.noted(number)
        if task:
            task.cancel()

    for number in before:
        # An exception out of a signal handler would leave the loop in pieces.
        loop.add_signal_handler(number, stop, number)
    try:
        async with JudgeClient(preset) as client:
            return await _ask(sitting, preset, console, file, client, summarize)
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def _ask(
    sitting: Sitting,
    preset: JudgePreset,
    console: Console,
    file: VerdictFile,
    client: JudgeClient,
    summarize: Summarize,
) -> Row:
    judge = {"judge": preset.identity(await client.find_model())}
    # What a refusal depends on beside: another server, or one with a longer context, may answer.
    refuser = {"refused_by": fingerprint([preset.url, client.context])[:16]}
    bound = {"refused_by": "nobody"} if sitting.again else refuser

    def expected(row: Row) -> Mapping[str, str] | None:
        keys = sitting.expected(row)
        return None if keys is None else {**keys, **judge, **(bound if row.get("refused") else {})}

    kept = file.kept(sitting.name, expected, {**sitting.parts, "judge": "the judge (model, sampling)"})
    lacking = {question.name: question for question in sitting.questions if question.name not in kept}
    failures = Failures(preset.max_failures)
    try:
        total = len(sitting.questions)
        with JudgeLine(console, sitting.title, total, total - len(lacking), failures) as line:

            def record(question: Question, outcome: Outcome) -> None:
                keys = {**question.keys, **judge, **(refuser if outcome.refused else {})}
                file.append(_row(question, outcome, client.model, keys))
                del lacking[question.name]
                line.add(outcome)

            ticking = asyncio.create_task(_tick(line))
            try:
                await ask_all(client, list(lacking.values()), record, failures, preset.concurrency)
            finally:
                ticking.cancel()
    finally:
        summary = summarize(list(lacking)) if sitting.path.stat().st_size else {}
    if failures.count:
        given_up = "the judge does not answer" if failures.over else f"{failures.count} questions were not answered"
        raise ToolError(
            f"{given_up}: {failures.last}",
            where=f"{preset.url}; verdicts so far: {sitting.path}",
            fix=f"{failures.fix or _LOG}; the same command goes on with the questions that lack a verdict",
            code="tool.no_answer",
        )
    if sitting.questions and not summary["judged"]:
        raise _nothing_read(sitting, summary)
    return summary


def _nothing_read(sitting: Sitting, summary: Row) -> JudgeError:
    causes = "; ".join(f"{cause['verdicts']} {cause['end']}: {cause['why']}" for cause in summary["causes"][:3])
    return JudgeError(
        f"nothing that the judge was asked could be read: {causes or 'no prompt has a verdict in both orders'}",
        where=str(sitting.path),
        fix="mend the cause (max_tokens, the server's context, the judge itself); what was refused is asked again by"
        " the same command, for what could not be read rename or remove that folder first",
        code="judge.nothing_readable",
    )


async def _tick(line: JudgeLine) -> None:
    """Show the line while a slow judge thinks, too."""
    while True:
        await asyncio.sleep(_TICK_S)
        line.show()


def _row(question: Question, outcome: Outcome, model: str, keys: Mapping[str, str]) -> Row:
    verdict = outcome.verdict
    refused = {"refused": outcome.refused} if outcome.refused else {}
    return {
        **question.row,
        question.field: question.meaning[verdict.value] if verdict else None,
        "reason": verdict.reason if verdict else None,
        "error": outcome.error,
        "reply": outcome.reply,
        "attempts": outcome.attempts,
        "usage": outcome.usage,
        "seconds": outcome.seconds,
        "judge": model,
        "keys": keys,
        **refused,
    }
