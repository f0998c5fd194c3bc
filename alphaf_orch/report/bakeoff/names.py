"""What the parts of a bake-off's report are called, in Korean and English."""

from __future__ import annotations

from alphaf_orch.core.wording import Label, Text
from alphaf_orch.report.blocks import Tone

CRITERIA = {
    "versatility": Label("범용성", "Versatility"),
    "korean": Label("한국어 능력", "Korean ability"),
    "performance": Label("성능", "Performance"),
}
PARTS: dict[str, Text] = {
    "transformers": "transformers",
    "axolotl": "axolotl",
    "unsloth": "unsloth",
    "mergekit": "mergekit",
    "lm-eval": "lm-eval",
    "licence": Label("라이선스", "licence"),
    "korean_score": Label("베이스 모델의 한국어 점수", "Korean score of the base"),
    "tokenizer": Label("토크나이저 효율", "economy of the tokenizer"),
    "own_language": Label("한국어로 답한 비율", "answers in Korean"),
    "after_sft": Label("SFT 뒤 점수", "score after SFT"),
    "cost_elsewhere": Label("다른 곳에서 잃은 점수", "cost elsewhere"),
}
QUESTIONS: dict[tuple[str, str], Text] = {
    ("transformers", "class"): Label("원격 코드 없이 불러오는 클래스", "a class without remote code"),
    ("axolotl", "packing"): Label("샘플 패킹", "sample packing"),
    ("axolotl", "lora_kernels"): Label("LoRA 융합 커널", "fused LoRA kernels"),
    ("axolotl", "liger"): Label("Liger 융합 커널", "Liger's fused kernels"),
    ("unsloth", "fast_path"): Label("전용 고속 경로", "a fast path of its own"),
    ("mergekit", "definition"): Label("구조 정의", "a definition of the architecture"),
    ("lm-eval", "hf"): Label("hf 백엔드", "the backend hf"),
    ("lm-eval", "vllm"): Label("vLLM 백엔드", "the backend vLLM"),
}
ANSWERS: dict[str, Text] = {
    "yes": Label("지원", "yes"),
    "own": Label("alphaf_orch의 구현으로 지원", "by alphaf_orch's own"),
    "partly": Label("일반 경로로만 지원", "by a general path"),
    "no": Label("미지원", "no"),
    "not asked": Label("확인하지 않음", "not asked"),
}
ANSWER_TONES: dict[str, Tone] = {"yes": "good", "own": "warn", "partly": "warn", "no": "bad", "not asked": "muted"}
CANDIDATE = Label("후보", "Candidate")
FIGURE = Label("항목", "Figure")
NOT_MEASURED = Label("측정하지 못함", "not measured")
WEIGHTS_SOURCE = Label(
    "가중치는 이 도구가 정한 값(모두 1)입니다. 글에는 가중치가 없습니다. --weights로 바꿀 수 있습니다.",
    "The weights are ours (all 1): the article gives none. --weights changes them.",
)
WEIGHTS_CHOSEN = Label("가중치는 --weights로 지정한 값입니다.", "The weights are those given with --weights.")
HOW = (
    Label(
        "범용성: 라이브러리마다 답의 평균(지원 1, alphaf_orch의 구현이나 일반 경로 0.5, 미지원 0)을 내고 라이선스"
        "(1 − 엄격도/4: 자유 이용 1, 동일 조건 0.75, 조건부 0.5, 비상업 0.25, 알 수 없음 0)와 함께 다시 평균합니다.",
        "Versatility: for each library the mean of its answers (yes 1, alphaf_orch's own or a general path 0.5, no 0),"
        " then the mean of these and the licence (1 − strictness/4: permissive 1, share-alike 0.75, conditions 0.5,"
        " non-commercial 0.25, unknown 0).",
    ),
    Label(
        "한국어 능력: 베이스 모델의 일반 한국어 점수, 1/(1 + 한글 한 글자당 토큰 수), SFT 모델이 한국어로 답한 비율의"
        " 평균입니다.",
        "Korean ability: the mean of the base's score on general Korean, 1/(1 + tokens per Korean syllable), and the"
        " share of the SFT model's answers that stay in Korean.",
    ),
    Label(
        "성능: SFT 뒤 점수에서 SFT가 다른 곳에서 잃게 한 점수를 뺍니다(다른 곳에서 오른 점수는 더하지 않습니다).",
        "Performance: the score after SFT less what SFT cost elsewhere (a gain elsewhere adds nothing).",
    ),
    Label(
        "점수는 과제별 주 지표의 평균입니다. 모든 후보에게 없는 항목은 빼고, 일부 후보에게만 없는 항목이 있으면 그"
        " 후보의 그 기준은 비워 둡니다. 0으로 채우지 않습니다.",
        "A score is the mean of the tasks' main metrics. What no candidate has is left out; a candidate that lacks what"
        " another has gets no value for that criterion, never a zero.",
    ),
    Label(
        "총점은 가진 기준의 가중 평균이고, 소수 셋째 자리까지 같으면 같은 순위입니다. 기준이 빠진 후보는 가진"
        " 기준만으로 매긴 순위를 괄호에 적습니다.",
        "The total is the weighted mean of the criteria; totals that are equal in three decimals share a place. A"
        " candidate without a criterion shows in brackets its place on those that it has.",
    ),
)


def listed(names: tuple[str, ...]) -> Text:
    """Return names side by side, or in words that there is none."""
    return ", ".join(names) or Label("없음", "none")
