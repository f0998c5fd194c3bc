"""Each stage as a frozen value: its program, the files it reads, what it leaves behind, what it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core.command import CHILD_PATH, PROGRAM_ENV, program
from alphaf_orch.core.nodes import Node
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.render import Rendered, plain
from alphaf_orch.settings.config import Tool
from alphaf_orch.settings.trackers import tracker_env

Section = Literal["sft", "dpo"]
SECTIONS: tuple[Section, ...] = ("sft", "dpo")
# `prepare` is shared by all runs, and the plan is made anew behind it; `ask` is no part of a run's chain.
Kind = Literal["prepare", "data", "tokenise", "train", "merge", "ask"]
# What each stage of a run is, and which training it is for, in the order of the chain: the one place of their names.
_STAGES: Mapping[str, tuple[Kind, Section | None]] = {
    "base_model": ("prepare", None),
    "fetch_data": ("prepare", "sft"),
    "fetch_dpo_data": ("prepare", "dpo"),
    "fetch_partners": ("prepare", None),
    "data": ("data", "sft"),
    "preprocess": ("tokenise", "sft"),
    "sft": ("train", "sft"),
    "merge_sft": ("merge", "sft"),
    "dpo_data": ("data", "dpo"),
    "dpo": ("train", "dpo"),
    "merge_dpo": ("merge", "dpo"),
    "merge_models": ("merge", None),
}
STAGE_ORDER = tuple(_STAGES)
MERGES = tuple(name for name, (kind, _) in _STAGES.items() if kind == "merge")


def stage_name(kind: Kind, section: Section | None = None) -> str:
    """Return the name of the stage of that kind for a training; `merge` for none is the merge with other models."""
    return next(name for name, role in _STAGES.items() if role == (kind, section))


MERGE_MODELS = stage_name("merge")


@dataclass(frozen=True)
class Stage:
    """One process; `spec` is what its result depends on, apart from where it lies and how fast it runs."""

    name: str
    tool: Tool
    argv: tuple[str, ...]
    files: Mapping[Path, Rendered]
    outputs: tuple[Path, ...]
    spec: Mapping[str, Any]
    env: Mapping[str, str] = field(default_factory=dict)
    version: int = 1
    online: bool = False
    processes: int = 1  # of all machines
    nodes: int = 1  # machines that it is spread over
    clear_first: tuple[Path, ...] = ()  # ours, and half-written: the program would take it for whole
    written_last: tuple[Path, ...] = ()  # at the program's very end, so that they tell of it

    @property
    def kind(self) -> Kind:
        """What the stage does; manifests hold only its name."""
        return _STAGES.get(self.name, ("ask", None))[0]

    @property
    def section(self) -> Section | None:
        """The training that it is for, None for all of them."""
        return _STAGES.get(self.name, ("ask", None))[1]

    @property
    def checkpoints(self) -> Path | None:
        """The folder whose newest whole checkpoint the stage goes on from; None where it can only begin anew."""
        return self.outputs[0] if self.kind == "train" else None

    @property
    def own_file(self) -> Rendered | None:
        """The file that is named after the stage, None where it reads another one's or none."""
        return next((file for path, file in self.files.items() if path.name == f"{self.name}.yaml"), None)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of stage name, version and spec; equal fingerprints mean equal results are expected."""
        return fingerprint([self.name, self.version, self.spec])


# torchrun's own port, and what accelerate takes where none is given (accelerate/utils/launch.py:211).
PORT = 29500


@dataclass(frozen=True)
class Launch:
    """How many processes a training stage gets on each machine, on which devices, with how many threads each."""

    gpus: int  # of this machine, and of each other one
    cpus: int
    mixed_precision: str
    visible: tuple[str, ...] = ()
    # axolotl tells accelerate of it from the recipe, in each rank (axolotl/utils/trainer.py:664): nothing else says it.
    engine: str = "ddp"
    nodes: int = 1
    node: Node = field(default_factory=Node)

    @property
    def local_processes(self) -> int:
        """One process a GPU; one on CPU, where axolotl's DDP does not work."""
        return max(1, self.gpus)

    @property
    def processes(self) -> int:
        """The processes of all machines: accelerate divides them by the machines again."""
        return self.local_processes * self.nodes

    @property
    def _port(self) -> int:
        """Return where rank 0 listens; on one machine 0, a free one: on several each would take another."""
        return self.node.port if self.nodes == 1 else self.node.port or PORT

    def argv(self, python: str, config_file: Path) -> tuple[str, ...]:
        """Return `accelerate launch` with every option given, so that no default config file can change it."""
        common = (
            python, "-m", "accelerate.commands.accelerate_cli", "launch",
            "--config_file", str(config_file),
            "--num_processes", str(self.processes),
            "--num_machines", str(self.nodes),
            "--machine_rank", str(self.node.rank),
            "--mixed_precision", self.mixed_precision,
            "--dynamo_backend", "no",
            "--num_cpu_threads_per_process", str(max(1, self.cpus // self.local_processes)),
        )  # fmt: skip
        if not self.gpus:
            return (*common, "--cpu")
        if self.processes == 1:
            return (*common, "--gpu_ids", "all")
        return (
            *common, "--multi_gpu", "--gpu_ids", "all", "--rdzv_backend", "static", "--same_network",
            "--main_process_ip", self.node.address, "--main_process_port", str(self._port),
        )  # fmt: skip

    def config(self) -> Rendered:
        """Return accelerate's config file: named on the command line, it keeps any default one from being read."""
        meeting = {"main_process_ip": self.node.address, "main_process_port": self._port} if self.nodes > 1 else {}
        return plain(
            {
                "compute_environment": "LOCAL_MACHINE",
                "distributed_type": "MULTI_GPU" if self.processes > 1 else "NO",
                "num_processes": self.processes,
                "num_machines": self.nodes,
                "machine_rank": self.node.rank,
                **meeting,
                "mixed_precision": self.mixed_precision,
                "use_cpu": self.gpus == 0,
                "debug": False,
            }
        )

    def env(self) -> dict[str, str]:
        """Return the devices to see: one process that sees eight would use them all, by DataParallel."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.visible[: self.gpus])}


def plugin_env(paths: RunPaths, stage: str) -> dict[str, str]:
    """Return where the trainers find our callback and where it writes."""
    return {
        **CHILD_PATH,
        "ALPHAF_METRICS": str(paths.metrics(stage)),
        "ALPHAF_BATCHES": str(paths.batches(stage)),
        "UNSLOTH_COMPILE_LOCATION": str(paths.scratch("unsloth_compiled_cache")),
    }


def data_stage(name: str, python: str, paths: RunPaths, config: Rendered, spec: Mapping[str, Any]) -> Stage:
    """Return the stage that counts rows and tokens and writes sample conversations for the contract."""
    file = paths.rendered(f"{name}.yaml")
    return Stage(
        name,
        "axolotl",
        program(python, "training.data_stats", str(file)),
        {file: config},
        (paths.report(name), paths.probe(name)),
        spec,
        PROGRAM_ENV,
    )


def preprocess_stage(
    python: str, paths: RunPaths, recipe: Rendered, spec: Mapping[str, Any], named: Mapping[Path, Rendered]
) -> Stage:
    """Return the stage that tokenises once, so that no rank waits for another; `named` are the recipe's other files."""
    file, prepared = paths.rendered("sft.yaml"), Path(recipe.values["dataset_prepared_path"])
    return Stage(
        stage_name("tokenise", "sft"),
        "axolotl",
        # Its defaults would load the weights, "to have them downloaded", and print a row of the data into the log.
        program(python, "training.preprocess", str(file), "--download=False", "--debug_num_examples=0"),
        {file: recipe, **named},
        (prepared,),
        spec,
        CHILD_PATH,  # not PROGRAM_ENV: a recipe's own plugins are found in the folder that `alphaf` is called in
        clear_first=(prepared,),
    )


def sft_stage(
    python: str,
    paths: RunPaths,
    launch: Launch,
    recipe: Rendered,
    spec: Mapping[str, Any],
    named: Mapping[Path, Rendered],
) -> Stage:
    """Return the stage in which axolotl trains."""
    file, accelerate_file = paths.rendered("sft.yaml"), paths.rendered("accelerate_sft.yaml")
    return Stage(
        "sft",
        "axolotl",
        (*launch.argv(python, accelerate_file), "-m", "axolotl.cli.train", str(file)),
        {file: recipe, accelerate_file: launch.config(), **named},
        (paths.adapter("sft"),),
        spec,
        {**plugin_env(paths, "sft"), **tracker_env(recipe.values, paths, "sft"), **launch.env()},
        processes=launch.processes,
        nodes=launch.nodes,
    )


def merge_stage(
    section: Section,
    python: str,
    paths: RunPaths,
    config: Rendered,
    contract: Rendered,
    spec: Mapping[str, Any],
    merged: Path,
) -> Stage:
    """Return the stage that merges a trainer's adapter and checks the hand-off contract."""
    name = stage_name("merge", section)
    config_file, contract_file = paths.rendered(f"{name}.yaml"), paths.rendered(f"{name}_contract.yaml")
    return Stage(
        name,
        "axolotl",
        program(python, "merging.merge_adapter", "--config", str(config_file), "--contract", str(contract_file)),
        {config_file: config, contract_file: contract},
        (merged,),
        spec,
        PROGRAM_ENV,
        # Full fine-tuning is merged already: the folder is the training's.
        written_last=(merged, paths.report(name)) if merged == paths.merged(section) else (),
    )


def merge_models_stage(
    python: str, paths: RunPaths, recipe: Rendered, config: Rendered, contract: Rendered, spec: Mapping[str, Any]
) -> Stage:
    """Return the stage in which mergekit merges whole models and the hand-off contract is checked again."""
    recipe_file, config_file = paths.rendered("merge_models.yaml"), paths.rendered("mergekit.yaml")
    contract_file = paths.rendered("merge_models_contract.yaml")
    return Stage(
        MERGE_MODELS,
        "mergekit",
        program(
            python, "merging.merge_models",
            "--config", str(recipe_file), "--mergekit", str(config_file), "--contract", str(contract_file),
        ),
        {recipe_file: recipe, config_file: config, contract_file: contract},
        (paths.merged_models,),
        spec,
        # mergekit goes through sets of models: their order, and so that of its random draws, must not change.
        {**PROGRAM_ENV, "PYTHONHASHSEED": "0"},
        written_last=(paths.merged_models, paths.report(MERGE_MODELS)),
    )  # fmt: skip


def dpo_stage(python: str, paths: RunPaths, launch: Launch, recipe: Rendered, spec: Mapping[str, Any]) -> Stage:
    """Return the stage in which the DPO program trains; on one device it is started plainly."""
    file = paths.rendered("dpo.yaml")
    argv = program(python, "training.dpo", str(file))
    files = {file: recipe}
    if launch.processes > 1:
        accelerate_file = paths.rendered("accelerate_dpo.yaml")
        argv = (*launch.argv(python, accelerate_file), *argv[1:])
        files[accelerate_file] = launch.config()
    return Stage(
        "dpo",
        "dpo",
        argv,
        files,
        (paths.adapter("dpo"),),
        spec,
        {**PROGRAM_ENV, **plugin_env(paths, "dpo"), **tracker_env(recipe.values, paths, "dpo"), **launch.env()},
        processes=launch.processes,
        written_last=(paths.adapter("dpo") / "trainer_state.json",),
    )
