"""Whether Ray is installed where it is to start a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alphaf_orch.core.errors import ToolError
from alphaf_orch.planning.stages import Stage


def check_ray(pending: Sequence[Stage], versions: Mapping[str, Mapping[str, str]]) -> None:
    """Raise ToolError where a stage still to run is Ray's and Ray is not in its environment."""
    for stage in pending:
        recipe = stage.own_file.values if stage.kind == "train" and stage.own_file else {}
        if recipe.get("use_ray") and "ray" not in versions[stage.argv[0]]:
            raise ToolError(
                "the recipe has use_ray and ray is not installed",
                where=stage.argv[0],
                fix="install 'alphaf-orch[ray]' there, or leave use_ray out",
                code="tool.not_installed",
            )
