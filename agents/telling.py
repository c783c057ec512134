"""What people are told when there is nothing for OPPEN to do itself, whichever specialist found that out."""

from collections.abc import Sequence
from typing import Literal, assert_never

from agents.actions import Action, Notify
from agents.alerts import Alert
from agents.evidence import Cause, Finding
from agents.narrative import account, plain
from agents.policies import Policies


def tell(finding: Finding, alerts: Sequence[Alert], policies: Policies, why: str) -> tuple[Action, str]:
    """People are told what was found and where to look next; `why`: why nothing was changed."""
    names = sorted({alert.name for alert in alerts})
    subject = finding.model or "An incident"
    steps = "\n".join(f"- {step}" for step in next_steps(finding.cause))
    body = f"{account(finding)}\n\nNothing was changed: {plain(why)}.\n\nWhat to do next:\n\n{steps}"
    about = f" ({', '.join(names[:3])}{' and others' if len(names) > 3 else ''})" if names else ""
    title = plain(f"{subject}: {finding.cause.value.replace('_', ' ')}{about}", 300)
    critical = any(alert.severity == "critical" for alert in alerts)
    severity: Literal["critical", "warning"] = "critical" if critical else "warning"
    return Notify(channel=policies.notify_channel, title=title, body=body[:20_000], severity=severity), why


def next_steps(cause: Cause) -> tuple[str, ...]:
    match cause:
        case Cause.DATA_DRIFT:
            return (
                "Look at the features named above: is this a new kind of customer or season, or a fault upstream?",
                "If it is here to stay, train on recent data and compare on the slices that lost most.",
                "Until then, consider whether decisions of the model need a second look.",
            )
        case Cause.LABEL_SHIFT:
            return (
                "Find out why one answer is right so much more often than it was: other customers, a campaign, a fault?",
                "If it is here to stay, train on recent data, or move the threshold between the answers.",
            )
        case Cause.CONCEPT_DRIFT:
            return (
                "Find out what changed in the world: prices, rules, habits. The inputs look as before and mean something else.",
                "Train on data from since the change only; older data teaches what is not so any more.",
            )
        case Cause.SEASONALITY:
            return ("Nothing is broken: consider features that tell the season, or a reference that covers it.",)
        case Cause.DATA_QUALITY:
            return (
                "Ask the owner of the features named above what changed where they are made, and when.",
                "Repair them there: the model takes them as they come.",
                "Predictions made meanwhile may have to be made again.",
            )
        case Cause.INFRASTRUCTURE:
            return (
                "Look at the machines and networks under the gateway since the alert began.",
                "Look for whatever else shares them.",
            )
        case Cause.TRAFFIC_CHANGE:
            return (
                "Find out who sends more or fewer requests than usual, and whether that is meant.",
                "If it is here to stay, raise the number of workers that policy and gateway allow.",
            )
        case Cause.LABELS:
            return (
                "Look at the pipeline that delivers the labels: does it run, and does it match them to the right predictions?",
                "Do not retrain or roll back on accuracy that rests on these labels.",
            )
        case Cause.MODEL_REGRESSION:
            return (
                "Find a version to go back to, or take the model out of the decision.",
                "Compare the training run of this version with what it serves on now.",
            )
        case Cause.UNRESOLVED:
            return (
                "Look at the leading hypotheses above, and at what could not be read.",
                "More labels or another hour of traffic often tell two causes apart: the incident stays on record.",
            )
        case Cause.CANDIDATE_BETTER:
            return ("Ask for its rollout with `POST /v1/triggers/promote`.",)
        case Cause.CANDIDATE_WORSE:
            return (
                "Look at what it lost, above: the window it was trained on, its features, its labels.",
                "The champion stays; the candidate stays registered, for comparison.",
            )
        case Cause.CANDIDATE_UNPROVEN:
            return (
                "Evaluate it beside the champion, on data that neither has learnt from, or wait for more labels.",
                "If it is to be tried all the same, ask with `POST /v1/triggers/promote`: it then needs two approvals.",
            )
        case Cause.CANDIDATE_CHEAPER:
            return ("Ask for its rollout with `POST /v1/triggers/promote`.",)
        case Cause.HEAVY_MODEL:
            return (
                "Look at what an answer costs (`oppen costs`), and whether a smaller or quantised model would do.",
                "What INT8 was measured to be worth is in docs/optimization.md's record: `oppen optimizations`.",
            )
        case Cause.DUPLICATE_TRAINING:
            return (
                "Find out who submitted the same training more than once, and why: a retry without a key, two schedules.",
                "Cancel what is not needed: `oppen jobs cancel NAME`.",
            )
        case Cause.IDLE_CAPACITY:
            return ("Let fewer workers or machines wait for requests, or give them to what is short of them.",)
        case Cause.SMALL_BATCHES:
            return ("Let batches gather a little longer, as far as the promised latency allows.",)
        case Cause.FULL_PRICE:
            return ("Buy what can be interrupted as spot, and what always runs as committed use.",)
        case Cause.STALE_ARTIFACTS:
            return ("Delete versions, checkpoints and logs that nobody needs any more, or let them expire by policy.",)
        case Cause.PRICE_CHANGE:
            return (
                "Look at the price book: is the new price right, and since when does it hold?",
                "Usage is as before: only another offer, or using less, makes it cheaper.",
            )
        case Cause.FALSE_ALARM:
            return ("Adjust the rule that raised the alert.",)
        case unknown:
            assert_never(unknown)
