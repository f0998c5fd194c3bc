"""A small bundle that is made once by the real pip and the hub's own library, of an index and a hub on this machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from bundled import CANARY, LOCK, PYTHON, TARGET, Install, Made
from hub_mirror import mirror
from small_packages import checkout, source, wheel

from alphaf_orch.bundle.make import make_bundle
from alphaf_orch.bundle.request import Request
from alphaf_orch.bundle.split import split


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    base = tmp_path_factory.mktemp("연결된 기계")
    index = tmp_path_factory.mktemp("index")  # PIP_FIND_LINKS is cut at spaces
    tag = f"cp{PYTHON.replace('.', '')}"
    wheel(index, "eins")
    wheel(index, "zwei", "2.0", tag=f"{tag}-{tag}-manylinux_2_17_{platform.machine()}")
    source(index, "quelle")
    data = base / "내 데이터.jsonl"
    data.write_text('{"a": 1}\n', encoding="utf-8")
    repo = {"config.json": b"{}", "model.safetensors": os.urandom(3_000_000), "pytorch_model.bin": b"a pickle"}
    with mirror({"models/org/judge": repo}) as hub, pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("PIP_", "HF_", "ALPHAF_")):
                patch.delenv(name)
        env = {
            "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index),
            "HF_ENDPOINT": hub.url, "HF_HOME": str(base / "hf"), "HF_TOKEN": CANARY,
        }  # fmt: skip
        for name, value in env.items():
            patch.setenv(name, value)
        request = Request(
            target=TARGET, accel="cpu", judge_models=["org/judge"], data=[str(data)],
            checkout=checkout(base / "checkout", LOCK),
        )  # fmt: skip
        said: list[str] = []
        folder = base / "묶음 1"
        lines = [*make_bundle(request, folder, None, said.append, dry=False)]
        parts = base / "묶음 1.parts"
        digest = split(folder, parts, 1_200_000)
        yield Made(folder, parts, request, index, hub, env, lines, said, digest)


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Return a function that calls the installer of a bundle, with a prefix below tmp_path."""

    def call(
        folder: Path, *options: str, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        prefix = () if "--prefix" in options else ("--prefix", str(tmp_path / "설치"))
        return subprocess.run(
            [*before, "sh", str(folder / "install.sh"), *prefix, *options],
            env={**os.environ, **(env or {})},
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return call


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    """Return a copy of the bundle that a test may damage."""
    return Path(shutil.copytree(made.folder, tmp_path / "옮긴 묶음"))
