"""What the logged rows of a training say of its health: rows in, findings out; reads no file and stops nothing."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Row = Mapping[str, Any]
# `ruined`: the weights are worthless from here on. `doubtful`: it trains, and mostly not what was meant.
Level = Literal["ruined", "doubtful"]

# Rows in a row that must agree before something is said of them; ours: one odd batch is no finding.
_AGREE = 3
# Ours. Three nats above the first loss is 20 times its perplexity, more than rows differ by; and twice it, for a base
# model that begins high. Loss spikes that training recovers from last a few steps (PaLM, arXiv:2204.02311, 5.1): the
# median of five rows is asked, until there are enough for the next rule.
_WORSE_ROWS, _WORSE_NATS, _WORSE_TIMES = 5, 3.0, 2.0
# Ours: the median of twenty rows two nats (7 times the perplexity) above the best median of twenty, and twice it.
# Of so many, for with one row a step losses of 0.2 and 3 stand beside each other in a healthy training: of 200 random
# trainings of 5,000 such rows (log-normal, sigma 0.7) none is called diverging.
_WINDOW, _RISEN_NATS, _RISEN_TIMES = 20, 2.0, 2.0
# Norms of rounding alone were 3e-7 in float32, those of a training that learns above 0.01 (measured: runs/verify.py).
_NO_GRADIENT = 1e-6
# Ours: rewards are beta times log-ratios to the reference (DPO, arXiv:2305.18290, eq. 5); trainings of the alignment
# handbook end with margins of 0.1 to 10. Below the one nothing was moved, above the other the policy has left it.
_NO_MARGIN, _FAR_REWARD = 1e-4, 50.0
# Ours: rows from which on margins and accuracies should have moved; before, the learning rate still warms up.
_SETTLED = 20
_CHANCE = 0.02  # ours: how near to one half the mean accuracy of those rows is chance


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: of which kind and how bad, at which step and line of the rows, what, and what to do."""

    kind: str
    level: Level
    step: int
    line: int
    what: str
    fix: str

    def record(self) -> dict[str, Any]:
        """Return it as the manifest keeps it."""
        return asdict(self)


def recorded(entry: Mapping[str, Any]) -> list[Finding]:
    """Return the findings in a stage's record, those left out that are not whole: a manifest may come from anywhere."""
    kept = entry.get("watched")
    found = [each for each in kept if isinstance(each, Mapping)] if isinstance(kept, list) else []
    texts, numbers = ("kind", "level", "what", "fix"), ("step", "line")
    return [
        Finding(**{key: each[key] for key in (*texts, *numbers)})
        for each in found
        if all(isinstance(each.get(key), str) for key in texts) and all(isinstance(each.get(k), int) for k in numbers)
    ]


class Health:
    """Looks at rows one by one; guarantees that a kind of finding is told once, and a few rows in memory."""

    def __init__(self, lines: int = 0) -> None:
        """Begin behind so many lines of the file."""
        self._line = lines
        self._told: set[str] = set()
        self._rows: deque[Row] = deque(maxlen=max(_WINDOW, _SETTLED))
        self._first: float | None = None
        self._best: float | None = None

    def add(self, row: Row) -> list[Finding]:
        """Return what this row shows that was not told yet."""
        self._line += 1
        found = list(self._not_finite(row))
        if isinstance(row.get("loss"), int | float):
            self._rows.append(row)
            found += [*self._diverging(row), *self._idle(row), *self._preferences(row)]
        new = [finding for finding in found if finding.kind not in self._told]
        self._told |= {finding.kind for finding in new}
        return new

    def _finding(self, kind: str, row: Row, what: str, fix: str, level: Level = "doubtful") -> Finding:
        return Finding(kind, level, int(row.get("step") or 0), self._line, what, fix)

    def _not_finite(self, row: Row) -> Iterable[Finding]:
        bad = set(row.get("non_finite") or ())
        # With fp16 a loss scaler skips the steps of infinite gradients.
        grave = bad & {"loss", "train_loss", *(() if row.get("fp16") else ("grad_norm",))}
        if grave:
            yield self._finding(
                "not_finite", row, f"{' and '.join(sorted(grave))} is NaN or infinite", _LOWER_OR_ROWS, "ruined"
            )
        elif bad:
            what = f"{', '.join(sorted(bad))} is NaN or infinite"
            yield self._finding("not_finite_beside", row, what, "look at the rows of that step; the loss is finite")

    def _diverging(self, row: Row) -> Iterable[Finding]:
        losses = [float(each["loss"]) for each in self._rows]
        self._first = losses[0] if self._first is None else self._first
        now = statistics.median(losses[-_WORSE_ROWS:])
        early = self._best is None and len(losses) >= _WORSE_ROWS
        if early and now > max(self._first + _WORSE_NATS, self._first * _WORSE_TIMES):
            what = f"the loss diverges: {now:.3g} is worse than the {self._first:.3g} that it began with"
            yield self._finding("diverging", row, what, _LOWER)
        if len(losses) < _WINDOW:
            return
        level = statistics.median(losses[-_WINDOW:])
        if self._best is not None and level > max(self._best + _RISEN_NATS, self._best * _RISEN_TIMES):
            what = f"the loss diverges: its median rose from {self._best:.3g} to {level:.3g}"
            yield self._finding("diverging", row, what, _LOWER)
        self._best = level if self._best is None else min(self._best, level)

    def _idle(self, row: Row) -> Iterable[Finding]:
        last = list(self._rows)[-_AGREE:]
        if len(last) < _AGREE:
            return
        losses = [float(each["loss"]) for each in last]
        norms = [each.get("grad_norm") for each in last]
        rates = [each.get("learning_rate") for each in last]
        known = [float(norm) for norm in norms if isinstance(norm, int | float)]
        # DPO's loss is 0 too where the policy is far from its reference: then the margins are not.
        if not any(losses) and not any(each.get("rewards/margins") for each in last):
            what = f"the loss is exactly 0 in {_AGREE} logged steps: no token has loss, all labels are masked"
            yield self._finding("no_loss", row, what, _MASKED)
        elif len(known) == _AGREE and max(known) < _NO_GRADIENT:
            what = f"the gradient is 0 in {_AGREE} logged steps (norm {max(known):.1g}): nothing is trained"
            yield self._finding("no_gradient", row, what, _NO_GRADIENT_FIX)
        begun = int(row.get("step") or 0) < int(row.get("max_steps") or 0)
        if begun and all(isinstance(rate, int | float) and not rate for rate in rates):
            what = f"the learning rate is 0 in {_AGREE} logged steps, before the end: nothing is trained"
            yield self._finding("no_learning_rate", row, what, "look at learning_rate, lr_scheduler and warmup_ratio")

    def _preferences(self, row: Row) -> Iterable[Finding]:
        rewards = [each.get("rewards/chosen") for each in list(self._rows)[-_AGREE:]]
        far = [abs(float(reward)) for reward in rewards if isinstance(reward, int | float)]
        if len(far) == _AGREE and min(far) > _FAR_REWARD:
            what = f"rewards are at {far[-1]:.3g}: the policy has left its reference (KL explodes)"
            yield self._finding("far_from_reference", row, what, "lower learning_rate or raise rl_beta (beta)")
        margins = [each["rewards/margins"] for each in self._rows if each.get("rewards/margins") is not None]
        if len(margins) < _SETTLED:
            return
        accuracies = [each.get("rewards/accuracies") for each in self._rows]
        known = [float(each) for each in accuracies if isinstance(each, int | float)]
        if max(abs(float(margin)) for margin in margins) < _NO_MARGIN:
            what = f"the margins are stuck at 0 in {len(margins)} logged steps: nothing tells chosen from rejected"
            yield self._finding("margins_stuck", row, what, _PAIRS)
        elif len(known) == len(margins) and abs(_mean(known) - 0.5) < _CHANCE and _flat(margins):
            what = f"the reward accuracies stay at one half over {len(known)} logged steps, as a coin's would"
            yield self._finding("accuracies_flat", row, what, _PAIRS)


def _flat(margins: list[float]) -> bool:
    """Return whether the second half of the margins is no further from 0 than the first: nothing grows."""
    half = len(margins) // 2
    return _mean(margins[half:]) <= _mean(margins[:half])


def _mean(numbers: list[float]) -> float:
    """Return their mean; NaN, which is near nothing, of such as have no finite sum."""
    try:
        return statistics.fmean(numbers)
    except (OverflowError, ValueError):
        return math.nan


_LOWER = "lower learning_rate (a tenth is a good first try) or lengthen the warm-up, under --run NEW"
_LOWER_OR_ROWS = (
    "the same data and settings meet it again: lower learning_rate, look for broken rows, or train in bf16 rather than"
    " fp16, under --run NEW"
)
_MASKED = "look at which turns are trained (`train`, roles_to_train, chat_template) and raise sequence_len: --run NEW"
_NO_GRADIENT_FIX = (
    "look whether the adapter is trained (lora_target_modules, peft_layers_to_transform) and whether any label is not"
    " masked"
)
_PAIRS = (
    "look whether chosen and rejected differ within sequence_len (the data report counts them), and at learning_rate"
)
