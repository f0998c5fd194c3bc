"""Measures the memory of a merge: two random Llamas of about a gigabyte each, merged by the stage's own program.

`python tools/merge_memory.py [METHOD]` prints the peak resident memory of the merge, that of the same program before
it opens a model, and the difference, in MiB. Needs about 4 GB of disk in the temporary folder and 3 GB of memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from alphaf_orch.core.paths import CHILD

REPO = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPO), str(REPO / "tests" / "fakes")]

LAYERS, HIDDEN = 10, 2048  # with an intermediate size of 5632 and 32,000 rows: 0.57 billion parameters


def build(folder: Path, seed: int) -> Path:
    """Write a random bfloat16 Llama of about 1.1 GB into one file, as many published ones are."""
    import torch
    from safetensors.torch import save_file
    from tiny import tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer()
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=HIDDEN,
        intermediate_size=5632,
        num_hidden_layers=LAYERS,
        num_attention_heads=16,
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in LlamaForCausalLM(config).state_dict().items()}
    torch.manual_seed(seed)
    tensors = {name: torch.empty(shape, dtype=torch.bfloat16).uniform_(-0.05, 0.05) for name, shape in shapes.items()}
    config.save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    words.save_pretrained(folder)
    return folder


def peak(argv: list[str]) -> int:
    """Return the peak resident memory of a command in MiB; what it printed is shown where it failed."""
    environment = os.environ | {"PYTHONPATH": str(CHILD), "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(said)
    return usage.ru_maxrss // 1024


def main() -> None:
    """Build, merge, print."""
    from alphaf_orch.core.render import render
    from alphaf_orch.settings.merge import PER_MODEL, WITHOUT_BASE, mergekit_config, per_model

    method = sys.argv[1] if len(sys.argv) > 1 else "linear"
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        folders = ("own", "partner") if method in WITHOUT_BASE else ("own", "partner", "base")
        for seed, folder in enumerate(folders):
            if os.fork() == 0:  # a process of its own, so that its memory is not ours
                build(place / folder, seed)
                os._exit(0)
            os.wait()
        size = sum(file.stat().st_size for file in (place / "own").glob("*.safetensors"))
        messages = [{"role": "user", "content": "금리는?"}, {"role": "assistant", "content": "3%"}]
        (place / "rows.jsonl").write_text("", encoding="utf-8")
        from tiny import tokenizer

        ids = list(tokenizer().apply_chat_template(messages, tokenize=True, return_dict=False))
        (place / "rows.jsonl").write_text(json.dumps({"messages": messages, "input_ids": ids}) + "\n", "utf-8")
        variables = {
            "model": str(place / "own"),
            "partners": [str(place / "partner")],
            "base": str(place / "base"),
        }
        recipe = render(REPO / "templates" / "merge_models" / f"{method}.yaml.j2", variables).values
        job = {
            "scratch_dir": str(place / "scratch"),
            "merged_dir": str(place / "merged"),
            "report": str(place / "report.json"),
            "handoff": str(place / "handoff.yaml"),
            "names": {},
            "spread": {key: per_model(recipe, key) for key in PER_MODEL if key in recipe},
        }
        rows = str(place / "rows.jsonl")
        files = {
            "recipe": recipe,
            "mergekit": mergekit_config(recipe),
            "job": job,
            "handoff": {"probe": rows, "trained_ids": rows},
        }
        for file, values in files.items():
            (place / f"{file}.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
        program = [sys.executable, "-m", "alphaf_orch.programs.merging.merge_models"]
        options = ["--config", "recipe", "--mergekit", "mergekit", "--contract", "job"]
        options = [word if word.startswith("--") else str(place / f"{word}.yaml") for word in options]
        used = peak([*program, *options])
        imports = "import merge_models, mergekit.merge, transformers.models.llama.modeling_llama"
        before = peak([sys.executable, "-c", imports])
    print(f"{method}, two models of {size / 2**20:.0f} MiB: peak {used} MiB,")
    print(f"the interpreter with its libraries {before} MiB, above it {used - before} MiB")


if __name__ == "__main__":
    main()
