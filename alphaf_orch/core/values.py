"""Values and names as people type them: numbers, misspelt names, and the first value that is not allowed."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeGuard, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.several import told_together
from alphaf_orch.core.yaml_files import parse_any

Model = TypeVar("Model", bound=BaseModel)

# YAML 1.1 (PyYAML, so axolotl) reads 2e-5 as a string; people and papers write it so.
_BARE_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


# Names from other trainers that people try first; difflib alone would pick something else.
_OTHER_NAMES = {
    "lora_rank": "lora_r",
    "rank": "lora_r",
    "batch_size_per_device": "micro_batch_size",
    "per_device_train_batch_size": "micro_batch_size",
    "num_train_epochs": "num_epochs",
    "epochs": "num_epochs",
    "lr": "learning_rate",
    "lr_scheduler_type": "lr_scheduler",
    "max_length": "sequence_len",
    "max_seq_length": "sequence_len",
    "max_seq_len": "sequence_len",
    "cutoff_len": "sequence_len",
    "neftune_alpha": "neftune_noise_alpha",
    "rl_beta": "beta",
    "model_name_or_path": "base_model",
}


def nearest(key: object, known: Iterable[str]) -> str:
    """Return ": did you mean X?" for the known key most like `key`, or nothing."""
    key, known = str(key), list(known)
    other = _OTHER_NAMES.get(key)
    close = [other] if other in known else difflib.get_close_matches(key, known, n=1, cutoff=0.65)
    return f": did you mean {close[0]}?" if close else ""


def parse_value(text: str) -> Any:
    """Return the YAML value of one option, with 2e-5 read as the number it is."""
    if _BARE_FLOAT.fullmatch(text.strip()):
        return float(text)
    try:
        return parse_any(text)
    except yaml.YAMLError:
        return text


def numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping with texts such as 2e-4, which YAML 1.1 makes of such numbers, as the numbers they are."""
    return {k: float(v) if isinstance(v, str) and _BARE_FLOAT.fullmatch(v) else v for k, v in values.items()}


def finite(value: object) -> TypeGuard[int | float]:
    """Return whether it is a number, true and false aside, that a float can hold: no nan, not infinite, no 10**400."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits, which YAML and JSON take
        return False


class Mistake(NamedTuple):
    """A value that a model refuses: its key with those above it, pydantic's kind of mistake, and its words."""

    keys: tuple[str, ...]
    kind: str
    message: str

    @property
    def key(self) -> str:
        """The key as people write it: `a.b`."""
        return ".".join(self.keys)

    @property
    def unknown(self) -> bool:
        """Whether there is no such key."""
        return self.kind == "extra_forbidden"


def validated(model: type[Model], values: Mapping[str, Any], told: Callable[[Mistake], AlphafError]) -> Model:
    """Return the values as the model has them; raise what `told` says of those that it refuses, all in one."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found: dict[tuple[Any, ...], Mistake] = {}
        for each in error.errors(include_url=False, include_input=False):
            # A union says it of every branch that it tried, with the branch's name behind the key: once is enough.
            mistake = Mistake(tuple(str(part) for part in each["loc"]), each["type"], each["msg"])
            found.setdefault(_written(values, each["loc"]) if each["type"] != "missing" else each["loc"], mistake)
    # A list with a wrong value in it is told to be too short as well.
    below = [at for at in found if not any(len(other) > len(at) and other[: len(at)] == at for other in found)]
    raise told_together([told(found[at]) for at in below])


def _written(values: Any, keys: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return so much of a place as stands in the values."""
    for number, key in enumerate(keys):
        inside = isinstance(values, Mapping) and key in values
        if not inside and not (isinstance(values, list | tuple) and isinstance(key, int) and key < len(values)):
            return keys[:number]
        values = values[key]
    return keys
