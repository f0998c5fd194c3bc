"""Child program: prints what torch itself sees of the GPUs, and whether each of them does a first sum."""

import json
from typing import Any


def devices(torch: Any) -> dict[str, Any]:
    """Return torch's version and CUDA, the error of its start if any, and every device that it sees."""
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": getattr(torch.version, "hip", None),
        "error": None,
        "devices": [],
    }
    if torch.version.cuda is None and found["hip"] is None:
        return found
    try:
        torch.cuda.init()
        count = torch.cuda.device_count()
    except (RuntimeError, AssertionError) as error:  # its text is the finding: an old driver, no device, ...
        found["error"] = _first_line(error)
        return found
    found["devices"] = [_device(torch, number) for number in range(count)]
    return found


def _device(torch: Any, number: int) -> dict[str, Any]:
    about: dict[str, Any] = {"name": None, "memory": 0, "capability": None, "bf16": False, "error": None}
    try:
        properties = torch.cuda.get_device_properties(number)
        about |= {
            "name": properties.name,
            "memory": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            # In hardware since Ampere (torch.cuda.is_bf16_supported without emulation asks the same).
            "bf16": properties.major >= 8,
        }
        # "no kernel image" of a torch that was built for other cards, a card that is busy or broken.
        if float((torch.ones(1024, device=f"cuda:{number}") * 2).sum()) != 2048:
            about["error"] = "the sum of 1,024 twos is not 2,048 on it"
    except RuntimeError as error:
        about["error"] = _first_line(error)
    return about


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    import torch

    print(json.dumps(devices(torch)), flush=True)
