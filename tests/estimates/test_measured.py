"""What finished stages took, as it is kept and found again."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from measurements import measured

from alphaf_orch.estimates import measured as module
from alphaf_orch.estimates.measured import FORMAT, keep_measured, matches, measured_file, read_measured


def test_what_is_kept_is_read_again_in_order():
    first, second = measured(), replace(measured(), run="둘째")
    keep_measured(first)
    keep_measured(second)
    assert read_measured() == (first, second)


def test_a_cache_without_the_file_holds_nothing():
    assert read_measured() == ()


def test_a_pipe_in_its_place_holds_nothing_and_is_not_waited_for():
    measured_file().parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(measured_file())
    assert read_measured() == ()


def test_a_line_that_is_cut_off_or_of_another_version_is_passed_over_and_spoils_no_other():
    keep_measured(measured())
    broken = ("[]", f'{{"format":{FORMAT},"stage":5}}', f'{{"format":{FORMAT},"stage":"sf')
    with measured_file().open("a", encoding="utf-8") as file:
        file.write(f'{{"format":{FORMAT + 1},"stage":"sft"}}\n' + "\n".join(broken))
    keep_measured(replace(measured(), run="behind"))
    assert [one.run for one in read_measured()] == ["earlier", "behind"]


def test_a_line_that_does_not_say_all_that_the_formulas_read_is_not_taken_for_one_that_does():
    """The first format left out whether gradients are shared out each time, selective checkpointing and more."""
    keep_measured(measured())
    line = measured_file().read_text(encoding="utf-8")
    measured_file().write_text(line.replace(f'"format":{FORMAT}', '"format":1') + line, encoding="utf-8")
    assert read_measured() == (measured(),)


def test_the_oldest_go_where_they_are_many(monkeypatch):
    monkeypatch.setattr(module, "KEPT_LINES", 5)
    monkeypatch.setattr(module, "_ROOM", 3)
    for number in range(40):
        keep_measured(replace(measured(), run=f"run{number}"))
    runs = [one.run for one in read_measured()]
    assert runs[-5:] == [f"run{number}" for number in range(35, 40)]
    assert 5 <= len(runs) <= 9


def test_writers_at_the_same_time_lose_no_line(monkeypatch, tmp_path):
    """However often the oldest go meanwhile: what is left of each writer has no gap."""
    code = (
        "import sys, pathlib; from dataclasses import replace; from measurements import measured\n"
        "from alphaf_orch.estimates import measured as module\n"
        "module.KEPT_LINES, module._ROOM = 60, 1\n"
        "pathlib.Path(sys.argv[2], sys.argv[1]).touch()\n"
        "while len(list(pathlib.Path(sys.argv[2]).iterdir())) < 2: pass\n"
        "for n in range(150): module.keep_measured(replace(measured(), run=f'{sys.argv[1]}-{n}'))"
    )
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    ready = tmp_path / "ready"
    ready.mkdir()
    writers = [subprocess.Popen([sys.executable, "-c", code, name, str(ready)]) for name in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    runs = [one.run for one in read_measured()]
    assert 60 <= len(runs) <= 62
    assert {"a-149", "b-149"} & set(runs[-1:])
    for name in "ab":
        numbers = [int(run[2:]) for run in runs if run.startswith(name)]
        assert numbers == list(range(150))[-len(numbers) :] or not numbers


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "same"),
        ({"run": "other", "at": "later"}, "same"),
        ({"versions": {}}, "same"),  # of an environment whose versions cannot be seen
        ({"versions": {"torch": "2.11.0"}}, "near"),
        ({"scaled": {"micro_batch_size": 4}}, "near"),
        ({"shape": {"layers": 8}}, "near"),
        ({"machine": {"card": "NVIDIA H100 80GB HBM3", "gpus": 8, "nodes": 1}}, "near"),
        ({"machine": {"card": "NVIDIA A100-SXM4-80GB", "gpus": 1, "nodes": 1}}, "none"),
        ({"strict": {"adapter": "lora"}}, "none"),
        ({"stage": "dpo"}, "none"),
    ],
)
def test_what_counts_as_the_same_and_what_can_be_scaled(change, kind):
    same, near = matches(replace(measured(), **change), [measured()])
    assert (bool(same), bool(near)) == (kind == "same", kind == "near")
