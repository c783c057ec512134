"""What is done to save money, over HTTP and in the terminal: a review is asked for, and what came of it is told."""

from datetime import timedelta
from decimal import Decimal

from agents.cost.optimization import Optimization
from agents.requests import REVIEW, Request, to_alert
from api.store import events, optimizations, runs
from api.web.optimization_examples import EXAMPLES
from tests.e2e.bodies import refused
from tests.e2e.running import Platform
from tests.e2e.terminal import Terminal

_MODEL = "flights"
_SHOWN = EXAMPLES["OptimizationView"]


def found(platform: Platform, **values: object) -> Optimization:
    inefficiency = {
        "kind": "quantize",
        "subject": _MODEL,
        "evidence": (),
        "expected": _SHOWN["expected"],
        "risk": "low",
        "what": _SHOWN["what"],
        "remedy": {"kind": "quantize", "model": _MODEL, "version": "6"},
    }
    return Optimization.model_validate({"inefficiency": inefficiency, "found_at": platform.clock.now(), **values})


async def opened(platform: Platform, model: str = _MODEL) -> tuple[str, str]:
    """(run, incident) of a review."""
    request = Request(kind=REVIEW, model=model, by="schedule:cost-review", reason="it is time")
    accepted = await platform.services.intake.accept(
        [to_alert(request, f"rev-{model}", platform.clock.now())], actor="schedule"
    )
    return accepted.runs[0], accepted.incidents[0]


async def told(platform: Platform, run_id: str, incident_id: str, optimization: Optimization) -> None:
    async with platform.database.begin() as transaction:
        data = {"optimization": optimization.model_dump(mode="json")}
        events.append(transaction, incident_id, optimizations.CHANGED, data, at=platform.clock.now(), run_id=run_id)


async def test_a_review_is_an_incident_of_its_own_beside_the_model_s(platform: Platform) -> None:
    platform.registry.publish(_MODEL)
    await platform.operator.post("/v1/triggers/check", json={"model": _MODEL, "reason": "look"})
    answer = await platform.operator.post("/v1/triggers/cost-review", json={"model": _MODEL, "reason": "before the budget"})
    assert answer.status_code == 202
    shown = (await platform.viewer.get(f"/v1/incidents/{answer.json()['incident_id']}")).json()
    assert shown["model"] == _MODEL
    assert shown["subject"] == f"component:costs:model:{_MODEL}"
    again = await platform.operator.post("/v1/triggers/cost-review", json={"model": _MODEL, "reason": "once more"})
    assert again.json() == {**answer.json(), "joined": True}


async def test_who_may_only_look_asks_for_no_review(platform: Platform) -> None:
    platform.registry.publish(_MODEL)
    body = {"model": _MODEL, "reason": "before the budget"}
    refused(await platform.viewer.post("/v1/triggers/cost-review", json=body), 403, "forbidden")
    refused(await platform.operator.post("/v1/triggers/cost-review", json={**body, "model": "nobody"}), 404, "not-found")
    refused(await platform.anybody.get("/v1/optimizations"), 401, "unauthenticated")


async def test_the_latest_of_each_is_shown_and_a_review_that_found_nothing_is_not(platform: Platform) -> None:
    run_id, incident_id = await opened(platform)
    assert (await platform.viewer.get("/v1/optimizations")).json() == {"items": [], "next_cursor": None}
    await told(platform, run_id, incident_id, found(platform))
    later = found(
        platform,
        trial=_SHOWN["trial"],
        version="7",
        began_at=_SHOWN["began_at"],
        applied_at=_SHOWN["applied_at"],
        saved=_SHOWN["saved"],
    )
    await told(platform, run_id, incident_id, later)
    (shown,) = (await platform.viewer.get("/v1/optimizations", params={"model": _MODEL})).json()["items"]
    assert (shown["kind"], shown["status"], shown["version"]) == ("quantize", "verifying", "7")
    assert (shown["saved"]["low"], shown["saved"]["claim"]) == ("18.900000000", "holds")
    assert Decimal(shown["roi"]["per_month"]) > 0
    assert shown["id"] == run_id.replace("run_", "opt_")
    assert (await platform.viewer.get(f"/v1/optimizations/{shown['id']}")).json() == shown
    async with platform.database.begin() as transaction:
        await runs.take(transaction, run_id, runs.START, at=platform.clock.now())
        await runs.end(transaction, run_id, "completed", at=platform.clock.now(), outcome="resolved")
    assert (await platform.viewer.get(f"/v1/optimizations/{shown['id']}")).json()["status"] == "kept"


async def test_they_are_paged_newest_first_by_model(platform: Platform) -> None:
    for model in ("a", "b", "c"):
        platform.clock.pass_(timedelta(seconds=1))
        run_id, incident_id = await opened(platform, model)
        own = found(platform)
        remedy = own.inefficiency.remedy.model_copy(update={"model": model})
        inefficiency = own.inefficiency.model_copy(update={"remedy": remedy})
        await told(platform, run_id, incident_id, own.model_copy(update={"inefficiency": inefficiency}))
    first = (await platform.viewer.get("/v1/optimizations", params={"limit": 2})).json()
    rest = (await platform.viewer.get("/v1/optimizations", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [each["model"] for each in (*first["items"], *rest["items"])] == ["c", "b", "a"]
    assert rest["next_cursor"] is None
    only = (await platform.viewer.get("/v1/optimizations", params={"model": "b"})).json()
    assert [each["model"] for each in only["items"]] == ["b"]


async def test_what_is_none_is_not_found(platform: Platform) -> None:
    run_id, _ = await opened(platform)
    for name in ("opt_1", run_id, run_id.replace("run_", "opt_"), "a%00b"):
        refused(await platform.viewer.get(f"/v1/optimizations/{name}"), 404, "not-found")


async def test_the_terminal_calls_nothing_a_saving_that_is_not_shown(platform: Platform) -> None:
    terminal = Terminal(platform, "viewer")
    run_id, incident_id = await opened(platform)
    values = {name: _SHOWN[name] for name in ("trial", "began_at", "applied_at")}
    held = {"saved": _SHOWN["saved"], "held": True}
    for said, claim in (("saving not shown", "not_shown"), ("costs USD 3.00 a day more", "worse")):
        bill = {**_SHOWN["saved"], "claim": claim, "value": "-3"}
        for shown in ({"saved": bill}, {**held, "bill": bill}):
            await told(platform, run_id, incident_id, found(platform, **values, **shown))
            listed = (await terminal.run("optimizations", "list")).stdout
            assert said in listed
            assert "saves" not in listed
            assert ("frees processor time worth USD 19.87 a day" in listed) is ("bill" in shown)
            (item,) = (await platform.viewer.get("/v1/optimizations")).json()["items"]
            assert (item["roi"], item["saved"]["claim"]) == (None, claim)


async def test_the_terminal_tells_what_was_expected_and_what_the_ledger_shows(platform: Platform) -> None:
    terminal = Terminal(platform, "viewer")
    run_id, incident_id = await opened(platform)
    values = {name: _SHOWN[name] for name in ("trial", "began_at", "applied_at", "saved")}
    await told(platform, run_id, incident_id, found(platform, version="7", **values))
    listed = await terminal.run("optimizations", "list")
    assert "verifying" in listed.stdout
    assert "saves USD 19.87 a day" in listed.stdout
    shown = await terminal.run("optimizations", "show", run_id.replace("run_", "opt_"))
    assert shown.exit_code == 0, shown.output
    assert "expected: USD 19.10 to 20.90 per day" in shown.stdout
    assert "the ledger: holds, USD 19.87 a day, USD 18.90 to 20.84" in shown.stdout
