"""The statistics of a comparison against independent computations, and honest answers where there is none."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from quickness import children_s, quickest
from scipy.optimize import minimize

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.judging.summary import summarize, write_summary
from alphaf_orch.scores.preference import length_controlled, mean, ratio, wilson

REPO = Path(__file__).parents[2]
CLASSES = (0.0, 0.25, 0.5, 0.75, 1.0)


def planted(n: int, theta: float, phi: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of two orders and length differences drawn from a known model."""
    rng = np.random.default_rng(seed)
    differences = np.round(rng.normal(30, 200, n))
    chance = 1 / (1 + np.exp(-(theta + phi * np.tanh(differences / differences.std()))))
    return rng.binomial(2, chance) / 2, differences


def row(name, order, winner, *, a=100, b=100, category="금융", attempts=1, keys=("x", "y"), **changes) -> dict:
    return {
        "id": name, "category": category, "prompt_set": "묶음", "order": order, "a_chars": a, "b_chars": b,
        "winner": winner, "reason": "이유", "error": None, "reply": None, "attempts": attempts,
        "usage": {"prompt_tokens": 10, "completion_tokens": 2}, "seconds": 0.5, "judge": "심판",
        "keys": {"a": keys[0], "b": keys[1]}, **changes,
    }  # fmt: skip


def written(tmp_path: Path, rows) -> Path:
    path = tmp_path / "한글 폴더" / "verdicts.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    return path


def pair(name, ab, ba, **changes) -> list[dict]:
    return [row(name, "ab", ab, **changes), row(name, "ba", ba, **changes)]


@pytest.mark.parametrize(("theta", "phi"), [(0.4, 0.0), (0.4, 1.5), (-0.8, 2.0), (0.0, -1.0)])
def test_the_length_fit_is_the_maximum_that_others_find(theta, phi):
    scores, differences = planted(400, theta, phi)
    found = length_controlled(scores, differences)
    x = np.tanh(differences / differences.std())

    def loss(beta):
        logits = beta[0] + beta[1] * x
        return np.sum(np.logaddexp(0, logits) - scores * logits)

    other = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000})
    assert (found.theta, found.phi) == pytest.approx(tuple(other.x), abs=1e-5)
    assert found.sigma == pytest.approx(np.std(differences))
    assert found.win_rate.value == pytest.approx(1 / (1 + math.exp(-other.x[0])), abs=1e-5)
    truth = 1 / (1 + math.exp(-theta))
    assert found.win_rate.low - 0.02 < truth < found.win_rate.high + 0.02


def test_the_length_fit_is_what_sklearn_finds():
    linear_model = pytest.importorskip("sklearn.linear_model")
    scores, differences = planted(300, 0.3, 1.0, seed=1)
    x = np.tanh(differences / differences.std())[:, None]
    # A share of points is so many wins and so many losses of a weighted prompt.
    both = np.concatenate([x, x])
    label, weight = np.repeat([1, 0], len(scores)), np.concatenate([scores, 1 - scores])
    model = linear_model.LogisticRegression(C=np.inf, tol=1e-10).fit(both, label, sample_weight=weight)
    found = length_controlled(scores, differences)
    assert found.theta == pytest.approx(model.intercept_[0], abs=1e-4)
    assert found.phi == pytest.approx(model.coef_[0, 0], abs=1e-4)


def test_the_length_interval_covers_as_often_as_it_says():
    """Of 300 samples of a known model, about 95 in 100 intervals hold the truth; refitted bootstraps agree in width."""
    truth, hits = 1 / (1 + math.exp(-0.5)), 0
    for seed in range(300):
        rate = length_controlled(*planted(150, 0.5, 1.0, seed)).win_rate
        hits += rate.low < truth < rate.high
    assert 0.91 < hits / 300 < 0.985
    scores, differences = planted(150, 0.5, 1.0, seed=7)
    rng = np.random.default_rng(0)
    again = []
    for _ in range(400):
        chosen = rng.integers(0, 150, 150)
        again.append(length_controlled(scores[chosen], differences[chosen]).win_rate.value)
    rate = length_controlled(scores, differences).win_rate
    low, high = np.quantile(again, [0.025, 0.975])
    assert rate.high - rate.low == pytest.approx(high - low, rel=0.15)


def test_length_control_takes_a_pure_length_preference_out():
    """Equal quality, but the longer answer wins more often and a writes longer: raw far above a half, LC near it."""
    rng = np.random.default_rng(3)
    differences = rng.normal(250, 200, 4000)
    chance = 1 / (1 + np.exp(-2 * np.tanh(differences / differences.std())))
    scores = rng.binomial(2, chance) / 2
    assert mean(scores).value > 0.7
    assert length_controlled(scores, differences).win_rate.value == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("scores", "differences", "why"),
    [
        ([], [], "fewer than two"),
        ([1.0], [10], "fewer than two"),
        ([1, 0, 1], [0, 0, 0], "no length differences"),
        ([1, 0, 1], [7, 7, 7], "the same length difference"),
        ([1, 1, 1], [1, 2, 3], "one model won every prompt"),
        ([0, 0, 0], [1, 2, 3], "one model won every prompt"),
        ([0, 0, 1, 1], [-2, -1, 1, 2], "length alone separates"),
        ([1, 1, 0, 0], [-2, -1, 1, 2], "length alone separates"),
        ([0, 0, 0.5, 1], [-2, -1, 0, 2], "length alone separates"),
        ([0.75, 1], [1, 2], None),
    ],
)
def test_what_cannot_be_estimated_is_said(scores, differences, why):
    found = length_controlled(np.array(scores, dtype=float), np.array(differences, dtype=float))
    if why:
        assert found.win_rate.value is None
        assert why in found.win_rate.note
        assert (found.theta, found.phi, found.sigma) == (None, None, None)
    for value in (found.win_rate.low, found.win_rate.high, found.theta):
        assert value is None or math.isfinite(value)


def test_all_ties_are_a_half_within_what_their_number_allows():
    scores, differences = np.full(20, 0.5), np.arange(20.0) - 3
    found = length_controlled(scores, differences).win_rate
    assert (found.value, found.low, found.high) == (0.5, None, None)
    assert found.note
    found = mean(scores)
    # Of 20 prompts and z^2 = 3.84 more, all lost or all won.
    assert (found.low, found.high) == pytest.approx((10 / 23.8415, 13.8415 / 23.8415), abs=1e-4)
    assert "every prompt came out alike" in found.note


@pytest.mark.parametrize("n", [1, 2, 30])
def test_prompts_that_were_all_won_have_wilsons_interval(n):
    found, wanted = mean(np.ones(n)), wilson(n, n)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, wanted.low, wanted.high), abs=1e-9)


def test_a_single_decided_verdict_is_no_interval_of_width_zero():
    found = ratio(np.array([1.0, 0.0]), np.array([1.0, 0.0]), "")
    assert (found.low, found.high) == pytest.approx((1 / 4.8415, 1.0), abs=1e-4)


def test_nothing_is_ever_nan():
    """Small, lopsided and near-separable samples: each figure is a finite number or None."""
    rng = random.Random(0)
    for _ in range(800):
        n = rng.randint(1, 9)
        scores = np.array([rng.choice(CLASSES) for _ in range(n)])
        differences = np.array([rng.choice([0, 1, -1, 5, 1e6, -400]) for _ in range(n)], dtype=float)
        found = length_controlled(scores, differences)
        raw = mean(scores)
        for value in (*vars(found.win_rate).values(), *vars(raw).values(), found.theta, found.phi, found.sigma):
            assert not isinstance(value, float) or math.isfinite(value)
        for rate in (found.win_rate, raw):
            if rate.low is not None:
                assert 0 <= rate.low <= rate.value <= rate.high <= 1


def test_the_bootstrap_over_classes_is_the_bootstrap_over_prompts():
    rng = np.random.default_rng(5)
    first = rng.integers(0, 3, 80).astype(float)
    decided = np.maximum(first, rng.integers(0, 3, 80))
    found = ratio(first, decided, "")
    draws = rng.integers(0, 80, (20_000, 80))
    shares = first[draws].sum(axis=1) / decided[draws].sum(axis=1)
    assert found.value == first.sum() / decided.sum()
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])), abs=0.008)


def test_the_bootstrap_interval_of_a_mean_is_the_classical_one():
    scores = np.random.default_rng(2).choice(CLASSES, 500)
    found = mean(scores)
    error = scores.std() / math.sqrt(500)
    assert (found.low, found.high) == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error), abs=0.003)


def test_wilson_by_hand():
    assert (wilson(8, 10).low, wilson(8, 10).high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 0).value is None


def test_every_figure_of_a_small_comparison_by_hand(tmp_path):
    rows = [
        *pair("q1", "a", "a", a=200, b=100),  # 1: clear win
        *pair("q2", "a", "tie", a=80, b=120),  # 0.75
        *pair("q3", "a", "b", category="일상"),  # 0.5: first shown both times
        *pair("q4", "tie", "tie", category="일상", keys=("z", "z")),  # 0.5, same answer
        *pair("q5", "b", "b", a=50, b=150, attempts=2),  # 0
        *pair("q6", None, "a"),  # not counted
        row("q7", "ab", "a"),  # only one order yet
    ]
    found = summarize(written(tmp_path, rows), "dpo", "sft")
    assert (found["a"], found["b"], found["judge"], found["prompt_set"]) == ("dpo", "sft", "심판", "묶음")
    assert (found["verdicts"], found["prompts"], found["judged"], found["incomplete"]) == (13, 7, 5, 2)
    assert (found["wins"], found["ties"], found["losses"]) == (2, 2, 1)
    assert found["win_rate"]["value"] == pytest.approx((1 + 0.75 + 0.5 + 0.5 + 0) / 5)
    assert found["win_rate"]["low"] < 0.55 < found["win_rate"]["high"]
    # First shown won: q1 ab, q2 ab, q3 ab and ba, q5 ba, q7 ab = 6; decided: q1 2, q2 1, q3 2, q5 2, q6 1, q7 1 = 9.
    assert found["position_bias"]["value"] == pytest.approx(6 / 9)
    assert found["consistency"] == pytest.approx(3 / 5)
    assert found["identical_answers"] == 1
    assert found["mean_chars"] == {"a": pytest.approx(106), "b": pytest.approx(114)}
    assert found["categories"]["일상"] | {"win_rate": None} == {"wins": 0, "ties": 2, "losses": 0, "win_rate": None}
    assert found["categories"]["금융"]["win_rate"]["value"] == pytest.approx(1.75 / 3)
    assert (found["parse_failures"], found["retried"], found["requests"]) == (1, 2, 15)
    assert found["tokens"] == {"prompt": 130, "completion": 26, "verdicts_without_count": 0}
    assert found["judging_s"] == 6.5
    assert "NaN" not in json.dumps(found)


def test_a_file_without_a_countable_prompt_gives_nulls(tmp_path):
    found = summarize(written(tmp_path, [row("q", "ab", None, usage=None)]), "dpo", "sft")
    assert (found["win_rate"]["value"], found["position_bias"]["value"], found["consistency"]) == (None, None, None)
    assert found["mean_chars"] == {"a": None, "b": None}
    assert found["tokens"]["verdicts_without_count"] == 1
    assert "NaN" not in json.dumps(found)


def test_a_last_line_that_was_cut_off_does_not_count(tmp_path):
    path = written(tmp_path, pair("q1", "a", "a"))
    with path.open("ab") as file:
        file.write(b'{"id": "q2", "ord')
    assert summarize(path, "dpo", "sft")["verdicts"] == 2


@pytest.mark.parametrize("change", [{"winner": "A"}, {"order": "aa"}, {"a_chars": "x"}, {"usage": {}}, {"keys": None}])
def test_a_line_that_is_no_verdict_is_named(tmp_path, change):
    path = written(tmp_path, [row("q1", "ab", "a"), row("q1", "ba", "a") | change])
    with pytest.raises(RunStateError, match="a line is no verdict") as caught:
        summarize(path, "dpo", "sft")
    assert caught.value.where.endswith("verdicts.jsonl line 2")


def test_the_summary_is_the_same_every_time(tmp_path):
    path = written(tmp_path, [r for i in range(50) for r in pair(f"q{i}", "ab"[i % 2], "tie", a=100 + i)])
    first = write_summary(path.parent, "dpo", "sft")
    assert first == write_summary(path.parent, "dpo", "sft")
    assert json.loads((path.parent / "summary.json").read_text(encoding="utf-8")) == first


# The high-water mark of this program alone; getrusage would count the pytest it was forked from.
MEASURE = """
import re, sys
from alphaf_orch.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024, file=sys.stderr)
"""


def test_100_000_verdicts_are_summarised_in_3_seconds_and_400_mib(tmp_path, monkeypatch):
    run = Path(os.environ["ALPHAF_RUNS"]) / "큰_실행"
    folder = run / "judge" / "dpo-vs-sft"
    folder.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"format": 1, "stages": {}}), encoding="utf-8")
    (run / "config.yaml").write_text("model: tiny\n", encoding="utf-8")
    rng = random.Random(0)
    keys = {name: f"{rng.getrandbits(64):016x}" for name in ("prompt", "a", "b", "template", "judge")}
    reason = "답변 A는 수치와 근거를 정확하게 제시하고 질문의 조건을 모두 지켰으나, 답변 B는 핵심이 빠져 있다. " * 3
    with (folder / "verdicts.jsonl").open("w", encoding="utf-8") as file:
        for i in range(50_000):
            lengths = {"a_chars": rng.randint(50, 900), "b_chars": rng.randint(50, 900)}
            for order in ("ab", "ba"):
                made = row(f"p-{i:012x}", order, rng.choice(["a", "a", "b", "tie"]), category=f"분류 {i % 6}")
                made |= lengths | {"reason": reason, "keys": keys}
                file.write(json.dumps(made, ensure_ascii=False) + "\n")
    argv = ["judge", "--run", "큰_실행", "--a", "dpo", "--b", "sft", "--summary"]
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done: list[subprocess.CompletedProcess[str]] = []

    def judge() -> None:
        done.append(subprocess.run([sys.executable, "-c", MEASURE, *argv], capture_output=True, text=True, check=False))
        assert done[-1].returncode == 0, done[-1].stderr
        assert "50000" in done[-1].stdout

    # One thread: what it computes is what it takes on a core of its own.
    seconds = quickest(judge, 3, children_s)
    assert min(seconds) < 3, seconds
    assert 20 < int(done[-1].stderr.splitlines()[-1]) < 400
