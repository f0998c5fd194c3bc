"""The commented profiles of SkyPilot and Kubernetes: each key in them is one, and each that there is stands in them."""

import re

import pytest

from alphaf_orch.clusters.profiles import load_profile
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import template_folders
from alphaf_orch.settings.clusters import Profile, parse_on


def uncommented(scheduler: str) -> str:
    """The shipped profile with every example in it said; of what one is in the place of another, both."""
    text = (template_folders()[-1] / "clusters" / f"{scheduler}.yaml").read_text(encoding="utf-8")
    return re.sub(r"^# ((?:  )*(?:- \{.*|[a-z_]+:.*))$", r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize("scheduler", ["skypilot", "kubernetes"])
def test_every_example_is_a_key_and_every_key_is_an_example(scheduler, tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text(uncommented(scheduler), encoding="utf-8")
    profile = load_profile(parse_on(f"{scheduler}:{file}"), template_folders())
    own = getattr(profile, scheduler)
    missing = set(type(own).model_fields) - own.model_fields_set
    assert missing <= {"labels", "disk_tier", "host_network"}  # seldom wanted: in docs/clusters-cloud.md alone
    assert profile.gpus_per_node == 8
    assert profile.stages["train"].memory


@pytest.mark.parametrize("scheduler", ["skypilot", "kubernetes"])
def test_the_shipped_profile_says_nothing_of_a_site(scheduler):
    assert load_profile(parse_on(scheduler), template_folders()) == Profile(scheduler=scheduler)


@pytest.mark.parametrize(
    ("scheduler", "text", "what", "line"),
    [
        ("skypilot", "skypilot:\n  acelerator: H100\n", "unknown key acelerator: did you mean accelerator?", 2),
        ("kubernetes", "kubernetes:\n  volume: []\n", "unknown key volume: did you mean volumes?", 2),
        (
            "kubernetes",
            "kubernetes:\n  volumes:\n  - {claim: a, path: /x, readonly: true}\n",
            "unknown key readonly: did you mean read_only?",
            3,
        ),
        ("kubernetes", "kubernetes:\n  tolerations:\n  - {taints: a}\n", "unknown key taints: did you mean taint?", 3),
    ],
)
def test_an_unknown_key_is_refused_with_its_line_and_the_nearest(scheduler, text, what, line, tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_profile(parse_on(f"{scheduler}:{file}"), template_folders())
    assert (refused.value.what, f"line {line}" in refused.value.where) == (what, True)
