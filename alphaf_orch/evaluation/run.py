"""Runs an evaluation: what is known is kept, the rest is asked, judged from its files, recorded and cached."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from alphaf_orch.core.cached import data_cache
from alphaf_orch.core.command import Finished
from alphaf_orch.core.errors import interruptible
from alphaf_orch.core.lock import held
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import now, required_json
from alphaf_orch.evaluation import cache as eval_cache
from alphaf_orch.evaluation.checks import cut_prompts
from alphaf_orch.evaluation.clusters import refreshed
from alphaf_orch.evaluation.lm_eval_output import read_output
from alphaf_orch.evaluation.options import SERVERS, served_model
from alphaf_orch.evaluation.progress import EvalLine
from alphaf_orch.evaluation.record import Ended, make_results
from alphaf_orch.evaluation.request import (
    Evaluation,
    Results,
    Work,
    known_results,
    pending_work,
    require_server_packages,
)
from alphaf_orch.inputs.identity import EARLIER
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.damage import refuse_model
from alphaf_orch.runs.launch import failure, launch
from alphaf_orch.runs.machine.require import Wanted, require_gpus
from alphaf_orch.runs.reference import trained_systems
from alphaf_orch.runs.run_date import date_env
from alphaf_orch.runs.warm import begin_imports
from alphaf_orch.scores.results import TaskResult

_AGAIN = "the same command goes on from the answers that are there"


class Evaluator:
    """Runs the processes of one evaluation while its lock is held."""

    def __init__(self, evaluation: Evaluation, console: Console, lock_fd: int, *, verbose: bool) -> None:
        self._evaluation, self._console, self._lock_fd, self._verbose = evaluation, console, lock_fd, verbose
        self._place, self._paths = evaluation.place, evaluation.place.paths

    def run(self, known: Results) -> None:
        """Add to `known` whatever is missing there: from the cache of all runs, else by asking the models."""
        old = [cell for cell in self._evaluation.cells if eval_cache.disbelieved(self._paths, cell)]
        for stage in dict.fromkeys(cell.model.stage for cell in old):
            self._say(f"eval_{stage}: the scores kept may be another model's, asked again: {EARLIER}")
        for cell in self._evaluation.cells:
            wrong = eval_cache.damage(self._paths, cell) if cell.task.name not in known[cell.model.stage] else None
            if wrong:
                self._say(f"eval_{cell.model.stage}: {wrong.what}; set aside")
        self._bring_shared(known)
        work = pending_work(self._evaluation, known)
        if work and self._place.target.backend in SERVERS:
            require_server_packages(self._place.python)
            served_model(self._place.target)
        target, place = self._place.target, self._place
        if any(item.cells for item in work) and target.backend == "hf" and target.gpus:
            require_gpus(place.python, Wanted(target.gpus), place.machine, self._evaluation.versions)
        for path in {item.cells[0].model.path for item in work if item.cells}:
            with interruptible("eval", self._paths.root, _AGAIN):  # a large model is read for seconds
                refuse_model(Path(path), "use")
        begin_imports(item.stage for item in work)
        facts: dict[str, Any] = {}
        for item in work:
            with interruptible(item.stage.name, self._paths.root, _AGAIN):
                if item.cells:
                    known[item.cells[0].model.stage] |= self._ask(item, facts)
                else:
                    facts = self._look_at_tokenizers(item.stage)
        shutil.rmtree(self._place.scratch, ignore_errors=True)

    def _bring_shared(self, known: Results) -> None:
        for cell in self._evaluation.cells:
            stage, task = cell.model.stage, cell.task
            if task.name in known[stage]:
                continue
            result = eval_cache.bring(self._paths, cell, self._evaluation.suite(task))
            if result:
                known[stage][task.name] = result
                self._say(f"eval_{stage}: {task.name} is known from an earlier evaluation, kept")

    def _look_at_tokenizers(self, stage: Stage) -> dict[str, Any]:
        """Return how each model is to be asked; raise StageError with the program's own words where it cannot be."""
        report, log = self._place.tokenizer_report(), self._paths.log(stage.name)
        report.unlink(missing_ok=True)
        report.parent.mkdir(parents=True, exist_ok=True)
        self._launch(stage, "template and special tokens")
        if not report.is_file():
            raise failure(
                "the models cannot be asked as they were trained", log, "mend the cause and run the same command"
            )
        return dict(required_json(report)["stages"])

    def _ask(self, work: Work, facts: Mapping[str, Any]) -> dict[str, TaskResult]:
        """Return one model's scores, kept in the run and the shared cache; raise StageError where they are wrong."""
        stage, cells, model = work.stage, work.cells, work.cells[0].model
        output, log = self._place.output(model.stage), self._paths.log(stage.name)
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        # lm-eval must not meet a task of an earlier evaluation on its include_path.
        shutil.rmtree(self._paths.rendered(stage.name), ignore_errors=True)
        started = now()
        finished = self._launch(stage, self._what(work))
        found = read_output(output)
        if found is None:
            killed = " by the kernel's out-of-memory killer" if finished.exit_code == -9 else ""
            raise failure(
                f"{stage.name} ended{killed} without results (exit code {finished.exit_code})",
                log,
                f"mend the cause (out of memory: a smaller --batch-size); {_AGAIN}",
            )
        asked = facts.get(model.stage)
        warnings = [*(asked["warnings"] if asked else ()), *cut_prompts(log)]
        ended = Ended(stage, found, asked, warnings, started, finished.seconds, self._evaluation.versions)
        suites = {cell.task.name: self._evaluation.suite(cell.task) for cell in cells}
        made = make_results(self._place, cells, suites, ended, trained_systems(self._paths.probe("data")))
        # Nothing is kept before all of the process proved right.
        for cell, (result, samples) in zip(cells, made, strict=True):
            eval_cache.store(self._paths, cell, result, samples)
        shutil.rmtree(output.parent)
        self._say(f"{stage.name}: done in {finished.seconds:.0f} s")
        return {result.task: result for result, _ in made}

    def _launch(self, stage: Stage, what: str) -> Finished:
        """Run the process to its end; whether it did its work is for its files to say."""
        line = EvalLine(self._console, stage.name, what, self._paths.log(stage.name), verbose=self._verbose)
        env = {**stage.env, **date_env(self._paths), **data_cache()}
        return launch(stage.argv, line, self._lock_fd, env=env, files=stage.files)

    def _what(self, work: Work) -> str:
        target, count = self._place.target, len(work.cells)
        where = f"server {target.server}" if target.server else f"{target.gpus} GPU(s)" if target.gpus else "CPU"
        config = work.stage.files[self._paths.rendered(f"{work.stage.name}.yaml")].values
        batch = "" if target.server else f", batch {config['batch_size']}"
        return f"{count} task(s) by {target.backend} on {where}{batch}"

    def _say(self, text: str) -> None:
        tell(self._console, text)


def evaluate(evaluation: Evaluation, console: Console, *, verbose: bool) -> Results:
    """Return the scores of every model on every task; asks only for what neither this run nor another one knows."""
    paths = evaluation.place.paths
    known = known_results(evaluation)
    if sum(map(len, known.values())) == len(evaluation.cells):
        tell(console, f"eval: nothing to do, all scores are in {paths.evaluations}")
    else:
        what = f"the evaluation of run {paths.full_name}"
        with held(paths.eval_lock, what, heed=paths.stop_wish) as lock_fd:
            # Another call may have ended between the first look and the lock.
            known = known_results(evaluation)
            Evaluator(evaluation, console, lock_fd, verbose=verbose).run(known)
    for cell in evaluation.cells:
        stage, task = cell.model.stage, cell.task.name
        known[stage][task] = refreshed(paths, cell, known[stage][task])
    names = [task.name for task in evaluation.tasks]
    return {stage: {name: results[name] for name in names} for stage, results in known.items()}
