"""Which models of a run are finished, which is the newest, and where each lies."""

import pytest

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.runs.chain import MADE, finished, model_folder, newest

DONE = {"state": "done", "spec": {"adapter": "lora"}}
FULL = {"state": "done", "spec": {"adapter": "full"}}
SFT, DPO, MERGED = "sft/merged", "dpo/merged", "merged"
CASES = {
    "nothing is done": ({}, (), None),
    "SFT is trained and not merged": ({"sft": DONE}, ("sft",), None),
    "SFT": ({"merge_sft": DONE}, (SFT,), SFT),
    "SFT in full, where it trained": ({"merge_sft": FULL}, ("sft",), "sft"),
    "DPO": ({"merge_sft": DONE, "merge_dpo": DONE}, (SFT, DPO), DPO),
    "DPO on a full SFT": ({"merge_sft": FULL, "merge_dpo": DONE}, ("sft", DPO), DPO),
    "the merge with others": ({"merge_sft": DONE, "merge_models": DONE}, (SFT, MERGED), MERGED),
    "the merge was moved away": ({"merge_sft": DONE, "merge_models": DONE}, (SFT,), SFT),
    "the merge failed": ({"merge_sft": DONE, "merge_models": {"state": "failed"}}, (SFT, MERGED), SFT),
    "the adapter is no model": ({"merge_sft": DONE}, ("sft",), None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_newest_model(name, tmp_path):
    stages, folders, expected = CASES[name]
    paths, manifest = RunPaths(tmp_path), {"stages": stages}
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    found = newest(paths, manifest, MADE)
    assert (found and model_folder(paths, found, manifest)) == (expected and tmp_path / expected)


def test_the_newest_of_some(tmp_path):
    paths, manifest = RunPaths(tmp_path), {"stages": {"merge_sft": DONE, "merge_models": DONE}}
    for folder in (SFT, MERGED):
        (tmp_path / folder).mkdir(parents=True)
    assert finished(paths, manifest) == ("base", "sft", "merged")
    assert newest(paths, manifest, ("sft", "dpo")) == "sft"
