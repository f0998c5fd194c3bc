"""A chat template of the user's own, and a default system prompt in it: checked before the launch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import template_folders
from alphaf_orch.inputs.chat_templates import template_of
from alphaf_orch.settings.options import Options, settings

SHIPPED = template_folders()[-1] / "chat" / "chatml-system.jinja"
TOKENS = {"special_tokens": {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "</s>"}}
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def own(text: str, **more: Any) -> Any:
    return template_of({"chat_template": "jinja", "chat_template_jinja": text, **TOKENS, **more}, None)


def test_the_shipped_template_with_a_system_prompt_ends_turns_and_takes_a_system_turn() -> None:
    found = own(SHIPPED.read_text(encoding="utf-8"))
    assert (found.end, found.takes_system, found.drops_system) == ("<|im_end|>", True, False)


def test_the_shipped_template_puts_its_prompt_where_a_row_has_none() -> None:
    import jinja2

    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(SHIPPED.read_text(encoding="utf-8"))
    user, system = {"role": "user", "content": "질문"}, {"role": "system", "content": "우리 지침"}
    default = template.render(messages=[user], add_generation_prompt=True)
    assert default.startswith("<|im_start|>system\n당신은 금융 상담을 돕는 한국어 도우미입니다.")
    assert default.endswith("<|im_end|>\n<|im_start|>user\n질문<|im_end|>\n<|im_start|>assistant\n")
    own_system = template.render(messages=[system, user], add_generation_prompt=False)
    assert own_system == "<|im_start|>system\n우리 지침<|im_end|>\n<|im_start|>user\n질문<|im_end|>\n"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("m.content", "m.contnet", "fails with plain turns: 'dict object' has no attribute 'contnet'"),
        ("m.content + ", "'' ~ m.contnet + ", "leaves out what the user says"),
        ("assistant\n' }}{% endif", "bot\n' }}{% endif", "writes a prompt"),
        ("{{ '<|im_start|>assistant\n' }}", "", "asks for an answer (add_generation_prompt) otherwise"),
        ("{% endfor %}", "{% end %}", "cannot be read"),
    ],
)
def test_a_template_that_is_not_asked_as_it_is_trained_is_refused_with_its_file(old: str, new: str, what: str) -> None:
    assert own(CHATML).end == "<|im_end|>"
    assert old in CHATML
    with pytest.raises(ConfigError) as caught:
        own(CHATML.replace(old, new), chat_template_file="/틀/우리.jinja")
    assert what in caught.value.what
    assert caught.value.where.startswith("/틀/우리.jinja")


def test_a_model_s_own_template_may_do_as_it_likes(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text(CHATML.replace("m.content", "m.contnet"), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    assert template_of({**TOKENS}, tmp_path) is None  # the data stage says what it does to real rows


@pytest.mark.parametrize(
    ("sets", "what"),
    [
        (("chat_template=jinja", "chat_template_jinja=없는.jinja"), "chat_template_jinja names no file"),
        (("chat_template_jinja=우리.jinja",), "chat_template is chatml, with which chat_template_jinja is not read"),
        (("chat_template=jinja",), "chat_template is jinja, and no template is named"),
    ],
)
def test_a_template_that_would_not_be_read_is_refused(
    alphaf: Any, tmp_path: Path, sets: tuple[str, ...], what: str
) -> None:
    (tmp_path / "우리.jinja").write_text(CHATML, encoding="utf-8")
    refused = alphaf("plan", "--model", "tiny", *(word for each in sets for word in ("--set", each)))
    assert refused.exit_code == 2, refused.output
    assert what in refused.stderr


def test_the_file_of_a_template_is_remembered_absolute_and_looked_for_beside_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, here = tmp_path / "설정", tmp_path / "여기"
    folder.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    file = folder / "c.yaml"
    file.write_text("model: tiny\nsft: {chat_template: jinja, chat_template_jinja: 우리.jinja}\n", encoding="utf-8")
    for place in (folder, here):  # what is here goes before what lies beside the config
        (place / "우리.jinja").write_text(CHATML, encoding="utf-8")
        config, _ = settings(Options(config=file, run="r"))
        assert config.sft["chat_template_jinja"] == str(place / "우리.jinja")
    inline, _ = settings(Options(model="tiny", run="r", sets=("chat_template_jinja='{{ x }}'",)))
    assert inline.sft["chat_template_jinja"] == "{{ x }}"


@pytest.mark.parametrize(
    ("given", "made_of", "goes_on"),
    [
        ((), "우리.jinja", True),
        (("우리.jinja",), "우리.jinja", True),
        (("틀린.jinja",), "우리.jinja", False),
        ((), "다른.jinja", False),
    ],
)
def test_a_run_goes_on_with_the_text_of_a_file_that_is_gone_and_with_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], made_of: str, goes_on: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "실행" / "r"
    (run / "rendered").mkdir(parents=True)
    sft = {"chat_template": "jinja", "chat_template_jinja": str(tmp_path / "우리.jinja")}
    (run / "config.yaml").write_text(yaml.safe_dump({"model": "tiny", "sft": sft}, allow_unicode=True), "utf-8")
    line = f"chat_template_jinja: {json.dumps(CHATML)}  # read from {tmp_path / made_of}; the recipe has {tmp_path}\n"
    (run / "rendered" / "sft.yaml").write_text(line, "utf-8")
    config, _ = settings(Options(run="r", sets=tuple(f"chat_template_jinja={name}" for name in given)))
    named = str(tmp_path / (given or ("우리.jinja",))[0])
    assert config.sft["chat_template_jinja"] == (CHATML if goes_on else named)
    (tmp_path / "우리.jinja").write_text("{{ x }}", "utf-8")
    config, _ = settings(Options(run="r"))
    assert config.sft["chat_template_jinja"] == sft["chat_template_jinja"]  # what is there is read, and compared
