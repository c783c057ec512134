"""What the platform asks of whatever moves a rollout's traffic: our own gateway at once, or a controller that takes its time.

A challenger's share is asked for, and is in force later: `Standing.phase` tells them apart, and a stage's time begins with the
traffic. Ending a rollout is waited for: an abort that has not arrived has helped nobody.
"""

from enum import StrEnum
from typing import Annotated, Literal, Protocol, Self, runtime_checkable

from pydantic import Field, model_validator

from tools.values import Frozen

Percent = Annotated[int, Field(ge=1, le=100)]


class Phase(StrEnum):
    SETTLED = "settled"
    """What was asked for last is in force."""
    MOVING = "moving"
    """It is not yet."""
    FAILED = "failed"
    """The backend has given the rollout up by itself, and the traffic back."""


class Standing(Frozen):
    model: str
    weights: dict[str, int]
    """In force, in percent over versions, adding up to 100."""
    token: int
    """Another one after every change that anybody asks for, through us or past us; the same while what was asked for comes into
    force. Only ever compared."""
    phase: Phase = Phase.SETTLED
    detail: str = ""
    """In the backend's words, where there is something to say."""


class Plan(Frozen):
    key: str
    """Of the proposal that begins it."""
    model: str
    version: str
    from_version: str
    steps: tuple[Annotated[int, Field(ge=0, le=100)], ...]
    """The challenger's shares, rising to 100; 0: it is a shadow."""
    mirror: Percent = 100
    """Of a shadow: how many of the requests it gets copies of."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.steps) != sorted(set(self.steps)) or self.steps[-1:] != (100,):
            raise ValueError("steps: each is larger than the one before, and the last is 100")
        return self

    def weights(self, step: int) -> dict[str, int]:
        share = self.steps[step]
        return {version: part for version, part in ((self.version, share), (self.from_version, 100 - share)) if part}

    def shadow(self, step: int) -> dict[str, int]:
        return {self.version: self.mirror} if self.steps[step] == 0 else {}


@runtime_checkable
class TrafficReader(Protocol):
    @property
    def mirrors(self) -> bool:
        """Whether a challenger may be a shadow. Where it may not, a plan that begins with one is a PermanentError."""
        ...

    async def ping(self) -> None: ...

    async def state(self, model: str) -> Standing:
        """Raises PermanentError when the model is not served."""
        ...


@runtime_checkable
class Traffic(TrafficReader, Protocol):
    """Repeating a `key` changes nothing and returns a standing with the token that it made; with another wish it is a Conflict.
    Conflict as well when the token is no longer `expected`: somebody else has changed something."""

    async def begin(self, plan: Plan, *, expected: int, key: str) -> Standing:
        """Ask for the first step; where the version is on its way already, for the next one, by this plan from now on."""
        ...

    async def shift(self, plan: Plan, step: int, *, expected: int, key: str) -> Standing:
        """Ask for the step with that number."""
        ...

    async def split(self, model: str, weights: dict[str, int], *, salt: str, expected: int, key: str) -> Standing:
        """Hand an experiment's arms their shares (percent, adding up to 100): an entity stays with its arm, by a hash with the
        salt. PermanentError where the backend cannot keep entities apart like that."""
        ...

    async def give(self, model: str, version: str, *, expected: int, key: str) -> Standing:
        """All traffic to the version, for good, whether a rollout of it is under way or not. Returns when it is in force;
        TemporaryError until then, to be repeated. PermanentError when the backend could not."""
        ...

    async def abort(self, model: str, to_version: str, *, expected: int, key: str) -> Standing:
        """End the rollout: the champion has all traffic. Returns, and raises, as `give` does."""
        ...

    async def restore(self, model: str, weights: dict[str, int], *, expected: int, key: str) -> Standing:
        """What there was before `give`, which is taken back. PermanentError where the backend has no way to that."""
        ...


class Permit(Frozen):
    """How far a controller that asks before each step may go, and how far it is."""

    rollout: str
    """Key of the proposal that it is about."""
    revision: str
    """Of the proposal that began it: the same while a rollout goes on under another one."""
    model: str
    version: str
    weight: int
    """In force, in percent."""
    asked: int
    ending: Literal["", "promotion", "hand over", "abort"]
    untouched: bool
    """Nobody has changed what the controller goes by since we did."""


class Canaries(Protocol):
    """What those who answer such a controller have to know."""

    @property
    def namespace(self) -> str: ...

    def is_canary(self, model: str, name: str) -> bool:
        """Whether the Canary of that name is the model's."""
        ...

    async def permit(self, model: str) -> Permit | None:
        """None: we have asked for nothing there."""
        ...
