"""The statistics program: its counts, its probe file, its failures, and rows from a Hub cache."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from data_rows import COMMIT, PAIR, chat, hub_cache_with_rows, line, sharegpt, write

from alphaf_orch.programs.common import Failure


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="transformers is not installed in this environment")
    import tiny

    folder = tmp_path_factory.mktemp("토크나이저 폴더")
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def data_stats(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module, found as the child finds it: by plain names from its own folder."""
    return importlib.import_module("alphaf_orch.programs.training.data_stats")


def config_file(folder: Path, **changes: Any) -> Path:
    config: dict[str, Any] = {
        "tokenizer": "none",
        "sequence_len": 64,
        "kind": "chat",
        "datasets": [{"path": "none.jsonl"}],
        "output": str(folder / "결과" / "stats.json"),
        "probe": str(folder / "결과" / "probe.jsonl"),
    }
    path = folder / "설정.yaml"
    path.write_text(yaml.safe_dump(config | changes, allow_unicode=True), encoding="utf-8")
    return path


def run_child(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    # -I keeps this package and the current folder out of reach, as in a tool environment without it.
    env = {**os.environ, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1"}
    argv = [sys.executable, "-m", "alphaf_orch.programs.training.data_stats", str(config)]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)


def lengths(base: Path, *conversations: list[dict[str, str]]) -> list[int]:
    """Count tokens apart from the program: ChatML written out by hand."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    texts = ["".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in turns) for turns in conversations]
    return [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]


def test_bad_config_ends_with_code_2(tmp_path: Path) -> None:
    config = config_file(tmp_path, tokenizer=None, datasets=[])
    done = run_child(config, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        f"error: missing keys: tokenizer, datasets\n  where: {config}\n  next:  Add them\n"
        "  code:  config.key_missing\n",
    )
    gone = run_child(tmp_path / "없음.yaml", tmp_path)
    assert gone.returncode == 2
    assert gone.stderr.startswith("error: cannot read the config: [Errno 2] No such file or directory")


def test_chat_statistics_of_local_and_hub_rows(tmp_path: Path, base: Path) -> None:
    pytest.importorskip("axolotl", reason="axolotl is not installed in this environment")
    hub_cache_with_rows(tmp_path / "hf")
    long = chat("이자는?", "복리로 계산합니다. " * 30, rationale="이유", id=7)
    first, answer = chat()["messages"]
    turns = [first, {**answer, "weight": 0}, {**first, "name": "", "turn_id": 1}, {**answer, "weight": 1}]
    forged = chat("끝<|im_end|>", "네")
    own = tmp_path / "내 자료"
    files = [
        write(own, b"\xef\xbb\xbf", line(chat(id=1)), b"\n", line(long), line(chat(id=2)), name="가 나.jsonl"),
        write(own, line(sharegpt()), name="대화.jsonl"),
        write(own, line(forged), line({"messages": turns}), name="표식.jsonl"),
    ]
    config = config_file(
        tmp_path,
        tokenizer=str(base),
        chat_template="chatml",
        added_tokens=["<|im_start|>", "<|im_end|>"],
        probe_rows=3,
        datasets=[
            *({"path": str(path), "kind": "local"} for path in files),
            {"path": "org/name", "kind": "hub", "split": "train", "revision": COMMIT},
        ],
    )
    done = run_child(config, tmp_path)
    assert done.returncode == 0, done.stderr
    plain, stored = chat()["messages"], [chat(f"질문 {i}")["messages"] for i in range(3)]
    rows = [plain, long["messages"], plain, plain, forged["messages"], [*plain, *plain], *stored]
    counted = lengths(base, *rows)
    ordered = sorted(counted)
    stats = json.loads((tmp_path / "결과" / "stats.json").read_text(encoding="utf-8"))
    assert stats == {
        "kind": "chat",
        "tokenizer": str(base),
        "chat_template": "chatml",
        "rows": 9,
        "turns": 20,
        "masked_turns": 1,
        "duplicates": 2,
        "rows_with_control_tokens": 1,
        # 질문 0 to 2 differ by a digit alone.
        "near_duplicates": 2,
        "nfd_rows": 0,
        "replaced_rows": 0,
        "mojibake_rows": 0,
        "control_character_rows": 0,
        "tokens": {
            "total": sum(counted),
            "min": ordered[0],
            "median": ordered[4],
            "p95": ordered[8],
            "max": ordered[8],
        },
        "sequence_len": 64,
        "longer_than_sequence_len": {
            "rows": sum(n > 64 for n in counted),
            "share": sum(n > 64 for n in counted) / 9,
        },
        "kept": {"rows": sum(n <= 64 for n in counted), "tokens": sum(n for n in counted if n <= 64), "packed": 6},
        "unknown_tokens": {"tokens": 0, "share": 0.0, "conversations": 0},
        "notes": [
            "of 9 rows 2 have the texts of an earlier one, and 2 differ from one in case, blanks, punctuation or digits"
            " alone"
        ],
        "held_out": {},
        "model_rows": None,
        "unused_keys": {"id": 3, "messages[].turn_id": 1, "rationale": 1},
        "unknown_keys": ["rationale"],
        "datasets": [
            {"path": str(files[0]), "kind": "local", "rows": 3, "format": "messages"},
            {"path": str(files[1]), "kind": "local", "rows": 1, "format": "conversations"},
            {"path": str(files[2]), "kind": "local", "rows": 2, "format": "messages"},
            {
                "path": "org/name",
                "kind": "hub",
                "split": "train",
                "revision": COMMIT,
                "rows": 3,
                "format": "messages",
            },
        ],
    }
    probe = (tmp_path / "결과" / "probe.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(text) for text in probe] == [{"messages": rows[i]} for i in range(3)]
    assert sorted(path.name for path in (tmp_path / "결과").iterdir()) == ["probe.jsonl", "stats.json"]
    assert [text for text in done.stdout.splitlines() if text.startswith("not used: ")] == [
        "not used: id (3 rows)",
        "not used: messages[].turn_id (1 rows)",
        "not used: rationale (1 rows)",
    ]


def test_preference_statistics(tmp_path: Path, base: Path, data_stats: ModuleType) -> None:
    turns = [{"role": "system", "content": "상담원"}, {"role": "user", "content": PAIR["prompt"]}]
    good, bad = ({"role": "assistant", "content": PAIR[side]} for side in ("chosen", "rejected"))
    path = write(tmp_path, line(PAIR), line({"chosen": [*turns, good], "rejected": [*turns, bad]}))
    config = config_file(
        tmp_path, tokenizer=str(base), kind="preference", sequence_len=60, datasets=[{"path": str(path)}]
    )
    stats = data_stats.run(data_stats.load_config(str(config)))
    first = lengths(base, [turns[1], good], [turns[1], bad])
    second = lengths(base, [*turns, good], [*turns, bad])
    assert max(first) < 60 < max(second)
    assert stats["tokens"] == {
        "total": sum(first) + sum(second),
        "min": max(first),
        "median": (max(first) + max(second)) / 2,
        "p95": max(second),
        "max": max(second),
    }
    assert (stats["rows"], stats["turns"], stats["duplicates"]) == (2, 4, 0)
    assert stats["longer_than_sequence_len"] == {"rows": 1, "share": 0.5}
    assert (stats["pairs_left_out"], stats["pairs_equal_after_cut"]) == (0, 0)
    probe = (tmp_path / "결과" / "probe.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(text) for text in probe] == [
        {"messages": [turns[1], good]},
        {"messages": [*turns, good]},
    ]


def test_pairs_are_compared_as_they_are_trained(tmp_path: Path, base: Path, data_stats: ModuleType) -> None:
    same = "예금자보호 한도는 금융회사별로 적용됩니다. " * 4
    late = {"prompt": "한도는?", "chosen": f"{same}맞습니다.", "rejected": f"{same}아닙니다."}
    too_long = {**PAIR, "prompt": same}
    plain = {side: [{"role": "user", "content": "왜?"}, {"role": "assistant", "content": side}] for side in PAIR}

    def stats(*rows: Any) -> dict[str, Any]:
        path = write(tmp_path, *map(line, rows))
        config = config_file(tmp_path, tokenizer=str(base), kind="preference", datasets=[{"path": str(path)}])
        found: dict[str, Any] = data_stats.run(data_stats.load_config(str(config)))
        return found

    assert min(lengths(base, [{"role": "user", "content": same}])) > 64
    kept = stats(late, PAIR, too_long, {side: plain[side] for side in ("chosen", "rejected")} | {"system": "상담원"})
    assert (kept["pairs_left_out"], kept["pairs_equal_after_cut"]) == (1, 1)
    probe = [json.loads(text) for text in (tmp_path / "결과" / "probe.jsonl").read_text("utf-8").splitlines()]
    assert probe[-1]["messages"][0] == {"role": "system", "content": "상담원"}
    for rows, what in (
        (
            [late, late, PAIR, too_long],
            "2 of 3 pairs have two equal answers once cut to sequence_len 64: no preference can be learnt from them",
        ),
        ([too_long], "no pair fits: every prompt alone fills sequence_len 64"),
    ):
        with pytest.raises(Failure) as caught:
            stats(*rows)
        assert (caught.value.code, caught.value.message.splitlines()[0]) == (3, f"error: {what}")


def test_damage_and_repetition_are_counted_and_said(tmp_path: Path, base: Path, data_stats: ModuleType) -> None:
    good = [chat(f"질문 {mark}", f"답 {mark}") for mark in "가나다라마바사아"]
    odd = [
        chat("금리란?", unicodedata.normalize("NFD", "돈의 값입니다.")),
        chat("환율란?", "원화의 \ufffd값"),
        chat("주가란?", "caf\u00c3\u00a9 값"),
        chat("채권이란?", "빚\x07문서"),
        chat("질문  가!", "답 가."),
    ]
    path = write(tmp_path, *map(line, [*good, *odd]))
    stats = data_stats.run(
        data_stats.load_config(str(config_file(tmp_path, tokenizer=str(base), datasets=[{"path": str(path)}])))
    )
    assert {key: value for key, value in stats.items() if key.endswith("_rows") or "duplicates" in key} == {
        "duplicates": 0, "near_duplicates": 1, "nfd_rows": 1, "replaced_rows": 1, "mojibake_rows": 1,
        "control_character_rows": 1, "model_rows": None,
    }  # fmt: skip
    assert [note.partition(" hold ")[0] for note in stats["notes"]] == ["1 of 13 rows"] * 4
    assert "`normalize: NFC`" in stats["notes"][0]


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (
            [chat("가", "\ufffd\ufffd"), chat("나", "ê°€ë‚˜"), chat("다")],
            "2 of 3 rows are damaged text (1 with U+FFFD for lost characters, 1 read in a wrong encoding): the model"
            " would learn to write it",
        ),
        (
            [chat(id=n) for n in range(3)],
            "all 3 rows are one and the same: nothing but that text can be learnt from them",
        ),
    ],
)
def test_the_worst_is_refused_of_hub_rows_too(
    tmp_path: Path, base: Path, data_stats: ModuleType, monkeypatch: pytest.MonkeyPatch, rows: list[Any], what: str
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write(tmp_path / "snapshot", *map(line, rows), name="train.jsonl")
    sets = [{"path": str(tmp_path / "snapshot"), "kind": "hub"}]
    with pytest.raises(Failure) as caught:
        data_stats.run(data_stats.load_config(str(config_file(tmp_path, tokenizer=str(base), datasets=sets))))
    assert (caught.value.code, caught.value.message.splitlines()[0]) == (3, f"error: {what}")


def test_rows_held_out_and_trained_on_are_counted(tmp_path: Path, base: Path, data_stats: ModuleType) -> None:
    rows = [chat(f"질문 {mark}", f"답 {mark}") for mark in "가나다라마바사아"]
    path = write(tmp_path, *map(line, [*rows, *rows[:4]]))

    def stats(held: list[Any], **held_out: Any) -> dict[str, Any]:
        named = [{"path": str(write(tmp_path, *map(line, held), name="평가.jsonl"))}] if held else []
        sets = {"datasets": [{"path": str(path)}], "held_out": {"datasets": named, **held_out}}
        found: dict[str, Any] = data_stats.run(
            data_stats.load_config(str(config_file(tmp_path, tokenizer=str(base), **sets)))
        )
        return found

    found = stats([rows[0], chat("질문 나!", "답 나"), chat("새 질문", "새 답")])
    assert found["held_out"] == {"rows": 3, "trained_on": 1, "near_trained_on": 1}
    assert "of the 3 rows held out for evaluation 1 are trained on, and 1 more but for case" in found["notes"][-1]
    # Four texts stand twice, so 8 of the 12 rows have a twin, and of 6 rows that are drawn about 4 do.
    assert stats([], share=0.5)["notes"][-1].startswith("about 4 of the 6 rows that val_set_size holds out")
    assert stats([{"instruction": "가", "output": "나"}])["notes"][-1].endswith("not compared with those trained on")
    with pytest.raises(Failure) as caught:
        stats(rows[:3])
    assert (caught.value.code, caught.value.message.splitlines()[0]) == (
        3,
        "error: 3 of the 3 rows held out for evaluation are trained on",
    )


def test_pairs_that_dpo_cannot_train_on_are_refused_before_sft(
    tmp_path: Path, base: Path, data_stats: ModuleType
) -> None:
    rows = write(tmp_path, line(chat()), line(chat("이자는?")))
    pairs = write(tmp_path, line(PAIR), line({**PAIR, "system": "상담원"}), name="pairs.jsonl")
    config = config_file(
        tmp_path, tokenizer=str(base), datasets=[{"path": str(rows)}], preferences=[{"path": str(pairs)}],
        preference_len=8,
    )  # fmt: skip
    with pytest.raises(Failure) as caught:
        data_stats.run(data_stats.load_config(str(config)))
    assert (caught.value.code, caught.value.message.splitlines()[:2]) == (
        3,
        ["error: no pair fits: every prompt alone fills sequence_len 8", f"  where: {pairs}"],
    )


def test_a_bad_row_ends_with_code_3_and_writes_nothing(tmp_path: Path, base: Path) -> None:
    path = write(tmp_path, line(chat()), b"\n", line(chat(answer=" ")))
    done = run_child(config_file(tmp_path, tokenizer=str(base), datasets=[{"path": str(path)}]), tmp_path)
    assert done.returncode == 3
    assert done.stderr.endswith(
        f"error: messages[1].content is blank\n  where: {path} line 3, key messages[1].content\n"
        "  next:  Correct or delete this row\n  code:  data.blank\n"
    )
    assert not (tmp_path / "결과").exists()


def test_failures(tmp_path: Path, base: Path, data_stats: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import tiny

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    stored = tmp_path / "snapshot"
    write(stored, line(chat()), line(sharegpt()), name="train.jsonl")
    good = write(tmp_path, line(chat()), line(chat("둘")))
    missing = tmp_path / "없음.jsonl"
    bare = tmp_path / "틀 없음"
    tiny.tokenizer(chatml=False).save_pretrained(bare)
    strict = tmp_path / "엄격"
    made = tiny.tokenizer()
    made.chat_template = "{% if messages[0].content == '둘' %}{{ raise_exception('no') }}{% endif %}" + tiny.CHATML
    made.save_pretrained(strict)
    first, answer = chat()["messages"]
    masked = tmp_path / "가린 답"
    write(masked, line({"messages": [first, {**answer, "weight": 0}, first, answer]}), name="train.jsonl")
    said = write(tmp_path, line(chat()), line({"messages": [{**first, "name": ""}, answer]}), name="이름.jsonl")
    named = tmp_path / "이름을 읽는 틀"
    made.chat_template = tiny.CHATML + "{{ messages[0]['name'] }}"
    made.save_pretrained(named)
    row_fix = "Correct or delete this row"
    cases: list[tuple[dict[str, Any], int, str, str, str]] = [
        (
            {"datasets": [{"path": str(good)}], "kind": "preference"},
            3,
            "2 lines that must not be trained on by kind:\n"
            "  row has neither 'chosen' nor 'rejected': it is a chat row, not a preference row (2)\n"
            "    line 1\n"
            "    line 2",
            f"{good} line 1",
            row_fix,
        ),
        (
            {"datasets": [{"path": str(missing)}]},
            3,
            f"cannot read the file: [Errno 2] No such file or directory: '{missing}'",
            str(missing),
            "Give a JSON Lines file in UTF-8",
        ),
        (
            {"tokenizer": str(bare), "datasets": [{"path": str(good)}]},
            4,
            "the tokenizer has no chat template of its own",
            str(bare),
            "Name a chat template, for example chatml",
        ),
        (
            {"chat_template": "chatm1", "datasets": [{"path": str(good)}]},
            4,
            "Template 'chatm1' not found.",
            "chat_template: chatm1",
            "Use a name axolotl knows, for example chatml, or null for the tokenizer's own",
        ),
        (
            {"tokenizer": str(strict), "datasets": [{"path": str(good)}]},
            3,
            "the chat template refuses this row: no",
            f"{good} line 2",
            "Change the row, or choose another chat_template",
        ),
        (
            {"datasets": [{"path": str(stored), "kind": "hub"}]},
            3,
            "row has the format 'conversations', the rows before have 'messages'",
            f"{stored} row 2",
            row_fix,
        ),
        (
            {"datasets": [{"path": str(masked), "kind": "hub"}]},
            3,
            "row masks a turn, which is read in local files only: write the split to one",
            f"{masked} row 1",
            row_fix,
        ),
        (
            {"tokenizer": str(named), "datasets": [{"path": str(said)}]},
            3,
            "messages[].name is a key that the chat template may read, and only the text of a turn is checked here",
            f"{said} line 2, key messages[].name",
            "Take name out of the turns, or make it null, or choose another chat_template",
        ),
        (
            {"datasets": [{"path": str(stored), "kind": "hub", "split": "dev"}]},
            3,
            "cannot load split 'dev': Unknown split \"dev\". Should be one of ['train'].",
            str(stored),
            f"Check the split, or run `hf download --repo-type dataset {stored}` where there is a network",
        ),
    ]
    for changes, code, what, where, fix in cases:
        config = data_stats.load_config(str(config_file(tmp_path, **({"tokenizer": str(base)} | changes))))
        with pytest.raises(Failure) as caught:
            data_stats.run(config)
        assert (caught.value.code, caught.value.message) == (
            code,
            f"error: {what}\n  where: {where}\n  next:  {fix}",
        )


def test_no_tokenizer_ends_with_code_4(tmp_path: Path, data_stats: ModuleType) -> None:
    config = data_stats.load_config(str(config_file(tmp_path, tokenizer=str(tmp_path))))
    with pytest.raises(Failure) as caught:
        data_stats.run(config)
    assert caught.value.code == 4
    what, where, fix = caught.value.message.splitlines()
    assert what.startswith("error: cannot load the tokenizer: ") and len(what) > 60
    assert (where, fix) == (
        f"  where: {tmp_path}",
        "  next:  Give a folder with tokenizer files, or bring the model into the Hugging Face cache",
    )
