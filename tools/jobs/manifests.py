"""A job as the API server shall have it: pure, from the spec and how the cluster is set up."""

import hashlib
import math
import re
from datetime import timedelta
from typing import Any

from pydantic import Field

from tools.costs.port import Pricing
from tools.jobs.port import JobSpec
from tools.values import Frozen

MANAGED = "app.kubernetes.io/managed-by"
MANAGER = "oppen"
MODEL, TEAM, RUN = "oppen/model", "oppen/team", "oppen/run"
"""Labels for cost and lineage; the annotations of the same names have them in full."""
FINGERPRINT, KEY, CANCELLED, GPUS = "oppen/spec-sha256", "oppen/key", "oppen/cancelled", "oppen/gpus"
WORK, DATA = "oppen/work", "oppen/data"
"""Annotations."""
PRICING = "oppen/pricing"
"""A label for cost and an annotation; spot only, so that others are as they were."""
CONTAINER = "job"
CONFIG_FOLDER, CHECKPOINTS_FOLDER, WORK_FOLDER = "/oppen/config", "/oppen/checkpoints", "/oppen/work"
USAGE_FILE = "/dev/termination-log"
"""What a job leaves there is in its pod's status afterwards."""
GPU = "nvidia.com/gpu"
_LABEL_CHARACTERS = 63
_DISRUPTIONS = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}
"""A node that is taken away costs no attempt: on spot nodes that is the usual case. The deadline still ends it."""
_EPHEMERAL = "10Gi"
"""Of scratch space: a job that fills the node's disk would have others evicted."""


class Settings(Frozen):
    """What the cluster offers to jobs; `infra/terraform` makes it, and its outputs have these names."""

    image: str
    """Where a spec names none."""
    service_account: str = "oppen-jobs"
    secret: str | None = None
    """The Secret whose entries a spec may name in `secrets`."""
    checkpoints_claim: str | None = None
    """A PersistentVolumeClaim that all nodes can mount. Without one, checkpoints last as long as one pod does."""
    priority_class: str | None = None
    gpu_priority_class: str | None = None
    gpu_node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the GPU pool."""
    spot_node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of nodes that may be taken away, as the cloud sets them, such as `cloud.google.com/gke-spot: "true"`. Empty: the
    cluster has none."""
    spot_taints: tuple[str, ...] = ()
    """Keys of the taints that keep others off these nodes."""
    capacity_record: str | None = Field(default=None, pattern=r"^[a-z0-9][-a-z0-9.]{0,252}$")
    """The ConfigMap in the jobs' namespace that says whose trainings are bought as spot; it has to be there. None: nobody's
    can be moved."""
    user: int = 10001
    """Not root; the image's own."""
    longest_keep: timedelta = timedelta(days=365)
    """Of any job, whatever its spec says. Trainings that go before their cool-down is over would hold up no other."""


def job(name: str, key: str, spec: JobSpec, settings: Settings) -> dict[str, Any]:
    labels = {
        MANAGED: MANAGER,
        "app.kubernetes.io/component": "training",
        MODEL: label(spec.model),
        TEAM: label(spec.team),
        RUN: label(spec.run_id),
    }
    if spec.pricing is Pricing.SPOT:
        labels[PRICING] = spec.pricing
    full = {MODEL: spec.model, TEAM: spec.team, RUN: spec.run_id, GPUS: str(spec.resources.gpus)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {**full, KEY: key, FINGERPRINT: spec.fingerprint, WORK: spec.work, **_data(spec)},
        },
        "spec": {
            **({"podFailurePolicy": _DISRUPTIONS} if spec.pricing is Pricing.SPOT else {}),
            "backoffLimit": spec.retries,
            "activeDeadlineSeconds": _seconds(spec.deadline),
            "ttlSecondsAfterFinished": _seconds(min(spec.keep, settings.longest_keep)),
            "completions": 1,
            "parallelism": 1,
            "template": {"metadata": {"labels": labels, "annotations": full}, "spec": _pod(name, spec, settings)},
        },
    }


def _data(spec: JobSpec) -> dict[str, str]:
    return {DATA: spec.data.model_dump_json()} if spec.data is not None else {}


def config_map(name: str, uid: str, spec: JobSpec) -> dict[str, Any]:
    """Goes when its Job goes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": {MANAGED: MANAGER, MODEL: label(spec.model), TEAM: label(spec.team), RUN: label(spec.run_id)},
            "annotations": {FINGERPRINT: spec.fingerprint},
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": name,
                    "uid": uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "immutable": True,
        "data": dict(spec.config),
    }


def label(text: str) -> str:
    """As it is where that is a label's value; else what is left of it, and a part of its SHA-256, so that two stay two."""
    if re.fullmatch(r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?", text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    kept = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[: _LABEL_CHARACTERS - len(digest) - 1].strip("-")
    return f"{kept}-{digest}" if kept else digest


def _pod(name: str, spec: JobSpec, settings: Settings) -> dict[str, Any]:
    wanted = spec.resources
    pod: dict[str, Any] = {
        "restartPolicy": "Never",  # each attempt is a pod of its own: its end stays readable
        "serviceAccountName": settings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # else other services' addresses are in its environment
        "terminationGracePeriodSeconds": _seconds(spec.grace),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": settings.user,
            "runAsGroup": settings.user,
            "fsGroup": settings.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(name, spec, settings)],
        "volumes": _volumes(name, spec, settings),
    }
    priority = settings.gpu_priority_class if wanted.gpus else settings.priority_class
    if priority:
        pod["priorityClassName"] = priority
    tolerated = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}] if wanted.gpus else []
    nodes = dict(settings.gpu_node_selector) if wanted.gpus else {}
    if spec.pricing is Pricing.SPOT:
        tolerated += [{"key": taint, "operator": "Exists"} for taint in settings.spot_taints]
        nodes |= settings.spot_node_selector
    if tolerated:
        pod["tolerations"] = tolerated
    if nodes:
        pod["nodeSelector"] = nodes
    return pod


def _container(name: str, spec: JobSpec, settings: Settings) -> dict[str, Any]:
    reserved = {
        "cpu": f"{math.ceil(spec.resources.cpu * 1000)}m",
        "memory": str(spec.resources.memory_bytes),
        "ephemeral-storage": _EPHEMERAL,
        **({GPU: str(spec.resources.gpus)} if spec.resources.gpus else {}),
    }
    public = {
        **spec.environment,
        "HOME": spec.environment.get("HOME", WORK_FOLDER),
        "TMPDIR": spec.environment.get("TMPDIR", WORK_FOLDER),
        "OPPEN_JOB": name,
        "OPPEN_JOB_CONFIG": CONFIG_FOLDER,
        "OPPEN_JOB_CHECKPOINTS": CHECKPOINTS_FOLDER,
        "OPPEN_JOB_USAGE": USAGE_FILE,
    }
    hidden = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": settings.secret or "", "key": variable}}}
        for variable in sorted(spec.secrets)
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "work", "mountPath": WORK_FOLDER},
        {"name": "checkpoints", "mountPath": CHECKPOINTS_FOLDER},
        {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
    ]
    if settings.checkpoints_claim:
        mounts[1]["subPath"] = name
    return {
        "name": CONTAINER,
        "image": spec.image or settings.image,
        "command": [_literal(word) for word in spec.command],
        "workingDir": WORK_FOLDER,
        "env": [{"name": variable, "value": _literal(text)} for variable, text in sorted(public.items())] + hidden,
        # Memory cannot be taken back, so what is reserved is the limit; the same for cores makes runs comparable.
        "resources": {"requests": reserved, "limits": reserved},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": USAGE_FILE,
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }


def _volumes(name: str, spec: JobSpec, settings: Settings) -> list[dict[str, Any]]:
    lasting: dict[str, Any] = {"emptyDir": {}}
    if settings.checkpoints_claim:
        lasting = {"persistentVolumeClaim": {"claimName": settings.checkpoints_claim}}
    files: dict[str, Any] = {"configMap": {"name": name, "defaultMode": 0o444}} if spec.config else {"emptyDir": {}}
    return [
        {"name": "work", "emptyDir": {"sizeLimit": _EPHEMERAL}},
        {"name": "checkpoints", **lasting},
        {"name": "config", **files},
    ]


def _literal(text: str) -> str:
    """Kubernetes expands `$(NAME)` in commands and values, and `$$` to `$`; a command here is what it says."""
    return text.replace("$", "$$")


def _seconds(length: timedelta) -> int:
    return max(math.ceil(length.total_seconds()), 0)
