"""Where everything lies: the files of one run, the cache, the shipped and the user's templates."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.core.asked_paths import AskedPaths
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.names import expanded, real

PACKAGE = Path(__file__).resolve().parents[1]
CHILD = PACKAGE / "_child"  # on the PYTHONPATH of child programs: this package under its own name, and `scoring`
PROGRAMS = PACKAGE / "programs"
SCHEMAS = PACKAGE / "schemas"
EXPERIMENT_FILE = "experiment.json"  # marks a folder whose subfolders are the arms of one experiment


def runs_dir() -> Path:
    """Return the folder of all runs: ALPHAF_RUNS, else ./runs."""
    return real(expanded(os.environ.get("ALPHAF_RUNS") or "runs"))


def cache_dir() -> Path:
    """Return the folder of converted base models: ALPHAF_CACHE, else the user's cache folder."""
    if "ALPHAF_CACHE" in os.environ:
        return real(expanded(os.environ["ALPHAF_CACHE"]))
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return real(expanded(base)) / "alphaf_orch"


def compiled_dir() -> Path:
    """Return where torch.compile keeps what it made for our programs.

    Its own place is /tmp/torchinductor_USER, which another user may make first, and run code from it.
    """
    return cache_dir() / "torchinductor"


def template_folders(user: str | None = None) -> tuple[Path, ...]:
    """Return the template folders in the order of search: the user's (option or ALPHAF_TEMPLATES), then ours."""
    inside_wheel, checkout = PACKAGE / "templates", PACKAGE.parent / "templates"
    shipped = inside_wheel if inside_wheel.is_dir() else checkout
    chosen = user or os.environ.get("ALPHAF_TEMPLATES")
    if not chosen:
        return (shipped,)
    folder = real(expanded(chosen))
    if not folder.is_dir():
        raise ConfigError(
            f"the templates folder {chosen} does not exist",
            where="`templates` in the config, or ALPHAF_TEMPLATES",
            fix="name an existing folder; files it lacks are taken from the shipped templates",
            code="config.folder_missing",
        )
    return (folder, shipped)


def find_template(folders: tuple[Path, ...], name: str) -> Path:
    """Return the first thing called `name` in the folders; raise ConfigError where there is none.

    What is no file is told by who reads it: another folder's file in its place would not be what was meant.
    """
    for folder in folders:
        if os.path.lexists(folder / name):
            return folder / name
    raise ConfigError(
        f"there is no template {name}",
        where=", ".join(str(f) for f in folders),
        fix="reinstall alphaf_orch, or add the file to your templates folder",
        code="config.file_missing",
    )


@dataclass(frozen=True)
class RunPaths(AskedPaths):
    """Names every file of one run; but for what its models were asked (AskedPaths) nothing else builds such a path."""

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.root.name

    @property
    def full_name(self) -> str:
        """The name that a command takes the run by: of an experiment's arm with that of the experiment."""
        arm = (self.root.parent / EXPERIMENT_FILE).is_file()
        return f"{self.root.parent.name}/{self.name}" if arm else self.name

    @property
    def config(self) -> Path:
        """The resolved settings of the run."""
        return self.root / "config.yaml"

    @property
    def manifest(self) -> Path:
        """What was done, with which inputs and tools."""
        return self.root / "manifest.json"

    @property
    def experiment(self) -> Path:
        """The record that the folder has where it is an experiment's and no run's."""
        return self.root / EXPERIMENT_FILE

    def arm(self, name: str) -> RunPaths:
        """Return the paths of an arm, where the folder is an experiment's."""
        return RunPaths(self.root / name)

    @property
    def lock(self) -> Path:
        """Held by the process that works on the run; what it starts bears its mark."""
        return self.root / ".lock"

    def word(self, rank: int) -> Path:
        """Return what one machine of the run last said to the others."""
        return self.root / ".nodes" / f"{rank}.json"

    def sign(self, rank: int) -> Path:
        """Return the file that changes as long as `alphaf` lives on that machine."""
        return self.root / ".nodes" / f"{rank}.alive"

    def node_lock(self, rank: int) -> Path:
        """Held by the `alphaf` of one machine of the run."""
        return self.root / ".nodes" / f"{rank}.lock"

    @property
    def jobs(self) -> Path:
        """What was handed to a scheduler: scripts, records, and what the jobs printed outside of our logs."""
        return self.root / "jobs"

    @property
    def submission_lock(self) -> Path:
        """Held by the process that submits the run's jobs."""
        return self.jobs / ".lock"

    def job(self, name: str) -> Path:
        """Return the record of a job that was submitted."""
        return self.jobs / f"{name}.json"

    def all_jobs(self) -> list[Path]:
        """Return every such record there is, in the order of the names."""
        return sorted(self.jobs.glob("*.json"))

    def job_events(self, name: str) -> Path:
        """Return what a job wrote down of itself, one JSON object a line."""
        return self.jobs / f"{name}.events.jsonl"

    def job_script(self, name: str, suffix: str) -> Path:
        """Return the file that the scheduler was given: `sft.sbatch`, `sft.sky.yaml`."""
        return self.jobs / f"{name}.{suffix}"

    def job_output(self, name: str) -> Path:
        """Return what the scheduler keeps of what a job prints."""
        return self.jobs / f"{name}.out"

    @property
    def stop_wish(self) -> Path:
        """Somebody's wish that whoever works on the run stops (core.stop)."""
        return self.root / ".stop"

    def rendered(self, name: str) -> Path:
        """Return the file a stage's tool reads."""
        return self.root / "rendered" / name

    def all_rendered(self) -> list[Path]:
        """Return every such file there is, in the order of the names."""
        return sorted((self.root / "rendered").glob("*.yaml"))

    def log(self, stage: str) -> Path:
        """Return the log of a stage."""
        return self.root / "logs" / f"{stage}.log"

    def all_logs(self) -> list[Path]:
        """Return every log there is, in the order of the names."""
        return sorted((self.root / "logs").glob("*.log"))

    def metrics(self, stage: str) -> Path:
        """Return the metrics of a stage, one JSON object a line."""
        return self.root / "metrics" / f"{stage}.jsonl"

    def batches(self, stage: str) -> Path:
        """Return what a training stage saw at each step, one JSON object a line."""
        return self.root / "metrics" / f"{stage}.batches.jsonl"

    def report(self, stage: str) -> Path:
        """Return what a stage found out: data statistics, or the hand-off contract."""
        return self.root / "reports" / f"{stage}.json"

    def sums(self, stage: str) -> Path:
        """Return what is known of the files that a stage wrote: sizes and hashes, taken when it ended."""
        return self.root / "sums" / f"{stage}.json"

    @property
    def damaged(self) -> Path:
        """What was set aside because it was damaged, a folder each."""
        return self.root / "damaged"

    def file(self, name: str) -> Path:
        """Return a file by its name within the run, as `sums` keeps it."""
        return self.root / name

    def set_aside(self, stage: str) -> Path:
        """Return a folder that is not there yet, for the damaged files of a stage that is made anew."""
        folder = self.damaged
        names = itertools.chain([stage], (f"{stage}-{n}" for n in itertools.count(2)))
        return next(folder / name for name in names if not (folder / name).exists())

    def set_aside_of(self, folder: Path) -> str:
        """Return the stage of such a folder; of one of `alphaf repair`, which has a date for its name, no stage's."""
        return re.sub(r"-\d+$", "", folder.name)

    def all_reports(self) -> list[Path]:
        """Return every such report there is, in the order of the names."""
        return sorted((self.root / "reports").glob("*.json"))

    def probe(self, stage: str) -> Path:
        """Return sample conversations (and, from DPO, the ids trained on) that the contract renders again."""
        return self.root / "probes" / f"{stage}.jsonl"

    @property
    def prepared(self) -> Path:
        """The tokenised data of axolotl."""
        return self.root / "prepared"

    def adapter(self, trainer: str) -> Path:
        """Return the output_dir of a training stage: adapter, tokenizer, checkpoints."""
        return self.root / trainer

    def merged(self, trainer: str) -> Path:
        """Return the merged model of a training stage."""
        return self.root / trainer / "merged"

    @property
    def merged_models(self) -> Path:
        """The model that the run's own was merged into with its partners."""
        return self.root / "merged"

    def model(self, stage: str, *, full: bool) -> Path:
        """Return the finished model of a stage of the chain; full fine-tuning of SFT leaves it where it trained."""
        if stage == "merged":
            return self.merged_models
        return self.adapter(stage) if full and stage == "sft" else self.merged(stage)

    @property
    def sweep(self) -> RunPaths:
        """Where the run's sweeps keep their scores and, below it, their candidates."""
        return RunPaths(self.root / "sweep")

    def candidate(self, name: str) -> RunPaths:
        """Return the paths of one merge of a sweep."""
        return RunPaths(self.sweep.root / name)

    @property
    def trackers(self) -> Path:
        """What experiment trackers keep, a folder each."""
        return self.root / "trackers"

    @property
    def unfinished(self) -> Path:
        """What is not finished, a folder a stage; safe to delete while nothing runs."""
        return self.root / ".partial"

    def scratch(self, stage: str) -> Path:
        """Return a folder for what is not finished; safe to delete."""
        return self.unfinished / stage

    @property
    def html_report(self) -> Path:
        """The report as one self-contained page."""
        return self.root / "report.html"

    def comparison_page(self, other: RunPaths) -> Path:
        """Return the page that compares the run with another one."""
        return self.root / f"compare-{other.name}.html"

    def counterpart(self, path: Path, other: RunPaths) -> Path:
        """Return where this run has what lies at `path` in another one."""
        return self.root / path.relative_to(other.root)
