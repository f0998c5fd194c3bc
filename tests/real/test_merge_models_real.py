"""Merges of whole models with mergekit: every method, exact formulas, other vocabularies, dtypes, ties, refusals.

One child process is the real command line; everything else runs the stage's own program in this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from merge_run import CHATML, MESSAGES, VICUNA, other_words, save_model, write_merge_run
from tiny import tokenizer

from alphaf_orch.core.render import render
from alphaf_orch.settings.merge import METHODS, PER_MODEL, mergekit_config, per_model

pytest.importorskip("mergekit", reason="mergekit is not installed in this environment")

REPO = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore")


LINES = [
    "tokenizer", "trained_tokens", "embedding_rows", "eos_pad", "dtype", "no_lora_keys", "weights", "rendering",
    "turn_ends",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder whose name mergekit would cut at '+' and '@', with the run's model, a partner and a base."""
    folder = tmp_path_factory.mktemp("은행 모델+1@2")
    for seed, name in enumerate(("base", "own", "partner")):
        save_model(folder / name, seed)
    return folder


class Merger:
    """Runs the stage's program with a recipe; says what it wrote and how it ended."""

    def __init__(self, place: Path, tmp_path: Path) -> None:
        self.place, self.folder = place, tmp_path
        ids = list(tokenizer().apply_chat_template(MESSAGES, tokenize=True, return_dict=False))
        self.rows = tmp_path / "rows.jsonl"
        self.rows.write_text(json.dumps({"messages": MESSAGES, "input_ids": ids}) + "\n", encoding="utf-8")

    def __call__(self, method: str, own: Path | None = None, partner: Path | None = None, **values: Any) -> Path:
        """Return the merged folder; raises SystemExit with the program's code where it refuses."""
        from alphaf_orch.programs.merging import merge_models

        variables = {
            "model": str(own or self.place / "own"),
            "partners": [str(partner or self.place / "partner")],
            "base": str(values.pop("base", self.place / "base")),
        }
        recipe = render(REPO / "templates" / "merge_models" / f"{method}.yaml.j2", variables).values | values
        job = {
            "scratch_dir": str(self.folder / "scratch"),
            "merged_dir": str(self.folder / "merged"),
            "report": str(self.folder / "report.json"),
            "handoff": str(self.folder / "handoff.yaml"),
            "names": {variables["model"]: "은행-dpo", variables["partners"][0]: "파트너", variables["base"]: "원본"},
            "spread": {key: per_model(recipe, key) for key in PER_MODEL if key in recipe},
        }
        rows = {"probe": str(self.rows), "trained_ids": str(self.rows)}
        files = {"recipe": recipe, "mergekit": mergekit_config(recipe), "job": job, "handoff": rows}
        for name, content in files.items():
            (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        options = (("--config", "recipe"), ("--mergekit", "mergekit"), ("--contract", "job"))
        merge_models.main([text for option, name in options for text in (option, str(self.folder / f"{name}.yaml"))])
        return self.folder / "merged"

    def report(self) -> dict[str, Any]:
        """Return what the last merge found out."""
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
        return found


@pytest.fixture
def merge(place, tmp_path):
    return Merger(place, tmp_path)


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def config(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return values


@pytest.mark.parametrize("method", METHODS)
def test_each_method_runs_and_its_result_meets_the_contract(method, merge, place):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged = merge(method)
    report = merge.report()
    assert [line["line"] for line in report["lines"]] == LINES
    assert report["ok"]
    found, own, partner = tensors(merged), tensors(place / "own"), tensors(place / "partner")
    assert {name: t.shape for name, t in found.items()} == {name: t.shape for name, t in own.items()}
    name = "model.layers.1.mlp.down_proj.weight"
    assert not torch.equal(found[name], own[name])
    assert not torch.equal(found[name], partner[name])
    assert config(merged) == config(place / "own")
    words = AutoTokenizer.from_pretrained(merged)
    assert words.chat_template == CHATML
    model = AutoModelForCausalLM.from_pretrained(merged)
    assert torch.isfinite(model(torch.tensor([words("금리")["input_ids"]])).logits).all()
    assert not (merge.folder / "scratch").exists()
    said = (merged / "README.md").read_text(encoding="utf-8") + (merged / "mergekit_config.yml").read_text("utf-8")
    assert str(place) not in said, "places of this machine do not belong in a card"
    assert "은행-dpo" in said


def test_linear_with_equal_weights_is_the_mean_of_the_tensors_exactly(merge, place):
    import torch

    found, own, partner = tensors(merge("linear", weight=0.5)), tensors(place / "own"), tensors(place / "partner")
    for name, tensor in found.items():
        assert torch.equal(tensor, (own[name] + partner[name]) / 2), name
    weights = next(line for line in merge.report()["lines"] if line["line"] == "weights")
    assert weights["measured"]["tensors"] >= 9
    assert weights["measured"]["max_spacings"] <= 1


@pytest.mark.parametrize(("t", "end"), [(0.0, "own"), (1.0, "partner")])
def test_slerp_s_ends_are_its_models_exactly(t, end, merge, place):
    import torch

    found, wanted = tensors(merge("slerp", t=t)), tensors(place / end)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in found.items())


def test_a_merge_that_is_not_the_formula_s_breaks_the_contract(merge, monkeypatch):
    from alphaf_orch.programs.merging import merge_contract

    formula = merge_contract.expected
    monkeypatch.setattr(merge_contract, "expected", lambda *args: formula(*args) * 1.001)
    with pytest.raises(SystemExit) as ended:
        merge("task_arithmetic")
    assert ended.value.code == 8
    assert not (merge.folder / "merged").exists()
    assert [line["line"] for line in merge.report()["lines"] if not line["ok"]] == ["weights"]


def test_rows_that_were_not_trained_on_break_the_contract(merge):
    merge.rows.write_text(json.dumps({"messages": MESSAGES, "input_ids": [5, 6, 7]}) + "\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        merge("linear")
    assert ended.value.code == 8
    assert [line["line"] for line in merge.report()["lines"] if not line["ok"]] == ["rendering"]


def test_rows_of_another_vocabulary_are_matched_by_token(merge, place, tmp_path):
    import torch

    other = save_model(tmp_path / "다른 어휘", 5, words=other_words(), rows=328)
    merged = tensors(merge("linear", partner=other))
    assert merge.report()["handled"]["rows_matched_by_token"]
    own, partner = tensors(place / "own"), tensors(other)
    mine, theirs = tokenizer().get_vocab(), other_words().get_vocab()
    moved = [token for token in mine if theirs.get(token) not in (None, mine[token])]
    lacking = [token for token in mine if token not in theirs]
    assert len(moved) > 300
    assert len(lacking) == 1
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert merged[name].shape == own[name].shape
        for token in moved[:20]:
            wanted = (own[name][mine[token]] + partner[name][theirs[token]]) / 2
            assert torch.equal(merged[name][mine[token]], wanted), token
        assert torch.equal(merged[name][mine[lacking[0]]], own[name][mine[lacking[0]]]), "no other model has a say"


def test_rows_behind_the_last_token_are_kept(merge, place, tmp_path):
    own = save_model(tmp_path / "own", 1, rows=352)
    merged = merge("linear", own=own)
    assert config(merged)["vocab_size"] == 352
    assert {tensors(merged)[name].shape[0] for name in ("model.embed_tokens.weight", "lm_head.weight")} == {352}


def test_union_adds_the_partner_s_markers_behind_the_run_s_own_tokens(merge, tmp_path):
    from transformers import AutoTokenizer

    other = save_model(tmp_path / "다른 어휘", 5, words=other_words())
    merged = merge("linear", partner=other, tokenizer="union")
    vocabulary = AutoTokenizer.from_pretrained(merged).get_vocab()
    assert {token: vocabulary[token] for token in tokenizer().get_vocab()} == tokenizer().get_vocab()
    assert vocabulary["<|파트너|>"] == 320
    assert config(merged)["vocab_size"] == 321 == tensors(merged)["lm_head.weight"].shape[0]


def test_the_base_s_vocabulary_is_refused_where_it_lacks_trained_tokens(merge, tmp_path):
    base = save_model(tmp_path / "base", 0, words=other_words())
    with pytest.raises(SystemExit) as ended:
        merge("dare_ties", base=base, tokenizer="base")
    assert ended.value.code == 2
    assert "lacks or moves" in str(ended.value)
    assert not (merge.folder / "merged").exists()


def test_another_dtype_is_cast_to_that_of_the_run_s_model(merge, place, tmp_path):
    import torch

    half = save_model(tmp_path / "half", 5, dtype="bfloat16")
    found, own, partner = tensors(merge("linear", partner=half)), tensors(place / "own"), tensors(half)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(found[name], (own[name] + partner[name].float()) / 2)
    assert merge.report()["handled"]["dtypes"] == {"은행-dpo": "float32", "파트너": "bfloat16"}


def test_the_asked_dtype_is_written(merge):
    merged = merge("linear", out_dtype="float16")
    assert {str(tensor.dtype) for tensor in tensors(merged).values()} == {"torch.float16"}
    assert config(merged)["dtype"] == "float16"


@pytest.mark.parametrize(("own_tied", "partner_tied"), [(False, True), (True, False), (True, True)])
def test_tied_and_untied_embeddings(own_tied, partner_tied, merge, tmp_path):
    """An untied head is merged with the other model's embedding, and the result says that it is untied."""
    import torch
    from transformers import AutoModelForCausalLM

    own = save_model(tmp_path / "own", 1, tied=own_tied)
    partner = save_model(tmp_path / "partner", 2, tied=partner_tied)
    merged = merge("linear", own=own, partner=partner)
    tied = own_tied and partner_tied
    assert config(merged)["tie_word_embeddings"] is tied
    heads = []
    for folder, is_tied in ((own, own_tied), (partner, partner_tied)):
        heads.append(tensors(folder)["model.embed_tokens.weight" if is_tied else "lm_head.weight"])
    loaded = AutoModelForCausalLM.from_pretrained(merged)
    assert torch.equal(loaded.lm_head.weight, (heads[0] + heads[1]) / 2)
    assert merge.report()["handled"]["tied_result"] is tied


def test_another_chat_template_is_kept_beside_the_run_s(merge, tmp_path):
    from transformers import AutoTokenizer

    partner = save_model(tmp_path / "비쿠나", 2, template=VICUNA)
    merged = merge("linear", partner=partner)
    assert AutoTokenizer.from_pretrained(merged).chat_template == CHATML
    other = AutoTokenizer.from_pretrained(merged / "partner_template")
    assert other.chat_template == VICUNA
    assert other.get_vocab() == tokenizer().get_vocab()
    assert merge.report()["handled"]["partner_templates"] == ["partner_template"]


def test_orion_is_merged_with_its_layernorm_biases(merge, tmp_path):
    import torch

    from alphaf_orch.programs.architectures.orion import register

    register()
    from alphaf_orch.programs.architectures.orion_config import OrionConfig
    from alphaf_orch.programs.architectures.orion_model import OrionForCausalLM

    words = tokenizer()
    for seed, name in enumerate(("own", "partner", "base")):
        torch.manual_seed(seed)
        made = OrionForCausalLM(
            OrionConfig(
                vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                num_attention_heads=4, max_position_embeddings=512, bos_token_id=1, eos_token_id=4, pad_token_id=2,
            )
        )  # fmt: skip
        for parameter_name, parameter in made.named_parameters():
            if "norm" in parameter_name:
                torch.nn.init.normal_(parameter)
        made.save_pretrained(tmp_path / name)
        words.save_pretrained(tmp_path / name)
    own, partner = tmp_path / "own", tmp_path / "partner"
    found = tensors(merge("linear", own=own, partner=partner))
    first, second = tensors(own), tensors(partner)
    assert found.keys() == first.keys()
    assert sum(name.endswith("norm.bias") for name in found) == 5
    assert all(torch.equal(tensor, (first[name] + second[name]) / 2) for name, tensor in found.items())
    for folder in ("merged", "report.json"):
        (merge.folder / folder).rename(merge.folder / f"linear {folder}")
    merge("dare_ties", own=own, partner=partner, base=tmp_path / "base")
    assert merge.report()["ok"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with a Korean name whose model is merged by the command line with a partner of other make."""
    folder = tmp_path_factory.mktemp("금융 모델")
    base = save_model(folder / "원본", 0)
    save_model(folder / "파트너", 7, words=other_words(), template=VICUNA, dtype="bfloat16", licence="cc-by-nc-4.0")
    run = write_merge_run(folder / "runs" / "실험", base)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ALPHAF_", "HF_"))}
    environment = kept | {
        "PYTHONPATH": str(REPO),
        "ALPHAF_RUNS": str(run.parent),
        "ALPHAF_CACHE": str(folder / "cache"),
        "HF_HOME": str(folder / "hf"),
        "OMP_NUM_THREADS": "1",
    }
    argv = [sys.executable, "-m", "alphaf_orch", "merge-models", "--run", "실험", "--partner", "파트너"]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return run, done


def test_the_command_line_says_what_is_handled_and_under_which_licence(finished):
    run, done = finished
    assert "파트너 has another vocabulary: 1 of the run's tokens are not in it" in done.stderr
    assert "파트너 is stored in bfloat16, the run's model in float32" in done.stderr
    assert "asks the merged model under both" in done.stderr
    assert "hand-off contract holds (9 lines)" in done.stderr
    assert f"model: {run}/merged" in done.stdout
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    entry = manifest["stages"]["merge_models"]
    assert entry["state"] == "done"
    assert entry["result"]["contract"] == dict.fromkeys(LINES, True)
    assert entry["result"]["handled"]["rows_matched_by_token"]
    assert entry["spec"]["upstream"] == "merge_dpo"
    assert manifest["merge_partners"][0]["licence"] == "cc-by-nc-4.0"
    card = (run / "merged" / "README.md").read_text(encoding="utf-8")
    assert "method `dare_ties`" in card
    assert "merged using the [DARE TIES]" in card, "mergekit's own card is kept"
    assert str(run.parent) not in card


def test_a_repeated_random_merge_gives_the_same_bytes(finished, tmp_path):
    """Another process, another order of hashes: the seed alone decides."""
    from alphaf_orch.programs.merging import merge_models

    run, _ = finished
    rendered = run / "rendered"
    job = yaml.safe_load((rendered / "merge_models_contract.yaml").read_text(encoding="utf-8"))
    job |= {"merged_dir": str(tmp_path / "m"), "scratch_dir": str(tmp_path / "s"), "report": str(tmp_path / "r.json")}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job, allow_unicode=True), encoding="utf-8")
    argv = [
        "--config", str(rendered / "merge_models.yaml"), "--mergekit", str(rendered / "mergekit.yaml"),
        "--contract", str(tmp_path / "job.yaml"),
    ]  # fmt: skip
    merge_models.main(argv)
    name = "model.safetensors"
    assert (tmp_path / "m" / name).read_bytes() == (run / "merged" / name).read_bytes()


def test_the_merged_model_is_evaluated_under_both_templates(finished):
    """The look at the tokenizers with the real libraries: two ways to ask one model, each with its template."""
    from alphaf_orch.core.paths import RunPaths
    from alphaf_orch.programs.evaluation import eval_tokenizer
    from alphaf_orch.runs.chain import asked_models

    run, _ = finished
    models = asked_models(RunPaths(run), ("merged",))
    assert [model.stage for model in models] == ["merged", "merged_partner_template"]
    assert models[0].path == models[1].path
    asked = [
        {"stage": m.stage, "path": m.path, "revision": None, **({"tokenizer": m.tokenizer} if m.tokenizer else {})}
        for m in models
    ]
    said = eval_tokenizer.run(
        {
            "reference": str(run / "sft" / "merged"), "models": asked, "systems": [], "trust_remote_code": False,
            "prepared": str(run / "p"), "output": str(run / "tokenizer.json"),
        }
    )["stages"]  # fmt: skip
    assert "".join(said["merged"]["without_system"]).startswith("<|im_start|>user")
    assert "".join(said["merged_partner_template"]["without_system"]).startswith("Human: ")
    assert said["merged"]["warnings"] == []
    assert "another chat template" in said["merged_partner_template"]["warnings"][0]
    assert said["merged"]["chat_template_sha256"] != said["merged_partner_template"]["chat_template_sha256"]
