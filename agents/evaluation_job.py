"""How the platform's own job evaluates a model's candidates. Data, as all policies are.

It is the platform's because the training has no part in it: another job, with a key that no training gets, on rows that policy
names (docs/adr/0008).
"""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import Field, PlainSerializer, field_validator

from tools.registry.evaluations import KEY
from tools.values import Duration, Frozen

Names = Annotated[frozenset[str], PlainSerializer(sorted, when_used="json")]
# A set has no order of its own, and that of strings differs from process to process: unsorted, so would policy's hash.

FLIGHTS = "flights"
"""The source of the reference model: what `python -m pipelines retrain` learns from."""


_NO_PASSWORD = re.compile(r"(\$\{[A-Za-z_][A-Za-z0-9_]*\})?")


class EvaluationJob(Frozen):
    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = ("python", "-m", "pipelines", "evaluate")
    """The platform's own. Whoever names another is believed as the platform is: it gets the key. None: nothing evaluates, and
    every candidate stays unproven."""
    image: str | None = None
    """Where containers run it; None: the installation's own."""
    environment: dict[str, str] | None = None
    """None: the training's."""
    secrets: Names = frozenset()
    """Variables whose values the installation holds, such as a source's password. The training's are not its own."""
    cpu: Annotated[float, Field(gt=0, le=1024)] = 1.0
    memory_mib: Annotated[int, Field(ge=16)] = 4096
    deadline: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = timedelta(hours=1)
    """Of seconds of work."""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """For a node that was lost."""
    look_every: Duration = timedelta(seconds=30)
    good_for: Annotated[Duration, Field(ge=timedelta(days=1))] = timedelta(days=7)
    """So long an evaluation of the same files beside the same champion stands; after that the candidate is evaluated anew. As
    long as the week that is held out: by then none of the rows that it was measured on would be among the latest."""
    source: Annotated[str, Field(max_length=500)] = ""
    """Labelled rows: `flights`, the reference data; or a table by what `oppen data profile` takes, such as a file of Parquet or
    `clickhouse://host/database#table` (a password as `${VARIABLE}` of `secrets`, because it is shown). Empty: recent traffic
    alone is looked at."""
    label: Annotated[str, Field(min_length=1, max_length=200)] = "label"
    """The source's column of what came true; rows without it are left out."""
    time: Annotated[str, Field(max_length=200)] = ""
    """The source's column of when a row is from. Empty: all of its rows are held out, and nothing says that they were."""
    most_rows: Annotated[int, Field(ge=2, le=1_000_000)] = 100_000
    """Of the source, the latest ones; an accuracy over so many is exact to a third of a point."""
    held_out: Duration = timedelta(days=7)
    """So much of the end of a training's window is kept from it, by its order, and its version is held to it: a whole week, so
    that the days cancel out, but at most a quarter of the window. Of a version that nobody has just trained: so much until now.
    0s: nothing is."""
    recent: Duration = timedelta(days=1)
    """The latest labelled traffic, from the prediction store, older than `rollouts.label_delay`; 0s: traffic is not looked
    at."""
    recent_rows: Annotated[int, Field(ge=2, le=20_000)] = 5_000
    """Of it at most. They travel in the job's configuration, so fewer do where they are wide: 600 KB."""
    groups: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    """Columns by whose values fairness is looked at (fairlearn), features or other columns of the source."""
    load: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(minutes=1))] = timedelta(seconds=3)
    """How long it is asked from several sides at once."""

    @field_validator("secrets")
    @classmethod
    def _ours(cls, names: frozenset[str]) -> frozenset[str]:
        return without_the_key(names)

    @field_validator("source")
    @classmethod
    def _no_password(cls, source: str) -> str:
        address, at, _ = source.partition("://")[2].rpartition("@")
        if at and not _NO_PASSWORD.fullmatch(address.partition(":")[2]):
            raise ValueError("write no password here, it would be shown: name its variable in secrets")
        return source


def without_the_key(names: frozenset[str]) -> frozenset[str]:
    """Raises ValueError for the key of evaluations: with it a training could say of itself what it likes."""
    if KEY in names:
        raise ValueError(f"{KEY} is given to evaluation jobs, and to no other")
    return names
