"""A data set of the hub, opened from its folder in the cache: which configuration and split are meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alphaf_orch.programs.formats.files import Reading
from alphaf_orch.programs.formats.json_rows import NotRows
from alphaf_orch.programs.formats.reading import refuse_media


@contextmanager
def hub_reading(folder: str, name: str, config: str | None, split: str | None) -> Iterator[Reading]:
    """Open the rows of a split; `name` is the set as the user wrote it, without configuration and split.

    Raises NotRows for a configuration or split that is none, with those that are, and where one must be chosen.
    """
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        config, split = _chosen(datasets, folder, name, config, split)
        found = datasets.load_dataset(folder, name=config, split=split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        if isinstance(error, NotRows):
            raise
        raise NotRows(
            f"cannot be loaded: {' '.join(str(error.__cause__ or error).split())[:300]}", code="data.unreadable"
        ) from error
    refuse_media(found.features)
    written = "hub set" if config in (None, "default") else f"hub set, configuration {config}"
    yield Reading(f"{written}, split {split}", "row", enumerate(found, 1))


def _chosen(datasets: Any, folder: str, name: str, config: str | None, split: str | None) -> tuple[str | None, str]:
    configs = datasets.get_dataset_config_names(folder)
    wanted = re.sub(r"\[.*", "", split or "train")
    if config is not None and config not in configs:
        raise NotRows(f"has no configuration {config!r}; {_listed(name, configs)}", code="data.unknown_name")
    if config is None and len(configs) > 1:
        default = "default" if "default" in configs else None
        if default is None or split in configs:
            raise NotRows(
                f"has several configurations, and one must be named; {_listed(name, configs)}", code="data.ambiguous"
            )
        config = default
    config = config or configs[0]
    if wanted in configs and split and wanted not in datasets.get_dataset_split_names(folder, config):
        raise NotRows(
            f"has a configuration {wanted!r}, which needs a split behind it; {_listed(name, [wanted])}",
            code="data.ambiguous",
        )
    splits = datasets.get_dataset_split_names(folder, config)
    if wanted not in splits:
        prefix = f"{name}:{config}" if len(configs) > 1 else name
        hint = ", ".join(f"{prefix}:{each}" for each in splits)
        raise NotRows(f"has no split {wanted!r}: give {hint}", code="data.unknown_name")
    return config, split or "train"


def _listed(name: str, configs: list[str]) -> str:
    shown = ", ".join(f"{name}:{config}:train" for config in configs[:20])
    return f"give one of {shown}{' …' if len(configs) > 20 else ''}"
