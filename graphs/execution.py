"""The one place that changes the world.

Every action goes through `execute`: its intent is in the ledger before the first call, every call carries a key derived from
the proposal's, and the receipt ends it. Killed at any instant and run again, the action has happened once.
"""

import asyncio
from typing import NamedTuple, assert_never

import structlog

from agents import guard
from agents.actions import (
    AbortRollout,
    Action,
    ConsolidateTraining,
    ExpireArtifacts,
    MoveToSpot,
    NoAction,
    Notify,
    Promote,
    Quantize,
    QuarantineData,
    ReleaseData,
    RestoreArtifacts,
    Retrain,
    Rollback,
    Scale,
    SetBatching,
    StartExperiment,
    StartRollout,
    StopExperiment,
    WorldState,
)
from agents.proposals import Proposal, Receipt
from agents.quantization_job import Ordered, key_of
from agents.training import consolidated, spec_of
from graphs import moves, quantizing, thrift
from graphs.context import Context
from graphs.training import Outrun, claim, outrun, trained
from graphs.world import read_state
from tools.costs.port import Pricing
from tools.errors import Conflict, PermanentError, PortError, TemporaryError
from tools.jobs.port import JobSpec, job_name
from tools.jobs.prices import prices_at
from tools.notify.port import Message
from tools.rollouts.port import Standing

log = structlog.get_logger()

_PAUSES_S = (0.2, 1.0)
"""Between tries at telling people."""


class Deed(NamedTuple):
    undo: Action | None = None
    """What takes it back."""
    made: Standing | None = None
    """The route that it leaves, where a run follows that from now on."""
    left_out: tuple[str, ...] = ()
    """Of a list, what was not done, and why."""


async def execute(proposal: Proposal, actor: str, context: Context) -> Receipt:
    """Carry the proposal out on the state it was decided on, in the name of `actor`; repeating it returns the first receipt.

    Raises Outrun for a training beside another one, TemporaryError when it may be tried again as it is, PermanentError when it
    cannot be done: then nothing of it is left in the world, or the message says what is.
    """
    started = context.clock.now()
    if await context.ledger.intended(proposal.id) is None:
        world = await read_state(proposal.action, context)
        if world != proposal.state:
            raise Conflict(f"the world has moved since it was decided: {guard.differences(proposal.state, world)}")
    intend = claim if isinstance(proposal.action, Retrain) else _intend
    before, done = await intend(proposal, proposal.state, context)
    if done is not None:
        return done
    undo, made, left_out = await _perform(proposal, before, actor, context)
    if made is None:
        after = await read_state(proposal.action, context)
    else:
        # As we left it: what somebody has done to the route since is theirs, and is not to be taken for ours. Nothing is read
        # that could fail now, for what has been begun has to be followed.
        after = before.model_copy(update={"route_generation": made.token, "weights": made.weights})
    receipt = Receipt(
        key=proposal.id,
        action=proposal.action,
        before=before,
        after=after,
        undo=undo,
        left_out=left_out,
        started_at=started,
        finished_at=context.clock.now(),
    )
    await context.ledger.complete(receipt)
    return receipt


async def _intend(proposal: Proposal, before: WorldState, context: Context) -> tuple[WorldState, Receipt | None]:
    return await context.ledger.intend(proposal, before)


async def untouched(proposal: Proposal, context: Context) -> bool:
    """Whether nothing of what was intended has happened. False is not sure of it: repeated under its key, it finds out.

    No registry is asked for what moves traffic: an alias is never moved before it, but for one that serves nobody.
    """
    action, before, tools = proposal.action, proposal.state, context.tools
    match action:
        case Retrain(model=model):
            # A job is forgotten some day; what it has made is not.
            name = job_name(proposal.id)
            return not await submitted(name, context) and await trained(name, model, context) is None
        case (
            Rollback(model=model)
            | StartRollout(model=model)
            | AbortRollout(model=model)
            | Promote(model=model)
            | StartExperiment(model=model)
            | StopExperiment(model=model)
        ):
            return (await tools.traffic.state(model)).token == before.route_generation
        case Quantize(version=version):
            return not await submitted(job_name(key_of(proposal.run_id, version)), context)
        case (
            Scale()
            | QuarantineData()
            | ReleaseData()
            | ConsolidateTraining()
            | SetBatching()
            | MoveToSpot()
            | ExpireArtifacts()
            | RestoreArtifacts()
        ):
            return await read_state(action, context) == before
        case Notify() | NoAction():
            return True
        case unknown:
            assert_never(unknown)


async def stranded(proposal: Proposal, context: Context) -> Standing | None:
    """The traffic that a rollout or an experiment has all the same although it was given up, as it was left: to be taken back.

    None where it has none, or somebody has taken the route in hand since.
    """
    action, before, tools = proposal.action, proposal.state, context.tools
    if not isinstance(action, StartRollout | StartExperiment) or await context.ledger.intended(proposal.id) is None:
        return None
    try:
        now = await tools.traffic.state(action.model)
        if now.token == before.route_generation:
            return None
        made = await moves.asked_for(action, proposal, before, tools)
    except PermanentError as error:
        # Under its key nothing was asked for: what there is is somebody's.
        log.info("route.not_ours", proposal=proposal.id, reason=str(error))
        return None
    return made if made.token == now.token else None


async def retire(proposal: Proposal, actor: str, context: Context) -> None:
    """The version of a rollout that has ended is nobody's challenger any more. Repeating it changes nothing.

    A registry that is away keeps nothing from being done: whoever looks next tries again.
    """
    match proposal.action:
        case StartRollout(model=model, version=version) | AbortRollout(model=model, version=version):
            pass
        case Promote(model=model, version=version):
            pass
        case _:
            return
    try:
        await moves.retire(model, version, proposal, actor, context.tools)
    except PortError as error:
        log.warning("challenger.kept", model=model, version=version, reason=str(error))


async def shift(key: str, action: StartRollout, stage: int, generation: int, context: Context) -> Standing:
    """Bring the rollout that was begun under `key` to a stage; repeating it returns the standing that it made.

    Raises Conflict when somebody else has changed the route since it was at `generation`.
    """
    return await moves.shift(action, key, stage, generation, context.tools)


async def examine(key: str, spec: JobSpec, context: Context) -> None:
    """Have a candidate evaluated; repeating it is the same job. No action of the catalogue: it changes neither what serves nor
    what is registered, so nobody is asked; what it costs is bounded by policy.

    Raises PermanentError when it cannot be submitted.
    """
    try:
        await context.tools.jobs.submit(key, spec)
    except Conflict:
        # Submitted before a crash, on the traffic of that moment: that one is followed.
        log.warning("evaluation.as_submitted_before", job=job_name(key))


async def register(ordered: Ordered, artefact: str, run_id: str, context: Context) -> Ordered:
    """Have the files registered that an experiment has measured; repeating it is the same job. It was approved with the
    experiment, and a version that is registered serves nobody.

    Raises PermanentError when it cannot be submitted.
    """
    return await quantizing.order(ordered.model, ordered.version, run_id, context, artefact=artefact)


async def submitted(name: str, context: Context) -> bool:
    try:
        await context.tools.jobs.state(name)
    except PermanentError:
        return False
    return True


async def left_of(proposal: Proposal, context: Context) -> str:
    """What an action that was broken off has left changed, to be put behind the reason; empty when nothing is.

    Generations are left out: they only count.
    """
    try:
        world = await read_state(proposal.action, context)
    except PortError as error:
        return f". How things stand now could not be read: {error}."
    then, now = (state.model_dump(exclude={"route_generation"}) for state in (proposal.state, world))
    moved = [f"{name} {now[name]} instead of {then[name]}" for name in then if then[name] != now[name]]
    return f". It leaves {', '.join(moved)}." if moved else ""


async def announce(channel: str, message: Message, key: str, context: Context) -> None:
    """Tell people what a run is doing; the same key is said once.

    A channel that is gone does not stop the run, nor keep its incident open: what it has come to is in the record, and people
    look there as well, where they read that they were not told.
    """
    reason = ""
    for pause_s in (*_PAUSES_S, None):
        try:
            return await context.tools.notify.send(channel, message, key=key)
        except TemporaryError as error:
            reason = str(error)
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        except PermanentError as error:
            reason = str(error)
            break
    log.warning("announcement.failed", channel=channel, key=key, reason=reason)
    return await context.timeline.not_announced(channel, key, reason)


async def _perform(proposal: Proposal, before: WorldState, actor: str, context: Context) -> Deed:
    """Do it."""
    match proposal.action:
        case Rollback() as rollback:
            return Deed(await moves.roll_back(rollback, proposal, before, actor, context.tools))
        case Scale(model=model, workers=workers):
            if before.workers is None:
                raise PermanentError(f"the capacity of {model} before the change is not on record")
            await context.tools.serving.scale(model, workers, expected_workers=before.workers, key=proposal.id)
            return Deed(Scale(model=model, from_workers=workers, workers=before.workers))
        case Retrain() as retrain:
            await _train(retrain, proposal, context)
            return Deed()
        case StartRollout() as start:
            return Deed(*await moves.begin(start, proposal, before, actor, context.tools))
        case AbortRollout() as abort:
            await moves.abort(abort, proposal, before, context.tools)
            if not abort.blind:
                await retire(proposal, actor, context)
            return Deed()
        case Promote() as promote:
            undo = await moves.promote(promote, proposal, before, actor, context.tools)
            await retire(proposal, actor, context)
            return Deed(undo)
        case StartExperiment() as start:
            return Deed(*await moves.split(start, proposal, before, context.tools))
        case StopExperiment() as stop:
            await moves.unite(stop, proposal, before, context.tools)
            return Deed()
        case QuarantineData(model=model, window=window, features=features) as quarantine:
            placed = await context.tools.quarantines.place(
                model,
                window,
                features,
                expected=before.quarantined or (),
                key=proposal.id,
                actor=actor,
                reason=proposal.finding.summary,
            )
            return Deed(ReleaseData(**quarantine.model_dump(exclude={"kind"}), quarantine=placed.id))
        case ReleaseData(quarantine=placed_before) as release:
            summary = proposal.finding.summary
            await context.tools.quarantines.release(placed_before, key=proposal.id, actor=actor, reason=summary)
            return Deed(QuarantineData(**release.model_dump(exclude={"kind", "quarantine"})))
        case Quantize(model=model, version=version):
            await quantizing.order(model, version, proposal.run_id, context)
            return Deed()
        case ConsolidateTraining(kept=kept, cancelled=cancelled):
            for name in cancelled:
                await context.tools.jobs.cancel(name, reason=consolidated(kept, proposal.id))
            return Deed()
        case SetBatching() as batching:
            return Deed(await thrift.rebatch(batching, before, proposal.id, context.tools))
        case MoveToSpot() as move:
            return Deed(await thrift.move(move, proposal.id, context.tools))
        case ExpireArtifacts() as expire:
            # Begun, cut off and gone on with hours later: what is needed by now stays as well.
            now = await read_state(expire, context)
            protected = frozenset((*(before.protected or ()), *(now.protected or ())))
            back, stayed = await thrift.expire(expire, protected, context.tools)
            return Deed(back, left_out=stayed)
        case RestoreArtifacts() as restore:
            return Deed(left_out=await thrift.restore(restore, context.tools))
        case Notify() as notify:
            await _tell(notify, proposal, context)
            return Deed()
        case NoAction():
            return Deed()
        case unknown:
            assert_never(unknown)


async def _train(action: Retrain, proposal: Proposal, context: Context) -> None:
    """The key is nobody else's: a job under it was submitted before a crash, under a policy that may have changed since. That
    job is followed; given up it would run on, and what it makes would be looked at by nobody. One that is forgotten by now is
    known by the version that it has made."""
    rules = context.policies.training_of(action.model)
    if await trained(job_name(proposal.id), action.model, context) is not None:
        log.warning("training.done_before", proposal=proposal.id)
        return
    try:
        if rules.command is None:
            raise PermanentError(f"no training command is configured for {action.model}")
        if (outrun_by := await outrun(proposal, context)) is not None and not await submitted(job_name(proposal.id), context):
            # Between the look before and the claim another one may have begun and ended.
            raise Outrun(outrun_by)
        held_out = context.policies.evaluation_of(action.model).held_out
        bought = (await context.tools.jobs.buying(action.model)).pricing if rules.resumes else Pricing.STANDARD
        if rules.prices is None and context.prices is not None:
            rules = rules.model_copy(update={"prices": prices_at(context.prices, context.clock.now(), bought)})
        await context.tools.jobs.submit(proposal.id, spec_of(action, proposal, rules, held_out, bought))
    except Outrun:
        raise
    except PermanentError as error:
        if not await submitted(job_name(proposal.id), context):
            raise
        log.warning("training.as_submitted_before", proposal=proposal.id, reason=str(error))


async def _tell(action: Notify, proposal: Proposal, context: Context) -> None:
    """Telling people changes nothing that would have to be ended, so a channel that stays away is given up."""
    body = f"{action.body}\n\nIncident: {proposal.incident_id}"
    link = context.incident_link(proposal.incident_id)
    message = Message(title=action.title, body=body, severity=action.severity, link=link)
    try:
        await context.tools.notify.send(action.channel, message, key=proposal.id)
    except TemporaryError as error:
        since, limit = await context.ledger.intended(proposal.id), context.policies.notify_within
        if since is not None and context.clock.now() - since >= limit:
            raise PermanentError(f"nobody was told: {action.channel} did not answer within {limit}: {error}") from error
        raise
