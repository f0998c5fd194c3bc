"""What a person is told in Korean where something is wrong, whole: of settings, models, data and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alphaf_orch.core import errors, nodes
from alphaf_orch.core.paths import template_folders
from alphaf_orch.inputs.data import check_file
from alphaf_orch.inputs.presets import load_preset
from alphaf_orch.inputs.sources import parse_source
from alphaf_orch.settings.config import read_config
from alphaf_orch.settings.keys import parse_set


def told(raises: Callable[[], object]) -> list[str]:
    """Return the lines of the error that is raised as a person sees them, its identifier aside."""
    with pytest.raises(errors.AlphafError) as caught:
        raises()
    error = caught.value
    return errors.told(error.what, error.where, error.fix, "").split("\n")


@pytest.fixture(autouse=True)
def _korean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALPHAF_LANG", "ko")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("item", "lines"),
    [
        (
            "lora_r=0",
            [
                "오류: lora_r 값이 0입니다. 가능한 값: 1 이상의 정수",
                "  위치: --set lora_r=0",
                "  다음: lora_r에 쓸 수 있는 값: 1 이상의 정수",
            ],
        ),
        (
            "warmup_steps=-1",
            [
                "오류: warmup_steps 값이 -1입니다. 가능한 값: 0 이상의 정수 또는 null",
                "  위치: --set warmup_steps=-1",
                "  다음: warmup_steps에 쓸 수 있는 값: 0 이상의 정수 또는 null",
            ],
        ),
        (
            "optimizr=adamw_torch",
            [
                "오류: optimizr: optimizer를 쓰려 했습니까?",
                "  위치: --set optimizr=adamw_torch",
                "  다음: 도구에 있는 키를 쓰세요. docs/configuration.ko.md를 보세요",
            ],
        ),
        (
            "lora_r",
            [
                "오류: 'lora_r'은 key=value 형식이 아닙니다",
                "  위치: --set lora_r",
                "  다음: 예: --set lora_r=64",
            ],
        ),
    ],
)
def test_a_setting_that_cannot_be(item: str, lines: list[str]) -> None:
    assert told(lambda: parse_set([item], default="sft")) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "model: tiny\nmodel: eeve\n",
            [
                "오류: 키 model이 두 번 있습니다. 처음은 1번째 줄입니다",
                "  위치: 설정.yaml 2번째 줄",
                "  다음: 둘 중 하나만 남기세요",
            ],
        ),
        (
            "model: [tiny\n",
            [
                "오류: 설정 파일: 올바른 YAML이 아닙니다: ','나 ']'가 있어야 할 자리에 없음",
                "  위치: 설정.yaml 2번째 줄",
                "  다음: 그 줄을 고치세요",
            ],
        ),
        (
            "- tiny\n",
            [
                "오류: 설정 파일: 키-값 구조가 아닙니다",
                "  위치: 설정.yaml 1번째 줄",
                "  다음: `key: value` 줄로 쓰세요(예: `model: eeve`)",
            ],
        ),
    ],
)
def test_a_config_that_cannot_be_read(text: str, lines: list[str]) -> None:
    file = Path("설정.yaml")
    file.write_text(text, encoding="utf-8")
    assert told(lambda: read_config(file)) == lines


def test_a_model_and_data_that_are_not_there(tmp_path: Path) -> None:
    presets = [folder / "models" for folder in template_folders()]
    assert told(lambda: load_preset("eeve-instruc", presets))[0] == (
        "오류: 'eeve-instruc'이라는 모델이 없습니다; 'eeve-instruct'를 쓰려 했습니까?"
    )
    assert told(lambda: parse_source("여신.jsonl")) == [
        "오류: 파일이 없습니다: 여신.jsonl",
        f"  위치: {tmp_path / '여신.jsonl'}",
        f"  다음: {tmp_path}에 행 파일이 없습니다. Hub 데이터 세트는 org/name 또는 org/name:split으로 지정하세요",
    ]


def test_several_mistakes_of_a_data_file(tmp_path: Path) -> None:
    question, answer = {"role": "user", "content": "금리란?"}, {"role": "assistant", "content": ""}
    rows = [{"messages": [question, answer]}, {"messages": "금리"}, {"id": 3}]
    Path("여신.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"messages": [\n', encoding="utf-8")
    assert told(lambda: check_file("여신.jsonl", "chat")) == [
        "오류: 학습하면 안 되는 줄 4개, 종류별:",
        "  messages[].content: 비어 있습니다 (1)",
        "    1번째 줄, 키 messages[1].content",
        "  messages: 메시지 목록이 아니라 JSON string입니다 (1)",
        "    2번째 줄, 키 messages",
        "  행: 'messages', 'conversations', 'chosen'과 'rejected' 중 어느 것도 없습니다. 있는 키: id (1)",
        "    3번째 줄",
        "  잘못된 JSON: 값이 필요함 (1)",
        "    4번째 줄: 잘못된 JSON: 값이 필요함(1번째 칸)",
        f"  위치: {tmp_path / '여신.jsonl'} 1번째 줄, 키 messages[1].content",
        "  다음: 이 행을 고치거나 삭제하세요. SFT에는 'messages'(role, content) 또는 ShareGPT"
        " 'conversations'(from, value)가 있는 행이 필요합니다; 한 줄에 완전한 JSON 객체 하나씩 쓰세요",
    ]


def test_data_in_another_encoding(tmp_path: Path) -> None:
    file = tmp_path / "여신.jsonl"
    file.write_bytes('{"messages": "금리"}\n'.encode("cp949"))
    assert told(lambda: check_file(file, "chat")) == [
        "오류: 1번째 줄이 UTF-8이 아닙니다: 파일의 바이트 오프셋 14에 바이트 0xb1; CP949(EUC-KR)로 보입니다",
        f"  위치: {file} 1번째 줄, 바이트 오프셋 14",
        f"  다음: 변환하세요: iconv -f CP949 -t UTF-8 '{file}' > '{tmp_path / '여신.utf8.jsonl'}'",
    ]


def test_a_machine_that_nobody_numbered() -> None:
    def refuse() -> None:
        raise nodes.unknown_rank(2, {})

    assert told(refuse)[::2] == [
        "오류: 이 장비가 2대 중 몇 번째인지 알 수 없습니다",
        "  다음: 각 장비에서 ALPHAF_NODE_RANK를 0, 1, …(으)로 지정하고 `alphaf`를 하나씩 실행하세요. 첫 번째"
        " 장비의 호스트 이름으로 접속되지 않으면 ALPHAF_NODE_ADDRESS도 접속할 수 있는 이름으로 지정하세요",
    ]
