#!/bin/sh
# Make $VENV hold what requirements/$ACCEL.lock names, and this project; say and do nothing where it already does.
#
#   VENV    the environment's folder (.venv); made and remade by this script alone
#   ACCEL   cpu, gpu, or vllm for vLLM's own environment (`make setup-vllm`); by default what $VENV was made for, and at first gpu where the machine has an NVIDIA GPU
#   PYTHON  a Python 3.11 or 3.12; by default the first of python3.11, python3.12, python3, python that runs
#
# Where packages come from is pip's business: PIP_INDEX_URL and PIP_EXTRA_INDEX_URL, or pip.conf, name a mirror or an
# index that has CPU wheels of torch; PIP_NO_INDEX=1 with PIP_FIND_LINKS=FOLDER installs without a network from what
# `pip wheel --no-deps -r requirements/gpu.lock -r requirements/nodeps.lock -w FOLDER` collected on a connected machine.
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
py=$venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0
unset PYTHONPATH PYTHONHOME

fail() { # WHAT WHERE NEXT
    printf 'error: %s\n  where: %s\n  next: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

# A cluster's login node has no GPU and shares the folder with nodes that do: it must not remake their environment.
accel=${ACCEL:-}
if [ -z "$accel" ] && [ -f "$venv/.alphaf-lock" ]; then accel=$(cut -d ' ' -f 1 "$venv/.alphaf-lock"); fi
if [ -z "$accel" ]; then
    accel=cpu
    if [ -e /dev/nvidia0 ] || nvidia-smi -L >/dev/null 2>&1; then accel=gpu; fi
fi
lock=requirements/$accel.lock
[ -f "$lock" ] || fail "there is no lock for ACCEL=$accel" "$lock" "give ACCEL=cpu or ACCEL=gpu"

# An environment does not survive a move of its folder (scripts name their interpreter), so the place is in the key.
key="$accel $(cat "$lock" requirements/nodeps.lock | cksum) $(pwd)"
project_key=$(cksum <pyproject.toml)
is() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

usable() { # versions that the locks serve, with what `-m venv` needs; a pyenv shim may exist and still not run
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" && echo "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3 python; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

pip_install() { # pip's own lines go to a log: a mirror's host names and 260 download bars help nobody
    "$py" -m pip install --progress-bar off "$@" >>"$venv/setup.log" 2>&1 && return
    tail -n 15 "$venv/setup.log" >&2
    fail "pip install did not succeed" "$venv/setup.log" "mend what the lines above name, then make setup again"
}

install_lock() {
    python=$(find_python) || fail "no usable Python 3.11 or 3.12 (with its venv module)" \
        "${PYTHON:-python3.11, python3.12, python3, python}" "install one, or name it: make setup PYTHON=/path/to/python3.11"
    # Only a folder that this script made is ever deleted.
    if [ -d "$venv" ] && [ ! -f "$venv/.alphaf" ] && [ -n "$(ls -A "$venv")" ]; then
        fail "this environment was not made by make setup" "$venv" \
            "use it as it is with SKIP_SETUP=1, or name another folder with VENV=..."
    fi
    if [ -d "$venv" ]; then
        busy=$(printf '%s\n' "$(cd "$venv" && pwd)/bin/" | grep -lF -f - /proc/[0-9]*/cmdline 2>/dev/null) || true
        [ -z "$busy" ] || fail "the lock or ACCEL has changed, and processes still run from the environment to remake" \
            "$venv, in use by process $(echo "$busy" | tr -dc '0-9\n' | paste -s -d ' ' -)" \
            "wait for them, or go on with SKIP_SETUP=1, or name another folder with VENV=..."
    fi
    start=$(date +%s)
    echo "setup: $("$python" -V), $(grep -c == "$lock") packages of $lock into $venv: minutes, log: $venv/setup.log"
    # From nothing each time: an interrupted install can leave packages that pip takes for whole.
    rm -rf "$venv"
    mkdir -p "$venv"
    touch "$venv/.alphaf"
    "$python" -m venv "$venv"
    # The lock is complete, so nothing is resolved: what cpu.excludes leaves out stays out.
    pip_install --no-deps --no-compile -r "$lock" -r requirements/nodeps.lock
    # Adds nothing to a CPU build of torch; to a CUDA build that an index served for cpu.lock, the libraries it loads.
    pip_install --constraint "$lock" torch
    "$py" -c 'import torch' || fail "the installed torch does not load" "$venv" "read the lines above, then make setup again"
    # On all processors, where pip uses one. Without it, PYTHONDONTWRITEBYTECODE or a read-only environment would make
    # every stage compile its imports anew: 10 seconds and more each. Some packages ship files that are no Python 3.
    "$py" -m compileall -q -j 0 -x '/tests/' "$venv/lib" >>"$venv/setup.log" 2>&1 || true
    printf '%s\n' "$key" >"$venv/.alphaf-lock"
    echo "setup: done in $(($(date +%s) - start)) s"
}

if ! is "$venv/.alphaf-lock" "$key" || ! "$py" -c '' 2>/dev/null; then install_lock; fi
if ! is "$venv/.alphaf-project" "$project_key"; then
    pip_install --no-deps --no-build-isolation --editable .
    "$py" -m compileall -q alphaf_orch >>"$venv/setup.log" 2>&1 || true
    printf '%s\n' "$project_key" >"$venv/.alphaf-project"
fi
