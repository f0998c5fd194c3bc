"""One try of a stage: its folders made, its program launched and watched, its log masked however it ends."""

from __future__ import annotations

import shutil
import time
from functools import partial

from rich.console import Console

from alphaf_orch.core.command import Finished
from alphaf_orch.core.masking import mask_logs
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import StageLine, tell
from alphaf_orch.core.stored import usable
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.launch import launch
from alphaf_orch.runs.nodes.leader import Leader
from alphaf_orch.runs.rows_cache import rows_env
from alphaf_orch.runs.run_date import date_env
from alphaf_orch.runs.watch.findings import Finding
from alphaf_orch.runs.watch.stage import StageWatch
from alphaf_orch.settings.config import RunConfig


class Attempt:
    """What a try needs beside the stage itself."""

    def __init__(
        self,
        paths: RunPaths,
        config: RunConfig,
        console: Console,
        lock_fd: int,
        spread: Leader | None,
        *,
        verbose: bool,
    ) -> None:
        self._paths, self._config, self._console = paths, config, console
        self._lock_fd, self._spread, self._verbose = lock_fd, spread, verbose

    def run(self, stage: Stage, argv: tuple[str, ...], entry: dict[str, object], keep: partial[None]) -> Finished:
        """Return how the stage's program ended; raise StageError for what the watch ends it for.

        What the watch finds goes into `entry`, which `keep` writes down.
        """
        for half_written in stage.clear_first:
            if half_written.is_dir():
                shutil.rmtree(half_written)
        paths = self._paths
        metrics, log = paths.metrics(stage.name), paths.log(stage.name)
        paths.scratch(stage.name).parent.mkdir(parents=True, exist_ok=True)
        for path in (metrics, log, paths.batches(stage.name), paths.report(stage.name), paths.probe(stage.name)):
            path.parent.mkdir(parents=True, exist_ok=True)
            usable(path)
        line = StageLine(self._console, stage.name, metrics, log, verbose=self._verbose)

        def record(finding: Finding) -> None:
            entry["watched"] = [*entry.get("watched", []), finding.record()]  # type: ignore[misc]
            keep()

        watch = StageWatch(stage, paths, self._config, partial(tell, self._console), record)

        def look() -> None:
            if self._spread:
                self._spread.watch()
            watch.look()

        begun = time.time()
        try:
            env = {**stage.env, **date_env(paths), **rows_env(stage, paths)}
            files = {} if self._spread else stage.files  # `gather` wrote them, and others read them
            finished = launch(
                argv, line, self._lock_fd, env=env, files=files, online=stage.online, restarts=False, watch=look
            )
            watch.rows(ended=True)
            return finished
        finally:
            mask_logs(paths.root, begun - 1)
