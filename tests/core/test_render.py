"""Rendering keeps YAML values what they are, and overrides change exactly their own line."""

import pytest
import yaml

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import template_folders
from alphaf_orch.core.render import Rendered, override, plain, render, to_yaml
from alphaf_orch.core.yaml_files import parse_yaml

AWKWARD = [
    None, True, 0, 2e-5, 1e22, "", "no", "1e-5", "null", "a: b", "# not a comment", "줄\n바꿈", "예적금 'q\" {{x}}",
    "<|im_start|>", "C:\\길", [1, None, "다"], {"키": {"안": [1.5]}}, "x" * 500,
]  # fmt: skip


@pytest.mark.parametrize("value", AWKWARD)
def test_every_value_survives_the_yaml_filter_on_one_line(value, tmp_path):
    template = tmp_path / "t.yaml.j2"
    template.write_text("key: {{ value | yaml }}\n", encoding="utf-8")
    rendered = render(template, {"value": value})
    assert rendered.values == {"key": value}
    assert rendered.text.count("\n") == 1
    assert yaml.safe_load(rendered.text) == {"key": value}


def test_a_shared_value_is_written_out_twice():
    shared = ["q_proj"]
    assert to_yaml([shared, shared]) == "[[q_proj], [q_proj]]"


def test_an_unknown_variable_is_an_error_that_names_the_known_ones(tmp_path):
    template = tmp_path / "t.yaml.j2"
    template.write_text("key: {{ valeu | yaml }}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        render(template, {"value": 1})
    assert "'valeu' is undefined" in caught.value.what
    assert caught.value.fix == "use one of: value"


def test_an_override_changes_its_own_line_and_says_who_asked_for_it():
    recipe = Rendered(
        "# head\nlora_r: 256  # [article]\nlora_r_2: 1\nseed: 42\n", {"lora_r": 256, "lora_r_2": 1, "seed": 42}
    )
    changed = override(recipe, [("model x", {"lora_r": 32}), ("yours", {"lora_r": 64, "max_steps": 5})], "t")
    assert changed.text == (
        "# head\nlora_r: 64  # yours; the recipe has 256\nlora_r_2: 1\nseed: 42\nmax_steps: 5  # yours\n"
    )
    assert changed.values == {"lora_r": 64, "lora_r_2": 1, "seed": 42, "max_steps": 5}


def test_an_override_returns_who_set_what_and_what_stood_there():
    recipe = Rendered("lora_r: 256  # [article]\nsteps: 4\n", {"lora_r": 256, "steps": 4})
    once = override(recipe, [("model x", {"lora_r": 32}), ("yours", {"lora_r": 64, "max_steps": 5})], "t")
    assert once.origins == {"lora_r": ("yours", "256"), "max_steps": ("yours", None)}
    twice = override(once, [("keeps the global batch on 2 device(s)", {"steps": 2, "max_steps": 6})], "t")
    assert twice.origins == {
        "lora_r": ("yours", "256"),
        "max_steps": ("keeps the global batch on 2 device(s)", "5"),
        "steps": ("keeps the global batch on 2 device(s)", "4"),
    }


def test_an_override_with_the_recipe_s_own_value_changes_nothing():
    recipe = Rendered("lora_r: 256  # [article]\n", {"lora_r": 256})
    assert override(recipe, [("yours", {"lora_r": 256})], "t") == recipe


def test_a_nested_override_keeps_the_other_nested_keys():
    recipe = Rendered(
        "special_tokens: {eos_token: a, pad_token: b}\n", {"special_tokens": {"eos_token": "a", "pad_token": "b"}}
    )
    changed = override(recipe, [("yours", {"special_tokens": {"pad_token": "c"}})], "t")
    assert changed.values == {"special_tokens": {"eos_token": "a", "pad_token": "c"}}


def test_an_override_that_does_not_fit_its_template_is_an_error():
    text = "datasets:\n  - path: x\n"
    with pytest.raises(ConfigError, match=r"an override of datasets did not fit|not valid YAML"):
        override(Rendered(text, yaml.safe_load(text)), [("yours", {"datasets": []})], "t")


def test_a_yaml_error_names_its_line():
    with pytest.raises(ConfigError) as caught:
        parse_yaml("a: 1\nb: [\n", "f.yaml")
    assert caught.value.where.startswith("f.yaml line ")


def test_plain_files_read_back_as_what_they_were_made_from():
    values = {"a": None, "b": "예", "c": [1]}
    assert parse_yaml(plain(values).text, "x") == values


def test_templates_hold_values_not_logic():
    (folder,) = template_folders()
    templates = sorted(folder.rglob("*.j2"))
    assert len(templates) >= 10
    for path in templates:
        text = path.read_text(encoding="utf-8")
        for forbidden in ("{%", "default(", "is defined", "{#"):
            assert forbidden not in text, f"{forbidden} in {path}"
        if path.parent.name == "judge" or path.name.endswith(".sbatch.j2"):
            continue  # a text for a model, and a script: not YAML
        assert text.count("{{") == text.count("| yaml }}"), f"{path}: every value goes through the yaml filter"


def test_every_recipe_line_has_its_source():
    (folder,) = template_folders()
    for path in [*sorted((folder / "sft").glob("*.j2")), *sorted((folder / "dpo").glob("*.j2"))]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("#") or line.startswith(("output_dir", "load_in_4bit: false")):
                continue
            assert "  # " in line, f"{path.name} line {number} has no source: {line}"
