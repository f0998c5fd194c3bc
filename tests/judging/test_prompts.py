"""The embedded preference prompts, and what is said of a user's own file that cannot be used."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from alphaf_orch.core.errors import DataError
from alphaf_orch.core.paths import template_folders
from alphaf_orch.inputs.samples import sample_path
from alphaf_orch.judging.prompts import EMBEDDED, Prompt, load_prompts

TRAINING = ("finance_ko_sft.jsonl", "finance_ko_dpo.jsonl", "finance_ko_sft_heldout.jsonl")


def embedded():
    return load_prompts(EMBEDDED, template_folders())


def written(folder: Path, *rows: object) -> str:
    file = folder / "내 질문.jsonl"
    file.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")
    return str(file)


def refused(*rows: object, folder: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load_prompts(written(folder, *rows), template_folders())
    return caught.value


def test_the_embedded_set_is_large_and_mixed():
    prompts = embedded().prompts
    finance = [p for p in prompts if p.category.startswith("금융/")]
    everyday = [p for p in prompts if p.category.startswith("일상/")]
    assert len(prompts) >= 72
    assert len(finance) + len(everyday) == len(prompts)
    assert 0.55 <= len(finance) / len(prompts) <= 0.65
    assert sum(len(p.turns) == 2 for p in prompts) >= 18
    assert all(len(p.turns) in (1, 2) for p in prompts)
    assert sum(p.reference is not None for p in prompts) >= 20
    assert [p.id for p in prompts] == [f"pref-{number:03}" for number in range(1, len(prompts) + 1)]
    kinds = Counter(p.category for p in prompts)
    assert len(kinds) == 18
    assert min(kinds.values()) >= 3


def test_the_first_prompts_are_a_fair_cut():
    # `--limit 10` must not mean ten calculations.
    first = embedded().prompts[:10]
    assert len({p.category for p in first}) >= 8
    assert sum(p.category.startswith("금융/") for p in first) == 6
    assert any(len(p.turns) == 2 for p in first)


def test_the_embedded_texts_are_korean_and_clean():
    for prompt in embedded().prompts:
        for text in (*prompt.turns, prompt.reference or "가"):
            assert text == text.strip()
            assert not re.search(r"[ \t]{2,}(?!.*```)|[\u0000-\u0008\ufffd\u4e00-\u9fff]", text), prompt.id
            assert "<|" not in text
        hangul = sum("가" <= char <= "힣" for char in prompt.turns[0])
        assert hangul >= 10, prompt.id


def grams(text: str) -> set[str]:
    plain = "".join(char for char in text if char.isalnum())
    return {plain[i : i + 6] for i in range(len(plain) - 5)}


def test_no_prompt_was_trained_on():
    asked: dict[str, set[str]] = {}
    for name in TRAINING:
        for line in sample_path(name).read_text("utf-8").splitlines():
            row = json.loads(line)
            turns = row.get("messages") or row["chosen"]
            # The first question says what a row is about; later ones may be a mere "예를 하나 들어 주세요."
            first = next(turn["content"] for turn in turns if turn["role"] == "user")
            asked[first] = grams(first)
    assert len(asked) > 300
    for prompt in embedded().prompts:
        for turn in prompt.turns:
            own = grams(turn)
            for text, other in asked.items():
                shared = len(own & other) / max(1, min(len(own), len(other)))
                assert shared < 0.5, f"{prompt.id}: {turn!r} is too much like {text!r}"


def test_a_users_file(tmp_path):
    file = written(
        tmp_path,
        {"prompt": "적금이 뭐예요?"},
        {
            "id": 7,
            "category": "금융",
            "turns": ["예금이 뭐예요?", "표로 정리해 줘."],
            "reference": "…",
            "system": "짧게.",
        },
        {"id": "가", "prompt": "채권이 뭐예요?", "turns": None},
    )
    found = load_prompts(file, template_folders())
    assert found.name == "내 질문"
    assert found.prompts[1] == Prompt("7", "금융", ("예금이 뭐예요?", "표로 정리해 줘."), "…", "짧게.")
    assert found.prompts[2] == Prompt("가", "", ("채권이 뭐예요?",))
    assert re.fullmatch(r"p-[0-9a-f]{12}", found.prompts[0].id)


def test_a_made_id_does_not_depend_on_the_line(tmp_path):
    one, two = {"prompt": "적금이 뭐예요?"}, {"prompt": "예금이 뭐예요?"}
    first = load_prompts(written(tmp_path, one, two), ()).prompts
    second = load_prompts(written(tmp_path, two, one), ()).prompts
    assert first == (second[1], second[0])
    assert first[0].id != first[1].id


def test_the_identity_covers_every_field(tmp_path):
    rows = [
        {"id": "a", "prompt": "가"},
        {"id": "b", "prompt": "가"},
        {"id": "a", "turns": ["가", "나"]},
        {"id": "a", "prompt": "가", "system": "다"},
        {"id": "a", "prompt": "가", "reference": "다"},
        {"id": "a", "prompt": "가", "category": "다"},
    ]
    found = [load_prompts(written(tmp_path, row), ()).identity for row in rows]
    assert len(set(found)) == len(rows)
    assert load_prompts(written(tmp_path, rows[0]), ()).identity == found[0]


def test_a_set_in_the_users_templates_comes_first(tmp_path):
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / f"{EMBEDDED}.jsonl").write_text('{"prompt": "내 것"}\n', "utf-8")
    found = load_prompts(EMBEDDED, (tmp_path, *template_folders()))
    assert [p.turns for p in found.prompts] == [("내 것",)]


@pytest.mark.parametrize(
    ("row", "what", "key"),
    [
        (["가"], "the row is no JSON object", "row"),
        ({"id": "a"}, "the row has neither prompt nor turns", "prompt"),
        ({"prompt": "가", "turns": ["나"]}, "the row has both prompt and turns", "prompt"),
        ({"prompt": " \n"}, "prompt is blank", "prompt"),
        ({"prompt": 3}, "prompt is no text", "prompt"),
        ({"turns": []}, "turns is no list of texts", "turns"),
        ({"turns": "가"}, "turns is no list of texts", "turns"),
        ({"turns": ["가", ""]}, "turns[1] is blank", "turns[1]"),
        ({"prompt": "가", "id": ""}, "id is blank", "id"),
        ({"prompt": "가", "id": True}, "id is no text", "id"),
        ({"prompt": "가", "category": 1}, "category is no text", "category"),
        ({"prompt": "가", "referense": "나"}, "unknown key referense: did you mean reference?", "referense"),
        ({"prompt": "\ud83d"}, "prompt holds half a surrogate pair", "prompt"),
    ],
)
def test_a_row_that_cannot_be_used(tmp_path, row, what, key):
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "괜찮은 줄"}\n' + json.dumps(row) + "\n", "utf-8")
    with pytest.raises(DataError) as caught:
        load_prompts(str(file), ())
    assert caught.value.what == what
    assert caught.value.where == f"{file} line 2, key {key}"


def test_duplicates_are_refused(tmp_path):
    error = refused({"id": "a", "prompt": "가"}, {"prompt": "나"}, {"id": "a", "prompt": "다"}, folder=tmp_path)
    assert (error.what, error.where.rpartition("/")[2]) == ("line 1 has the same id", "내 질문.jsonl line 3, key id")
    error = refused({"id": "a", "prompt": "가"}, {"id": "b", "turns": ["가"]}, folder=tmp_path)
    assert (error.what, error.where.rpartition(" ")[2]) == ("line 1 has the same conversation", "turns")
    # Another system text makes it another conversation.
    load_prompts(written(tmp_path, {"prompt": "가"}, {"prompt": "가", "system": "짧게."}), ())


def test_a_number_and_a_text_are_the_same_id(tmp_path):
    assert refused({"id": 1, "prompt": "가"}, {"id": "1", "prompt": "나"}, folder=tmp_path).what.endswith("same id")


def test_files_that_cannot_be_read(tmp_path):
    empty, broken, foreign = (tmp_path / f"{name}.jsonl" for name in ("빈", "깨진", "cp949"))
    empty.write_text("\n", "utf-8")
    broken.write_text('{"prompt": "가"}\n{"prompt": \n', "utf-8")
    foreign.write_bytes('{"prompt": "가"}\n'.encode("cp949"))
    cases = {
        str(empty): "the prompt file has no rows",
        str(broken): "cannot read the prompts",
        str(foreign): "cannot read the prompts",
        str(tmp_path): "is a folder, not a file",
        str(tmp_path / "없다.jsonl"): "no such prompt file",
        "preference_kr": "there is no prompt set preference_kr: did you mean preference_ko?",
    }
    for name, what in cases.items():
        with pytest.raises(DataError) as caught:
            load_prompts(name, template_folders())
        assert what in caught.value.what
    with pytest.raises(DataError) as caught:
        load_prompts(str(broken), ())
    assert caught.value.where == f"{broken}, after line 1"


def test_all_rows_that_cannot_be_used_are_told_in_one_go(tmp_path):
    error = refused({"prompt": "가"}, {"promt": "나"}, {"prompt": " "}, {"prompt": "가"}, folder=tmp_path)
    assert error.what.splitlines() == [
        "3 mistakes:",
        "  line 2, key promt: unknown key promt: did you mean prompt?",
        "  line 3, key prompt: prompt is blank",
        "  line 4, key id: line 1 has the same id",
    ]
    assert error.where == str(tmp_path / "내 질문.jsonl")
