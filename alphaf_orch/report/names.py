"""What the parts of a report are called, in Korean and English."""

from __future__ import annotations

from alphaf_orch.core.wording import Label, Text
from alphaf_orch.evaluation.tasks.titles import task_title as task_title

STAGES = {
    "base": Label("베이스", "base"),
    "sft": Label("SFT", "SFT"),
    "dpo": Label("DPO", "DPO"),
    "merged": Label("병합", "merged"),
    "merged_partner_template": Label("병합(파트너 템플릿)", "merged (partner's template)"),
}
PROCESSES = {
    "base_model": Label("베이스 모델 준비", "base model"),
    "fetch_data": Label("데이터 받기", "fetch data"),
    "fetch_dpo_data": Label("선호 데이터 받기", "fetch preference data"),
    "fetch_partners": Label("병합 파트너 받기", "fetch merge partners"),
    "data": Label("데이터 점검", "data check"),
    "preprocess": Label("토큰화", "tokenisation"),
    "sft": Label("SFT 학습", "SFT training"),
    "merge_sft": Label("SFT 어댑터 병합", "SFT adapter merge"),
    "dpo_data": Label("선호 데이터 점검", "preference data check"),
    "dpo": Label("DPO 학습", "DPO training"),
    "merge_dpo": Label("DPO 어댑터 병합", "DPO adapter merge"),
    "merge_models": Label("모델 병합", "model merge"),
}
STATES = {
    "done": Label("완료", "done"),
    "running": Label("미완료", "not finished"),
    "failed": Label("실패", "failed"),
    "interrupted": Label("중단됨", "interrupted"),
    "not started": Label("시작 전", "not started"),
    "under way": Label("진행 중", "under way"),
}
METRICS = {
    "acc": Label("정확도", "accuracy"),
    "acc_norm": Label("정확도(길이 보정)", "accuracy (length-normalised)"),
    "exact_match": Label("완전 일치", "exact match"),
    "exact_numeric": Label("수치 정답률", "exact number"),
    "macro_f1": Label("매크로 F1", "macro F1"),
    "f1": Label("F1", "F1"),
    "citation_format": Label("출처 표기 형식", "citation format"),
    "citation_precision": Label("출처 표기 정밀도", "citation precision"),
    "citation_recall": Label("출처 표기 재현율", "citation recall"),
    "containment": Label("정답 포함", "answer containment"),
    "overlap": Label("글자쌍 일치율", "character overlap"),
    "answered": Label("보기를 고른 비율", "names one option"),
    "wrong_language": Label("다른 언어 비율", "wrong language"),
    "empty": Label("빈 답변 비율", "empty answers"),
    "looping": Label("반복 비율", "looping"),
    "length_chars": Label("답변 길이(글자)", "answer length (characters)"),
}
ROLES = {
    "system": Label("시스템", "system"),
    "user": Label("사용자", "user"),
    "assistant": Label("모델", "assistant"),
}
CURVES = {
    "loss": Label("학습 손실", "training loss"),
    "eval_loss": Label("검증 손실", "eval loss"),
    "learning_rate": Label("학습률", "learning rate"),
    "grad_norm": Label("기울기 노름(grad norm)", "gradient norm"),
    "rewards/margins": Label("보상 마진", "reward margin"),
    "rewards/accuracies": Label("보상 정확도", "reward accuracy"),
    "rewards/chosen": Label("채택 답변 보상", "reward of chosen"),
    "rewards/rejected": Label("기각 답변 보상", "reward of rejected"),
}
TESTS = {
    "mcnemar": Label("맥니머(McNemar) 정확 검정", "McNemar, exact"),
    "exchange": Label("대응 순열 검정", "paired permutation"),
    "": Label("검정 없음", "not tested"),
}
METHODS = {
    "wilson": Label("윌슨", "Wilson"),
    "bootstrap": Label("부트스트랩", "bootstrap"),
    "stderr": Label("정규 근사", "normal approximation"),
    "": Label("구간 없음", "no interval"),
}
VERDICTS = {
    "better": Label("나아짐", "better"),
    "worse": Label("나빠짐", "worse"),
    # One seed: that the answers differ is known of these two trainings, not why.
    "better_rows": Label("이번 학습에서는 나아짐(시드 하나, 원인 모름)", "rows better, cause not known (one seed)"),
    "worse_rows": Label("이번 학습에서는 나빠짐(시드 하나, 원인 모름)", "rows worse, cause not known (one seed)"),
    "none": Label("차이 확인 안 됨", "no difference shown"),
    "untested": Label("검정 없음", "not tested"),
    "refused": Label("비교하지 않음", "not compared"),
}
LEVELS = {
    "worse": Label("나빠짐", "worse"),
    "error": Label("오류", "error"),
    "warning": Label("주의", "warning"),
    "info": Label("참고", "note"),
}
# What the renderers themselves say.
WORDS = {
    "prompt": Label("프롬프트", "Prompt"),
    "gold": Label("정답", "Gold"),
    "numbers": Label("수치 보기", "Values"),
    "contents": Label("차례", "Contents"),
    "skip": Label("본문으로", "Skip to content"),
    "language": Label("English", "한국어"),
    "theme": Label("밝게/어둡게", "Light/dark"),
}
MARKS = {
    "better": "▲",
    "worse": "▼",
    "better_rows": "△",
    "worse_rows": "▽",
    "none": "≈",
    "untested": "",
    "refused": "✕",
}
ONE_SEED = Label(
    "문항의 정오가 두 학습에서 다르지만, 설정 때문인지는 시드 하나로 알 수 없음",
    "the rows differ between these two trainings; whether the setting did it cannot be known from one seed",
)
POINTS = Label("%p", " pt")
STEP = Label("스텝", "step")
CI = Label("95% 구간", "95% CI")
TASK, METRIC, STAGE = Label("과제", "Task"), Label("지표", "Metric"), Label("단계", "Stage")
KEY, VALUE = Label("항목", "Key"), Label("값", "Value")


def rows_in(rows: int, clusters: int) -> Text:
    """Return how many clusters so many rows are; empty where each row is one of its own."""
    return Label(f"{clusters:,}묶음", f"{clusters:,} clusters") if 0 < clusters < rows else ""


def direction(higher_is_better: bool | None) -> str:
    """Return an arrow for the better direction of a metric."""
    return {True: "\u00a0↑", False: "\u00a0↓", None: ""}[higher_is_better]


# What is seen of a training while it runs (runs/watch/findings.py).
FINDINGS = {
    "not_finite": Label("손실이나 기울기가 유한하지 않음(NaN 또는 무한대)", "the loss or gradient is NaN or infinite"),
    "not_finite_beside": Label("기록된 값이 유한하지 않음(NaN 또는 무한대)", "a logged figure is NaN or infinite"),
    "diverging": Label("손실이 발산함", "the loss diverges"),
    "no_loss": Label("손실이 0임: 모든 레이블이 가려져 있음", "the loss is 0: all labels are masked"),
    "no_gradient": Label("기울기가 0임: 아무것도 학습되지 않음", "the gradient is 0: nothing is trained"),
    "no_learning_rate": Label("학습률이 0임: 아무것도 학습되지 않음", "the learning rate is 0: nothing is trained"),
    "far_from_reference": Label(
        "보상이 지나치게 커짐: 정책이 기준 모델에서 멀리 벗어남(KL 폭발)",
        "rewards explode: the policy has left its reference (KL)",
    ),
    "margins_stuck": Label("보상 마진이 0에 머무름", "the reward margins stay at 0"),
    "accuracies_flat": Label("보상 정확도가 절반(우연 수준)에 머무름", "the reward accuracies stay at one half"),
}
