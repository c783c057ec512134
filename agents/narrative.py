"""Findings and proposals as text for people: the approval card, notifications, the incident report.

Every number comes from a value that was measured. Text that came from outside (names, labels, annotations) is shown and never
rendered: control characters are replaced and markup is escaped, so that an alert cannot forge a heading, hide a line or plant a
link in what an approver reads. The result is Markdown that also reads as plain text.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import assert_never

from agents.actions import (
    AbortRollout,
    Catalogue,
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
from agents.alerts import Alert
from agents.cost.quantization_rules import Margins
from agents.evidence import Evidence, Finding, Hypothesis
from agents.experiment_facts import Goal
from agents.proposals import Impact, Proposal, Receipt
from agents.verification import Verification
from agents.wording import between, counted, milliseconds, moment, points, share, span
from tools.notify.port import Message

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn"}
"""Unicode categories that show nothing or steer how the rest is shown: control, format, surrogate, private, unassigned."""
_MARKUP = re.compile(r"[\\`*<>\[\]|~]|(?<!\w)_|_(?!\w)|^(?:[#+>=-]|\d+[.)](?=\s|$))")
_MAX_ALERTS = 10
_LEFT_OUT = 10


def plain(text: str, limit: int = 1_000) -> str:
    """One line of visible characters, cut at `limit`."""
    seen = "".join(" " if each.isspace() else "\ufffd" if unicodedata.category(each) in _UNSEEN else each for each in text)
    line = " ".join(seen.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def escaped(text: str, limit: int = 1_000) -> str:
    """`plain`, with what Markdown or HTML would act on taken literally."""
    return _MARKUP.sub(lambda match: match.group()[:-1] + "\\" + match.group()[-1], plain(text, limit))


def quoted(text: str, limit: int = 300) -> str:
    """`plain` in a code span: not even an address in it becomes a link."""
    return "`" + (plain(text, limit).replace("`", "'") or " ") + "`"


def title(action: Catalogue) -> str:
    """One line of plain text."""
    match action:
        case Rollback(model=model, from_version=bad, to_version=good):
            return plain(f"Roll {model} back from version {bad} to version {good}", 300)
        case Scale(model=model, from_workers=current, workers=wanted):
            return plain(f"Scale {model} from {counted(current, 'worker')} to {wanted}", 300)
        case Retrain(model=model, window_start=start, window_end=end, left_out=left_out):
            less = f", without what is quarantined of it ({len(left_out)})" if left_out else ""
            return plain(f"Retrain {model} on its data from {moment(start)} to {moment(end)}{less}", 300)
        case StartRollout(model=model, from_version=old, version=new, stages=stages):
            steps = ", ".join(share(stage.weight) if stage.weight else "as a shadow" for stage in stages)
            return plain(f"Roll out version {new} of {model} beside version {old}: {steps}", 300)
        case AbortRollout(model=model, version=new, to_version=old):
            return plain(f"End the rollout of version {new} of {model}: all traffic back to version {old}", 300)
        case Promote(model=model, from_version=old, version=new):
            return plain(f"Make version {new} champion of {model} in place of version {old}", 300)
        case StartExperiment(model=model, from_version=old, plan=plan):
            arms = ", ".join(f"version {each.version} ({each.weight} %)" for each in plan.treatments)
            return plain(f"Try {arms} of {model} beside version {old} for {plan.goal.name}", 300)
        case StopExperiment(model=model, versions=versions, to_version=old):
            tried = ", ".join(versions)
            return plain(f"End the experiment with version {tried} of {model}: all traffic back to version {old}", 300)
        case QuarantineData(model=model, window_start=start, window_end=end, features=features):
            return plain(f"Quarantine {_data(model, features)} from {moment(start)} to {moment(end)}", 300)
        case ReleaseData(model=model, window_start=start, window_end=end, features=features):
            return plain(f"Release {_data(model, features)} from {moment(start)} to {moment(end)}", 300)
        case Quantize(model=model, version=version):
            return plain(f"Find out what version {version} of {model} is worth in INT8", 300)
        case ConsolidateTraining(model=model, kept=kept, cancelled=cancelled):
            return plain(f"Cancel {counted(len(cancelled), 'training')} of {model} that {kept} does as well", 300)
        case SetBatching(model=model, rows=rows, wait_ms=wait_ms):
            return plain(f"Compute up to {counted(rows, 'row')} of {model} together, waiting up to {wait_ms:g} ms", 300)
        case MoveToSpot(model=model, pricing=pricing):
            return plain(f"Buy the trainings of {model} as {pricing.value} from now on", 300)
        case ExpireArtifacts(model=model, items=items):
            size = sum(item.size_bytes for item in items) / 1024**3
            return plain(f"Discard {counted(len(items), 'old file set')} of {model}, {size:.2f} GiB", 300)
        case RestoreArtifacts(model=model, items=items):
            return plain(f"Put back {counted(len(items), 'discarded file set')} of {model}", 300)
        case Notify(channel=channel, title=subject):
            return plain(f"Tell {channel}: {subject}", 300)
        case NoAction(reason=reason):
            return plain(f"Do nothing: {reason}", 300)
        case unknown:
            assert_never(unknown)


def _data(model: str, features: tuple[str, ...]) -> str:
    named = f"{', '.join(features[:3])}{' and others' if len(features) > 3 else ''} of " if features else "the data of "
    return f"{named}{model}"


def card(proposal: Proposal) -> str:
    """What an approver reads, in Markdown."""
    impact = proposal.impact
    lines = [
        f"## {escaped(proposal.title, 300)}",
        "",
        *_finding(proposal.finding),
        "",
        "**If approved**",
        "",
        f"- Effect: {escaped(impact.expected_effect)}",
        f"- Touches: {escaped(impact.blast_radius)}",
        f"- Risk: {impact.risk.value}",
        f"- Undo: {escaped(impact.undo)}",
        *_saving(impact),
        *_judging(proposal.action),
        f"- Decided on: {_state(proposal.state)}",
        f"- Runbook: docs/runbooks/{impact.runbook}.md",
        "",
        f"Asked for by {quoted(proposal.requested_by)} at {moment(proposal.proposed_at)}.{_behind(proposal)}",
        f"Fingerprint `{proposal.fingerprint}`.",
    ]
    if proposal.undo_of is not None:
        lines.append(f"It takes back {quoted(proposal.undo_of)}.")
    return "\n".join(lines)


def _saving(impact: Impact) -> list[str]:
    if (saving := impact.saving) is None:
        return []
    return [
        f"- Expected saving: {between(saving.low, saving.high, saving.currency)} per day, to be shown by the ledger afterwards"
    ]


def _judging(action: Catalogue) -> list[str]:
    """By what a canary stays or goes: approved with its rollout, so it is shown."""
    if isinstance(action, StartExperiment):
        return list(_trying(action))
    if not isinstance(action, StartRollout):
        return []
    weighed = [f"- As a shadow it has to pay too: {_weighed(action.weighed)}"] if action.weighed is not None else []
    if (rules := action.judging) is None:
        return ["- Judged by: the policies, as they are at each look", *weighed]
    units = {"errors": "failed requests", "accuracy": "wrong answers", "latency": "slow answers"}
    allowed = [
        f"{points(margin)} more {units[guard]}" if guard in units else f"{guard} worse by {share(margin)}"
        for guard, margin in rules.guardrails.judged.items()
    ]
    slow = f"; slow is above {milliseconds(action.slow_ms)}" if action.slow_ms is not None else ""
    errors = f"wrongly taken back {share(rules.wrong_rollbacks)}, wrongly passed {share(rules.wrong_passes)} at most"
    return [f"- Taken back for: {', '.join(allowed)}{slow} ({errors})", *weighed]


def _weighed(margins: Margins) -> str:
    """By what INT8 is held against the original on the same requests."""
    return (
        f"a prediction takes {share(margins.min_saving)} less of the processor; {points(margins.max_accuracy_loss)} more wrong "
        f"answers at most, or {share(margins.max_disagreement)} other ones where labels are missing; no more failures; p99 "
        f"{share(margins.max_p99_factor - 1)} longer at most"
    )


def _trying(action: StartExperiment) -> Iterator[str]:
    """By what an experiment is decided, and ended."""
    plan, rules = action.plan, action.rules
    shortest, longest = plan.shortest or rules.shortest, plan.longest or rules.longest
    yield f"- Decided by: {_goal(plan.goal)}, after {span(shortest)} at the soonest and {span(longest)} at the latest"
    yield f"- Ended at once for: {'; '.join(map(_goal, plan.guardrails)) or 'nothing: it has no guardrails'}"
    errors = f"a wrong winner {share(rules.wrong_winners)}, a wrong end over a guardrail {share(rules.wrong_stops)} at most"
    slow = f"; slow is above {milliseconds(plan.slow_ms)}" if plan.slow_ms is not None else ""
    yield f"- How sure: {errors}{slow}"


def _goal(goal: Goal) -> str:
    size = points(goal.margin) if goal.kind == "share" else share(goal.margin)
    return f"{goal.name} ({goal.better} is better, {size} matter)"


def _behind(proposal: Proposal) -> str:
    asked = [each for each in (proposal.asked_by, *proposal.also_asked_by) if each and each != proposal.requested_by]
    return f" On the request of {', '.join(map(quoted, asked))}." if asked else ""


def account(finding: Finding) -> str:
    """What was found, with the evidence for and against the leading hypotheses, in Markdown."""
    return "\n".join(_finding(finding))


def request(proposal: Proposal, quorum: int, expires_at: datetime, link: str = "") -> Message:
    """The notification that somebody has to decide."""
    needed = "your approval" if quorum == 1 else f"the approval of {quorum} people"
    body = f"{card(proposal)}\n\nIt needs {needed} before {moment(expires_at)}."
    return Message(title=f"Approve? {plain(proposal.title, 280)}", body=body, severity="warning", link=link)


def closing(proposal: Proposal, outcome: str, reason: str, verification: Verification | None) -> Message:
    """The notification that a run has ended."""
    lines = [f"{plain(proposal.title, 300)}: {outcome.replace('_', ' ')}.", "", escaped(reason), ""]
    lines += [f"Cause: {_cause(proposal.finding)}. {escaped(proposal.finding.summary)}"]
    if verification is not None:
        lines += ["", *_measures(verification)]
    settled = outcome in {"resolved", "no_action"}
    subject = proposal.finding.model or proposal.title
    return Message(
        title=plain(f"{subject}: {outcome.replace('_', ' ')}", 300),
        body="\n".join(lines),
        severity="info" if settled else "warning",
    )


def early(incident_id: str, finding: Finding, again: datetime) -> Message:
    """What people are told while it is too early to tell: that somebody is at it, and when it is looked at again."""
    subject = finding.model or incident_id
    looked = f"It is looked at again at {moment(again)}, as more comes in."
    body = f"It is too early to tell why. {escaped(finding.summary)}\n\n{looked}"
    return Message(title=plain(f"{subject}: being looked into", 300), body=body, severity="warning")


def broken(incident_id: str, subject: str, error: str) -> Message:
    """The notification that an investigation broke: nobody looks at the incident now but people."""
    body = f"The investigation of {quoted(subject)} ({incident_id}) failed, and nothing looks at it any more: {escaped(error)}"
    return Message(title=plain(f"{subject}: the investigation failed", 300), body=body, severity="critical")


def report(
    alerts: Sequence[Alert],
    proposal: Proposal,
    outcome: str,
    reason: str,
    receipt: Receipt | None = None,
    verification: Verification | None = None,
) -> str:
    """The incident from alert to outcome, in Markdown."""
    lines = ["## Alerts", ""]
    for alert in alerts[:_MAX_ALERTS]:
        said = alert.annotations.get("summary") or alert.annotations.get("description") or ""
        lines.append(
            f"- {quoted(alert.name)}, {alert.severity}, since {moment(alert.starts_at)}" + (said and f": {quoted(said)}")
        )
    if len(alerts) > _MAX_ALERTS:
        lines.append(f"- and {len(alerts) - _MAX_ALERTS} more")
    lines += ["", "## Finding", "", *_finding(proposal.finding), "", "## Action", "", escaped(proposal.title, 300)]
    if receipt is not None:
        lines += ["", f"Done between {moment(receipt.started_at)} and {moment(receipt.finished_at)}."]
        lines += [f"Before: {_state(receipt.before)}. After: {_state(receipt.after)}."]
        if receipt.left_out:
            told = "; ".join(escaped(each) for each in receipt.left_out[:_LEFT_OUT])
            more = f"; and {len(receipt.left_out) - _LEFT_OUT} more" if len(receipt.left_out) > _LEFT_OUT else ""
            lines += [f"Not done: {told}{more}."]
        lines += [f"Undo: {escaped(title(receipt.undo))}." if receipt.undo is not None else "There is nothing to undo."]
    lines += ["", "## Outcome", "", f"{outcome.replace('_', ' ').capitalize()}. {escaped(reason)}"]
    if verification is not None:
        lines += ["", *_measures(verification)]
    return "\n".join(lines)


def _finding(finding: Finding) -> Iterator[str]:
    known = {each.id: each for each in finding.evidence}
    yield f"**Cause: {_cause(finding)}.** {escaped(finding.summary)}"
    for place, hypothesis in enumerate(finding.hypotheses[:2]):
        name = hypothesis.cause.value.replace("_", " ")
        yield ""
        rank = "Not supported" if hypothesis.score == 0 else "Leading" if place == 0 else "Next"
        yield f"**{rank}: {name}** (score {hypothesis.score:.2f}). {escaped(hypothesis.reason)}"
        yield from _references(hypothesis, known)
    rest = [f"{each.cause.value.replace('_', ' ')} {each.score:.2f}" for each in finding.hypotheses[2:]]
    if rest:
        yield ""
        yield f"Less likely: {', '.join(rest)}."
    for missing in finding.missing:
        yield ""
        yield f"Not read: {quoted(missing.source)}, {escaped(missing.reason)}"


def _references(hypothesis: Hypothesis, known: dict[str, Evidence]) -> Iterator[str]:
    for word, ids in (("for", hypothesis.supporting), ("against", hypothesis.against)):
        for each in ids:
            if each in known:
                yield f"- {word}: {escaped(known[each].statement)}"


def _cause(finding: Finding) -> str:
    return finding.cause.value.replace("_", " ")


def _state(state: WorldState) -> str:
    parts = []
    if state.champion is not None:
        parts.append(f"champion {quoted(state.champion)}")
    if state.weights:
        parts.append("traffic " + ", ".join(f"{weight} % on {quoted(each)}" for each, weight in sorted(state.weights.items())))
    if state.route_generation is not None:
        parts.append(f"route generation {state.route_generation}")
    if state.workers is not None:
        parts.append(counted(state.workers, "worker"))
    if state.quarantined is not None:
        parts.append(f"quarantined already: {', '.join(map(quoted, state.quarantined)) or 'nothing of it'}")
    if state.batching is not None:
        parts.append(f"batches of {state.batching.get('rows', 0):g} rows within {state.batching.get('wait_ms', 0):g} ms")
    if state.buying is not None:
        parts.append(f"trainings bought as {state.buying.value}")
    if state.artifacts is not None:
        parts.append(f"{counted(len(state.artifacts), 'file set')} there as listed")
    if state.running is not None:
        parts.append(f"running: {', '.join(map(quoted, state.running)) or 'none of them'}")
    return ", ".join(parts) or "nothing in particular"


def _measures(verification: Verification) -> Iterator[str]:
    for each in verification.measures:
        if each.value is None:
            continue
        unit = f" {each.unit}" if each.unit else ""
        limit = f", limit {each.limit:g}{unit}" if each.limit is not None else ""
        size = f", {each.sample_size} samples" if each.sample_size is not None else ""
        yield f"- {each.name.replace('_', ' ')}: {each.value:.4g}{unit}{limit}{size}"
