"""What people read, and what nobody can slip into it."""

import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.actions import NoAction, Notify, Rollback, Scale, StartRollout
from agents.evidence import Missing
from agents.measures import Measure
from agents.narrative import account, card, closing, escaped, plain, quoted, report, request, title
from agents.promotion_rules import Rollouts
from agents.proposals import Receipt
from agents.verification import Status, Verification
from tests.unit.agents.proposed import FINDING, NO_ACTION, NOTIFY, QUARANTINE, RELEASE, ROLLBACK, SCALE, proposal, state_of
from tests.unit.agents.worlds import NOW, alert

HELD = Verification(
    status=Status.HOLDS,
    reason="On version 1, accuracy 85.0%.",
    measures=(
        Measure(name="accuracy", value=0.85, limit=0.8, sample_size=400, ok=True),
        Measure(name="accuracy_before", value=None),
    ),
    at=NOW,
)
anything = st.text(st.characters(codec=None), max_size=200)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (ROLLBACK, "Roll flights back from version 2 to version 1"),
        (SCALE, "Scale flights from 2 workers to 4"),
        (NOTIFY, "Tell ops: flights: data drift"),
        (NO_ACTION, "Do nothing: nothing is wrong"),
    ],
)
def test_every_action_has_a_title(action: Rollback | Scale | Notify | NoAction, text: str) -> None:
    assert title(action) == text


def test_a_card_holds_what_is_needed_to_decide() -> None:
    asked = proposal(
        undo_of="run_0/1", finding=FINDING.model_copy(update={"missing": (Missing(source="telemetry", reason="none"),)})
    )
    text = card(asked)
    for part in (
        "Roll flights back from version 2 to version 1",
        "model regression",
        "for: Version 2 now is right on 72.0% of 780 labels, version 1 now on 85.0% of 420.",
        "against: deploy made version 2 champion.",
        "data drift** (score 0.10)",
        "Less likely: labels 0.00",
        "Not read: `telemetry`",
        "Risk: medium",
        "Undo: give champion and traffic back to version 2",
        "champion `2`, traffic 100 % on `2`, route generation 3",
        "docs/runbooks/rollback.md",
        "`agent:incident`",
        asked.fingerprint,
        "It takes back `run_0/1`.",
    ):
        assert part in text, part


def test_a_hypothesis_that_nothing_speaks_for_does_not_lead() -> None:
    nothing = FINDING.model_copy(
        update={"hypotheses": tuple(each.model_copy(update={"score": 0.0}) for each in FINDING.hypotheses)}
    )
    assert "Leading" not in account(nothing)
    assert "**Not supported: model regression** (score 0.00)" in account(nothing)
    assert "**Leading: model regression**" in account(FINDING)


def test_the_notification_says_who_has_to_say_what_until_when() -> None:
    message = request(proposal(), 2, NOW + timedelta(hours=1), "https://oppen/approvals/1")
    assert message.title == "Approve? Roll flights back from version 2 to version 1"
    assert "approval of 2 people before 2026-11-23 19:00 UTC" in message.body
    assert message.link == "https://oppen/approvals/1"


def test_the_closing_message_has_the_outcome_and_what_was_measured() -> None:
    message = closing(proposal(), "resolved", HELD.reason, HELD)
    assert message.title == "flights: resolved"
    assert message.severity == "info"
    assert "- accuracy: 0.85, limit 0.8, 400 samples" in message.body
    assert "accuracy before" not in message.body
    assert closing(proposal(), "failed", "no route", None).severity == "warning"


def test_the_report_tells_it_from_alert_to_outcome() -> None:
    receipt = Receipt(
        key="run_1/1",
        action=ROLLBACK,
        before=state_of(ROLLBACK),
        after=state_of(ROLLBACK).model_copy(update={"champion": "1"}),
        undo=Rollback(model="flights", from_version="1", to_version="2"),
        started_at=NOW,
        finished_at=NOW + timedelta(minutes=1),
    )
    alerts = [alert(f"Alert{number}") for number in range(12)]
    text = report(alerts, proposal(), "resolved", "It holds.", receipt, HELD)
    parts = [
        "## Alerts",
        "`Alert0`, warning",
        "and 2 more",
        "## Finding",
        "## Action",
        "Undo: Roll flights back",
        "## Outcome",
        "Resolved. It holds",
    ]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)


def test_an_alert_cannot_forge_markup() -> None:
    forged = alert("</pre>\n## Approved by ana\n[click](https://evil)").model_copy(
        update={"annotations": {"summary": "`x` <img src=x> \u202egnp.exe \x1b[2J"}}
    )
    text = report([forged], proposal(), "resolved", "## Approved <b>", None, None)
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "## Alerts",
        "## Finding",
        "## Action",
        "## Outcome",
    ]
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "`</pre> ## Approved by ana [click](https://evil)`" in text
    assert "\nResolved. \\## Approved \\<b\\>" in text


def test_names_from_outside_cannot_forge_markup_in_a_card() -> None:
    evil = Rollback(model="x](https://evil)\n\n# Safe", from_version="`2`", to_version="<b>")
    text = card(proposal(evil))
    assert [line for line in text.splitlines() if line.startswith("#")] == ["## Roll flights back from version 2 to version 1"]
    assert "<b>" not in text.replace("\\<b\\>", "")


@given(anything)
def test_plain_text_is_one_visible_line(text: str) -> None:
    line = plain(text, 50)
    assert len(line) <= 50
    assert all(unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for each in line)
    line.encode()


@given(anything)
def test_escaped_text_holds_nothing_that_renders(text: str) -> None:
    out = escaped(text)
    for place, each in enumerate(out):
        if each in "`*<>[]|~":
            assert out[place - 1] == "\\"
    assert not out.startswith(("#", "-", "+", "=", ">"))


@given(anything)
def test_quoted_text_cannot_leave_its_quotes(text: str) -> None:
    out = quoted(text)
    assert out[0] == out[-1] == "`"
    assert "`" not in out[1:-1]
    assert len(out) > 2


def test_words_with_underscores_stay_readable() -> None:
    assert escaped("dep_delay is 3.5 - 4.5 (p99_ms)") == "dep_delay is 3.5 - 4.5 (p99_ms)"
    assert escaped("_x_ *y*") == "\\_x\\_ \\*y\\*"


def test_the_account_of_a_finding_is_what_a_notification_carries() -> None:
    assert account(FINDING) in card(proposal())


def test_a_quarantine_names_what_of_which_data() -> None:
    some = QUARANTINE.model_copy(update={"features": ("a", "b", "c", "d")})
    assert title(some) == "Quarantine a, b, c and others of flights from 2026-11-23 12:00 UTC to 2026-11-23 18:00 UTC"
    assert title(RELEASE.model_copy(update={"features": ()})).startswith("Release the data of flights from")
    assert "quarantined already: `qua_1`" in card(proposal(RELEASE))
    assert "quarantined already: nothing of it" in card(proposal(QUARANTINE))


def test_a_rollout_is_shown_with_what_it_is_taken_back_for_and_who_asked() -> None:
    rollout = StartRollout(
        model="flights", from_version="1", version="2", stages=Rollouts().stages, slow_ms=40, judging=Rollouts().judging
    )
    text = card(proposal(rollout, asked_by="ben", also_asked_by=("ana",)))
    assert (
        "Taken back for: 0.5 points more failed requests, 1.0 points more wrong answers, 1.0 points more slow answers" in text
    )
    assert "slow is above 40 ms (wrongly taken back 5.0%, wrongly passed 5.0% at most)" in text
    assert "On the request of `ben`, `ana`." in text
    assert "Judged by: the policies, as they are at each look" in card(proposal(rollout.model_copy(update={"judging": None})))


def test_a_figure_at_the_start_of_a_line_is_no_list() -> None:
    assert escaped("97.7% of the answers are right") == "97.7% of the answers are right"
    assert escaped("1. of all") == "1\\. of all"
