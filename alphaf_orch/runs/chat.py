"""A talk with a run's newest finished model, in the terminal that `alphaf` was called in."""

from __future__ import annotations

from alphaf_orch.core.command import PROGRAM_ENV, child_env, interactive, program
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest
from alphaf_orch.planning.base import tool_python
from alphaf_orch.runs.chain import MADE, model_folder, newest, run_config
from alphaf_orch.runs.damage import refuse_model
from alphaf_orch.runs.run_date import date_env


def talk(paths: RunPaths, *, prompt: str | None, system: str | None, max_new_tokens: int, temperature: float) -> int:
    """Return the exit code of the talk; raise RunStateError where the run has no finished model, or a damaged one."""
    manifest = read_manifest(paths.manifest)
    stage = newest(paths, manifest, MADE)
    if stage is None:
        raise RunStateError(
            f"run {paths.full_name} has no finished model",
            where=str(paths.root),
            fix=f"run `alphaf run --run {paths.full_name}` first",
            code="run.unfinished",
        )
    model = model_folder(paths, stage, manifest)
    refuse_model(model, "look")
    argv = program(tool_python(run_config(paths), "axolotl"), "evaluation.chat", "--model", str(model))
    argv += ("--max-new-tokens", str(max_new_tokens), "--temperature", str(temperature))
    argv += ("--prompt", prompt) if prompt else ()
    argv += ("--system", system) if system else ()
    return interactive(argv, child_env({**PROGRAM_ENV, **date_env(paths)}, online=False))
