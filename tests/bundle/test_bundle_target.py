"""Which packages and wheels a target takes, what may lie in a bundle, how large a part is."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from alphaf_orch.bundle.files import below, check_place
from alphaf_orch.bundle.split import parse_size
from alphaf_orch.bundle.target import Target, needs_glibc, pinned
from alphaf_orch.core.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
OLD = Target("3.12", "x86_64", (2, 28))


def test_a_lock_is_read_for_the_target_not_for_this_machine() -> None:
    lock = (
        "# made by\none==1.0  # via x\ntwo==2.0 ; python_full_version < '3.12'\nThree_x==3 ; sys_platform == 'win32'\n"
        "four==4 ; platform_machine == 'aarch64'\n"
        "five==5.1 ; python_full_version >= '3.12' and sys_platform == 'linux'\n"
    )
    assert pinned(lock, OLD) == {"one": "1.0", "five": "5.1"}
    assert pinned(lock, Target("3.11", "aarch64", (2, 28))) == {"one": "1.0", "two": "2.0", "four": "4"}


@pytest.mark.parametrize("name", ["cpu", "gpu", "vllm", "nodeps"])
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_every_lock_of_ours_names_one_version_a_package_for_a_target(name: str, python: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    lines = [line.split("#")[0].strip() for line in lock.splitlines()]
    target = Target(python, "x86_64", (2, 28))
    fit = [Requirement(line) for line in lines if line]
    fit = [each for each in fit if each.marker is None or each.marker.evaluate(target.markers())]
    assert len(pinned(lock, target)) == len(fit) > 0


@pytest.mark.parametrize(
    ("wheel", "taken"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-py2.py3-none-any.whl", True),
        ("a-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True),
        ("a-1-cp310-abi3-manylinux_2_28_x86_64.whl", True),
        ("a-1-cp312-cp312-linux_x86_64.whl", True),
        ("a-1-cp312-cp312-manylinux_2_34_x86_64.whl", False),  # a newer glibc
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.whl", False),  # another python
        ("a-1-cp312-cp312-manylinux_2_17_aarch64.whl", False),
        ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", False),
        ("a-1-cp312-cp312t-manylinux_2_17_x86_64.whl", False),  # without the interpreter's lock
        ("a-1-cp312-cp312-win_amd64.whl", False),
    ],
)
def test_a_wheel_is_taken_as_the_targets_pip_would(wheel: str, taken: bool) -> None:
    assert OLD.takes(wheel) is taken


def test_the_oldest_glibc_a_wheel_names_counts() -> None:
    assert needs_glibc("a-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl") == (
        2,
        17,
    )
    assert needs_glibc("a-1-cp311-cp311-manylinux1_x86_64.whl") == (2, 5)
    assert needs_glibc("a-1-py3-none-any.whl") == (0, 0)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/."])
def test_no_file_leaves_the_bundle(path: str) -> None:
    with pytest.raises(DataError, match="no place inside a bundle"):
        check_place(path, "org/name")


@pytest.mark.parametrize("path", ["a\nb", "a\\b", "a\x7fb", 'say "x"', "a:b", "a?", "a\udcff"])
def test_no_name_is_taken_that_media_or_checksum_files_do_not_carry(path: str) -> None:
    with pytest.raises(DataError, match="which media and checksum files do not carry"):
        check_place(path, "org/name")


def test_links_are_seen_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [*below(tmp_path)] == ["a/b/file", "loop"]


@pytest.mark.parametrize(
    ("text", "count"), [("4G", 4 * 10**9), ("4GiB", 4 << 30), ("700m", 700 * 10**6), ("1.5 GB", 15 * 10**8)]
)
def test_the_size_of_a_part(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "4", "0G", "-4G", "4X", "G", "1e9", "nan", "9" * 400])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no size of a part"):
        parse_size(text)
