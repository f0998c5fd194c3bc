"""`--json`: one value on standard output whatever happens, held to the published schema; the fixture checks each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import answers
import click
import in_process
import output_schemas
import pytest
import report_runs
from bakeoff_runs import found as bakeoff_found
from fake_scheduler import stand_in
from jsonschema.exceptions import ValidationError
from own_process import environment
from told_server import Told

from alphaf_orch.cli.answer import asked
from alphaf_orch.cli.experiment_json import bakeoff_json
from alphaf_orch.cli.main import COMMANDS, load
from alphaf_orch.cli.outputs.names import SHAPES
from alphaf_orch.core.paths import RunPaths, runs_dir

# chat talks: what it says is a model's. What completion prints is a shell's.
TALKS = {"chat", "completion"}
RUN = "학습-하나"


@pytest.fixture
def told(alphaf):
    """Return a function that calls a command with --json and returns its value; the code is as given."""

    def call(*args: str, code: int = 0):
        done = alphaf(*args, "--json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    return call


@pytest.fixture
def trained(told, fake, monkeypatch) -> RunPaths:
    """A finished run of the stand-ins, made in this process."""
    in_process.bring(monkeypatch)
    told("run", "--model", "tiny", "--run", RUN, "--config", str(fake.config))
    return RunPaths(runs_dir() / RUN)


def test_every_command_that_shows_something_takes_it() -> None:
    def of(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        for inner, each in getattr(command, "commands", {}).items():
            yield from of(f"{name} {inner}", each)

    every = dict(found for name in COMMANDS for found in of(name, load(name)))
    assert "models add" in every
    assert {name for name, each in every.items() if not any("--json" in param.opts for param in each.params)} == TALKS


def test_the_published_schemas_are_those_of_the_shapes() -> None:
    if os.environ.get("ALPHAF_WRITE_GOLDEN"):
        output_schemas.main()
    published = {path.name.removesuffix(".schema.json"): path for path in output_schemas.FOLDER.iterdir()}
    assert set(published) == set(SHAPES)
    for name, path in published.items():
        assert path.read_text(encoding="utf-8") == output_schemas.rendered(name), f"{name}: make golden writes it anew"


def test_a_schema_refuses_what_is_not_said_and_what_lacks() -> None:
    good = {"schema": "alphaf/notify/1", "told": ["a"]}
    assert answers.checked(json.dumps(good)) == good
    for wrong in ({**good, "new": 1}, {"schema": "alphaf/notify/1"}, {**good, "told": "a"}):
        with pytest.raises(ValidationError):
            answers.checked(json.dumps(wrong))


def test_what_there_is_of_a_run(told, trained) -> None:
    assert told("show", RUN)["stages"]["merge_dpo"]["state"] == "done"
    shown = told("runs")
    assert [row["run"] for row in shown["runs"]] == [RUN]
    assert shown["experiments"] == []
    assert set(told("verify", RUN)["parts"]) >= {"sft"}
    assert told("clean")["freed"] == 0
    assert told("repair", RUN) == {"schema": "alphaf/repair/1", "run": RUN, "findings": [], "mended": False}
    assert told("cancel", RUN) == {"schema": "alphaf/cancel/1", "run": RUN, "cancelled": [], "stopped": []}
    assert told("models")["models"][0]["name"]


def test_a_run_at_its_end_is_its_record_and_progress_is_on_standard_errors(alphaf, told, fake, monkeypatch) -> None:
    in_process.bring(monkeypatch)
    config = ("--config", str(fake.config))
    done = alphaf("sft", "--model", "tiny", "--run", RUN, *config, "--json")
    assert "sft: done" in done.stderr
    record = json.loads(done.stdout)
    assert (record["schema"], record["stages"]["sft"]["state"]) == ("alphaf/run/1", "done")
    assert record["model"] == str(runs_dir() / RUN / "sft" / "merged")
    assert told("dpo", "--run", RUN, *config)["stages"]["merge_dpo"]["state"] == "done"


def test_dry_runs(told, trained, fake) -> None:
    config = ("--config", str(fake.config))
    planned = told("run", "--run", RUN, *config, "--dry-run")
    assert {stage["state"] for stage in planned["stages"]} == {"cached"}
    assert Path(planned["scratch"]).is_dir()
    again = told("plan", "--run", RUN, *config)
    assert (again["scratch"], again["lacks"]) == (None, [])
    lacking = told("plan", "--model", "eeve")["lacks"]
    assert lacking and all(each in told("run", "--model", "eeve", "--dry-run")["lacks"] for each in lacking)
    assert told("estimate", "--model", "eeve", "--gpus", "1", "--rate", "2.5")["price"]["value"] > 0
    assert told("judge", "--run", RUN, "--a", "dpo", "--b", "sft", "--dry-run")["url"].startswith("http")


def test_dry_runs_of_experiments(told) -> None:
    arms = told("ablate", "lora_r=8,16", "--model", "tiny", "--name", "비교", "--dry-run")["arms"]
    assert [arm["variant"] for arm in arms] == ["lora_r=8", "lora_r=16"]
    assert "lora_r: 16" in arms[1]["difference"]
    assert arms[0]["commands"][0][:2] == ["alphaf", "sft"]
    wanted = told("bakeoff", "--models", "tiny-eeve,tiny-qwen", "--name", "고르기", "--dry-run")
    assert (wanted["kind"], len(wanted["arms"])) == ("bakeoff", 2)
    needed = told("ablate", "neftune", "--model", "tiny", "--task", "finance_ko_mcq", "--detect", "2")
    assert {row["seeds"] for row in needed["by_seeds"]} >= {1, 3}


def test_jobs_are_told_before_and_once_they_are_submitted(told, trained, fake, tmp_path, monkeypatch) -> None:
    stand_in(monkeypatch)
    (tmp_path / "우리 곳.yaml").write_text("gpus_per_node: 0\n", encoding="utf-8")
    there = ("--config", str(fake.config), "--on", f"slurm:{tmp_path / '우리 곳.yaml'}")
    planned = told("run", "--model", "tiny", "--run", "새-실행", *there, "--dry-run")
    assert planned["jobs"][0]["text"].startswith("#!")
    call = ("judge", "--run", RUN, "--a", "dpo", "--b", "sft", *there[2:])
    assert told(*call, "--dry-run")["jobs"][0]["jobs"][0].startswith(f"{RUN}:judge-dpo-vs-sft")
    submitted = told("run", "--model", "tiny", "--run", "새-실행", *there)["submitted"]
    assert "sft" in submitted
    assert told("show", "새-실행")["stages"]["sft"]["job"]["id"] == submitted["sft"]
    assert told("cancel", "새-실행")["cancelled"][0]["run"] == "새-실행"


def test_a_start_and_the_schemas_of_settings(told) -> None:
    assert told("init", "새 폴더")["next"]
    names = [each["name"] for each in told("schema")["schemas"]]
    assert told("schema", names[0])["document"]["$schema"]


def test_a_ranking(tmp_path) -> None:
    weights = {"versatility": 1.0, "korean": 1.0, "performance": 1.0}
    value = bakeoff_json(bakeoff_found(), weights, [tmp_path / "쪽.html"])
    answers.checked(json.dumps({"schema": "alphaf/bakeoff/1", **value}))


def test_reports_name_their_files(told) -> None:
    for name in ("하나", "둘"):
        report_runs.add_scores(report_runs.make_run(runs_dir() / name), ("base", "sft"))
    assert told("report", "하나")["files"][0] == str(runs_dir() / "하나" / "report.html")
    assert told("compare", "하나", "둘")["runs"] == ["하나", "둘"]


def test_logs_attach_and_watch_are_looked_at_once(told, trained) -> None:
    trained.log("sft").write_text("첫째 줄\n둘째 줄\n", encoding="utf-8")
    assert told("logs", RUN, "sft")["lines"] == ["첫째 줄", "둘째 줄"]
    assert told("logs", RUN, "sft", "-f", "-n", "1")["lines"] == ["둘째 줄"]
    assert [run["name"] for run in told("watch")["runs"]] == [RUN]
    assert told("watch", RUN)["experiments"] == []
    assert told("attach", RUN, code=6)["error"]["what"] == f"no alphaf has worked on {RUN} here"


def test_who_is_told(told, tmp_path, monkeypatch) -> None:
    with Told() as server:
        monkeypatch.setenv("TEAM_ROOM", server.url)
        (tmp_path / "설정.yaml").write_text("notify: {webhook_env: TEAM_ROOM}\n", encoding="utf-8")
        assert told("notify", "--config", "설정.yaml")["told"]


def test_a_bundle_names_the_sum_that_its_installer_is_told(told, tmp_path, monkeypatch) -> None:
    def made(request, out, limit, say, *, dry):
        say("packages: 3")
        out.mkdir()
        (out / "SHA256SUMS").write_text("합\n", encoding="utf-8")
        yield f"done: {out}"

    monkeypatch.setattr("alphaf_orch.cli.bundle.make_bundle", made)
    assert len(told("bundle", "--out", "묶음")["manifest_sha256"]) == 64


@pytest.mark.parametrize(
    ("words", "code", "kind", "name"),
    [
        (("show", "없는-실행"), 6, "RunStateError", None),
        (("run", "--model", "없음"), 4, "ModelError", None),
        (("show",), 2, "MissingParameter", "usage.missing_parameter"),
        (("runs", "--no-such"), 2, "NoSuchOption", "usage.no_such_option"),
        (("modles",), 2, "NoSuchCommand", None),
        (("estimate", "--gpus", "many"), 2, "BadParameter", "usage.bad_parameter"),
        (("clean", "r", "--caches"), 2, "ConfigError", None),
        (("chat", RUN), 2, "NoSuchOption", "usage.no_such_option"),
    ],
)
def test_an_error_is_json_with_the_code_that_it_has_anyway(alphaf, words, code, kind, name) -> None:
    plain = alphaf(*words)
    done = alphaf(*words, "--json")
    value = json.loads(done.stdout)
    if words[0] != "chat":
        assert plain.exit_code == done.exit_code == code
    assert value["schema"] == "alphaf/error/1"
    error = value["error"]
    assert (error["exit_code"], error["kind"]) == (code, kind)
    assert name in (None, error["code"])
    assert error["code"] and error["what"] and error["where"] and error["next"]
    assert error["what"].partition("\n")[0] in done.stderr, "and people read it where they always did"


def test_what_was_found_is_told_with_the_error_behind_it(told, trained) -> None:
    (trained.root / "dpo" / "merged" / "config.json").write_text('{"바뀜": 1}', encoding="utf-8")
    value = told("verify", RUN, code=6)
    assert value["parts"]["merge_dpo"]["state"] == "damaged"
    assert value["error"]["exit_code"] == 6


def test_a_text_that_is_no_number_is_null(told, trained) -> None:
    manifest = json.loads(trained.manifest.read_text(encoding="utf-8"))
    manifest["stages"]["sft"]["result"]["eval_loss"] = float("nan")
    trained.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    assert told("show", RUN)["stages"]["sft"]["result"]["eval_loss"] is None


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        (["runs", "--json"], True),
        (["runs"], False),
        (["runs", "--json", "--help"], False),
        (["chat", "r", "--", "--json"], False),
    ],
)
def test_who_asks_for_it(words: list[str], asks: bool) -> None:
    assert asked(words) is asks


def test_a_defect_of_ours_is_told_too(tmp_path) -> None:
    broken = "import alphaf_orch.cli.look as look\nlook.all_runs = lambda: 1 / 0\n"
    called = "import sys; sys.argv = ['alphaf', 'runs', '--json']\n"
    script = f"{called}{broken}from alphaf_orch.cli.start import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 70, done.stderr
    error = answers.checked(done.stdout)["error"]
    assert (error["kind"], error["code"], error["exit_code"]) == ("Defect", "alphaf.defect", 70)
    assert "ZeroDivisionError" in error["what"]


def test_the_address_of_the_board_is_told_at_once_and_its_end_tells_nothing(tmp_path) -> None:
    argv = [sys.executable, "-m", "alphaf_orch", "board", "--json"]
    with subprocess.Popen(
        argv, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as board:
        assert board.stdout
        lines = [board.stdout.readline()]
        while lines[-1] != "}\n":
            assert lines[-1], "it has ended"
            lines.append(board.stdout.readline())
        said = "".join(lines)
        assert answers.checked(said)["port"] > 0
        board.send_signal(signal.SIGINT)
        assert board.wait(30) == 130
        assert board.stdout.read() == ""
