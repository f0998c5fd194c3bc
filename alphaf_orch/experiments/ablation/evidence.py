"""What proves that two arms are alike but for what is varied: their rendered files, the batches they saw, how asked."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.stored import read_text
from alphaf_orch.core.wording import Label, Text
from alphaf_orch.experiments.ablation.first_weights import MIXED, FirstWeights, compare_beginnings
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import SECTIONS
from alphaf_orch.programs.json_lines import whole_rows
from alphaf_orch.programs.tracker_keys import KEYS as TRACKER_KEYS
from alphaf_orch.scores.compare import mismatch
from alphaf_orch.scores.loaded import RunData, Scored

RUN = "RUN"  # what stands for an arm's own folder in the files that are compared
_TOLD = ("axolotl", "transformers", "torch")  # of all versions, which are all compared
_PACKING = ("sample_packing", "eval_sample_packing", "pad_to_sequence_len", "sequence_len", "excess_length_strategy")


@dataclass(frozen=True)
class Check:
    """One thing that must be the same in both arms; `same` is None where it was not recorded.

    `planned`: a difference that follows from what is varied. `warning`: what nobody who reads the scores may miss.
    """

    what: Text
    same: bool | None
    evidence: Text
    planned: bool = False
    warning: bool = False


@dataclass(frozen=True)
class ChangedFile:
    """One rendered file that is not the same in both arms, and its lines."""

    file: str
    removed: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def lines(self) -> int:
        """How many lines differ: one that was changed counts once."""
        return max(len(self.removed), len(self.added))

    def text(self) -> str:
        """Return it as a unified diff."""
        return "\n".join([f"--- {self.file}", *(f"-{line}" for line in self.removed), *(f"+{x}" for x in self.added)])


@dataclass(frozen=True)
class Batches:
    """What an arm's training saw: by step, the hash of its token ids and the shapes of its micro-batches."""

    ids: Mapping[int, str]
    shapes: Mapping[int, tuple[tuple[int, int], ...]]  # (rows, length in tokens)
    first: FirstWeights | None = None  # None: trained by a version that did not record them


def differences(before: RunPaths, after: RunPaths) -> list[ChangedFile]:
    """Return how the files that the two arms' training read differ, each arm's own folder written as RUN.

    A tracker's name of the run is no part of what is trained; the files of evaluations are compared by their results.
    """
    return _compared(_training_files(before), _training_files(after))


def _compared(first: Mapping[str, list[str]], second: Mapping[str, list[str]]) -> list[ChangedFile]:
    found = []
    for name in sorted({*first, *second}):
        ours, theirs = first.get(name, []), second.get(name, [])
        # The first two lines name the files.
        changed = list(difflib.unified_diff(ours, theirs, n=0, lineterm=""))[2:]
        changed = [line for line in changed if line[1:].partition(":")[0] not in TRACKER_KEYS]
        removed, added = (tuple(line[1:] for line in changed if line[0] == sign) for sign in "-+")
        if removed or added:
            found.append(ChangedFile(name, removed, added))
    return found


def planned_difference(before: Plan, after: Plan) -> str:
    """Return how the files that two planned arms would read differ, as a unified diff; empty where they do not."""
    return "\n".join(each.text() for each in _compared(_planned_files(before), _planned_files(after)))


def _planned_files(plan: Plan) -> dict[str, list[str]]:
    return {
        path.name: _without_place(file.text, plan.paths) for stage in plan.stages for path, file in stage.files.items()
    }


def _training_files(paths: RunPaths) -> dict[str, list[str]]:
    found = {}
    for file in paths.all_rendered():
        if not file.name.startswith(("eval_", "accelerate_eval", "answers")):
            found[file.name] = _without_place(read_text(file), paths)
    return found


def _without_place(text: str, paths: RunPaths) -> list[str]:
    """Return the lines with RUN for the arm's folder; YAML may have quoted what lies above it."""
    own = f"/{paths.root.parent.name}/{paths.root.name}"
    return text.replace(str(paths.root), RUN).replace(own, f"/{RUN}").splitlines()


def read_batches(paths: RunPaths, stage: str) -> Batches | None:
    """Return what a training stage saw, the last line of a step counting; None where nothing was recorded."""
    file = paths.batches(stage)
    if not file.is_file():
        return None
    ids, shapes, first = {}, {}, None
    for row in whole_rows(file.read_text(encoding="utf-8", errors="replace")):
        if "first_weights" in row:  # a training that was begun anew has a second one
            first = FirstWeights(row["first_weights"], row["trainable"], row["parameters"])
            continue
        ids[row["step"]] = row["ids"]
        shapes[row["step"]] = tuple(zip(row["rows"], row["lengths"], strict=True))
    return Batches(ids, shapes, first) if ids else None


def checks(before: RunData, after: RunData, stage: str) -> list[Check]:
    """Return the checks of one pair of arms that are to be trained under one seed, and were evaluated at one stage."""
    trainer = "dpo" if stage == "dpo" else "sft"
    first, second = read_batches(before.paths, trainer), read_batches(after.paths, trainer)
    return [
        _same(Label("시드", "Seed"), _seed(before, trainer), _seed(after, trainer)),
        *(_beginning(before, after, each) for each in SECTIONS[: SECTIONS.index(trainer) + 1]),
        _order(first, second),
        _packing(before, after, first, second),
        _same(Label("데이터(SHA-256)", "Data (SHA-256)"), _data(before), _data(after), _data(before, 12)),
        _same(Label("베이스 모델", "Base model"), before.manifest["base_revision"], after.manifest["base_revision"]),
        _same(
            Label("도구 버전", "Versions of the tools"),
            _versions(before, trainer),
            _versions(after, trainer),
            ", ".join(f"{tool} {_versions(before, trainer).get(tool)}" for tool in _TOLD),
        ),
        _evaluation(before.scored.get(stage, {}), after.scored.get(stage, {})),
    ]


def _same(what: Text, one: Any, other: Any, shown: str = "") -> Check:
    if not one and not other and one != 0:
        return Check(what, None, Label("기록 없음", "not recorded"))
    shown = shown or _short(one)
    return Check(what, one == other, shown if one == other else f"{shown} ≠ {_short(other)}")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _beginning(before: RunData, after: RunData, trainer: str) -> Check:
    what = (
        Label("처음 가중치", "First weights")
        if trainer == "sft"
        else Label("DPO의 처음 가중치", "First weights of DPO")
    )
    found = (read_batches(before.paths, trainer), read_batches(after.paths, trainer))
    one, other = (batches.first if batches else None for batches in found)
    made = compare_beginnings(one, other, (_whole_recipe(before, trainer), _whole_recipe(after, trainer)))
    return Check(what, made.same, made.evidence, made.planned, made.alarming or made.evidence is MIXED)


def _order(first: Batches | None, second: Batches | None) -> Check:
    what = Label("데이터 순서", "Data order")
    if first is None or second is None:
        return Check(what, None, Label("배치 기록 없음", "the batches were not recorded"))
    steps = sorted({*first.ids, *second.ids})
    alike = sum(first.ids.get(step) == second.ids.get(step) for step in steps)
    told = Label(
        f"{len(steps)}개 스텝 가운데 {alike}개에서 토큰 해시가 같음",
        f"the same hash of token ids in {alike} of {len(steps)} steps",
    )
    return Check(what, alike == len(steps), told)


def _packing(before: RunData, after: RunData, first: Batches | None, second: Batches | None) -> Check:
    what = Label("패킹과 길이", "Packing and lengths")
    ours, theirs = (_recipe(run, _PACKING) for run in (before, after))
    shapes = None if first is None or second is None else first.shapes == second.shapes
    same = ours == theirs and shapes is not False
    shown = ", ".join(f"{key}={json.dumps(value)}" for key, value in ours.items())
    if ours != theirs:
        other = ", ".join(f"{key}={json.dumps(value)}" for key, value in theirs.items())
        return Check(what, False, f"{shown} ≠ {other}")
    if shapes is None:
        return Check(what, same, shown)
    alike = Label("배치의 모양도 같음", "batches of the same shape")
    told = alike if shapes else Label("배치의 모양이 다름", "batches of other shapes")
    return Check(what, same, Label(f"{shown}; {told.ko}", f"{shown}; {told.en}"))


def _recipe(run: RunData, keys: Sequence[str]) -> dict[str, Any]:
    recipe = _whole_recipe(run, "sft")
    return {key: recipe[key] for key in keys if key in recipe}


def _whole_recipe(run: RunData, trainer: str) -> Mapping[str, Any]:
    return ((run.stages.get(trainer) or {}).get("spec") or {}).get("recipe") or {}


def _data(run: RunData, length: int | None = None) -> str:
    sources = [source for part in run.manifest.get("data", {}).values() for source in part]
    return ", ".join((source.get("sha256") or source["path"])[:length] for source in sources)


def _seed(run: RunData, trainer: str) -> int | None:
    """Return the seed that the run was trained with, as its recipe had it."""
    spec = (run.stages.get(trainer) or {}).get("spec") or {}
    return (spec.get("recipe") or {}).get("seed")


def _versions(run: RunData, trainer: str) -> dict[str, str]:
    return (run.stages.get(trainer) or {}).get("versions") or {}


def _evaluation(before: Mapping[str, Scored], after: Mapping[str, Scored]) -> Check:
    what = Label("평가", "Evaluation")
    if not before or not after:
        return Check(what, None, Label("점수 없음", "no scores"))
    if before.keys() != after.keys():
        return Check(what, False, f"{', '.join(before)} ≠ {', '.join(after)}")
    for task, scored in before.items():
        reason = mismatch(scored, after[task])
        if reason:
            return Check(what, False, reason)
    asked = sum(len(scored.prompts) for scored in before.values())
    alike = sum(
        value == after[task].prompts.get(name) for task, each in before.items() for name, value in each.prompts.items()
    )
    told = Label(
        f"문항 {asked:,}개 가운데 {alike:,}개의 프롬프트가 글자까지 같음",
        f"{alike:,} of {asked:,} prompts are the same to the letter",
    )
    return Check(what, alike == asked, told)
