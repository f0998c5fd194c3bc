"""Bills of materials by cyclonedx's own library: valid, the same for the same run, another for another model."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from report_runs import add_scores, make_run

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("AUDIT_PYTHON") or ROOT / ".venv-audit" / "bin" / "python")
needed = pytest.mark.skipif(not PYTHON.is_file(), reason="no .venv-audit here: `make setup-audit` makes it")
ALLOWED = {
    "flags": ["--trust-remote-code"],
    "files": [{"kind": "code", "model": "x", "file": "modeling_x.py", "bytes": 1, "sha256": "ab" * 32}],
}


# All of one start of python: the library and its schemas take seconds to load.
ASKED = """
import json, sys
from pathlib import Path
from audit import __main__ as audit, ml_bom
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
run, empty, locks, out = map(Path, sys.argv[1:])
weights = run / "dpo" / "merged" / "model.safetensors"
found = [ml_bom.written(RunPaths(run)).read_text("utf-8")]
(weights.parent / "README.md").write_text("a card that was written anew", "utf-8")
found.append(ml_bom.written(RunPaths(run)).read_text("utf-8"))
weights.write_bytes(b"abd")
found.append(ml_bom.written(RunPaths(run)).read_text("utf-8"))
try:
    ml_bom.bill(RunPaths(empty))
except RunStateError as error:
    found.append(error.what)
found.append(audit.bill("requirements", str(locks / "audit.lock"), out / "audit.cdx.json"))
(out / "found.json").write_text(json.dumps(found), "utf-8")
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The bill of a run's model, again, and of another model; what is said of a run without one; the bill of a lock."""
    place = tmp_path_factory.mktemp("audit")
    run = make_run(place / "나", allowed=ALLOWED)
    weights = run.merged("dpo") / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"abc")
    add_scores(run, ["dpo"])
    make_run(place / "빈", stages={})
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tools'}"}
    argv = [str(PYTHON), "-c", ASKED, str(run.root), str(place / "빈"), str(ROOT / "requirements"), str(place)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    values: list[str] = json.loads((place / "found.json").read_text(encoding="utf-8"))
    return [*values, (place / "audit.cdx.json").read_text(encoding="utf-8"), str(place)]


@needed
def test_the_bill_of_a_model_has_all_that_it_was_made_from(found):
    first = json.loads(found[0])
    model = first["metadata"]["component"]
    assert (first["bomFormat"], first["specVersion"], model["type"]) == ("CycloneDX", "1.6", "machine-learning-model")
    files = {file["name"]: file["hashes"][0]["content"] for file in model["components"]}
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files == {"model.safetensors": sha256, "x/modeling_x.py": "ab" * 32}
    (base,) = model["pedigree"]["ancestors"]
    assert base["purl"] == "pkg:huggingface/HuggingFaceTB/SmolLM2-135M-Instruct@local:80f847e7"
    assert base["licenses"] == [{"license": {"name": "Apache-2.0"}}]
    data = [each for each in first["components"] if each["type"] == "data"]
    assert [(each["name"], each["hashes"][0]["content"]) for each in data] == [("금융.jsonl", "08" * 32)]
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": "data:sft:0"}]
    assert len(model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]) >= 3
    said = {each["name"]: each["value"] for each in model["properties"]}
    assert said["alphaf:allowed-by"] == "--trust-remote-code" and len(said["alphaf:fingerprint:sft"]) == 64
    assert not re.search(r"/home|" + re.escape(found[-1]), found[0]), "no folder of this machine"


@needed
def test_the_bill_is_the_same_for_the_same_model_and_another_for_another(found):
    first, again, other = found[:3]
    assert again == first, "whatever its card says by now"
    assert json.loads(other)["serialNumber"] != json.loads(first)["serialNumber"]
    assert found[3] == "no model of the run is finished"


@needed
def test_the_bill_of_a_lock_has_every_package_and_no_time(found):
    bill, lock = json.loads(found[5]), (ROOT / "requirements" / "audit.lock").read_text(encoding="utf-8")
    assert len(bill["components"]) == int(found[4]) == sum("==" in line for line in lock.splitlines())
    assert "timestamp" not in bill.get("metadata", {}) and "serialNumber" not in bill


def test_no_advisories_are_never_taken_for_none(monkeypatch, tmp_path):
    from audit import __main__ as audit

    skipped = {"dependencies": [{"name": "x", "skip_reason": "not found"}], "fixes": []}
    answers = iter([json.dumps(skipped), "<html>proxy</html>"])

    def run(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, next(answers), "ConnectionError")

    monkeypatch.setattr(audit.subprocess, "run", run)
    assert audit.advisories(tmp_path / "x.lock")[1].startswith("NOT LOOKED UP: no source of advisories is reachable")
    known = {"name": "y", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
    answers = iter([json.dumps({"dependencies": [known, {"name": "x", "skip_reason": "?"}]})])
    found, said = audit.advisories(tmp_path / "x.lock")
    assert found == ["y 1: CVE-1, fixed in 2"] and said == "1 of 2 packages looked up at pypi"
