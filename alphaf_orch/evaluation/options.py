"""What an `alphaf eval` is asked to do, and how answers are got: the backend, its devices and its server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from alphaf_orch.core.errors import ConfigError, ToolError
from alphaf_orch.core.hardware import Machine, check_gpus
from alphaf_orch.core.masking import mask
from alphaf_orch.evaluation.tasks.task import Task

Backend = Literal["hf", "vllm", "openai", "openai-chat"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
SERVERS: tuple[Backend, ...] = ("openai", "openai-chat")
DEFAULT_SUITE = "finance-ko"
# ours: parallel requests to a server; vLLM batches them itself
REQUESTS = 8
_FLAGS = {
    "suites": "--suite", "tasks": "--task", "limit": "--limit", "backend": "--backend", "server": "--server",
    "server_model": "--server-model", "batch_size": "--batch-size", "gpus": "--gpus",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What the command line said; None and empty mean that it said nothing."""

    run: str | None = None
    stages: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    limit: int | None = None
    backend: Backend = "hf"
    server: str | None = None
    server_model: str | None = None
    batch_size: int | None = None
    gpus: int | None = None

    def argv(self) -> tuple[str, ...]:
        """Return the options of `alphaf eval` that say it again, the run aside."""
        found = ["--stages", ",".join(self.stages)] if self.stages else []
        for name, flag in _FLAGS.items():
            said = getattr(self, name)
            if said != getattr(EvalOptions, name):
                for value in said if isinstance(said, tuple) else (said,):
                    found += [flag, str(value)]
        return tuple(found)


@dataclass(frozen=True)
class Target:
    """How answers are got: by which of lm-eval's models, on how many GPUs, from which server."""

    backend: Backend
    gpus: int = 0
    batch_size: int | None = None
    server: str | None = None
    server_model: str | None = None

    @property
    def asserted(self) -> bool:
        """Whether prompts are rendered here; behind chat completions the server renders them by its own template."""
        return self.backend != "openai-chat"

    @property
    def identity(self) -> dict[str, Any]:
        """What of it scores depend on; the number of GPUs and the batch only change the last digits."""
        return {"backend": self.backend, "server_model": self.server_model}


def suites_asked(options: EvalOptions) -> tuple[str, ...]:
    """Return the suites to evaluate: the named ones, or the default where no task is named either."""
    return options.suites or (() if options.tasks else (DEFAULT_SUITE,))


def choose_target(options: EvalOptions, tasks: Sequence[Task], machine: Machine) -> Target:
    """Return how answers are got; raise ConfigError or HardwareError for what cannot work together."""
    backend = options.backend
    if backend in SERVERS:
        return _server_target(options, tasks)
    if options.server or options.server_model:
        raise ConfigError(
            f"the backend {backend} asks no server",
            where="--server" if options.server else "--server-model",
            fix="add --backend openai (or openai-chat), or leave the option out",
            code="config.not_together",
        )
    gpus = len(machine.gpus) if options.gpus is None else options.gpus
    check_gpus(gpus, machine, "eval", "--gpus")
    if backend == "vllm" and not gpus:
        raise ConfigError(
            "vllm needs a GPU", where="--backend vllm", fix="use --backend hf on this machine", code="config.needs_gpu"
        )
    if backend == "hf":
        # A rank without a question ends lm-eval.
        gpus = min([gpus, *(planned_rows(task, options.limit) or gpus for task in tasks)])
    return Target(backend, gpus, options.batch_size)


def planned_rows(task: Task, limit: int | None) -> int | None:
    """Return about how many questions of a task will be asked, None where nothing is known of its data."""
    return task.rows if limit is None else min(limit, task.rows or limit)


def counted_rows(task: Task) -> int | None:
    """Return how many questions a task has for certain: those of hub data and filtered rows only lm-eval knows."""
    return None if task.dataset is not None or "process_docs" in task.config else task.rows


def _server_target(options: EvalOptions, tasks: Sequence[Task]) -> Target:
    backend = options.backend
    if not options.server:
        raise ConfigError(
            f"the backend {backend} needs a server",
            where="--server",
            fix="say --server http://HOST:8000/v1 (`.venv-vllm/bin/vllm serve MODEL_FOLDER` starts one)",
            code="config.key_missing",
        )
    if options.gpus:
        raise ConfigError(
            "GPUs are the server's matter", where="--gpus", fix="leave the option out", code="config.not_together"
        )
    parts = urlsplit(options.server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{options.server!r} is no address of a server",
            where="--server",
            fix="write it as http://HOST:PORT/v1 or https://…",
            code="config.not_an_address",
        )
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            "a password or query in the address would stand in logs and results",
            where="--server",
            fix="set OPENAI_API_KEY in the environment and give the plain address",
            code="config.holds_secret",
        )
    if len(options.stages) != 1:
        raise ConfigError(
            "a server serves one model",
            where="--stages",
            fix="name the stage whose model it serves, such as --stages sft, and evaluate one after the other",
            code="config.not_together",
        )
    chosen = [task for task in tasks if task.output_type != "generate_until"]
    if backend == "openai-chat" and chosen:
        generated = " ".join(f"--task {task.name}" for task in tasks if task.output_type == "generate_until")
        raise ConfigError(
            f"chat completions give no probabilities, which {', '.join(t.name for t in chosen)} need",
            where="--backend openai-chat",
            fix="use --backend openai (/v1/completions)" + (f", or {generated}" if generated else ""),
            code="config.not_supported",
        )
    path = parts.path.rstrip("/") or "/v1"
    server = parts._replace(path=path).geturl()
    return Target(backend, 0, options.batch_size, server, options.server_model)


def served_model(target: Target, env: Mapping[str, str] = os.environ) -> str:
    """Return the model to ask for, which the server must list; raise ToolError where it does not answer so."""
    import openai

    client = openai.OpenAI(
        base_url=target.server, api_key=env.get("OPENAI_API_KEY") or "none", timeout=10, max_retries=1
    )
    try:
        names = [model.id for model in client.models.list()]
    except openai.OpenAIError as error:
        raise ToolError(
            f"the server does not answer: {mask(' '.join(str(error).split()))[:200]}",
            where=f"{target.server}/models",
            fix="check the address and that the server runs; a key is read from OPENAI_API_KEY",
            code="tool.no_answer",
        ) from None
    wanted = target.server_model or (names[0] if len(names) == 1 else None)
    if wanted not in names:
        what = f"the server has no model {wanted}" if wanted else f"the server has {len(names)} models"
        raise ConfigError(
            what,
            where="--server-model",
            fix=f"use one of: {', '.join(names) or 'none listed'}",
            code="config.server_model",
        )
    return str(wanted)
