"""O and X votes against gold answers: counted by row and stage, repeated, resumed, refused."""

import io
import json
import re
from pathlib import Path

import pytest
import yaml
from judge_stub import PRESET, Stub, say, send
from rich.console import Console

from alphaf_orch.core.errors import ConfigError, DataError, RunStateError, ToolError
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.judging.preset import JudgePreset
from alphaf_orch.judging.vote_summary import summarize_votes
from alphaf_orch.judging.votes import Voted, from_samples, judge_votes
from alphaf_orch.judging.wording import JudgePrompts
from alphaf_orch.scores.results import Sample, TaskResult, write_result

TASK = "finance_ko_rag"


def vote(letter: str):
    return say(json.dumps({"vote": letter, "reason": "정답과 같다"}, ensure_ascii=False))


def by_gold(prompt: str, _n: int):
    """Say O where the answer holds the gold answer."""
    gold, answer = (
        re.search(rf"<<<{name} 시작 \w+>>>\n(.*?)\n<<<{name} 끝", prompt, flags=re.DOTALL)[1]
        for name in ("정답", "심사할 답변")
    )
    return vote("O" if gold in answer else "X")


def rows(stage: str, right: int, n: int) -> list[Voted]:
    return [
        Voted(stage, f"r{i}", f"질문 {i}", "3.5%", "연 3.5%입니다." if i < right else "모릅니다.") for i in range(n)
    ]


def judge(folder: Path, url: str, voted: list[Voted], *, repeat=1, limit=None, **changes):
    preset = JudgePreset(**{**PRESET, "url": url, **changes})
    console = Console(file=io.StringIO())
    return judge_votes(
        folder, voted, preset, JudgePrompts("ko", template_folders()), repeat=repeat, limit=limit, console=console
    )


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "votes.jsonl").read_text(encoding="utf-8").splitlines()]


def evaluated(paths: RunPaths, stage: str, answers: dict[str, tuple[str, str]]) -> None:
    samples = [Sample(name, f"질문 {name}", answer, gold, {}) for name, (answer, gold) in answers.items()]
    result = TaskResult(TASK, "finance-ko", stage, "k", {}, {}, {}, {}, len(samples), 1.0, "", {})
    write_result(paths, result, samples)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "실행 폴더" / "judge" / "votes-finance_ko_rag"


def test_the_share_of_right_answers_of_each_stage(folder):
    with Stub(by_gold) as stub:
        summary = judge(folder, stub.url, [*rows("dpo", 8, 10), *rows("sft", 3, 10)])
    assert list(summary["stages"]) == ["sft", "dpo"]
    dpo = summary["stages"]["dpo"]
    assert (dpo["rows"], dpo["right"], dpo["without_vote"], dpo["unanimous"]) == (10, 8, 0, 1)
    assert (dpo["share"]["value"], dpo["share"]["low"], dpo["share"]["high"]) == pytest.approx(
        (0.8, 0.4901625, 0.9433178), abs=1e-6
    )
    assert summary["stages"]["sft"]["right"] == 3
    assert (summary["verdicts"], summary["tokens"]["prompt"]) == (20, 2000)
    assert summary == json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    first = lines(folder)[0]
    assert set(first) == {
        "stage", "id", "number", "vote", "reason", "error", "reply", "attempts", "usage", "seconds", "judge", "keys",
    }  # fmt: skip


def test_several_votes_decide_by_majority(folder):
    """Rows get O O X, O X ?, ? ? ?: right, undecided (so not right), not counted."""
    replies = {"질문 0": ["O", "O", "X"], "질문 1": ["O", "X", "?"], "질문 2": ["?", "?", "?"]}
    given: dict[str, int] = {}

    def behave(prompt, _n):
        question = re.search(r"질문 \d", prompt)[0]
        if "다시 알립니다" not in prompt:
            given[question] = given.get(question, 0) + 1
        return vote(replies[question][given[question] - 1])

    with Stub(behave) as stub:
        summary = judge(folder, stub.url, rows("dpo", 0, 3), repeat=3, temperature=0.7, concurrency=1)
    assert summary["stages"]["dpo"] | {"share": None} == {
        "rows": 3, "right": 1, "without_vote": 1, "unanimous": 0, "share": None,
    }  # fmt: skip
    assert summary["stages"]["dpo"]["share"]["n"] == 2
    assert summary["parse_failures"] == 4


def test_more_votes_may_be_added_and_stages_come_one_by_one(folder):
    with Stub(by_gold) as stub:
        judge(folder, stub.url, rows("sft", 1, 2), temperature=0.7)
        judge(folder, stub.url, rows("sft", 1, 2), temperature=0.7, repeat=3)
        summary = judge(folder, stub.url, rows("dpo", 2, 2), temperature=0.7)
        assert judge(folder, stub.url, rows("sft", 1, 2), temperature=0.7) == summary
    assert len(stub.bodies) == 2 + 4 + 2
    assert {stage: figures["rows"] for stage, figures in summary["stages"].items()} == {"sft": 2, "dpo": 2}


def test_a_limit_is_of_each_stage(folder):
    with Stub(by_gold) as stub:
        summary = judge(folder, stub.url, [*rows("dpo", 5, 5), *rows("sft", 5, 5)], limit=2)
    assert [figures["rows"] for figures in summary["stages"].values()] == [2, 2]


def test_changed_answers_are_refused(folder):
    with Stub(by_gold) as stub:
        judge(folder, stub.url, rows("dpo", 1, 2))
        with pytest.raises(RunStateError, match="changed since: the answers"):
            judge(folder, stub.url, rows("dpo", 2, 2))
        with pytest.raises(RunStateError, match="changed since: the judge"):
            judge(folder, stub.url, rows("sft", 2, 2), model="다른 심판")


def test_several_votes_without_temperature_are_refused(folder):
    with pytest.raises(ConfigError, match="3 votes at temperature 0"):
        judge(folder, "http://127.0.0.1:9/v1", rows("dpo", 1, 1), repeat=3)
    with pytest.raises(DataError, match="no row has a gold answer"):
        judge(folder, "http://127.0.0.1:9/v1", [])
    assert not folder.exists()


def test_a_failing_judge_keeps_the_votes(folder):
    failing = Stub(lambda prompt, n: by_gold(prompt, n) if n < 3 else send(500, {}))
    with failing as stub, pytest.raises(ToolError, match="3 questions were not answered: HTTP 500"):
        judge(folder, stub.url, rows("dpo", 5, 5), concurrency=1)
    assert len(lines(folder)) == 2
    assert summarize_votes(folder / "votes.jsonl")["stages"]["dpo"]["rows"] == 2


def test_rows_come_from_evaluated_samples_with_a_gold_answer(tmp_path):
    paths = RunPaths(tmp_path / "실행" / "r")
    evaluated(paths, "dpo", {"a": ("답", "정답"), "b": ("답", "")})
    evaluated(paths, "base", {"a": ("답", "정답")})
    assert from_samples(paths, TASK, ["dpo"]) == [Voted("dpo", "a", "질문 a", "정답", "답")]
    assert [row.stage for row in from_samples(paths, TASK, [])] == ["base", "dpo"]
    with pytest.raises(RunStateError, match="no answers of sft"):
        from_samples(paths, TASK, ["sft"])
    with pytest.raises(RunStateError, match="no model was evaluated on nothing"):
        from_samples(paths, "nothing", [])
    with pytest.raises(ConfigError, match="sftt is no stage"):
        from_samples(paths, TASK, ["sftt"])


def test_the_command_votes_and_summarises(alphaf, tmp_path):
    paths = RunPaths(tmp_path / "실행" / "r")
    evaluated(paths, "sft", {f"r{i}": ("3.5%", "3.5%" if i < 3 else "4%") for i in range(4)})
    paths.manifest.write_text(json.dumps({"format": 1, "stages": {}}), encoding="utf-8")
    paths.config.write_text(yaml.safe_dump({"model": "tiny"}), encoding="utf-8")
    with Stub(by_gold) as stub:
        done = alphaf("judge", "--run", "r", "--votes", "--judge", stub.url)
        assert done.exit_code == 0, done.stderr
        assert stub.bodies[0]["model"] == "심판"
    assert "75.0% [30.1, 95.4]" in done.stdout
    again = alphaf("judge", "--run", "r", "--votes", "--summary", "--json")
    assert json.loads(again.stdout)["stages"]["sft"]["right"] == 3
    for args, code, what in (
        (["--votes", "--task", "x", "--prompts", "y"], 2, "on a task or on prompts"),
        (["--votes", "--task", "x", "--summary"], 6, "nothing was voted on here"),
        (["--votes", "--a", "dpo", "--judge", stub.url], 6, "no answers of dpo"),
    ):
        result = alphaf("judge", "--run", "r", *args)
        assert (result.exit_code, what in result.stderr) == (code, True), result.stderr
