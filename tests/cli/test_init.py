"""`alphaf init`: a folder to start from in the reader's language; its commands run, nothing is overwritten."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from alphaf_orch.cli.schema import schema_text
from alphaf_orch.settings.config import RunConfig, build_config

ROOT = Path(__file__).resolve().parents[2]


def commands(text: str) -> list[list[str]]:
    """Return the commands that a text has, a line each."""
    return [shlex.split(line)[1:] for line in re.findall(r"^ +(alphaf .*)$", text, flags=re.MULTILINE)]


def uncommented(text: str) -> str:
    """Return settings with the examples of their comments taken as they are."""
    return re.sub(r"^# ?((?:\w+:| +\w+:).*)$", r"\1", text, flags=re.MULTILINE)


def test_the_next_commands_run_as_printed(alphaf: Any, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = alphaf("init", "우리은행")
    assert made.exit_code == 0, made.output
    plan, run, report = commands(made.stdout)
    assert commands(Path("우리은행/README.md").read_text(encoding="utf-8")) == [plan, run, report]
    planned = alphaf(*plan)
    assert planned.exit_code == 0, planned.output
    assert f"sft data: {Path('우리은행/data/train.jsonl')}" in planned.stdout.replace(f"{Path.cwd()}/", "")
    dry = alphaf(*run, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "nothing was launched" in dry.output
    # The chain itself, with stand-ins for the tools.
    with Path("우리은행/alphaf.yaml").open("a", encoding="utf-8") as file:
        file.write(fake.config.read_text(encoding="utf-8"))
    done = alphaf(*run)
    assert done.exit_code == 0, done.output
    reported = alphaf(*report)
    assert reported.exit_code == 0, reported.output


@pytest.mark.parametrize(("language", "page"), [("ko", "README.ko.md"), ("en", "README.md")])
def test_the_folder_is_in_the_readers_language_and_its_settings_are_valid(
    alphaf: Any, language: str, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHAF_LANG", language)
    assert alphaf("init", "--model", "eeve", "새 폴더").exit_code == 0
    there = sorted(str(path.relative_to("새 폴더")) for path in Path("새 폴더").rglob("*") if path.is_file())
    assert there == sorted(["alphaf.yaml", "config.schema.json", "data/pairs.jsonl", "data/train.jsonl", page])
    text = Path("새 폴더/alphaf.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=./config.schema.json\n")
    assert "${" not in text + Path("새 폴더", page).read_text(encoding="utf-8")
    assert yaml.safe_load(text)["model"] == "eeve"
    assert json.loads(Path("새 폴더/config.schema.json").read_text(encoding="utf-8")) == json.loads(
        schema_text("config")
    )
    korean = len(re.findall(r"[가-힣]", Path("새 폴더", page).read_text(encoding="utf-8").partition("```json")[0]))
    assert (korean > 200) is (language == "ko")
    # Every example of the comments is one that can be taken as it is.
    whole = yaml.safe_load(uncommented(text))
    assert len(whole) >= 9
    assert list(Draft202012Validator(json.loads(schema_text("config"))).iter_errors(whole)) == []
    assert isinstance(build_config(whole, "alphaf.yaml"), RunConfig)
    for name in ("train", "pairs"):
        rows = [
            json.loads(line) for line in Path(f"새 폴더/data/{name}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        assert len(rows) >= 12


def test_nothing_is_overwritten(alphaf: Any, tmp_path: Path) -> None:
    used = tmp_path / "쓰는 폴더"
    used.mkdir()
    (used / "메모.txt").write_text("중요", encoding="utf-8")
    (tmp_path / "파일").write_text("중요", encoding="utf-8")
    (tmp_path / "끊긴 링크").symlink_to(tmp_path / "없음")
    for name, what in (("쓰는 폴더", "a folder with something in it"), ("파일", "a file"), ("끊긴 링크", "a file"),
                       ("파일/안", "a part of the path is a file")):  # fmt: skip
        refused = alphaf("init", name)
        assert refused.exit_code == 2, refused.output
        assert what in refused.stderr
    assert [path.name for path in used.iterdir()] == ["메모.txt"]
    (tmp_path / "빈 폴더").mkdir()
    assert alphaf("init", "빈 폴더").exit_code == 0


def test_a_model_that_is_none_is_refused_before_anything_is_written(alphaf: Any, tmp_path: Path) -> None:
    assert "did you mean 'eeve'?" in alphaf("init", "--model", "eevee", "폴더").stderr
    assert alphaf("init", "--model", "./없는 폴더", "폴더").exit_code == 4
    assert not (tmp_path / "폴더").exists()
    assert alphaf("init", "--model", "ORG/NAME", "폴더").exit_code == 0
    assert yaml.safe_load((tmp_path / "폴더" / "alphaf.yaml").read_text(encoding="utf-8"))["model"] == "ORG/NAME"


def test_json_names_the_files_and_the_next_commands(alphaf: Any) -> None:
    said = json.loads(alphaf("init", "폴더", "--json").stdout)
    assert said["schema"] == "alphaf/init/1"
    assert said["next"][1] == "alphaf run --config 폴더/alphaf.yaml --run 폴더"
    assert all(Path(file).is_file() for file in said["files"])


def test_data_of_a_config_are_looked_for_beside_it_where_they_are_not_here(alphaf: Any, tmp_path: Path) -> None:
    assert alphaf("init", "폴더").exit_code == 0
    (tmp_path / "data").mkdir()
    row = {"messages": [{"role": "user", "content": "여기"}, {"role": "assistant", "content": "네"}]}
    (tmp_path / "data" / "train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    planned = alphaf("plan", "--config", "폴더/alphaf.yaml").stdout
    assert f"sft data: {tmp_path}/data/train.jsonl" in planned
    assert f"dpo data: {tmp_path}/폴더/data/pairs.jsonl" in planned
