"""Investigations that end without a rollback: nothing wrong, nothing that OPPEN could do, capacity, sources that are away."""

from datetime import datetime, timedelta

import pytest

from agents.actions import Scale
from agents.evidence import Cause
from agents.policies import Mode, Policies, Slo
from graphs.state import Outcome
from tests.graphs.platform import HOUR, MODEL, Platform, alert, bad_rollout, healthy
from tests.twins.ledger import TwinLedger
from tests.twins.notify import RememberingNotifier
from tests.twins.telemetry import RememberedTelemetry
from tools.errors import PermanentError, TemporaryError
from tools.notify.port import Message
from tools.telemetry.port import Sample


async def test_a_false_alarm_needs_no_action() -> None:
    platform = await healthy()
    ended = await platform.start()
    assert ended["outcome"] == Outcome.NO_ACTION, ended["proposal"].finding.summary
    assert ended["proposal"].finding.cause is Cause.FALSE_ALARM
    ((_, message, key),) = platform.notify.sent
    assert (key, message.link) == ("run-1/closing", "https://oppen.example/v1/incidents/inc-1")


async def test_what_no_action_helps_against_is_told_to_people_even_when_only_looking() -> None:
    # The promise is kept: below it, whether a training would help is asked.
    platform = await healthy(mode=Mode.OBSERVE, policies=Policies(slo=Slo(min_accuracy=0.6)))
    platform.traffic("1", 6 * HOUR, wind=60.0, accuracy=0.7)
    ended = await platform.start()
    assert ended["outcome"] == Outcome.NOTIFIED
    assert ended["proposal"].finding.cause is Cause.DATA_DRIFT
    # Once: telling them was the action.
    assert [key for _, _, key in platform.notify.sent] == ["run-1/1"]
    message = platform.notify.sent[0][1]
    assert "ModelAccuracyLow" in message.title
    assert "inc-1" in message.body
    assert message.link == "https://oppen.example/v1/incidents/inc-1"


async def test_what_is_not_understood_is_told_to_people() -> None:
    platform = await healthy()
    ended = await platform.start(alert(platform.clock.now(), labels={"alertname": "SomethingIsWrong"}))
    assert ended["outcome"] == Outcome.NOTIFIED
    assert ended["proposal"].finding.cause is Cause.UNRESOLVED


async def test_a_source_that_is_away_is_named_and_the_investigation_goes_on() -> None:
    platform = await bad_rollout()
    platform.predictions.go_down()
    ended = await platform.start()
    finding = ended["proposal"].finding
    assert [each.source for each in finding.missing] == ["predictions"]
    assert "predictions" in finding.summary
    assert ended["outcome"] == Outcome.NOTIFIED


class AwayTelemetry(RememberedTelemetry):
    async def query(self, promql: str, at: datetime) -> tuple[Sample, ...]:
        raise PermanentError("the metrics system is away")


async def test_with_every_source_away_the_finding_says_so() -> None:
    metrics = {"metrics": [{"name": "cpu", "promql": 'cpu{model="$model"}', "kind": "saturation"}]}
    policies = Policies.model_validate({"slo": Slo(min_accuracy=0.8).model_dump(), **metrics})
    platform = await bad_rollout(telemetry=AwayTelemetry(), policies=policies)
    for source in (platform.predictions, platform.registry, platform.serving):
        source.go_down()
    ended = await platform.start()
    finding = ended["proposal"].finding
    assert finding.cause is Cause.UNRESOLVED
    assert [each.source for each in finding.missing] == ["predictions", "registry", "serving", "telemetry"]
    assert all(each.source in finding.summary for each in finding.missing)
    assert ended["outcome"] == Outcome.NOTIFIED


async def test_a_model_that_cannot_be_read_when_it_is_proposed_is_left_to_people() -> None:
    platform = await bad_rollout()
    platform.serving.go_down()
    ended = await platform.start()
    assert ended["outcome"] == Outcome.FAILED
    assert ended["reason"] == "the gateway is down"
    assert "the gateway is down" in platform.notify.sent[-1][1].body


class ListeningTelemetry(RememberedTelemetry):
    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []

    async def query(self, promql: str, at: datetime) -> tuple[Sample, ...]:
        self.queries.append(promql)
        return (Sample(labels={}, at=at, value=0.5),)


async def test_the_name_of_a_model_is_no_more_than_text_in_a_query() -> None:
    metrics = {"metrics": [{"name": "cpu", "promql": 'cpu{model="$model"}', "kind": "saturation"}]}
    telemetry = ListeningTelemetry()
    platform = await healthy(telemetry=telemetry, policies=Policies.model_validate(metrics))
    await platform.start(alert(platform.clock.now(), labels={"alertname": "A", "model": 'x"} or vector(1) #\\'}))
    assert set(telemetry.queries) == {r"""cpu{model="x\"} or vector(1) #\\"}"""}


async def test_what_policy_lets_act_by_itself_is_not_asked_about() -> None:
    policies = Policies.model_validate({"slo": {"min_accuracy": 0.8}, "approval": {"automatic": ["none", "low", "medium"]}})
    platform = await bad_rollout(policies=policies, mode=Mode.ACT)
    await platform.start()
    await platform.waits_for("wait")
    assert await platform.champion() == "1"
    assert (await platform.registry.history(MODEL))[-1].actor == "policy:automatic"


@pytest.fixture
async def saturated() -> Platform:
    """Slow since six hours, with its one worker busy all the time."""
    platform = await healthy()
    platform.traffic("1", 6 * HOUR, latency_ms=900.0)
    platform.serving.utilisation = 0.97
    return platform


async def test_saturated_workers_get_company_and_it_is_verified(saturated: Platform) -> None:
    await saturated.start()
    proposal = await saturated.proposal()
    assert proposal.action == Scale(model=MODEL, from_workers=1, workers=2)
    await saturated.decide()
    assert (await saturated.serving.capacity(MODEL)).workers == 2
    assert saturated.serving.calls["run-1/1"] == 1
    saturated.serving.utilisation = 0.4
    saturated.traffic("1", 2 * HOUR)
    assert (await saturated.wake())["outcome"] == Outcome.RESOLVED


async def test_workers_that_do_not_help_are_taken_back(saturated: Platform) -> None:
    await saturated.start()
    await saturated.decide()
    for _ in range(200):
        saturated.traffic("1", timedelta(minutes=30), latency_ms=900.0)
        ended = await saturated.wake()
        if ended["__interrupt__"][0].value["kind"] == "approval":
            break
    undo = await saturated.proposal()
    assert undo.action == Scale(model=MODEL, from_workers=2, workers=1)
    assert undo.undo_of == "run-1/1"


class SilentNotifier(RememberingNotifier):
    """Knows its channels, and reaches none."""

    async def send(self, channel: str, message: Message, *, key: str) -> None:
        raise TemporaryError("the chat does not answer")


async def test_a_channel_that_stays_away_does_not_keep_the_run_open() -> None:
    platform = await healthy(notify=SilentNotifier())
    asked = alert(platform.clock.now(), labels={"alertname": "SomethingIsWrong"})
    with pytest.raises(TemporaryError):
        await platform.start(asked)
    platform.clock.pass_(platform.policies.notify_within - timedelta(seconds=1))
    with pytest.raises(TemporaryError):
        await platform.go_on()
    platform.clock.pass_(timedelta(seconds=1))
    ended = await platform.go_on()
    assert ended["outcome"] == Outcome.FAILED
    assert "ops did not answer within 0:15:00: the chat does not answer" in ended["reason"]
    assert isinstance(platform.ledger, TwinLedger)
    assert platform.ledger.failures.keys() == {"run-1/1"}
