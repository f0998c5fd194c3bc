"""Child program: lets a model answer prompts, greedily and in batches.

Usage: python -m alphaf_orch.programs.evaluation.generate_answers CONFIG.yaml

Config keys: stage, model (folder or hub id), revision, trust_remote_code, reference (folder of the first trained
model, or null while there is none; then chat_template, added_tokens and special_tokens), prompts (JSON Lines of id,
turns, system), output and progress (JSON Lines, appended to), key, max_new_tokens, batch_size.

Each line of `output` is {id, turns, tokens, seconds, truncated, key}: the answers so far. A prompt of two turns
gets a second line once its second turn is answered; the last line of an id counts. Lines of the same key are
kept, so the same call goes on where it stopped. Exit codes: 2 config, 3 prompts, 4 model or tokenizer,
8 a model whose tokenizer is not the trained one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import CONFIG, DATA, Failure, config_path, program, read_config
from alphaf_orch.programs.evaluation.answer_model import AnswerModel, load_model
from alphaf_orch.programs.json_lines import cut_half_line, whole_rows
from alphaf_orch.programs.rows import read_rows

KEYS = ("stage", "model", "revision", "trust_remote_code", "reference", "prompts", "output", "progress", "key")
NUMBERS = ("max_new_tokens", "batch_size")
Row = dict[str, Any]


def load_config(path: str) -> dict[str, Any]:
    """Return the config; a missing key ends with exit code 2."""
    given = read_config(path, (*KEYS, *NUMBERS))
    for key in NUMBERS:
        if type(given[key]) is not int or given[key] < 1:
            raise Failure(
                CONFIG,
                f"{key} must be a whole number from 1 on",
                where=path,
                fix="Correct it",
                code="config.out_of_range",
            )
    return given


def kept_rows(output: Path, key: str) -> dict[str, Row]:
    """Return the answers that are there for this key, by id, having cut off a last line that was not finished."""
    if not output.is_file():
        return {}
    cut_half_line(output)
    rows = whole_rows(output.read_text(encoding="utf-8", errors="replace"))
    return {row["id"]: row for row in rows if row["key"] == key}


class Work:
    """The conversations that still lack an answer, and the files that answers and progress go to."""

    def __init__(self, config: Mapping[str, Any], model: AnswerModel, prompts: list[Row]) -> None:
        self.config, self.model, self.prompts = config, model, prompts
        self.output = Path(config["output"])
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.kept = kept_rows(self.output, config["key"])
        cut_half_line(Path(config["progress"]))
        self.tokens = 0
        self.started = time.monotonic()

    def pending(self) -> list[tuple[Row, list[int]]]:
        """Return the prompts whose next turn can be answered now: first turns first, the longest of them first.

        A batch that is too big for the memory so fails at once, not after an hour.
        """
        answered = {prompt["id"]: len(self._turns(prompt)) for prompt in self.prompts}
        left = [prompt for prompt in self.prompts if answered[prompt["id"]] < len(prompt["turns"])]
        turn = min((answered[prompt["id"]] for prompt in left), default=0)
        found = [(p, self.model.encode(self.messages(p), p["id"])) for p in left if answered[p["id"]] == turn]
        return sorted(found, key=lambda pair: -len(pair[1]))

    def messages(self, prompt: Row) -> list[dict[str, str]]:
        """Return the conversation so far with the next question at its end."""
        messages = [{"role": "system", "content": prompt["system"]}] if prompt.get("system") else []
        for question, answer in zip(prompt["turns"], [*self._turns(prompt), None], strict=False):
            messages.append({"role": "user", "content": question})
            if answer is not None:
                messages.append({"role": "assistant", "content": answer})
        return messages

    def _turns(self, prompt: Row) -> list[str]:
        turns: list[str] = self.kept[prompt["id"]]["turns"] if prompt["id"] in self.kept else []
        return turns

    def answer(self, batch: list[tuple[Row, list[int]]]) -> None:
        """Answer one batch and write its lines."""
        began = time.monotonic()
        made = self.model.generate([ids for _, ids in batch])
        seconds = (time.monotonic() - began) / len(batch)
        with self.output.open("a", encoding="utf-8") as file:
            for (prompt, _), answer in zip(batch, made, strict=True):
                before = self.kept.get(prompt["id"], {"turns": [], "tokens": 0, "seconds": 0.0, "truncated": False})
                row = {
                    "id": prompt["id"],
                    "turns": [*before["turns"], answer.text],
                    "tokens": before["tokens"] + answer.tokens,
                    "seconds": round(before["seconds"] + seconds, 3),
                    "truncated": before["truncated"] or answer.truncated,
                    "key": self.config["key"],
                }
                self.kept[prompt["id"]] = row
                self.tokens += answer.tokens
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.say()

    def say(self) -> None:
        """Append how far it came, in turns, in the form of a training metric without a loss."""
        elapsed = time.monotonic() - self.started
        line = {
            "time": time.time(),
            "step": sum(len(self._turns(prompt)) for prompt in self.prompts),
            "max_steps": sum(len(prompt["turns"]) for prompt in self.prompts),
            "loss": None,
            "tokens_per_s": self.tokens / elapsed if self.tokens else None,
        }
        with Path(self.config["progress"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def run(config: dict[str, Any]) -> int:
    """Answer what lacks an answer and return the number of prompts."""
    try:
        prompts = [row for _, row in read_rows(config["prompts"])]
    except (OSError, ValueError) as error:
        raise Failure(
            DATA, f"cannot read the prompts: {error}", where=config["prompts"], fix="Mend it", code="data.unreadable"
        ) from error
    model = load_model(config)
    for prompt in prompts:
        model.check_room(prompt)
    work = Work(config, model, prompts)
    work.say()
    answer_all(work, config["batch_size"])
    return len(prompts)


def answer_all(work: Work, batch_size: int) -> None:
    """Answer turn after turn, in smaller batches where the memory does not hold this size."""
    from accelerate.utils import find_executable_batch_size

    def attempt(size: int) -> None:
        while todo := work.pending():
            for start in range(0, len(todo), size):
                work.answer(todo[start : start + size])

    find_executable_batch_size(attempt, starting_batch_size=batch_size)()


def main(argv: list[str]) -> None:
    """Run with the config named on the command line."""
    print(f"{run(load_config(config_path(argv)))} prompts answered")


if __name__ == "__main__":
    program(main)
