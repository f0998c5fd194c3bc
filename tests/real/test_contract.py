"""The adapter merge and its contract, on tiny models: holds after our merge, and every line catches its sabotage.

Three child processes do all that needs axolotl: one short QLoRA SFT with two added tokens, our merge of it, and
four further merges in one process. Everything else compares folders in this process.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import CHATML, save_base, tokenizer

pytest.importorskip("axolotl", reason="axolotl is not installed in this environment")

ROOT = Path(__file__).parents[2]

# The tools warn on import and on CPU; their warnings are not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")

ENV = os.environ | {"HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "1"}
LINES = ["tokenizer", "embedding_rows", "eos_pad", "dtype", "no_lora_keys", "weights", "rendering", "turn_ends"]
CONVERSATIONS = [
    [
        {"role": "system", "content": "금융 상담사"},
        {"role": "user", "content": f"질문 {i}: 기준금리는 누가 정하나요?"},
        {"role": "assistant", "content": f"답변 {i}: 금융통화위원회가 정합니다."},
    ]
    for i in range(8)
]
SFT = {
    "adapter": "qlora",
    "load_in_4bit": True,
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "lora_target_linear": True,
    "lora_modules_to_save": ["embed_tokens", "lm_head"],
    "tokens": ["<|im_start|>", "<|im_end|>"],
    "chat_template": "chatml",
    "eot_tokens": ["<|im_end|>"],  # the base's eos is </s>
    "sequence_len": 256,
    "sample_packing": False,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "max_steps": 2,
    "learning_rate": 0.01,
    "optimizer": "adamw_torch",
    "lr_scheduler": "constant",
    "bf16": False,
    "tf32": False,
    "lora_mlp_kernel": False,
    "lora_qkv_kernel": False,
    "lora_o_kernel": False,
    "save_strategy": "no",
}
# Bare merges first: our merge patches axolotl for the rest of its process.
MERGES = """
import sys, yaml
from pathlib import Path
from axolotl.cli.merge_lora import do_cli
from alphaf_orch.programs.merging import merge_adapter
for name in ("bare", "no_nf4", "single_quant"):
    do_cli(config=f"{name}.yaml")
for name in ("qlora", "lora"):
    contract = merge_adapter.read_contract(Path(f"{name}.yaml"), Path(f"{name}.contract.yaml"))
    merge_adapter.merge(Path(f"{name}.yaml"), contract)
"""


def run(*argv: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, cwd=cwd, env=ENV, capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done


def merge_yaml(kind: str, path: Path, base: Path, adapter: Path, scratch: Path) -> dict[str, Any]:
    """Render the shipped template to `path` and return its values."""
    import jinja2

    env = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    env.filters["yaml"] = lambda value: json.dumps(value)  # JSON scalars are YAML scalars
    text = (ROOT / "templates" / "merge_adapter" / f"{kind}.yaml.j2").read_text("utf-8")
    values = {"base_model": str(base), "base_revision": None, "trust_remote_code": False}
    rendered = env.from_string(text).render(values, adapter_dir=str(adapter), scratch_dir=str(scratch))
    path.write_text(rendered, "utf-8")
    loaded: dict[str, Any] = yaml.safe_load(rendered)
    return loaded


def contract_values(kind: str, work: Path, name: str, base: Path, trained: Path, dtype: str) -> dict[str, Any]:
    return {
        "base_model": str(base),
        "base_revision": None,
        "adapter_dir": str(work / f"{name}_adapter"),
        "scratch_dir": str(work / f"{name}_scratch"),
        "merged_dir": str(work / f"{name}_merged"),
        "adapter": kind,
        "dtype": dtype,
        "probe": str(work / "probe.jsonl"),
        "trained_ids": str(trained),
        "report": str(work / f"{name}_report.json"),
        "sampled_tensors": 99,  # all of a tiny model, so that a sabotage cannot hide
    }


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def peft_adapter(base: Path, folder: Path, *, four_bit: bool, **settings: Any) -> Path:
    """Save a random adapter on `base`, as peft writes one, with the base's tokenizer beside it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer

    model = get_peft_model(load(base, four_bit=four_bit), LoraConfig(task_type="CAUSAL_LM", **settings))
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.05)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def load(base: Path, *, four_bit: bool) -> Any:
    """Return the model as QLoRA training loads it (axolotl's settings), or plainly."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    return AutoModelForCausalLM.from_pretrained(base, quantization_config=quantised if four_bit else None)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three bases and adapters: `sft` (axolotl), `qlora` and `lora` (peft), all merged."""
    work = tmp_path_factory.mktemp("contract")
    probe = write_rows(work / "probe.jsonl", [{"messages": messages} for messages in CONVERSATIONS])

    # sft: axolotl adds the ChatML tokens, so the embeddings grow and are saved with the adapter.
    plain = save_base(work / "plain_base", chatml=False)
    data = [{"path": str(probe), "ds_type": "json", "type": "chat_template"}]
    where = {"base_model": str(plain), "output_dir": str(work / "sft_adapter")}
    sft = SFT | where | {"datasets": data, "dataset_prepared_path": str(work / "prepared")}
    (work / "sft.yaml").write_text(yaml.safe_dump(sft), "utf-8")
    launch = "-m accelerate.commands.launch --cpu --num_processes 1 --num_machines 1 --mixed_precision no"
    run(sys.executable, *launch.split(), "--dynamo_backend", "no", "-m", "axolotl.cli.train", "sft.yaml", cwd=work)
    values = contract_values("qlora", work, "sft", plain, work / "prepared", "float32")
    (work / "sft.contract.yaml").write_text(yaml.safe_dump(values), "utf-8")
    ours = merge_yaml("qlora", work / "merge.yaml", plain, work / "sft_adapter", work / "sft_scratch")

    # qlora: nothing but the linear layers trained. lora: bfloat16, sharded, rslora, one module with its own alpha.
    base = save_base(work / "base")
    peft_adapter(base, work / "qlora_adapter", four_bit=True, r=4, lora_alpha=8, target_modules="all-linear")
    half = save_base(work / "half_base", dtype="bfloat16")
    load(half, four_bit=False).save_pretrained(half, max_shard_size="100KB")
    (half / "model.safetensors").unlink()
    special = {"use_rslora": True, "alpha_pattern": {"q_proj": 32}, "rank_pattern": {"v_proj": 2}}
    targets = ["q_proj", "v_proj", "down_proj"]
    peft_adapter(half, work / "lora_adapter", four_bit=False, r=4, lora_alpha=8, target_modules=targets, **special)
    ids = [tokenizer().apply_chat_template(row, tokenize=True, return_dict=False) for row in CONVERSATIONS]
    rows = [{"messages": m, "input_ids": i} for m, i in zip(CONVERSATIONS, ids, strict=True)]
    trained = write_rows(work / "trained.jsonl", rows)
    for name, model, dtype in (("qlora", base, "float32"), ("lora", half, "bfloat16")):
        values = contract_values(name, work, name, model, trained, dtype)
        (work / f"{name}.contract.yaml").write_text(yaml.safe_dump(values), "utf-8")
        merge_yaml(name, work / f"{name}.yaml", model, work / f"{name}_adapter", work / f"{name}_scratch")

    bare = {"bare": ours, "no_nf4": ours | {"adapter": "lora", "load_in_4bit": False}}
    single = yaml.safe_load((work / "qlora.yaml").read_text("utf-8"))
    bare["single_quant"] = {k: v for k, v in single.items() if k != "bnb_config_kwargs"}
    for name, values in bare.items():
        out = values | {"output_dir": str(work / name)}
        (work / f"{name}.yaml").write_text(yaml.safe_dump(out), "utf-8")
    run(sys.executable, "-c", MERGES, cwd=work)
    return work


@pytest.fixture(scope="module")
def merged(work: Path) -> subprocess.CompletedProcess[str]:
    """Run our merge of the axolotl adapter over the leavings of a killed one; return the finished process."""
    from alphaf_orch.programs.merging import merge_adapter

    (work / "sft_scratch" / "merged").mkdir(parents=True)
    (work / "sft_scratch" / merge_adapter.MARK).touch()
    (work / "sft_scratch" / "merged" / "model-00001-of-00009.safetensors").write_text("half a shard")
    argv = ("--config", "merge.yaml", "--contract", "sft.contract.yaml")
    return run(sys.executable, "-m", "alphaf_orch.programs.merging.merge_adapter", *argv, cwd=work)


def contract_of(work: Path, name: str, **changes: Any) -> Any:
    from alphaf_orch.programs.merging.contract import Contract

    values = yaml.safe_load((work / f"{name}.contract.yaml").read_text("utf-8"))
    return dataclasses.replace(Contract.from_mapping(values), **changes)


def broken(contract: Any, folder: Path) -> dict[str, Any]:
    """Return the violated lines by name, having checked that every line of the contract reported."""
    from alphaf_orch.programs.merging.contract import check

    lines = check(contract, folder)
    assert [line.line for line in lines] == LINES
    return {line.line: line for line in lines if not line.ok}


def test_our_merge_holds_the_contract_and_leaves_only_the_whole_folder(work: Path, merged: Any) -> None:
    report = json.loads((work / "sft_report.json").read_text("utf-8"))
    assert report["ok"] is True
    assert {line["line"]: line["ok"] for line in report["lines"]} == dict.fromkeys(LINES, True)
    by_name = {line["line"]: line for line in report["lines"]}
    assert by_name["embedding_rows"]["measured"] == {"model.embed_tokens.weight": 322, "lm_head.weight": 322}
    assert by_name["weights"]["measured"]["tensors"] == 19  # all but the second norms of a kind
    ends = by_name["turn_ends"]["measured"]
    assert (ends["ends"], ends["ends_untrained"], ends["others_trained"], ends["rows"]) == (["<|im_end|>"], 0, 0, 8)
    generation = json.loads((work / "sft_merged" / "generation_config.json").read_text("utf-8"))
    assert generation["eos_token_id"] == [2, 321]
    assert sorted(path.name for path in (work / "sft_merged").iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not (work / "sft_scratch").exists()


def test_axolotl_still_copies_the_base_tokenizer(work: Path, merged: Any) -> None:
    # Documents a fault we mend by laying the adapter's files over; once this fails, axolotl has mended it.
    lines = broken(contract_of(work, "sft"), work / "bare" / "merged")
    assert sorted(lines) == ["rendering", "tokenizer", "turn_ends"]
    assert lines["tokenizer"].measured["size"] == 320
    assert lines["tokenizer"].expected["size"] == 322
    assert "2 tokens of the trained vocabulary are missing" in lines["tokenizer"].detail
    assert lines["rendering"].detail == "the tokenizer has no chat template"


def test_axolotl_still_quantises_untrained_embeddings_and_only_once(work: Path) -> None:
    # Documents two faults we mend: NF4 noise on embed_tokens and lm_head, single quantisation by default.
    weights = broken(contract_of(work, "qlora"), work / "single_quant" / "merged")["weights"]
    assert "lm_head.weight is off by 0.0" in weights.detail
    assert "model.embed_tokens.weight is off by 0.0" in weights.detail
    assert weights.detail.endswith("13 more")  # all 14 linear layers, by what double quantisation does


@pytest.mark.parametrize("name", ["qlora", "lora"])
def test_peft_adapters_merge_within_the_contract(work: Path, name: str) -> None:
    assert broken(contract_of(work, name), work / f"{name}_scratch" / "merged") == {}


def test_merged_model_computes_what_training_computed(work: Path) -> None:
    import torch
    from peft import PeftModel

    from alphaf_orch.programs.training.cpu_quantization import KeepGradients

    trained = PeftModel.from_pretrained(load(work / "base", four_bit=True), str(work / "qlora_adapter"))
    # As the trainers do: on some CPUs the first evaluation would repack the weights for a bfloat16 kernel.
    KeepGradients().on_train_begin(model=trained)
    merged = load(work / "qlora_scratch" / "merged", four_bit=False)
    base = load(work / "base", four_bit=False)
    ids = torch.arange(5, 69)[None]
    with torch.no_grad():
        wanted, found, untrained = (model(ids).logits for model in (trained, merged, base))
    assert (wanted - found).abs().max() < 1e-5 < (wanted - untrained).abs().max() / 100


def edit_tensors(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values, ensure_ascii=False), "utf-8")


Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


def exchange_tokens(folder: Path) -> None:
    def exchange(values: dict[str, Any]) -> None:
        vocab = values["model"]["vocab"]
        vocab["þ"], vocab["ÿ"] = vocab["ÿ"], vocab["þ"]  # bytes no UTF-8 text holds

    edit_json(folder / "tokenizer.json", exchange)


def drop_row(folder: Path) -> None:
    def cut(tensors: dict[str, Any]) -> None:
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            tensors[name] = tensors[name][:-1].clone()

    edit_tensors(folder, cut)
    edit_json(folder / "config.json", lambda values: values.update(vocab_size=321))


def other_eos(folder: Path) -> None:
    edit_json(folder / "config.json", lambda values: values.update(eos_token_id=1))


def no_pad(folder: Path) -> None:
    edit_json(folder / "generation_config.json", lambda values: values.update(pad_token_id=None))


def half_norm(folder: Path) -> None:
    edit_tensors(folder, lambda t: t.update({"model.norm.weight": t["model.norm.weight"].half()}))


def leftover_key(folder: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.lora_A.weight"
    edit_tensors(folder, lambda t: t.update({name: t[Q_PROJ].clone()}))


def missing_key(folder: Path) -> None:
    edit_tensors(folder, lambda t: t.pop("model.layers.0.input_layernorm.weight"))


def perturb(folder: Path) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors[Q_PROJ][0, 0] += 1e-2

    edit_tensors(folder, change)


def perturb_norm(folder: Path) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors["model.norm.weight"][3] += 1e-2

    edit_tensors(folder, change)


def not_a_number(folder: Path) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors[Q_PROJ][0, 0] = float("nan")

    edit_tensors(folder, change)


def template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(CHATML.replace("'\\n' + message", "' ' + message"), "utf-8")


@pytest.mark.parametrize(
    ("sabotage", "violated", "detail"),
    [
        (exchange_tokens, ["tokenizer"], "2 tokens of the trained vocabulary are missing or moved"),
        # A row less is also a shape the recomputed embedding does not have.
        (drop_row, ["embedding_rows", "weights"], "model.embed_tokens.weight has 321 rows for 322 tokens"),
        (other_eos, ["eos_pad"], "config.json has eos_token_id 1, the tokenizer 2"),
        (no_pad, ["eos_pad"], "generation_config.json has pad_token_id None, the tokenizer 0"),
        (half_norm, ["dtype"], "1 of 21 tensors, first model.norm.weight"),
        (leftover_key, ["no_lora_keys"], "1 leftover, first model.layers.0.self_attn.q_proj.lora_A.weight"),
        (missing_key, ["no_lora_keys"], "1 missing, first model.layers.0.input_layernorm.weight"),
        (perturb, ["weights"], f"{Q_PROJ} is off by 0.01"),
        (perturb_norm, ["weights"], "model.norm.weight is off by 0.01"),
        (not_a_number, ["weights"], f"{Q_PROJ} is not finite"),
        # The template is part of the tokenizer, and its rendering is what the trained rows deny.
        (template, ["rendering", "tokenizer"], "none of 8 probe rows is among the trained rows; the closest"),
    ],
)
def test_each_sabotage_is_caught_by_its_line(
    work: Path, merged: Any, tmp_path: Path, sabotage: Callable[[Path], None], violated: list[str], detail: str
) -> None:
    folder = tmp_path / "merged"
    shutil.copytree(work / "sft_merged", folder)
    sabotage(folder)
    lines = broken(contract_of(work, "sft"), folder)
    assert sorted(lines) == violated
    assert lines[violated[0]].detail.startswith(detail)


def test_merge_without_nf4_round_trip_is_caught(work: Path, merged: Any, tmp_path: Path) -> None:
    folder = tmp_path / "merged"
    shutil.copytree(work / "sft_merged", folder)
    shutil.copy(work / "no_nf4" / "merged" / "model.safetensors", folder)
    lines = broken(contract_of(work, "sft"), folder)
    assert list(lines) == ["weights"]
    assert lines["weights"].measured["max_abs"] > 1e-3
    assert lines["weights"].measured["max_spacings"] > 1e5


def test_ids_nobody_trained_on_break_only_the_rendering(work: Path, merged: Any, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "ids.jsonl", [{"messages": CONVERSATIONS[0], "input_ids": [320, 5, 321]}])
    lines = broken(contract_of(work, "sft", trained_ids=(other,)), work / "sft_merged")
    assert list(lines) == ["rendering"]
    assert lines["rendering"].detail.startswith(
        "none of 8 probe rows is among the trained rows; the closest pair shares 1 ids"
    )


def test_embeddings_trained_apart_from_their_tied_head_are_caught(tmp_path: Path) -> None:
    from alphaf_orch.programs.merging.contract_weights import Models, weights_line

    base = save_base(tmp_path / "base", tied=True)
    settings = {"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}
    adapter = peft_adapter(base, tmp_path / "adapter", four_bit=False, **settings)
    line = weights_line(Models(base, base, adapter, "lora"), "float32", sampled=1, seed=0)
    assert line.detail.startswith(
        "model.embed_tokens.weight and lm_head.weight are tied in the base but were trained apart"
    )


def test_eos_may_be_one_of_several_and_pad_equal_to_eos_is_a_warning() -> None:
    from alphaf_orch.programs.merging.contract import eos_pad_line

    made = tokenizer()
    made.pad_token = made.eos_token
    ids = {"eos_token_id": made.eos_token_id, "pad_token_id": made.eos_token_id, "bos_token_id": made.bos_token_id}
    line = eos_pad_line(made, ids, ids | {"eos_token_id": [2, made.eos_token_id]})
    assert line.ok
    assert line.detail.startswith("warning: pad is eos")
    assert not eos_pad_line(made, ids, ids | {"eos_token_id": [2]}).ok


def merge_main(monkeypatch: pytest.MonkeyPatch, config: Path, contract: Path) -> int:
    """Run merge_adapter's main in this process and return its exit code."""
    from alphaf_orch.programs.common import program
    from alphaf_orch.programs.merging import merge_adapter

    monkeypatch.setattr(sys, "argv", ["merge_adapter", "--config", str(config), "--contract", str(contract)])
    try:
        program(merge_adapter.main)
    except SystemExit as stop:
        return int(str(stop.code))
    return 0


def test_a_violation_exits_8_and_keeps_the_scratch_folder_under_no_final_name(
    work: Path,
    merged: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from alphaf_orch.programs.merging import merge_adapter

    scratch = tmp_path / "scratch"
    shutil.copytree(work / "sft_merged", scratch / "merged")
    perturb(scratch / "merged")
    monkeypatch.setattr(merge_adapter, "merge", lambda config, contract: scratch / "merged")
    values = yaml.safe_load((work / "sft.contract.yaml").read_text("utf-8"))
    own = {key: str(tmp_path / key) for key in ("merged_dir", "report")} | {"scratch_dir": str(scratch)}
    (tmp_path / "contract.yaml").write_text(yaml.safe_dump(values | own), "utf-8")
    merge_yaml("qlora", tmp_path / "merge.yaml", work / "plain_base", work / "sft_adapter", scratch)
    assert merge_main(monkeypatch, tmp_path / "merge.yaml", tmp_path / "contract.yaml") == 8
    assert f"  weights: {Q_PROJ} is off by 0.01" in capsys.readouterr().err
    report = json.loads((tmp_path / "report").read_text("utf-8"))
    assert [line["line"] for line in report["lines"] if not line["ok"]] == ["weights"]
    assert (scratch / "merged" / "model.safetensors").is_file()
    assert not (tmp_path / "merged_dir").exists()


def test_a_finished_merge_is_never_made_again(
    work: Path, merged: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (work / "sft_merged" / "model.safetensors").stat()
    assert merge_main(monkeypatch, work / "merge.yaml", work / "sft.contract.yaml") == 6
    assert capsys.readouterr().err.startswith("error: merged_dir exists already")
    assert (work / "sft_merged" / "model.safetensors").stat() == before


def test_a_fully_trained_folder_is_checked_in_place(
    work: Path, merged: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = yaml.safe_load((work / "sft.contract.yaml").read_text("utf-8"))
    full = {"adapter": "full", "adapter_dir": str(work / "sft_merged"), "report": str(tmp_path / "report.json")}
    (tmp_path / "contract.yaml").write_text(yaml.safe_dump(values | full), "utf-8")
    assert merge_main(monkeypatch, tmp_path / "unused.yaml", tmp_path / "contract.yaml") == 0
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["ok"] is True


def test_a_scratch_folder_of_something_else_is_not_deleted(tmp_path: Path) -> None:
    from alphaf_orch.programs.merging import merge_adapter

    (tmp_path / "weights.safetensors").write_text("precious")
    with pytest.raises(SystemExit) as stop:
        merge_adapter.fresh_scratch(tmp_path)
    assert stop.value.code == 2
    assert (tmp_path / "weights.safetensors").read_text() == "precious"


def test_contract_names_the_key_that_is_wrong() -> None:
    from alphaf_orch.programs.merging.contract import Contract

    with pytest.raises(ValueError, match="unknown key 'adaptor_dir'"):
        Contract.from_mapping({"adaptor_dir": "x"})
    with pytest.raises(ValueError, match="key 'adapter_dir' is missing"):
        Contract.from_mapping({})
