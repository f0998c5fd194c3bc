#!/bin/sh
# Make sure that a Slurm is there for the tests that submit to one (Debian's, with munge); say and do nothing where it is.
set -eu
lacking=
for name in sbatch srun squeue scontrol slurmctld slurmd munged; do
    command -v "$name" >/dev/null 2>&1 || [ -x "/usr/sbin/$name" ] || lacking="$lacking $name"
done
[ -n "$lacking" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
    printf 'error: there is no Slurm to test with: no%s\n  where: the PATH, and /usr/sbin\n' "$lacking" >&2
    printf '  next:  as root on Debian or Ubuntu `apt-get install slurm-wlm munge`; without it these tests are skipped\n' >&2
    exit 1
fi
log=$(mktemp)
echo "slurm: installing slurm-wlm and munge, log: $log"
export DEBIAN_FRONTEND=noninteractive
# The package lists of a machine that has just been made may be empty.
if ! apt-get install -y --no-install-recommends slurm-wlm munge >"$log" 2>&1; then
    { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; } >>"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        exit 1
    }
fi
