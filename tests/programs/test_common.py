"""What all child programs share: exit codes, the one error and its ending, settings files, and files written whole."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alphaf_orch.core import errors
from alphaf_orch.core.command import PROGRAM_ENV, Finished, program
from alphaf_orch.core.paths import PROGRAMS
from alphaf_orch.programs import common
from alphaf_orch.runs.launch import exited, said

CONFIG_PROGRAMS = ("training.data_stats", "evaluation.generate_answers", "facts.tokenizer_facts")


def test_the_exit_codes_are_those_of_the_orchestrator() -> None:
    ours = {
        "FAILED": errors.AlphafError, "CONFIG": errors.ConfigError, "DATA": errors.DataError,
        "MODEL": errors.ModelError, "RUN_STATE": errors.RunStateError, "STAGE": errors.StageError,
        "CONTRACT": errors.ContractError, "TOOL": errors.ToolError,
    }  # fmt: skip
    codes = {name: value for name, value in vars(common).items() if name.isupper()}
    assert codes == {name: kind.exit_code for name, kind in ours.items()}


def test_the_programs_have_one_error_and_name_its_codes() -> None:
    """A row or file that must not be trained on is a fact for whoever reads it, as a signal's number ends a training.

    `_Told` is how the converter hands such a fact to the orchestrator, which raises it as its own.
    """
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PROGRAMS.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    endings = ("Error", "Exception", "Exit", "Interrupt")
    classes = (node for node in nodes if isinstance(node, ast.ClassDef))
    raised = {c.name for c in classes if any(ast.unparse(base).endswith(endings) for base in c.bases)}
    assert raised == {"Failure", "RowError", "NotRows", "_Told", "Stopped", "LongLineError", "Unreadable"}
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "Failure"]
    assert len(calls) > 50
    assert [ast.unparse(call) for call in calls if not isinstance(call.args[0], ast.Name)] == []


def test_a_failure_is_said_as_the_orchestrator_reads_it_and_ends_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def main(argv: list[str]) -> None:
        raise common.Failure(common.DATA, "the row is bad", where=f"{argv}", fix="mend it", code="data.row_bad")

    monkeypatch.setattr(sys, "argv", ["x", "가"])
    with pytest.raises(SystemExit) as ended:
        common.program(main)
    assert ended.value.code == 3
    log = tmp_path / "log"
    log.write_text(f"$ x\nbefore\n{capsys.readouterr().err}behind it\n", encoding="utf-8")
    assert said(log) == ("the row is bad\n  where: ['가']\n  next:  mend it", "data.row_bad")
    error = exited("data", Finished(3, 0.0, None), log, "read it")
    assert (error.code, error.what) == ("data.row_bad", f"data exited with 3: {said(log).text}")


def test_a_program_ends_with_what_its_main_returns() -> None:
    common.program(lambda _: None)
    common.program(lambda _: 0)
    with pytest.raises(SystemExit) as ended:
        common.program(lambda _: 5)
    assert ended.value.code == 5


def test_a_failure_passes_through_what_goes_over_exceptions() -> None:
    with pytest.raises(common.Failure, match="where: here"):
        try:
            raise common.Failure(common.MODEL, "no", where="here", fix="mend it", code="model.x")
        except Exception:  # noqa: BLE001  (as tools do)
            pass


@pytest.mark.parametrize("name", CONFIG_PROGRAMS)
def test_how_a_program_is_called_is_said(name: str, tmp_path: Path) -> None:
    done = subprocess.run(program(sys.executable, name), env=os.environ | PROGRAM_ENV, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"usage: python -m alphaf_orch.programs.{name} CONFIG.yaml\n"


def test_a_settings_file_is_read_or_named(tmp_path: Path) -> None:
    file = tmp_path / "설정.yaml"
    file.write_text("a: null\nb: [1]\n", encoding="utf-8")
    assert common.read_config(str(file), ("a",), filled=("b",)) == {"a": None, "b": [1]}
    for text, what in (
        ("a: null\n", "missing keys: c, a"),
        ("- a\n", "missing keys: c, a"),
        ("a: [\n", "cannot read the config: while parsing"),
        ("\x00", "cannot read the config: unacceptable character"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(common.Failure) as caught:
            common.read_config(str(file), ("c",), filled=("a",))
        assert caught.value.code == 2
        assert caught.value.message.startswith(f"error: {what}")
        assert f"\n  where: {file}\n" in caught.value.message


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "새 폴더" / "보고.json"
    common.write_json(file, {"가": 1})
    assert file.read_text(encoding="utf-8") == '{\n  "가": 1\n}'
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink()))
    replace = Path.replace

    def stopped(self: Path, target: Path) -> Path:
        assert synced == [self], "renamed before it is on the disk"
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        common.write_whole(file, "half")
    assert file.read_text(encoding="utf-8") == '{\n  "가": 1\n}'
    monkeypatch.setattr(Path, "replace", replace)
    common.write_whole(file, "whole")
    assert [path.name for path in file.parent.iterdir()] == ["보고.json"]


def test_a_folder_gets_its_final_name_once_all_of_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"
    (made / "template").mkdir(parents=True)
    (made / "template" / "a.json").write_text("{}")
    (made / "b.json").write_text("{}")
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink()))
    common.publish(made, tmp_path / "final")
    before = [path for path in synced if path.is_relative_to(made)]
    assert {path.relative_to(made).as_posix() for path in before} == {".", "template", "template/a.json", "b.json"}
    assert synced[len(before) :] == [tmp_path]
    assert not made.exists()
