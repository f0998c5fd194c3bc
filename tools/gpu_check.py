"""Run the tiny chain through the GPU recipe on the card that is there and write docs/gpu-verification.md.

Shows: axolotl QLoRA with bf16 and fused kernels, the merge contract, DPO with unsloth, resume after an interrupt.
Exits 5 without a GPU, else with the exit code of the first command that failed; the page is written either way.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from alphaf_orch.core.hardware import detect_machine
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.record import read_manifest
from alphaf_orch.runs.checkpoints import seen

KERNELS = ("lora_mlp_kernel=true", "lora_qkv_kernel=true", "lora_o_kernel=true", "bf16=true", "dpo.bf16=true")


def alphaf(*args: str) -> list[str]:
    """Return the argv of an alphaf command in this environment."""
    return [sys.executable, "-m", "alphaf_orch", *args]


def interrupted_then_resumed(run: RunPaths, env: dict[str, str]) -> int:
    """Interrupt an SFT after its first checkpoint, start it again, and return the second call's exit code."""
    argv = alphaf("sft", "--model", "tiny", "--gpus", "1", "--run", run.name)
    argv += [x for item in (*KERNELS[:4], "max_steps=400", "save_steps=20") for x in ("--set", item)]
    process = subprocess.Popen(argv, env=env, cwd=REPO)
    end = time.monotonic() + 600
    while process.poll() is None and not seen(run.adapter("sft")) and time.monotonic() < end:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)
    return subprocess.run(argv, env=env, cwd=REPO, check=False).returncode


def rows(manifest: dict[str, Any]) -> list[str]:
    """Return one table row a stage: state, seconds, peak memory, steps and losses."""
    found = []
    for name, entry in manifest["stages"].items():
        result = entry.get("result") or {}
        loss = f"{result['loss_first']:.3f} → {result['loss_last']:.3f}" if "loss_first" in result else ""
        contract = (
            f"contract: {sum(result['contract'].values())} of {len(result['contract'])}" if "contract" in result else ""
        )
        error = str(entry.get("error") or "").splitlines()
        note = error[0] if error else contract or loss
        found.append(
            f"| {name} | {entry['state']} | {entry.get('seconds', '')} | {entry.get('peak_memory_mib', '')} | {note} |"
        )
    return found


def gpu_peak(run: RunPaths, stage: str) -> str:
    """Return the highest GPU memory a stage's trainer allocated, in MiB."""
    path = run.metrics(stage)
    if not path.is_file():
        return "not measured"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return f"{max((line['peak_memory_mib'] for line in lines), default=0):.0f} MiB"


def page(gpu: str, runs: dict[str, RunPaths], codes: dict[str, int]) -> str:
    """Return the Markdown page: card, versions, what ran, and with which result."""
    text = ["# Verification on a GPU", "", f"Written by `make gpu-check` on {datetime.now(UTC):%Y-%m-%d}.", ""]
    text += [f"- card: {gpu}", f"- python: {sys.version.split()[0]}"]
    head = read_manifest(runs["chain"].manifest)
    versions = {k: v for entry in head["stages"].values() for k, v in entry.get("versions", {}).items()}
    text += [f"- {name}: {version}" for name, version in sorted(versions.items()) if name != "python"]
    backend = runs["chain"].adapter("dpo") / "backend.json"
    text += [
        "",
        f"DPO backend: `{backend.read_text(encoding='utf-8').strip() if backend.is_file() else 'not reached'}`",
    ]
    for name, run in runs.items():
        text += [
            "",
            f"## {name} (exit code {codes[name]})",
            "",
            "| stage | state | s | MiB (host) | result |",
            "|-|-|-|-|-|",
        ]
        text += rows(read_manifest(run.manifest))
        text += ["", f"GPU memory: SFT {gpu_peak(run, 'sft')}, DPO {gpu_peak(run, 'dpo')}."]
    resumed = read_manifest(runs["resume"].manifest)["stages"].get("sft", {}).get("argv", [])
    said = [a for a in resumed if a.startswith("--resume_from_checkpoint")]
    text += ["", f"Resume: {'from ' + Path(said[0]).name if said else 'did not happen'}.", ""]
    return "\n".join(text)


def main() -> int:
    """Return 0 when everything ran on the GPU and every contract held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=REPO / "docs" / "gpu-verification.md")
    output = parser.parse_args().output
    machine = detect_machine()
    if not machine.gpus:
        print("error: there is no GPU here\n  where: NVML\n  next:  run it on a machine with one", file=sys.stderr)
        return 5
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    runs = {name: RunPaths(runs_dir() / f"gpu-check-{stamp}-{name}") for name in ("chain", "resume")}
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))}
    chain = alphaf("run", "--model", "tiny", "--gpus", "1", "--run", runs["chain"].name)
    chain += [x for item in (*KERNELS, "dpo.backend=unsloth") for x in ("--set", item)]
    codes = {"chain": subprocess.run(chain, env=env, cwd=REPO, check=False).returncode}
    codes["resume"] = interrupted_then_resumed(runs["resume"], env)
    output.write_text(page(machine.gpus[0], runs, codes), encoding="utf-8")
    print(f"written: {output}")
    return next((code for code in codes.values() if code), 0)


if __name__ == "__main__":
    sys.exit(main())
