"""Judge presets: names, URLs, keys; bad ones are refused with the file or option they came from."""

import pytest
import yaml
from judge_stub import PRESET

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import template_folders
from alphaf_orch.judging.preset import load_judge

SHIPPED = template_folders()


@pytest.fixture
def mine(tmp_path):
    """Return a function that writes a preset into a user's templates and returns the folders."""
    folder = tmp_path / "템플릿" / "judge"
    folder.mkdir(parents=True)

    def write(**changes):
        text = yaml.safe_dump({"url": "http://10.0.0.5:8000/v1", **PRESET, **changes}, allow_unicode=True)
        (folder / "mine.yaml").write_text(text, encoding="utf-8")
        return (folder.parent, *SHIPPED)

    return write


def test_the_default_is_a_server_on_this_machine():
    preset = load_judge("local", SHIPPED)
    assert preset.url == "http://127.0.0.1:8000/v1"
    assert (preset.model, preset.key(), preset.temperature) == (None, None, 0)


def test_a_url_takes_the_rest_from_the_default():
    preset = load_judge("https://judge.bank.local/v1", SHIPPED, model="Qwen", concurrency=3)
    local = load_judge("local", SHIPPED)
    changes = {"url": "https://judge.bank.local/v1", "model": "Qwen", "concurrency": 3}
    assert preset == local.model_copy(update=changes)


def test_options_replace_what_the_preset_says(mine):
    assert load_judge("mine", mine()).model == "심판"
    assert load_judge("mine", mine(), model="다른").model == "다른"


@pytest.mark.parametrize("url", ["http://", "ftp://x/v1", "127.0.0.1:8000", "http://x:port/v1", "file:///etc/passwd"])
def test_what_is_no_url_is_refused(mine, url):
    with pytest.raises(ConfigError, match="is no URL of a server") as caught:
        load_judge("mine", mine(url=url))
    assert "mine.yaml" in caught.value.where


@pytest.mark.parametrize("url", ["http://me:secret@x/v1", "http://x/v1?key=secret"])
def test_a_url_with_a_secret_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigError) as caught:
        load_judge(url, SHIPPED)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"temprature": 1}, "temprature"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"concurrency": 0}, "concurrency"),
        ({"max_tokens": "viel"}, "max_tokens"),
    ],
)
def test_a_wrong_key_or_value_is_named(mine, changes, what):
    with pytest.raises(ConfigError, match=what):
        load_judge("mine", mine(**changes))


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ConfigError) as caught:
        load_judge("nobody", SHIPPED)
    assert "local" in caught.value.fix


def test_the_key_comes_from_the_environment_alone(mine, monkeypatch):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(ConfigError, match="JUDGE_KEY is not set"):
        load_judge("mine", mine(api_key_env="JUDGE_KEY"))
    monkeypatch.setenv("JUDGE_KEY", " s3cret\n")
    preset = load_judge("mine", mine(api_key_env="JUDGE_KEY"))
    assert preset.key() == "s3cret"
    assert "s3cret" not in repr(preset)


def test_identity_is_of_the_judge_not_of_the_way_to_it(mine):
    one = load_judge("mine", mine())
    same = load_judge("mine", mine(url="http://elsewhere/v1", concurrency=9, timeout_s=9, retries=3))
    other = load_judge("mine", mine(temperature=0.5))
    assert one.identity("m") == same.identity("m")
    assert len({one.identity("m"), other.identity("m"), one.identity("n")}) == 3
