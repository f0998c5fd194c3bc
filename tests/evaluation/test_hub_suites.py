"""The hub suites on small files in the schema of the real ones, read by the real lm-eval and scored by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hub_suites import MMLU, RAG_GOLD, SHIPPED, lines, put_snapshot, talk

from alphaf_orch.core.errors import DataError
from alphaf_orch.core.paths import CHILD
from alphaf_orch.evaluation.tasks.suites import find_tasks, select_tasks
from alphaf_orch.inputs.data_sets import check_sources
from alphaf_orch.inputs.sources import entry_key


@pytest.fixture
def allganize(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(CHILD))
    path = SHIPPED / "eval" / "allganize" / "allganize.py"
    spec = importlib.util.spec_from_file_location("allganize_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("3", 3), ("3.", 3), ("③", 3), ("(3)", 3), ("３", 3), ("3번", 3), ("3 번", 3), ("'3'", 3), ("**3**", 3),
        ("3번입니다.", 3), ("4입니다", 4), ("3\n해설: 1번은 틀립니다.", 3), ("3) 실효금리", 3), ("3. 복리는 이자", 3),
        ("정답: 3", 3), ("정답\n3", 3), ("답: ③", 3), ("정답: **3**", 3), ("Answer: 3", 3), ("보기 3번이 옳다", 3),
        ("정답은 3번입니다. 1번은 틀립니다.", 3), ("1번은 맞고 2번은 틀리므로 정답은 3번", 3),
        ("정답 : 3\n\n문제: 다음은?\n정답: 4", 3),
        ("5", None), ("0", None), ("정답: 7", None), ("", None), ("모르겠다", None), ("2020년 기준", None),
        ("3.5%", None), ("정답은 3.5%이다", None), ("1번, 3번", None), ("정답: 1, 3", None), ("①, ③", None),
        ("정답은 1번과 3번", None), ("3번째 보기", 3), ("3번 보기, 1번은 아니다", 3), ("1번도 3번도 옳다", None),
    ],
)  # fmt: skip
def test_the_option_is_read_and_never_guessed(allganize: ModuleType, answer: str, option: int | None) -> None:
    assert allganize.chosen_option(answer, 4) == option


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        (MMLU, 3),
        ("무엇인가?\n① 가\n② 나\n③ 다\n④ 라\n⑤ 마", 5),
        ("무엇인가? ① 가 ② 나", 2),
        ("1. 다음 중?\n<보기>\n1. ㄱ\n2. ㄴ\n고르면?\n1) 가\n2) 나\n3) 다\n4) 라", 4),
        ("예: 어느 것?\n1. a\n2. b\n정답: 1\n\n무엇인가?\n(1) 가\n(2) 나\n(3) 다", 3),
        ("2.5% 오르면?\n1. 1.5%\n2. 2.5%\n3. 3.5%", 3),
        ("무엇인가? (단위: 원)", 0),
        ("3. 하나뿐", 0),
    ],
)
def test_the_number_of_options_is_read_from_the_prompt(allganize: ModuleType, prompt: str, count: int) -> None:
    assert allganize.option_count(prompt) == count


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("0.1413", "14.13%", 1), ("0.1413", "14.1%", 1), ("0.1413", "0.14", 1), ("0.1413", "14.5%", 0),
        ("0.1413", "14.1", 0), ("14.1%", "0.141", 1), ("14.1%", "14.1%", 1), ("-0.05", "5% 감소했습니다", 1),
        ("-0.05", "5% 증가했습니다", 0), ("206588.0", "206,588백만 달러입니다", 1), ("206588.0", "206588", 1),
        ("206588.0", "206,588만 달러", 0), ("3", "3배", 1), ("3", "", 0), ("3", "300", 0), ("3", "300%", 1),
    ],
)  # fmt: skip
def test_numbers_match_in_the_ways_an_answer_may_write_them(
    allganize: ModuleType, gold: str, answer: str, right: int
) -> None:
    doc = {"prompt": "질문", **allganize._convfinqa(talk("하나", "질문", gold))}
    assert allganize.process_convfinqa(doc, [answer])["exact_numeric"] == right


@pytest.mark.parametrize("gold", ["예", "", "12.4%에서 13%로", "2018년 3월"])
def test_a_gold_that_is_not_one_number_is_an_odd_row(allganize: ModuleType, gold: str) -> None:
    with pytest.raises(allganize.OddRow):
        allganize._convfinqa(talk("하나", "질문", gold))


def test_conversations_are_read_in_both_forms_that_datasets_gives_them(allganize: ModuleType) -> None:
    row = talk("하나", "질문", "긍정")
    columns = {"from": ["human", "gpt"], "value": ["질문", "긍정"]}
    assert (
        allganize.turns(row) == allganize.turns({"conversations": columns}) == [("user", "질문"), ("assistant", "긍정")]
    )
    for odd in (
        {},
        {"conversations": "[]"},
        {"conversations": [{"from": "tool", "value": "x"}]},
        {"conversations": []},
    ):
        with pytest.raises(allganize.OddRow):
            allganize.turns(odd)
    system = {"conversations": [{"from": "system", "value": "예시"}, *row["conversations"]]}
    assert allganize.first_question(system) == {"system": "예시", "prompt": "질문", "gold": "긍정"}


@pytest.mark.parametrize(("positions", "golden"), [([0, 1, 2], [1, 2, 3]), ([1, 2, 3], [1, 2, 3]), ([3, 2], [3, 2])])
def test_the_golden_position_counts_from_what_the_split_shows(
    allganize: ModuleType, monkeypatch: pytest.MonkeyPatch, positions: list[int], golden: list[int]
) -> None:
    monkeypatch.setattr(allganize, "prepared", lambda dataset, read: [read(row) for row in dataset])
    rows = [{"system": "자료", "human": "질문", "answer": "답", "answer_position": place} for place in positions]
    assert [doc["golden"] for doc in allganize.rag_docs(rows)] == golden


@pytest.mark.parametrize("positions", [[1, 2], [0, 3], [None, 0], ["1", 0]])
def test_a_golden_position_that_cannot_be_known_is_an_odd_row(
    allganize: ModuleType, monkeypatch: pytest.MonkeyPatch, positions: list[Any]
) -> None:
    monkeypatch.setattr(allganize, "prepared", lambda dataset, read: [read(row) for row in dataset])
    rows = [{"system": "자료", "human": "질문", "answer": "답", "answer_position": place} for place in positions]
    with pytest.raises(allganize.OddRow, match="answer_position"):
        allganize.rag_docs(rows)


def test_overlap_is_the_share_of_the_golds_character_pairs(allganize: ModuleType) -> None:
    assert allganize.overlap("국고채 금리는 3.5%입니다 [1].", RAG_GOLD) == 1
    assert allganize.overlap("", RAG_GOLD) == 0
    # 국고 고채 | 금리 리는 | 3 | 5 | 입니 니다: of these eight the answer has 국고, 고채, 금리.
    assert allganize.overlap("국고채의 금리", RAG_GOLD) == 3 / 8


@pytest.mark.parametrize("kind", ["chat", "preference"])
@pytest.mark.parametrize(
    "name", ["allganize/rag-ko", "Allganize/RAG-KO@main:train", "allganize/financial-mmlu-ko:a:test"]
)
def test_evaluation_sets_are_refused_as_training_data(tmp_path: Path, name: str, kind: Any) -> None:
    snapshot = put_snapshot(tmp_path, "allganize/rag-ko", {"data/train.jsonl": lines([talk("하나", "질문", "답")])})
    env = {"HF_HOME": str(tmp_path)}
    for text in (name, str(snapshot / "data" / "train.jsonl")):
        with pytest.raises(DataError, match="is an evaluation set") as caught:
            check_sources((text,), kind, env)
        assert caught.value.where == text
    with pytest.raises(DataError, match="allganize/rag-ko is an evaluation set"):
        entry_key({"path": str(snapshot)}, env)


def test_every_allganize_data_set_is_refused_for_training() -> None:
    for task in select_tasks(find_tasks((SHIPPED,), sys.executable), ["allganize"], []):
        with pytest.raises(DataError, match="is an evaluation set"):
            check_sources((str(task.dataset),), "chat", {})
