"""What only SkyPilot or only Kubernetes has: a profile's `skypilot:` and `kubernetes:`, each a model of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# NCCL and the loaders of rows share memory through /dev/shm, of which a container gets 64 MiB unless it is said; ours.
SHARED_MEMORY = "16Gi"


class SkyPilot(BaseModel):
    """Keys of a task that no other scheduler has, as docs.skypilot.co/en/latest/reference/yaml-spec.html means them."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    infra: str | None = None
    """kubernetes, kubernetes/CONTEXT, aws/us-east-1, ...; wherever SkyPilot finds it unless said."""
    accelerator: str | None = None
    """The card by SkyPilot's name: H100."""
    spot: bool = False
    """Whether spot machines are taken."""
    disk_size: str | None = None
    """The disk of a machine, in GB."""
    disk_tier: str | None = None
    """SkyPilot's disk tier."""
    network_tier: str | None = None
    """best: the fabric between machines, where a cloud has one."""
    labels: Mapping[str, str] = {}
    """Labels of the machines."""
    volumes: Mapping[str, str] = {}
    """Where jobs see it: the name of a volume (`sky volumes ls`)."""
    file_mounts: Mapping[str, str | Mapping[str, Any]] = {}
    """Where jobs see it: a path here, or a bucket."""
    shared: tuple[str, ...] = ()
    """Folders that every machine has anyway, an NFS for one."""
    checkout: str | None = None
    """A checkout of this project: sent along, its lock is installed on each machine."""
    wheels: str | None = None
    """A folder of wheels that jobs see; with it pip asks no index."""


class Claim(BaseModel):
    """A PersistentVolumeClaim that jobs share."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    claim: str
    """The name of the PersistentVolumeClaim."""
    path: str
    """Where jobs see it, and where whoever submits sees it."""
    sub_path: str | None = None
    """The folder of the volume that is mounted."""
    read_only: bool = False
    """Whether it is mounted to be read alone."""


class Toleration(BaseModel):
    """A taint of machines that jobs may run on all the same."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    taint: str | None = None
    """Its key; with operator Exists and none said, every taint."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """How key and value are compared."""
    value: str | None = None
    """The value that Equal compares with."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect."""


class Kubernetes(BaseModel):
    """Keys of pods that no other scheduler has."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    namespace: str | None = None
    """Where the jobs are made."""
    volumes: tuple[Claim, ...] = ()
    """Claims that several pods may write to, each under the path that it has here."""
    gpu: str = "nvidia.com/gpu"
    """What the cluster calls the cards."""
    limits: Mapping[str, str] = {}
    """Further resources of jobs with GPUs: rdma/hca: "8"."""
    shared_memory: str = SHARED_MEMORY
    """/dev/shm of jobs with GPUs; it counts as memory of the pod."""
    queue: str | None = None
    """The queue of Kueue."""
    priority_class: str | None = None
    """The pods' priority class."""
    node_selector: Mapping[str, str] = {}
    """Labels of the nodes that jobs run on."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of nodes that jobs run on all the same."""
    host_network: bool = False
    """Whether pods use the network of their node."""
    env_from: str | None = None
    """A Secret that is there: variables of `env:` are its keys."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the image is pulled."""
    pull_secrets: tuple[str, ...] = ()
    """Secrets with which it is pulled."""
    service_account: str | None = None
    """The pods' service account."""
    user: Annotated[int, Field(ge=0)] | None = None
    """The uid that files of the shared folder get."""
    group: Annotated[int, Field(ge=0)] | None = None
    """The gid that files of the shared folder get."""
