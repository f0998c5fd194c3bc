"""Packages of a few bytes: as wheels, as source that builds without anything else, and as a checkout with locks."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

# A build backend of its own, beside what it builds: nothing is fetched to build it.
_BACKEND = """
import zipfile
from pathlib import Path
def build_wheel(folder, config_settings=None, metadata_directory=None):
    Path(folder, {name!r}).write_bytes(Path("the.whl").read_bytes())
    return {name!r}
"""
_PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
# What `alphaf doctor` says there is a file's content: "ok", or "fail".
_ALPHAF = """
import os, sys
def main():
    print("alphaf", *sys.argv[1:], "HF_HOME=" + os.environ["HF_HOME"])
    sys.exit(9 if os.environ.get("DOCTOR") == "fail" else 0)
"""


def wheel(
    folder: Path, name: str, version: str = "1.0", *, tag: str = "py3-none-any", files: Mapping[str, str] = {}
) -> Path:
    """Write a wheel that pip installs."""
    about = f"{name}-{version}.dist-info"
    content = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n",
        **(files or {}),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nGenerator: ours\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    content[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(place, "w") as archive:
        for path, text in content.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return place


def source(folder: Path, name: str, version: str = "1.0", *, tag: str = "py3-none-any") -> Path:
    """Write a source distribution that builds to a wheel of that tag."""
    made = wheel(folder / "made", name, version, tag=tag)
    files = {
        "pyproject.toml": _PROJECT.encode(),
        "backend.py": _BACKEND.format(name=made.name).encode(),
        "the.whl": made.read_bytes(),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
    }
    place = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(place, "w:gz") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    made.unlink()
    made.parent.rmdir()
    return place


def checkout(folder: Path, lock: str) -> Path:
    """Write what `alphaf bundle` takes of a checkout: a lock, and a package whose `alphaf` says what it was told."""
    (folder / "requirements").mkdir(parents=True)
    (folder / "requirements" / "cpu.lock").write_text(lock, encoding="utf-8")
    (folder / "requirements" / "nodeps.lock").write_text("", encoding="utf-8")
    entry = {"alphaf_orch-0.1.0.dist-info/entry_points.txt": "[console_scripts]\nalphaf = alphaf_orch:main\n"}
    made = wheel(folder, "alphaf_orch", "0.1.0", files={"alphaf_orch/__init__.py": _ALPHAF, **entry})
    made.rename(folder / "the.whl")
    (folder / "pyproject.toml").write_text(_PROJECT, encoding="utf-8")
    (folder / "backend.py").write_text(_BACKEND.format(name=made.name), encoding="utf-8")
    return folder
