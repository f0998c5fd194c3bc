"""The JSON schema of a benchmark task, or of a group of them: lm-eval's keys, and what is checked of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alphaf_orch.core.json_schema import Schema, described, one_of
from alphaf_orch.evaluation.tasks.metrics import aggregations, metrics
from alphaf_orch.evaluation.tasks.task_yaml import NEEDED, OUTPUT_TYPES, legal_keys

_TEXT, _TEXTS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
_NULL: Schema = {"type": "null"}
_NAMES: Schema = {"anyOf": [_TEXT, _TEXTS]}
# Looser than ours: to an editor's regular expressions no letter of Hangul is one of a word.
_NAME = r"^[^\s,/.+-][^\s,/]{0,119}$"
_FILES: Schema = {"anyOf": [*_NAMES["anyOf"], {"type": "object", "additionalProperties": _NAMES}]}
# What lm-eval's own documents say of its keys, in short (docs/task_guide.md there), and of those under metadata ours.
_ABOUT = {
    "task": "The task's name; in a group the names of its tasks.",
    "group": "The suite's name.",
    "tag": "The suite or the suites that the task is in.",
    "include": "Another YAML, or several, whose keys hold where this one says nothing.",
    "dataset_path": "A hub data set, a folder, or the format of the files that dataset_kwargs names (json, csv, ...).",
    "dataset_name": "The configuration of a hub data set.",
    "dataset_kwargs": "data_files: the files of each split, relative to this YAML; revision: a hub data set's commit.",
    "test_split": "The split whose rows the model is asked.",
    "validation_split": "The split that is asked where there is no test_split.",
    "fewshot_split": "The split that examples are taken from.",
    "num_fewshot": "How many examples stand before each question.",
    "output_type": "How the model answers: in text (generate_until), or by the likelihood of options.",
    "description": "What goes into the system turn, a jinja template of the row.",
    "doc_to_text": "The question, a jinja template of the row: {{question}}.",
    "doc_to_target": "The right answer, or its number among the options.",
    "doc_to_choice": "The options of multiple_choice: a list, or a template that makes one.",
    "process_docs": "!function FILE.NAME, which makes the rows that the templates see.",
    "process_results": "!function FILE.NAME, which returns the metrics of one row.",
    "generation_kwargs": "How answers are generated: until, do_sample, max_gen_toks.",
    "filter_list": "What is taken out of an answer before it is scored.",
    "metric_list": "The metrics with how they are aggregated: metric, aggregation, higher_is_better.",
    "metadata": "version, title_ko, title_en, main_metric, suite_title_ko, cluster, rows: for reports and statistics.",
}


def task_schema() -> Schema:
    """Return the schema of a YAML of `eval/`: a task, a file that others include, or a group of tasks."""
    keys = legal_keys()
    group = {"required": ["task"], "properties": {"task": {"type": "array"}}}
    return {
        "type": "object",
        "properties": {key: described(_kind(key), _ABOUT.get(key, "")) for key in (*keys["task"], *keys["group"])},
        "if": group,
        "then": {"required": ["group"], **_only(keys["group"])},
        "else": {"allOf": [_only(keys["task"]), _whole()]},
    }


def _kind(key: str) -> Schema:
    kinds: dict[str, Schema] = {
        "task": {"anyOf": [{"type": "string", "pattern": _NAME}, _TEXTS]},
        "group": {"type": "string", "pattern": _NAME},
        "include": _NAMES,
        "dataset_path": {"type": ["string", "null"]},
        "dataset_kwargs": {"type": ["object", "null"], "properties": {"data_files": _FILES}},
        "output_type": one_of(OUTPUT_TYPES),
        "metadata": {"type": ["object", "null"], "properties": {"cluster": {"anyOf": [*_NAMES["anyOf"], _NULL]}}},
        "metric_list": {"anyOf": [{"type": "array", "minItems": 1, "items": _metric()}, _NULL]},
    }  # fmt: skip
    return kinds.get(key, {})


def _metric() -> Schema:
    """Return the schema of one entry of metric_list; an editor sees a `!function` as the text behind it."""
    return {
        "type": "object",
        "required": ["metric"],
        "properties": {
            "metric": {"type": "string", "examples": list(metrics())},
            "aggregation": {"type": "string", "examples": list(aggregations())},
        },
    }


def _only(keys: Sequence[str]) -> Schema:
    return {"properties": dict.fromkeys(keys, True), "additionalProperties": False}


def _whole() -> Schema:
    """Return what a task has that includes nothing; a file that is there to be included names no task."""
    alone: dict[str, Any] = {"required": ["task"], "not": {"required": ["include"]}}
    scored_here = {"properties": {"process_results": False, "metric_list": {"items": _known_metric()}}}
    options = {
        "if": {"required": ["output_type"], "properties": {"output_type": {"const": "multiple_choice"}}},
        "then": {"required": ["doc_to_choice"]},
    }
    rows = {"anyOf": [{"required": ["dataset_path"]}, {"required": ["custom_dataset"]}]}
    split = {"anyOf": [{"required": ["test_split"]}, {"required": ["validation_split"]}]}
    scored = {"if": {"not": {"required": ["process_results"]}}, "then": scored_here}
    return {"if": alone, "then": {"required": list(NEEDED), "allOf": [rows, split, options, scored]}}


def _known_metric() -> Schema:
    elsewhere = {"required": ["hf_evaluate"], "properties": {"hf_evaluate": {"const": True}}}
    return {
        "if": {"not": elsewhere},
        "then": {"properties": {"metric": {"anyOf": [one_of(metrics()), {"pattern": r"\."}]}}},
    }
