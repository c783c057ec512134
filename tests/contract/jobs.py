"""The backends of the jobs' port, each with the same few commands.

With KUBECONFIG set, `kubernetes` is that cluster: OPPEN_TEST_NAMESPACE (default `default`) there, with the service account
`default`, an image with a POSIX shell (OPPEN_TEST_IMAGE), and for checkpoints, where there is one, the claim OPPEN_TEST_CLAIM.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest

from tests.kubernetes.cluster import TestCluster, running_cluster
from tests.kubernetes.rights import granted
from tests.twins.jobs import Play, TwinJobs
from tools.jobs.kubernetes import KubernetesJobs
from tools.jobs.local import LocalJobs
from tools.jobs.manifests import Settings
from tools.jobs.port import MIB, Jobs, JobSpec, Phase, Progress, Reason, Resources
from tools.kubernetes.cluster import connected

Behaviour = Literal[
    "succeeds", "exits 3", "dies of 9", "hogs memory", "waits", "is stubborn", "says its environment", "shows its file",
    "tells progress", "resumes", "speaks slowly", "leaves strays",
]  # fmt: skip

SHELL: Mapping[Behaviour, str] = {
    "succeeds": "echo one; echo two; sleep 0.1; echo three >&2",
    "exits 3": "echo no; exit 3",
    "dies of 9": "sh -c 'kill -9 $$'; exit $?",  # the first process of a container cannot be killed from inside
    "hogs memory": "exec tail /dev/zero",
    "waits": "echo waiting; exec sleep 600",
    "is stubborn": "trap '' TERM; echo deaf; while :; do sleep 0.1; done",
    "says its environment": "env | sort",
    "shows its file": 'cat "$OPPEN_JOB_CONFIG/train.yaml"',
    "tells progress": """echo '{"progress": 0.2, "text": "a"}'
echo '{"progress": 0.5, "text": "b", "eta_seconds": 9}'; echo ok""",
    "resumes": 'mark="$OPPEN_JOB_CHECKPOINTS/mark"; if [ -e "$mark" ]; then echo resumed; else touch "$mark"; exit 1; fi',
    "speaks slowly": "for word in a b c; do echo $word; sleep 0.2; done",
    "leaves strays": "sleep 600 & sleep 600 & echo done",
}

PLAYS: Mapping[Behaviour, Play] = {
    "succeeds": Play(Phase.SUCCEEDED, exit_code=0, lines=("one", "two", "three")),
    "exits 3": Play(Phase.FAILED, Reason.EXIT_CODE, 3, lines=("no",)),
    "dies of 9": Play(Phase.FAILED, Reason.EXIT_CODE, 137),
    "hogs memory": Play(Phase.FAILED, Reason.OUT_OF_MEMORY),
    "waits": Play(lines=("waiting",)),
    "is stubborn": Play(lines=("deaf",)),
    "shows its file": Play(Phase.SUCCEEDED, exit_code=0, lines=("epochs: 3", "rate: $HOME $(OPPEN_JOB)")),
    "tells progress": Play(
        Phase.SUCCEEDED, exit_code=0, progress=Progress(fraction=0.5, text="b", eta_seconds=9), lines=("x", "y", "ok")
    ),
    "resumes": Play(Phase.SUCCEEDED, exit_code=0, lines=("resumed",), attempts=2),
    "speaks slowly": Play(Phase.SUCCEEDED, exit_code=0, lines=("a", "b", "c")),
    "leaves strays": Play(Phase.SUCCEEDED, exit_code=0, lines=("done",)),
}


@dataclass
class Backend:
    jobs: Jobs
    kind: Literal["twin", "local", "kubernetes"]
    lasting: bool = True
    """Whether checkpoints outlive an attempt."""
    patience_s: float = 20

    def spec(self, behaviour: Behaviour, **parts: Any) -> JobSpec:
        command = ("sh", "-c", SHELL[behaviour])
        spec = JobSpec(
            **{
                "model": "flights",
                "team": "search",
                "run_id": "run-1",
                "command": command,
                "resources": Resources(cpu=0.5, memory_bytes=48 * MIB),
                "deadline": timedelta(seconds=self.patience_s),
                "grace": timedelta(seconds=1),
                **parts,
            }
        )
        if isinstance(self.jobs, TwinJobs):
            self.jobs.foretell(command, self._play(behaviour, spec))
        return spec

    def key(self, name: str = "flights/run-1") -> str:
        """Its own on every run: a real cluster remembers."""
        return f"{name}/{uuid4().hex}"

    def _play(self, behaviour: Behaviour, spec: JobSpec) -> Play:
        if spec.resources.cpu > 100:
            return Play(Phase.FAILED, Reason.UNSCHEDULABLE, attempts=0)
        if spec.deadline < timedelta(seconds=5):
            return Play(Phase.FAILED, Reason.DEADLINE)
        return PLAYS[behaviour]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[TestCluster]:
    with running_cluster(tmp_path, rights={SERVICE: {"ml": granted("jobs"), "oppen": granted("service")}}) as made:
        made.add("Namespace", "ml")
        made.add("Namespace", "oppen")
        made.add("ServiceAccount", "oppen-jobs", "ml")
        made.add("ConfigMap", "oppen-capacity", "ml")
        made.add("Secret", "oppen-jobs", "ml", stringData={"MLFLOW_TRACKING_TOKEN": "hush"})
        yield made


SERVICE = "service-token"
"""Of the service's account, with the rights that Terraform grants it."""
SETTINGS = Settings(
    image="oppen:test",
    secret="oppen-jobs",
    checkpoints_claim="checkpoints",
    spot_node_selector={"cloud.google.com/gke-spot": "true"},
    spot_taints=("cloud.google.com/gke-spot",),
    capacity_record="oppen-capacity",
)


@asynccontextmanager
async def on_test_cluster(cluster: TestCluster, token: str = SERVICE) -> AsyncIterator[Backend]:
    async with connected("ml", kubeconfig=cluster.kubeconfig(token)) as api:
        yield Backend(KubernetesJobs(api, SETTINGS), "kubernetes")


@asynccontextmanager
async def on_real_cluster(kubeconfig: Path) -> AsyncIterator[Backend]:
    claim = os.environ.get("OPPEN_TEST_CLAIM")
    settings = Settings(
        image=os.environ.get("OPPEN_TEST_IMAGE", "busybox:1.37"),
        service_account="default",
        checkpoints_claim=claim,
    )
    async with connected(os.environ.get("OPPEN_TEST_NAMESPACE", "default"), kubeconfig=kubeconfig) as api:
        yield Backend(KubernetesJobs(api, settings), "kubernetes", lasting=claim is not None, patience_s=180)


@pytest.fixture(params=["twin", "local", "kubernetes"])
async def job_backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    match request.param:
        case "twin":
            yield Backend(TwinJobs(), "twin")
        case "local":
            jobs = LocalJobs(tmp_path / "jobs")
            yield Backend(jobs, "local")
            for left in await jobs.jobs():
                await jobs.cancel(left.name, reason="the test is over")
                async for _ in jobs.watch(left.name):
                    pass
        case _ if os.environ.get("KUBECONFIG"):
            async with on_real_cluster(Path(os.environ["KUBECONFIG"])) as real:
                yield real
        case _:
            async with on_test_cluster(request.getfixturevalue("cluster")) as played:
                yield played
