"""Every shape by the name that stands in `schema`."""

from __future__ import annotations

from alphaf_orch.cli.outputs import machine, plans, runs, scores, watch

SHAPES: dict[str, type] = {
    "ablation": scores.Ablation,
    "attach": runs.Attach,
    "bakeoff": scores.Bakeoff,
    "board": runs.Board,
    "bundle": plans.Bundle,
    "cancel": runs.Cancel,
    "clean": runs.Clean,
    "detached": runs.Detached,
    "detect": scores.Detect,
    "doctor": machine.Doctor,
    "error": machine.Error,
    "estimate": plans.Estimate,
    "eval": scores.Eval,
    "eval-plan": plans.EvalPlan,
    "experiment": runs.Experiment,
    "experiment-plan": plans.ExperimentPlan,
    "init": machine.Init,
    "jobs": plans.Jobs,
    "judge": scores.Judge,
    "judge-plan": plans.JudgePlan,
    "judge-votes": scores.JudgeVotes,
    "logs": runs.Logs,
    "models": machine.Models,
    "notify": runs.Notify,
    "plan": plans.Plan,
    "repair": runs.Repair,
    "report": runs.Report,
    "run": runs.Run,
    "runs": runs.Runs,
    "submission": plans.Submission,
    "schemas": machine.Schemas,
    "sweep": scores.Sweep,
    "sweep-plan": plans.SweepPlan,
    "tasks": scores.Tasks,
    "verify": runs.Verify,
    "watch": watch.Watch,
}
