"""A program that says what it was given and ends as it is told: cold and forked of a warm parent it must say the same.

Called with how to end, the file for what it says, and optionally `hub`: what the tools made of the environment.
"""

# ruff: noqa: E402 (what is there before the imports is the question)

import sys

BEFORE = sorted(name for name in sys.modules if name.startswith("alphaf_orch"))
WARM = "torch" in sys.modules

import json
import os
import random
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

how, said = sys.argv[1], Path(sys.argv[2])


def of_the_hub() -> dict[str, Any]:
    import datasets.config
    import huggingface_hub.constants
    import numpy
    import torch
    import transformers.utils.hub

    return {
        "hub": [str(huggingface_hub.constants.HF_HUB_CACHE), huggingface_hub.constants.HF_HUB_OFFLINE],
        "token": huggingface_hub.constants.HF_TOKEN_PATH,
        "datasets": [str(datasets.config.HF_DATASETS_CACHE), datasets.config.HF_HUB_OFFLINE],
        "modules": str(transformers.utils.hub.HF_MODULES_CACHE),
        "threads": torch.get_num_threads(),
        "drawn": [
            torch.initial_seed(),
            int(numpy.random.randint(1 << 62)),
            datasets.fingerprint.generate_random_fingerprint(),
        ],
    }


def main() -> None:
    umask = os.umask(0)
    os.umask(umask)
    opened = [(int(file.name), str(file.readlink())) for file in Path("/proc/self/fd").iterdir() if file.exists()]
    facts = {
        "argv": sys.argv[1:],
        "orig": sys.orig_argv[1:],
        "command": Path("/proc/self/cmdline").read_text(encoding="utf-8").rstrip("\0").split("\0")[1:],
        "cwd": str(Path.cwd()),
        "umask": umask,
        "path": sys.path[:3],
        "env": {key: value for key, value in os.environ.items() if not key.startswith("_ALPHAF_LAUNCH")},
        "files": sorted(opened),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "ours": BEFORE,
        "signals": [str(signal.getsignal(number)) for number in (1, 2, 3, 13, 15, 17)],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "leads": os.getpid() == os.getsid(0),
        "threads": threading.active_count(),
        "name": __name__,
    }
    hub = of_the_hub() if "hub" in sys.argv else {}
    drawn = [random.random(), *hub.pop("drawn", ())]
    found = {"facts": facts, "hub": hub, "warm": WARM, "pid": os.getpid(), "parent": os.getppid(), "drawn": drawn}
    partial = said.with_name(f"{said.name}.partial")
    partial.write_text(json.dumps(found), encoding="utf-8")
    partial.rename(said)
    print("말함", flush=True)
    print("on stderr", file=sys.stderr)
    if how == "child":  # in a session and with an environment of its own
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True, env={})
    if how == "stubborn":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how in ("wait", "child", "stubborn"):
        time.sleep(60)
    if how == "once" and os.getppid() != int(sys.argv[3]):  # not the one that it is started by cold
        time.sleep(60)
    if how == "big":
        print(len(b"x" * (200 << 20)))
    if how == "raise":
        raise RuntimeError("as told")
    if how == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    sys.exit(int(how) if how.isdigit() else how if how == "a text" else 0)


if __name__ == "__main__":
    main()
