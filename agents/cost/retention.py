"""What is kept and needed by nobody any more: old versions, checkpoints of jobs that have ended, old logs.

A version is needed while it carries an alias, while a rollback could go back to it, while traffic or an open run names it, and
while it is young or among the newest. What is proposed is an exact list, and each item is looked at again right before it goes.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import Field

from agents.actions import Name, Risk
from agents.cost.inefficiency import Expiry, Inefficiency, Saving
from agents.cost.prices import stored_per_day
from agents.evidence import Evidence
from agents.wording import span
from tools.costs.prices import NoPrice, PriceBook
from tools.leftovers import KEPT, Leftover
from tools.registry.port import Alias, AliasChange
from tools.values import Duration, Frozen

MOST = 500
"""Of one list: what a person can still scroll through, and the largest first."""
_GIB = 1024**3


class Keeping(Frozen):
    versions: Duration = timedelta(days=60)
    """Since it was made, or last carried an alias: two months hold the champions that a bad month is compared with."""
    newest_versions: int = Field(default=5, ge=1)
    """Kept however old: a model that is seldom trained has few."""
    former_champions: int = Field(default=2, ge=1)
    """Kept however old: the one before, and the one before that should it have been bad too."""
    checkpoints: Duration = timedelta(days=3)
    """Of a job that has ended for good: nobody goes on from them, but people may look why it failed."""
    logs: Duration = timedelta(days=14)
    """Until then an approval that rests on the training may be open, or its version be a canary."""
    least_bytes: int = Field(default=100 * 1024**2, ge=0)
    """Less together is not worth a list."""


class Kept(Frozen):
    model: Name
    leftovers: tuple[Leftover, ...]
    """Of `Registry.stored` and `Jobs.leftovers`."""
    history: tuple[AliasChange, ...]
    """Of the model's aliases, oldest first."""
    versions: tuple[str, ...]
    """All that the registry has of the model, the newest first."""
    named: frozenset[str] = frozenset()
    """Versions that carry an alias, or that a route or its shadow, an open rollout or experiment, or an open run names."""
    jobs: frozenset[str] = frozenset()
    """Jobs that have not ended."""


def needed(kept: Kept, keeping: Keeping) -> frozenset[str]:
    """Versions that stay, whatever their age."""
    carriers: dict[Alias, str | None] = {change.alias: change.after for change in kept.history}
    champions = [change for change in kept.history if change.alias is Alias.CHAMPION]
    former: list[str] = []
    for change in reversed(champions):
        if change.before is not None and change.before not in (*former, carriers.get(Alias.CHAMPION)):
            former.append(change.before)
    return frozenset(
        {
            *(version for version in carriers.values() if version is not None),
            *former[: keeping.former_champions],
            *kept.versions[: keeping.newest_versions],
            *kept.named,
        }
    )


def expired(kept: Kept, keeping: Keeping, book: PriceBook, at: datetime) -> Inefficiency | None:
    """None where too little is expired to be worth a list, and where storage has no price."""
    stay = needed(kept, keeping)
    going = [item for item in kept.leftovers if item.model == kept.model and _may_go(item, kept, keeping, stay, at)]
    items = tuple(sorted(going, key=lambda item: (-item.size_bytes, item.kind, item.name))[:MOST])
    size = sum(item.size_bytes for item in items)
    if not items or size < keeping.least_bytes:
        return None
    try:
        saving = stored_per_day(size, book, at).quantize(Decimal("0.000001"))
    except NoPrice:
        return None
    if not saving:
        return None
    whole = any(item.kind == "version" for item in items)
    return Inefficiency(
        kind="expire_artifacts",
        subject=kept.model,
        evidence=tuple(_evidence(kept, items, keeping, at)),
        expected=Saving(low=saving, high=saving, currency=book.currency),
        # Files of a version are gone for good where the store can only delete.
        risk=Risk.MEDIUM if whole else Risk.LOW,
        what=f"{len(items)} versions, checkpoints and logs of {kept.model} that nobody needs any more take {size / _GIB:.2f} "
        f"GiB; what can be put aside can be had back for {span(KEPT)}, and saves from then on",
        remedy=Expiry(model=kept.model, items=items),
    )


def _may_go(item: Leftover, kept: Kept, keeping: Keeping, stay: frozenset[str], at: datetime) -> bool:
    match item.kind:
        case "version":
            lost = [change.at for change in kept.history if change.before == item.name]
            return item.name not in stay and max([item.since, *lost]) + keeping.versions <= at
        case "checkpoints":
            return item.name not in kept.jobs and item.since + keeping.checkpoints <= at
        case "logs":
            return item.name not in kept.jobs and item.since + keeping.logs <= at


def _evidence(kept: Kept, items: Sequence[Leftover], keeping: Keeping, at: datetime) -> list[Evidence]:
    found = []
    for kind, age in (("version", keeping.versions), ("checkpoints", keeping.checkpoints), ("logs", keeping.logs)):
        own = [item for item in items if item.kind == kind]
        if not own:
            continue
        size, oldest = sum(item.size_bytes for item in own), min(item.since for item in own)
        found.append(
            Evidence(
                id=f"artifacts.{kind}",
                statement=f"{len(own)} {'versions' if kind == 'version' else kind} of {kept.model} take {size / _GIB:.3f} GiB, "
                f"the oldest for {span(at - oldest)}; they are kept for {span(age)}",
                source="registry" if kind == "version" else "jobs",
                query=f"Registry.stored({kept.model})" if kind == "version" else f"Jobs.leftovers({kept.model})",
                value=float(size),
                unit="bytes",
                sample_size=len(own),
            )
        )
    return found
