"""Stands in for a tool environment's python: records its argv and leaves the files the real tool would leave.

FAKE_TOOL names a JSON file: {"STAGE": BEHAVIOUR} with behaviours ok, fail, half (exit 0 but stopped early), nan,
hang, ranks (hangs, beside ranks that ignore all signals), no_output, slow (of base_model: it waits for a file `go`),
leak (print and log the environment, then fail), those of unhealthy.py, or
{"when": TEXT, "then": BEHAVIOUR, "else": BEHAVIOUR} for calls
whose command line has that text, and the others (ok). "refused" is what axolotl refuses of the recipe. Every call is
appended to calls.jsonl beside it.
"""

import json
import os
import struct
import sys
import time
import zipfile
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parent))  # our programs are started with a safe path
import ranks
import unhealthy

PLANNED = 10


def safetensors(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)


def checkpoint(folder: Path, step: int, loss: object = 1.0) -> None:
    target = folder / f"checkpoint-{step}"
    safetensors(target / "adapter_model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt"):
        with zipfile.ZipFile(target / name, "w") as archive:
            archive.writestr("data", "x")
    history = [{"step": 1, "loss": 2.0}, {"step": step, "loss": loss, "rewards/accuracies": 0.75}]
    state = {"global_step": step, "max_steps": PLANNED, "log_history": history}
    (target / "trainer_state.json").write_text(json.dumps(state))
    hashed(target)


def hashed(folder: Path) -> None:
    """Write the record of hashes that the trainer's callback writes behind each save."""
    from alphaf_orch.programs.checksums import write_checksums

    write_checksums(folder)


def train(name: str, folder: Path, behaviour: str) -> None:
    if behaviour == "no_output":
        return
    resumed = [a for a in sys.argv if a.startswith("--resume_from_checkpoint=")]
    checkpoint(folder, 5)
    metrics = Path(os.environ["ALPHAF_METRICS"])
    line = {"time": 1.0, "step": 5, "max_steps": PLANNED, "loss": 1.5, "resumed": resumed}
    with metrics.open("a") as file:
        file.write(json.dumps(line) + "\n")
    safetensors(folder / "adapter_model.safetensors")
    if behaviour.partition(":")[0] in unhealthy.BEHAVIOURS:
        unhealthy.behave(behaviour, config(), metrics, PLANNED)
    if behaviour == "ranks":
        folder = Path(os.environ["FAKE_TOOL"]).with_name("ranks")
        folder.mkdir(exist_ok=True)
        exec(ranks.launcher(folder, then="print('hanging', flush=True); time.sleep(60)"), {})
    if behaviour == "hang":
        print("hanging", flush=True)
        time.sleep(60)
    if behaviour == "fail":
        print("error: the GPU fell off the bus\n  where: slot 3\n  next:  put it back", file=sys.stderr)
        sys.exit(1)
    if behaviour != "half":
        checkpoint(folder, PLANNED, float("nan") if behaviour == "nan" else 1.0)
    if name == "dpo":
        Path(config()["probe"]).write_text("{}\n")
        (folder / "backend.json").write_text('{"backend": "transformers", "device": "cpu"}')


def config_file() -> Path:
    return Path(next(a for a in sys.argv if a.endswith(".yaml") and "accelerate" not in a))


def config() -> dict:
    return yaml.safe_load(config_file().read_text())


def stage_name() -> str:
    arguments = " ".join(sys.argv[1:])
    for needle, name in (
        ("programs.versions", "versions"),
        ("programs.training.validate_recipe", "validate_recipe"),
        ("programs.training.preprocess", "preprocess"),
        ("axolotl.cli.train", "sft"),
        ("programs.training.dpo", "dpo"),
        ("models.build_tiny", "base_model"),
    ):
        if needle in arguments:
            return name
    return Path(next(a for a in sys.argv if a.endswith(".yaml"))).stem


def leak() -> None:
    print(dict(os.environ), json.dumps(dict(os.environ)), flush=True)
    folder = Path(config().get("output_dir", ""))
    if folder.name:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "debug.log").write_text("\n".join(f"{key}={value}" for key, value in os.environ.items()))
    sys.exit(f"error: cannot reach {os.environ['HTTPS_PROXY']} with {os.environ['HF_TOKEN']}")


def main() -> None:
    name = stage_name()
    control = Path(os.environ["FAKE_TOOL"])
    behaviours = json.loads(control.read_text())
    behaviour = behaviours.get(name, "ok")
    if isinstance(behaviour, dict) and name != "versions":
        behaviour = behaviour["then"] if behaviour["when"] in " ".join(sys.argv) else behaviour.get("else", "ok")
    if name == "versions":
        print(
            json.dumps(
                behaviours.get("versions")
                or dict.fromkeys(("python", "axolotl", "transformers", "torch", "trl", "peft", "mergekit"), "1.0")
            )
        )
        return
    if name == "validate_recipe":
        if behaviour == "fail":
            sys.exit(1)
        refused = behaviours.get("refused", [])
        print(json.dumps({"axolotl": "1.0", "recipes": {"sft": {"refused": refused, "dropped": []}}}))
        return
    if behaviour == "leak":
        leak()
    with control.with_name("calls.jsonl").open("a") as file:
        file.write(json.dumps({"stage": name, "argv": sys.argv[1:]}) + "\n")
    if name == "base_model":
        folder = Path(sys.argv[sys.argv.index("--output") + 1])
        end = time.monotonic() + 60
        while behaviour == "slow" and not control.with_name("go").exists() and time.monotonic() < end:
            time.sleep(0.05)
        safetensors(folder / "model.safetensors")
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            (folder / file).write_text("{}")
    elif name in ("data", "dpo_data"):
        values = config()
        Path(values["output"]).write_text(json.dumps({"rows": 1, "model_rows": values["model_rows"]}))
        Path(values["probe"]).write_text("{}\n")
    elif name == "preprocess":
        folder = Path(config()["dataset_prepared_path"])
        assert not folder.exists(), "a half-written folder was handed to preprocess"
        (folder / "abc").mkdir(parents=True)
        if behaviour == "fail":
            sys.exit(3)
    elif name in ("sft", "dpo"):
        train(name, Path(config()["output_dir"]), behaviour)
    elif name.startswith("merge_"):
        merge(behaviour, behaviours.get("fail_weights", ()))


def merge(behaviour: str, fail_weights: list) -> None:
    contract = yaml.safe_load(Path(sys.argv[sys.argv.index("--contract") + 1]).read_text())
    if contract.get("spread", {}).get("weight", [None])[-1] in fail_weights:
        behaviour = "fail"
    lines = [{"line": "tokenizer", "ok": behaviour != "fail"}]
    Path(contract["report"]).write_text(json.dumps({"ok": behaviour != "fail", "lines": lines}))
    if behaviour == "fail":
        print("error: the model breaks its hand-off contract\n  tokenizer: 485 entries, 487 trained", file=sys.stderr)
        sys.exit(8)
    merged = Path(contract["merged_dir"])
    assert not merged.exists(), "merged over finished weights"
    safetensors(merged / "model.safetensors")
    (merged / "config.json").write_text("{}")
    if "names" in contract:  # of whole models: what evaluations read of one
        own = Path(yaml.safe_load(config_file().read_text())["model"])
        for file in own.glob("*.json*"):
            (merged / file.name).write_bytes(file.read_bytes())
        (merged / "README.md").write_text("# mergekit's card\n")
    if behaviour == "hang":
        print("hanging", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    main()
