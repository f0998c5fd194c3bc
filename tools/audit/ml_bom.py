"""`make bom RUN=NAME`: the bill of materials of a trained model, made and checked by cyclonedx's own library."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from alphaf_orch.bundle.files import sha256
from alphaf_orch.core.errors import AlphafError, RunStateError
from alphaf_orch.core.masking import mask_values
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest, write_atomic
from alphaf_orch.inputs.hub_cache import is_repo_id
from alphaf_orch.runs.chain import MADE, model_folder, newest
from alphaf_orch.scores.results import TaskResult, run_results
from alphaf_orch.settings.options import run_paths

FILE = "model.cdx.json"
MODEL = "model"


def bill(paths: RunPaths) -> dict[str, Any]:
    """Return the bill of a run's newest finished model, equal for equal runs; raise RunStateError where there is none.

    The library (11.x) has no class for a modelCard, so that part is laid in; the whole is checked against the schema.
    """
    manifest = read_manifest(paths.manifest)
    stage = newest(paths, manifest, MADE)
    if stage is None:
        fix = "`alphaf run` makes one"
        raise RunStateError("no model of the run is finished", where=str(paths.root), fix=fix, code="run.unfinished")
    folder = model_folder(paths, stage, manifest)
    data, parts = list(_data(manifest)), [*_files(folder), *_code(manifest)]
    model = Component(
        name=paths.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=MODEL,
        version=_version(parts),
        licenses=[_licence(str(manifest["licence"]))],
        components=parts,
        pedigree=Pedigree(ancestors=_ancestors(manifest, stage)),
        properties=_properties(manifest, stage),
    )
    bom = Bom(components=[*data, *_tools(manifest)], metadata=BomMetaData(component=model, timestamp=_ended(manifest)))
    bom.register_dependency(model, data)
    bom.serial_number = uuid5(NAMESPACE_URL, f"alphaf:{model.version}:{_ended(manifest).isoformat()}")
    values: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    results = {task: found for task, found in run_results(paths).get(stage, {}).items() if found.believed}
    values["metadata"]["component"]["modelCard"] = _card(manifest, data, results)
    checked: dict[str, Any] = mask_values(values)
    return checked


def _files(folder: Path) -> Iterator[Component]:
    """Yield every file of the model with its SHA-256, but the card, which is written anew whenever a score comes in."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md"):
        if path.relative_to(folder).parts[0].startswith("checkpoint-"):
            continue
        yield _file(path.relative_to(folder).as_posix(), sha256(path))


def _file(name: str, digest: str, *said: Property) -> Component:
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)]
    return Component(name=name, type=ComponentType.FILE, bom_ref=f"file:{name}", hashes=hashes, properties=said)


def _code(manifest: Mapping[str, Any]) -> Iterator[Component]:
    """Yield the files that a flag let in."""
    for each in manifest.get("allowed", {}).get("files", []):
        said = Property(name="alphaf:allowed", value=each["kind"])
        yield _file(f"{each['model']}/{each['file']}", each["sha256"], said)


def _version(files: Iterable[Component]) -> str:
    """Return what stands for the files: a SHA-256 over their names and sums."""
    lines = (f"{file.name}\0{next(iter(file.hashes)).content}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _data(manifest: Mapping[str, Any]) -> Iterator[Component]:
    for section, found in manifest.get("data", {}).items():
        for number, each in enumerate(found):
            name = each["path"] if each["kind"] == "hub" else PurePath(each["path"]).name
            hashes = [HashType(alg=HashAlgorithm.SHA_256, content=each["sha256"])] if each.get("sha256") else []
            yield Component(
                name=name,
                type=ComponentType.DATA,
                bom_ref=f"data:{section}:{number}",
                hashes=hashes,
                version=str(each.get("revision") or "") or None,
                properties=[
                    Property(name="alphaf:for", value=section),
                    Property(name="alphaf:rows", value=str(each.get("rows"))),
                ],
            )


def _ancestors(manifest: Mapping[str, Any], stage: str) -> Iterator[Component]:
    base = {"model": manifest["base_model"], "revision": manifest["base_revision"], "licence": manifest["licence"]}
    partners = manifest.get("merge_partners", []) if stage == "merged" else []
    for number, each in enumerate((base, *partners)):  # partners of two makers may have one name
        name, revision = str(each["model"]), str(each["revision"] or "")
        hub = is_repo_id(name)
        yield Component(
            name=name if hub else PurePath(name).name,
            type=ComponentType.MACHINE_LEARNING_MODEL,
            version=revision or None,
            bom_ref=f"{f'partner:{number}' if number else 'base'}:{PurePath(name).name}",
            licenses=[_licence(str(each["licence"]))],
            purl=PackageURL("huggingface", *name.split("/"), version=revision or None) if hub else None,
        )


def _tools(manifest: Mapping[str, Any]) -> Iterator[Component]:
    versions = {"alphaf-orch": str(manifest["alphaf"])}
    for entry in manifest["stages"].values():
        versions |= entry.get("versions", {})
    for name, version in sorted(versions.items()):
        python = name == "python"
        kind = ComponentType.PLATFORM if python else ComponentType.LIBRARY
        purl = None if python else PackageURL("pypi", None, name, version)
        yield Component(name=name, version=version, type=kind, bom_ref=f"tool:{name}", purl=purl)


def _licence(text: str) -> DisjunctiveLicense:
    """Return a licence by the name that the preset or card states: those of models are mostly none of SPDX."""
    return DisjunctiveLicense(name=text)


def _properties(manifest: Mapping[str, Any], stage: str) -> Iterator[Property]:
    yield Property(name="alphaf:stage", value=stage)
    if manifest.get("git_commit"):
        yield Property(name="alphaf:commit", value=str(manifest["git_commit"]))
    for flag in manifest.get("allowed", {}).get("flags", []):
        yield Property(name="alphaf:allowed-by", value=flag)
    for name, entry in manifest["stages"].items():
        if entry["state"] == "done":
            yield Property(name=f"alphaf:fingerprint:{name}", value=entry["fingerprint"])


def _ended(manifest: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(max(entry["ended"] for entry in manifest["stages"].values() if "ended" in entry))


def _card(manifest: Mapping[str, Any], data: Iterable[Component], scores: Mapping[str, TaskResult]) -> dict[str, Any]:
    """Return CycloneDX's model card: what it was trained on and for, and how it scored."""
    trained = [name for name in ("sft", "dpo") if manifest["stages"].get(name, {}).get("state") == "done"]
    metrics = [
        {"type": name, "value": f"{metric.value:.6g}", "slice": f"{task}, n={metric.n}"}
        for task, found in sorted(scores.items())
        for name, metric in found.metrics.items()
    ]
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "text-generation",
            "datasets": [{"ref": str(each.bom_ref)} for each in data],
        },
        **({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}),
        "considerations": {
            "technicalLimitations": ["Figures and citations can be wrong: check them before anybody relies on them."]
        },
        "properties": [{"name": "alphaf:trained", "value": ", ".join(trained)}],
    }


def written(paths: RunPaths) -> Path:
    """Write the bill beside the run's manifest and return its place; raise AlphafError where the schema refuses it."""
    text = json.dumps(bill(paths), indent=1, ensure_ascii=False) + "\n"
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem:
        raise AlphafError(
            "the bill is no valid CycloneDX",
            where=str(problem.data)[:500],
            fix="this is a defect of ours",
            code="alphaf.defect",
        )
    place = paths.root / FILE
    write_atomic(place, text)
    return place


def main(argv: list[str] | None = None) -> int:
    """Write the bill of --run."""
    parser = argparse.ArgumentParser(prog="bom", description=__doc__)
    parser.add_argument("--run", required=True)
    try:
        print(f"written: {written(run_paths(parser.parse_args(argv).run))}")
    except AlphafError as error:
        print(f"error: {error.what}\n  where: {error.where}\n  next:  {error.fix}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
