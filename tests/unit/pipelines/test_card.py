"""The model card: everything that is known, and nothing that somebody outside can make it say."""

import re
from datetime import UTC, datetime

from pipelines.card import Made, card
from pipelines.evaluating import measure
from tests.unit.pipelines.contenders import Model, contender, rows, spec
from tools.registry.evaluations import CHECKS, Evaluation, Facts, StagingCheck
from tools.registry.serving_spec import CategoricalFeature

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def evaluation(facts: Facts, *, failed: str = "") -> Evaluation:
    checks = tuple(StagingCheck(name=name, ok=name != failed, reason="looked at") for name in CHECKS)
    return Evaluation(
        model="flights", version="2", champion="1", held_out=None, recent=None, facts=facts, staging=checks, measured_at=NOW
    )


def test_it_tells_what_was_measured_and_what_was_not() -> None:
    facts = measure(contender(Model(spoilt=-6.0)), contender(), {"held_out": rows()})
    made = Made("run-1", {"seed": "7"}, {"auc": 0.9}, {"git.commit": "abc", "cost.amount": "0.01", "cost.currency": "EUR"})
    text = card(evaluation(facts), spec(), made, data="a file", champion_run="run-0")
    for part in (
        "# flights, version 2",
        "| parameter seed | 7 |",
        "| git.commit | abc |",
        "0.01 EUR",
        "| slice:city=b |",
        "run-0",
    ):
        assert part in text
    assert "fairness was not looked at" in text
    assert "below the champion" in text.split("## Limits")[1]
    assert "not on record" in text


def test_a_failed_check_stands_out() -> None:
    text = card(evaluation(Facts(compared=()), failed="smoke"), None, Made("run-1"), data="a file", champion_run=None)
    assert "| smoke | **failed** | looked at |" in text
    assert "may not be served" in text
    assert "Not measured." in text
    assert "The version of its code is not on record." in text


def test_names_from_outside_are_shown_and_do_nothing() -> None:
    evil = "x|<script>alert(1)</script>\n# approved [click](http://evil)\u202e"
    features = (CategoricalFeature(name=evil, categories=(evil,)),)
    text = card(evaluation(Facts(compared=())), spec(features=features), Made("r", {evil: evil}), data=evil, champion_run=evil)
    assert "<script>" not in text
    assert re.search(r"(?<!\\)\]\(", text) is None
    assert "\u202e" not in text
    assert not any(line.startswith("# approved") for line in text.splitlines())
    table = [line for line in text.splitlines() if line.startswith("| ") and "x\\|" in line]
    assert table
    assert all(line.endswith(" |") for line in table)
