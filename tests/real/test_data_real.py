"""What axolotl itself makes of rows in every format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from data_rows import chat, hub_cache_with_rows, line, sharegpt, write

from alphaf_orch.inputs.data_sets import check_sources
from alphaf_orch.inputs.sources import Source, axolotl_dataset, dataset_entry


def run_tool(folder: Path, *args: str) -> str:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "1"}
    env |= {"HF_HOME": str(folder / "hf"), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *args], cwd=folder, env=env, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_axolotl_trains_on_assistant_turns_and_their_end_marker(tmp_path: Path) -> None:
    """Both row formats, a Korean path with a space, a byte order mark: ids and labels by the real tool."""
    pytest.importorskip("axolotl", reason="axolotl is not installed in this environment")
    import tiny
    import yaml
    from datasets import load_from_disk
    from transformers import AutoTokenizer

    base = tiny.save_base(tmp_path / "base")
    turns = [
        ("system", "금융 상담원"),
        ("user", "기준금리는 누가 정합니까?"),
        ("assistant", "한국은행이 정합니다."),
        ("user", "다음은? "),
        ("assistant", " 모릅니다\n"),
    ]
    openai = {"messages": [{"role": r, "content": c} for r, c in turns], "id": 1, "meta": {"출처": "사보"}}
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    share = {"conversations": [{"from": names[r], "value": c} for r, c in turns[1:]]}
    files = [
        write(tmp_path / "내 자료", b"\xef\xbb\xbf", line(openai), b"\n", line(chat(id=None, meta=None))),
        write(tmp_path / "내 자료", line(share), line(sharegpt("금리?", "2.5%")), name="대화 2.jsonl"),
    ]
    # Answers that are not to be trained on, by each key that people use, and a key of no matter in one row alone.
    question, answer = chat()["messages"]
    wrong = {"role": "assistant", "content": "틀린 답"}
    third = [question, {**wrong, "weight": 0}, question, {**answer, "weight": 1}]
    fourth = [question, {**wrong, "train": False, "training": False}, question, {**answer, "training": True}]
    files += [
        write(tmp_path / "내 자료", line({"messages": third}), line(chat(id=1)), name="weight.jsonl"),
        write(tmp_path / "내 자료", line({"messages": fourth}), name="train.jsonl"),
    ]
    hub_cache_with_rows(tmp_path / "hf")
    # What the loader gets of these is canonical rows: of the first one its other columns would stop it.
    late = [chat(id=1, when="2024-01-01", tags=["a"]), chat("금리?", "2.5%", id=10**22, when="어제", tags="a")]
    csv = tmp_path / "내 자료" / "표.csv"
    csv.write_text("\ufeff질문,답변\n금리?,2.5%\n", encoding="utf-8")
    names = [*files, write(tmp_path / "내 자료", *map(line, late), name="id.jsonl"), csv, "org/name:test"]
    env = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    sources = list(check_sources(tuple(map(str, names)), "chat", env))
    text = "기준금리는 한국은행이 정합니다. " * 40
    sources += check_sources((str(write(tmp_path, line({"text": text}), name="text.jsonl")),), "chat", env)
    config = {
        "base_model": str(base),
        "datasets": [axolotl_dataset(source) for source in sources],
        "chat_template": "chatml",
        "dataset_prepared_path": str(tmp_path / "prepared"),
        "sequence_len": 512,
        "output_dir": str(tmp_path / "out"),
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1,
        "learning_rate": 1e-4,
        "bf16": False,
        "shuffle_merged_datasets": False,
        "dataset_num_proc": 1,
    }
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    run_tool(tmp_path, "-m", "axolotl.cli.preprocess", "sft.yaml")
    prepared = load_from_disk(str(next((tmp_path / "prepared").glob("*/dataset_info.json")).parent))

    tokenizer = AutoTokenizer.from_pretrained(base)
    plain = chat()["messages"]
    short = [{"role": "user", "content": "금리?"}, {"role": "assistant", "content": "2.5%"}]
    expected = []
    stored = chat("질문 0")["messages"]
    for messages in (
        openai["messages"],
        plain,
        openai["messages"][1:],
        short,
        third,
        plain,
        fourth,
        plain,
        short,
        short,
        stored,
    ):
        ids: list[int] = []
        labels: list[int] = []
        for message in messages:
            head = tokenizer(f"<|im_start|>{message['role']}\n", add_special_tokens=False)["input_ids"]
            body = tokenizer(f"{message['content']}<|im_end|>", add_special_tokens=False)["input_ids"]
            tail = tokenizer("\n", add_special_tokens=False)["input_ids"]
            ids += head + body + tail
            trained = message["role"] == "assistant" and message["content"] != wrong["content"]
            labels += [-100] * len(head) + (body if trained else [-100] * len(body)) + [-100] * len(tail)
        rendered = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        assert ids == rendered
        expected.append((ids, labels))
    # A text is cut into pieces, closed, and trained on whole.
    ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    pieces = [ids[start : start + 512] for start in range(0, len(ids), 512)]
    assert len(pieces) > 1
    expected += [(piece, piece) for piece in pieces]
    assert [(row["input_ids"], row["labels"]) for row in prepared] == expected
    _counted_alike(tmp_path, base, sources[-1], pieces)


def _counted_alike(folder: Path, base: Path, texts: Source, pieces: list[list[int]]) -> None:
    """What the data stage says of the texts is what axolotl made of them."""
    from alphaf_orch.programs.training.data_stats import load_config, run

    config = {"tokenizer": str(base), "chat_template": "chatml", "sequence_len": 512, "kind": "text"}
    config |= {"datasets": [dataset_entry(texts)], "output": str(folder / "o.json"), "probe": str(folder / "p.jsonl")}
    (folder / "data.yaml").write_text(json.dumps(config), encoding="utf-8")
    stats = run(load_config(str(folder / "data.yaml")))
    assert (stats["rows"], stats["texts"], stats["duplicates"]) == (len(pieces), 1, 0)
    assert stats["tokens"]["total"] == sum(map(len, pieces))
    assert stats["longer_than_sequence_len"]["rows"] == 0
