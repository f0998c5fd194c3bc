"""Trainings that were ended between their last checkpoint and their end, with the real tools on the tiny model."""

import json
import shutil
from pathlib import Path

from own_process import alphaf

# What a trainer that is killed while it writes leaves at the end of a file.
HALF_A_LINE = b'{"time": 1.0, "step": 1'

# The tool's log and card, and the time a training took.
DIFFER = ("debug.log", "README.md", "trainer_state.json", "backend.json")


def killed_before_the_end(run: Path, stage: str) -> dict[str, bytes]:
    """Put a finished run back to where it stood when its last checkpoint was whole; return what is gone for it."""
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    stages = list(manifest["stages"])
    for later in stages[stages.index(stage) + 1 :]:
        del manifest["stages"][later]
    manifest["stages"][stage]["state"] = "running"
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    shutil.rmtree(run / stage / "merged", ignore_errors=True)
    finished = {path.name: path.read_bytes() for path in (run / stage).iterdir() if path.is_file()}
    for name in finished:
        if name != "backend.json":  # DPO writes it before it trains
            (run / stage / name).unlink()
    for name in (f"{stage}.jsonl", f"{stage}.batches.jsonl"):
        with (run / "metrics" / name).open("ab") as file:
            file.write(HALF_A_LINE)
    return finished


def whole_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_nothing_was_trained(run: Path, stage: str, finished: dict[str, bytes], steps: int) -> None:
    for name, content in finished.items():
        written = (run / stage / name).read_bytes()
        if name == "adapter_config.json":  # peft writes a set, in an order of its own
            one, other = json.loads(content), json.loads(written)
            assert sorted(one.pop("target_modules")) == sorted(other.pop("target_modules"))
            assert one == other
        elif name not in DIFFER:
            assert written == content, name
    rows = whole_lines(run / "metrics" / f"{stage}.jsonl")
    assert max(row["step"] for row in rows) == steps
    assert sum("loss" in row and row["step"] == steps for row in rows) == 1
    begun, *seen = whole_lines(run / "metrics" / f"{stage}.batches.jsonl")
    assert "first_weights" in begun
    assert [row["step"] for row in seen] == list(range(1, steps + 1))
    assert max(int(path.name.split("-")[1]) for path in (run / stage).glob("checkpoint-*")) == steps


def test_sft_and_dpo_killed_after_their_last_step_are_finished_from_its_checkpoint(tmp_path, warm_python):
    """The user's own logging_steps is above the number of DPO's steps: the last step's loss is logged all the same."""
    args = ("run", "--model", "tiny", "--run", "k", "--set", "dpo.logging_steps=100")
    run = tmp_path / "실행" / "k"
    first = alphaf(tmp_path, *args, python=warm_python)
    assert first.returncode == 0, first.stderr
    dpo = killed_before_the_end(run, "dpo")
    again = alphaf(tmp_path, *args, python=warm_python)
    assert again.returncode == 0, again.stderr
    check_nothing_was_trained(run, "dpo", dpo, 6)
    sft = killed_before_the_end(run, "sft")
    shutil.rmtree(run / "dpo")
    again = alphaf(tmp_path, "sft", "--run", "k", python=warm_python)
    assert again.returncode == 0, again.stderr
    check_nothing_was_trained(run, "sft", sft, 10)
    stages = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["stages"]
    assert stages["sft"]["state"] == stages["merge_sft"]["state"] == "done"
    assert all(stages["merge_sft"]["result"]["contract"].values())
