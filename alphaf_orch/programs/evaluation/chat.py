"""Child program: talks to the finished model of --model DIR; answers stream and the conversation is kept.

On a terminal it asks with "> "; /reset forgets the conversation, /exit, end of input or Ctrl-C end it. With
--prompt it answers once; with piped input every line is one turn, and only answers are printed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alphaf_orch.programs.architectures.orion import register
from alphaf_orch.programs.common import FAILED, Failure, program
from alphaf_orch.programs.turn_end import end_ids

Message = dict[str, str]


class Chat:
    """A loaded model and one conversation with it; each turn's answer is streamed to stdout."""

    def __init__(self, folder: Path, *, system: str | None, max_new_tokens: int, temperature: float) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        register()
        if not (folder / "config.json").is_file():
            raise Failure(
                FAILED,
                "no model here",
                where=folder,
                fix="name the folder of a finished (merged) model",
                code="stage.model_missing",
            )
        self.folder = folder
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        if self.tokenizer.chat_template is None:
            fix = "chat with a model that the sft stage has trained"
            raise Failure(
                FAILED, "the tokenizer has no chat template", where=folder, fix=fix, code="stage.no_chat_template"
            )
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").to(device).eval()
        named = self.model.generation_config.eos_token_id
        if named is None:
            fix = "merge again: the merge writes eos into generation_config.json"
            raise Failure(
                FAILED,
                "the model names no eos, so no answer would end",
                where=folder,
                fix=fix,
                code="stage.no_turn_end",
            )
        sampling = {"temperature": temperature, "top_p": 1.0, "top_k": 0}
        self.settings: dict[str, Any] = {
            "max_new_tokens": max_new_tokens,
            "pad_token_id": self.tokenizer.pad_token_id,
            # A model merged before the merge wrote the end of a turn beside eos must stop there too.
            "eos_token_id": sorted({*(named if isinstance(named, list) else [named]), *end_ids(self.tokenizer)}),
            "do_sample": temperature > 0,
            # Greedy decoding warns about sampling values that the model's generation_config may carry.
            **(sampling if temperature > 0 else dict.fromkeys(sampling)),
        }
        self.opening: list[Message] = [{"role": "system", "content": system}] if system else []
        self.messages = list(self.opening)

    def reset(self) -> None:
        """Forget every turn but the system text."""
        self.messages = list(self.opening)

    def answer(self, text: str) -> str:
        """Stream and return the model's answer to `text`, keeping both turns; raise Failure if too long."""
        import torch
        from transformers import TextStreamer

        asked = [*self.messages, {"role": "user", "content": text}]
        inputs = self.tokenizer.apply_chat_template(
            asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self.model.device)
        length = inputs["input_ids"].shape[1]
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if limit and length + self.settings["max_new_tokens"] > limit:
            what = f"{length} tokens and {self.settings['max_new_tokens']} new ones pass the model's {limit}"
            raise Failure(
                FAILED,
                what,
                where=self.folder,
                fix="/reset the conversation or lower --max-new-tokens",
                code="stage.too_long",
            )
        streamer = TextStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        with torch.inference_mode():
            made = self.model.generate(**inputs, **self.settings, streamer=streamer)
        reply: str = self.tokenizer.decode(made[0, length:], skip_special_tokens=True)
        self.messages = [*asked, {"role": "assistant", "content": reply}]
        return reply


def main(argv: list[str]) -> int:
    """Chat until the input ends and return the exit code."""
    parser = argparse.ArgumentParser(description="Talk to a finished model.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--max-new-tokens", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.0, help="0 (greedy) unless given")
    parser.add_argument("--system", help="system text that opens the conversation")
    parser.add_argument("--prompt", help="answer this and end")
    options = parser.parse_args(argv)
    if options.max_new_tokens < 1 or options.temperature < 0:
        parser.error("--max-new-tokens must be at least 1 and --temperature at least 0")
    # Korean must pass whatever the locale says.
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    _silence()
    try:
        chat = Chat(
            options.model,
            system=options.system,
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
        )
        return _talk(chat, options.prompt)
    except KeyboardInterrupt:
        print()
        return 0


def _talk(chat: Chat, prompt: str | None) -> int:
    if prompt is not None:
        chat.answer(prompt)
        return 0
    terminal, failed = sys.stdin.isatty(), False
    for line in _terminal_lines() if terminal else sys.stdin:
        text = line.strip()
        if text == "/exit":
            break
        if text == "/reset":
            chat.reset()
        elif text:
            try:
                chat.answer(text)
            except Failure as failure:
                failure.show()
                failed = True
    return int(failed and not terminal)


def _terminal_lines() -> Iterator[str]:
    prompt = "> "
    try:
        import readline  # noqa: F401  # arrow keys and history in input()
    except ImportError:  # then input() writes its prompt to stderr, which alphaf shows by whole lines
        prompt = ""
    while True:
        if not prompt:
            print("> ", end="", flush=True)
        try:
            yield input(prompt)
        except EOFError:
            print()
            return


def _silence() -> None:
    """Keep the libraries' start-up talk and progress bars away from the conversation."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)  # torchao and torch log at import
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


if __name__ == "__main__":
    program(main)
