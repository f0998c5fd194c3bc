"""The shapes of what is on this machine, and of an error."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict


class Model(TypedDict):
    """A preset, and whether its weights are on this machine."""

    name: str
    title: str
    base_model: str
    parameters: int | None
    licence: str
    context: int | None
    chat_template: str
    trust_remote_code_required: bool
    weights: str
    path: str | None
    revision: str | None
    detail: str


class Models(TypedDict):
    """The presets that there are."""

    models: list[Model]
    unreadable: list[Unreadable]


class Unreadable(TypedDict):
    """A preset that cannot be read: what is wrong, where, and what to do next."""

    name: str
    what: str
    where: str
    next: str
    code: str


class ModelsAdd(TypedDict):
    """A preset that was written: its file, what a person is to check, and the commands to type next."""

    name: str
    file: str
    checks: list[str]
    next: list[str]


class Init(TypedDict):
    """A folder to start from: its files, and the commands to type next."""

    folder: str
    files: list[str]
    next: list[str]


class SchemaOf(TypedDict):
    """A schema of a YAML file of the user's, by the name that `alphaf schema` takes."""

    name: str
    of: str


class Schema(TypedDict):
    """The JSON schema of a YAML file that editors check it by."""

    name: str
    document: dict[str, Any]


class Schemas(TypedDict):
    """The schemas that there are."""

    schemas: list[SchemaOf]


class Machine(TypedDict):
    """GPUs by name, processors, and what the driver says."""

    gpus: list[str]
    cpus: int
    driver: str | None
    driver_cuda: str | None
    nvml_error: str | None


class Check(TypedDict):
    """One check: what was seen, what to do, and the exit code and identifier that it alone would give."""

    name: str
    subject: str
    state: Literal["ok", "warn", "fail", "skipped"]
    evidence: str
    fix: str
    exit_code: int
    code: str
    values: dict[str, Any]


class Doctor(TypedDict):
    """What was seen of this machine; `state` is the worst of the checks."""

    format: int
    alphaf: str
    time: str
    seconds: float
    state: str
    exit_code: int
    machine: Machine
    checks: list[Check]


class Failure(TypedDict):
    """What failed: `code` stays when the words change, `kind` is the class of the error (docs/errors.md)."""

    code: str
    exit_code: int
    kind: str
    what: str
    where: str
    next: str


class Error(TypedDict):
    """A command that has no answer."""

    error: Failure
