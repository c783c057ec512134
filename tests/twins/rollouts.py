"""What moves traffic, in memory, and takes its time: what is asked for comes into force when the test says so."""

from tests.twins.serving import TwinServing
from tools.errors import PermanentError, TemporaryError
from tools.rollouts.gateway import GatewayTraffic
from tools.rollouts.port import Phase, Plan, Standing


class SlowTraffic:
    """`serving` has what was asked for, so that keys and tokens are its own; `in_force` is what requests meet."""

    def __init__(self, serving: TwinServing) -> None:
        self.asked = GatewayTraffic(serving)
        self.in_force: dict[str, dict[str, int]] = {}
        self.failure = ""
        self.mirrors = True
        self.patient = True
        """Whether ends are waited for; else they are in force at once."""

    # What a test does to it.

    async def arrive(self, model: str) -> None:
        self.in_force[model] = (await self.asked.state(model)).weights

    def give_up(self, model: str, champion: str, reason: str) -> None:
        self.failure, self.in_force[model] = reason, {champion: 100}

    # The port.

    async def ping(self) -> None:
        await self.asked.ping()

    async def state(self, model: str) -> Standing:
        return self._seen(await self.asked.state(model))

    async def begin(self, plan: Plan, *, expected: int, key: str) -> Standing:
        self.in_force.setdefault(plan.model, {plan.from_version: 100})
        return self._seen(await self.asked.begin(plan, expected=expected, key=key))

    async def shift(self, plan: Plan, step: int, *, expected: int, key: str) -> Standing:
        return self._seen(await self.asked.shift(plan, step, expected=expected, key=key))

    async def split(self, model: str, weights: dict[str, int], *, salt: str, expected: int, key: str) -> Standing:
        raise PermanentError(f"{model}: entities cannot be kept apart here")

    async def give(self, model: str, version: str, *, expected: int, key: str) -> Standing:
        return self._ended(await self.asked.give(model, version, expected=expected, key=key))

    async def abort(self, model: str, to_version: str, *, expected: int, key: str) -> Standing:
        standing = await self.asked.abort(model, to_version, expected=expected, key=key)
        self.failure = ""
        return self._ended(standing)

    async def restore(self, model: str, weights: dict[str, int], *, expected: int, key: str) -> Standing:
        if len(weights) > 1:
            raise PermanentError(f"there is no way back to {weights}")
        return await self.give(model, *weights, expected=expected, key=key)

    def _seen(self, asked: Standing) -> Standing:
        weights = self.in_force.get(asked.model, asked.weights)
        phase = Phase.FAILED if self.failure else Phase.SETTLED if weights == asked.weights else Phase.MOVING
        return asked.model_copy(update={"weights": weights, "phase": phase, "detail": self.failure})

    def _ended(self, asked: Standing) -> Standing:
        if not self.patient:
            self.in_force[asked.model] = asked.weights
        standing = self._seen(asked)
        if standing.phase is Phase.MOVING:
            raise TemporaryError(f"the traffic of {asked.model} is still {standing.weights}")
        return standing
