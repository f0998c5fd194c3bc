"""`make audit`: bills of materials of the locks and of what is installed; licences checked, advisories looked up."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from audit.exceptions import EXCEPTIONS
from audit.licences import LOCKS, problems, record, recorded

# Of pip-audit: the index's own advisories, then those of the Open Source Vulnerabilities project.
SERVICES = ("pypi", "osv")
_PATIENCE_S = 120


def bill(kind: str, what: str, place: Path) -> int:
    """Write the CycloneDX bill of a lock ("requirements") or of a python's environment; return its components.

    cyclonedx-py checks what it wrote against the schema; `--output-reproducible` leaves out times and random numbers.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "cyclonedx_py", kind, what, "--output-reproducible", "--validate", "-o", str(place)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: no bill of {what}: {done.stderr.strip()[-500:]}")
    return len(json.loads(place.read_text(encoding="utf-8")).get("components", ()))


def advisories(lock: Path) -> tuple[list[str], str]:
    """Return what is known against the packages of a lock, a line each, and what was looked up.

    pip-audit takes a package that a source does not know for one without faults: where it skipped all, none was asked.
    """
    said = ""
    for service in SERVICES:
        argv = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--no-deps", "--disable-pip", "--format", "json"]
        argv += ["--progress-spinner", "off", "--vulnerability-service", service]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
        except subprocess.TimeoutExpired:
            said = f"{service} did not answer in {_PATIENCE_S} s"
            continue
        try:
            packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            said = f"{service} cannot be reached: {(done.stderr.strip().splitlines() or ['no answer'])[-1][-200:]}"
            continue
        looked = [each for each in packages if "skip_reason" not in each]
        if not looked:
            said = f"{service} knows none of the {len(packages)} packages"
            continue
        found = [f"{e['name']} {e['version']}: {v['id']}, fixed in {', '.join(v['fix_versions']) or 'no version'}"
                 for e in looked for v in e["vulns"]]  # fmt: skip
        return found, f"{len(looked)} of {len(packages)} packages looked up at {service}"
    return [], f"NOT LOOKED UP: no source of advisories is reachable ({said})"


def main(argv: list[str] | None = None) -> int:
    """Return 1 where a licence or a package is not as it should be; that nothing could be looked up is said."""
    parser = argparse.ArgumentParser(prog="audit", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="of the environment to look at")
    parser.add_argument("--output", type=Path, default=Path("build/audit"), help="folder of the bills")
    parser.add_argument("--record", action="store_true", help="ask packages and index for all licences anew, and end")
    parser.add_argument("--strict", action="store_true", help="fail where advisories cannot be looked up")
    args = parser.parse_args(argv)
    if args.record:
        print(f"recorded; {record(args.python)} packages state no licence")
        return 0
    asked = [("requirements", str(lock), lock.stem) for lock in sorted(LOCKS.glob("*.lock"))]
    for kind, what, name in (*asked, ("environment", args.python, "environment")):
        place = args.output / f"{name}.cdx.json"
        print(f"bill: {place}, {bill(kind, what, place)} components")
    wrong = list(problems(EXCEPTIONS))
    known = recorded().values()
    taken = sum(bool(row.taken_from) for row in known)
    print(f"licences: {len(known)} versions of packages, {taken} of them by another version's metadata")
    print(f"licences: {len(EXCEPTIONS)} packages by exception, {len(wrong)} versions not allowed")
    unasked = False
    for lock in sorted(LOCKS.glob("*.lock")):
        found, what = advisories(lock)
        print(f"advisories of {lock.name}: {what}; {len(found)} found")
        wrong += found
        if what.startswith("NOT"):
            unasked = True
            break
    for line in wrong:
        print(f"  {line}")
    return 1 if wrong or (unasked and args.strict) else 0


if __name__ == "__main__":
    sys.exit(main())
