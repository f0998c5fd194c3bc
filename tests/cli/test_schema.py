"""`alphaf schema`: the schemas are of draft 2020-12, published, take what ships, refuse what readers refuse."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from golden import recorded
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from alphaf_orch.cli.schema import SCHEMAS, header, schema_text
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.json_schema import of_model
from alphaf_orch.core.paths import template_folders
from alphaf_orch.core.several import raise_all
from alphaf_orch.core.yaml_files import LOADER, parse_document
from alphaf_orch.evaluation.tasks import metrics as task_metrics
from alphaf_orch.evaluation.tasks import task_yaml
from alphaf_orch.evaluation.tasks.metrics import record as lm_eval_record
from alphaf_orch.evaluation.tasks.schema import _ABOUT, task_schema
from alphaf_orch.evaluation.tasks.written import mistakes
from alphaf_orch.inputs.presets import ModelPreset, read_preset
from alphaf_orch.judging.preset import JudgePreset
from alphaf_orch.planning import preset_schema
from alphaf_orch.settings import keys, merge, plugins
from alphaf_orch.settings import schema as settings_schema
from alphaf_orch.settings.clouds import Claim, Kubernetes, SkyPilot, Toleration
from alphaf_orch.settings.clusters import Container, Profile, Resources
from alphaf_orch.settings.config import RunConfig, build_config
from alphaf_orch.settings.notify import Notify

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = template_folders()[-1]
FOLDERS = {"preset": "models", "task": "eval", "judge": "judge", "cluster": "clusters"}
MODELS = (RunConfig, Notify, merge.MergeSettings, ModelPreset, JudgePreset, Profile, Resources, Container, SkyPilot,
          Kubernetes, Claim, Toleration)  # fmt: skip


class _Loader(LOADER):
    """Reads `!function` as an editor does: the text behind it."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema_text(name)))


def problems(name: str, values: Any) -> list[str]:
    return [
        f"{'.'.join(map(str, found.absolute_path))}: {found.message[:200]}"
        for found in validator(name).iter_errors(values)
    ]


def yaml_of(text: str) -> Any:
    return parse_document(text, "여기", loader=_Loader).values


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_of_the_draft_and_its_published_copy_is_up_to_date(name: str) -> None:
    text = schema_text(name) + "\n"
    Draft202012Validator.check_schema(json.loads(text))
    assert json.loads(text)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    place = ROOT / "docs" / "schemas" / "input" / f"{name}.schema.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    assert recorded(place, text) == text


def test_the_command_prints_the_schema_alone_and_says_the_line_that_editors_read(alphaf) -> None:  # type: ignore[no-untyped-def]
    result = alphaf("schema", "config")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["title"] == "alphaf config"
    assert "# yaml-language-server: $schema=./config.schema.json" in result.stderr
    assert header("task") == "# yaml-language-server: $schema=./task.schema.json"
    listed = alphaf("schema")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(SCHEMAS)
    assert [row["name"] for row in json.loads(alphaf("schema", "--json").stdout)["schemas"]] == list(SCHEMAS)
    wrong = alphaf("schema", "confg")
    assert wrong.exit_code == 2
    assert "'config', 'preset', 'task', 'judge', 'cluster'" in wrong.stderr


def shipped() -> Iterator[tuple[str, Path]]:
    for name, folder in FOLDERS.items():
        for path in sorted((SHIPPED / folder).rglob("*.yaml")):
            yield name, path


@pytest.mark.parametrize(("name", "path"), list(shipped()), ids=lambda value: getattr(value, "stem", None))
def test_every_shipped_yaml_is_valid(name: str, path: Path) -> None:
    assert problems(name, yaml_of(path.read_text(encoding="utf-8"))) == []


def test_the_samples_of_the_pages_are_valid() -> None:
    seen: dict[str, int] = {}
    for page in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "README.ko.md"):
        for text in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            values = yaml_of(text)
            kinds = {"scheduler": "cluster", "task": "task", "max_tokens": "judge", "special_tokens": "preset"}
            name = next((kind for key, kind in kinds.items() if key in values), "config")
            assert problems(name, values) == [], (page.name, text)
            seen[name] = seen.get(name, 0) + 1
    assert seen["config"] > 8
    assert seen["task"] >= 2
    assert seen["cluster"] >= 1


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 100, 10**7, -5, 2**33, 0.5, 0.999, 1.5, 2.5, -0.5, 1e-9, 1e12 + 0.5, "",
    "auto", "글", "no", "chatml", "tokenizer_default_fallback_chatml", "tokenizer_default_fallback_없음", "a/b",
    "qlora", "sdpa", "cosine", "adamw_torch", "bf16", [], ["a"], [5], [None], {}, {"a": "b"}, {"a": 5}, {"a": None},
)  # fmt: skip


@pytest.mark.parametrize("section", ["sft", "dpo"])
def test_a_recipe_key_takes_the_same_values_by_its_schema_as_by_its_reader(section: str) -> None:
    """Compares both on every key; 1.0 is left out, which JSON schemas take for a whole number."""
    known = keys.known_keys(section, plugins.axolotls())
    differing = []
    for key, entry in known.items():
        check = Draft202012Validator(settings_schema.entry_schema(key, entry))
        for value in VALUES:
            try:
                keys.check_key(key, value, known, "여기")
                taken = True
            except ConfigError:
                taken = False
            if check.is_valid(value) is not taken:
                differing.append((key, value, taken))
    assert differing == []


@pytest.mark.parametrize("model", MODELS)
def test_what_a_model_refuses_its_schema_refuses_and_every_key_says_what_it_is_for(model: type[BaseModel]) -> None:
    schema = of_model(model)
    check = Draft202012Validator(schema)
    assert [key for key, each in schema["properties"].items() if not each.get("description")] == []
    wrong = []
    for key in schema["properties"]:
        for value in VALUES:
            try:
                model.model_validate({key: value})
                refused = False
            except ValidationError as error:
                refused = any(found["loc"][:1] == (key,) for found in error.errors())
            if refused and check.is_valid({key: value}):
                wrong.append((key, value))
    assert wrong == []
    assert not check.is_valid({"모르는_키": 1})


def test_every_recipe_key_of_ours_and_most_of_axolotls_say_what_they_are_for() -> None:
    for section, share in (("sft", 0.6), ("dpo", 1)):
        properties = settings_schema.recipe_schema(section)["properties"]
        told = [key for key, each in properties.items() if isinstance(each, dict) and each.get("description")]
        assert len(told) >= share * len(properties), sorted(properties.keys() - set(told))


BAD = {
    "config": [
        {"modle": "eeve"},
        {"gpus": -1},
        {"data": "train.jsonl"},
        {"on": "slrum:h100"},
        {"on": "local:x"},
        {"columns": {"질문": "a"}},
        {"tools": {"axolotll": "/x"}},
        {"sft": {"learnig_rate": 1e-4}},
        {"sft": {"learning_rate": 0}},
        {"sft": {"base_model": "x"}},
        {"sft": {"save_strategy": "best"}},
        {"sft": {"early_stopping_patience": 3}},
        {"sft": {"liger_rope": True}},
        {"sft": {"plugins": ["axolotl.integrations.ligerr.LigerPlugin"]}},
        {"sft": {"plugins": ["누구의.Plugin"], "liger_rope": True}},
        {"sft": {"special_tokens": {"pad_token": 5}}},
        {"sft": {"eot_tokens": [5]}},
        {"dpo": {"rl_beta": 0.1}},
        {"dpo": {"beta": -1}},
        {"dpo": {"lora_target_modules": []}},
        {"merge": {"partner": "eeve-instruct", "density": 0}},
        {"merge": {"partner": "eeve-instruct", "method": "magic"}},
        {"merge": {"partner": "eeve-instruct", "dentisy": 0.5}},
        {"trackers": {"use_wandbb": True}},
        {"notify": {"on": []}},
        {"notify": {"lang": "ko"}},
        {"notify": {"webhook_env": "A", "webhook_file": "b"}},
    ],
    "judge": [{"url": "ftp://x"}, {"url": "http://x", "temprature": 0}],
    "cluster": [
        {"scheduler": "slrum"},
        {"scheduler": "slurm", "partitoin": "gpu"},
        {"scheduler": "slurm", "gpus_per_node": -1},
        {"scheduler": "slurm", "stages": {"훈련": {}}},
        {"scheduler": "slurm", "stages": {"train": {"modules": []}}},
        {"scheduler": "slurm", "env": ["a-b"]},
        {"scheduler": "kubernetes", "kubernetes": {"volumes": [{"claim": "a"}]}},
        {"scheduler": "slurm", "container": {"runtime": "docker", "image": "x"}},
    ],
}  # fmt: skip
TASK = {
    "task": "우리은행_faq",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "faq.jsonl"}},
    "test_split": "test",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "exact_match"}],
}
BAD_TASKS = [
    {"tsak": "x"}, {"cluster": "id"}, {"doc_to_text": ...}, {"test_split": ...}, {"dataset_path": ...},
    {"output_type": "generat_until"}, {"output_type": "multiple_choice"}, {"metric_list": []}, {"metric_list": [{}]},
    {"metric_list": [{"metric": "exact_mtach"}]}, {"metadata": "x"}, {"include": 5},
    {"dataset_kwargs": {"data_files": 5}},
]  # fmt: skip


@pytest.mark.parametrize(("name", "values"), [(name, each) for name, all_of in BAD.items() for each in all_of])
def test_what_a_reader_refuses_is_refused(name: str, values: dict[str, Any]) -> None:
    full = dict(values)
    if name == "judge":
        full = {**yaml_of((SHIPPED / "judge" / "local.yaml").read_text(encoding="utf-8")), **values}
    assert problems(name, full) != []
    if name == "config" and not {"sft", "dpo", "merge", "trackers", "on"} & values.keys():
        with pytest.raises(ConfigError):
            build_config({"model": "eeve", **values}, "설정.yaml")


@pytest.mark.parametrize("change", BAD_TASKS)
def test_a_task_that_is_refused_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    assert problems("task", TASK) == []
    values = {key: each for key, each in {**TASK, **change}.items() if each is not ...}
    assert problems("task", values) != []
    file = tmp_path / "과제.yaml"
    file.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    with pytest.raises(ConfigError):
        task_yaml.check_task(task_yaml.read_task_file(file))
        raise_all(list(mistakes(task_yaml.read_task_file(file))))


def test_plugins_open_their_keys_and_a_foreign_one_opens_all() -> None:
    for named in (
        "axolotl.integrations.liger.LigerPlugin",
        "liger.LigerPlugin",
        "axolotl.integrations.liger.plugin.LigerPlugin",
    ):
        assert problems("config", {"sft": {"plugins": [named], "liger_rope": True}}) == []
    assert problems("config", {"sft": {"plugins": ["누구의.Plugin"], "누구의_키": 5}}) == []
    assert problems("config", {"sft": {"plugins": ["alphaf_orch.x.Y"], "누구의_키": 5}}) != []


def test_a_preset_with_a_wrong_key_is_refused_as_its_reader_does(tmp_path: Path) -> None:
    text = (SHIPPED / "models" / "tiny.yaml").read_text(encoding="utf-8")
    for old, new in (("gpus: auto", "gpus: 0"), ("source: build_tiny", "source: hubb"), ("  norm: RM", "  nrom: RM"),
                     ("sequence_len: 512  ", "sequence_len: 0  "), ("licence: ", "license: ")):  # fmt: skip
        assert old in text
        file = tmp_path / "tiny.yaml"
        file.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ConfigError):
            read_preset(file)
        assert problems("preset", yaml_of(file.read_text(encoding="utf-8"))) != []


def test_a_new_key_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Config(RunConfig):
        새로운: int = 0

    class Preset(ModelPreset):
        새로운: int = 0

    class Site(Profile):
        새로운: int = 0

    monkeypatch.setattr(settings_schema, "RunConfig", Config)
    monkeypatch.setattr(settings_schema, "Profile", Site)
    monkeypatch.setattr(preset_schema, "ModelPreset", Preset)
    record = copy.deepcopy(plugins.record())
    record["keys"]["planted_rate"] = {"types": ["number"], "limits": {"gt": 0, "lt": 1}}
    record["plugins"]["axolotl.integrations.liger.LigerPlugin"]["planted_flag"] = {"types": ["boolean"]}
    monkeypatch.setattr(plugins, "record", lambda: record)
    lm_eval = copy.deepcopy(lm_eval_record())
    lm_eval["keys"]["task"].append("planted_key")
    lm_eval["metrics"].append("planted_metric")
    monkeypatch.setattr(task_yaml, "record", lambda: lm_eval)
    monkeypatch.setattr(task_metrics, "record", lambda: lm_eval)
    for cached in (keys.axolotl_keys, keys._known, task_yaml.legal_keys):
        cached.cache_clear()
    try:
        found = settings_schema.config_schema()["properties"]
        assert found["새로운"]["type"] == "integer"
        assert found["sft"]["properties"]["planted_rate"] == {
            "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1
        }  # fmt: skip
        assert "planted_flag" in found["sft"]["properties"]
        assert "새로운" in settings_schema.cluster_schema()["properties"]
        assert "새로운" in preset_schema.preset_schema()["properties"]
        task = task_schema()
        assert "planted_key" in task["properties"]
        assert "planted_metric" in json.dumps(task)
    finally:
        for cached in (keys.axolotl_keys, keys._known, task_yaml.legal_keys):
            cached.cache_clear()


def test_no_text_of_a_task_key_is_of_a_key_that_there_is_not() -> None:
    legal = {key for each in task_yaml.legal_keys().values() for key in each}
    assert _ABOUT.keys() <= legal


def test_every_key_of_the_merge_templates_is_in_the_schema() -> None:
    known = settings_schema.merge_schema()["properties"].keys() | {"model", "partners", "base", "method"}
    for template in (SHIPPED / "merge_models").glob("*.j2"):
        named = re.findall(r"^([a-z_0-9]+):", template.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert named
        assert set(named) <= known, template.name


def test_values_of_a_profile_are_read_as_written() -> None:
    values = {"scheduler": "slurm", "account": 123, "memory": 0, "stages": {"train": {"memory": 0, "time": 86400}}}
    assert problems("cluster", values) == []
