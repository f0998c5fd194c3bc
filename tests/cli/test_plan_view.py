"""`alphaf plan` and `--dry-run` fit a screen, and say what lacks and how to see the rest."""

from __future__ import annotations

import json
import re

import pytest

from alphaf_orch.core.paths import runs_dir

SCREEN = 40  # lines


def test_a_plan_fits_a_screen_and_full_has_every_line_with_its_source(alphaf):
    brief = alphaf("plan", "--model", "tiny").stdout
    assert len(brief.splitlines()) <= SCREEN
    row = next(line for line in brief.splitlines() if "│ sft " in line)
    assert [cell.strip() for cell in row.split("│")[1:5]] == ["sft", "new", "395", "10"]
    assert re.search(r"disk needed: about .* are free", brief)
    assert "learning_rate" not in brief and "\n$ " not in brief
    assert brief.rstrip().endswith("in full:  alphaf plan --model tiny --full")
    full = alphaf("plan", "--model", "tiny", "--full").stdout
    assert re.search(r"lora_r: \d+  # \[", full)
    assert "accelerate_cli launch" in full


@pytest.mark.parametrize("command", ["run", "sft", "dpo"])
def test_a_dry_run_fits_a_screen_and_says_how_to_see_the_rest(alphaf, command):
    done = alphaf(command, "--model", "tiny", "--dry-run")
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) <= SCREEN
    assert f"in full:  alphaf {command} --model tiny --dry-run --full\n" in done.output
    assert "learning_rate: " in alphaf(command, "--model", "tiny", "--dry-run", "--full").output
    assert alphaf(command, "--model", "tiny", "--full").exit_code == 2


def test_what_lacks_is_said_before_a_launch_is_refused_for_it(alphaf, tmp_path):
    (tmp_path / "환경" / "bin").mkdir(parents=True)
    (tmp_path / "환경" / "lib" / "python3.11" / "site-packages" / "axolotl-0.19.0.dist-info").mkdir(parents=True)
    (tmp_path / "환경" / "bin" / "python").symlink_to("/usr/bin/env")
    config = tmp_path / "c.yaml"
    config.write_text(f"model: eeve\ngpus: 8\ntools: {{axolotl: '{tmp_path}/환경/bin/python'}}\n", encoding="utf-8")
    said = alphaf("plan", "--config", str(config)).stdout
    lacks = [line for line in said.splitlines() if line.startswith("lacks: ")]
    assert "the weights of eeve are not on this machine" in lacks[0]
    assert any("asks for 8 GPUs, this machine has 0" in line for line in lacks), said
    assert lacks[-1].endswith("more, which a launch would tell")
    config.write_text(f"model: tiny\ntools: {{axolotl: '{tmp_path}/환경/bin/python'}}\n", encoding="utf-8")
    said = alphaf("plan", "--config", str(config)).stdout
    assert f"lacks: transformers, torch is not installed beside {tmp_path}/환경/bin/python" in said
    assert "lacks: " not in alphaf("plan", "--model", "tiny").stdout


def test_many_data_sets_and_many_arms_do_not_fill_the_screen(alphaf, tmp_path):
    row = json.dumps({"messages": [{"role": "user", "content": "질문"}, {"role": "assistant", "content": "답"}]})
    words = []
    for number in range(12):
        file = tmp_path / f"학습 {number}.jsonl"
        file.write_text(f"{row}\n" * (number + 20), encoding="utf-8")
        words += ["--data", str(file)]
    said = alphaf("plan", "--model", "tiny", *words).stdout
    assert "sft data: 8 more, 306 rows in all" in said
    assert len(said.splitlines()) <= SCREEN
    said = alphaf("ablate", "lora_r=8,16", "--seeds", "12", "--until", "sft", "--model", "tiny", "--dry-run").stdout
    assert "and 8 more" in said
    assert re.search(r"24 runs, one after another.*\nin full:  alphaf ablate .*--full\ndry run: ", said), said
    assert not runs_dir().exists()


def test_a_plan_names_its_machines(alphaf):
    assert "run eeve (eeve) on 2 machines" in alphaf("plan", "--model", "eeve", "--gpus", "8", "--nodes", "2").stdout
    said = json.loads(alphaf("plan", "--model", "eeve", "--gpus", "8", "--nodes", "2", "--json").stdout)
    assert said["nodes"] == {"sft": 2, "dpo": 1}
