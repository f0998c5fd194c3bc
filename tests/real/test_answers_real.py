"""Answers as the real program generates them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from answer_place import Place

quiet = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.save_base(tmp_path_factory.mktemp("끝난 모델"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    return Place(tmp_path, monkeypatch)


SHORT = [
    {"id": "하나", "turns": ["금리가 뭐예요?"], "system": None},
    {"id": "둘", "turns": ["예금이 뭐예요?", "표로."], "system": "짧게."},
    {"id": "셋", "turns": ["비가 오나요?"], "system": None},
    {"id": "넷", "turns": ["총부채원리금상환비율을 계산합니다. 맞나요?"], "system": None},
    {"id": "다섯", "turns": ["a", "b", "c"], "system": None},
]


def settings(folder: Path, model: Path, prompts: list[dict] = SHORT, /, **changes: Any) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prompts.jsonl"
    file.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in prompts), "utf-8")
    return {
        "stage": "sft",
        "model": str(model),
        "revision": None,
        "trust_remote_code": False,
        "reference": str(model),
        "prompts": str(file),
        "output": str(folder / "out.jsonl"),
        "progress": str(folder / "progress.jsonl"),
        "key": "열쇠",
        "max_new_tokens": 12,
        "batch_size": 4,
    } | changes


def answered(config: dict[str, Any]) -> dict[str, dict]:
    """Run the program in this process and return the last line of each id."""
    from alphaf_orch.programs.evaluation import generate_answers

    generate_answers.run(config)
    return {row["id"]: row for row in lines(config)}


def lines(config: dict[str, Any]) -> list[dict]:
    return [json.loads(line) for line in Path(config["output"]).read_text("utf-8").splitlines()]


def by_hand(model: Path, messages: list[dict[str, str]], new: int) -> list[int]:
    """Return the greedy continuation, token by token, without generate() and without padding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    net = AutoModelForCausalLM.from_pretrained(model).eval()
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    start = len(ids)
    with torch.inference_mode():
        for _ in range(new):
            ids.append(int(net(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


@quiet
def test_every_turn_follows_the_models_own_answer(tmp_path, model):
    from transformers import AutoTokenizer

    found = answered(settings(tmp_path / "한 글", model))
    tokenizer = AutoTokenizer.from_pretrained(model)
    for prompt in SHORT:
        messages = [{"role": "system", "content": prompt["system"]}] if prompt["system"] else []
        said = []
        for turn in prompt["turns"]:
            messages.append({"role": "user", "content": turn})
            text = tokenizer.decode(by_hand(model, messages, 12), skip_special_tokens=True)
            said.append(text.rstrip("\ufffd").strip())
            messages.append({"role": "assistant", "content": said[-1]})
        row = found[prompt["id"]]
        assert row["turns"] == said
        # A random model meets no end.
        assert (row["tokens"], row["truncated"], row["key"]) == (12 * len(said), True, "열쇠")
        assert row["seconds"] > 0
    progress = [json.loads(line) for line in (tmp_path / "한 글" / "progress.jsonl").read_text().splitlines()]
    assert [line["step"] for line in progress] == [0, 4, 5, 7, 8]
    assert {line["max_steps"] for line in progress} == {8}


@quiet
def test_the_batch_size_changes_no_answer(tmp_path, model):
    one = answered(settings(tmp_path / "1", model, batch_size=1))
    four = answered(settings(tmp_path / "4", model, batch_size=4))
    assert {name: row["turns"] for name, row in one.items()} == {name: row["turns"] for name, row in four.items()}


@quiet
def test_a_cut_file_is_gone_on_with(tmp_path, model):
    config = settings(tmp_path, model)
    whole = answered(config)
    output = Path(config["output"])
    first = output.read_bytes().split(b"\n")
    # Two first turns are there, the third line was cut, and a line of another key lies among them.
    other = json.dumps({**json.loads(first[0]), "key": "다른 열쇠", "id": "셋"}).encode()
    output.write_bytes(b"\n".join([first[0], other, first[1], first[2][: len(first[2]) // 2]]))
    again = answered(config)
    assert {name: row["turns"] for name, row in again.items()} == {name: row["turns"] for name, row in whole.items()}
    rows = lines(config)  # each line is whole
    assert rows[0] == json.loads(first[0])
    made = [row["id"] for row in rows[3:]]
    kept = [json.loads(line)["id"] for line in (first[0], first[1])]
    assert len(rows) == 3 + 8 - 2
    assert not {name for name in kept if len(whole[name]["turns"]) == 1} & set(made)
    before = output.read_bytes()
    answered(config)
    assert output.read_bytes() == before


@quiet
def test_an_answer_ends_where_the_tokenizer_or_the_model_says(tmp_path, model):
    from transformers import GenerationConfig

    made = by_hand(model, [{"role": "user", "content": "금리가 뭐예요?"}], 12)
    place = next(i for i in range(2, 12) if made[i] not in made[:i])
    other = Path(shutil.copytree(model, tmp_path / "모델"))
    # What else a model's settings ask for is no part of the comparison.
    GenerationConfig(
        eos_token_id=[1, made[place]], do_sample=True, temperature=9.0, repetition_penalty=3.0
    ).save_pretrained(other)
    row = answered(settings(tmp_path / "a", other, SHORT[:1]))["하나"]
    assert (row["tokens"], row["truncated"]) == (place, False)


@quiet
def test_a_prompt_that_cannot_fit_is_named_before_the_first_answer(tmp_path, model):
    from alphaf_orch.programs.common import Failure
    from alphaf_orch.programs.evaluation import generate_answers

    config = settings(tmp_path, model, [*SHORT, {"id": "긴 것", "turns": ["예금 " * 300], "system": None}])
    with pytest.raises(Failure) as caught:
        generate_answers.run(config)
    assert caught.value.code == 3
    assert caught.value.message.startswith("error: the prompt 긴 것 has ")
    assert "the model holds 512" in caught.value.message
    # The room for every turn's answer counts: three of 170 tokens are more than 512.
    with pytest.raises(Failure, match="3") as caught:
        generate_answers.run(settings(tmp_path, model, max_new_tokens=170))
    assert "prompt 다섯" in caught.value.message
    assert "3 x 170 new ones" in caught.value.message
    assert not Path(config["output"]).exists()


@quiet
def test_a_prompt_that_the_template_refuses_is_named(tmp_path, model):
    from transformers import AutoTokenizer

    from alphaf_orch.programs.common import Failure
    from alphaf_orch.programs.evaluation import generate_answers

    strict = tmp_path / "엄격"
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + tokenizer.chat_template
    )
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(model).save_pretrained(strict)
    tokenizer.save_pretrained(strict)
    with pytest.raises(Failure) as caught:
        generate_answers.run(settings(tmp_path, strict))
    assert caught.value.message.startswith("error: the chat template refuses prompt 둘: no system")


def bare_and_trained(folder: Path) -> tuple[Path, Path, int]:
    """Return a base model without ChatML, the tokenizer that training made of its own, and the base's vocabulary."""
    base = tiny.save_base(folder / "base", chatml=False)
    trained = tiny.tokenizer(chatml=False)
    size = len(trained)
    trained.add_tokens([tiny.IM_START, tiny.IM_END], special_tokens=True)
    trained.eos_token, trained.chat_template = tiny.IM_END, tiny.CHATML
    trained.save_pretrained(folder / "trained")
    return base, folder / "trained", size


@quiet
def test_the_base_is_asked_as_its_trained_model_where_it_can_be(tmp_path, capsys):
    from alphaf_orch.programs.evaluation.answer_model import asked_through

    base, trained, size = bare_and_trained(tmp_path)
    config = settings(tmp_path, base, stage="base", reference=str(trained))
    conversation = [{"role": "user", "content": "a"}]
    fits = asked_through(config, size + 2)
    ids = fits.apply_chat_template(conversation, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert (ids[0], fits.eos_token_id) == (size, size + 1)
    assert "warning" not in capsys.readouterr().out
    narrow = asked_through(config, size)
    shown = narrow.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    assert shown == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    assert max(narrow(shown)["input_ids"]) < size
    assert "warning: training added 2 tokens" in capsys.readouterr().out
    # And the whole way, with a model that has no rows for them.
    assert answered(config).keys() == {"하나", "둘", "셋", "넷", "다섯"}


@quiet
def test_before_training_the_base_is_asked_as_training_will(tmp_path):
    from alphaf_orch.programs.evaluation.answer_model import asked_through

    base, _, size = bare_and_trained(tmp_path)
    special = {"bos_token": None, "eos_token": tiny.IM_END, "pad_token": "</s>"}
    setup = {"chat_template": "chatml", "added_tokens": [tiny.IM_START, tiny.IM_END], "special_tokens": special}
    config = settings(tmp_path, base, stage="base", reference=None) | setup
    fits = asked_through(config, size + 2)
    ids = fits.apply_chat_template([{"role": "user", "content": "a"}], tokenize=True, return_dict=False)
    # axolotl adds the special tokens first, then `tokens`: eos has the first new id.
    assert (ids[0], fits.eos_token, fits.eos_token_id) == (size + 1, tiny.IM_END, size)
    assert max(asked_through(config, size).get_vocab().values()) < size


@quiet
def test_a_batch_that_does_not_fit_is_made_smaller(tmp_path, model):
    import torch

    from alphaf_orch.programs.evaluation.answer_model import Made
    from alphaf_orch.programs.evaluation.generate_answers import Work, answer_all

    class Small:
        """A model whose memory holds two conversations."""

        def __init__(self) -> None:
            self.sizes: list[int] = []

        def encode(self, messages: list[dict[str, str]], name: str) -> list[int]:
            return list(range(sum(len(message["content"]) for message in messages)))

        def generate(self, batch: list[list[int]]) -> list[Made]:
            self.sizes.append(len(batch))
            if len(batch) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return [Made("답", 1, False) for _ in batch]

    small = Small()
    config = settings(tmp_path, model)
    answer_all(Work(config, small, SHORT), 4)
    assert small.sizes == [4, 3, 2, 2, 1, 2, 1]
    assert [row["id"] for row in lines(config)][:5] == ["넷", "둘", "하나", "셋", "다섯"]  # the longest first


@quiet
def test_the_program_says_what_failed_with_its_exit_code(tmp_path, model):
    def run(**changes: Any) -> tuple[int, str]:
        file = tmp_path / "설정.yaml"
        file.write_text(yaml.safe_dump(settings(tmp_path, model, **changes), allow_unicode=True), "utf-8")
        argv = [sys.executable, "-m", "alphaf_orch.programs.evaluation.generate_answers", str(file)]
        env = {**os.environ, "PYTHONUTF8": "1"}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200, check=False)
        return done.returncode, done.stderr + done.stdout

    code, said = run(max_new_tokens=0)
    assert (code, "error: max_new_tokens must be a whole number" in said) == (2, True)
    code, said = run(model=str(tmp_path / "없다"))
    assert (code, "error: cannot load the model" in said) == (4, True)
    assert f"where: {tmp_path / '없다'}" in said
    assert "Traceback" not in said


@quiet
def test_a_run_answers_with_the_real_program(place, model):
    shutil.rmtree(place.paths.merged("sft"))
    shutil.copytree(model, place.paths.merged("sft"))
    place.paths.config.write_text("model: tiny\n", "utf-8")
    made = place.ask(max_new_tokens=6)
    assert [len(answer.turns) for answer in made.values()] == [1, 2, 1, 1]
    assert made["둘"].tokens == 12
    shown = place.said.getvalue()
    assert "answers_sft: started" in shown
    assert "5 prompts" not in shown and "answers of sft: 4 prompts in" in shown
    log = place.paths.log("answers_sft").read_text("utf-8")
    assert "answers end at <|im_end|>" in log
    assert log.rstrip().endswith("4 prompts answered")
