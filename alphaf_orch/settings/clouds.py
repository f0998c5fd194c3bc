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

    infra: str | None = None  # kubernetes, kubernetes/CONTEXT, aws/us-east-1, ...; None: wherever SkyPilot finds it
    accelerator: str | None = None  # the card by SkyPilot's name: H100
    spot: bool = False
    disk_size: str | None = None
    disk_tier: str | None = None
    network_tier: str | None = None  # best: the fabric between machines, where a cloud has one
    labels: Mapping[str, str] = {}
    volumes: Mapping[str, str] = {}  # where jobs see it: the name of a volume (`sky volumes ls`)
    file_mounts: Mapping[str, str | Mapping[str, Any]] = {}  # where jobs see it: a path here, or a bucket
    shared: tuple[str, ...] = ()  # folders that every machine has anyway, an NFS for one
    checkout: str | None = None  # of this project: sent along, its lock is installed on each machine
    wheels: str | None = None  # a folder of wheels that jobs see; with it pip asks no index


class Claim(BaseModel):
    """A PersistentVolumeClaim that jobs share."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    claim: str
    path: str  # where jobs see it, and where whoever submits sees it
    sub_path: str | None = None
    read_only: bool = False


class Toleration(BaseModel):
    """A taint of machines that jobs may run on all the same."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    taint: str | None = None  # its key; None with `Exists`: every taint
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Kubernetes(BaseModel):
    """Keys of pods that no other scheduler has."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    namespace: str | None = None
    volumes: tuple[Claim, ...] = ()
    gpu: str = "nvidia.com/gpu"  # what the cluster calls the cards
    limits: Mapping[str, str] = {}  # further resources of jobs with GPUs: rdma/hca: "8"
    shared_memory: str = SHARED_MEMORY  # /dev/shm of jobs with GPUs; it counts as memory of the pod
    queue: str | None = None  # of Kueue (kueue.x-k8s.io/queue-name)
    priority_class: str | None = None
    node_selector: Mapping[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    host_network: bool = False
    env_from: str | None = None  # a Secret that is there: variables of `env:` are its keys
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    service_account: str | None = None
    user: Annotated[int, Field(ge=0)] | None = None  # uid and gid that files of the shared folder get
    group: Annotated[int, Field(ge=0)] | None = None
