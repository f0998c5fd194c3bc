"""What the shipped tasks are called."""

from __future__ import annotations

from alphaf_orch.core.wording import Label

TASKS = {
    "finance_ko_mcq": Label("금융 객관식", "Finance questions with four options"),
    "finance_ko_sentiment": Label("금융 감성 분류", "Sentiment of finance sentences"),
    "finance_ko_numeric": Label("표 계산", "Numbers from small tables"),
    "finance_ko_rag": Label("근거를 단 답변", "Answers with citations"),
    "general_ko_mcq": Label("한국어 상식 객관식", "Korean general knowledge with four options"),
    "general_ko_open": Label("한국어 상식 단답", "Korean general knowledge, short answers"),
}
