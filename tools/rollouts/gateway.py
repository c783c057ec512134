"""Rollouts on our own gateway: it loads and warms a version before it switches, so whatever it answers is in force."""

from tools.rollouts.port import Plan, Standing
from tools.serving.port import Route, Serving


class GatewayTraffic:
    mirrors = True

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def ping(self) -> None:
        await self._serving.ping()

    async def state(self, model: str) -> Standing:
        return _standing(await self._serving.route(model))

    async def begin(self, plan: Plan, *, expected: int, key: str) -> Standing:
        return await self._set(plan.model, plan.weights(0), plan.shadow(0), expected, key)

    async def shift(self, plan: Plan, step: int, *, expected: int, key: str) -> Standing:
        return await self._set(plan.model, plan.weights(step), plan.shadow(step), expected, key)

    async def split(self, model: str, weights: dict[str, int], *, salt: str, expected: int, key: str) -> Standing:
        return _standing(await self._serving.set_weights(model, weights, expected_generation=expected, key=key, salt=salt))

    async def give(self, model: str, version: str, *, expected: int, key: str) -> Standing:
        return await self.restore(model, {version: 100}, expected=expected, key=key)

    async def abort(self, model: str, to_version: str, *, expected: int, key: str) -> Standing:
        return await self.restore(model, {to_version: 100}, expected=expected, key=key)

    async def restore(self, model: str, weights: dict[str, int], *, expected: int, key: str) -> Standing:
        return await self._set(model, weights, {}, expected, key)

    async def _set(self, model: str, weights: dict[str, int], shadow: dict[str, int], expected: int, key: str) -> Standing:
        route = await self._serving.set_weights(model, weights, expected_generation=expected, key=key, shadow=shadow)
        return _standing(route)


def _standing(route: Route) -> Standing:
    return Standing(model=route.model, weights=route.weights, token=route.generation)
