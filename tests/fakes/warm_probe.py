"""A program that says what it was given and ends as it is told: cold and warm it must say the same."""

# ruff: noqa: E402 (what is there before the imports is the question)

import sys

WARM = "torch" in sys.modules
OURS = sorted(name for name in sys.modules if name.startswith("alphaf_orch"))

import json
import os
import resource
import signal
import time
from pathlib import Path

how, said = sys.argv[1], Path(sys.argv[2])


def main() -> None:
    """Write the facts, then end as the first argument says."""
    import datasets.config
    import huggingface_hub.constants
    import transformers.utils.hub

    umask = os.umask(0)
    os.umask(umask)
    facts = {
        "argv": sys.argv[1:],
        "cwd": str(Path.cwd()),
        "env": {key: os.environ.get(key) for key in ("HF_HOME", "HF_HUB_OFFLINE", "PLAIN", "ALPHAF_X", "PYTHONPATH")},
        "hub": [str(huggingface_hub.constants.HF_HUB_CACHE), huggingface_hub.constants.HF_HUB_OFFLINE],
        "token": huggingface_hub.constants.HF_TOKEN_PATH,
        "datasets": [str(datasets.config.HF_DATASETS_CACHE), datasets.config.HF_HUB_OFFLINE],
        "modules": str(transformers.utils.hub.HF_MODULES_CACHE),
        "umask": umask,
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGCHLD)],
        "stdin": sys.stdin.read(),
        "leads": os.getpid() == os.getpgid(0),
        "ours": OURS,
    }
    said.write_text(json.dumps({"facts": facts, "warm": WARM, "pid": os.getpid()}), encoding="utf-8")
    print("on stdout")
    print("on stderr", file=sys.stderr)
    if how == "wait":
        print("ready", flush=True)
        time.sleep(60)
    if how == "raise":
        raise RuntimeError("as told")
    sys.exit(int(how) if how.isdigit() else how)


if __name__ == "__main__":
    main()
