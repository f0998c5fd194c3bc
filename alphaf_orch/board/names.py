"""What the board's page says, in Korean and English."""

from __future__ import annotations

from alphaf_orch.core.wording import Label, Text
from alphaf_orch.report.names import CURVES, FINDINGS, PROCESSES, STEP

TITLE = Label("alphaf 현황판", "alphaf board")
# Of a run, of a stage and of an arm of an experiment.
STATES: dict[str, Text] = {
    "working": Label("작업 중", "working"),
    "running": Label("실행 중", "running"),
    "queued": Label("대기 중", "queued"),
    "requeued": Label("대기열로 되돌아감", "queued again"),
    "failed": Label("실패", "failed"),
    "cancelled": Label("취소됨", "cancelled"),
    "interrupted": Label("중단됨", "interrupted"),
    "damaged": Label("손상됨", "damaged"),
    "done": Label("완료", "done"),
    "begun": Label("시작 전", "not begun"),
    "not started": Label("시작 전", "not started"),
    "unread": Label("읽는 중", "being read"),
    "unknown": Label("알 수 없음", "not known"),
}
STAGES: dict[str, Text] = {
    **PROCESSES,
    "eval": Label("평가", "evaluation"),
    "answers": Label("답변 생성", "making answers"),
    "judge": Label("답변 판정", "judging"),
}
KINDS: dict[str, Text] = {"ablation": Label("비교 실험", "ablation"), "bakeoff": Label("베이스 모델 비교", "bake-off")}
FIGURES: dict[str, Text] = {**CURVES, "tokens_per_s": Label("토큰/초", "tokens/s")}
# Said by the script, where something is to be said.
SPOKEN: dict[str, Text] = {
    "step": STEP,
    "eta": Label("남은 시간", "time left"),
    "ends": Label("예상 종료", "ends about"),
    "since": Label("시작", "since"),
    "held": Label("실행 주체", "held by"),
    "quiet": Label("로그와 지표에 변화 없음", "neither log nor metrics grew for"),
    "log": Label("로그 끝부분", "end of the log"),
    "curves": Label("곡선 더 보기", "more curves"),
    "no_step": Label("첫 스텝을 기다리는 중", "waits for the first step"),
    "no_log": Label("아직 로그가 없습니다.", "There is no log yet."),
    "stop": Label("저장하고 중지", "stop and keep"),
    "stop_sure": Label(
        "중지하시겠습니까? 체크포인트를 남기고 끝나며, 같은 명령으로 이어서 실행할 수 있습니다.",
        "Stop it? It ends with a checkpoint, and the same command goes on from there.",
    ),
    "stopping": Label("중지하는 중", "is stopping"),
    "report": Label("보고서", "report"),
    "arms": Label("비교군", "arms"),
    "details": Label("자세히", "details"),
    "hide": Label("접기", "hide"),
    "stage": Label("단계", "stage"),
    "state": Label("상태", "state"),
    "time": Label("시간", "time"),
    "why": Label("비고", "remarks"),
    "run": Label("실행", "run"),
    "stages": Label("단계", "stages"),
    "job": Label("작업", "job"),
    "fix": Label("해결 방법", "next"),
    "memory": Label("메모리", "memory"),
    "busy": Label("사용률", "in use"),
    "no_gpu": Label("GPU가 보이지 않습니다", "No GPU is seen"),
    "at_step": Label("스텝", "at step"),
    "connected": Label("연결됨", "connected"),
    "lost": Label("응답 없음, 다시 시도 중. 마지막 응답:", "no answer, trying again; last one at"),
    "unanswered": Label("응답이 없습니다.", "No answer."),
    "over": Label(
        "이 현황판은 종료되었거나 다시 시작되었습니다. 터미널에 새로 출력된 주소를 여십시오.",
        "This board has ended or was started anew: open the address that its terminal printed.",
    ),
    "none_match": Label("해당하는 실행이 없습니다.", "No run matches."),
}
# Of the page itself.
WORDS: dict[str, Text] = {
    "skip": Label("본문으로", "Skip to content"),
    "language": Label("English", "한국어"),
    "theme": Label("밝게/어둡게", "Light/dark"),
    "now": Label("지금 하는 일", "At work"),
    "nothing": Label("지금 실행 중인 단계가 없습니다.", "Nothing is being worked on."),
    "cards": Label("이 컴퓨터의 GPU", "GPUs of this machine"),
    "experiments": Label("실험", "Experiments"),
    "runs": Label("실행 목록", "Runs"),
    "filter": Label("이름이나 상태로 찾기", "Filter by name or state"),
    "no_runs": Label(
        "아직 실행이 없습니다. 터미널에서 다음 명령을 실행하면 작은 모델이 전체 과정을 거치고 여기에 나타납니다.",
        "There is no run yet. Type this, and a small model goes through the whole chain and shows here.",
    ),
    "loading": Label("불러오는 중 …", "loading …"),
    "locked": Label(
        "토큰이 없거나 맞지 않습니다. `alphaf board` 명령이 터미널에 출력한 주소를 그대로 여십시오.",
        "The token is missing or not the right one: open the address that `alphaf board` printed, as it is.",
    ),
    "no_script": Label("이 페이지에는 자바스크립트가 필요합니다.", "This page needs JavaScript."),
    "read_only": Label("읽기 전용", "read-only"),
    "control": Label("중지 가능", "may stop runs"),
}


def spoken() -> dict[str, dict[str, Text]]:
    """Return everything that the page's script may say, by kind and name."""
    return {
        "states": STATES,
        "stages": STAGES,
        "kinds": KINDS,
        "figures": FIGURES,
        "findings": dict(FINDINGS),
        "words": SPOKEN,
    }
