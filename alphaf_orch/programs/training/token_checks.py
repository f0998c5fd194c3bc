"""Whether the tokens that will be trained on can be spelt and learnt: counted, said, or refused before training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import MODEL, Failure
from alphaf_orch.programs.training.template_tokens import TemplateTokens, template_tokens, unknown_ids
from alphaf_orch.programs.training.text_kept import Spelling, bos_notes, check_left_out, left_out
from alphaf_orch.programs.training.token_rows import Finding, modules_to_save, untrained

UNKNOWN_SHARE = 0.05  # ours: one token in twenty; a model trained on that answers with the unknown token
ORDERS = 64  # ours: orders of roles whose markers are looked at; most data has a handful


class TokenChecks:
    """What is gathered of all conversations; guarantees one conversation in memory for each order of roles."""

    def __init__(self, tokenizer: Any, template: str) -> None:
        self.tokenizer, self.template = tokenizer, template
        self.tokens = self.unknown = self.conversations = 0
        self.orders: dict[tuple[str, ...], Sequence[Any]] = {}
        self.spelling, self.first = Spelling(tokenizer), list[int]()

    def add(self, messages: Sequence[Any], ids: Sequence[int]) -> None:
        """Count a conversation and its unknown ids."""
        self.tokens += len(ids)
        self.first = self.first or list(ids)
        self.spelling.add(messages)
        if len(self.orders) < ORDERS:
            self.orders.setdefault(tuple(message["role"] for message in messages), messages)
        if self.tokenizer.unk_token_id in ids:
            text = self.tokenizer.apply_chat_template(messages, chat_template=self.template, tokenize=False)
            unknown = unknown_ids(self.tokenizer, text, ids)
            self.unknown += unknown
            self.conversations += unknown > 0

    def summary(self) -> dict[str, Any]:
        """Return how many tokens are unknown, their share, and the conversations they are in."""
        share = self.unknown / max(1, self.tokens)
        return {"tokens": self.unknown, "share": share, "conversations": self.conversations}

    def add_orders(self, conversations: Iterable[Sequence[Any]]) -> None:
        """Look at the markers of further orders of roles too, beyond the data that is counted."""
        for messages in conversations:
            self.orders.setdefault(tuple(message["role"] for message in messages), messages)

    def check(
        self, where: str, folder: Path | None, trained: Sequence[str] | None, *, allow_untrained: bool
    ) -> list[str]:
        """Return what should be said before training; raise Failure at `where` for tokens nothing can come of.

        `folder` is the model whose rows are looked at, None for none; `trained` as in token_rows.untrained.
        """
        unk = self.tokenizer.unk_token
        asked = template_tokens(self.tokenizer, self.orders.values(), self.template)
        if asked.unknown:
            spelt = ", ".join(map(repr, asked.unknown))
            what = f"the tokenizer cannot spell {spelt} of the chat template: it becomes {unk}"
            fix = "choose another chat_template, or add what is missing to `tokens` and train its rows (docs/models.md)"
            raise Failure(MODEL, what, where=where, fix=fix, code="model.cannot_spell")
        if self.unknown > UNKNOWN_SHARE * self.tokens:
            what = f"the tokenizer cannot spell the data: {self.unknown / self.tokens:.0%} of its tokens are {unk}"
            fix = "choose a model whose tokenizer knows the language of the data"
            raise Failure(MODEL, what, where=where, fix=fix, code="model.cannot_spell")
        lost = left_out(self.tokenizer, self.template, self.orders.values())
        said = [*check_left_out(lost, len(self.orders), where), *self.spelling.check(where)]
        said += bos_notes(self.tokenizer, self.first) if self.first else []
        notes = [] if folder is None else self._rows(where, folder, asked, trained, allow_untrained=allow_untrained)
        if self.unknown:
            notes.append(f"{self.unknown:,} tokens in {self.conversations:,} conversations are {unk}")
        return [*notes, *said]

    def _rows(
        self, where: str, folder: Path, asked: TemplateTokens, trained: Sequence[str] | None, *, allow_untrained: bool
    ) -> list[str]:
        found = untrained(folder, self.tokenizer, read=asked.ids, written=asked.written, trained=trained)
        certain = [finding for finding in found if finding.certain]
        likely = [finding for finding in found if not finding.certain]
        train = f"sft.lora_modules_to_save=[{','.join(modules_to_save(folder))}]"
        if certain and not allow_untrained:
            what = f"the base model has not learnt {self._named(certain)}, and the adapter does not train it"
            fix = (
                f"train the rows in SFT: --set '{train}'; or choose a chat template of tokens the base knows; or go on"
                " all the same with `allow_untrained_tokens: true` in the config (docs/models.md)"
            )
            raise Failure(MODEL, what, where=where, fix=fix, code="model.tokens_not_learnt")
        said = (("has not learnt", certain), ("may not have learnt", likely))
        return [f"the base model {what} {self._named(some)}; {train} trains it" for what, some in said if some]

    def _named(self, findings: Sequence[Finding]) -> str:
        whys: dict[int, list[str]] = {}
        for finding in findings:
            whys.setdefault(finding.token, []).append(finding.why)
        names: Mapping[int, str] = {i: self.tokenizer.convert_ids_to_tokens(i) for i in whys}
        return "; ".join(f"{names[i]} ({'; '.join(why)})" for i, why in whys.items())
