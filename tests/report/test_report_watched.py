"""What was seen of a training while it ran stands among a report's warnings, in both languages."""

import math

from alphaf_orch.report.names import FINDINGS
from alphaf_orch.report.run.warnings import _watched
from alphaf_orch.runs.watch.findings import Health


def test_findings_and_a_smaller_cut_are_warned_of():
    seen = Health().add({"step": 7, "loss": None, "non_finite": ["loss"]})
    entry = {
        "watched": [*(each.record() for each in seen), {"step": "odd"}],
        "retries": [{"micro_batch_size": 2, "gradient_accumulation_steps": 8, "after_step": 0}],
    }
    ruin, cut = _watched(entry, "SFT")
    assert (ruin.level, cut.level) == ("error", "info")
    assert str(ruin.text).count("7") >= 1
    assert "2 x 8" in str(cut.text)
    assert list(_watched({}, "SFT")) == []


def test_every_kind_of_finding_has_a_name():
    rows = [{"step": n, "max_steps": 99, "loss": 1.0, "grad_norm": 0.0, "learning_rate": 0.0} for n in range(3)]
    rows += [{"step": 4, "loss": None, "non_finite": ["loss"]}, {"step": 4, "eval_loss": None, "non_finite": ["x"]}]
    rows += [{"step": 5, "loss": 0.0, "grad_norm": 0.0, "rewards/chosen": 99.0} for _ in range(3)]
    stuck = [{"loss": 0.69, "rewards/margins": 0.0} for _ in range(20)]
    flat = [{"loss": 0.69, "rewards/margins": 0.1, "rewards/accuracies": 0.5} for _ in range(20)]
    diverging = [{"loss": loss} for loss in (1.0, *[math.exp(3)] * 5)]
    kinds = set()
    for given in (rows, stuck, flat, diverging):
        health = Health()
        kinds |= {finding.kind for row in given for finding in health.add(row)}
    assert kinds == FINDINGS.keys()
