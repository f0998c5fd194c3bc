"""Kubernetes without SkyPilot: a pipeline of jobs as a JobSet (docs/clusters-cloud.md).

Kubeflow's Trainer makes a JobSet of each TrainJob, and one JobSet is a whole chain: no TrainJob is needed, nor a
runtime that somebody installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.clusters.clouds.pipelines import Pipeline
from alphaf_orch.clusters.clouds.site import portable, refuse_slurms, refuse_unseen
from alphaf_orch.clusters.clouds.values import documents, label, limited, shell, timed
from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.profiles import Granted, granted
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.core.errors import ConfigError, GoesOnLater
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clouds import Toleration
from alphaf_orch.settings.clusters import Container, Profile

# A pod is called JOBSET-STAGE-0-MACHINE-xxxxx, and a name has 63 characters at most.
_LONGEST_SET, _LONGEST_STAGE = 30, 20
_CONTAINER = "alphaf"
_QUANTITY = re.compile(r"\d+(\.\d+)?([kMGTPE]|[KMGTPE]i)?")  # of Kubernetes, less what nobody means (milli, exponents)
_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"  # of a pod among those of its Job


def set_name(pipeline: Pipeline) -> str:
    """Return the name of the pipeline's JobSet."""
    return label(f"alphaf-{pipeline.run}-{pipeline.name}", _LONGEST_SET)


def job_set_file(pipeline: Pipeline, profile: Profile, paths: RunPaths, place: Place) -> tuple[Path, str]:
    """Return the pipeline's manifest and where it belongs; nothing is written or asked.

    Raises ConfigError for what Kubernetes has no place for, for a profile without an image, for variables without a
    Secret to take them from, and for folders that jobs do not see.
    """
    file = paths.job_script(pipeline.name, "jobset.yaml")
    own = profile.kubernetes
    image = _image(profile)
    refuse_unseen(profile, paths, place, [volume.path for volume in own.volumes])
    if profile.env and not own.env_from:
        raise ConfigError(
            f"jobs are to get {', '.join(profile.env)}, and no Secret has them",
            where="`env:` of the profile",
            fix="kubectl create secret generic NAME --from-literal=..., and name it: `kubernetes: {env_from: NAME}`",
            code="config.variable_not_passed",
        )
    name = set_name(pipeline)
    stages = [_stage_name(job) for job in pipeline.jobs]
    replicated = [
        {
            "name": stage,
            **({"dependsOn": [{"name": before, "status": "Complete"}]} if before else {}),
            "replicas": 1,
            "template": {
                "spec": _job(
                    job,
                    profile,
                    image,
                    place,
                    {"ALPHAF_NODE_ADDRESS": f"{name}-{stage}-0-0.{name}", "ALPHAF_JOB_ID": job_id(pipeline, job)},
                )
            },
        }
        for job, stage, before in zip(pipeline.jobs, stages, ("", *stages), strict=False)
    ]
    queue = {"kueue.x-k8s.io/queue-name": own.queue} if own.queue else {}
    value = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": _said(
            name=name,
            namespace=own.namespace,
            labels={"app.kubernetes.io/name": "alphaf", **queue},
            annotations={"alphaf/run": pipeline.run},  # whole: the name has room for a part of it
        ),
        "spec": {"network": {"enableDNSHostnames": True}, "replicatedJobs": replicated},
    }
    head = (f"{pipeline.run}: {', '.join(job.name for job in pipeline.jobs)}", shell(apply_command(file)))
    return file, documents(head, [value])


def job_id(pipeline: Pipeline, job: Job) -> str:
    """Return what a job is known by, in its record and in what it writes down of itself: JOBSET/STAGE."""
    return f"{set_name(pipeline)}/{_stage_name(job)}"


def apply_command(file: Path) -> tuple[str, ...]:
    """Return what its user types to have the cluster run it; never called by us."""
    return ("kubectl", "apply", "-f", str(file))


def wait_command(pipeline: Pipeline, profile: Profile) -> tuple[str, ...]:
    """Return what waits for the end of the pipeline's JobSet, however long (a negative time-out is a week)."""
    space = ("--namespace", profile.kubernetes.namespace) if profile.kubernetes.namespace else ()
    return ("kubectl", "wait", *space, "--for=condition=Completed", "--timeout=-1s", f"jobset/{set_name(pipeline)}")


def _image(profile: Profile) -> Container:
    if profile.container is None:
        raise ConfigError(
            "Kubernetes runs images, and the profile names none",
            where="the profile has no `container:`",
            fix="container: {runtime: image, image: REGISTRY/NAME:TAG, python: PATH} with alphaf and its tools in it",
            code="config.key_missing",
        )
    return profile.container


def _stage_name(job: Job) -> str:
    return label(job.name.replace("_", "-"), _LONGEST_STAGE)


def _job(job: Job, profile: Profile, image: Container, place: Place, own: Mapping[str, str]) -> dict[str, Any]:
    given = granted(profile, job.needs)
    refuse_slurms(profile, given)
    where = f"`time:` of the profile, for the role {job.needs.role}"
    starts = profile.max_requeues + 1
    return _said(
        parallelism=given.nodes,
        completions=given.nodes,
        completionMode="Indexed",
        # Each start has the time limit, and a stage that was asked to make room is started again.
        activeDeadlineSeconds=limited(given.time, where) * starts if given.time else None,
        backoffLimit=profile.max_requeues * given.nodes,
        podFailurePolicy=_failures(),
        template={"spec": _pod(job, profile, image, place, given, own)},
    )


def _failures() -> dict[str, Any]:
    """Return what is started again: a pod that its machine lost, and one that ended to go on later; no failed stage."""
    later = GoesOnLater.exit_code
    return {
        "rules": [
            {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "Count", "onExitCodes": {"containerName": _CONTAINER, "operator": "In", "values": [later]}},
            {"action": "FailJob", "onExitCodes": {"containerName": _CONTAINER, "operator": "NotIn", "values": [later]}},
        ]
    }  # fmt: skip


def _pod(
    job: Job, profile: Profile, image: Container, place: Place, given: Granted, own: Mapping[str, str]
) -> dict[str, Any]:
    site = profile.kubernetes
    shared = [("shared-memory", "/dev/shm")] if given.gpus else []
    volumes = [
        {
            "name": f"claim-{n}",
            "persistentVolumeClaim": _said(claimName=volume.claim, readOnly=volume.read_only or None),
        }
        for n, volume in enumerate(site.volumes)
    ]
    volumes += [{"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": site.shared_memory}} for name, _ in shared]
    return _said(
        restartPolicy="Never",  # the policy of failures wants it
        # What a pod is given between SIGTERM (a drain, `kubectl delete`) and its end: a checkpoint is made meanwhile.
        terminationGracePeriodSeconds=max(profile.stop_before, 30),
        automountServiceAccountToken=False,
        enableServiceLinks=False,
        serviceAccountName=site.service_account,
        priorityClassName=site.priority_class,
        hostNetwork=True if site.host_network else None,
        dnsPolicy="ClusterFirstWithHostNet" if site.host_network else None,
        nodeSelector=dict(site.node_selector) or None,
        tolerations=[_toleration(each) for each in site.tolerations] or None,
        imagePullSecrets=[{"name": name} for name in site.pull_secrets] or None,
        securityContext=_said(runAsUser=site.user, runAsGroup=site.group) or None,
        containers=[_container(job, profile, image, place, given, own)],
        volumes=volumes or None,
    )


def _container(
    job: Job, profile: Profile, image: Container, place: Place, given: Granted, own: Mapping[str, str]
) -> dict[str, Any]:
    site = profile.kubernetes
    mounts = [
        _said(name=f"claim-{n}", mountPath=volume.path, subPath=volume.sub_path, readOnly=volume.read_only or None)
        for n, volume in enumerate(site.volumes)
    ]
    if given.gpus:
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
    where = f"`time:` of the profile, for the role {job.needs.role}"
    argv = (place.python, "-m", "alphaf_orch", "job", job.run, job.name)
    call = timed(argv, given.time, profile.stop_before, where)
    if profile.setup:
        call = ("/bin/sh", "-c", "\n".join((*profile.setup, 'exec "$@"')) + "\n", "sh", *call)
    amounts = _amounts(profile, given)
    return _said(
        name=_CONTAINER,
        image=image.image,
        imagePullPolicy=site.pull_policy,
        workingDir=place.folder,
        command=list(call),
        env=_environment(profile, place, own),
        resources={"requests": amounts, "limits": amounts} if amounts else None,
        securityContext={"allowPrivilegeEscalation": False},
        volumeMounts=mounts or None,
    )


def _amounts(profile: Profile, given: Granted) -> dict[str, str]:
    """Return what a pod gets; as much is asked for as it may use, so that no neighbour's need ends it."""
    if given.memory and not _QUANTITY.fullmatch(given.memory):
        raise ConfigError(
            f"{given.memory!r} is no amount of memory to Kubernetes",
            where="`memory:` of the profile",
            fix="write it as 512Gi",
            code="config.not_a_size",
        )
    found = {"cpu": str(given.cpus) if given.cpus else "", "memory": given.memory or ""}
    if given.gpus:
        found |= {profile.kubernetes.gpu: str(given.gpus), **profile.kubernetes.limits}
    return {key: value for key, value in found.items() if value}


def _environment(profile: Profile, place: Place, own: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the variables of a job; machines of one training number themselves and meet at the first one's name."""
    plain: Mapping[str, str] = {
        **portable(place.env),
        **({"TMPDIR": profile.scratch} if profile.scratch else {}),
        **own,
    }
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        {"name": "ALPHAF_NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}},
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": profile.kubernetes.env_from, "key": name}}}
            for name in profile.env
        ),
    ]


def _toleration(found: Toleration) -> dict[str, Any]:
    return _said(key=found.taint, operator=found.operator, value=found.value, effect=found.effect)


def _said(**values: Any) -> dict[str, Any]:
    """Return what is said of some values: no key stands for nothing."""
    return {key: value for key, value in values.items() if value is not None}
