"""What an index answers, read as pip would choose; a hub's repository listed without what a bundle must not carry."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_mirror import commit, mirror

from alphaf_orch.bundle.found import Package
from alphaf_orch.bundle.resolver import choose, index_variables
from alphaf_orch.bundle.target import Target
from alphaf_orch.programs.common import Failure
from alphaf_orch.programs.models import repository

OLD = Target("3.12", "x86_64", (2, 28))
URL = "https://files.example/a/"


def entry(*wheels: str, source: bool = True, version: str = "1.0") -> dict[str, Any]:
    """Return a package of pylock.toml as uv writes it."""
    found: dict[str, Any] = {"name": "a-b", "version": version, "wheels": []}
    for number, tag in enumerate(wheels):
        name = f"a_b-{version.replace('+', '%2B')}-{tag}.whl"
        found["wheels"].append({"url": URL + name, "size": 10 + number, "hashes": {"sha256": f"{number:064d}"}})
    if source:
        found["sdist"] = {"url": f"{URL}a_b-{version}.tar.gz", "size": 5, "hashes": {"sha256": "f" * 64}}
    return found


@pytest.mark.parametrize(
    ("wheels", "chosen"),
    [
        (("py3-none-any", "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64"), 1),  # compiled before pure
        (("cp310-abi3-manylinux_2_17_x86_64", "cp311-abi3-manylinux_2_17_x86_64"), 1),  # the newest stable ABI
        (("cp312-cp312-manylinux_2_34_x86_64", "cp312-cp312-manylinux_2_17_x86_64"), 1),  # not a newer glibc's
        (("cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-manylinux_2_28_x86_64"), 1),  # the newest that fits
    ],
)
def test_of_the_wheels_that_fit_the_best_is_taken(wheels: tuple[str, ...], chosen: int) -> None:
    found = choose(entry(*wheels), OLD)
    assert found == Package("a-b", "1.0", f"a_b-1.0-{wheels[chosen]}.whl", f"{chosen:064d}", 10 + chosen, False)
    assert found.requirement == f"a-b==1.0 --hash=sha256:{chosen:064d}"


def test_source_is_taken_where_no_wheel_fits_and_nothing_where_there_is_none() -> None:
    found = choose(entry("cp312-cp312-win_amd64"), OLD)
    assert found and found.source and found.file == "a_b-1.0.tar.gz"
    assert choose(entry("cp312-cp312-win_amd64", source=False), OLD) is None


def test_a_build_of_a_version_keeps_its_suffix() -> None:
    found = choose(entry("cp312-cp312-manylinux_2_28_x86_64", version="2.13.0+cpu"), OLD)
    assert found and found.file == "a_b-2.13.0+cpu-cp312-cp312-manylinux_2_28_x86_64.whl"
    assert found.requirement.startswith("a-b==2.13.0+cpu ")


def test_where_packages_come_from_stays_what_pip_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://user:secret@mirror.example/simple\n"
        "extra-index-url =\n  https://one.example/simple\n  https://two.example/simple\nfind-links = /never\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_FIND_LINKS", "/a /b")
    monkeypatch.delenv("PIP_NO_INDEX")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    found = index_variables(SimpleNamespace(work=tmp_path))  # type: ignore[arg-type]
    assert {key: found[key] for key in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "UV_INDEX_STRATEGY")} == {
        "UV_DEFAULT_INDEX": "https://user:secret@mirror.example/simple",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_FIND_LINKS": "/a,/b",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert "UV_NO_INDEX" not in found


def test_a_gated_repository_is_told_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    with mirror({"models/org/g": {"config.json": b"{}", "m.safetensors": b"x"}}) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        assert repository.listing("org/g", None, "model", pickles=False)["commit"] == commit("models/org/g")
        hub.gated.add("models/org/g")
        with pytest.raises(Failure) as caught:
            repository.listing("org/g", None, "model", pickles=False)
        assert not any("/resolve/" in asked for asked in hub.asked)
    assert "the repository is gated" in caught.value.message
    assert "export HF_TOKEN" in caught.value.message


def test_pickled_weights_come_only_where_they_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"config.json": b"{}", "pytorch_model.bin": b"p", "training_args.bin": b"p"}
    rows = {"data/a.parquet": b"1", "cache.pkl": b"p", "weights.PT": b"p"}
    with mirror({"models/org/p": files, "datasets/org/d": rows}) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        with pytest.raises(Failure, match=r"the weights are pickled \(pytorch_model\.bin\)"):
            repository.listing("org/p", None, "model", pickles=False)
        allowed = repository.listing("org/p", None, "model", pickles=True)
        data = repository.listing("org/d", None, "dataset", pickles=False)
    assert [file["path"] for file in allowed["files"]] == ["config.json", "pytorch_model.bin", "training_args.bin"]
    assert [file["path"] for file in data["files"]] == ["data/a.parquet"]
    assert data["left_out"] == ["cache.pkl", "weights.PT"]
