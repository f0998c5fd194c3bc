"""Stands in for a python with lm-eval: answers every question of the tasks it is given, in lm-eval's own files.

FAKE_TOOL names a JSON file {STAGE: BEHAVIOUR}; every call is appended to calls.jsonl beside it. Behaviours: ok,
template, eos, prompt, short, fewer, killed, nan, no_scores, fail, late (results, then exit 1), hang; for `tokenizer` ok
or fail.
"""

import json
import os
import signal
import sys
import time
from hashlib import sha256
from pathlib import Path

import yaml

TEMPLATE = "chatml, as a test has it\n"
FACTS = {
    "chat_template_sha256": sha256(TEMPLATE.encode()).hexdigest(),
    "eos": ["<|im_end|>", 4],
    "pad": ["</s>", 2],
    "bos": ["<s>", 1],
    "tokens": 320,
    "embedding_rows": 320,
    "with_system": ["<|im_start|>system\n", "<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"],
    "without_system": ["", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"],
    "warnings": [],
}


def look_at_tokenizers(config: dict, behaviour: str) -> None:
    if behaviour == "fail":
        sys.exit("error: the dpo model has another vocabulary\n  where: there\n  next:  merge again")
    stages = {model["stage"]: {**FACTS, "tokenizer": config["reference"]} for model in config["models"]}
    Path(config["output"]).write_text(json.dumps({"reference": config["reference"], "stages": stages}), "utf-8")


def task_values(path: Path) -> dict:
    values = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    return {**(task_values(Path(values["include"])) if "include" in values else {}), **values}


def chat(task: dict, question: str) -> str:
    system = f"<|im_start|>system\n{task['description']}<|im_end|>\n" if task.get("description") else ""
    return f"{system}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{task.get('gen_prefix', '')}"


def sample(number: int, doc: dict, task: dict) -> dict:
    prompt = chat(task, doc["question"])
    common = {"doc_id": number, "doc": doc, "filter": "none", "doc_hash": sha256(str(doc).encode()).hexdigest()}
    if task["output_type"] == "generate_until":
        answers = [f"답 {number}"]
        return {
            **common,
            "target": doc["answer"],
            "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": []}}},
            "resps": [answers],
            "filtered_resps": answers,
            "metrics": ["exact_match"],
            "exact_match": float(number % 2),
        }
    options = task["doc_to_choice"]
    return {
        **common,
        "target": str(doc["answer"]),
        "arguments": {f"gen_args_{i}": {"arg_0": prompt, "arg_1": option} for i, option in enumerate(options)},
        "resps": [[[str(-1.0 - i), "False"]] for i in range(len(options))],
        "filtered_resps": [[str(-1.0 - i), "False"] for i in range(len(options))],
        "metrics": ["acc"],
        "acc": float(doc["answer"] == 0),
    }


def evaluate(config: dict, behaviour: str) -> None:
    output = Path(config["output_path"])
    print("Running loglikelihood requests:  50%|#####     | 2/4 [00:01<00:01,  2.00it/s]", flush=True)
    if behaviour == "hang":
        Path(config["use_cache"]).parent.mkdir(parents=True, exist_ok=True)
        Path(f"{config['use_cache']}_rank0.db").write_text("answers")
        time.sleep(60)
    if behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "fail":
        sys.exit("RuntimeError: CUDA out of memory")
    results, sizes, better = {}, {}, {}
    for name in config["tasks"]:
        task = task_values(Path(config["include_path"]) / f"{name}.yaml")
        rows = Path(task["dataset_kwargs"]["data_files"]["test"]).read_text(encoding="utf-8").splitlines()
        chosen = [json.loads(row) for row in rows][: config["limit"]]
        chosen = chosen[:-1] if behaviour == "fewer" else chosen
        samples = [sample(number, doc, task) for number, doc in enumerate(chosen)]
        if behaviour == "prompt":
            samples[-1]["arguments"]["gen_args_0"]["arg_0"] = "### 질문: " + chosen[-1]["question"]
        metric = samples[0]["metrics"][0]
        value = float("nan") if behaviour == "nan" else sum(s[metric] for s in samples) / len(samples)
        if behaviour != "no_scores":
            results[name] = {"alias": name, f"{metric},none": value, f"{metric}_stderr,none": 0.1}
        better[name] = {metric: True}
        sizes[name] = {"original": len(rows), "effective": len(samples)}
        lines = samples[:-1] if behaviour == "short" else samples
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        output.with_name(f"samples_{name}_2026-01-02T03-04-05.000001.jsonl").write_text(text, "utf-8")
    eos = ["</s>", "2"] if behaviour == "eos" else [FACTS["eos"][0], str(FACTS["eos"][1])]
    values = {
        "results": results,
        "configs": {name: {} for name in config["tasks"]},
        "higher_is_better": better,
        "n-shot": dict.fromkeys(config["tasks"], 0),
        "n-samples": sizes,
        "config": {"batch_size": config["batch_size"], "batch_sizes": [], "model_dtype": "torch.float32"},
        "chat_template_sha": "0" * 64 if behaviour == "template" else FACTS["chat_template_sha256"],
        "tokenizer_eos_token": eos,
        "tokenizer_pad_token": ["</s>", "2"],
        "tokenizer_bos_token": ["<s>", "1"],
    }
    output.with_name("results_2026-01-02T03-04-05.000001.json").write_text(json.dumps(values), "utf-8")
    if behaviour == "late":
        sys.exit("the table could not be printed")


def main() -> None:
    arguments = " ".join(sys.argv[1:])
    control = Path(os.environ["FAKE_TOOL"])
    behaviours = json.loads(control.read_text(encoding="utf-8"))
    if "programs.versions" in arguments:
        print(json.dumps(behaviours.get("versions", {"python": "3.11.0", "lm-eval": "0.4.11"})))
        return
    if sys.argv[1] == "-c":  # which packages for servers are lacking
        print(behaviours.get("lacking", ""))
        return
    file = Path(next(word for word in sys.argv if word.endswith(".yaml")))
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    name = file.stem.removeprefix("eval_")
    offline = os.environ.get("HF_HUB_OFFLINE")
    with control.with_name("calls.jsonl").open("a", encoding="utf-8") as calls:
        calls.write(json.dumps({"stage": name, "argv": sys.argv[1:], "config": config, "offline": offline}) + "\n")
    if name == "tokenizer":
        look_at_tokenizers(config, behaviours.get(name, "ok"))
    else:
        evaluate(config, behaviours.get(name, "ok"))


if __name__ == "__main__":
    main()
