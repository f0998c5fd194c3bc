"""Child program: prints the installed versions that matter as one JSON object; imports none of them."""

import json
import platform
from collections.abc import Iterable
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
    "ray",
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


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each of the packages that is installed here."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    print(json.dumps({"python": platform.python_version(), **installed(PACKAGES)}))
