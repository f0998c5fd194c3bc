#!/bin/sh
# `make test-airgap`: a bundle of the CPU's lock cut into parts, installed in a network namespace without an interface,
# the smoke chain and its report run there. The only place of the tests that asks an index, for a GB of wheels.
#
#   sh tools/airgap.sh [FOLDER]     FOLDER keeps the bundle, so that a second call fetches nothing (a temporary one)
#   PYTHON                          the python of the environment that makes the bundle
#
# Exit code 77: nothing was tried, for no network namespace may be made here.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:?the python that alphaf is installed for}
work=${1:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
[ -n "${1:-}" ] || trap 'rm -rf "$work"' EXIT

if unshare -n true 2>/dev/null; then
    alone='unshare -n'
elif unshare -rn true 2>/dev/null; then
    alone='unshare -rn'
else
    echo "skipped: this user may make no network namespace (unshare -n, unshare -rn): $(unshare -rn true 2>&1)" >&2
    exit 77
fi

"$python" -m alphaf_orch bundle --model tiny --accel cpu --split 400M --out "$work/bundle"
number=$(sha256sum <"$work/bundle.parts/SHA256SUMS" | cut -c 1-64)

place="$work/닫힌 기계"
rm -rf "$place"
mkdir "$place"
# Nothing of the machine that made it: no variable, no home, no cache, no interface.
closed() { $alone env -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$place" TMPDIR="${TMPDIR:-/tmp}" LANG=C.UTF-8 OMP_NUM_THREADS=1 "$@"; }
base=$("$python" -c 'import sys; print(sys._base_executable)')
closed sh "$work/bundle.parts/install.sh" --prefix "$place/alphaf" --python "$base" --manifest-sha256 "$number"
closed sh -c '
    set -eu
    . "$1/alphaf/env.sh"
    cd "$1"
    alphaf run --model tiny --run smoke --warm
    alphaf report smoke
    alphaf runs
    ls -l runs/smoke/report*
' - "$place"
echo "done: from a bundle to a report without a network"
