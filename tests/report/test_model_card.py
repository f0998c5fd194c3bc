"""The model card: valid for huggingface_hub, other people's text kept, nothing of this machine in it."""

import json

import pytest
import yaml
from huggingface_hub import ModelCard

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.inputs.licences import combine_licences, read_licence
from alphaf_orch.inputs.model_files import split_card
from alphaf_orch.report.card import BEGIN, END, replace_ours, write_model_card
from alphaf_orch.scores.results import Metric, Sample, TaskResult, write_result

THEIRS = """---
library_name: peft
tags: [axolotl, "base_model:adapter:/root/models/base", 금융]
datasets: [/root/data/train.jsonl]
base_model: /root/models/base
widget: [{text: 안녕하세요}]
---

# 사람이 쓴 설명

axolotl이 남긴 내용 | 그대로
"""


def stage(**more):
    return {"state": "done", "spec": {}, "result": {}, "versions": {"axolotl": "0.19.0", "torch": "2.13.0"}, **more}


@pytest.fixture
def run(tmp_path):
    """A finished run with a Korean name, its folders empty but for what the card reads."""
    paths = RunPaths(tmp_path / "은행 모델")
    recipe = {"adapter": "qlora", "lora_r": 256, "learning_rate": 2e-4, "beta": None}
    trained = {"spec": {"recipe": recipe, "global_batch_size": 64}}
    manifest = {
        "format": 1, "run": paths.name, "alphaf": "0.1.0", "git_commit": "abc", "git_dirty": True,
        "machine": {"python": "3.11.7"}, "model": "eeve", "base_model": "yanolja/EEVE-Korean-10.8B-v1.0",
        "base_revision": "c0ffee", "licence": "Apache-2.0",
        "data": {
            "sft": [
                {"path": "/home/kim/비밀/train.jsonl", "kind": "local", "rows": 12, "sha256": "aa", "split": "train"}
            ],
            "dpo": [{"path": "argilla/dpo-mix-7k", "kind": "hub", "rows": None, "sha256": None, "split": "train"}],
        },
        "stages": {
            "sft": stage(**trained, result={"steps": 300, "loss_first": 2.0, "loss_last": 1.0}),
            "merge_sft": stage(),
            "dpo": stage(**trained, result={"steps": 9, "loss_first": 0.69, "loss_last": 0.4, "backend": "unsloth"}),
            "merge_dpo": stage(),
        },
    }  # fmt: skip
    paths.root.mkdir()
    paths.manifest.write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
    config = {"model": "eeve", "data": ["/home/kim/비밀/train.jsonl"], "tools": {"dpo": "/opt/venv/bin/python"}}
    paths.config.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    for name in ("sft", "dpo"):
        paths.merged(name).mkdir(parents=True)
    return paths


def score(run, name, value, **model):
    result = TaskResult(
        "finance_ko_rag", "finance-ko", name, "k", model, {"limit": 8}, {},
        {"citation_format": Metric(value, 0.1, 8, True)}, 8, 1.0, "2026-01-01", {},
    )  # fmt: skip
    write_result(run, result, [Sample("rag-001", "p", "a", "g", {"citation_format": value})])


def test_the_card_of_an_unfinished_run_is_not_written(run):
    manifest = json.loads(run.manifest.read_text(encoding="utf-8"))
    manifest["stages"] = {}
    run.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    assert write_model_card(run) is None


def test_huggingface_hub_reads_the_metadata_and_the_scores(run):
    score(run, "sft", 0.25)
    score(run, "dpo", 0.75)
    path = write_model_card(run)
    assert path == run.merged("dpo") / "README.md"
    card = ModelCard.load(path)
    assert card.data.license == "apache-2.0"
    assert card.data.base_model == "yanolja/EEVE-Korean-10.8B-v1.0"
    assert card.data.datasets == ["argilla/dpo-mix-7k"]
    assert (card.data.language, card.data.library_name) == ("ko", "transformers")
    (found,) = card.data.eval_results
    assert (found.dataset_type, found.metric_type, found.metric_value) == ("finance_ko_rag", "citation_format", 0.75)
    assert found.dataset_name == "Answers with citations"
    assert found.dataset_args == {"n": 8, "limit": 8}
    assert "| Answers with citations | citation_format | 0.250 ± 0.100 (n=8) | 0.750 ± 0.100 (n=8) |" in card.content


def test_scores_under_an_earlier_version_s_name_of_the_model_are_left_out(run):
    score(run, "sft", 0.25)
    score(run, "dpo", 0.75, identity=f"local:{'0' * 32}")
    card = ModelCard.load(write_model_card(run))
    assert not card.data.eval_results
    assert "0.750" not in card.content
    assert "0.250" in card.content


def test_nothing_of_this_machine_is_in_it(run):
    text = write_model_card(run).read_text(encoding="utf-8")
    assert "/home" not in text
    assert "비밀" not in text
    assert "/opt" not in text
    assert "train.jsonl" in text
    assert "`aa`" in text


def test_what_others_wrote_stays_and_a_second_call_changes_nothing(run):
    path = run.merged("dpo") / "README.md"
    path.write_text(THEIRS, encoding="utf-8")
    write_model_card(run)
    first = path.read_text(encoding="utf-8")
    card = ModelCard.load(path)
    assert "# 사람이 쓴 설명\n\naxolotl이 남긴 내용 | 그대로" in first
    assert card.data.widget == [{"text": "안녕하세요"}]
    assert {"axolotl", "금융", "dpo"} <= set(card.data.tags)
    assert "/root" not in first
    write_model_card(run)
    assert path.read_text(encoding="utf-8") == first
    score(run, "dpo", 0.5)
    write_model_card(run)
    again = path.read_text(encoding="utf-8")
    assert again.count(BEGIN) == again.count(END) == 1
    assert "0.500 ± 0.100" in again
    assert "# 사람이 쓴 설명" in again


def test_text_in_front_of_our_part_keeps_its_place():
    body = f"머리말\n{BEGIN}\n옛것\n{END}\n꼬리말\n"
    assert replace_ours(body, "새것") == f"머리말\n{BEGIN}\n새것\n{END}\n꼬리말\n"


@pytest.mark.parametrize("text", ["", "# 제목\n---\n본문\n", "---\nnot: closed\n"])
def test_a_readme_without_metadata_is_all_body(text):
    assert split_card(text) == ({}, text)


@pytest.mark.parametrize(
    ("texts", "hub_id", "name"),
    [
        (["Apache-2.0"], "apache-2.0", "Apache-2.0"),
        (["Apache-2.0", "Apache-2.0"], "apache-2.0", "Apache-2.0"),
        (["Apache-2.0", "MIT"], "apache-2.0", "Apache-2.0"),
        (["Apache-2.0", "cc-by-nc-4.0"], "cc-by-nc-4.0", "cc-by-nc-4.0"),
        (["Tongyi Qianwen", "cc-by-nc-4.0"], "cc-by-nc-4.0", "cc-by-nc-4.0"),
        (["Tongyi Qianwen", "llama3"], "other", "Tongyi Qianwen and llama3"),
        (["cc-by-nc-4.0", "우리 회사 내부용"], "other", "우리 회사 내부용"),
    ],
)
def test_the_strictest_licence_is_named(texts, hub_id, name):
    found = combine_licences(texts)
    assert (found.hub_id, found.name) == (hub_id, name)


def test_every_shipped_preset_has_a_licence_that_is_read():
    orion = read_licence("Orion-14B Series Models Community License 1.0, commercial use by registration")
    assert orion.hub_id == "other"
    assert orion.strictness < read_licence("read the model's own licence").strictness
