#!/bin/sh
# Remake the locks of every environment from pyproject.toml, for Python 3.11 and 3.12 at once; arguments go to uv (--upgrade).
#
# A lock names versions only: no index, no link and no build suffix of torch, so the same file serves a company mirror,
# a folder of wheels and the public registry. Hashes are left out for the same reason: a CPU wheel of torch 2.13.0
# and the registry's CUDA wheel are different files of one version.
set -eu
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"${PYTHON:-python3}" -m venv "$tmp"
"$tmp/bin/python" -m pip install --quiet uv==0.13.9

compile() {
    "$tmp/bin/uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --annotation-style line \
        --custom-compile-command "make lock" "$@"
}
lock() {
    accel=$1
    shift
    compile --extra "$accel" --extra dev --overrides requirements/overrides.txt --output-file "requirements/$accel.lock" "$@"
}
lock cpu --excludes requirements/cpu.excludes "$@"
lock gpu --excludes requirements/gpu.excludes "$@"
compile --extra audit --output-file requirements/audit.lock "$@"  # an environment of its own: it looks at the others
compile --extra skypilot --output-file requirements/skypilot.lock "$@"  # an environment of its own: another click
compile --extra docs --output-file requirements/docs.lock "$@"  # an environment of its own: it builds pages, trains nothing
lock vllm "$@"  # an environment of its own: nothing of cpu or gpu fits beside vLLM
