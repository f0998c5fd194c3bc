"""Which engine a training gets, what of it is rendered and remembered, and what no engine can train together."""

import itertools
import json
import re

import pytest

from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.record import write_manifest
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.engine_table import REFUSALS
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.runs.status import safe_statuses
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.keys import parse_set

SFT = Scope(sections=("sft",), dry=True)
DPO = Scope(sections=("dpo",), dry=True)
SMALL = {"model": "smollm2"}  # whose full fine-tuning fits anywhere
CUT = {"gradient_accumulation_steps": 8}  # its own batch of 1 is for one device


@pytest.fixture(autouse=True)
def _first_of_two_machines(monkeypatch):
    monkeypatch.setenv("ALPHAF_NODE_RANK", "0")
    monkeypatch.setenv("ALPHAF_NODE_ADDRESS", "node0")


@pytest.fixture
def plan(eight_gpus, tmp_path):
    def made(machine=eight_gpus, scope=SFT, root=tmp_path / "runs" / "한글", **settings):
        return make_plan(RunConfig(**{"model": "eeve", "gpus": 8, **settings}), machine, root, scope)

    return made


def trained(plan):
    return next(stage for stage in plan.stages if stage.kind == "train")


def recipe(plan):
    return trained(plan).own_file.values


# --- which one


@pytest.mark.parametrize(
    ("settings", "engine"),
    [
        ({}, "ddp"),
        ({"sft": {"adapter": "lora"}}, "ddp"),
        ({"nodes": 2}, "ddp"),
        ({"sft": {"adapter": "full"}}, "fsdp2"),
        ({"sft": {"adapter": "full"}, "nodes": 2}, "hsdp"),
        ({"sft": {"adapter": "full"}, "gpus": 2, "nodes": 2}, "fsdp2"),
        ({**SMALL, "gpus": 1}, "ddp"),
        ({**SMALL, "gpus": 1, "sft": {"adapter": "full"}}, "ddp"),
        ({**SMALL, "gpus": 0, "sft": {"adapter": "full"}}, "ddp"),
        ({**SMALL, "gpus": 2, "sft": {"adapter": "full", **CUT}}, "fsdp2"),
    ],
)
def test_who_names_none_gets_the_one_by_the_estimate(settings, engine, plan):
    assert plan(**settings).engine.name == engine


def test_the_reason_stands_in_the_recipe_and_has_the_figures(plan):
    made = plan(sft={"adapter": "full"})
    assert re.fullmatch(
        r"full fine-tuning of 10.8B needs [\d.]+ GiB .* sharded over 8 GPUs it needs [\d.]+ GiB", made.engine.reason
    )
    line = next(line for line in trained(made).own_file.text.splitlines() if line.startswith("fsdp_version"))
    assert line == f"fsdp_version: 2  # engine fsdp2, {made.engine.reason}"


def test_a_card_that_tells_its_memory_decides(plan):
    small = Machine(tuple("x" * 8), 96, memory=24 * 10**9)
    assert plan(machine=small, sft={"adapter": "lora"}).engine.name in ("fsdp2", "zero3")
    with pytest.raises(ConfigError, match=r"needs [\d.]+ GiB"):
        plan(machine=small, gpus=1, sft={"adapter": "full"})


def test_alphaf_plan_says_the_engine_and_why(alphaf):
    two = ("plan", "--model", "smollm2", "--gpus", "2", "--set", "gradient_accumulation_steps=8", "--set")
    shown = alphaf(*two, "adapter=full")
    assert re.search(r"^engine: fsdp2, full fine-tuning of ", shown.stdout, re.MULTILINE)
    told = json.loads(alphaf(*two, "engine=zero2", "--json").stdout)
    assert told["engine"] == {"name": "zero2", "reason": "asked for by you", "offload": False}
    assert "engine:" not in alphaf("plan", "--model", "tiny", "--gpus", "0").stdout


def test_full_fine_tuning_that_does_not_fit_is_refused_with_the_figures_and_what_fits(plan):
    for settings, what, fix in (
        (
            {"gpus": 8, "sft": {"adapter": "full", "engine": "ddp"}},
            r"212\.\d GiB a GPU unsharded, 79\.6 GiB are there",
            "engine=fsdp2",
        ),
        ({"gpus": 1, "sft": {"adapter": "full"}}, r"17\d\.\d GiB .*one GPU", "on more GPUs"),
        ({"gpus": 2, "sft": {"adapter": "full"}}, r"it still needs \d+", "on more GPUs"),
        (
            {"gpus": 2, "sft": {"adapter": "full", "engine": "fsdp2"}},
            r"[\d.]+ GiB a GPU by engine fsdp2",
            "engine_offload=true",
        ),
    ):
        with pytest.raises(ConfigError, match=what) as caught:
            plan(**settings)
        assert fix in caught.value.fix


# --- the keys


def test_engine_is_a_recipe_key_that_is_never_rendered(plan):
    assert parse_set(["engine=fsdp2", "engine_offload=true"], default="sft")["sft"] == {
        "engine": "fsdp2",
        "engine_offload": True,
    }
    for engine in ("ddp", "fsdp2", "zero2", "zero3"):
        assert not {"engine", "engine_offload"} & recipe(plan(sft={"engine": engine})).keys()


@pytest.mark.parametrize(
    ("item", "what"),
    [
        ("engine=fsdp", "engine is 'fsdp'.*fsdp2"),
        ("engine=zero1", "engine is 'zero1'"),
        ("engine_offload=yes please", "engine_offload is 'yes please', which is no boolean"),
        ("engines=ddp", "engine"),
    ],
)
def test_what_no_engine_is_called_is_refused_with_the_nearest(item, what):
    with pytest.raises(ConfigError, match=what):
        parse_set([item], default="sft")


def test_a_template_of_yours_with_another_section_is_refused(plan, tmp_path):
    own = tmp_path / "템플릿" / "engines"
    own.mkdir(parents=True)
    (own / "fsdp2.yaml.j2").write_text("recipe: {fsdp_version: 2}\nreceipe: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="receipe: an engine has no such section"):
        plan(templates=str(tmp_path / "템플릿"), sft={"engine": "fsdp2"})


def test_a_template_of_yours_that_adds_nothing_adds_nothing(plan, tmp_path):
    own = tmp_path / "t" / "engines"
    own.mkdir(parents=True)
    (own / "ddp.yaml.j2").write_text("full: {}\n", encoding="utf-8")
    given = recipe(plan(templates=str(tmp_path / "t"), **SMALL, gpus=1, sft={"adapter": "full"}))
    assert "fp32_master_weights" not in given


def test_a_template_of_yours_for_fsdp2_is_one_for_hsdp_too(plan, tmp_path):
    own = tmp_path / "t" / "engines"
    own.mkdir(parents=True)
    text = "recipe: {fsdp_version: 2, fsdp_config: {reshard_after_forward: false}}\n"
    (own / "fsdp2.yaml.j2").write_text(text, encoding="utf-8")
    given = recipe(plan(templates=str(tmp_path / "t"), nodes=2, gpus=4, sft={"engine": "hsdp"}))
    assert given["fsdp_config"] == {"reshard_after_forward": False}
    assert (given["dp_shard_size"], given["dp_replicate_size"]) == (4, 2)


# --- what it adds


def test_ddp_adds_nothing(plan):
    named, none = plan(sft={"engine": "ddp"}), plan()
    assert trained(named).fingerprint == trained(none).fingerprint
    assert {p: f.text for p, f in trained(named).files.items()} == {p: f.text for p, f in trained(none).files.items()}
    assert "engine" not in trained(none).spec["recipe"]
    assert trained(none).spec.keys() == {"recipe", "global_batch_size", "data", "base"}
    assert none.config.sft == {}


def test_an_engine_is_in_the_fingerprint_and_the_tokenised_data_are_shared(plan):
    made = {engine: plan(sft={"engine": engine}) for engine in ("ddp", "fsdp2", "zero2", "zero3")}
    made["hsdp"] = plan(nodes=2, gpus=4, sft={"engine": "hsdp"})
    made["offload"] = plan(sft={"engine": "zero2", "engine_offload": True})
    assert len({trained(found).fingerprint for found in made.values()}) == len(made)
    assert (
        len(
            {recipe(found)["dataset_prepared_path"] for name, found in made.items() if name not in ("zero3", "offload")}
        )
        == 1
    )
    assert trained(made["zero2"]).spec["recipe"]["engine"] == "zero2"


def test_the_number_of_machines_and_the_rank_are_in_no_fingerprint(plan, monkeypatch):
    one = trained(plan(gpus=8, sft={"engine": "fsdp2"}))
    assert trained(plan(gpus=4, nodes=2, sft={"engine": "fsdp2"})).fingerprint == one.fingerprint
    two = trained(plan(gpus=4, nodes=2, sft={"engine": "hsdp"}))
    monkeypatch.setenv("ALPHAF_NODE_RANK", "1")
    assert trained(plan(gpus=4, nodes=2, sft={"engine": "hsdp"})).fingerprint == two.fingerprint
    assert trained(plan(gpus=2, nodes=4, sft={"engine": "hsdp"})).fingerprint == two.fingerprint


def test_full_fine_tuning_keeps_float32_master_weights(plan):
    for settings in ({"engine": "fsdp2"}, {}):
        assert recipe(plan(sft={"adapter": "full", **settings}))["fp32_master_weights"] is True
    assert "fp32_master_weights" not in recipe(plan(sft={"engine": "fsdp2"}))
    assert "fp32_master_weights" not in recipe(
        plan(sft={"adapter": "full", "engine": "zero3"})
    )  # DeepSpeed has its own


def test_deepspeed_s_file_is_one_of_the_files_of_both_stages_that_read_the_recipe(plan):
    made = plan(sft={"engine": "zero3"})
    for stage in (found for found in made.stages if found.name in ("preprocess", "sft")):
        file = next(file for path, file in stage.files.items() if str(path) == recipe(made)["deepspeed"])
        assert json.loads(file.text) == file.values
        assert file.values["zero_optimization"]["stage"] == 3


def test_offload_puts_to_the_cpu_what_the_engine_can(plan):
    sharded = recipe(plan(sft={"engine": "fsdp2", "engine_offload": True}))
    assert sharded["fsdp_config"]["offload_params"] is True
    assert sharded["optimizer"] == "adamw_torch"
    made = plan(sft={"engine": "zero3", "engine_offload": True})
    zero = next(file.values for path, file in trained(made).files.items() if path.name == "zero3.json")
    assert zero["zero_optimization"]["offload_param"]["device"] == "cpu"
    assert zero["zero_optimization"]["stage"] == 3
    assert zero["zero_force_ds_cpu_optimizer"] is False


# --- yours


def test_what_you_set_in_an_engine_s_mapping_is_laid_over_it(plan):
    given = recipe(plan(sft={"engine": "fsdp2", "fsdp_config": {"reshard_after_forward": False}}))["fsdp_config"]
    assert (given["reshard_after_forward"], given["auto_wrap_policy"]) == (False, "TRANSFORMER_BASED_WRAP")


def test_a_deepspeed_of_yours_takes_the_place_of_ours_or_is_laid_over_it(plan, tmp_path):
    file = tmp_path / "내 설정.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 2}, "bf16": {"enabled": "auto"}}), encoding="utf-8")

    def zero(given):
        made = plan(sft={"engine": "zero2", "deepspeed": given})
        return next(f.values for path, f in trained(made).files.items() if path.name == "zero2.json"), made

    whole, made = zero(str(file))
    assert whole == json.loads(file.read_text("utf-8"))
    assert trained(made).spec["engine"]["deepspeed"] == whole  # by its content, not its place
    assert recipe(made)["deepspeed"] != str(file)
    laid, _ = zero({"zero_optimization": {"reduce_bucket_size": 5}})
    assert (laid["zero_optimization"]["reduce_bucket_size"], laid["zero_optimization"]["stage"]) == (5, 2)
    for wrong in ("[]", "{"):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(ConfigError, match="deepspeed"):
            zero(str(file))


# --- what cannot work

CASES = [
    ({"gpus": 0, "sft": {"engine": "fsdp2"}}, "trains on GPUs alone"),
    ({"gpus": 1, "sft": {"engine": "zero3"}}, "over several GPUs, and there is one"),
    ({"gpus": 1, "nodes": 2, "sft": {"engine": "zero2"}}, "without a RANK"),
    ({"sft": {"engine": "hsdp"}}, "there is one machine"),
    ({"gpus": 1, "nodes": 2, "sft": {"engine": "hsdp"}}, "each has one"),
    ({"sft": {"engine_offload": True}}, "DDP puts nothing to the CPU"),
    ({"sft": {"fsdp_config": {"offload_params": True}}}, "fsdp_config means nothing to engine ddp"),
    ({"sft": {"fsdp_version": 2}}, "fsdp_version means nothing to engine ddp"),
    ({"sft": {"deepspeed": "zero3.json"}}, "deepspeed means nothing to engine ddp"),
    ({"sft": {"fsdp": ["full_shard"]}}, "axolotl has deprecated the key"),
    ({"sft": {"dp_shard_size": 4}}, "without a corresponding fsdp_config"),
    ({"sft": {"dp_replicate_size": 2, "engine": "zero2"}}, "copies a model that FSDP2 has cut"),
    ({"sft": {"dp_shard_size": 3, "engine": "fsdp2"}}, "is not the number of GPUs"),
    ({"sft": {"deepspeed": {"zero_optimization": {"stage": 3}}, "engine": "zero2"}}, "another zero_optimization.stage"),
    ({"sft": {"fsdp_version": 1, "engine": "fsdp2"}}, "FSDP1 is deprecated"),
    ({"sft": {"context_parallel_size": 2}}, "attn_implementation: flash_attention_2"),
    ({"sft": {"sequence_parallel_degree": 2}}, "sequence_parallel_degree is deprecated"),
    ({"sft": {"tensor_parallel_size": 2, "engine": "fsdp2"}}, "the global batch would be smaller"),
    ({"sft": {"optimizer": "adamw_8bit", "engine": "fsdp2"}}, "FSDP2 not compatible with adamw_8bit"),
    ({"sft": {"optimizer": "paged_adamw_8bit", "engine": "fsdp2"}}, "bitsandbytes' paged_adamw_8bit"),
    ({"sft": {"optimizer": "muon", "engine": "zero3"}}, "Muon"),
    ({"sft": {"optimizer": "polora", "engine": "zero3"}}, "polora"),
    ({"sft": {"optimizer": "q_galore_adamw8bit", "engine": "zero3"}}, "not yet validated with DeepSpeed"),
    ({"sft": {"optimizer": "q_galore_adamw8bit", "engine": "fsdp2"}}, "use_orig_params"),
    ({"sft": {"optimizer": "flash_adamw", "engine": "zero2"}}, "flash optimizers"),
    ({"sft": {"optimizer": "adamw_torch_fused", "engine": "zero2", "engine_offload": True}}, "is a CUDA kernel"),
    ({"sft": {"fsdp_config": {"cpu_ram_efficient_loading": True}, "engine": "fsdp2"}}, "with load_in_4bit"),
    ({"sft": {"fsdp_config": {"activation_checkpointing": True}, "engine": "fsdp2"}}, "simultaneously"),
    ({"sft": {"fsdp_config": {"state_dict_type": "SHARDED_STATE_DICT"}, "save_only_model": True, "engine": "fsdp2"}},
     "save_only_model"),
    ({"sft": {"fsdp_config": {"cpu_offload_pin_memory": False}, "engine": "fsdp2"}}, "cpu_offload_pin_memory"),
    ({"sft": {"gradient_checkpointing_kwargs": {"use_reentrant": False}, "engine": "zero3"}}, "CheckpointError"),
    ({"sft": {"relora": True, "engine": "fsdp2"}}, "fsdp not supported with ReLoRA"),
    ({"sft": {"relora": True, "engine": "zero2"}}, "deepspeed not supported with ReLoRA"),
    ({"sft": {"ple_cpu_offload": True, "engine": "fsdp2"}}, "ple_cpu_offload is not compatible with FSDP"),
    ({"sft": {"ple_cpu_offload": True, "engine": "zero2"}}, "ple_cpu_offload is not compatible with DeepSpeed"),
    ({"sft": {"fp32_norms": True}}, "fp32_norms requires FSDP"),
    ({"sft": {"deepcompile": True}}, "DeepCompile"),
    ({"scope": DPO, "dpo": {"engine": "fsdp2"}}, "the DPO program trains an adapter"),
    ({"scope": DPO, "dpo": {"engine_offload": True}}, "the DPO program puts nothing to the CPU"),
    ({"sft": {"adapter": "lora", "fp32_master_weights": True}}, "would make the frozen model float32 too"),
    ({"sft": {"adapter": "full", "fp32_master_weights": True, "engine": "zero2"}}, "keeps float32 master weights"),
    ({"sft": {"fsdp_config": None, "engine": "fsdp2"}}, "without fsdp_config axolotl trains by DDP"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "what"), CASES, ids=[what for _, what in CASES])
def test_what_no_engine_can_train_together_is_refused_before_launch(settings, what, plan):
    with pytest.raises(ConfigError) as caught:
        plan(**settings)
    assert what in caught.value.what
    assert caught.value.fix
    assert ".engine" in str(caught.value.where)


def test_what_is_at_odds_is_named_by_the_section_it_stands_in(plan):
    with pytest.raises(ConfigError) as caught:
        plan(scope=DPO, dpo={"engine_offload": True})
    assert (caught.value.where, caught.value.fix) == (
        "key dpo.engine, key dpo.engine_offload",
        "say --set dpo.engine_offload=null",
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"sft": {"adapter": "lora", "fp32_master_weights": False}},
        {"sft": {"engine": "zero2", "fp32_master_weights": None}},
        {"scope": DPO, "dpo": {"engine_offload": False}},
        {"sft": {"engine": "fsdp2", "fsdp_config": {}}},
    ],
)
def test_a_key_set_to_nothing_contradicts_no_engine(settings, plan):
    assert plan(**settings).stages


@pytest.mark.parametrize("given", [{"zero_optimization": None}, {"zero_optimization": True}, "file"])
def test_a_deepspeed_of_yours_without_a_stage_is_refused(given, plan, tmp_path):
    if given == "file":
        (tmp_path / "ds.json").write_text('{"zero_optimization": null}', encoding="utf-8")
        given = str(tmp_path / "ds.json")
    with pytest.raises(ConfigError, match=r"of another zero_optimization\.stage"):
        plan(sft={"engine": "zero2", "deepspeed": given})


def test_every_line_of_the_table_has_its_case():
    told = [line.what for line in REFUSALS]
    assert [what for _, what in CASES if sum(what.format() in _plain(line) for line in told) != 1] == []
    assert len(CASES) == len(told)


def _plain(what):
    """Return a line's text as the cases have it filled in."""
    filled = {"engine": "ddp" if "means nothing" in what else "fsdp2"}
    optimizer = "paged_adamw_8bit" if "bitsandbytes" in what else "adamw_8bit"
    return what.format(**filled, optimizer=optimizer)


def test_dpo_under_ddp_is_what_it_was(plan):
    named = plan(scope=DPO, dpo={"engine": "ddp"})
    assert trained(named).fingerprint == trained(plan(scope=DPO)).fingerprint
    assert "engine" not in recipe(named)


# --- going on


def begun(plan_made, root):
    """Record the training as done, as a finished run has it."""
    stage = trained(plan_made)
    entry = {"fingerprint": stage.fingerprint, "spec": stage.spec, "state": "done", "started": "t", "ended": "t"}
    write_manifest(root / "manifest.json", {"format": 1, "stages": {"sft": {**entry, "result": {}}}})
    return {"stages": {"sft": entry}}


def test_a_run_goes_on_with_its_engine_on_a_machine_where_another_would_be_chosen(plan):
    made = plan(sft={"adapter": "full"})
    assert made.engine.name == "fsdp2"
    begun(made, made.paths.root)
    big = Machine(tuple("x" * 8), 96, memory=300 * 10**9)
    again = make_plan(made.config, big, made.paths.root, SFT)
    assert trained(again).fingerprint == trained(made).fingerprint
    assert (again.engine.name, again.engine.reason) == ("fsdp2", "the run began with it")


def test_what_the_estimate_chose_is_chosen_anew_until_the_run_has_trained(plan, eight_gpus):
    """It was nobody's wish: on one GPU there is nothing to drop."""
    made = plan(**SMALL, gpus=2, sft={"adapter": "full", **CUT})
    assert made.engine.name == "fsdp2"
    one = make_plan(made.config.model_copy(update={"gpus": 1}), eight_gpus, made.paths.root, SFT)
    assert (one.engine.name, one.engine.reason) == ("ddp", "")
    begun(made, made.paths.root)
    with pytest.raises(ConfigError, match="there is one") as caught:
        make_plan(made.config.model_copy(update={"gpus": 1}), eight_gpus, made.paths.root, SFT)
    assert "--set engine=ddp" in caught.value.fix
    other = made.config.model_copy(update={"gpus": 1, "sft": {**made.config.sft, "engine": "ddp"}})
    assert make_plan(other, eight_gpus, made.paths.root, SFT).engine.name == "ddp"


@pytest.mark.parametrize(("gpus", "then"), [(1, 1), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("wide", [True, None])
def test_a_run_that_began_under_ddp_goes_on_under_it_on_any_number_of_gpus(gpus, then, wide, plan, tmp_path):
    """With float32 weights as now, or with bf16 ones as before engines had a key: the manifest says which."""
    root = tmp_path / "runs" / "old"

    def batch(number):
        return {"adapter": "full", "micro_batch_size": 1, "gradient_accumulation_steps": 16 // number}

    said = {"engine": "ddp", **({} if wide else {"fp32_master_weights": None})}
    before = plan(root=root, **SMALL, gpus=gpus, sft={**batch(gpus), **said})
    assert trained(before).spec["recipe"].get("fp32_master_weights") is wide
    begun(before, root)
    again = plan(root=root, **SMALL, gpus=then, sft=batch(then))
    assert again.engine.name == "ddp"
    assert trained(again).fingerprint == trained(before).fingerprint


def test_a_training_of_another_adapter_says_nothing_of_the_engine(plan, tmp_path):
    root = tmp_path / "runs" / "r"
    begun(plan(root=root, **SMALL, sft={"adapter": "lora", **CUT}), root)
    again = plan(root=root, **SMALL, sft={"adapter": "full", **CUT})
    assert again.engine.name == "fsdp2"


def test_a_run_that_began_under_ddp_before_engines_goes_on_under_it(plan, tmp_path):
    root = tmp_path / "runs" / "old"
    before = plan(root=root, **SMALL, sft={"adapter": "full", "engine": "ddp", "fp32_master_weights": None, **CUT})
    begun(before, root)
    again = plan(root=root, **SMALL, sft={"adapter": "full", **CUT})
    assert (again.engine.name, again.engine.reason) == ("ddp", "the run began with it")
    assert trained(again).fingerprint == trained(before).fingerprint


@pytest.mark.parametrize(
    ("settings", "wide"),
    [
        ({"gpus": 1, "sft": {"adapter": "full"}}, True),
        ({"gpus": 8, "sft": {"adapter": "full", "engine": "ddp", **CUT}}, True),
        ({"gpus": 0, "sft": {"adapter": "full"}}, None),  # there the weights are float32 anyway
        ({"gpus": 8, "sft": {"adapter": "lora", **CUT}}, None),
    ],
)
def test_full_fine_tuning_trains_float32_weights_unsharded_too(plan, settings, wide):
    """Of bf16 weights AdamW moved 15 of 100 at a learning rate of 1e-5."""
    assert trained(plan(**SMALL, **settings)).own_file.values.get("fp32_master_weights") is wide


def test_what_fits_in_bf16_alone_is_told_so(plan):
    card = Machine(("x",), 8, memory=4_000_000_000)
    with pytest.raises(ConfigError, match="full fine-tuning") as caught:
        plan(machine=card, gpus=1, **SMALL, sft={"adapter": "full"})
    assert "fp32_master_weights=null" in caught.value.fix


def test_a_finished_run_asked_for_with_another_engine_is_refused_and_told_how_to_go_back(plan, tmp_path):
    root = tmp_path / "runs" / "done"
    manifest = begun(plan(root=root, sft={"engine": "fsdp2"}), root)
    with pytest.raises(RunStateError, match="engine: zero2") as caught:
        safe_statuses(plan(root=root, sft={"engine": "zero2"}), manifest)
    assert "--set sft.engine=fsdp2" in caught.value.fix


# --- the global batch


def test_batch_warm_up_and_steps_are_the_same_on_any_number_of_gpus_or_the_numbers_that_work_are_named(plan):
    """All of 1 to 16 GPUs, 1 to 4 machines, three micro batches; the steps follow from the batch and these keys."""
    wanted: dict[int, tuple] = {}
    for gpus, nodes, micro in itertools.product((1, 2, 3, 4, 5, 6, 8, 16), (1, 2, 3, 4), (1, 2, 4)):
        settings = {"gpus": gpus, "nodes": nodes, "sft": {"micro_batch_size": micro, "engine": "ddp"}}
        try:
            made = plan(**settings)
        except ConfigError as error:
            assert "cannot be cut into" in error.what
            numbers = [int(n) for n in re.findall(r"\d+", error.fix.partition("GPUs")[0])]
            total = int(re.search(r"a global batch of (\d+)", error.what)[1])
            assert numbers
            assert all(total % (number * micro) == 0 for number in numbers)
            assert total % (gpus * nodes * micro)
            continue
        values = recipe(made)
        found = (
            gpus * nodes * micro * values["gradient_accumulation_steps"],
            *(values.get(key) for key in ("warmup_ratio", "warmup_steps", "num_epochs", "max_steps", "sequence_len")),
        )
        assert trained(made).spec["global_batch_size"] == found[0]
        assert wanted.setdefault(micro, found) == found
    assert [batch for batch, *_ in wanted.values()] == [32, 64, 128]  # 8 GPUs x micro x 4, as the recipe is written


def test_the_disk_that_a_run_needs_is_that_of_its_engine_s_checkpoints(eight_gpus, tmp_path):
    def needed(engine):
        config = RunConfig(model="eeve", gpus=8, sft={"adapter": "full", "engine": engine})
        return make_plan(config, eight_gpus, tmp_path / "r", Scope(sections=("sft",), dry=True)).disk_bytes

    # FSDP2 saves 16 bytes of each parameter in each of two checkpoints and the next one, ZeRO-3 14.
    assert needed("fsdp2") - needed("zero3") == 3 * 2 * 10_804_924_416


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({}, 0),
        ({"lora_modules_to_save": ["embed_tokens", "lm_head"]}, 2 * 40960 * 4096),
        ({"lora_target_linear": False, "lora_target_modules": ["q_proj"]}, 48 * 256 * 2 * 4096 - 1_006_632_960),
    ],
)
def test_the_disk_that_a_run_needs_is_that_of_what_is_trained(plan, settings, parameters):
    plain, other = (plan(sft={"adapter": "lora", **more}).disk_bytes for more in ({}, settings))
    assert other - plain == (12 * 3 + 4) * parameters
