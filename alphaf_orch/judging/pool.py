"""Asks a judge many questions: a bounded number at a time, each until its reply can be read or is given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from alphaf_orch.core.errors import DiskError
from alphaf_orch.judging.client import JudgeClient, NoReplyError, RefusedError, Reply
from alphaf_orch.judging.refusals import Kind
from alphaf_orch.judging.reply import UnreadableError, Verdict, parse_verdict
from alphaf_orch.judging.verdicts import Name, Row

ATTEMPTS = 3  # the question, and two reminders
_EXCERPT = 500


@dataclass(frozen=True)
class Question:
    """One thing to ask, and what the row of its verdict says besides the verdict."""

    name: Name
    row: Row
    keys: Mapping[str, str]  # fingerprints of what the verdict depends on
    text: str
    reminder: str  # put after the text for a second attempt
    field: str  # the key of the verdict, in the judge's JSON and in the row
    meaning: Mapping[str, str]  # from what the judge may say to what the row says: A is b where b is shown first


@dataclass(frozen=True)
class Outcome:
    """What came of a question; without a verdict `error` says why and `reply` how the last reply began.

    `refused` is why the server, or the judge, would not answer this one.
    """

    verdict: Verdict | None
    error: str | None
    reply: str | None
    attempts: int
    usage: dict[str, int] | None
    seconds: float
    refused: Kind | None = None


@dataclass
class Failures:
    """The questions that the server left unanswered."""

    allowed: int
    count: int = 0
    last: str = ""
    fix: str | None = None
    over: bool = False

    def add(self, error: NoReplyError) -> None:
        """Count one; `over` becomes true when there is no point in going on."""
        self.count += 1
        self.last, self.fix = str(error), error.fix
        self.over = self.over or error.for_good or self.count > self.allowed


async def ask_all(
    client: JudgeClient,
    questions: Sequence[Question],
    record: Callable[[Question, Outcome], None],
    failures: Failures,
    concurrency: int,
) -> None:
    """Ask every question and hand each outcome to `record` as it comes; a refusal ends its own question only.

    A question that the server does not answer is counted in `failures` and not recorded; when they are over,
    nothing more is asked and requests under way are given up.
    """
    waiting = iter(questions)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(questions))):
                group.create_task(_work(client, waiting, record, failures))
    except* NoReplyError:
        pass  # counted, and the group has ended the other workers
    except* (DiskError, OSError) as problems:
        raise problems.exceptions[0] from None


async def _work(
    client: JudgeClient, waiting: Iterator[Question], record: Callable[[Question, Outcome], None], failures: Failures
) -> None:
    for question in waiting:
        try:
            outcome = await _ask(client, question)
        except NoReplyError as error:
            failures.add(error)
            if failures.over:
                raise
        else:
            record(question, outcome)


async def _ask(client: JudgeClient, question: Question) -> Outcome:
    started = time.monotonic()
    replies: list[Reply] = []
    verdict, error, refused = None, None, None
    while verdict is None and len(replies) < ATTEMPTS:
        try:
            replies.append(await client.ask(question.text + (question.reminder if replies else "")))
            verdict, error = parse_verdict(replies[-1].text, question.field, tuple(question.meaning)), None
        except UnreadableError as problem:
            error = _cause(replies[-1], str(problem))
        except RefusedError as problem:
            error, refused = str(problem), problem.kind
            break
    seconds = round(time.monotonic() - started, 3)
    excerpt = replies[-1].text[:_EXCERPT] if replies and verdict is None else None
    return Outcome(verdict, error, excerpt, len(replies) + (refused is not None), _usage(replies), seconds, refused)


def _cause(reply: Reply, problem: str) -> str:
    """Return why a reply could not be read, in the words of what ended it where that is known."""
    if not reply.text.strip():
        problem = f"no answer behind {reply.thoughts} characters of thoughts" if reply.thoughts else "an empty reply"
    return f"cut off at max_tokens: {problem}" if reply.cut else problem


def _usage(replies: Sequence[Reply]) -> dict[str, int] | None:
    """Return the tokens of all attempts, or None where the server left out one of them."""
    prompts = [reply.prompt_tokens for reply in replies if reply.prompt_tokens is not None]
    completions = [reply.completion_tokens for reply in replies if reply.completion_tokens is not None]
    if not len(prompts) == len(completions) == len(replies):
        return None
    return {"prompt_tokens": sum(prompts), "completion_tokens": sum(completions)}
