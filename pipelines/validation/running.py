"""A source held to a schema without a lake."""

from collections.abc import Callable
from contextlib import closing

from pipelines.cancelling import Cancellation
from pipelines.ingest import Ingested, Options, ingest
from pipelines.validate import Outcome, Validation
from pipelines.validation.dry import DryTable
from tools.clock import Clock
from tools.quality.schema import TableSchema
from tools.sources.port import Source


def validate(
    source: Source,
    schema: TableSchema,
    clock: Clock,
    *,
    options: Options | None = None,
    progress: Callable[[str], None] = lambda _text: None,
    cancellation: Cancellation | None = None,
) -> tuple[Ingested, tuple[Outcome, ...]]:
    """What an ingestion would do, and what it would say of each batch; nothing is stored. Raises as `ingest` does."""
    with closing(Validation(schema, clock)) as checks:
        found = ingest(
            source,
            DryTable(),
            checks=checks,
            options=options,
            progress=progress,
            cancellation=cancellation,
            clock=clock,
        )
    return found, tuple(checks.outcomes)
