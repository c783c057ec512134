"""One batch of deliveries in one transaction: read the rows at hand, decide in memory (`casebook.py`), write all of it at once.

The number of statements depends on what happened, not on how many alerts it happened to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from agents.policies import Policies
from api.store import alerts, audit, events, incidents, runs
from api.store.sessions import Transaction
from api.work.casebook import Case, Casebook, Delivery, Entry, Tally

_NAMED = 20
"""An event names this many alerts of a delivery; the rest is counted."""


@dataclass(frozen=True)
class Accepted:
    received: int
    new: int
    """Firing alerts that were seen for the first time."""
    repeated: int
    """Deliveries that said nothing new."""
    resolved: int
    incidents: tuple[str, ...]
    """Those that the alerts belong to, oldest first."""
    runs: tuple[str, ...]
    """Runs that are due now: to be dispatched, with the event `start`. The others are found when their debounce is over."""


async def admit(transaction: Transaction, deliveries: Sequence[Delivery], policies: Policies, now: datetime) -> list[Accepted]:
    """An answer for each delivery, true once the transaction is committed. Raises Conflict when another one came first."""
    book = await _open_book(transaction, deliveries, policies, now)
    tallies = [book.enter(delivery) for delivery in deliveries]
    cases = book.cases.values()
    # In one order for everybody: replicas that make the same rows at once wait for each other, and none waits in a circle.
    opened = sorted((case for case in cases if case.run_id is not None), key=lambda case: str(case.subject))
    fresh = [entry for _, entry in sorted(book.entries.items(), key=itemgetter(0)) if entry.fresh]
    await incidents.add(transaction, [_incident_row(case, now) for case in opened])
    await alerts.add(transaction, [_alert_row(entry, now) for entry in fresh])
    await alerts.update(transaction, [_alert_change(entry, now) for entry in book.entries.values() if not entry.fresh])
    await runs.add(transaction, [_run_row(case, now) for case in opened])
    for case in cases:
        if case.raised and case.run_id is None:
            await incidents.describe(transaction, case.id, at=now, severity=case.severity)
    hastened = await _hasten(transaction, cases, now)
    quiet = await _close_quiet(transaction, cases, now)
    starting = {
        case.id: case.run_id for case in opened if case.run_id is not None and case.due_at is not None and case.due_at <= now
    }
    starting |= hastened
    _tell(transaction, deliveries, tallies, {case.id: case for case in cases}, quiet, now)
    return [
        Accepted(
            received=len(delivery.alerts),
            new=tally.new,
            repeated=tally.repeated,
            resolved=tally.resolved,
            incidents=tuple(sorted(tally.changes)),
            runs=tuple(sorted(starting[case_id] for case_id in tally.changes if case_id in starting and case_id not in quiet)),
        )
        for delivery, tally in zip(deliveries, tallies, strict=True)
    ]


async def _open_book(transaction: Transaction, deliveries: Sequence[Delivery], policies: Policies, now: datetime) -> Casebook:
    everything = [alert for delivery in deliveries for alert in delivery.alerts]
    # The incidents are locked before the alerts are read: who comes second reads what the first one wrote.
    subjects = {str(subject) for _, subject, _ in everything}
    open_ = await incidents.lock_open(transaction, subjects)
    known = await alerts.find(transaction, {identity for identity, _, _ in everything})
    at_hand = {incident.id for incident in open_.values()}
    elsewhere = {record.incident_id for record in known.values() if record.incident_id is not None} - at_hand
    escalated = await incidents.escalated(transaction, subjects - open_.keys(), since=now - policies.intake.hold_escalated)
    firing = await alerts.firing(transaction, {incident.id for incident in escalated.values()})
    held = {subject: incident for subject, incident in escalated.items() if incident.id in firing}
    return Casebook(now, policies, known, open_, held, await incidents.get_many(transaction, elsewhere))


async def _hasten(transaction: Transaction, cases: Iterable[Case], now: datetime) -> dict[str, str]:
    """Runs of incidents that a more severe alert has joined before they started, by incident, as far as they are due now."""
    due: dict[str, str] = {}
    for case in cases:
        if case.raised and case.run_id is None and case.due_at is not None:
            run_id = await runs.hasten(transaction, case.id, case.due_at, at=now)
            if run_id is not None and case.due_at <= now:
                due[case.id] = run_id
    return due


async def _close_quiet(transaction: Transaction, cases: Iterable[Case], now: datetime) -> set[str]:
    """Incidents whose alerts have all resolved before anybody began to look: nothing is investigated."""
    calmed = {case.id for case in cases if case.calmed and case.debouncing}
    silent = calmed - await alerts.firing(transaction, calmed)
    # The run decides: one that has started meanwhile goes on, and its incident with it.
    quiet = await runs.cancel_unstarted(transaction, silent, at=now)
    for incident_id in quiet:
        await incidents.close(transaction, incident_id, "self_resolved", at=now, summary="Every alert resolved itself in time.")
    return quiet


def _tell(
    transaction: Transaction,
    deliveries: Sequence[Delivery],
    tallies: Sequence[Tally],
    cases: dict[str, Case],
    quiet: set[str],
    now: datetime,
) -> None:
    for delivery, tally in zip(deliveries, tallies, strict=True):
        for incident_id, changes in tally.changes.items():

            def event(name: str, data: dict[str, Any], incident_id: str = incident_id) -> None:
                events.append(transaction, incident_id, name, data, at=now)

            case = cases.get(incident_id)
            if changes.opened and case is not None:
                told = {"subject": str(case.subject), "title": case.title, "severity": case.severity}
                if case.recurs_from is not None:
                    told["recurs_from"] = case.recurs_from
                event("incident.opened", told)
                audit.append(
                    transaction, at=now, actor=delivery.actor, action="incident.opened", subject=incident_id, data=told
                )
            if changes.joined:
                event("alerts.received", _named(changes.joined))
            if changes.resolved:
                event("alerts.resolved", _named(changes.resolved))
            if delivery.truncated:
                event("alerts.truncated", {"left_out": delivery.truncated})
        audit.append(
            transaction,
            at=now,
            actor=delivery.actor,
            action="alerts.accepted",
            subject="alerts",
            data={
                "received": len(delivery.alerts),
                "new": tally.new,
                "repeated": tally.repeated,
                "resolved": tally.resolved,
                "truncated": delivery.truncated,
                "incidents": sorted(tally.changes),
            },
        )
    for incident_id in sorted(quiet):
        events.append(transaction, incident_id, "incident.self_resolved", {}, at=now)
        audit.append(
            transaction, at=now, actor="policy:debounce", action="incident.self_resolved", subject=incident_id, data={}
        )


def _named(entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "count": len(entries),
        "alerts": [
            {"id": entry.id, "name": entry.alert.name[:300], "severity": entry.alert.severity, "source": entry.alert.source}
            for entry in entries[:_NAMED]
        ],
    }


def _incident_row(case: Case, now: datetime) -> dict[str, Any]:
    subject = case.subject
    return {
        "id": case.id,
        "subject": str(subject),
        "model": subject.model if subject is not None else None,
        "title": case.title,
        "severity": case.severity,
        "status": "debouncing",
        "opened_at": now,
        "updated_at": now,
    }


def _run_row(case: Case, now: datetime) -> dict[str, Any]:
    return {
        "id": case.run_id,
        "incident_id": case.id,
        "subject": str(case.subject),
        "status": "queued",
        "due_at": case.due_at,
        "event": runs.START,
        "created_at": now,
        "updated_at": now,
    }


def _alert_row(entry: Entry, now: datetime) -> dict[str, Any]:
    alert = entry.alert
    return {
        "id": entry.id,
        "incident_id": entry.incident_id,
        "source": alert.source,
        "fingerprint": alert.fingerprint,
        "status": entry.status,
        "name": alert.name[:300],
        "severity": alert.severity,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "group_key": alert.group_key,
        "link": alert.link,
        "starts_at": alert.starts_at,
        "ends_at": entry.ends_at,
        "first_seen_at": now,
        "last_seen_at": now,
        "deliveries": entry.more,
    }


def _alert_change(entry: Entry, now: datetime) -> dict[str, Any]:
    return {
        "id": entry.id,
        "status": entry.status,
        "ends_at": entry.ends_at,
        "incident_id": entry.incident_id,
        "last_seen_at": now,
        "more": entry.more,
    }
