"""A version of a language model that is dearer than policy lets it be gets no further, by what its tokens cost."""

from collections.abc import Sequence

import msgspec
import pytest

from agents.actions import AbortRollout, Promote
from agents.policies import Policies, Slo
from agents.promotion_rules import Guardrails
from tests.graphs.test_rollouts import ROLLOUTS, UNEXAMINED, begun, roll
from tests.twins.predictions import TwinPredictions
from tools.predictions.records import PredictionRecord, Record, Usage

GUARDED = Guardrails(errors=0.05, accuracy=None, latency=None, cost=0.1)


class Priced(TwinPredictions):
    """Every answer has cost tokens: those of version 2 `factor` times as much, and none two the same."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._each = {"1": 0.001, "2": 0.001 * factor}

    def add(self, records: Sequence[Record]) -> None:
        super().add([self._priced(each) if isinstance(each, PredictionRecord) else each for each in records])

    def _priced(self, record: PredictionRecord) -> PredictionRecord:
        cost = self._each[record.version] * (1 + record.at // 1_000_000 % 7 / 10)
        return msgspec.structs.replace(record, usage=Usage(10, 5, finish="stop", cost=f"{cost:.9f}", currency="USD"))


def policies(currency: str | None) -> Policies:
    rollouts = ROLLOUTS.model_copy(update={"guardrails": GUARDED, "currency": currency})
    return Policies(slo=Slo(min_accuracy=0.8), rollouts=rollouts, models=UNEXAMINED)


@pytest.mark.parametrize(("factor", "expected"), [(1.5, AbortRollout), (1.0, Promote)])
async def test_a_canary_is_held_to_what_its_tokens_cost(factor: float, expected: type) -> None:
    platform = await begun(policies=policies("USD"), predictions=Priced(factor))
    ended = await roll(platform, {})
    assert isinstance(ended["proposal"].action, expected)
    assert expected is Promote or "cost" in ended["recommendation"].reason


async def test_in_another_currency_its_cost_is_not_measured_and_people_are_asked() -> None:
    platform = await begun(policies=policies("EUR"), predictions=Priced(1.0))
    await roll(platform, {})
    await platform.waits_for("approval")
    state = (await platform.graph.aget_state(platform.config)).values
    judged = {each.guard: each for each in state["rollout"].decision.judged}
    assert (judged["cost"].canary_samples, judged["errors"].canary_samples > 0) == (0, True)
    assert await platform.weights() == {"1": 90, "2": 10}
