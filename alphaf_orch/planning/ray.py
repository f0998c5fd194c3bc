"""A training that Ray starts, by axolotl's own `use_ray`: what that changes in its recipe, command and environment.

Ray's workers take the place of the launcher's ranks: one a GPU, on all machines of the Ray that RAY_ADDRESS names, or
of one that axolotl's driver starts on this one. Only that driver is started (axolotl/cli/main.py: with `use_ray` the
launcher is None), so `alphaf` runs once, beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alphaf_orch.core.command import QUIET_OFFLINE
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.planning.stages import Launch, Stage

# Values that reach a driver by ray.init (ray 2.60, _private/worker.py); Ray's own job server hands them over like this.
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def layer(given: Mapping[str, Any], ranks: int, run: str, *, gpu: bool) -> dict[str, Any]:
    """Return the recipe keys that `use_ray` needs beside it.

    Raises ConfigError for a number of workers that is not the ranks of the global batch, and on a CPU: axolotl tells
    Ray that its workers have GPUs (axolotl/cli/train.py, `use_gpu=True`), so without any Ray waits for one for ever.
    """
    if not gpu:
        raise ConfigError(
            "use_ray needs GPUs: axolotl asks Ray for workers with one each, and Ray waits until there are",
            where="key sft.use_ray; axolotl/cli/train.py, ScalingConfig(use_gpu=True)",
            fix="leave it out to train on a CPU, or say --gpus N",
            code="config.needs_gpu",
        )
    workers = given.get("ray_num_workers", ranks)
    if workers != ranks:
        raise ConfigError(
            f"ray_num_workers is {workers}, and the global batch is cut for {ranks} GPUs",
            where="key sft.ray_num_workers",
            fix="leave it out, and say --gpus N (of each machine) and --nodes M",
            code="config.wrong_value",
        )
    # Ray keeps its own state in a folder of that name in output_dir; where none is given, in a new one each time.
    return {"ray_num_workers": ranks, "ray_run_name": given.get("ray_run_name") or run}


def started(stage: Stage, launch: Launch) -> Stage:
    """Return the training with axolotl's driver in the launcher's place, and what its workers need around them.

    Ray's temporary folder stays its own: a socket's path is 107 bytes at most, and a run's folder may be longer. Its
    dashboard listens on 127.0.0.1 unless whoever started Ray said otherwise.
    """
    # A Ray that was there before has an environment of its own; each worker's devices are Ray's to choose.
    workers = {**QUIET_OFFLINE, **stage.env, "PYTHONPATH": f"{stage.env['PYTHONPATH']}{os.pathsep}${{PYTHONPATH}}"}
    del workers["CUDA_VISIBLE_DEVICES"]
    job = json.dumps({"runtime_env": {"env_vars": workers}})
    words = stage.argv[stage.argv.index("axolotl.cli.train") - 1 :]
    files = {path: file for path, file in stage.files.items() if file != launch.config()}
    return replace(stage, argv=(stage.argv[0], *words), files=files, env={**stage.env, _JOB: job}, nodes=1)
