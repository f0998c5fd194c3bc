"""The JSON schema of a model preset: its own type, with what recipes and merges take inside it."""

from __future__ import annotations

from alphaf_orch.core.json_schema import Schema, described, of_model
from alphaf_orch.inputs.presets import ModelPreset
from alphaf_orch.settings.schema import merge_schema, recipe_schema


def preset_schema() -> Schema:
    """Return the schema of a file of `models/` in a templates folder."""
    schema = of_model(ModelPreset)
    properties = schema["properties"]
    inner = {"sft": recipe_schema("sft"), "dpo": recipe_schema("dpo"), "merge": merge_schema()}
    for name, part in inner.items():
        properties[name] = described(part, properties[name]["description"])
    return schema
