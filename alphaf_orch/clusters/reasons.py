"""What a scheduler's one word of a job means to whoever waits for it, and what to do about it."""

from __future__ import annotations

NEVER = "DependencyNeverSatisfied"
FORGOTTEN = "the scheduler knows it no more"
NOT_HANDED = "handed over or not"

# Slurm's words: squeue(1), JOB REASON CODES and JOB STATE CODES; each by what it begins with.
_MEANING = {
    "Priority": "others are before it",
    "Resources": "it is next, and waits for free machines",
    NEVER: "a job that it needs did not end well",
    "Dependency": "waits for an earlier job",
    "BadConstraints": "no machine there can give what it asks for: mend the profile, cancel, and submit again",
    "JobHeldUser": "held: `scontrol release ID` lets it go",
    "JobHeldAdmin": "held by an administrator: ask there",
    "JobHoldMaxRequeue": "held: it was sent back too often, `scontrol release ID` lets it go",
    "BeginTime": "not before a set time; after a requeue that is some minutes",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition takes jobs and starts none",
    "PartitionNodeLimit": "the partition gives no job so many machines: mend the profile",
    "PartitionTimeLimit": "the partition gives no job so much time: mend `time` in the profile",
    "ReqNodeNotAvail": "a machine that it needs is down or reserved: `sinfo` says more",
    "NodeDown": "a machine that it needs is down: `sinfo` says more",
    "Reservation": "waits for its reservation",
    "Licenses": "waits for a licence",
    "AssocGrp": "your account's limit is used up for now",
    "AssocMax": "your own limit in the account is used up for now",
    "Assoc": "a limit of your account",
    "QOSMax": "your limit in this QOS is used up for now",
    "QOSGrp": "the limit of this QOS is used up for now",
    "QOS": "a limit of this QOS",
    "InvalidAccount": "the account is none, or not yours: mend `account` in the profile",
    "InvalidQOS": "the QOS is none, or not yours: mend `qos` in the profile",
    "launch failed requeued held": "the machine could not start it: look into its output, then `scontrol release ID`",
    "OUT_OF_MEMORY": "it took more memory than the job was given: `memory` in the profile, also by `stages`",
    "TIMEOUT": "it took longer than the job was given: `time` in the profile, also by `stages`",
    "NODE_FAIL": "a machine of the job failed",
    "BOOT_FAIL": "a machine of the job did not start",
    "LAUNCH_FAILED": "a machine of the job could not start it",
    "PREEMPTED": "another job took its place",
    "DEADLINE": "it could not end before its deadline",
}


def meaning(reason: str) -> str:
    """Return in words what a reason means and what to do; empty for one that says all itself."""
    return next((said for word, said in _MEANING.items() if reason.startswith(word)), "")


def explained(reason: str, why: str = "", job_id: str = "ID") -> str:
    """Return a reason with what it means behind it; `why` is what else is known, which says more of a job in vain."""
    means = "" if why and reason.startswith(NEVER) else meaning(reason).replace(" ID`", f" {job_id}`")
    return "; ".join(filter(None, (": ".join(filter(None, (reason, means))), why)))
