"""A run with everything settled that the disk decides: what its plan is made from, and what the run remembers of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.nodes import Node
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.inputs import presets, sources
from alphaf_orch.inputs.chat_templates import ChatTemplate
from alphaf_orch.planning import engines, recipes
from alphaf_orch.planning.base import BaseModelRef, tool_python
from alphaf_orch.planning.merge_inputs import MergeInputs
from alphaf_orch.planning.stages import SECTIONS, Section
from alphaf_orch.settings.config import RunConfig, Tool


@dataclass(frozen=True)
class Scope:
    """Which half is planned, and what may be missing: a dry run needs no weights, no data sets of the hub."""

    sections: tuple[Section, ...] = SECTIONS
    online: bool = False
    dry: bool = False
    upstream: str = ""  # the recorded fingerprint of what is started from, where DPO or the merge alone is planned
    merge: bool = False  # whether whole models are merged at the end, if the settings name a partner
    merge_alone: Section | None = None  # the section whose finished model is merged, where nothing else is planned


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A run with all that is read from the disk for its plan; plans are made from it alone, as often as is wanted."""

    config: RunConfig  # what was said, now or when the run began; what came of it stands below
    scope: Scope
    machine: Machine
    paths: RunPaths
    folders: tuple[Path, ...]  # of templates: their texts are the renderer's to read
    preset: presets.ModelPreset
    gpus: Mapping[Section, int]  # of each machine
    node: Node  # this machine, of those that SFT is spread over
    remote_code: bool
    base: BaseModelRef | None  # None where neither SFT nor the merge asks for it
    data: Mapping[Section, tuple[sources.Source, ...]]
    content: tuple[Any, ...]  # what identifies the rows of SFT
    template: ChatTemplate | None = None  # with which SFT trains, or trained; None where it can't be known yet
    merge: MergeInputs | None = None
    engine: engines.Engine = engines.DDP  # of SFT; DPO's is always DDP
    laid: engines.Laid = field(default_factory=engines.Laid)  # what that adds to the recipe of SFT

    @property
    def remembered(self) -> RunConfig:
        """The settings as the run keeps them: going on with it, it is asked for the same devices and base."""
        update: dict[str, Any] = {"gpus": self.gpus["sft"], "dpo_gpus": self.gpus["dpo"]}
        if "sft" in self.scope.sections and self.base and self.base.identity:
            update["base_revision"] = self.base.identity
        return self.config.model_copy(update=update)

    @property
    def adapter(self) -> str:
        """Which SFT recipe is used: qlora, lora or full."""
        return recipes.adapter_of([("", self.preset.sft), ("", self.config.sft)])

    def nodes(self, section: Section) -> int:
        """Return the machines that a training is spread over; DPO is small enough for one."""
        return self.config.nodes if section == "sft" and self.gpus["sft"] else 1

    def ranks(self, section: Section) -> int:
        """Return the processes of a training on all its machines, the divisor of the global batch; on CPU one."""
        return max(1, self.gpus[section]) * self.nodes(section)

    def python(self, tool: Tool = "axolotl") -> str:
        """Return the python of a tool's environment."""
        return tool_python(self.config, tool)

    def model_dir(self, section: Section) -> Path:
        """Return the folder of the finished model of a training stage; full fine-tuning needs no merge."""
        return self.paths.model(section, full=self.adapter == "full")
