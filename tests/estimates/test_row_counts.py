"""Rows and tokens: counted, counted by another run, or guessed from bytes."""

from dataclasses import replace

import pytest
from measurements import REPORT, measured

from alphaf_orch.estimates.rows import KNOWN_SETS, counted, guessed, remembered
from alphaf_orch.inputs.sources import Source

FILE = Source("/rows.jsonl", "local", rows=1000, size=1_000_000)


def test_a_report_counts():
    found = counted(REPORT, "counted by this run")
    assert (found.longest, found.mean, found.tokens.low) == (300, 110.0, 1.0)
    assert counted({"rows": 4}, "") is None


def test_another_run_s_count_of_the_same_rows_holds():
    found = remembered("a-key", [measured()])
    assert found.report["rows"] == 4000
    assert found.basis == "counted by run earlier"
    assert remembered("another-key", [measured()]) is None


def test_bytes_are_the_last_resort_and_say_so():
    found = guessed([FILE], 4096, 40960, [], preference=False)
    assert found.basis == "tokens estimated from bytes, 1,000 rows checked"
    assert found.report["tokens"]["total"] == pytest.approx(280_000, rel=0.01)
    assert found.tokens.low < 1 < found.tokens.high


def test_rows_counted_with_the_same_vocabulary_say_how_many_tokens_a_byte_has():
    kept = replace(measured(), data={"key": "k", "report": REPORT, "bytes": 880_000, "preference": False})
    found = guessed([FILE], 4096, 40960, [kept], preference=False)
    assert found.report["tokens"]["total"] == pytest.approx(500_000, rel=0.01)
    assert "run earlier" in found.basis
    assert guessed([FILE], 4096, 49152, [kept], preference=False).basis.startswith("tokens estimated from bytes")
    assert guessed([FILE], 4096, 40960, [kept], preference=True).basis.startswith("tokens estimated from bytes")


def test_a_set_that_is_not_here_is_known_by_its_card_or_not_at_all():
    (name,) = KNOWN_SETS
    found = guessed([Source(name, "hub")], 1024, 40960, [], preference=True)
    assert found.report["rows"] == 6750
    assert guessed([Source("org/other", "hub")], 1024, 40960, [], preference=True) is None
    assert guessed([], 1024, 40960, [], preference=False) is None


def test_no_guess_is_longer_than_what_is_trained():
    long = Source("/long.jsonl", "local", rows=10, size=10_000_000)
    found = guessed([long], 512, 40960, [], preference=False)
    assert found.longest == found.mean == 512
