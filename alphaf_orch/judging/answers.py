"""What a model of the chain answers to a prompt set: made once by a child program, kept, read back."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from alphaf_orch.core.command import PROGRAM_ENV, program
from alphaf_orch.core.errors import StageError, interruptible
from alphaf_orch.core.lock import held
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import StageLine, tell
from alphaf_orch.core.record import fingerprint, write_atomic
from alphaf_orch.core.render import plain
from alphaf_orch.core.stored import Unreadable, absent, first_mistake, numbered_lines, set_aside, unreadable
from alphaf_orch.inputs.identity import EARLIER
from alphaf_orch.inputs.presets import remote_code
from alphaf_orch.judging.prompts import EMBEDDED, Prompt, PromptSet, load_prompts
from alphaf_orch.planning.base import find_preset, tool_python
from alphaf_orch.runs.chain import ChainModel, run_config
from alphaf_orch.runs.damage import refuse_model
from alphaf_orch.runs.launch import exited, launch
from alphaf_orch.runs.reference import Reference, find_reference
from alphaf_orch.runs.run_date import date_env
from alphaf_orch.settings.config import RunConfig

__all__ = [
    "EMBEDDED",
    "Answer",
    "Prompt",
    "PromptSet",
    "ensure_answers",
    "kept_answers",
    "load_prompts",
    "read_answers",
]

MAX_NEW_TOKENS = 512  # ours: a page of Korean; longer answers are cut and marked so
BATCH_SIZE = 16  # ours: 1,000 tokens each are 3 GB of keys and values in EEVE; smaller by itself where it does not fit
_VERSION = 1  # bump where the same inputs would give other answers


@dataclass(frozen=True)
class Answer:
    """What a model said to one prompt, an answer a turn; `truncated` where one of them met the token limit."""

    id: str
    turns: tuple[str, ...]
    tokens: int
    seconds: float
    truncated: bool


def ensure_answers(
    paths: RunPaths,
    model: ChainModel,
    prompts: PromptSet,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    limit: int | None = None,
    console: Console,
    verbose: bool = False,
) -> dict[str, Answer]:
    """Return the model's answers to the prompts (the first `limit` of them) by id, making those that lack.

    Raises StageError where the child program fails, Interrupted on Ctrl-C (what is answered is kept) and
    RunStateError where another process answers for this run.
    """
    wanted = prompts.prompts[:limit]
    config = run_config(paths)
    reference = find_reference(paths, (model,))
    key = _key(model, prompts, reference, max_new_tokens)
    final = paths.answers(model.stage, prompts.name)
    if _lacking(wanted, _glance(final, key)):
        what = f"the making of answers of run {paths.full_name}"
        with held(paths.answers_lock, what, heed=paths.stop_wish) as lock_fd:
            kept = _kept(final, key, paths, console)  # another call may have ended before the lock
            lacking = _lacking(wanted, kept)
            if lacking:
                with interruptible(f"answers_{model.stage}", final, "the same command goes on"):
                    refuse_model(Path(model.path), "use")
                if not kept and final.is_file():
                    what = f"answers of {model.stage}: those kept are of other prompts, settings or another model"
                    tell(console, f"{what}, asked again ({EARLIER})")
                work = paths.scratch("answers") / model.stage / prompts.name
                child = {
                    "stage": model.stage,
                    "model": model.path,
                    "revision": model.revision,
                    "trust_remote_code": remote_code(find_preset(config), allowed=config.trust_remote_code),
                    "reference": str(reference.folder) if reference.folder else None,
                    **reference.setup,
                    "prompts": str(work / "prompts.jsonl"),
                    "output": str(work / f"{key[:16]}.jsonl"),
                    "progress": str(work / "progress.jsonl"),
                    "key": key,
                    "max_new_tokens": max_new_tokens,
                    "batch_size": BATCH_SIZE,
                }
                made = _generate(paths, model, lacking, child, config, lock_fd, console, verbose=verbose)
                _publish(final, prompts, {**kept, **made}, key)
                shutil.rmtree(work)
                tell(console, _done_line(model, [made[p.id] for p in lacking]))
    else:
        tell(console, f"answers of {model.stage}: {len(wanted)} kept, {final}", style="dim")
    answers = read_answers(final, key)
    return {prompt.id: answers[prompt.id] for prompt in wanted}


def kept_answers(
    paths: RunPaths, model: ChainModel, prompts: PromptSet, *, max_new_tokens: int = MAX_NEW_TOKENS, limit: int | None
) -> dict[str, Answer] | None:
    """Return the answers as `ensure_answers` does, but None where some of them lack: none is made."""
    wanted = prompts.prompts[:limit]
    key = _key(model, prompts, find_reference(paths, (model,)), max_new_tokens)
    answers = _glance(paths.answers(model.stage, prompts.name), key)
    return None if _lacking(wanted, answers) else {prompt.id: answers[prompt.id] for prompt in wanted}


def _key(model: ChainModel, prompts: PromptSet, reference: Reference, max_new_tokens: int) -> str:
    asked = [(prompt.id, prompt.turns, prompt.system) for prompt in prompts.prompts]
    how = {"max_new_tokens": max_new_tokens, "decoding": "greedy", "reference": reference.identity}
    return fingerprint([_VERSION, model.identity, asked, how])


def read_answers(path: Path, key: str | None = None) -> dict[str, Answer]:
    """Return the answers a file holds (with `key`, those made under it) by id; none where there is no file.

    Raises RunStateError naming the first whole line that is no answer.
    """
    found: dict[str, Answer] = {}
    if absent(path):
        return found
    for number, line in numbered_lines(path):
        if not line.endswith(b"\n"):
            break  # a program was killed while it wrote
        try:
            row = json.loads(line)
            made = row.pop("key")
            answer = _kind().validate_python(row)
        except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
            why = first_mistake(error) if isinstance(error, ValidationError) else "it is no JSON object with a key"
            raise unreadable(path, f"line {number:,}: {why}") from None
        if key in (None, made):
            found[answer.id] = answer
    return found


@functools.cache  # built when one is read
def _kind() -> TypeAdapter[Answer]:
    return TypeAdapter(Answer)


def _glance(path: Path, key: str) -> dict[str, Answer]:
    try:
        return read_answers(path, key)
    except Unreadable:
        return {}  # `_kept` sees to it, under the lock


def _kept(path: Path, key: str, paths: RunPaths, console: Console) -> dict[str, Answer]:
    """Return the answers that are kept under the key; a damaged file is set aside, and it is said."""
    try:
        return read_answers(path, key)
    except Unreadable as error:
        tell(console, f"{error.what}; set aside: {set_aside(path, paths.root)}, asked again")
        return {}


def _lacking(prompts: Sequence[Prompt], answers: dict[str, Answer]) -> list[Prompt]:
    return [p for p in prompts if p.id not in answers or len(answers[p.id].turns) != len(p.turns)]


def _done_line(model: ChainModel, made: Sequence[Answer]) -> str:
    cut = sum(answer.truncated for answer in made)
    return (
        f"answers of {model.stage}: {len(made)} prompts in {sum(answer.seconds for answer in made):.0f} s,"
        f" {sum(answer.tokens for answer in made):,} tokens, {cut} cut at the token limit"
    )


def _publish(final: Path, prompts: PromptSet, answers: dict[str, Answer], key: str) -> None:
    """Put the answers in place in the order of the prompts; answers under another key stay until this moment."""
    lacking = {p.id for p in _lacking(prompts.prompts, answers)}  # half a conversation of a call that was stopped
    rows = (asdict(answers[p.id]) | {"key": key} for p in prompts.prompts if p.id not in lacking)
    write_atomic(final, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _generate(
    paths: RunPaths,
    model: ChainModel,
    prompts: Sequence[Prompt],
    child: dict[str, Any],
    config: RunConfig,
    lock_fd: int,
    console: Console,
    *,
    verbose: bool,
) -> dict[str, Answer]:
    name = f"answers_{model.stage}"
    file, output = paths.rendered(f"{name}.yaml"), Path(child["output"])
    asked = ({"id": p.id, "turns": p.turns, "system": p.system} for p in prompts)
    write_atomic(Path(child["prompts"]), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in asked))
    argv = program(tool_python(config, "axolotl"), "evaluation.generate_answers", str(file))
    again = "the same command goes on with the prompts that lack an answer"
    line = StageLine(console, name, Path(child["progress"]), paths.log(name), verbose=verbose)
    env = {**PROGRAM_ENV, **date_env(paths)}
    with interruptible(name, output, again):
        done = launch(argv, line, lock_fd, env=env, files={file: plain(child)})
    if done.exit_code:
        raise exited(name, done, line.log, f"mend the cause; {again}")
    made = read_answers(output, child["key"])
    left = _lacking(prompts, made)
    if left:
        what = f"{name} ended without an answer to {len(left)} prompts, the first of them {left[0].id}"
        raise StageError(what, where=f"{output}; log: {line.log}", fix=again, code="stage.results_incomplete")
    return made
