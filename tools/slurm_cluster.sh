#!/bin/bash
# A Slurm of two machines on this one, for tests: no systemd, nothing outside of its folder. Needs root, Slurm and munge.
#
#   slurm_cluster.sh start DIR [PID]   starts it in DIR and prints `export SLURM_CONF=...`; it ends when PID does
#   slurm_cluster.sh stop DIR          ends it, with all its jobs
#
# It has no accounting: squeue tells of a job that has ended for five minutes (MinJobAge), and sacct of none.
set -eu
verb=${1:?start or stop}
mkdir -p "${2:?a folder}"
dir=$(cd "$2" && pwd)
conf=$dir/slurm.conf
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C.UTF-8

# Whoever was given our slurm.conf and is in a job of it, or is one of Slurm's own; not who calls this.
ours() {
    grep -lzxFs "SLURM_CONF=$conf" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
            slurmctld* | slurmscriptd* | slurmd* | slurmstepd*) echo "$pid" ;;
            *) grep -qzs '^SLURM_JOB_ID=' "/proc/$pid/environ" && echo "$pid" ;;
        esac
    done
    [ ! -s "$dir/munged.pid" ] || ! kill -0 "$(cat "$dir/munged.pid")" 2>/dev/null || cat "$dir/munged.pid"
}

if [ "$verb" = stop ]; then
    for _ in $(seq 50); do
        left=$(ours || true)
        [ -n "$left" ] || exit 0
        kill -s KILL $left 2>/dev/null || true # nothing of it is wanted any more
        sleep 0.1
    done
    echo "these live on: $left" >&2
    exit 1
fi

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

host=$(hostname -s)
mkdir -p "$dir"/state "$dir"/log "$dir"/spool/n1 "$dir"/spool/n2
chmod 755 "$dir"
head -c 1024 /dev/urandom >"$dir/munge.key"
chmod 400 "$dir/munge.key"
# By environment alone do we know what is ours, so munged is known by its pid.
munged --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
    --log-file="$dir/log/munged.log" --seed-file="$dir/munge.seed" --force 2>>"$dir/log/munged.err"

# cred_expire: a job that is requeued waits so long before it begins again (120 s by default; 5 is the least).
# sched_interval, bf_interval: seconds between two looks at the queue. KillWait: from SIGTERM to SIGKILL.
cat >"$conf" <<C
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=$(port)
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=1,sched_min_interval=100000
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=0
KillWait=10
JobRequeue=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$(port) CPUs=4 RealMemory=64000 Gres=gpu:h100:8 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$(port) CPUs=4 RealMemory=64000 Gres=gpu:h100:8 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP GraceTime=30
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=2
C
touch "$dir"/card{0..7} # stand for the devices of GPUs, which Slurm counts
echo "NodeName=n[1-2] Name=gpu Type=h100 File=$dir/card[0-7]" >"$dir/gres.conf"

export SLURM_CONF=$conf
slurmctld
for _ in $(seq 100); do # a slurmd that comes too early tries again after ten seconds
    ! scontrol ping >/dev/null 2>&1 || break
    sleep 0.1
done
for node in n1 n2; do slurmd -N "$node"; done
if [ -n "${3:-}" ]; then # whatever becomes of who wants it
    setsid bash -c 'while kill -0 "$3" 2>/dev/null; do sleep 1; [ -e "$2" ] || exit 0; done; exec "$1" stop "$2"' \
        watch "$0" "$dir" "$3" </dev/null >/dev/null 2>&1 &
fi
for _ in $(seq 300); do
    [ "$(sinfo -h -o '%T' 2>/dev/null)" != idle ] || { echo "export SLURM_CONF=$conf"; exit 0; }
    sleep 0.1
done
echo "the nodes did not become idle: $dir/log" >&2
tail -n 3 "$dir"/log/*.log >&2
"$0" stop "$dir" || true
exit 1
