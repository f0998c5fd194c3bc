"""Child program: print the installed versions that matter as one JSON object; imports none of them."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "axolotl",
    "unsloth",
    "unsloth_zoo",
    "trl",
    "peft",
    "transformers",
    "tokenizers",
    "accelerate",
    "datasets",
    "bitsandbytes",
    "safetensors",
    "torch",
    "deepspeed",
    "flash-attn",
    "flash-attn-3",
    "flash-attn-4",
    "xformers",
    "sageattention",
    "mergekit",
    "lm-eval",
    "vllm",
    "wandb",
    "mlflow",
    "mlflow-skinny",
    "tensorboard",
    "trackio",
)


def installed() -> dict[str, str]:
    """Return the version of python and of each package that is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    print(json.dumps(installed()))
