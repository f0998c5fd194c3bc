"""What a scripted model answers to the suite finance_ko, and the scores that are right for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]

SUITE = ROOT / "templates" / "eval" / "finance_ko"

TASKS = {"mcq": "acc", "sentiment": "acc", "numeric": "exact_numeric", "rag": "citation_format"}

# A model that says what a file tells it to, by the text of the question; lm-eval itself is untouched.
SCRIPTED = """
import json, sys
from lm_eval.__main__ import cli_evaluate
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

@register_model("scripted")
class Scripted(LM):
    tokenizer_name = "scripted"

    def __init__(self, script, seen, **_):
        super().__init__()
        self.script, self.seen = json.load(open(script, encoding="utf-8")), open(seen, "w", encoding="utf-8")

    def apply_chat_template(self, turns, add_generation_prompt=True):
        text = "".join(f"<{turn['role']}>{turn['content']}</>" for turn in turns)
        return text + "<assistant>" if add_generation_prompt else text.removesuffix("</>")

    def chat_template(self, name):
        return "scripted"

    def said(self, context):
        (answer,) = [answer for question, answer in self.script.items() if question in context]
        return answer

    def note(self, request):
        print(json.dumps(request.args, ensure_ascii=False), file=self.seen, flush=True)
        return request.args

    def loglikelihood(self, requests, disable_tqdm=False):
        pairs = [self.note(request) for request in requests]
        return [(-1.0 if target.strip() == self.said(context) else -5.0, False) for context, target in pairs]

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError

    def generate_until(self, requests, disable_tqdm=False):
        return [self.said(self.note(request)[0]) for request in requests]

cli_evaluate()
"""

# By hand. Sentiment: F1 of 긍정 1/2, 부정 0, 중립 2/3, their mean 7/18.
EXPECTED: dict[str, dict[str, float]] = {
    "mcq": {"acc": 3 / 4},
    "sentiment": {"acc": 1 / 2, "macro_f1": 7 / 18},
    "numeric": {
        "exact_numeric": 1 / 2,
        "wrong_language": 0,
        "empty": 1 / 4,
        "looping": 0,
        "length_chars": (30 + 7 + 12) / 4,
    },
    "rag": {
        "citation_format": 2 / 4,
        "citation_precision": (1 + 1 / 2 + 0 + 0) / 4,
        "citation_recall": 2 / 4,
        "containment": 3 / 4,
        "wrong_language": 1 / 4,
        "empty": 0,
        "looping": 1 / 4,
        "length_chars": (15 + 25 + 35 + 43) / 4,
    },
}


class _Loader(yaml.SafeLoader):
    pass


def config(name: str) -> dict[str, Any]:
    return yaml.load((SUITE / f"{name}.yaml").read_text(encoding="utf-8"), _Loader)


CLEAN = {"wrong_language": 0, "empty": 0, "looping": 0}
