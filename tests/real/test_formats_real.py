"""Tables, folders and sets of the hub as `datasets` reads them: cells stay texts, configurations are named."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from data_rows import COMMIT, chat, line

from alphaf_orch.programs.formats.converting import Wanted, convert
from alphaf_orch.programs.formats.hub_set import hub_reading
from alphaf_orch.programs.formats.reading import reading

datasets = pytest.importorskip("datasets", reason="datasets is not installed in this environment")
ROWS = [chat(f"질문 {n}", "3") | {"id": n} for n in range(3)]
CANONICAL = [chat(f"질문 {n}", "3") for n in range(3)]


class Refused(Exception):
    def __init__(self, what: str, **_: Any) -> None:
        super().__init__(what)


def converted(place: Path, cache: Path) -> tuple[str, list[dict[str, Any]]]:
    facts = convert(Wanted(str(place), place.name, "chat", str(cache)), reading(place), Refused)
    rows = (cache / f"{facts['sha256']}.jsonl").read_text(encoding="utf-8").splitlines()
    return facts["written"], [json.loads(row) for row in rows]


def test_tables_and_packed_files_hold_the_same_rows(tmp_path: Path) -> None:
    import zstandard

    table, cache = datasets.Dataset.from_list(ROWS), tmp_path / "cache"
    table.to_parquet(tmp_path / "a.parquet")
    table.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict(train=table, test=table.select([0])).save_to_disk(tmp_path / "splits")
    (tmp_path / "shards").mkdir()
    for n in range(2):
        part = table.select(range(n, 3 if n else 1))
        part.to_parquet(tmp_path / "shards" / f"train-{n}.parquet")
    raw = json.dumps(ROWS, indent=1).encode()
    packed = {"a.json.gz": gzip.compress, "a.json.zst": zstandard.compress, "b.json.bz2": bz2.compress,
              "c.json.xz": lzma.compress}  # fmt: skip
    for name, pack in packed.items():
        (tmp_path / name).write_bytes(pack(raw))
    places = {
        "a.parquet": "Parquet", "saved": "folder of save_to_disk", "splits": "folder of save_to_disk",
        "shards": "2 Parquet files", "a.json.gz": "JSON array, gzip", "a.json.zst": "JSON array, zstd",
        "b.json.bz2": "JSON array, bz2", "c.json.xz": "JSON array, xz",
    }  # fmt: skip
    for name, written in places.items():
        assert converted(tmp_path / name, cache) == (written, CANONICAL), name
    arrow = next((tmp_path / "saved").glob("*.arrow"))
    assert converted(arrow, cache) == ("Arrow", CANONICAL)
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(raw * 50)[:-40])
    with pytest.raises(Refused, match="cut off or damaged"):
        converted(tmp_path / "cut.json.gz", cache)


# `datasets` leaves a csv open whose first row alone was asked for; in the product that is a process of its own.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_cells_of_a_csv_are_texts(tmp_path: Path) -> None:
    table = tmp_path / "표.tsv"
    table.write_text('instruction\tinput\toutput\n"두\n줄"\tNA\t007\n언제?\t\t2024-01-01\n', encoding="utf-8")
    written, rows = converted(table, tmp_path)
    assert written == "CSV"
    assert [[turn["content"] for turn in row["messages"]] for row in rows] == [
        ["두\n줄\nNA", "007"],
        ["언제?", "2024-01-01"],
    ]
    for content, words in (
        ("질문,답변\n금리?,삼\n".encode("cp949"), "not UTF-8"),
        (b"a,b\n1,2\n", "columns a, b, which are no known format"),
        (b"question,answer\n", "no rows"),
        (b"PAR1 and nothing more", "cannot be read as Parquet"),
    ):
        (tmp_path / "b.csv").write_bytes(content)
        with pytest.raises(Refused, match=words):
            converted(tmp_path / "b.csv", tmp_path)


def test_pictures_and_folders_of_several_splits_are_refused(tmp_path: Path) -> None:
    table = datasets.Dataset.from_list([{"question": "q", "answer": "a", "image": None}])
    table.cast_column("image", datasets.Image()).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(Refused, match="column image holds images"):
        converted(tmp_path / "a.parquet", tmp_path / "cache")
    table.to_parquet(tmp_path / "test-0.parquet")
    with pytest.raises(Refused, match="holds other splits too"):
        converted(tmp_path, tmp_path / "cache")


def test_a_set_of_several_configurations_is_read_by_their_names(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text(
        "---\nconfigs:\n- config_name: ko\n  data_files:\n  - {split: train, path: ko.jsonl}\n"
        "- config_name: en\n  data_files:\n  - {split: train, path: en.jsonl}\n"
        "  - {split: test, path: test.jsonl}\n---\n"
    )
    masked = {**chat()["messages"][1], "content": "틀린 답", "weight": 0}
    turns = [chat()["messages"][0], masked, *chat()["messages"]]
    (snapshot / "ko.jsonl").write_bytes(line({"messages": turns}))
    for name in ("en.jsonl", "test.jsonl"):
        (snapshot / name).write_bytes(line({"question": "rate?", "answer": "3%"}))

    def read(config: str | None, split: str | None) -> dict[str, Any]:
        wanted = Wanted(str(snapshot), "org/name@v1", "chat", str(tmp_path), hub="org/name@v1")
        return convert(wanted, hub_reading(str(snapshot), "org/name@v1", config, split), Refused)

    assert (read("ko", "train")["masked"], read("en", "train")["format"]) == (True, "question and answer")
    listed = "give one of org/name@v1:ko:train, org/name@v1:en:train"
    for config, split, words in (
        (None, "train", f"has several configurations, and one must be named; {listed}"),
        (None, "ko", f"has several configurations, and one must be named; {listed}"),
        ("fr", "train", f"has no configuration 'fr'; {listed}"),
        ("en", "dev", "has no split 'dev': give org/name@v1:en:train, org/name@v1:en:test"),
    ):
        with pytest.raises(Refused) as caught:
            read(config, split)
        assert str(caught.value) == words
