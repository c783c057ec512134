"""Which incident an alert belongs to, decided in memory over the rows at hand. SQL is before and after it, in `admission.py`.

The rules:
- An alert is known by source, fingerprint and start. Each further delivery of it is a repeat.
- A firing alert joins the open incident of its subject, or opens one. It stays open until the fix is verified.
- `resolved` ends an alert for good: a `firing` of the same identity that comes later was under way for too long.
- A resolved alert that was never seen firing is kept, without an incident.
- What was handed to people holds what else fires about its subject for a while, as long as one of its alerts fires.
- An alert that still fires some time after its incident was closed opens another one, which says what it recurs from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agents.alerts import Alert, Severity
from agents.policies import Policies
from agents.requests import SOURCE as REQUESTED
from agents.subjects import Subject
from api.store import ids
from api.store.alerts import Identity
from api.store.records import AlertRecord, IncidentRecord

_RANK: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}


@dataclass
class Entry:
    """An alert: the row it has, or is to have, and what this batch does to it."""

    id: str
    alert: Alert
    fresh: bool
    status: str
    ends_at: datetime | None
    incident_id: str | None
    more: int = 0
    """Deliveries in this batch."""


@dataclass
class Case:
    """An open incident."""

    id: str
    title: str
    severity: Severity
    debouncing: bool
    subject: Subject | None = None
    """Set, like `run_id`, when it is opened here."""
    run_id: str | None = None
    due_at: datetime | None = None
    """When its run is to start at the latest; None when nothing here says so."""
    recurs_from: str | None = None
    raised: bool = False
    """A more severe alert has joined."""
    calmed: bool = False
    """An alert of it has resolved."""


@dataclass
class Changes:
    """What one delivery did to one case."""

    opened: bool = False
    joined: list[Entry] = field(default_factory=list)
    resolved: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class Delivery:
    """One call of `accept`."""

    alerts: tuple[tuple[Identity, Subject, Alert], ...]
    actor: str
    truncated: int


@dataclass
class Tally:
    """What came of a delivery."""

    new: int = 0
    repeated: int = 0
    resolved: int = 0
    changes: dict[str, Changes] = field(default_factory=dict)
    """By incident, also those that it only repeated."""

    def of(self, incident_id: str) -> Changes:
        return self.changes.setdefault(incident_id, Changes())


class Casebook:
    """`known`: the alerts of this batch that have rows. `open_`: open incidents of its subjects. `held`: incidents of them that
    people were handed and that still fire. `others`: the other incidents that known alerts belong to."""

    def __init__(
        self,
        now: datetime,
        policies: Policies,
        known: Mapping[Identity, AlertRecord],
        open_: Mapping[str, IncidentRecord],
        held: Mapping[str, IncidentRecord],
        others: Mapping[str, IncidentRecord],
    ) -> None:
        self._now = now
        self._policies = policies
        self._known = known
        self._held = held
        self._others = others
        self.entries: dict[Identity, Entry] = {}
        self.cases = {subject: _case(record) for subject, record in open_.items()}
        self._by_id = {case.id: case for case in self.cases.values()}

    def enter(self, delivery: Delivery) -> Tally:
        tally = Tally()
        for identity, subject, alert in delivery.alerts:
            entry = self.entries.get(identity) or self._recall(identity, alert)
            if entry is None:
                self._first(tally, identity, subject, alert)
                continue
            entry.more += 1
            if alert.status == "resolved" and entry.status == "firing":
                self._resolve(tally, entry, alert)
            else:
                self._repeat(tally, entry, subject, alert)
        return tally

    def _recall(self, identity: Identity, alert: Alert) -> Entry | None:
        record = self._known.get(identity)
        if record is None:
            return None
        entry = Entry(
            record.id, alert, fresh=False, status=record.status, ends_at=record.ends_at, incident_id=record.incident_id
        )
        self.entries[identity] = entry
        return entry

    def _first(self, tally: Tally, identity: Identity, subject: Subject, alert: Alert) -> None:
        entry = Entry(
            ids.new("alr", self._now), alert, fresh=True, status=alert.status, ends_at=alert.ends_at, incident_id=None, more=1
        )
        self.entries[identity] = entry
        if alert.status == "resolved":
            entry.ends_at = alert.ends_at or self._now
            tally.resolved += 1
            return
        tally.new += 1
        self._join(tally, entry, subject, recurs_from=None)

    def _resolve(self, tally: Tally, entry: Entry, alert: Alert) -> None:
        entry.status, entry.ends_at = "resolved", alert.ends_at or self._now
        tally.resolved += 1
        if entry.incident_id is None:
            return
        case = self._by_id.get(entry.incident_id)
        if case is not None:
            case.calmed = True
            tally.of(case.id).resolved.append(entry)

    def _repeat(self, tally: Tally, entry: Entry, subject: Subject, alert: Alert) -> None:
        tally.repeated += 1
        if alert.status == "resolved" or entry.status == "resolved" or entry.incident_id is None:
            return
        if entry.incident_id in self._by_id:
            tally.of(entry.incident_id)
            return
        if entry.incident_id in {incident.id for incident in self._held.values()}:
            return
        closed_at = self._others[entry.incident_id].closed_at
        if closed_at is not None and self._now - closed_at > self._policies.verification.settle:
            self._join(tally, entry, subject, recurs_from=entry.incident_id)

    def _join(self, tally: Tally, entry: Entry, subject: Subject, recurs_from: str | None) -> None:
        severity = entry.alert.severity
        due_at = self._now + self._patience(entry.alert)
        case, held = self.cases.get(str(subject)), self._held.get(str(subject))
        asked = entry.alert.source == REQUESTED
        if case is None and held is not None and not asked and _RANK[severity] <= _RANK[_severity(held)]:
            entry.incident_id = held.id
            tally.of(held.id).joined.append(entry)
            return
        if case is None:
            case = Case(
                ids.new("inc", self._now),
                _title(entry.alert),
                severity,
                debouncing=True,
                subject=subject,
                run_id=ids.new("run", self._now),
                due_at=due_at,
                recurs_from=recurs_from,
            )
            self.cases[str(subject)] = self._by_id[case.id] = case
            tally.of(case.id).opened = True
        elif _RANK[severity] > _RANK[case.severity]:
            case.severity, case.raised = severity, True
            if case.debouncing:
                case.due_at = due_at if case.due_at is None else min(case.due_at, due_at)
        entry.incident_id = case.id
        tally.of(case.id).joined.append(entry)

    def _patience(self, alert: Alert) -> timedelta:
        """What is asked for does not resolve itself."""
        if alert.source == REQUESTED:
            return timedelta(0)
        severity, intake = alert.severity, self._policies.intake
        return intake.debounce_critical if severity == "critical" else intake.debounce


def _case(record: IncidentRecord) -> Case:
    return Case(record.id, record.title, _severity(record), debouncing=record.status == "debouncing")


def _severity(record: IncidentRecord) -> Severity:
    return "critical" if record.severity == "critical" else "info" if record.severity == "info" else "warning"


def _title(alert: Alert) -> str:
    """What people see in lists: the sender's own summary, bounded, or the alert's name."""
    return (alert.annotations.get("summary") or alert.name)[:300]
