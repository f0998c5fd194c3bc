"""Where a run's models come from: data, base, recipes, commands, versions; all that a reader needs to make it again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alphaf_orch.core.hiding import command, hide, place
from alphaf_orch.core.render import to_yaml
from alphaf_orch.core.wording import Label, Text, named
from alphaf_orch.core.yaml_files import parse_yaml
from alphaf_orch.planning.stages import MERGES
from alphaf_orch.report.blocks import Block, Cell, Code, Fold, KeyValues, Note, Table
from alphaf_orch.report.figures import NONE, number, percent
from alphaf_orch.report.names import KEY, PROCESSES, STAGE, VALUE
from alphaf_orch.scores.loaded import RunData

# Of runs made before the manifest told the origins: a line that a layer changed says what stood there in its comment;
# one it added says by whom only.
_CHANGED = re.compile(r"^([\w.-]+): (.*)  # (.+?); the recipe has (.*)$", re.MULTILINE)
_ADDED = re.compile(
    r"^([\w.-]+): (.*)  # (hardware/\w+\.yaml|trackers|yours|follows (?:lora_r|val_set_size)"
    r"|keeps the global batch on \d+ device\(s\)|model (\S+))$",
    re.MULTILINE,
)

_HELD = {True: Cell(Label("○ 지켜짐", "○ holds"), "good"), False: Cell(Label("✕ 위반", "✕ broken"), "bad")}


def data_blocks(run: RunData) -> list[Block]:
    """Return the statistics of the training and preference data side by side."""
    found = {name: run.reports[name] for name in ("data", "dpo_data") if name in run.reports}
    if not found:
        return [Note(Label("데이터 통계가 아직 없습니다.", "No data statistics yet."))]
    titles: dict[str, Text] = {
        "data": Label("SFT 데이터", "SFT data"),
        "dpo_data": Label("선호(DPO) 데이터", "Preference (DPO) data"),
    }
    rows = []
    for label, value in _STATISTICS:
        told = [value(report) for report in found.values()]
        if label is _NEAR and set(told) == {NONE}:
            continue  # an earlier version counted none
        rows.append((Cell(label), *map(Cell, told)))
    return [Table((KEY, *(titles[name] for name in found)), tuple(rows)), _sources(run)]


def recipe_changes(run: RunData, name: str) -> dict[str, tuple[str, str, str]]:
    """Return {key: (value, value of the recipe, by whom)} of what a rendered recipe has otherwise."""
    text = run.rendered.get(f"{name}.yaml", "")
    origins = run.stages.get(name, {}).get("origins")
    if origins is None:
        return _told_by_comments(run, text)
    values = parse_yaml(text, f"{name}.yaml") if origins else {}
    # In the order of the file, what the recipe has no default for at its end.
    keys = sorted((key for key in values if key in origins), key=lambda key: origins[key]["recipe"] is None)
    return {key: (to_yaml(values[key]), origins[key]["recipe"] or NONE, origins[key]["by"]) for key in keys}


def _told_by_comments(run: RunData, text: str) -> dict[str, tuple[str, str, str]]:
    found = {key: (value, before, origin) for key, value, origin, before in _CHANGED.findall(text)}
    for key, value, origin, model in _ADDED.findall(text):
        # `model preset` is what the template itself writes.
        if key not in found and (not model or model == run.manifest.get("model")):
            found[key] = (value, NONE, origin)
    return found


def lineage_blocks(run: RunData) -> list[Block]:
    """Return base, code, recipes' changes, and for each stage its fingerprint, command and versions."""
    manifest = run.manifest
    dirty = {True: Label("예", "yes"), False: Label("아니요", "no")}.get(manifest.get("git_dirty"), NONE)  # type: ignore[arg-type]
    rows: list[tuple[Text, Cell]] = [
        (Label("프리셋", "Preset"), Cell(place(manifest.get("model") or NONE, run.paths), "code")),
        (Label("베이스 모델", "Base model"), Cell(place(manifest.get("base_model") or NONE, run.paths), "code")),
        (Label("베이스 모델 리비전", "Base revision"), Cell(str(manifest.get("base_revision") or NONE), "code")),
        (Label("git 커밋", "Git commit"), Cell(str(manifest.get("git_commit") or NONE), "code")),
        (Label("커밋 안 된 변경", "Uncommitted changes"), Cell(dirty)),
    ]
    found: list[Block] = [KeyValues(tuple(rows))]
    contract = _contract(run)
    found += [contract] if contract else []
    found += [_recipe_table(run, name) for name in ("sft", "dpo") if recipe_changes(run, name)]
    found.append(Fold(Label("단계별 지문", "Fingerprints of the stages"), (_fingerprints(run),), paper=False))
    commands = tuple(
        Code(command(entry["argv"], run.paths), named(PROCESSES, name))
        for name, entry in run.stages.items()
        if entry.get("argv")
    )
    if commands:
        found.append(Fold(Label("실행한 명령", "Commands"), commands, paper=False))
    versions = _versions(run)
    if versions.rows:
        found.append(Fold(Label("도구 버전", "Versions of the tools"), (versions,), paper=False))
    return found


def _contract(run: RunData) -> Table | None:
    """Return every line of the hand-off contract with what each merge measured; None before the first merge."""
    merges = {name: run.reports[name] for name in MERGES if "lines" in run.reports.get(name, {})}
    held = {name: {line.get("line"): line.get("ok") for line in report["lines"]} for name, report in merges.items()}
    rows = []
    for line in dict.fromkeys(line for lines in held.values() for line in lines):
        cells = [_HELD[bool(lines[line])] if line in lines else Cell(NONE, "muted") for lines in held.values()]
        rows.append((Cell(str(line), "code"), *cells))
    header: tuple[Text, ...] = (Label("항목", "Line"), *(named(PROCESSES, name) for name in merges))
    caption = Label("모델 정합성 검증(병합한 모델의 점검)", "The hand-off contract (checks of each merged model)")
    return Table(header, tuple(rows), caption, text_columns=len(header)) if rows else None


def _recipe_table(run: RunData, name: str) -> Table:
    rows = [
        (Cell(key, "code"), Cell(hide(value, run.paths), "code"), Cell(hide(before, run.paths), "code"), Cell(origin))
        for key, (value, before, origin) in recipe_changes(run, name).items()
    ]
    header = (KEY, VALUE, Label("레시피 기본값", "Recipe default"), Label("바꾼 곳", "Changed by"))
    caption = Label(f"{name.upper()} 레시피와 다른 설정", f"What differs from the {name.upper()} recipe")
    return Table(header, tuple(rows), caption, text_columns=4)


def _sources(run: RunData) -> Table:
    rows = []
    for section, sources in run.manifest.get("data", {}).items():
        for source in sources:
            cells = (section.upper(), place(source["path"], run.paths), _taken_as(source))
            rows.append(
                (*map(Cell, cells), Cell(number(source.get("rows"))), Cell(source.get("sha256") or NONE, "code"))
            )
    header = (
        STAGE,
        Label("데이터", "Data"),
        Label("종류", "Kind"),
        Label("행", "Rows"),
        Label("SHA-256", "SHA-256"),
    )
    return Table(header, tuple(rows), Label("데이터 출처와 해시", "Sources and hashes"), text_columns=5)


def _taken_as(source: Mapping[str, Any]) -> str:
    """Return the format of a source, and of a set of the hub its configuration, split and commit."""
    parts = [source.get("taken_as") or source.get("kind") or NONE]
    if source.get("commit"):
        name = ":".join(filter(None, (source.get("config"), source.get("split"))))
        parts.append(f"{name}@{source['commit'][:12]}")
    return ", ".join(parts)


def _fingerprints(run: RunData) -> Table:
    rows = [
        (Cell(named(PROCESSES, name)), Cell(str(entry.get("fingerprint", NONE)), "code"))
        for name, entry in run.stages.items()
    ]
    return Table((STAGE, Label("지문", "Fingerprint")), tuple(rows), text_columns=2)


def _versions(run: RunData) -> Table:
    """Return every version met; stages that used another one are named beside it."""
    met: dict[tuple[str, str], list[str]] = {}
    for name, entry in run.stages.items():
        for tool, version in (entry.get("versions") or {}).items():
            met.setdefault((tool, str(version)), []).append(name)
    several = {tool for tool, _ in met if sum(each == tool for each, _ in met) > 1}
    rows = [
        (Cell(tool), Cell(version, "code", ", ".join(stages) if tool in several else ""))
        for (tool, version), stages in met.items()
    ]
    return Table((Label("도구", "Tool"), Label("버전", "Version")), tuple(rows), text_columns=2)


def _tokens(key: str) -> Any:
    def read(report: Mapping[str, Any]) -> str:
        return number((report.get("tokens") or {}).get(key))

    return read


def _plain(key: str) -> Any:
    def read(report: Mapping[str, Any]) -> str:
        value = report.get(key)
        return number(value) if isinstance(value, int | float) else str(value or NONE)

    return read


def _longer(report: Mapping[str, Any]) -> str:
    longer = report.get("longer_than_sequence_len") or {}
    return f"{number(longer['rows'])} ({percent(longer['share'])})" if longer else NONE


def _unused(report: Mapping[str, Any]) -> str:
    return ", ".join(report.get("unused_keys") or ()) or NONE


_NEAR = Label("거의 같은 행", "Near duplicates")
_STATISTICS: tuple[tuple[Label, Any], ...] = (
    (Label("행", "Rows"), _plain("rows")),
    (Label("대화 턴", "Turns"), _plain("turns")),
    (Label("토큰 합계", "Tokens in all"), _tokens("total")),
    (Label("토큰: 최소", "Tokens: min"), _tokens("min")),
    (Label("토큰: 중앙값", "Tokens: median"), _tokens("median")),
    (Label("토큰: 95%", "Tokens: 95%"), _tokens("p95")),
    (Label("토큰: 최대", "Tokens: max"), _tokens("max")),
    (Label("sequence_len", "sequence_len"), _plain("sequence_len")),
    (Label("sequence_len보다 긴 행", "Rows longer than sequence_len"), _longer),
    (Label("중복 행", "Duplicate rows"), _plain("duplicates")),
    (_NEAR, _plain("near_duplicates")),
    (Label("제어 토큰이 든 행", "Rows with control tokens"), _plain("rows_with_control_tokens")),
    (Label("학습하지 않는 답변 턴", "Masked assistant turns"), _plain("masked_turns")),
    (Label("쓰이지 않은 키", "Keys not used"), _unused),
    (Label("대화 템플릿", "Chat template"), _plain("chat_template")),
)
