"""The plan of a run: whole argv, rendered values, what a fingerprint depends on."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from data_rows import PAIR, line

from alphaf_orch.core.errors import ConfigError, DataError, ModelError
from alphaf_orch.core.paths import CHILD, template_folders
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.config import RunConfig

DRY = Scope(dry=True)
PY = sys.executable


def stage(plan, name):
    return next(found for found in plan.stages if found.name == name)


def recipe(plan, name):
    return next(f for path, f in stage(plan, name).files.items() if path.name == f"{name}.yaml").values


def planned(machine, tmp_path, scope=DRY, **settings):
    return make_plan(RunConfig(**{"model": "eeve", **settings}), machine, tmp_path / "runs" / "한글 런", scope)


def test_the_article_s_sft_is_launched_on_eight_gpus_with_every_option_given(eight_gpus, tmp_path):
    plan = planned(eight_gpus, tmp_path)
    root = tmp_path / "runs" / "한글 런"
    assert stage(plan, "sft").argv == (
        PY, "-m", "accelerate.commands.accelerate_cli", "launch",
        "--config_file", f"{root}/rendered/accelerate_sft.yaml",
        "--num_processes", "8",
        "--num_machines", "1",
        "--machine_rank", "0",
        "--mixed_precision", "bf16",
        "--dynamo_backend", "no",
        "--num_cpu_threads_per_process", "12",
        "--multi_gpu",
        "--gpu_ids", "all",
        "--rdzv_backend", "static",
        "--same_network",
        "--main_process_ip", "127.0.0.1",
        "--main_process_port", "0",
        "-m", "axolotl.cli.train", f"{root}/rendered/sft.yaml",
    )  # fmt: skip
    assert stage(plan, "sft").env == {
        "PYTHONPATH": str(CHILD),
        "ALPHAF_METRICS": f"{root}/metrics/sft.jsonl",
        "ALPHAF_BATCHES": f"{root}/metrics/sft.batches.jsonl",
        "UNSLOTH_COMPILE_LOCATION": f"{root}/.partial/unsloth_compiled_cache",
        "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7",
    }
    assert [found.name for found in plan.stages] == [
        "data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo",
    ]  # fmt: skip


def test_the_other_stages_argv(eight_gpus, tmp_path):
    plan = planned(eight_gpus, tmp_path)
    rendered = tmp_path / "runs" / "한글 런" / "rendered"
    assert {found.name: found.argv for found in plan.stages if found.name != "sft"} == {
        "data": (PY, "-m", "alphaf_orch.programs.training.data_stats", f"{rendered}/data.yaml"),
        "preprocess": (
            PY, "-m", "alphaf_orch.programs.training.preprocess", f"{rendered}/sft.yaml",
            "--download=False", "--debug_num_examples=0",
        ),
        "merge_sft": (
            PY, "-m", "alphaf_orch.programs.merging.merge_adapter",
            "--config", f"{rendered}/merge_sft.yaml", "--contract", f"{rendered}/merge_sft_contract.yaml",
        ),
        "dpo_data": (PY, "-m", "alphaf_orch.programs.training.data_stats", f"{rendered}/dpo_data.yaml"),
        "dpo": (PY, "-m", "alphaf_orch.programs.training.dpo", f"{rendered}/dpo.yaml"),
        "merge_dpo": (
            PY, "-m", "alphaf_orch.programs.merging.merge_adapter",
            "--config", f"{rendered}/merge_dpo.yaml", "--contract", f"{rendered}/merge_dpo_contract.yaml",
        ),
    }  # fmt: skip


def test_one_process_on_cpu_even_where_a_recipe_is_written_for_eight(cpu, tmp_path):
    argv = stage(planned(cpu, tmp_path, gpus=0), "sft").argv
    assert argv[4:] == (
        "--config_file", f"{tmp_path}/runs/한글 런/rendered/accelerate_sft.yaml",
        "--num_processes", "1",
        "--num_machines", "1",
        "--machine_rank", "0",
        "--mixed_precision", "no",
        "--dynamo_backend", "no",
        "--num_cpu_threads_per_process", "2",
        "--cpu",
        "-m", "axolotl.cli.train", f"{tmp_path}/runs/한글 런/rendered/sft.yaml",
    )  # fmt: skip


def test_dpo_on_several_gpus_goes_through_accelerate(eight_gpus, tmp_path):
    plan = planned(eight_gpus, tmp_path, dpo_gpus=4)
    argv = stage(plan, "dpo").argv
    assert argv[:4] == (PY, "-m", "accelerate.commands.accelerate_cli", "launch")
    assert argv[argv.index("--num_processes") + 1] == "4"
    assert argv[-3:] == ("-m", "alphaf_orch.programs.training.dpo", f"{tmp_path}/runs/한글 런/rendered/dpo.yaml")
    assert recipe(plan, "dpo")["micro_batch_size"] * recipe(plan, "dpo")["gradient_accumulation_steps"] * 4 == 16


def test_dpo_s_batch_is_cut_for_the_machine_and_stays_16(cpu, eight_gpus, tmp_path):
    def cut(machine, **settings):
        values = recipe(planned(machine, tmp_path, **settings), "dpo")
        return values["micro_batch_size"], values["gradient_accumulation_steps"]

    assert (cut(cpu, gpus=0), cut(eight_gpus), cut(eight_gpus, dpo_gpus=4)) == ((2, 8), (8, 2), (4, 1))
    assert cut(eight_gpus, dpo={"micro_batch_size": 4}) == (4, 8)


def test_how_the_loss_and_the_rows_are_brought_about_is_no_part_of_a_result(eight_gpus, tmp_path):
    plain, changed = (
        planned(eight_gpus, tmp_path, sft=own)
        for own in ({}, {"chunked_cross_entropy": False, "dataloader_num_workers": 9, "dataloader_pin_memory": False})
    )
    values = recipe(plain, "sft")
    assert (values["chunked_cross_entropy"], values["dataloader_num_workers"]) == (True, 2)
    assert stage(plain, "sft").fingerprint == stage(changed, "sft").fingerprint
    assert stage(plain, "preprocess").fingerprint == stage(changed, "preprocess").fingerprint


LIGER, CUT = "axolotl.integrations.liger.LigerPlugin", "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"


@pytest.mark.parametrize(
    ("own", "chunked"),
    [
        ({"plugins": [LIGER], "liger_cross_entropy": True}, None),
        ({"plugins": [LIGER], "liger_fused_linear_cross_entropy": True}, None),
        ({"plugins": [CUT], "cut_cross_entropy": True}, None),
        ({"plugins": [CUT]}, None),  # the plugin refuses the other loss, on or off (cut_cross_entropy/args.py)
        ({"plugins": [LIGER], "liger_rope": True}, True),
        ({"plugins": [LIGER], "liger_cross_entropy": False}, True),
        ({"plugins": [LIGER], "liger_cross_entropy": True, "chunked_cross_entropy": True}, True),  # axolotl's to refuse
    ],
)
def test_a_loss_of_yours_takes_the_place_of_the_one_in_pieces(own, chunked, eight_gpus, tmp_path):
    """Axolotl takes one of them."""
    assert recipe(planned(eight_gpus, tmp_path, sft=own), "sft")["chunked_cross_entropy"] is chunked


def test_one_gpu_of_eight_sees_one_device_as_the_user_numbered_them(eight_gpus, tmp_path):
    machine = dataclasses.replace(eight_gpus, gpus=eight_gpus.gpus[6:], devices=("6", "7"))
    assert stage(planned(machine, tmp_path, gpus=1), "sft").env["CUDA_VISIBLE_DEVICES"] == "6"
    assert stage(planned(machine, tmp_path, gpus=4), "sft").env["CUDA_VISIBLE_DEVICES"] == "0,1,2,3", "a dry run"


def test_the_article_s_recipe(eight_gpus, tmp_path):
    values = recipe(planned(eight_gpus, tmp_path), "sft")
    wanted = {
        "base_model": "yanolja/EEVE-Korean-10.8B-v1.0",
        "adapter": "qlora",
        "load_in_4bit": True,
        "lora_r": 256,
        "lora_alpha": 256,
        "lora_target_linear": True,
        "chat_template": "chatml",
        "special_tokens": {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "</s>"},
        "sequence_len": 4096,
        "sample_packing": True,
        "attn_implementation": "sdpa",
        "bf16": True,
        "lora_mlp_kernel": True,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "neftune_noise_alpha": None,
    }
    assert {key: values[key] for key in wanted} == wanted


def test_cpu_switches_off_what_needs_cuda(cpu, tmp_path):
    values = recipe(planned(cpu, tmp_path, model="smollm2"), "sft")
    off = ("sample_packing", "bf16", "tf32", "lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")
    assert {values[key] for key in off} == {False}
    assert values["attn_implementation"] == "sdpa"
    assert values["optimizer"] == "adamw_torch"


def test_lora_alpha_follows_the_rank_unless_it_is_set(eight_gpus, tmp_path):
    assert recipe(planned(eight_gpus, tmp_path, sft={"lora_r": 8}), "sft")["lora_alpha"] == 8
    assert recipe(planned(eight_gpus, tmp_path, sft={"lora_r": 8, "lora_alpha": 16}), "sft")["lora_alpha"] == 16
    assert recipe(planned(eight_gpus, tmp_path, dpo={"lora_r": 8}), "dpo")["lora_alpha"] == 8


def test_without_an_eval_set_there_is_no_eval_schedule(eight_gpus, tmp_path):
    values = recipe(planned(eight_gpus, tmp_path, sft={"val_set_size": 0}), "sft")
    assert (values["eval_strategy"], values["eval_steps"]) == ("no", None)


def test_full_fine_tuning_has_no_lora_key_and_refuses_one(eight_gpus, tmp_path):
    plan = planned(eight_gpus, tmp_path, sft={"adapter": "full"})
    assert not [key for key in recipe(plan, "sft") if key.startswith("lora_")]
    assert stage(plan, "merge_sft").outputs == (tmp_path / "runs" / "한글 런" / "sft",)
    with pytest.raises(ConfigError, match="lora_r means nothing in full fine-tuning"):
        planned(eight_gpus, tmp_path, sft={"adapter": "full", "lora_r": 8})


def test_neftune_differs_in_exactly_one_line(eight_gpus, tmp_path):
    def text(**settings):
        plan = planned(eight_gpus, tmp_path, **settings)
        return next(f.text for p, f in stage(plan, "sft").files.items() if p.name == "sft.yaml").splitlines()

    pairs = list(zip(text(), text(sft={"neftune_noise_alpha": 45}), strict=True))
    assert [b for a, b in pairs if a != b] == ["neftune_noise_alpha: 45  # yours; the recipe has null"]


def fingerprints(plan):
    return {found.name: found.fingerprint for found in plan.stages}


def test_a_fingerprint_ignores_places_and_how_the_batch_is_cut(eight_gpus, tmp_path):
    here = fingerprints(planned(eight_gpus, tmp_path))
    there = fingerprints(planned(eight_gpus, tmp_path / "elsewhere", gpus=4, sft={"logging_steps": 7}))
    assert here == there


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"sft": {"lora_r": 64}}, {"sft", "merge_sft", "dpo_data", "dpo", "merge_dpo"}),
        ({"dpo": {"beta": 0.2}}, {"dpo", "merge_dpo"}),
        ({"sft": {"sequence_len": 2048}}, {"data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo"}),
        ({"sft": {"gradient_accumulation_steps": 8}}, {"sft", "merge_sft", "dpo_data", "dpo", "merge_dpo"}),
        ({"merge_dtype": "float16"}, {"merge_sft", "dpo_data", "dpo", "merge_dpo"}),
    ],
)
def test_a_change_reaches_the_stages_that_depend_on_it(settings, changed, eight_gpus, tmp_path):
    before, after = fingerprints(planned(eight_gpus, tmp_path)), fingerprints(planned(eight_gpus, tmp_path, **settings))
    assert {name for name in before if before[name] != after[name]} == changed


def chat_file(path: Path, answer: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"messages": [{"role": "user", "content": "금리?"}, {"role": "assistant", "content": answer}]})
        + "\n",
        "utf-8",
    )
    return str(path)


def test_data_counts_by_content_not_by_path(eight_gpus, tmp_path):
    first = chat_file(tmp_path / "가" / "데이터.jsonl", "3.5%입니다.")
    moved = chat_file(tmp_path / "나" / "옮긴 데이터.jsonl", "3.5%입니다.")
    one, two = planned(eight_gpus, tmp_path, data=(first,)), planned(eight_gpus, tmp_path, data=(moved,))
    assert fingerprints(one) == fingerprints(two)
    prepared = recipe(one, "sft")["dataset_prepared_path"]
    chat_file(tmp_path / "가" / "데이터.jsonl", "3.25%입니다.")
    edited = planned(eight_gpus, tmp_path, data=(first,))
    assert recipe(edited, "sft")["dataset_prepared_path"] != prepared
    assert fingerprints(edited)["sft"] != fingerprints(one)["sft"]


def test_axolotl_s_own_datasets_entries_go_through_and_count_by_content(eight_gpus, tmp_path):
    path = chat_file(tmp_path / "d.jsonl", "네.")
    entry = {"path": path, "ds_type": "json", "type": "chat_template"}
    plan = planned(eight_gpus, tmp_path, datasets=(entry,))
    assert recipe(plan, "sft")["datasets"] == [entry]
    chat_file(tmp_path / "d.jsonl", "아니요.")
    assert fingerprints(plan)["sft"] != fingerprints(planned(eight_gpus, tmp_path, datasets=(entry,)))["sft"]


def test_the_user_s_template_folder_comes_first_and_ours_fills_the_rest(eight_gpus, tmp_path):
    mine = tmp_path / "내 템플릿"
    (mine / "hardware").mkdir(parents=True)
    (mine / "hardware" / "gpu.yaml").write_text("sft: {seed: 7}\ndpo: {}\n", encoding="utf-8")
    plan = planned(eight_gpus, tmp_path, templates=str(mine))
    assert recipe(plan, "sft")["seed"] == 7


def test_a_template_with_an_unknown_key_is_refused(eight_gpus, tmp_path):
    mine = tmp_path / "mine"
    (mine / "hardware").mkdir(parents=True)
    (mine / "hardware" / "gpu.yaml").write_text("sft: {lora_rank: 7}\ndpo: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="lora_rank: did you mean lora_r"):
        planned(eight_gpus, tmp_path, templates=str(mine))


def test_a_key_the_dpo_program_does_not_know_is_refused_in_a_template_too(eight_gpus, tmp_path):
    (shipped,) = template_folders()
    mine = tmp_path / "mine"
    (mine / "dpo").mkdir(parents=True)
    text = (shipped / "dpo" / "dpo.yaml.j2").read_text(encoding="utf-8")
    (mine / "dpo" / "dpo.yaml.j2").write_text(text + "bata: 0.1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="bata: did you mean beta"):
        planned(eight_gpus, tmp_path, templates=str(mine))


def test_a_preset_s_own_accumulation_is_written_for_its_own_gpus(eight_gpus, tmp_path):
    (shipped,) = template_folders()
    mine = tmp_path / "mine"
    (mine / "models").mkdir(parents=True)
    text = (shipped / "models" / "eeve.yaml").read_text(encoding="utf-8")
    text = text.replace("name: eeve ", "name: own ").replace("gpus: 8 ", "gpus: 4 ")
    own = "sft: {gradient_accumulation_steps: 3, micro_batch_size: 2}"
    (mine / "models" / "own.yaml").write_text(text.replace("sft: {}", own), encoding="utf-8")
    four = planned(eight_gpus, tmp_path, model="own", templates=str(mine))
    assert recipe(four, "sft")["gradient_accumulation_steps"] == 3
    two = planned(eight_gpus, tmp_path, model="own", templates=str(mine), gpus=2)
    assert recipe(two, "sft")["gradient_accumulation_steps"] == 6
    assert fingerprints(two) == fingerprints(four)


def test_weights_and_hub_data_are_demanded_only_when_they_are_needed(eight_gpus, tmp_path):
    with pytest.raises(ModelError, match="weights of eeve are not on this machine") as caught:
        planned(eight_gpus, tmp_path, scope=Scope(("sft",)))
    assert "hf download yanolja/EEVE-Korean-10.8B-v1.0" in caught.value.fix
    with pytest.raises(DataError, match=r"argilla/dpo-mix-7k is not on this machine"):
        planned(eight_gpus, tmp_path, scope=Scope(("dpo",)))


def cached_repo(home: Path, kind: str, repo: str, commit: str) -> Path:
    """Lay a repository into a Hugging Face cache and make `commit` its main."""
    folder = home / "hub" / f"{kind}s--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return snapshot


def cached_model(home: Path, commit: str) -> None:
    from fake_tool import safetensors

    snapshot = cached_repo(home, "model", "yanolja/EEVE-Korean-10.8B-v1.0", commit)
    safetensors(snapshot / "model.safetensors")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (snapshot / name).write_text("{}")


def test_the_commit_met_first_is_insisted_on(eight_gpus, tmp_path):
    cached_model(tmp_path / "hf", "a" * 40)
    first = planned(eight_gpus, tmp_path, scope=Scope(("sft",)))
    assert first.config.base_revision == "a" * 40
    assert recipe(first, "sft")["revision_of_model"] == "a" * 40
    cached_model(tmp_path / "hf", "b" * 40)
    later = planned(eight_gpus, tmp_path, scope=Scope(("sft",)), base_revision="a" * 40)
    assert recipe(later, "sft")["revision_of_model"] == "a" * 40
    assert fingerprints(later) == fingerprints(first)
    new = planned(eight_gpus, tmp_path, scope=Scope(("sft",)))
    assert recipe(new, "sft")["revision_of_model"] == "b" * 40
    with pytest.raises(ModelError, match="not on this machine"):
        planned(eight_gpus, tmp_path, scope=Scope(("sft",)), base_revision="c" * 40)


def test_a_hub_data_set_is_read_from_its_folder_and_known_by_its_commit(eight_gpus, tmp_path):
    snapshot = cached_repo(tmp_path / "hf", "dataset", "argilla/dpo-mix-7k", "d" * 40)
    (snapshot / "train.jsonl").write_bytes(line(PAIR))
    plan = planned(eight_gpus, tmp_path)
    (entry,) = recipe(plan, "dpo")["datasets"]
    assert {**entry, "path": ""} == {
        "path": "", "kind": "local", "split": None, "revision": None, "origin": "argilla/dpo-mix-7k", "unused": {},
    }  # fmt: skip
    assert json.loads(Path(entry["path"]).read_text())["prompt"] == [{"role": "user", "content": PAIR["prompt"]}]
    assert stage(plan, "dpo").spec["data"] == [{"hub": "argilla/dpo-mix-7k", "commit": "d" * 40, "split": "train"}]


def test_online_fetches_what_is_missing_in_stages_of_its_own(eight_gpus, tmp_path):
    plan = planned(eight_gpus, tmp_path, scope=Scope(online=True))
    fetching = [found for found in plan.stages if found.online]
    assert {found.name: found.argv[3:] for found in fetching} == {
        "base_model": ("--repo", "yanolja/EEVE-Korean-10.8B-v1.0"),
        "fetch_dpo_data": ("--repo-type", "dataset", "--repo", "argilla/dpo-mix-7k"),
    }
    assert {found.argv[1:3] for found in fetching} == {("-m", "alphaf_orch.programs.models.fetch_model")}


def test_a_set_at_a_revision_is_fetched_at_it(eight_gpus, tmp_path):
    plan = planned(eight_gpus, tmp_path, scope=Scope(("sft",), online=True), data=("org/name@v1:ko:train",))
    assert stage(plan, "fetch_data").argv[3:] == ("--repo-type", "dataset", "--repo", "org/name@v1")


def test_what_the_plan_sets_cannot_be_set(eight_gpus, tmp_path):
    with pytest.raises(ConfigError, match="output_dir is set by alphaf") as caught:
        planned(eight_gpus, tmp_path, sft={"output_dir": "/elsewhere"})
    assert caught.value.fix == "use --run and ALPHAF_RUNS"


def test_the_user_s_plugins_come_behind_ours(eight_gpus, tmp_path):
    plan = planned(eight_gpus, tmp_path, sft={"plugins": ["axolotl.integrations.liger.LigerPlugin"]})
    assert recipe(plan, "sft")["plugins"] == [
        "alphaf_orch.programs.training.axolotl_plugin.AlphafPlugin",
        "axolotl.integrations.liger.LigerPlugin",
    ]


def test_remote_code_needs_the_flag(eight_gpus, tmp_path):
    preset = (template_folders()[0] / "models" / "orion.yaml").read_text(encoding="utf-8")
    folder = tmp_path / "templates" / "models"
    folder.mkdir(parents=True)
    (folder / "orion.yaml").write_text(
        preset.replace("trust_remote_code_required: false", "trust_remote_code_required: true"), encoding="utf-8"
    )
    asked = {"model": "orion", "templates": str(tmp_path / "templates")}
    with pytest.raises(ModelError, match="python code that comes with its weights"):
        planned(eight_gpus, tmp_path, **asked)
    values = recipe(planned(eight_gpus, tmp_path, **asked, trust_remote_code=True), "sft")
    assert values["trust_remote_code"] is True
    # The flag is permission, not need: a model with a class here is loaded without its own code.
    values = recipe(planned(eight_gpus, tmp_path, model="orion", trust_remote_code=True), "sft")
    assert values["trust_remote_code"] is False


def test_dpo_alone_is_planned_from_the_recorded_sft(cpu, tmp_path):
    whole = planned(cpu, tmp_path, model="tiny")
    alone = planned(cpu, tmp_path, model="tiny", scope=Scope(("dpo",), upstream=stage(whole, "merge_sft").fingerprint))
    assert {f.name: f.fingerprint for f in alone.stages} == {
        name: value for name, value in fingerprints(whole).items() if name in ("dpo_data", "dpo", "merge_dpo")
    }


def test_a_plan_writes_nothing_but_canonical_rows(eight_gpus, tmp_path):
    planned(eight_gpus, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["rows"]


def test_stages_are_frozen(eight_gpus, tmp_path):
    with pytest.raises(dataclasses.FrozenInstanceError):
        stage(planned(eight_gpus, tmp_path), "sft").name = "x"
