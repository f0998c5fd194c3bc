"""Data checks: what a file must be, the whole message where it is not, and what axolotl makes of it."""

from __future__ import annotations

import hashlib
import json
import os
import time
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from data_rows import COMMIT, PAIR, chat, hub_cache_with_rows, line, sharegpt, write

from alphaf_orch.core.errors import DataError
from alphaf_orch.inputs import data, kept
from alphaf_orch.inputs.data import check_file
from alphaf_orch.inputs.sources import Source, axolotl_dataset, content_key, hub_is_cached, locate_hub, parse_source


def refused(error: DataError, what: str, where: object, fix: str) -> None:
    assert (error.exit_code, error.message) == (3, f"{what}\n  where: {where}\n  next:  {fix}")


def test_facts_of_a_chat_file(tmp_path: Path) -> None:
    long = chat()
    long["messages"] = [{"role": "system", "content": "상담원"}, *long["messages"], *long["messages"]]
    path = write(tmp_path / "데이터 모음", line(chat(id=1)), line(long), line(chat(id=2)), line(chat("이자는?")))
    content = path.read_bytes()
    assert check_file(path, "chat") == Source(
        path=str(path),
        kind="local",
        format="messages",
        rows=4,
        turns=10,
        systems=1,
        duplicates=1,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        extra_keys=True,
    )


def test_facts_of_sharegpt_and_preference_files(tmp_path: Path) -> None:
    both = chat(chosen=chat()["messages"], rejected=chat(answer="모릅니다.")["messages"])
    facts = [
        check_file(write(tmp_path, line(sharegpt()), line(sharegpt("이자는?")), name="a.jsonl"), "chat"),
        check_file(write(tmp_path, line(PAIR), line(PAIR), line(both), name="b.jsonl"), "preference"),
        check_file(write(tmp_path, line(both), name="c.jsonl"), "chat"),
    ]
    assert [(f.format, f.rows, f.turns, f.duplicates) for f in facts] == [
        ("conversations", 2, 4, 0),
        ("preference", 3, 6, 1),
        ("messages", 1, 2, 0),
    ]


def masked(*masks: dict[str, Any]) -> dict[str, Any]:
    """A row of as many answers as `masks`, each with its keys."""
    first, answer = chat()["messages"]
    return {"messages": [turn for mask in masks for turn in (first, {**answer, **mask})]}


def test_the_key_that_masks_turns_reaches_axolotl(tmp_path: Path) -> None:
    none = check_file(write(tmp_path, line(chat()), line(masked({"weight": 1}, {"train": True}))), "chat")
    assert none.message_field_training is None
    assert "message_field_training" not in {*axolotl_dataset(none), *content_key(none)}
    both = {"train": False, "weight": 0}
    path = write(tmp_path, line(chat()), line(masked(both, {})), line(masked({"weight": 0}, {"weight": 1})))
    found = check_file(path, "chat")
    assert (found.message_field_training, found.rows, found.turns) == ("weight", 3, 10)
    assert axolotl_dataset(found)["message_field_training"] == "weight"
    # Without it, a training of the same file by an older version, on all turns, would pass for this one.
    assert content_key(found)["message_field_training"] == "weight"


def test_a_system_key_beside_conversations_changes_what_is_trained(tmp_path: Path) -> None:
    lists = {"chosen": chat()["messages"], "rejected": chat(answer="모릅니다.")["messages"]}
    rows = [PAIR, {**PAIR, "system": "상담원"}, lists, {**lists, "system": None}]
    plain = check_file(write(tmp_path, *map(line, rows)), "preference")
    assert content_key(plain) == {"sha256": plain.sha256, "format": "preference"}
    # Without it, a training of the same file by an older version, which dropped the key, would pass for this one.
    found = check_file(write(tmp_path, *map(line, [*rows, {**lists, "system": "상담원"}])), "preference")
    assert content_key(found) == {"sha256": found.sha256, "format": "preference", "system_key": True}


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([masked({"weight": 0}, {}), masked({"train": False}, {})], "train, weight"),
        ([masked({}, {}), masked({"weight": 0}, {"train": False}, {})], "mixed in one row"),
    ],
)
def test_masks_that_axolotl_cannot_read_are_refused(tmp_path: Path, rows: list[Any], names: str) -> None:
    path = write(tmp_path, *map(line, rows))
    with pytest.raises(DataError) as caught:
        check_file(path, "chat")
    refused(
        caught.value,
        f"assistant turns are masked by different keys ({names}), and axolotl reads one",
        f"{path} line 2",
        "Mask every turn by one of them: train, training (false) or weight (0)",
    )


def test_byte_order_mark_blank_lines_and_crlf_are_read(tmp_path: Path) -> None:
    body = line(chat()).replace(b"\n", b"\r\n")
    path = write(tmp_path, b"\xef\xbb\xbf", body, b"\r\n", b"  \n", line(chat("이자는?")).rstrip())
    found = check_file(path, "chat")
    assert (found.rows, found.size) == (2, path.stat().st_size)


NEED_CHAT = "SFT needs rows with 'messages' (role, content) or ShareGPT 'conversations' (from, value)"
NEED_PAIR = "DPO needs rows with 'chosen' and 'rejected'"
REREAD = "Correct or delete this row: the data loader would read the whole file wrongly"


@pytest.mark.parametrize(
    ("lines", "want", "what", "where", "fix"),
    [
        pytest.param([], "chat", "the file has no rows", "", f"Give a file with data. {NEED_CHAT}.", id="empty"),
        pytest.param(
            [b"\n", b" \n"],
            "preference",
            "the file has no rows",
            "",
            f"Give a file with data. {NEED_PAIR}.",
            id="blank",
        ),
        pytest.param(
            [line(chat()), b'{"messages": [}\n'],
            "chat",
            "invalid JSON: Expecting value (column 15)",
            " line 2",
            "Write one complete JSON object on each line",
            id="json",
        ),
        pytest.param(
            [b'{"messages":\n', b"[]}\n"],
            "chat",
            "invalid JSON: Expecting value (column 1)",
            " line 1",
            "Write one complete JSON object on each line",
            id="pretty printed",
        ),
        pytest.param(
            [line(chat()), b'{"id": 1, "id": 2}\n'],
            "chat",
            "invalid JSON: key 'id' is given twice",
            " line 2",
            REREAD,
            id="key twice",
        ),
        pytest.param(
            [line(chat()), json.dumps(chat(note="\ud83d")).encode()],
            "chat",
            "invalid JSON: a \\u escape is half a surrogate pair (a cut emoji)",
            " line 2",
            REREAD,
            id="surrogate",
        ),
        pytest.param(
            [line(chat()), line({"messages": [{"role": "user", "content": "이자"}, {"role": "assistant"}]})],
            "chat",
            "messages[1].content is missing",
            " line 2, key messages[1].content",
            f"Correct or delete this row. {NEED_CHAT}.",
            id="row",
        ),
        pytest.param(
            [line({**PAIR, "rejected": PAIR["chosen"]})],
            "preference",
            "rejected is the same text as 'chosen': no preference can be learnt from it",
            " line 1, key rejected",
            f"Correct or delete this row. {NEED_PAIR}.",
            id="same answers",
        ),
        pytest.param(
            [b"\n", line(chat()), line(sharegpt())],
            "chat",
            "mixed formats: 'conversations' here, 'messages' in the rows before",
            " line 3",
            "Keep one format in a file: convert these rows, or put them into a second file",
            id="mixed",
        ),
        pytest.param(
            [line(PAIR)],
            "chat",
            "a row in the format 'preference' where chat rows are needed",
            " line 1",
            f"{NEED_CHAT}; give this file to DPO",
            id="pairs for SFT",
        ),
        pytest.param(
            [line(chat())],
            "preference",
            "a row in the format 'messages' where preference rows are needed",
            " line 1",
            f"{NEED_PAIR}; give this file to SFT",
            id="chats for DPO",
        ),
        pytest.param(
            [line(chat("ok")), line(chat("ok")).replace(b"ok", b"k\xff")],
            "chat",
            f"line 2 is not UTF-8: byte 0xff at byte offset {len(line(chat('ok'))) + 44} of the file; "
            "it is not a text in UTF-8",
            f" line 2, byte offset {len(line(chat('ok'))) + 44}",
            "Save the file as UTF-8; a compressed file must be unpacked first",
            id="bad byte",
        ),
    ],
)
def test_refused_file(tmp_path: Path, lines: list[bytes], want: Any, what: str, where: str, fix: str) -> None:
    path = write(tmp_path, *lines)
    with pytest.raises(DataError) as caught:
        check_file(path, want)
    refused(caught.value, what, f"{path}{where}", fix)


def test_korean_windows_file_is_named_with_its_conversion(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps(chat(), ensure_ascii=False).encode("cp949"))
    with pytest.raises(DataError) as caught:
        check_file(path, "chat")
    refused(
        caught.value,
        "line 1 is not UTF-8: byte 0xb1 at byte offset 43 of the file; it looks like CP949 (EUC-KR)",
        f"{path} line 1, byte offset 43",
        f"Convert it: iconv -f CP949 -t UTF-8 '{path}' > '{tmp_path / '상담 기록.utf8.jsonl'}'",
    )


def test_utf16_file_is_named_with_its_conversion(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps(chat(), ensure_ascii=False).encode("utf-16"))
    with pytest.raises(DataError) as caught:
        check_file(path, "chat")
    assert caught.value.what == ("line 1 is not UTF-8: byte 0xff at byte offset 0 of the file; it looks like UTF-16")
    assert caught.value.fix.startswith("Convert it: iconv -f UTF-16 -t UTF-8 ")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf \n"])
def test_json_array_is_refused_with_its_conversion(tmp_path: Path, mark: bytes) -> None:
    path = write(tmp_path, mark, json.dumps([chat()]).encode(), name="상담 기록.json")
    with pytest.raises(DataError) as caught:
        check_file(path, "chat")
    refused(
        caught.value,
        "the file is one JSON array; only JSON Lines is read (one object a line)",
        path,
        f"Convert it: jq -c '.[]' '{path}' > '{tmp_path / '상담 기록.jsonl'}'",
    )


@pytest.mark.parametrize(
    ("name", "sign"), [("data[v2].jsonl", "["), ("a*.jsonl", "*"), ("a?.jsonl", "?"), ("a::b.jsonl", "::")]
)
def test_a_name_the_loader_takes_for_a_pattern_is_refused(tmp_path: Path, name: str, sign: str) -> None:
    path = write(tmp_path, line(chat()), name=name)
    with pytest.raises(DataError) as caught:
        check_file(path, "chat")
    refused(
        caught.value,
        f"the path contains {sign!r}, which the data loader reads as a pattern, not as a name",
        path,
        "Rename the file or folder without * ? [ and ::",
    )


def test_the_user_sees_one_message_and_exit_code_3(tmp_path: Path) -> None:
    path = write(tmp_path / "빈 폴더", b"")

    @click.command()
    def command() -> None:
        check_file(path, "chat")

    result = CliRunner().invoke(command)
    assert (result.exit_code, result.output) == (
        3,
        f"error: the file has no rows\n  where: {path}\n  next:  Give a file with data. {NEED_CHAT}.\n"
        "  code:  data.no_rows\n",
    )


def test_parse_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "자료 1", line(chat()))
    assert [
        parse_source(text)
        for text in (
            str(path),
            "자료 1/상담 기록.jsonl",
            "org/name",
            "o-r.g/ko_Set.v1:train_sft",
            "a/b:train[:5%]",
            "a/b@v1.0:ko-en:test",
            "a/b@refs/pr/3",
        )
    ] == [
        Source(str(path), "local"),
        Source(str(path), "local"),
        Source("org/name", "hub", "train"),
        Source("o-r.g/ko_Set.v1", "hub", "train_sft"),
        Source("a/b", "hub", "train[:5%]"),
        Source("a/b", "hub", "test", config="ko-en", revision="v1.0"),
        Source("a/b", "hub", "train", revision="refs/pr/3"),
    ]


def test_missing_file_names_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "자료", line(chat()), name="finance_ko_sft.jsonl")
    write(tmp_path / "자료", line(chat()), name=unicodedata.normalize("NFD", "여신.jsonl"))
    (tmp_path / "빈").mkdir()
    cases = {
        "자료/finance_sft.jsonl": f"Nearest in {tmp_path / '자료'}: finance_ko_sft.jsonl",
        "자료/여신.jsonl": "A file of this name exists in decomposed Unicode (macOS): rename it, or complete "
        "its name by Tab",
        "자료/가나다": f"Nearest in {tmp_path / '자료'}: finance_ko_sft.jsonl, "
        + unicodedata.normalize("NFD", "여신.jsonl"),
        "빈/a.jsonl": f"{tmp_path / '빈'} holds no file of rows; a Hub data set is given as org/name or org/name:split",
        "없음/둘/a.jsonl": f"The folder does not exist; the nearest one that does is {tmp_path}",
        "org/name.jsonl": f"The folder does not exist; the nearest one that does is {tmp_path}",
    }
    for text, fix in cases.items():
        with pytest.raises(DataError) as caught:
            parse_source(text)
        refused(caught.value, f"no such file: {text}", tmp_path / text, fix)


def test_hub_data_set_in_the_cache(tmp_path: Path) -> None:
    folder = hub_cache_with_rows(tmp_path / "허브 캐시")
    env = {"HF_HOME": str(tmp_path / "허브 캐시"), "HF_HUB_OFFLINE": "1"}
    assert hub_is_cached("org/name", env) == folder
    assert hub_is_cached("org/name", env, COMMIT) == folder
    assert hub_is_cached("org/name", env, "v2") is None
    assert locate_hub(Source("org/name", "hub", "test"), env) == Source("org/name", "hub", "test", snapshot=str(folder))
    for blob in (folder.parents[1] / "blobs").iterdir():
        blob.unlink()
    assert hub_is_cached("org/name", env) is None


@pytest.mark.parametrize("switch", [{"HF_HUB_OFFLINE": "1"}, {"TRANSFORMERS_OFFLINE": "true"}])
def test_hub_data_set_that_cannot_be_fetched(tmp_path: Path, switch: dict[str, str]) -> None:
    source = Source("org/name", "hub")
    env = {"HF_HUB_CACHE": str(tmp_path)}
    assert locate_hub(source, env) == source
    with pytest.raises(DataError) as caught:
        locate_hub(source, env | switch)
    refused(
        caught.value,
        "data set org/name is not on this machine, and the Hub is off (HF_HUB_OFFLINE)",
        tmp_path / "datasets--org--name",
        "Where there is a network run: hf download --repo-type dataset org/name; pack the folder "
        f"datasets--org--name of its cache with tar, which keeps the links, and unpack it in {tmp_path}. "
        "Or give a local file.",
    )


def test_axolotl_entries() -> None:
    shared = {"type": "chat_template", "roles_to_train": ["assistant"], "train_on_eos": "turn"}
    plain = {
        "field_messages": "messages",
        "message_property_mappings": {"role": "role", "content": "content"},
    }
    assert [
        axolotl_dataset(source)
        for source in (
            Source("/자료/a b.jsonl", "local", format="messages"),
            Source("/a.jsonl", "local", format="conversations"),
            Source("org/name", "hub", "train_sft"),
            Source("org/name", "hub", format="messages", snapshot="/c/snapshots/1"),
        )
    ] == [
        {"path": "/자료/a b.jsonl", "ds_type": "json", **plain, **shared},
        {
            "path": "/a.jsonl",
            "ds_type": "json",
            "field_messages": "conversations",
            "message_property_mappings": {"role": "from", "content": "value"},
            **shared,
        },
        {"path": "org/name", "split": "train_sft", **plain, **shared},
        {"path": "/c/snapshots/1", "split": "train", **plain, **shared},
    ]


def big_file(folder: Path, rows: int, sentences: int) -> Path:
    path = folder / "큰 파일.jsonl"
    with path.open("wb") as out:
        for i in range(rows):
            question = f"질문 {i}: 기준금리와 예금금리의 관계는?"
            out.write(line(chat(question, "예금금리는 기준금리를 따라 움직입니다. " * sentences)))
    return path


def peak_memory(path: Path) -> int:
    tracemalloc.start()
    try:
        found = check_file(path, "chat")
        assert found.duplicates == 0
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    path = big_file(tmp_path, 10_000, sentences=200)
    assert path.stat().st_size > 100e6
    assert peak_memory(path) < 4e6


def test_memory_grows_by_a_digest_a_row(tmp_path: Path) -> None:
    path = big_file(tmp_path, 20_000, sentences=1)
    assert peak_memory(path) < 20_000 * 200


def test_speed_of_the_check(tmp_path: Path) -> None:
    path = big_file(tmp_path, 100_000, sentences=1)
    start = time.process_time()
    check_file(path, "chat")
    # About 3 seconds on two slow cores; only a slip to quadratic time fails this.
    assert time.process_time() - start < 30


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read, in order, by processes whose files change in no less than a tick."""
    found: list[Path] = []
    real = data.read_whole
    monkeypatch.setattr(data, "read_whole", lambda file, *args: (found.append(file), real(file, *args))[1])
    monkeypatch.setattr(kept, "TICK_NS", 0)
    return found


def large(tmp_path: Path, mark: str = "하나") -> Path:
    """Return a file of more than a megabyte, of the same size for every mark of two syllables."""
    return write(tmp_path, line(chat(mark)), line(chat("가" * (1 << 19))), name="large.jsonl")


def another_process() -> None:
    kept._found.clear()


def test_a_large_file_is_read_once_for_all_processes_and_a_small_one_once_in_each(tmp_path, reads):
    path, small = large(tmp_path), write(tmp_path, line(chat()), name="small.jsonl")
    first = [check_file(path, "chat"), check_file(small, "chat")]
    assert [check_file(path, "chat"), check_file(small, "chat")] == first
    assert reads == [path, small]
    another_process()
    assert [check_file(path, "chat"), check_file(small, "chat")] == first
    assert reads == [path, small, small]
    moved = path.rename(tmp_path / "moved.jsonl")
    another_process()
    assert check_file(moved, "chat").path == str(moved)


@pytest.mark.parametrize("forgetting", [lambda: None, another_process])
def test_a_file_changed_behind_its_size_and_time_is_read_again(forgetting, tmp_path, reads):
    path = large(tmp_path)
    before, stat = check_file(path, "chat"), path.stat()
    with path.open("r+b") as file:  # the same inode
        content = file.read().replace("하나".encode(), "다섯".encode())
        file.seek(0)
        file.write(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino) == (
        stat.st_size, stat.st_mtime_ns, stat.st_ino,
    )  # fmt: skip
    forgetting()
    assert check_file(path, "chat").sha256 == hashlib.sha256(content).hexdigest() != before.sha256


def test_what_other_checks_found_is_not_believed(tmp_path, reads, monkeypatch):
    path = large(tmp_path)
    check_file(path, "chat")
    another_process()
    with pytest.raises(DataError):
        check_file(path, "preference")
    monkeypatch.setattr(data, "_checks", lambda: "those of another version")
    check_file(path, "chat")
    assert reads == [path] * 2  # rows of the other kind are told from the first of them


def test_a_file_is_not_known_again_where_a_later_change_would_not_show(tmp_path, reads, monkeypatch):
    path = large(tmp_path)
    monkeypatch.setattr(kept, "TICK_NS", 10**18)
    check_file(path, "chat")
    another_process()
    check_file(path, "chat")
    assert reads == [path] * 2
