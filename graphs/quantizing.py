"""The jobs of an INT8 experiment: it is measured first, and what was measured is registered where it pays. Called by
`graphs.execution` alone."""

import structlog

from agents.examination import windows
from agents.quantization_job import Ordered, key_of, spec_of
from graphs.context import Context
from graphs.labelled import labelled_traffic, left_out_of
from tools.errors import Conflict, PermanentError
from tools.jobs.port import job_name
from tools.jobs.prices import Prices, prices_at

log = structlog.get_logger()


async def order(model: str, version: str, run_id: str, context: Context, *, artefact: str = "") -> Ordered:
    """Have the version measured in INT8, or, with `artefact`, the files registered that were measured. The job's name follows
    from the run, so a repetition is the same job.

    Raises PermanentError when it cannot be submitted, or there is nothing to measure it on.
    """
    key = key_of(run_id, version, register=bool(artefact))
    ordered = Ordered(model=model, version=version, job=job_name(key), begun_at=context.clock.now(), artefact=artefact)
    if await _known(ordered.job, context):
        return ordered
    policies = context.policies
    rules, evaluation = policies.quantization_of(model), policies.evaluation_of(model)
    if rules.command is None:
        raise PermanentError(f"policy names nothing that quantises it (models.{model}.quantization.command)")
    held_out, recent = windows(evaluation, None, policies.rollouts_of(model).label_delay, ordered.begun_at)
    left_out = await left_out_of(model, [each for each in (held_out, recent) if each is not None], context)
    traffic = await labelled_traffic(model, recent, evaluation.recent_rows, left_out, context) if recent is not None else ""
    if not evaluation.source and not traffic:
        raise PermanentError(
            f"there are no labelled rows to measure it on: policy names no source (models.{model}.evaluation.source), and no "
            "labelled traffic of late is on record"
        )
    spec = spec_of(
        ordered,
        run_id,
        rules,
        evaluation,
        policies.training_of(model).model_copy(update={"prices": job_prices(model, context)}),
        held_out=held_out if evaluation.source else None,
        recent=recent,
        left_out=left_out,
        traffic=traffic,
    )
    try:
        await context.tools.jobs.submit(key, spec)
    except Conflict:
        # Submitted before a crash, on the traffic of that moment: that one is followed.
        log.warning("quantization.as_submitted_before", job=ordered.job)
    return ordered


def job_prices(model: str, context: Context) -> Prices | None:
    """Of what the job reserves: of policy, else of the installation's price book as it is now."""
    own = context.policies.training_of(model).prices
    if own is not None or context.prices is None:
        return own
    return prices_at(context.prices, context.clock.now())


async def _known(name: str, context: Context) -> bool:
    try:
        await context.tools.jobs.state(name)
    except PermanentError:
        return False
    return True
