"""Data sets in the formats that people have: what they are taken as, their copy, what identifies them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import unicodedata
from pathlib import Path

import pytest
from data_rows import PAIR, chat, hub_cache_with_rows, line, write

from alphaf_orch.core.errors import DataError, RunStateError
from alphaf_orch.inputs import formats, kept
from alphaf_orch.inputs.data_sets import check_sources
from alphaf_orch.inputs.formats import Reading
from alphaf_orch.inputs.sources import Source, axolotl_dataset, content_key, dataset_entry, record, taken_as

ALPACA = {"instruction": "기준금리란?", "input": "", "output": "한국은행이 정합니다."}


def taken(path: Path, kind="chat", **how) -> Source:
    return check_sources((str(path),), kind, {}, Reading(sys.executable, **how))[0]


def rows_of(source: Source) -> list[dict]:
    return [json.loads(row) for row in Path(source.copy).read_text(encoding="utf-8").splitlines()]


def test_plain_rows_are_used_where_they_lie(tmp_path):
    path = write(tmp_path / "자료", line(chat()), line(chat("금리?")))
    found = taken(path)
    assert (found.copy, taken_as(found)) == (None, "messages (role, content), 2 rows")
    assert axolotl_dataset(found)["path"] == dataset_entry(found)["path"] == str(path)
    assert not (tmp_path / "cache" / "rows").exists()


def test_the_loader_gets_only_the_columns_that_are_used(tmp_path):
    """A date and then a text, a list and then a text, 10^22: the loader of `datasets` dies of each in a later chunk."""
    extras = [{"id": 1, "when": "2024-01-01", "tags": ["a"]}, {"id": 10**22, "when": "어제", "tags": "a"}, {"id": True}]
    path = write(tmp_path, *(line(chat(f"질문 {n}", **extra)) for n, extra in enumerate(extras)))
    found = taken(path)
    assert rows_of(found) == [chat(f"질문 {n}") for n in range(3)]
    entry = axolotl_dataset(found)
    assert entry["path"] == found.copy != str(path)
    # What is counted and what identifies the rows is as it was: runs that are done stay done.
    assert dataset_entry(found) == {"path": str(path), "kind": "local", "split": None, "revision": None}
    assert content_key(found) == {"sha256": found.sha256, "format": "messages"}
    assert found.sha256 == formats.file_hash(path)["sha256"]
    assert oct(Path(found.copy).stat().st_mode)[-3:] == "600"
    assert oct(Path(found.copy).parent.stat().st_mode)[-3:] == "700"


def test_masks_are_in_the_first_row_of_the_copy(tmp_path):
    question, answer = chat()["messages"]
    masked = [question, {**answer, "weight": 0}, question, {**answer, "train": True}]
    path = write(tmp_path, line({**chat(), "id": 1}), line({"messages": masked, "id": 2}))
    found = taken(path)
    first, second = rows_of(found)
    assert first["messages"][1]["train"] is True
    assert [turn.get("train") for turn in second["messages"]] == [None, False, None, None]
    assert axolotl_dataset(found)["message_field_training"] == "train"
    assert content_key(found)["message_field_training"] == "weight"


def test_another_format_is_trained_from_its_canonical_copy(tmp_path):
    path = write(
        tmp_path / "자료", line({**ALPACA, "source": "x"}), line({**ALPACA, "instruction": "둘?"}), name="알파카.jsonl"
    )
    found = taken(path)
    assert (found.path, found.rows, found.turns) == (str(path), 2, 4)
    assert taken_as(found) == "Alpaca (instruction, input, output), 2 rows"
    assert rows_of(found) == [chat(), chat("둘?")]
    assert content_key(found) == {"sha256": Path(found.copy).stem, "format": "messages"}
    assert dataset_entry(found) == {
        "path": found.copy, "kind": "local", "split": None, "revision": None,
        "origin": str(path), "unused": {"source": 1},
    }  # fmt: skip
    told = record(found)
    assert (told["path"], told["taken_as"]) == (str(path), "Alpaca (instruction, input, output)")
    # The same rows in another file and format are the same data.
    packed = tmp_path / "b.json.gz"
    packed.write_bytes(gzip.compress(json.dumps({"data": [chat(), chat("둘?")]}).encode()))
    assert content_key(taken(packed)) == content_key(found)


def test_a_copy_is_made_once_for_each_content(tmp_path, monkeypatch):
    made, real = [], formats._convert
    monkeypatch.setattr(formats, "_convert", lambda *asked: (made.append(asked), real(*asked))[1])
    path = write(tmp_path, line(ALPACA), name="a.jsonl")
    first = taken(path)
    shutil.copy(path, tmp_path / "b.jsonl")
    assert taken(tmp_path / "b.jsonl").copy == taken(path).copy == first.copy
    assert len(made) == 1
    Path(first.copy).unlink()
    assert taken(path) == first
    assert len(made) == 2


def test_a_row_that_is_not_plain_may_stand_anywhere(tmp_path):
    found = taken(write(tmp_path, line(chat()), line(chat(system=None)), line(chat(system="존댓말"))))
    assert [len(row["messages"]) for row in rows_of(found)] == [2, 2, 3]
    assert found.systems == 1


def test_mistakes_are_told_together_and_name_the_user_s_file(tmp_path):
    rows = [ALPACA, {**ALPACA, "output": ""}, chat(), {**ALPACA, "output": 3}]
    path = write(tmp_path, *map(line, rows), name="a.jsonl")
    with pytest.raises(DataError) as caught:
        taken(path)
    assert caught.value.where == f"{path} line 2, key output"
    for part in (
        "3 lines that must not be trained on",
        "output is blank",
        "line 4, key output",
        "the format 'messages",
    ):
        assert part in caught.value.what
    assert not list((tmp_path / "cache" / "rows").iterdir())


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ({"messages": [*chat()["messages"], {"role": "user", "content": " "}]}, r"messages\[2\].content is blank"),
        ({"a": 1}, "columns a, which are no known format"),
    ],
)  # fmt: skip
def test_what_is_no_format_is_refused_with_what_was_seen(tmp_path, first, words):
    with pytest.raises(DataError, match=words):
        taken(write(tmp_path, line(first)))


def test_cp949_is_told_with_its_command(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(ALPACA, ensure_ascii=False).encode("cp949"))
    with pytest.raises(DataError, match="it looks like CP949") as caught:
        taken(path)
    assert caught.value.fix.startswith("Convert it: iconv -f CP949")


def test_texts_are_continued_pretraining_and_go_alone(tmp_path):
    texts = write(tmp_path, line({"text": "한국은행은 금리를 정한다."}), name="text.jsonl")
    found = taken(texts)
    assert taken_as(found) == "text (continued pretraining), 1 rows"
    assert axolotl_dataset(found) == {"path": found.copy, "ds_type": "json", "type": "completion", "field": "text"}
    with pytest.raises(DataError, match="together"):
        check_sources((str(texts), str(write(tmp_path, line(chat())))), "chat", {})


def test_normalised_rows_are_other_data(tmp_path):
    path = write(tmp_path, line(chat(unicodedata.normalize("NFD", "기준금리란?"))), name="nfd.jsonl")
    plain, normal = taken(path), taken(path, normalize="NFC")
    assert plain.nfd_rows == 1
    assert rows_of(normal) == [chat()]
    assert (plain.copy, normal.nfd_rows) == (None, 0)
    assert content_key(plain) != content_key(normal)


def test_columns_by_other_names(tmp_path):
    path = write(tmp_path, line({"q": "기준금리란?", "a": "한국은행이 정합니다."}))
    assert rows_of(taken(path, columns={"instruction": "q", "output": "a"})) == [chat()]


def test_pairs_as_orca_has_them(tmp_path):
    row = {"system": None, "question": PAIR["prompt"], "chosen": PAIR["chosen"], "rejected": PAIR["rejected"]}
    found = taken(write(tmp_path, line(row)), "preference")
    assert taken_as(found) == "question, chosen, rejected, 1 rows"
    assert rows_of(found)[0]["prompt"] == [{"role": "user", "content": PAIR["prompt"]}]
    # The DPO program reads every column of JSON Lines itself: nothing is copied for it.
    assert taken(write(tmp_path, line({**PAIR, "id": 1}), name="b.jsonl"), "preference").copy is None


def test_a_program_that_cannot_read_tables_is_said(tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("question,answer\n금리?,3%\n", encoding="utf-8")
    with pytest.raises(DataError, match="could not be read") as caught:
        check_sources((str(table),), "chat", {}, Reading("/bin/false"))
    assert "make setup" in caught.value.fix


def test_a_set_of_the_hub_keeps_its_identity(tmp_path):
    """What runs of older versions trained as it was is known by its commit alone, as ever."""
    folder = hub_cache_with_rows(tmp_path / "hf")
    env = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    (found,) = check_sources(("org/name:test",), "chat", env)
    assert content_key(found) == {"hub": "org/name", "commit": folder.name, "split": "test"}
    assert (found.kind, found.rows, rows_of(found)) == ("hub", 1, [chat("질문 0")])
    assert axolotl_dataset(found)["path"] == found.copy
    with pytest.raises(DataError) as caught:
        check_sources(("org/name:dev",), "chat", env)
    assert (caught.value.what, caught.value.where) == (
        "has no split 'dev': give org/name:train, org/name:test", "org/name",
    )  # fmt: skip


def test_a_pipe_in_the_place_of_what_the_cache_keeps_is_not_waited_for(tmp_path):
    file = write(tmp_path / "rows.jsonl", line(ALPACA) * 3)
    taken(file)
    (index,) = (tmp_path / "cache" / "rows").glob("*.json")
    index.unlink()
    os.mkfifo(index)
    with pytest.raises(RunStateError, match="it is a pipe"):
        taken(file)
    place = tmp_path / "cache" / "data" / f"{file.stat().st_ino}.json"
    place.parent.mkdir(exist_ok=True)
    os.mkfifo(place)
    assert kept.kept("data", file.stat()) is None
