"""What every story of a demo is told with: the platform opened, a question shown and answered over REST, a state waited for."""

import asyncio
import contextlib
import fcntl
import shutil
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from simulations.checks import Checks
from simulations.installation import Installation, Person
from simulations.processes import Failed, Programs
from simulations.stage import Stage
from tools.clock import SharedClock

BOUND_S = 120.0
"""For each wait of a story; a person's time to decide has its own."""


@dataclass(frozen=True)
class Options:
    home: Path
    approve: bool
    wait_s: float
    """How long a person has to decide, in real seconds."""


class Story(ABC):
    """What the people of it do, from outside. `rate`: how fast the clock goes while nobody is asked."""

    def __init__(
        self,
        options: Options,
        stage: Stage,
        installation: Installation,
        clock: SharedClock,
        programs: Programs,
        resources: contextlib.AsyncExitStack,
        shift: timedelta,
        rate: float,
    ) -> None:
        self._options = options
        self._stage = stage
        self._installation = installation
        self._clock = clock
        self._programs = programs
        self._resources = resources
        self._shift = shift
        self._rate = rate
        self._asked: set[str] = set()
        self._waited_s = 0.0
        """For a person, who may take their time: it is not the platform's."""

    def policies(self, template: str) -> str:
        """The story's policies, from the file that it names."""
        return template

    @abstractmethod
    async def tell(self) -> tuple[Checks, dict[str, Any]]:
        """The whole of it: its checks and its details."""

    async def open_platform(self) -> tuple[Person, Person]:
        """The service, and two people with keys: one who watches, one who may approve."""
        service = self._installation.start_service(self._programs)
        seconds = await asyncio.to_thread(service.wait_ready, f"{self._installation.service_url}/healthz", BOUND_S)
        self._stage.say(f"the service answers after {seconds:.1f} s")
        operator = await self._installation.person("demo-operator", "operator", self._resources)
        return operator, await self._installation.person("demo-approver", "approver", self._resources)

    async def decided(self, operator: Person, approver: Person, incident_id: str) -> str:
        """Who approved; what somebody edits is asked about anew."""
        while True:
            approval = await self.question(operator, incident_id)
            await self.show(approval, approver)
            if (decided_by := await self.decide(approval, approver)) is not None:
                return decided_by
            self._stage.say("the proposal was edited: whoever edited it does not approve it, so it is asked about anew")

    async def question(self, operator: Person, incident_id: str) -> dict[str, Any]:
        """The pending approval of the incident that was not shown yet."""
        found: list[dict[str, Any]] = []

        async def asked() -> bool:
            pending = (await operator.get("/v1/approvals?status=pending"))["items"]
            mine = [approval for approval in pending if approval["incident_id"] == incident_id]
            found[:] = [approval for approval in mine if approval["id"] not in self._asked]
            if not found:
                incident = await operator.get(f"/v1/incidents/{incident_id}")
                if incident["closed_at"]:
                    raise Failed(f"the incident ended without a question: {incident['status']}, {incident['summary']}")
            return bool(found)

        await self.until(asked, "the investigation to end in a proposal")
        self._asked.add(found[0]["id"])
        return found[0]

    async def show(self, approval: dict[str, Any], approver: Person) -> None:
        self._stage.card(approval["proposal"]["title"], approval["narrative"])
        self._stage.say("to approve it:")
        self._stage.command(approver.curl(f"/v1/approvals/{approval['id']}/decision", approving(approval)))

    async def decide(self, approval: dict[str, Any], approver: Person) -> str | None:
        """The yes of `--approve`, or whatever a person decides over REST while the simulated clock goes at real speed. None for
        an edit."""
        path = f"/v1/approvals/{approval['id']}"
        if self._options.approve:
            await approver.post(f"{path}/decision", approving(approval))
        else:
            self._clock.set_rate(1.0)
            self._stage.say(
                f"waiting for your decision, {self._options.wait_s / 60:.0f} minutes at most (Ctrl-C ends the demo)"
            )

        async def decided() -> bool:
            return bool((await approver.get(path))["status"] != "pending")

        asked_at = self._stage.seconds
        await self.until(decided, "a decision", limit_s=self._options.wait_s)
        if not self._options.approve:
            self._waited_s += self._stage.seconds - asked_at
        self._clock.set_rate(self._rate)
        approval = await approver.get(path)
        if approval["status"] == "edited":
            return None
        if approval["status"] != "approved":
            raise Failed(f"the proposal was {approval['status']}: the model stays as it is, as was decided")
        return ", ".join(approval["verdict"]["decided_by"])

    async def closed(self, operator: Person, incident_id: str) -> dict[str, Any]:
        incident: dict[str, Any] = {}

        async def closed() -> bool:
            incident.update(await operator.get(f"/v1/incidents/{incident_id}"))
            return bool(incident["closed_at"])

        await self.until(closed, "the fix to be verified")
        return incident

    async def until(self, condition: Callable[[], bool | Awaitable[bool]], what: str, limit_s: float = BOUND_S) -> None:
        """Look until it holds; a bound that passes is a failure with its name."""

        async def met() -> bool:
            answer = condition()
            return answer if isinstance(answer, bool) else await answer

        try:
            async with asyncio.timeout(limit_s):
                while not await met():  # noqa: ASYNC110 - what is looked at is in other processes
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise Failed(f"waited {limit_s:.0f} s in vain for {what}; the logs are in {self._options.home}") from error


def approving(approval: dict[str, Any]) -> dict[str, Any]:
    return {"decision": "approve", "fingerprint": approval["fingerprint"]}


async def ended(traffic: asyncio.Task[None], stop: asyncio.Event) -> None:
    stop.set()
    await traffic


async def perform(
    kind: type[Story], options: Options, stage: Stage, *, begins: datetime, policies: str, rate: float
) -> tuple[Checks, dict[str, Any]]:
    """In a fresh installation, on a clock that begins at `begins`, moved by whole weeks to about now. Raises Failed when a part
    of the story does not come about."""
    with _alone(options.home):
        return await _performed(kind, options, stage, begins=begins, policies=policies, rate=rate)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Raises Failed where another demo is at work: its folder is not emptied under it. The lock lies beside the folder."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(f"another demo is at work in {home}: wait for it, or name another folder with --home") from None
        yield


async def _performed(
    kind: type[Story], options: Options, stage: Stage, *, begins: datetime, policies: str, rate: float
) -> tuple[Checks, dict[str, Any]]:
    shutil.rmtree(options.home, ignore_errors=True)
    options.home.mkdir(parents=True)
    shift = (datetime.now(UTC) - begins) // timedelta(weeks=1) * timedelta(weeks=1)
    clock = SharedClock.create(options.home / "clock.json", begins + shift, rate=1.0)
    file = options.home.absolute() / "policies.yaml"
    installation = Installation(options.home, clock=f"shared:{options.home / 'clock.json'}", policies=file)
    with Programs() as programs:
        try:
            async with contextlib.AsyncExitStack() as resources:
                story = kind(options, stage, installation, clock, programs, resources, shift, rate)
                file.write_text(story.policies((Path(__file__).parent / "policies" / policies).read_text()))
                return await story.tell()
        except asyncio.CancelledError:
            stage.say("ending the programs of the demo, which takes some seconds")
            raise
