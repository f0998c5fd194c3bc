"""The warm parent: imports a family of tools once and forks for every program of it that a client hands over.

Started as `python server.py FOLDER OWNER FAMILY=SOCKET ...`. Its folder is its user's alone; it ends with the process
OWNER, however that ends, and removes the folder. A family is imported when it is first asked for. A program is served
only where it would have been the same started cold: a variable that is not known to be read late must have the value
that it had at the imports.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import selectors
import shutil
import signal
import socket
import struct
import sys
import threading
import traceback
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NoReturn

BASE = (
    "torch", "numpy", "transformers", "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto", "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2.modeling_qwen2", "transformers.trainer", "datasets", "tokenizers", "safetensors.torch",
    "accelerate.commands.launch", "accelerate.commands.accelerate_cli", "peft", "huggingface_hub", "gguf",
)  # fmt: skip
MODULES = {
    "base": (),
    "axolotl": (
        "axolotl.cli.train", "axolotl.cli.preprocess", "axolotl.cli.merge_lora", "axolotl.train", "axolotl.loaders",
        "axolotl.common.datasets", "axolotl.core.builders", "axolotl.utils.trainer", "axolotl.prompt_strategies",
        "bitsandbytes",
    ),
    "trl": ("trl", "trl.trainer.dpo_trainer", "bitsandbytes"),
    "lm_eval": ("lm_eval.__main__", "lm_eval.evaluator", "lm_eval.models.huggingface", "lm_eval.tasks"),
    "mergekit": ("mergekit.merge", "mergekit.config", "mergekit.architecture"),
}  # fmt: skip
# Read when a program uses them, not at imports: ours, and those of pytest, pip, shells, accelerate, OpenMP, unsloth.
LATE_STARTS = ("ALPHAF_", "_ALPHAF_", "PYTEST_", "ACCELERATE_", "KMP_", "LC_", "PIP_", "UNSLOTH_")
LATE = {"PWD", "OLDPWD", "_", "SHLVL", "TMPDIR", "SPT_NOENV", "PYTHONSAFEPATH", "PYTHONPATH", "HF_HOME", "COLUMNS"}
LATE |= {"LINES", "LANG", "CI", "JE_ARROW_MALLOC_CONF"}
if not Path("/dev/nvidiactl").exists():
    LATE.add("CUDA_VISIBLE_DEVICES")  # nothing to be seen: the CUDA libraries were not asked
REPO = Path(__file__).resolve().parents[3]
CHILD = REPO / "alphaf_orch" / "_child"


class Family:
    """The imported tools, what their imports took from the environment, and the programs that run."""

    def __init__(self, name: str, folder: Path, listening: socket.socket, owner: int) -> None:
        self.name, self.folder, self.listening = name, folder, listening
        self.start = dict(os.environ)
        self.home = os.environ["HF_HOME"]
        self.running: dict[int, tuple[socket.socket, int]] = {}  # by pidfd
        self.selector = selectors.DefaultSelector()
        self.selector.register(listening, selectors.EVENT_READ, self.accept)
        self.selector.register(owner, selectors.EVENT_READ, self.owner_ended)

    def load(self, names: tuple[str, ...]) -> None:
        """Import what is installed of `names`; note what they set in the environment and froze of HF_HOME."""
        for name in names:
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(name)
        tasks = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
        if len(tasks) != 1 or sys.modules["torch"].cuda.is_initialized():
            raise SystemExit(f"{self.name}: the imports started threads ({tasks}) or CUDA: no fork would be safe")
        self.set = {key: value for key, value in os.environ.items() if self.start.get(key) != value}
        self.frozen = frozen(self.home)
        gc.collect()
        gc.freeze()

    def serve(self) -> NoReturn:
        """Serve until the owner ends."""
        while True:
            for key, _ in self.selector.select():
                key.data(key.fileobj)

    def accept(self, listening: socket.socket) -> None:
        """Start the program of one client, or tell it to start cold."""
        connection, _ = listening.accept()
        asked, streams = received(connection)
        reason = self.unlike(asked["env"]) if asked else "not this user's"
        self.note({"argv": asked and asked["argv"][:3], "cold": reason} if reason else None)
        if not asked or reason:
            connection.close()
        else:
            connection.send(b"y")
            pid = os.fork()
            if pid == 0:
                self.child(asked, streams, connection)
            ended = os.pidfd_open(pid)
            self.running[ended] = (connection, pid)
            self.selector.register(ended, selectors.EVENT_READ, self.end)
            self.selector.register(connection, selectors.EVENT_READ, self.signal)
            self.note({"argv": asked["argv"][:3], "pid": pid})
        for stream in streams:
            os.close(stream)

    def unlike(self, env: dict[str, str]) -> str | None:
        """Return why a program with this environment is not what the imports made ready; None if it is."""
        known = {str(CHILD), str(REPO), str(REPO / "tests" / "fakes")}
        if not set(filter(None, env.get("PYTHONPATH", "").split(os.pathsep))) <= known:
            return "PYTHONPATH"
        if "HF_HOME" not in env or env.get("PYTHONHASHSEED", "0") != "0":
            return "HF_HOME or PYTHONHASHSEED"
        for key in sorted({*env, *self.start} - LATE - {"PYTHONHASHSEED"}):
            if env.get(key) not in (self.start.get(key), self.set.get(key)) and not key.startswith(LATE_STARTS):
                return key
        return None

    def signal(self, connection: socket.socket) -> None:
        """Pass on the signals that a client got; a client that is gone takes its program with it."""
        numbers = connection.recv(64)
        pid = next(pid for one, pid in self.running.values() if one is connection)
        if not numbers:
            self.selector.unregister(connection)
        for number in numbers or bytes([signal.SIGKILL]):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

    def end(self, ended: int) -> None:
        """Tell a client how its program ended."""
        connection, pid = self.running.pop(ended)
        self.selector.unregister(ended)
        os.close(ended)
        _, status, usage = os.wait4(pid, 0)
        with contextlib.suppress(KeyError):
            self.selector.unregister(connection)
        with contextlib.suppress(OSError):
            connection.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
        connection.close()
        self.note({"pid": pid, "cpu_s": round(usage.ru_utime + usage.ru_stime, 2)})

    def note(self, line: dict[str, Any] | None) -> None:
        """Add a line to the record of what was served."""
        if line:
            with (self.folder / "served.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"family": self.name} | line, ensure_ascii=False) + "\n")

    def owner_ended(self, _owner: int) -> NoReturn:
        """End every program, then this."""
        for _, pid in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(0)

    def child(self, asked: dict[str, Any], streams: list[int], connection: socket.socket) -> NoReturn:
        """Be the program: everything it is given, nothing of ours."""
        code = 1
        try:
            os.setsid()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            self.selector.close()
            os.closerange(3, 4096)
            self.become(asked)
            code = run(asked["argv"])
        except BaseException:  # noqa: BLE001 (nothing of a program may come back into the parent's loop)
            traceback.print_exc()
        finally:
            os._exit(code)

    def become(self, asked: dict[str, Any]) -> None:
        """Take over folder, environment, limits and signals as a program that is started does."""
        os.chdir(asked["cwd"])
        os.umask(asked["umask"])
        for name, limit in asked["limits"].items():
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(getattr(resource, name), tuple(limit))
        env = asked["env"] | self.set
        os.environ.clear()
        os.environ.update(env)
        for holder, key, value in self.frozen:
            put(holder, key, value, self.home, env["HF_HOME"])
        sys.path[:0] = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
        if "PYTHONSAFEPATH" not in env:
            sys.path.insert(0, asked["cwd"])
        sys.executable = str(self.folder / "python")
        sys.orig_argv = [sys.executable, *asked["argv"]]
        importlib.invalidate_caches()
        sys.modules["numpy"].random.seed()
        signal.signal(signal.SIGINT, signal.default_int_handler)


def run(argv: list[str]) -> int:
    """Run `python -m NAME ...` as the interpreter does, to the end of its exit handlers; return the exit code."""
    sys.argv = ["-m", *argv[2:]]
    sys.modules.pop(argv[1], None)  # imported beforehand, it is run anew
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        runpy._run_module_as_main(argv[1])  # type: ignore[attr-defined]
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 (the interpreter's own last resort)
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code & 255


def received(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Return a client's request and its streams; no request where the client is another user's."""
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    data, passed, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(12))
    streams = array.array("i")
    for _, _, content in passed:
        streams.frombytes(content[: len(content) - len(content) % streams.itemsize])
    if user != os.getuid() or len(data) < 4 or len(streams) != 3:
        return None, list(streams)
    size = struct.unpack("!I", data[:4])[0]
    body = data[4:]
    while len(body) < size:
        body += connection.recv(1 << 16)
    return json.loads(body), list(streams)


def frozen(home: str) -> list[tuple[Any, Any, Any]]:
    """Return where modules and the defaults of functions hold a path under `home`: holder, key, value."""
    found: list[tuple[Any, Any, Any]] = []
    for module in list(sys.modules.values()):
        found += [(module, key, value) for key, value in list(vars(module).items()) if under(value, home)]
    for function in gc.get_objects():
        if type(function) is FunctionType:  # isinstance asks lazy objects, which then import
            defaults = function.__defaults__ or ()
            found += [(function, at, value) for at, value in enumerate(defaults) if under(value, home)]
            named = function.__kwdefaults__ or {}
            found += [(named, key, value) for key, value in named.items() if under(value, home)]
    return found


def under(value: object, home: str) -> bool:
    """Return whether a value is a path that begins with `home`."""
    return issubclass(type(value), (str, Path)) and str(value).startswith(home)


def put(holder: Any, key: Any, value: str | Path, old: str, new: str) -> None:
    """Put the path that the request's HF_HOME makes of `value` where it stands."""
    moved = type(value)(new + str(value)[len(old) :])
    if isinstance(holder, ModuleType):
        setattr(holder, key, moved)
    elif isinstance(holder, dict):
        holder[key] = moved
    else:
        defaults = list(holder.__defaults__)
        defaults[key] = moved
        holder.__defaults__ = tuple(defaults)


def main() -> None:
    """Listen for every family; import what all of them share, then fork each family when it is first asked for."""
    folder, owner = Path(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(watched := os.pidfd_open(owner), True)
    listening = {name: socket.socket(fileno=int(number)) for name, number in (pair.split("=") for pair in sys.argv[3:])}
    base = Family("base", folder, listening["base"], watched)
    base.load(BASE)
    for name in MODULES.keys() - {"base"}:

        def fork(ready: socket.socket, name: str = name) -> None:
            base.selector.unregister(ready)
            if os.fork() == 0:
                base.selector.close()
                gc.unfreeze()
                family = Family(name, folder, ready, watched)
                family.start = base.start
                family.load(MODULES[name])
                family.serve()
            ready.close()

        base.selector.register(listening[name], selectors.EVENT_READ, fork)
    base.serve()


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        shutil.rmtree(sys.argv[1], ignore_errors=True)  # whoever asks then starts cold
        raise
