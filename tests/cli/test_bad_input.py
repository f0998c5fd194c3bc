"""What people get wrong: each case ends before anything is launched, with its exit code and a message that helps."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

OK = {"messages": [{"role": "user", "content": "금리란?"}, {"role": "assistant", "content": "돈의 값입니다."}]}


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def refused(result, code: int, *parts: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    for part in (*parts, "\n  where: ", "\n  next:  "):
        assert part in result.stderr, result.stderr
    assert "Traceback" not in result.output
    assert not Path(os.environ["ALPHAF_RUNS"]).exists(), "something was written"


def test_unknown_model(alphaf):
    refused(
        alphaf("sft", "--model", "eve"),
        4,
        "no model is called 'eve'; did you mean 'eeve'?",
        "known models: eeve, eeve-instruct, orion",
    )


def test_no_model(alphaf):
    refused(alphaf("sft"), 2, "no model is named", "`alphaf models` lists them")


def test_a_path_that_is_no_folder(alphaf):
    refused(alphaf("sft", "--model", "./없는/폴더"), 4, "is neither a folder nor a hub id")


def test_unknown_key(alphaf):
    refused(alphaf("sft", "--model", "tiny", "--set", "lora_rank=64"), 2, "lora_rank: did you mean lora_r?")


def test_wrong_type(alphaf):
    refused(
        alphaf("sft", "--model", "tiny", "--set", "learning_rate=빠르게"),
        2,
        "learning_rate is '빠르게', which is no number",
    )


def test_unknown_key_in_the_config_file(alphaf, tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("model: tiny\nadaptor: lora\n", encoding="utf-8")
    refused(alphaf("sft", "--config", str(file)), 2, "unknown key adaptor", f"{file} line 2, key adaptor")


def test_wrong_type_in_the_config_file(alphaf, tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("model: tiny\ngpus: many\n", encoding="utf-8")
    refused(alphaf("sft", "--config", str(file)), 2, "gpus: ", "valid integer", f"{file} line 2, key gpus")


def test_a_config_that_is_not_yaml_names_the_line(alphaf, tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("model: tiny\nsft: [\n", encoding="utf-8")
    refused(alphaf("sft", "--config", str(file)), 2, "not valid YAML", f"{file} line 3")


def test_a_config_that_does_not_exist(alphaf):
    refused(alphaf("sft", "--config", "nope.yaml"), 2, "the config file does not exist", "nope.yaml")


def test_missing_file(alphaf, tmp_path):
    write(tmp_path / "학습.jsonl", OK)
    refused(alphaf("sft", "--model", "tiny", "--data", "학슴.jsonl"), 3, "no such file: 학슴.jsonl", "학습.jsonl")


def test_empty_file(alphaf, tmp_path):
    path = write(tmp_path / "빈.jsonl")
    refused(alphaf("sft", "--model", "tiny", "--data", path), 3, "the file has no rows", path)


def test_invalid_json_names_the_line(alphaf, tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(OK) + "\n{oops\n", encoding="utf-8")
    refused(alphaf("sft", "--model", "tiny", "--data", str(path)), 3, "invalid JSON", f"{path} line 2")


def test_wrong_role_order(alphaf, tmp_path):
    bad = {"messages": [OK["messages"][0], OK["messages"][0], OK["messages"][1]]}
    path = write(tmp_path / "d.jsonl", OK, bad)
    refused(alphaf("sft", "--model", "tiny", "--data", path), 3, f"{path} line 2", "messages[1]")


def test_empty_assistant_turn(alphaf, tmp_path):
    bad = {"messages": [OK["messages"][0], {"role": "assistant", "content": "  "}]}
    path = write(tmp_path / "d.jsonl", OK, OK, bad)
    refused(alphaf("sft", "--model", "tiny", "--data", path), 3, f"{path} line 3", "messages[1].content")


def test_no_chosen(alphaf, tmp_path):
    path = write(tmp_path / "p.jsonl", {"prompt": "금리란?", "rejected": "몰라요."})
    refused(alphaf("run", "--model", "tiny", "--dpo-data", path), 3, f"{path} line 1", "chosen")


def test_chosen_is_rejected(alphaf, tmp_path):
    path = write(tmp_path / "p.jsonl", {"prompt": "금리란?", "chosen": "값", "rejected": "값"})
    refused(alphaf("run", "--model", "tiny", "--dpo-data", path), 3, f"{path} line 1", "rejected")


def test_preference_data_given_to_sft(alphaf, tmp_path):
    path = write(tmp_path / "p.jsonl", {"prompt": "금리란?", "chosen": "값", "rejected": "몰라"})
    refused(alphaf("sft", "--model", "tiny", "--data", path), 3, "no conversation: give this file to DPO")


def test_not_utf8(alphaf, tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(json.dumps(OK, ensure_ascii=False).encode("cp949") + b"\n")
    refused(alphaf("sft", "--model", "tiny", "--data", str(path)), 3, "UTF-8", f"{path} line 1", "iconv")


@pytest.mark.parametrize("name", ["../밖", "a/b", "..", ".hidden", "이름 둘"])
def test_a_run_name_with_a_path_in_it(name, alphaf):
    refused(alphaf("sft", "--model", "tiny", "--run", name), 2, f"{name!r} is not a run name")


def test_gpu_count_names_both_numbers(alphaf, tmp_path, monkeypatch):
    """A complete local model stands in for the weights, so that the GPUs are what lacks."""
    model = local_model(tmp_path)
    monkeypatch.setattr("alphaf_orch.core.hardware._all_gpus", lambda: ("H100", "H100"))
    refused(alphaf("sft", "--model", model, "--gpus", "4"), 5, "sft asks for 4 GPUs, this machine has 2", "--gpus 2")


def test_cuda_visible_devices_counts(alphaf, tmp_path, monkeypatch):
    model = local_model(tmp_path)
    monkeypatch.setattr("alphaf_orch.core.hardware._all_gpus", lambda: ("H100", "H100"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    refused(alphaf("sft", "--model", model, "--gpus", "2"), 5, "sft asks for 2 GPUs, this machine has 1")


def test_a_global_batch_that_cannot_be_cut(alphaf):
    refused(alphaf("sft", "--model", "eeve", "--gpus", "3", "--dry-run"), 2, "a global batch of 64", "3 GPUs")


def test_no_weights_and_offline(alphaf):
    refused(
        alphaf("sft", "--model", "eeve"), 4,
        "the weights of eeve are not on this machine", "hf download yanolja/EEVE-Korean-10.8B-v1.0", "--online",
    )  # fmt: skip


def test_remote_code(alphaf, tmp_path):
    model = local_model(tmp_path)
    file = Path(model) / "config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**values, "auto_map": {"AutoConfig": "configuration_x.X"}}), encoding="utf-8")
    (Path(model) / "configuration_x.py").touch()
    refused(alphaf("sft", "--model", model), 4, "runs python code that comes with its weights", "--trust-remote-code")


def test_no_space_left(alphaf, tmp_path, monkeypatch):
    """The model's config claims a size whose merged weights fit on no disk of today."""
    model = local_model(tmp_path, hidden_size=1 << 22, layers=4096)
    result = alphaf("sft", "--model", model, "--gpus", "0")
    assert result.exit_code == 5, result.output
    assert "will write about" in result.stderr
    assert " are free" in result.stderr
    assert "ALPHAF_RUNS" in result.stderr


def test_dpo_without_any_sft(alphaf):
    refused(alphaf("dpo"), 6, "there is no finished SFT to start DPO from")


def test_dpo_of_a_run_that_is_not_there(alphaf):
    refused(alphaf("dpo", "--run", "없음"), 6, "there is no run 없음")


def test_show_of_a_run_that_is_not_there(alphaf):
    refused(alphaf("show", "없음"), 6, "there is no run 없음")


def test_a_manifest_that_cannot_be_read(alphaf, tmp_path):
    broken = Path(os.environ["ALPHAF_RUNS"]) / "r" / "manifest.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{half", encoding="utf-8")
    result = alphaf("show", "r")
    assert result.exit_code == 6
    assert "the manifest cannot be read" in result.stderr


def test_a_defect_of_ours_is_no_stack_trace_either(alphaf, tmp_path):
    """An unforeseen exception goes to a file; the screen gets where it is and what to do."""
    import subprocess
    import sys

    code = (
        "import sys; from alphaf_orch.cli import main as cli\nfrom alphaf_orch.runs import find as session\n"
        "def boom(*_): raise RuntimeError('unforeseen')\n"
        "session.all_runs = boom\nsys.argv = ['alphaf', 'runs']\ncli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})  # fmt: skip
    assert done.returncode == 70
    assert done.stderr.startswith("error: alphaf itself failed: RuntimeError: unforeseen\n")
    assert "Traceback" not in done.stderr
    trace = Path(done.stderr.split("trace: ")[1].splitlines()[0])
    assert "raise RuntimeError('unforeseen')" in trace.read_text(encoding="utf-8") or "boom" in trace.read_text()


def local_model(folder: Path, hidden_size: int = 64, layers: int = 2) -> str:
    """Return a folder that looks complete; nothing loads it in these tests."""
    from fake_tool import safetensors

    model = folder / "모델"
    safetensors(model / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden_size,
        "num_hidden_layers": layers, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 4,
        "vocab_size": 300, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
    }  # fmt: skip
    (model / "config.json").write_text(json.dumps(config))
    (model / "tokenizer.json").write_text(
        json.dumps({"added_tokens": [], "model": {"vocab": {"<|im_start|>": 0, "<|im_end|>": 1, "</s>": 2}}})
    )
    (model / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", "pad_token": "</s>"}))
    return str(model)


def test_a_plan_says_what_the_data_were_taken_as(alphaf, tmp_path):
    path = write(tmp_path / "알파카.jsonl", {"instruction": "금리란?", "input": "", "output": "값", "id": 1})
    done = alphaf("plan", "--model", "tiny", "--data", path)
    assert done.exit_code == 0, done.output
    assert f"sft data: {path}\n  taken as: Alpaca (instruction, input, output), 1 rows\n" in done.stdout
    assert "  not used: id (1 rows)\n" in done.stdout


def test_a_plan_says_how_much_hangul_is_decomposed_until_it_is_normalised(alphaf, tmp_path):
    turns = [
        {"role": "user", "content": unicodedata.normalize("NFD", "금리란?")},
        {"role": "assistant", "content": "값"},
    ]
    path = write(tmp_path / "nfd.jsonl", {"messages": turns})
    said = "1 rows hold decomposed Hangul (NFD)"
    assert said in alphaf("plan", "--model", "tiny", "--data", path).stdout
    config = tmp_path / "c.yaml"
    config.write_text("normalize: NFC\n", encoding="utf-8")
    assert said not in alphaf("plan", "--model", "tiny", "--data", path, "--config", str(config)).stdout


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(
    "command",
    [
        ("estimate", "--model", "eeve", "--gpu-memory"),
        ("estimate", "--model", "eeve", "--rate"),
        ("ablate", "neftune", "--model", "tiny", "--alpha"),
        ("ablate", "neftune", "--model", "tiny", "--detect"),
        ("chat", "r", "--temperature"),
        ("merge-models", "--run", "r", "--t"),
    ],
    ids=lambda command: f"{command[0]} {command[-1]}",
)
def test_a_number_that_is_none_is_refused_as_bad_input(alphaf, command, number):
    result = alphaf(*command, number)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("number", [".nan", ".inf"])
@pytest.mark.parametrize(
    "setting",
    [
        "sft: {learning_rate: NUMBER}",
        "dpo: {beta: NUMBER}",
        "node_timeout: NUMBER",
        "stall_timeout: NUMBER",
        "merge: {partner: [eeve-instruct], method: ties, weight: [NUMBER, 1]}",
    ],
)
def test_a_setting_that_is_no_number_is_refused(alphaf, tmp_path, setting, number):
    config = tmp_path / "설정.yaml"
    config.write_text(f"model: eeve\n{setting.replace('NUMBER', number)}\n", encoding="utf-8")
    result = alphaf("plan", "--config", str(config))
    assert result.exit_code == 2, result.output
    assert f"key {setting.partition(':')[0]}" in result.stderr


def test_what_is_wrong_with_several_data_files_is_told_in_one_go(alphaf, tmp_path):
    chat = {"messages": [{"role": "user", "content": "가"}, {"role": "assistant", "content": "나"}]}
    (tmp_path / "하나.jsonl").write_text(json.dumps(chat) + '\n{"messages": []}\n', encoding="utf-8")
    (tmp_path / "쌍.jsonl").write_text('{"prompt": "가", "chosen": "나", "rejected": "나"}\n', encoding="utf-8")
    call = ("run", "--model", "tiny", "--data", "하나.jsonl", "--data", "없는.jsonl", "--dpo-data", "쌍.jsonl")
    result = alphaf(*call, "--dry-run")
    refused(result, 3, "3 mistakes:", "하나.jsonl line 2", "no such file: 없는.jsonl", "쌍.jsonl")
    assert not (tmp_path / "실행").exists()
