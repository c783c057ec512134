"""From a model that is dear to serve to an INT8 version: measured, rolled out, and kept where the ledger shows the saving."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.actions import AbortRollout, NoAction, Promote, Quantize, Risk, Rollback, StartRollout
from agents.cost.optimization_rules import Optimizations
from agents.cost.quantization_rules import QuantizationRules
from agents.evidence import Cause
from agents.narrative import card
from agents.policies import Approval, Mode, ModelPolicy, Policies, Slo, Training
from agents.promotion_rules import Guardrails, Rollouts, Stage
from agents.proposals import Edit, Reject
from agents.quantization_job import CONFIG, key_of
from agents.training import JOB_TAG
from graphs.state import Outcome
from tests.graphs.platform import HOUR, MODEL, Platform, healthy
from tests.graphs.spending import BOOK, book_job, book_serving, cost_alert, review, serve, spend
from tests.twins.jobs import Play
from tests.twins.rollouts import SlowTraffic
from tests.unit.agents.quantizations import batch, measured
from tools.costs.port import Component, Owner
from tools.costs.prices import Price, PriceBook
from tools.errors import TemporaryError
from tools.jobs.port import JobSpec, JobState, Phase, Reason, job_name
from tools.jobs.prices import Prices
from tools.predictions.records import PredictionRecord, ShadowRecord
from tools.registry.port import Alias
from tools.registry.quantizations import Batch
from tools.registry.signing import sign_quantization
from tools.values import Window

STEP = timedelta(minutes=20)
ROLLOUTS = Rollouts(
    stages=(Stage(weight=0.5, hold=HOUR), Stage(weight=1.0)),
    look_every=STEP,
    guardrails=Guardrails(errors=0.1, accuracy=None, latency=None),
    extend=6 * HOUR,
)
TRAINING = Training(prices=Prices(currency="USD", cpu_hour="100"))
ALONE = ModelPolicy(training=TRAINING, quantization=QuantizationRules(shadow=timedelta(0)))
POLICIES = Policies(slo=Slo(min_accuracy=0.8), rollouts=ROLLOUTS, models={MODEL: ALONE})
SHADOWED = POLICIES.model_copy(
    update={
        "rollouts": ROLLOUTS.model_copy(update={"extend": HOUR}),
        "models": {MODEL: ModelPolicy(training=TRAINING, quantization=QuantizationRules(mirror=0.5))},
    }
)
EXPERIMENT = job_name(key_of("run-1", "1"))
REGISTRATION = job_name(key_of("run-1", "1", register=True))
DEAR, CHEAP = 1.0, 0.5
"""Core-seconds of an answer, of the original and in INT8."""

_FREE = {"resource": "memory", "unit": "GiB-hour", "price": "0", "from": datetime(2025, 1, 1, tzinfo=UTC)}
WHOLE_BOOK = PriceBook(currency="USD", prices=(*BOOK.prices, Price.model_validate(_FREE)))
"""Memory has a price as well, without which no job's cost can be told."""


class Killed(BaseException):
    """The process ends here."""


async def dear(**values: Any) -> Platform:
    """Version 1 has served for a day since the ledger began, for about 40 USD."""
    platform = await healthy(policies=values.pop("policies", POLICIES), **values)
    await serve(platform, "1", 24 * HOUR, DEAR)
    return platform


async def proposed(**values: Any) -> Platform:
    platform = await dear(**values)
    await platform.start(review(platform.clock.now()))
    return platform


def leave(platform: Platform, *batches: Batch, produced: str = "") -> None:
    """What the experiment has measured, signed, of the files as they are."""
    found = measured(*batches).model_copy(
        update={
            "model": MODEL,
            "version": "1",
            "job": EXPERIMENT,
            "original_artefact": platform.registry.artefact(MODEL, "1"),
            "produced": produced,
            **({"artefact": platform.registry.artefact(MODEL, produced)} if produced else {}),
        }
    )
    platform.registry.quantize(MODEL, "1", sign_quantization(found, platform.registry.key))


async def registered(platform: Platform) -> str:
    """The experiment has ended, it pays, and what it measured is in the registry."""
    leave(platform)
    platform.jobs.go_on(EXPERIMENT, Play(Phase.SUCCEEDED, exit_code=0))
    await platform.wake()
    version = platform.registry.publish(MODEL, tags={JOB_TAG: REGISTRATION})
    leave(platform, produced=version)
    platform.jobs.go_on(REGISTRATION, Play(Phase.SUCCEEDED, exit_code=0))
    await platform.wake()
    return version


async def rolled(platform: Platform, version: str, seconds: float) -> dict[str, Any]:
    for _ in range(60):
        weights, start = await platform.weights(), platform.clock.now()
        await platform.routed(HOUR, per_minute=1)
        if version in weights:
            for each, part in weights.items():
                await book_serving(platform, each, start, HOUR, (seconds if each == version else DEAR) * part / 100)
        ended = await platform.wake()
        if ended["rollout"] is not None and ended["rollout"].over:
            return ended
    raise AssertionError("it is never champion")


async def watched(platform: Platform, version: str, seconds: float, most: int = 60) -> dict[str, Any]:
    """Hour after hour until the run has an end, or a question."""
    for _ in range(most):
        await serve(platform, version, HOUR, seconds)
        ended: dict[str, Any] = await platform.wake()
        interrupts = (await platform.graph.aget_state(platform.config)).interrupts
        if "outcome" in ended or not interrupts or interrupts[0].value["kind"] != "wait":
            return ended
    raise AssertionError("it goes on for ever")


async def test_what_serving_costs_is_the_reason_for_an_experiment() -> None:
    platform = await proposed()
    proposal = await platform.proposal()
    assert proposal.action == Quantize(model=MODEL, version="1")
    assert proposal.finding.cause is Cause.HEAVY_MODEL
    saving = proposal.impact.saving
    assert saving is not None
    assert (saving.low, saving.currency) == (0, "USD")
    assert 25 < saving.high < 28
    assert "USD 40.02 a day" in proposal.finding.summary
    await platform.decide()
    ((key, spec),) = platform.jobs.submissions
    assert key == key_of("run-1", "1")
    assert "recent.parquet.base64" in spec.config


async def test_what_pays_is_registered_and_its_rollout_asked_for_with_the_figures() -> None:
    platform = await proposed()
    await platform.decide()
    version = await registered(platform)
    proposal = await platform.proposal()
    assert proposal.action == StartRollout(
        model=MODEL,
        from_version="1",
        version=version,
        stages=ROLLOUTS.stages,
        judging=POLICIES.rollouts_of(MODEL).judging_of("classes"),
    )
    assert proposal.finding.cause is Cause.CANDIDATE_CHEAPER
    assert proposal.impact.risk is Risk.MEDIUM
    assert "75.0% less than the original" in proposal.finding.summary
    saving = proposal.impact.saving
    assert saving is not None
    assert 29 < saving.low < saving.high < 31
    assert any("p99 in batches of 32" in each.statement.lower() for each in proposal.finding.evidence)


@pytest.mark.parametrize("known", [True, False])
async def test_without_prices_of_policy_the_experiment_costs_what_the_book_says(known: bool) -> None:
    own = {MODEL: ModelPolicy(training=Training())}
    platform = await dear(policies=POLICIES.model_copy(update={"models": own}), prices=WHOLE_BOOK if known else None)
    await platform.start(review(platform.clock.now()))
    await platform.decide()
    ((_, spec),) = platform.jobs.submissions
    assert (json.loads(spec.config[CONFIG])["prices"] is not None) is known
    platform.clock.pass_(HOUR)
    await registered(platform)
    trial = (await platform.graph.aget_state(platform.config)).values["optimization"].trial
    assert (trial.cost, trial.currency) == ((100, "USD") if known else (None, None))
    assert any(each.name == "cost of 1,000 predictions" for each in trial.figures) is known


async def test_an_experiment_that_is_earned_back_too_late_by_the_book_leads_to_no_rollout() -> None:
    rules = Optimizations(longest_payback=timedelta(hours=1))
    policies = POLICIES.model_copy(update={"models": {}, "optimizations": rules})
    platform = await dear(policies=policies, prices=WHOLE_BOOK)
    await platform.start(review(platform.clock.now()))
    await platform.decide()
    platform.clock.pass_(HOUR)
    await registered(platform)
    values = (await platform.graph.aget_state(platform.config)).values
    assert isinstance(values["proposal"].action, NoAction)
    assert "the experiment has cost USD 100.00" in values["recommendation"].reason


async def shadowed() -> tuple[Platform, str]:
    """Its rollout has begun, with a shadow."""
    platform = await proposed(policies=SHADOWED)
    await platform.decide()
    version = await registered(platform)
    await platform.decide(by="bob")
    route = await platform.serving.route(MODEL)
    assert (route.weights, route.shadow) == ({"1": 100}, {version: 50})
    return platform, version


def copied(platform: Platform, version: str, *, cpu_us: float = 4.0, other: int = 0) -> None:
    """Let a step pass, in which the shadow gets copies of all requests; of `other` in a thousand it thinks otherwise."""
    start, each = platform.clock.now(), timedelta(seconds=2)
    platform.clock.pass_(STEP)
    for place in range(int(STEP / each)):
        at = int((start + place * each).timestamp() * 1e6)
        wrong = (place * 617) % 1000 < other
        served = PredictionRecord(
            id=f"c{at}",
            model=MODEL,
            version="1",
            at=at,
            entity=f"flight-{place}",
            latency_us=40_000,
            cpu_us=10.0 + place % 3,
            features={"distance": 1.0},
            prediction="late",
            score=0.3,
        )
        copy = ShadowRecord(
            id=served.id,
            model=MODEL,
            version=version,
            at=at,
            latency_us=39_990,
            cpu_us=cpu_us + place % 2,
            prediction="on_time" if wrong else "late",
            score=0.3,
        )
        platform.predictions.add([served, copy])


async def looked(platform: Platform, version: str, **how: Any) -> dict[str, Any]:
    """Step after step, until the shadow is none any more, or people are asked."""
    for _ in range(10):
        copied(platform, version, **how)
        ended: dict[str, Any] = await platform.wake()
        (interrupt,) = (await platform.graph.aget_state(platform.config)).interrupts
        if not (await platform.serving.route(MODEL)).shadow or interrupt.value["kind"] != "wait":
            return ended
    raise AssertionError("it stays a shadow for ever")


async def test_its_rollout_begins_with_a_shadow_where_requests_can_be_copied() -> None:
    platform = await proposed(policies=SHADOWED)
    await platform.decide()
    await registered(platform)
    action = (await platform.proposal()).action
    assert isinstance(action, StartRollout)
    assert action.stages == (Stage(weight=0, hold=timedelta(minutes=30), mirror=0.5), *ROLLOUTS.stages)
    assert action.weighed == SHADOWED.quantization_of(MODEL).margins
    assert "As a shadow it has to pay too" in card(await platform.proposal())


async def test_where_nothing_copies_requests_its_rollout_begins_as_any_other() -> None:
    platform = await proposed(policies=SHADOWED)
    platform.mover = mover = SlowTraffic(platform.serving)
    mover.mirrors = False
    await platform.decide()
    await registered(platform)
    action = (await platform.proposal()).action
    assert isinstance(action, StartRollout)
    assert (action.stages, action.weighed) == (ROLLOUTS.stages, None)


async def test_what_pays_on_the_copies_too_answers_requests() -> None:
    platform, version = await shadowed()
    ended = await looked(platform, version)
    rollout = ended["rollout"]
    assert (rollout.stage, await platform.weights()) == (1, {"1": 50, version: 50})
    assert "mirrored requests" in rollout.decision.reason
    assert "less" in rollout.decision.reason


@pytest.mark.parametrize(
    ("how", "why"), [({"cpu_us": 11.0}, "is asked for"), ({"other": 100}, "are another class")], ids=["cost", "answers"]
)
async def test_what_does_not_pay_on_the_copies_is_taken_back_with_the_figures(how: dict[str, Any], why: str) -> None:
    platform, version = await shadowed()
    ended = await looked(platform, version, **how)
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert ended["rollout"].over
    assert "On live traffic INT8 does not pay" in ended["recommendation"].reason
    assert why in ended["recommendation"].reason
    route = await platform.serving.route(MODEL)
    assert (route.weights, route.shadow, await platform.champion()) == ({"1": 100}, {}, "1")


async def test_what_the_copies_do_not_show_is_looked_at_for_longer_and_then_asked_about() -> None:
    platform, version = await shadowed()
    began = platform.clock.now()
    await looked(platform, version, other=20)
    assert platform.clock.now() - began >= timedelta(minutes=90)
    proposal = await platform.proposal()
    assert isinstance(proposal.action, StartRollout)
    assert proposal.action.stages == ROLLOUTS.stages
    values = (await platform.graph.aget_state(platform.config)).values
    assert "Whether INT8 pays on live traffic is not clear" in values["recommendation"].reason


async def test_what_does_not_pay_ends_with_the_figures_and_proposes_nothing() -> None:
    platform = await proposed()
    await platform.decide()
    leave(platform, batch(1, 0.2, 0.25, 0.3), batch(32, 1.0, 1.1, 1.2))
    platform.jobs.go_on(EXPERIMENT, Play(Phase.SUCCEEDED, exit_code=0))
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.NO_ACTION
    assert "does not pay" in ended["reason"]
    assert "50.0% more than the original" in ended["reason"]
    assert not ended["optimization"].trial.pays
    assert [key for key, _ in platform.jobs.submissions] == [key_of("run-1", "1")]
    assert await platform.weights() == {"1": 100}


async def test_what_was_measured_lately_is_not_measured_again() -> None:
    platform = await dear()
    leave(platform, batch(1, 0.2, 0.25, 0.3), batch(32, 1.0, 1.1, 1.2))
    found = measured().model_copy(
        update={
            "model": MODEL,
            "version": "1",
            "original_artefact": platform.registry.artefact(MODEL, "1"),
            "asked_at": platform.clock.now(),
        }
    )
    platform.registry.quantize(MODEL, "1", sign_quantization(found, platform.registry.key))
    ended = await platform.start(review(platform.clock.now()))
    assert ended["outcome"] == Outcome.NO_ACTION
    assert isinstance(ended["proposal"].action, NoAction)


async def test_a_saving_that_the_ledger_shows_is_kept_and_said_with_its_interval() -> None:
    platform = await proposed()
    await platform.decide()
    version = await registered(platform)
    await platform.decide(by="bob")
    await book_job(platform, EXPERIMENT, Window(start=platform.clock.now(), end=platform.clock.now() + HOUR), cores=0.1)
    rolled_out = await rolled(platform, version, CHEAP)
    assert isinstance(rolled_out["proposal"].action, Promote)
    assert await platform.champion() == version
    ended = await watched(platform, version, CHEAP)
    assert ended["outcome"] == Outcome.RESOLVED, ended["reason"]
    optimization = ended["optimization"]
    saved = optimization.freed
    assert saved.claim == "holds"
    # Nothing is held idle here, so that all of it is money.
    assert optimization.money.claim == "holds"
    assert 18 < optimization.money.value < 22
    # 60 answers an hour of half a core-second less, at 100 USD an hour: 20 USD a day.
    assert 0 < saved.low < 20 < saved.high
    assert 19 < saved.value < 21
    assert float(saved.before / saved.after) == pytest.approx(2, rel=0.05)
    assert optimization.roi.cost == 10
    assert float(optimization.roi.payback_days) == pytest.approx(0.5, rel=0.1)


async def test_what_is_freed_of_workers_that_are_held_is_kept_and_is_no_money() -> None:
    platform = await healthy(policies=POLICIES)
    start = platform.clock.now()
    await serve(platform, "1", 24 * HOUR, DEAR)
    await idle(platform, start, 24, 3600 - 60 * DEAR)
    await platform.start(review(platform.clock.now()))
    await platform.decide()
    version = await registered(platform)
    await platform.decide(by="bob")
    start = platform.clock.now()
    await book_job(platform, EXPERIMENT, Window(start=start, end=start + HOUR), cores=0.1)
    await rolled(platform, version, CHEAP)
    await idle(platform, start, 60, 3600 - 60 * CHEAP)
    ended = await watched(platform, version, CHEAP)
    assert ended["outcome"] == Outcome.RESOLVED, ended["reason"]
    optimization = ended["optimization"]
    assert (optimization.freed.claim, optimization.money.claim, optimization.money.unit) == ("holds", "not_shown", "hour")
    assert optimization.roi is None
    assert "It frees processor time worth USD" in ended["reason"]
    assert "only fewer of them (scale_down)" in ended["reason"]


async def idle(platform: Platform, start: datetime, hours: int, seconds: float) -> None:
    """Of one worker that is held all the time."""
    owner = Owner(component=Component.SERVING, part="CPU serving", model=MODEL, workload="gateway (idle)")
    for place in range(hours):
        at = start + place * HOUR
        await spend(platform, owner, Window(start=at, end=at + HOUR), seconds + 36 * (place % 3))


async def test_a_saving_that_does_not_come_is_taken_back() -> None:
    platform = await proposed()
    await platform.decide()
    version = await registered(platform)
    await platform.decide(by="bob")
    await rolled(platform, version, DEAR)
    await watched(platform, version, DEAR)
    proposal = await platform.proposal()
    assert proposal.action == Rollback(model=MODEL, from_version=version, to_version="1")
    assert proposal.impact.saving is None
    assert "No saving is shown within" in (await platform.graph.aget_state(platform.config)).values["recommendation"].reason
    await platform.decide(by="carol")
    assert (await platform.champion(), await platform.weights()) == ("1", {"1": 100})
    ended = await watched(platform, "1", DEAR)
    assert ended["outcome"] == Outcome.UNDONE


async def test_what_costs_more_is_taken_back_at_the_first_look() -> None:
    platform = await proposed()
    await platform.decide()
    version = await registered(platform)
    await platform.decide(by="bob")
    await rolled(platform, version, 2 * DEAR)
    began = platform.clock.now()
    await watched(platform, version, 2 * DEAR)
    assert isinstance((await platform.proposal()).action, Rollback)
    assert platform.clock.now() - began < 9 * HOUR
    values = (await platform.graph.aget_state(platform.config)).values
    assert "It costs more than before" in values["recommendation"].reason


async def test_a_no_to_the_experiment_measures_nothing() -> None:
    platform = await proposed()
    ended = await platform.decide(Reject(reason="not in this quarter"))
    assert ended["outcome"] == Outcome.DECLINED
    assert not platform.jobs.submissions


async def test_a_no_to_the_rollout_leaves_the_version_registered_and_the_traffic_as_it_is() -> None:
    platform = await proposed()
    await platform.decide()
    await registered(platform)
    ended = await platform.decide(Reject(reason="not before the holidays"))
    assert ended["outcome"] == Outcome.DECLINED
    assert await platform.weights() == {"1": 100}


async def test_an_edit_of_the_stages_is_still_the_same_saving() -> None:
    platform = await proposed()
    await platform.decide()
    await registered(platform)
    asked = (await platform.proposal()).action
    assert isinstance(asked, StartRollout)
    slower = asked.model_copy(update={"stages": (Stage(weight=0.1, hold=HOUR), *asked.stages)})
    await platform.decide(Edit(action=slower), by="dora")
    proposal = await platform.proposal()
    assert proposal.action == slower
    assert proposal.impact.saving is not None


async def test_a_champion_that_changed_meanwhile_ends_it() -> None:
    platform = await proposed()
    await platform.decide()
    await registered(platform)
    platform.registry.move_externally(MODEL, Alias.CHAMPION, "2")
    ended = await platform.decide()
    assert ended["outcome"] == Outcome.NO_ACTION
    assert "was made of 1" in ended["reason"]


async def test_a_version_that_is_int8_already_is_no_model_to_quantise() -> None:
    platform = await dear()
    version = platform.registry.publish(MODEL, tags={JOB_TAG: job_name(key_of("run-0", "1", register=True))})
    await platform.move(version)
    await serve(platform, version, 8 * HOUR, CHEAP)
    ended = await platform.start(review(platform.clock.now()))
    assert ended["outcome"] == Outcome.NO_ACTION


@pytest.mark.parametrize("reason", [Reason.OUT_OF_MEMORY, Reason.EXIT_CODE])
async def test_an_experiment_that_fails_ends_the_run_with_its_reason(reason: Reason) -> None:
    platform = await proposed()
    await platform.decide()
    platform.jobs.go_on(EXPERIMENT, Play(Phase.FAILED, reason, exit_code=1))
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.FAILED
    assert "quantisation failed" in ended["reason"]


async def test_an_experiment_that_leaves_nothing_ends_the_run() -> None:
    platform = await proposed()
    await platform.decide()
    platform.jobs.go_on(EXPERIMENT, Play(Phase.SUCCEEDED, exit_code=0))
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.FAILED
    assert "left nothing" in ended["reason"]


@pytest.mark.parametrize("dies", [Killed, TemporaryError("the connection broke right after it")])
@pytest.mark.parametrize("which", ["experiment", "registration"])
async def test_cut_off_right_after_a_submission_there_is_one_job(dies: Any, which: str) -> None:
    platform = await proposed()
    if which == "registration":
        await platform.decide()
        leave(platform)
        platform.jobs.go_on(EXPERIMENT, Play(Phase.SUCCEEDED, exit_code=0))
    submit, calls = platform.jobs.submit, []

    async def dying(key: str, spec: JobSpec) -> JobState:
        calls.append(await submit(key, spec))
        if len(calls) == 1:
            raise dies
        return calls[-1]

    platform.jobs.submit = dying  # type: ignore[method-assign]
    step = platform.decide if which == "experiment" else platform.wake
    if dies is Killed:
        with pytest.raises(Killed):
            await step()
        platform.clock.pass_(STEP)
        await platform.go_on()
    else:
        await step()
    assert await platform.waits_for("wait")
    names = [job.name for job in await platform.jobs.jobs()]
    assert names == ([EXPERIMENT] if which == "experiment" else [REGISTRATION, EXPERIMENT])


async def test_policy_lets_the_experiment_be_made_without_asking_and_the_rollout_is_asked_for() -> None:
    policies = POLICIES.model_copy(update={"approval": Approval(automatic=frozenset({Risk.NONE, Risk.LOW}))})
    platform = await dear(policies=policies, mode=Mode.ACT)
    await platform.start(cost_alert(platform.clock.now()))
    assert [key for key, _ in platform.jobs.submissions] == [key_of("run-1", "1")]
    await registered(platform)
    assert isinstance((await platform.proposal()).action, StartRollout)


async def test_where_nothing_quantises_it_nothing_is_proposed() -> None:
    own = ModelPolicy.model_validate({"quantization": {"command": None}})
    platform = await dear(policies=Policies(models={MODEL: own}))
    ended = await platform.start(review(platform.clock.now()))
    assert ended["outcome"] == Outcome.NO_ACTION
