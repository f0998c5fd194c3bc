"""What a reader must know before believing a run's figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from alphaf_orch.core.hiding import hide
from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.inputs.identity import folder_identity
from alphaf_orch.planning.stages import MERGES
from alphaf_orch.report.blocks import Note
from alphaf_orch.report.figures import number, percent
from alphaf_orch.report.names import FINDINGS, METRICS, PROCESSES, STAGES, task_title
from alphaf_orch.report.verdict import FEW_ROWS
from alphaf_orch.runs.chain import CHAIN, model_folder
from alphaf_orch.runs.sums import found_damage
from alphaf_orch.runs.watch.findings import recorded
from alphaf_orch.runs.watch.retry import cuts
from alphaf_orch.scores.compare import OF_THE_MODEL
from alphaf_orch.scores.loaded import RunData

# Shares above which an answer's form is a problem of its own; ours.
_TOO_HIGH = {"wrong_language": 0.05, "empty": 0.02, "looping": 0.05}
_RANK = {"error": 0, "warning": 1, "info": 2}


def run_warnings(run: RunData) -> list[Note]:
    """Return the warnings, the gravest first."""
    found = [*_stages(run), *_damage(run), *_contract(run), *_metrics(run), *_data(run), *_scores(run), *_lineage(run)]
    return sorted(found, key=lambda note: _RANK[note.level or "info"])


def _stages(run: RunData) -> Iterator[Note]:
    for name, entry in run.stages.items():
        where = named(PROCESSES, name)
        yield from _watched(entry, where)
        if entry["state"] == "failed":
            failed = Label("단계가 실패함: ", "the stage failed: ")
            yield Note(join([failed, hide(entry.get("error") or "", run.paths)], ""), "error", where)
        elif entry["state"] == "interrupted":
            yield Note(
                Label("단계가 중단되어 끝나지 않음", "the stage was interrupted, not finished"), "warning", where
            )
        elif entry["state"] != "done":
            text = Label(
                "단계가 끝났다는 기록이 없음(실행 중이거나 강제 종료됨)",
                "no record of the stage's end (still running, or killed)",
            )
            yield Note(text, "warning", where)


def _watched(entry: Mapping[str, Any], where: Text) -> Iterator[Note]:
    """Yield what was seen of a training while it ran, and that its batch was cut smaller."""
    for finding in recorded(entry):
        step = Label(f"학습 중 스텝 {finding.step}: ", f"at step {finding.step} of the training: ")
        text = join([step, named(FINDINGS, finding.kind)], "")
        yield Note(text, "error" if finding.level == "ruined" else "warning", where)
    for last in cuts(entry)[-1:]:
        cut = f"{last['micro_batch_size']} x {last['gradient_accumulation_steps']}"
        text = Label(
            f"메모리가 부족해 마이크로 배치를 줄여 다시 학습함: {cut} (전체 배치 크기는 같음)",
            f"out of memory: trained on with smaller micro batches, {cut} (the same global batch)",
        )
        yield Note(text, "info", where)


def _damage(run: RunData) -> Iterator[Note]:
    for found in found_damage(run.paths, {"stages": run.stages}, "look"):
        file = str(found.path.relative_to(run.paths.root))
        text = Label(
            f"단계가 끝난 뒤 파일이 달라졌거나 없어짐: {file} (`alphaf verify`로 확인)",
            f"a file has changed or gone since the stage ended: {file} {found.what} (`alphaf verify`)",
        )
        yield Note(text, "error", named(PROCESSES, found.stage))


def _contract(run: RunData) -> Iterator[Note]:
    for name in MERGES:
        for line in run.reports.get(name, {}).get("lines", []):
            if not line.get("ok"):
                broken = Label("모델 정합성 검증 실패: ", "hand-off contract broken: ")
                detail = hide(line.get("detail") or "", run.paths)
                yield Note(join([join([broken, str(line.get("line"))], ""), detail]), "error", named(PROCESSES, name))


def _metrics(run: RunData) -> Iterator[Note]:
    for stage, rows in run.metrics.items():
        where = named(PROCESSES, stage)
        bad: dict[str, list[int]] = {}
        for row in rows:
            for key in row.get("non_finite", []):
                bad.setdefault(key, []).append(row.get("step", 0))
        for key, steps in bad.items():
            text = Label(
                f"{key} 값이 유한하지 않음(NaN 또는 무한대): {len(steps)}번, 처음은 스텝 {steps[0]}",
                f"{key} is not finite (NaN or infinite): {len(steps)} time(s), first at step {steps[0]}",
            )
            yield Note(text, "error", where)
        evals = [(row["step"], row["eval_loss"]) for row in rows if isinstance(row.get("eval_loss"), float)]
        if evals:
            (step, least), last = min(evals, key=lambda pair: pair[1]), evals[-1][1]
            if last > 1.05 * least:
                text = Label(
                    f"검증 손실이 다시 오름: 스텝 {step}에서 {number(least)}, 끝에서 {number(last)} (과적합 의심)",
                    f"eval loss rose again: {number(least)} at step {step}, {number(last)} at the end (overfitting?)",
                )
                yield Note(text, "warning", where)


def _data(run: RunData) -> Iterator[Note]:
    effects = {
        "data": Label("학습에서 빠짐", "left out of training"),
        "dpo_data": Label("답변 끝이 잘리거나 빠짐", "answers cut off, or left out"),
    }
    for name, effect in effects.items():
        report = run.reports.get(name, {})
        where = named(PROCESSES, name)
        longer = report.get("longer_than_sequence_len") or {}
        if longer.get("rows"):
            rows = f"{number(longer['rows'])} ({percent(longer['share'])})"
            text = Label(
                f"sequence_len {number(report.get('sequence_len'))}보다 긴 행 {rows}: ",
                f"rows longer than sequence_len {number(report.get('sequence_len'))}: {rows}, ",
            )
            yield Note(join([text, effect], ""), "warning" if longer["share"] > 0.01 else "info", where)
        for key, what in _ODD_ROWS.items():
            if report.get(key):
                yield Note(join([what, number(report[key])], ": "), "warning", where)
        held_out = report.get("held_out") or {}
        if held_out.get("trained_on"):
            seen = f"{number(held_out['trained_on'])} / {number(held_out['rows'])}"
            what = Label("학습에도 쓰인 평가용 행", "rows held out for evaluation that are trained on")
            yield Note(join([what, seen], ": "), "warning", where)
        unknown = report.get("unknown_keys")
        if unknown:
            text = Label(
                f"쓰이지 않은 키: {', '.join(unknown)}. 모델이 배워야 할 내용이라면 턴 안에 넣어야 함",
                f"keys of rows that were not used: {', '.join(unknown)}; what the model is to learn belongs into turns",
            )
            yield Note(text, "warning", where)


def left_out(run: RunData) -> Iterator[Note]:
    """Yield where scores are not shown: an earlier version may have taken them from another model."""
    for stage, tasks in run.disbelieved.items():
        if tasks:
            text = Label(
                "예전 버전이 남긴 점수는 다른 모델의 것일 수 있어 뺌: `alphaf eval`로 다시 평가",
                "scores of an earlier version may be another model's and are left out: run `alphaf eval` again",
            )
            names = join([task_title(task, {}) for task in tasks], ", ")
            yield Note(text, "error", join([named(STAGES, stage), names]))


def _scores(run: RunData) -> Iterator[Note]:
    yield from left_out(run)
    few: dict[int, list[Text]] = {}
    for stage, tasks in run.scored.items():
        identity = _identity_now(run, stage)
        titles = {task: task_title(task, scored.result.title) for task, scored in tasks.items()}
        stale = [titles[task] for task, scored in tasks.items() if scored.result.model.get("identity") != identity]
        if identity and stale:
            text = Label(
                "점수가 지금 폴더에 있는 모델의 것이 아님: 평가 뒤에 모델이 바뀜",
                "the scores are not of the model in the folder now: it changed after the evaluation",
            )
            yield Note(text, "error", join([named(STAGES, stage), join(stale, ", ")]))
        for task, scored in tasks.items():
            where = join([named(STAGES, stage), titles[task]])
            for warning in scored.result.warnings:
                yield Note(hide(warning, run.paths), "warning", where)
            for metric, threshold in _TOO_HIGH.items():
                stored = scored.result.metrics.get(metric)
                if stored and stored.value > threshold:
                    name = named(METRICS, metric)
                    high = Label(f"{percent(threshold)} 초과", f"above {percent(threshold)}")
                    yield Note(join([join([name, percent(stored.value)], " "), high]), "warning", where)
            if scored.result.n < FEW_ROWS:
                few.setdefault(scored.result.n, []).append(where)
    for n, places in sorted(few.items()):
        text = Label(
            f"문항이 {n}개뿐이라 구간이 넓음: 작은 차이는 확인할 수 없음",
            f"only {n} rows: wide intervals, small differences cannot be shown",
        )
        yield Note(text, "warning", join(places, ", "))
    yield from _asked_otherwise(run)


def _identity_now(run: RunData, stage: str) -> str | None:
    """Return what identifies the stage's model as it lies there; None for a base, or where it was moved away."""
    folder = model_folder(run.paths, stage)
    return folder_identity(folder) if stage in CHAIN[1:] and folder.is_dir() else None


def _asked_otherwise(run: RunData) -> Iterator[Note]:
    """Yield where two models were asked the same row in other words, or by other settings of their own."""
    for before, after in pairwise(run.scored):
        for task in run.scored[after]:
            if task not in run.scored[before]:
                continue
            old, new = run.scored[before][task], run.scored[after][task]
            where = join(
                [task_title(task, new.result.title), join([named(STAGES, before), named(STAGES, after)], " → ")]
            )
            other = sum(old.prompts[name] != new.prompts[name] for name in old.prompts.keys() & new.prompts.keys())
            if other:
                text = Label(f"같은 문항의 프롬프트가 다름: {other}개", f"other prompts for the same rows: {other}")
                yield Note(text, "warning", where)
            # The end marker that training added is the reason for other stop tokens.
            own = sorted(OF_THE_MODEL - {"stop_token_ids"})
            differing = [key for key in own if old.result.settings.get(key) != new.result.settings.get(key)]
            if differing:
                text = Label(
                    f"모델마다 다른 설정: {', '.join(differing)}",
                    f"settings of the models' own differ: {', '.join(differing)}",
                )
                yield Note(text, "info", where)


def _lineage(run: RunData) -> Iterator[Note]:
    where = Label("계보", "Lineage")
    if run.manifest.get("git_dirty"):
        text = Label(
            "커밋하지 않은 변경이 있는 코드로 실행함: 커밋만으로는 재현되지 않음",
            "run from code with uncommitted changes: the commit alone does not reproduce it",
        )
        yield Note(text, "warning", where)
    elif run.stages and not run.manifest.get("git_commit"):
        yield Note(Label("git 커밋이 기록되지 않음", "no git commit was recorded"), "info", where)


_ODD_ROWS: dict[str, Any] = {
    "duplicates": Label("중복 행", "duplicate rows"),
    "rows_with_control_tokens": Label("본문에 제어 토큰이 든 행", "rows with control tokens in their text"),
    "nfd_rows": Label(
        "한글이 자모로 풀린(NFD) 행: 토큰이 몇 배로 늘어남",
        "rows with decomposed Hangul (NFD), which costs more tokens",
    ),
    "replaced_rows": Label("깨진 글자(U+FFFD)가 든 행", "rows with lost characters (U+FFFD)"),
    "mojibake_rows": Label("인코딩을 잘못 읽어 깨진 행", "rows that were read in a wrong encoding (mojibake)"),
    "control_character_rows": Label("제어 문자가 든 행", "rows with control characters"),
    "pairs_equal_after_cut": Label(
        "sequence_len에서 자른 뒤 두 답변이 같아 배울 것이 없는 쌍",
        "pairs whose answers are equal once cut to sequence_len, so they teach nothing",
    ),
}
