"""An experiment read back from its folder: what a job works on that has no command line of the user's."""

from __future__ import annotations

from typing import Any

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.experiments.experiment import Arm, Experiment, ExperimentPaths, read_record
from alphaf_orch.settings.config import build_config, read_config


def read_experiment(paths: ExperimentPaths) -> Experiment:
    """Return the experiment as it was last asked for.

    Raises RunStateError where there is none, or where the version that began it did not write down what it evaluates.
    """
    record = read_record(paths)
    if not record:
        fix = "use one of those that `alphaf runs` lists, or begin it with `alphaf ablate` or `alphaf bakeoff`"
        raise RunStateError(
            f"there is no experiment {paths.root.name}", where=str(paths.root), fix=fix, code="run.not_found"
        )
    if "sections" not in record or "evaluations" not in record:
        raise RunStateError(
            f"the record of experiment {paths.root.name} does not say what its arms were evaluated on",
            where=str(paths.record),
            fix="give the command again that began it: what is finished stays, and it writes the report too",
            code="run.record_incomplete",
        )
    known = {arm["name"]: arm for arm in record["arms"]}
    arms = tuple(_arm(paths, known[name]) for name in record["asked"] if name in known)
    evaluations = tuple(_evaluation(each) for each in record["evaluations"])
    return Experiment(record["name"], record["kind"], arms, tuple(record["sections"]), evaluations, record["request"])


def _arm(paths: ExperimentPaths, told: dict[str, Any]) -> Arm:
    file = paths.settings(told["name"])
    config = build_config(read_config(file), str(file))
    return Arm(told["name"], told["variant"], told["values"], told["seed"], config)


def _evaluation(told: dict[str, Any]) -> EvalOptions:
    known = {name: told[name] for name in EvalOptions.__dataclass_fields__ if name in told}
    made: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    return EvalOptions(**made)
