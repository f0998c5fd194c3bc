"""What a submission and its jobs leave in a run's folder: records, events, a manifest's entries, logs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alphaf_orch.clusters.submitted import Event, Submitted, note
from alphaf_orch.core.calls import Call
from alphaf_orch.core.holder import myself
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.record import write_manifest

CHAIN = ("data", "preprocess", "sft", "merge_sft")
BEGAN = datetime(2026, 1, 2, 10, tzinfo=UTC)


def moment(seconds: int) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="seconds")


class Submission:
    """A run of which jobs were submitted at second 0, one a stage, each after the one before."""

    def __init__(self, run: str = "far", stages: tuple[str, ...] = CHAIN, first: int = 101) -> None:
        self.run, self.paths = run, RunPaths(runs_dir() / run)
        self.ids: dict[str, str] = {}
        before: tuple[str, ...] = ()
        self.paths.root.mkdir(parents=True, exist_ok=True)
        for number, stage in enumerate(stages, first):
            self.ids[stage] = str(number)
            self.record(stage, stage=stage, after=before)
            before = (str(number),)

    def record(self, name: str, **more: Any) -> None:
        job = Submitted(self.run, name, "slurm", self.ids.setdefault(name, ""), at=moment(0))
        self.paths.jobs.mkdir(exist_ok=True)
        self.paths.job(name).write_text(json.dumps(vars(replace(job, **more)), ensure_ascii=False), "utf-8")

    def event(self, name: str, what: Any, at: int, **more: Any) -> None:
        note(self.paths, name, Event(what, moment(at), self.ids[name], **{"nodes": "gpu-3", **more}))

    def stages(self, **states: str) -> None:
        """Write a manifest; each stage began at second 10, by its job."""
        entries: dict[str, Any] = {}
        for name, state in states.items():
            entries[name] = {"state": state, "fingerprint": "f", "started": moment(10), "spec": {}}
            entries[name] |= {"job": self.ids[name]} if name in self.ids else {}
            if state != "running":
                entries[name] |= {"ended": moment(20), "seconds": 10.0}
        write_manifest(self.paths.manifest, {"format": 1, "run": self.run, "stages": entries})

    def says(self, text: str, log: str = "alphaf") -> None:
        path = self.paths.log(log)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(text.encode())

    def printed(self, name: str, text: str) -> None:
        self.paths.job_output(name).write_text(text, "utf-8")

    def held(self, exit_code: int | None = None, **more: Any) -> Call:
        """Write down that this process works on the run, or has."""
        log = self.paths.log("alphaf")
        self.says("")
        facts = {"holder": vars(myself()) | more, "command": "alphaf run", "lock": str(self.paths.lock)}
        facts |= {"begins": log.stat().st_size, "exit_code": exit_code}
        log.with_suffix(".json").write_text(json.dumps(facts), "utf-8")
        return Call(myself(), "alphaf run", log, self.paths.lock, log.stat().st_size, exit_code)
