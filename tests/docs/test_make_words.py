"""Every variable of the Makefile reaches `alphaf` as words of an argv, whatever is in it: nothing of it is run."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What each target hands on, and by which option; `*` for a list of words.
TARGETS = {
    "sft": {"MODEL": "--model", "RUN": "--run", "CONFIG": "--config", "GPUS": "--gpus", "DATA": "--data*",
            "SET": "--set*"},
    "dpo": {"MODEL": "--model", "RUN": "--run", "CONFIG": "--config"},
    "run": {"MODEL": "--model", "RUN": "--run", "CONFIG": "--config"},
    "plan": {"MODEL": "--model", "RUN": "--run", "CONFIG": "--config"},
    "estimate": {"MODEL": "--model", "RUN": "--run", "CONFIG": "--config"},
    "doctor": {"MODEL": "--model", "RUN": "--run", "CONFIG": "--config", "GPUS": "--gpus"},
    "merge-models": {"RUN": "--run", "METHOD": "--method", "PARTNER": "--partner*"},
    "ablate": {"WHAT": "*", "MODEL": "--model", "SUITE": "--suite", "LIMIT": "--limit"},
    "bakeoff": {"MODELS": "--models", "SUITE": "--suite", "LIMIT": "--limit"},
    "eval": {"RUN": "--run", "SUITE": "--suite", "STAGES": "--stages", "LIMIT": "--limit"},
    "judge": {"RUN": "--run", "A": "--a", "B": "--b", "JUDGE": "--judge", "LIMIT": "--limit"},
    "report": {"RUN": ""},
    "compare": {"A": "", "B": ""},
    "chat": {"RUN": ""},
}  # fmt: skip
# Without blanks: a list of make's is cut at them, and a single value is tried with them below.
HOSTILE = (
    "x;touch${IFS}HIT", "$(touch${IFS}HIT)", "`touch${IFS}HIT`", "$(shell${IFS}touch${IFS}HIT)",
    "'", '"', "''\"'", "a'b",
    "|cat", ">HIT", "&touch", "\\", "a\\", "$HOME", "${HOME}", "$$HOME", "~", "*", "-v", "--online", "#x", "%s%n", "{}",
    "[/b]", "가나다", "!x", "(x)", "a=b", ":", "?",
)  # fmt: skip
WITH_BLANKS = (
    "x; touch HIT",
    "$(shell touch HIT)",
    "$(file >HIT)",
    "a  b",
    "$(touch HIT)",
    "' ; touch HIT ; '",
    "a b ",
)


@pytest.fixture
def asked(tmp_path):
    """Return what `alphaf` is called with by a target: the words, one a line of NULs."""
    bin_ = tmp_path / "venv" / "bin"
    bin_.mkdir(parents=True)
    said = tmp_path / "said"
    (bin_ / "alphaf").write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" > {said}\n')
    (bin_ / "alphaf").chmod(0o755)

    def ask(target: str, **variables: str) -> list[str]:
        said.unlink(missing_ok=True)
        words = [f"{name}={value}" for name, value in variables.items()]
        argv = ["make", "-s", "-C", str(tmp_path), "-f", str(ROOT / "Makefile"), "SKIP_SETUP=1", f"VENV={bin_.parent}"]
        env = {**os.environ, "HOME": str(tmp_path)}
        done = subprocess.run([*argv, target, *words], env=env, capture_output=True, text=True, check=False, timeout=60)
        assert not [path for path in tmp_path.rglob("*") if "HIT" in path.name], "a value was run"
        assert (done.returncode == 0) == ("\n" not in "".join(variables.values())), done.stderr
        if done.returncode:
            return [done.stderr]
        return said.read_text(encoding="utf-8").split("\0")[:-1]

    return ask


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_hostile_value_is_one_word(asked, target):
    for option in TARGETS[target]:
        flag = TARGETS[target][option].removesuffix("*")
        words = " ".join(HOSTILE)
        if TARGETS[target][option].endswith("*"):
            said = asked(target, **{option: words})
            expected = [word for value in HOSTILE for word in ([flag, value] if flag else [value])]
        else:
            value = "".join(HOSTILE)
            given = {option: value} if target != "compare" else {"A": value, "B": value}
            said = asked(target, **given)
            expected = [flag, value] if flag else [value] * (2 if target == "compare" else 1)
        assert expected == [word for word in said if word in expected], (option, said)
        assert said[0] == target


@pytest.mark.parametrize("value", WITH_BLANKS)
def test_a_value_with_blanks_is_one_word_where_one_is_meant(asked, value):
    said = asked("sft", MODEL=value, RUN=value)
    assert said == ["sft", "--model", value, "--run", value]


def test_a_line_break_is_refused_by_name(asked):
    (told,) = asked("sft", MODEL="a\n\ttouch HIT")
    assert "MODEL holds a line break" in told
