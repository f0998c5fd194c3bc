"""What a run is, written down before its first stage: its settings, and the head of its manifest."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

from alphaf_orch import __version__
from alphaf_orch.core.command import capture
from alphaf_orch.core.record import now, write_atomic, write_manifest
from alphaf_orch.inputs import sources
from alphaf_orch.planning import allowed
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import stage_name
from alphaf_orch.runs.run_date import run_date
from alphaf_orch.settings.config import dump_config

_BASE_MODEL = stage_name("prepare")


@dataclass(frozen=True)
class Code:
    """What git says of the folder that a run is started in."""

    commit: str | None
    dirty: bool | None


def code_here() -> Code:
    """Return what git says at this moment; nothing where the folder is none of git's."""
    commit = capture(("git", "rev-parse", "HEAD"))[1].strip() or None
    return Code(commit, bool(capture(("git", "status", "--porcelain"))[1].strip()) if commit else None)


def write_head(plan: Plan, manifest: dict[str, Any], code: Code | None = None) -> None:
    """Write the settings of the plan, and the manifest with all of its head in it; git is asked where nobody has."""
    code = code or code_here()
    manifest.setdefault("date", run_date(plan.paths))
    manifest.setdefault("created", now())
    manifest["run"] = plan.paths.name
    manifest["alphaf"] = __version__
    manifest["git_commit"] = code.commit
    manifest["git_dirty"] = code.dirty
    manifest["machine"] = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    manifest["model"] = plan.preset.name
    manifest["base_model"] = plan.preset.base_model
    manifest["base_revision"] = plan.config.base_revision
    manifest["licence"] = plan.preset.licence
    manifest |= allowed.record(plan.resolved, manifest)
    base = manifest["stages"].get(_BASE_MODEL, {})
    if base.get("state") == "running" and not any(stage.name == _BASE_MODEL for stage in plan.stages):
        # Planned no more, so it is there: a crash cut off its record alone.
        base |= {"state": "done", "ended": now(), "result": {}}
    manifest["config"] = plan.config.model_dump(mode="json", exclude_defaults=True)
    if plan.merge:
        manifest["merge_partners"] = [model.record for model in plan.merge.partners]
    for section, found in plan.sources.items():
        if found:
            manifest.setdefault("data", {})[section] = [sources.record(source) for source in found]
    write_atomic(plan.paths.config, dump_config(plan.config))
    write_manifest(plan.paths.manifest, manifest)
