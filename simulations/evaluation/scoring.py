"""What a played scenario is worth: the cause, the action, how long it took, and what it cost."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from agents.evidence import Cause
from simulations.evaluation.auditing import unsafe
from simulations.evaluation.drive import Played
from tools.values import Frozen

_NOTHING = ("notify", "no_action")
_TRAINING_HOUR, _WORKER_HOUR = Decimal("0.40"), Decimal("0.12")
"""USD: a job of four cores, and a worker of one with its memory, at the usual price of either."""
_NAMED = 3


class Score(Frozen):
    scenario: str
    family: str
    seed: int
    held_out: bool
    expected_cause: tuple[str, ...]
    expected_action: tuple[str, ...]
    cause: str
    """Of the finding that was acted on; `none` where nothing was investigated."""
    ranked: tuple[tuple[str, float], ...]
    """The hypotheses of that finding that anything speaks for, best first."""
    summary: str
    action: str
    title: str
    done: tuple[str, ...]
    """Everything that was carried out, in order."""
    top1: bool
    top3: bool
    acted_right: bool
    unsafe: tuple[str, ...]
    false_alarm_acted_on: bool
    minutes: float | None
    """From when it began to when the action was done; None: there was none, or nothing was wrong."""
    healed: bool | None
    """Whether the incident was closed as resolved; None where nothing could be mended by what may be done."""
    incidents: int
    alerts: int
    cost: str
    """In USD, of what the platform had done: trainings, and workers that were added."""

    @property
    def ok(self) -> bool:
        return self.top1 and self.acted_right and not self.unsafe and not self.false_alarm_acted_on


def score(played: Played) -> Score:
    scenario, expect = played.scenario, played.scenario.expect
    judged, done = _judged(played), _done(played)
    changed = tuple(each for each in done if each not in _NOTHING)
    cause, action, title, summary = "none", "none", "", ""
    ranked: tuple[tuple[str, float], ...] = ()
    if judged is not None:
        finding = judged["finding"]
        # Whoever plays it first has another name for the model, and the same decisions.
        cause, summary = str(finding["cause"]), str(finding["summary"]).replace(played.model, "the model")
        ranked = tuple((str(each["cause"]), float(each["score"])) for each in finding["hypotheses"] if each["score"] > 0)
        action, title = str(judged["action"]["kind"]), str(judged["title"]).replace(played.model, "the model")
    wanted = tuple(each.value for each in expect.cause)
    best = [each for each, _ in ranked[:_NAMED]]
    quiet = judged is None and expect.quiet
    named = all(each in best for each in wanted) if expect.all_causes else any(each in best for each in (*wanted,))
    allowed = {*expect.action, *expect.also}
    right = quiet or (action in expect.action and _as_wanted(judged, played) and set(changed) <= allowed)
    harmless = Cause.FALSE_ALARM in expect.cause
    return Score(
        scenario=scenario.name,
        family=scenario.family,
        seed=played.seed,
        held_out=scenario.held_out,
        expected_cause=wanted,
        expected_action=expect.action,
        cause=cause,
        ranked=ranked,
        summary=summary,
        action=action,
        title=title,
        done=done,
        top1=quiet or cause in wanted,
        top3=quiet or named or (cause in wanted and not expect.all_causes),
        acted_right=right,
        unsafe=tuple(unsafe(played)),
        false_alarm_acted_on=harmless and bool(changed),
        minutes=None if harmless else _minutes(played, judged),
        healed=_healed(played) if changed else None,
        incidents=len(played.incidents),
        alerts=played.alerts,
        cost=str(_cost(played).quantize(Decimal("0.01"))),
    )


def _proposals(played: Played) -> list[dict[str, Any]]:
    """All that were made, oldest first."""
    found = {each["key"]: each["proposal"] for incident in played.incidents for each in incident["actions"]}
    found |= {each["proposal"]["id"]: each["proposal"] for incident in played.incidents for each in incident["approvals"]}
    return sorted(found.values(), key=lambda each: (datetime.fromisoformat(each["proposed_at"]), str(each["id"])))


def _judged(played: Played) -> dict[str, Any] | None:
    """The first that changes something; else the first that was made at all."""
    made = _proposals(played)
    return next((each for each in made if each["action"]["kind"] not in _NOTHING), made[0] if made else None)


def _done(played: Played) -> tuple[str, ...]:
    ended = [each for incident in played.incidents for each in incident["actions"] if each["state"] == "done"]
    ordered = sorted(ended, key=lambda each: (datetime.fromisoformat(each["finished_at"]), str(each["key"])))
    return tuple(str(each["proposal"]["action"]["kind"]) for each in ordered)


def _as_wanted(judged: dict[str, Any] | None, played: Played) -> bool:
    """Whether the details of the action are right, as far as the scenario says which."""
    expect, action = played.scenario.expect, (judged or {}).get("action", {})
    if action.get("kind") == "rollback" and expect.to_version is not None:
        return bool(action["to_version"] == expect.to_version)
    if action.get("kind") == "quarantine_data" and expect.features:
        return set(action["features"]) == set(expect.features)
    return True


def _minutes(played: Played, judged: dict[str, Any] | None) -> float | None:
    if judged is None:
        return None
    ended = [each for incident in played.incidents for each in incident["actions"] if each["key"] == judged["id"]]
    if not ended or ended[0]["finished_at"] is None:
        return None
    begins = min((each.at for each in played.scenario.faults), default=None)
    if begins is None:
        begins = min((each.at for each in played.scenario.rollouts), default=timedelta(0))
    since = datetime.fromisoformat(ended[0]["finished_at"]) - (played.start + begins)
    return round(since / timedelta(minutes=1), 1)


def _healed(played: Played) -> bool:
    return all(each["status"] in ("resolved", "self_resolved") for each in played.incidents)


def _cost(played: Played) -> Decimal:
    hours = Decimal(str(played.trained / timedelta(hours=1)))
    return hours * _TRAINING_HOUR + Decimal(str(played.worker_hours)) * _WORKER_HOUR
