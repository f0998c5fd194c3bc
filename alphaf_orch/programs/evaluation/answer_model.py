"""A loaded model that answers batches of conversations greedily, through the chat template of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alphaf_orch.programs.architectures.orion import register
from alphaf_orch.programs.common import DATA, MODEL, Failure
from alphaf_orch.programs.evaluation.eval_tokenizer import base_tokenizer, check_trained, load, untrained_reference
from alphaf_orch.programs.turn_end import end_ids


@dataclass(frozen=True)
class Made:
    """One generated answer; `tokens` without the end marker, `truncated` where it met no end."""

    text: str
    tokens: int
    truncated: bool


class AnswerModel:
    """A model in evaluation mode with its tokenizer; every answer ends at one of `ends` or at the token limit."""

    def __init__(self, model: Any, tokenizer: Any, max_new_tokens: int) -> None:
        from transformers import GenerationConfig

        self.model, self.tokenizer = model, tokenizer
        self.max_new_tokens = max_new_tokens
        self.ends = _end_ids(model, tokenizer)
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else min(self.ends)
        # Set whole: sampling values and penalties a model brings along would make it another comparison.
        model.generation_config = GenerationConfig(
            do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=sorted(self.ends), pad_token_id=self.pad
        )

    @property
    def context(self) -> int | None:
        """How many tokens the model can hold, where its config says so."""
        size: int | None = getattr(self.model.config, "max_position_embeddings", None)
        return size

    def check_room(self, prompt: Mapping[str, Any]) -> None:
        """Raise Failure for a prompt that may not fit: its texts, and answers of full length to each turn."""
        messages = [{"role": "system", "content": prompt["system"]}] if prompt.get("system") else []
        for turn in prompt["turns"]:
            messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": ""}]
        self.encode(messages[:-1], prompt["id"], answers=len(prompt["turns"]))

    def encode(self, messages: Sequence[Mapping[str, str]], name: str, *, answers: int = 1) -> list[int]:
        """Return the ids of a conversation ready for its next answer; raise Failure where `answers` do not fit."""
        from jinja2 import TemplateError

        try:
            ids: list[int] = self.tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, tokenize=True, return_dict=False
            )
        except TemplateError as error:
            what = f"the chat template refuses prompt {name}: {error}"
            raise Failure(
                DATA, what, where=f"the prompt {name}", fix="Change the prompt", code="data.template_refuses"
            ) from error
        needed = len(ids) + answers * self.max_new_tokens
        if self.context and needed > self.context:
            what = (
                f"the prompt {name} has {len(ids)} tokens; with {answers} x {self.max_new_tokens} new ones it needs "
                f"{needed}, the model holds {self.context}"
            )
            raise Failure(
                DATA,
                what,
                where=f"the prompt {name}",
                fix="Lower --max-new-tokens, or shorten the prompt",
                code="data.template_refuses",
            )
        return ids

    def generate(self, batch: list[list[int]]) -> list[Made]:
        """Return an answer to each conversation of the batch."""
        import torch

        width = max(map(len, batch))
        inputs = torch.full((len(batch), width), self.pad)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        for row, ids in enumerate(batch):
            # Padded on the left: a new token must follow the prompt itself.
            inputs[row, width - len(ids) :] = torch.tensor(ids)
            mask[row, width - len(ids) :] = 1
        device = self.model.device
        with torch.inference_mode():
            made = self.model.generate(input_ids=inputs.to(device), attention_mask=mask.to(device))
        return [self._made(ids) for ids in made[:, width:].tolist()]

    def _made(self, ids: list[int]) -> Made:
        end = next((place for place, token in enumerate(ids) if token in self.ends), None)
        text: str = self.tokenizer.decode(ids[:end], skip_special_tokens=True)
        if end is None:
            text = text.rstrip("\ufffd")  # half of a character, the rest of which was cut off
        return Made(text.strip(), len(ids) if end is None else end, end is None)


def load_model(config: Mapping[str, Any]) -> AnswerModel:
    """Return the model on the GPU in bfloat16, or on the CPU in the dtype it is stored in."""
    import torch
    from transformers import AutoModelForCausalLM

    register()
    gpu = torch.cuda.is_available()
    placed = {
        "dtype": torch.bfloat16 if gpu else "auto",
        # The first GPU while the weights fit there, further ones where they do not.
        **({"device_map": "sequential"} if gpu else {}),
    }
    known = {"revision": config["revision"], "trust_remote_code": config["trust_remote_code"]}
    try:
        model = AutoModelForCausalLM.from_pretrained(config["model"], **known, **placed).eval()
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        fix = "Check the folder, or bring the model into the Hugging Face cache"
        raise Failure(
            MODEL, f"cannot load the model: {reason}", where=config["model"], fix=fix, code="model.not_loadable"
        ) from error
    tokenizer = asked_through(config, model.get_input_embeddings().weight.shape[0])
    print(f"{config['model']}: {model.dtype} on {model.device}, answers end at {tokenizer.eos_token}")
    return AnswerModel(model, tokenizer, config["max_new_tokens"])


def asked_through(config: Mapping[str, Any], rows: int) -> Any:
    """Return the tokenizer and chat template of training for a model with `rows` embedding rows, as alphaf eval does.

    A base model without rows for the trained tokens is asked with its own tokenizer, which is printed as a warning.
    """
    path, revision, trust = config["model"], config["revision"], config["trust_remote_code"]
    if config["reference"]:
        reference = load(config["reference"], None, trust=trust)
    else:
        reference = untrained_reference({**config, "models": [{"path": path, "revision": revision}]})
    own = load(path, revision, trust=trust)
    if config["stage"] == "base":
        used, warnings = base_tokenizer(own, reference, rows)
    else:
        used, warnings = reference, check_trained(own, reference, config["stage"], path)
    for warning in warnings:
        print(f"warning: {warning}")
    return used


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    """Return the ids that end an answer: eos, what the chat template closes a turn with, and what the model names."""
    named = getattr(model.generation_config, "eos_token_id", None)
    ends = {tokenizer.eos_token_id, *end_ids(tokenizer), *(named if isinstance(named, list) else [named])} - {None}
    if not ends:
        what = "neither the tokenizer nor the model names an end of a turn, so no answer would end"
        raise Failure(
            MODEL, what, where=model.name_or_path, fix="set eos_token in the tokenizer", code="model.no_turn_end"
        )
    return ends
