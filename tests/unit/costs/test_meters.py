"""What meters say of what was used: by full hours, each key once, and the whole of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tools.costs.list_prices import LIST_PRICES
from tools.costs.meters import idle, jobs, serving, storage
from tools.costs.meters.holding import Holding, accrued, amount, since
from tools.costs.meters.hours import by_hours, key_of
from tools.costs.packing import said_of
from tools.costs.port import Component, Owner, Told, Usage
from tools.costs.prices import Price
from tools.costs.units import Resource
from tools.jobs.port import MIB, JobState, Phase, Resources
from tools.jobs.port import Usage as Used
from tools.predictions.port import Work
from tools.values import Window

NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
JOB = JobState(
    name="oppen-a", model="flights", team="search", run_id="run-1", phase=Phase.RUNNING, submitted_at=NINE, started_at=NINE
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given one here


@given(moments, st.timedeltas(timedelta(microseconds=1), timedelta(days=3)))
def test_the_hours_of_a_window_are_the_window(start: datetime, length: timedelta) -> None:
    pieces = list(by_hours(Window(start=start, end=start + length)))
    assert (pieces[0].start, pieces[-1].end) == (start, start + length)
    assert all(one.end == two.start and two.start.minute == 0 for one, two in pairwise(pieces))
    assert all(piece.length <= HOUR for piece in pieces)


@given(st.lists(st.text(max_size=400), min_size=1, max_size=3), st.lists(st.text(max_size=400), min_size=1, max_size=3))
def test_keys_are_short_and_of_one_thing(some: list[str], others: list[str]) -> None:
    one, other = key_of("serving", *some, hour=NINE), key_of("serving", *others, hour=NINE)
    assert 0 < len(one) <= 300
    assert (one == other) == (some == others)
    assert key_of("serving", *some, hour=NINE + HOUR) != one


def test_a_job_is_metered_by_what_it_holds_while_it_runs() -> None:
    held = Resources(cpu=1.5, memory_bytes=512 * MIB, gpus=2)
    used = Used(wall_seconds=4500.25, gpu_seconds=9000.5, cpu_seconds=10, reserved=held)
    found = jobs.usages(JOB, used, NINE + timedelta(minutes=50))
    assert {usage.owner.part for usage in found} == {"CPU hours", "memory", "GPU hours"}
    assert {(usage.owner.model, usage.owner.team, usage.owner.workload) for usage in found} == {
        ("flights", "search", "oppen-a")
    }
    of_cpu = [usage for usage in found if usage.resource is Resource.CPU]
    assert [usage.window.start.hour for usage in of_cpu] == [9, 10, 11]
    assert [usage.quantity for usage in of_cpu] == [Decimal(900), Decimal(5400), Decimal("450.375")]
    assert sum(usage.quantity for usage in found if usage.resource is Resource.GPU) == Decimal("9000.5")
    # A look later the full hours are the same, to the key: only the last one has grown.
    later = jobs.usages(JOB, used.model_copy(update={"wall_seconds": 4600.0}), NINE + timedelta(minutes=50))
    assert [usage for usage in later if usage in found] == [usage for usage in found if usage.window.start.hour < 11]
    assert [usage.key for usage in later] == [usage.key for usage in found]


def test_a_job_whose_reservation_nobody_knows_is_metered_by_what_it_used() -> None:
    used = Used(wall_seconds=100, gpu_seconds=0, cpu_seconds=150, peak_memory_bytes=1000)
    assert {usage.resource: usage.quantity for usage in jobs.usages(JOB, used, NINE)} == {
        Resource.CPU: 150,
        Resource.MEMORY: 100_000,
    }


def test_a_job_that_has_not_run_yet_costs_nothing() -> None:
    assert jobs.usages(JOB, Used(wall_seconds=0, gpu_seconds=0), NINE) == ()


def test_versions_and_their_shadows_are_metered_by_their_processor_time() -> None:
    works = [
        Work(start=NINE, version="1", predictions=5, cpu_seconds=Decimal("2.5")),
        Work(start=NINE, version="2", shadow=True, predictions=5, cpu_seconds=Decimal("1.25")),
        Work(start=NINE, version="3", predictions=1, cpu_seconds=Decimal(0)),
    ]
    served, mirrored = serving.usages("flights", works, "search", NINE + timedelta(minutes=30), LIST_PRICES)
    assert (served.quantity, served.owner.workload, served.owner.part) == (Decimal("2.5"), "gateway", "CPU serving")
    assert (mirrored.quantity, mirrored.owner.workload, mirrored.owner.version) == (Decimal("1.25"), "gateway (shadow)", "2")
    assert served.window == Window(start=NINE, end=NINE + timedelta(minutes=30))


def test_tokens_are_priced_by_their_version_where_the_book_has_one_for_it() -> None:
    own = {"resource": "input_tokens", "sku": "chat/7", "unit": "token", "price": "1", "from": NINE}
    book = LIST_PRICES.model_copy(update={"prices": (*LIST_PRICES.prices, Price.model_validate(own))})
    work = Work(start=NINE, version="7", predictions=1, cpu_seconds=Decimal(0), prompt_tokens=10, completion_tokens=3)
    read, written = serving.usages("chat", [work], "", NINE + HOUR, book)
    assert (read.resource, read.quantity, read.sku) == (Resource.INPUT_TOKENS, 10, "chat/7")
    assert (written.resource, written.quantity, written.sku) == (Resource.OUTPUT_TOKENS, 3, "chat/7")
    assert serving.sku_of("chat", "8", book) == "chat"


def told(usages: tuple[Usage, ...], before: dict[str, Told] | None = None) -> dict[str, Told]:
    return {
        **(before or {}),
        **{usage.key: Told(revision=0, quantity=usage.quantity, window=usage.window, said=said_of(usage)) for usage in usages},
    }


@given(st.lists(st.timedeltas(timedelta(seconds=1), timedelta(hours=5)), min_size=1, max_size=8))
def test_what_is_held_is_metered_without_gaps_or_overlaps_however_it_is_looked_at(looks: list[timedelta]) -> None:
    held = Holding(name=("x",), resource=Resource.STORAGE, rate=Decimal(7), owner=Owner(component=Component.TRAINING))
    now, booked = NINE, dict[str, Told]()
    for look in looks:
        now += look
        start = since(held, booked, now, timedelta(hours=6), first_seen=NINE)
        booked = told(accrued(held, booked, start, now), booked)
    assert sum(each.quantity for each in booked.values()) == 7 * Decimal((now - NINE) // timedelta(microseconds=1)) / 1_000_000
    windows = sorted((each.window for each in booked.values()), key=lambda window: window.start)
    assert (windows[0].start, windows[-1].end) == (NINE, now)
    assert all(one.end == two.start for one, two in pairwise(windows))


def test_petabytes_are_metered_to_the_last_decimal() -> None:
    rate, hour = Decimal(30 * 10**15) + Decimal("0.000000001"), timedelta(hours=1)
    assert amount(rate, hour) == Decimal("108000000000000000000.000003600")
    held = Holding(name=("lake",), resource=Resource.STORAGE, rate=rate, owner=Owner(component=Component.TRAINING))
    half = Window(start=NINE, end=NINE + hour / 2)
    (first,) = accrued(held, {}, NINE, half.end)
    told = {first.key: Told(revision=0, quantity=first.quantity, window=first.window, said=said_of(first))}
    (whole,) = accrued(held, told, half.end, NINE + hour)
    assert whole.quantity == amount(rate, hour)
    vast = Used(wall_seconds=3600, gpu_seconds=0, reserved=Resources(cpu=1, memory_bytes=30 * 10**15))
    (memory,) = [each for each in jobs.usages(JOB, vast, NINE) if each.resource is Resource.MEMORY]
    assert memory.quantity == Decimal(30 * 10**15 * 3600)


def test_what_was_not_seen_for_longer_than_is_looked_back_begins_anew() -> None:
    held = Holding(name=("x",), resource=Resource.STORAGE, rate=Decimal(7), owner=Owner(component=Component.TRAINING))
    booked = told(accrued(held, {}, NINE, NINE + timedelta(minutes=5)))
    now = NINE + timedelta(days=2)
    assert since(held, booked, now, timedelta(hours=6), first_seen=now) == now


def of_version(seconds: str, until: datetime) -> dict[str, Usage]:
    work = Work(start=NINE, version="1", predictions=1, cpu_seconds=Decimal(seconds))
    return {usage.key: usage for usage in serving.usages("flights", [work], "", until, LIST_PRICES)}


def test_idle_is_what_is_held_and_not_used_also_when_the_log_comes_late() -> None:
    held, back = idle.workers("flights", 2, ""), timedelta(hours=6)
    now = NINE + timedelta(minutes=10)
    used = of_version("100", now)
    (first,) = idle.usages(held, used, {}, NINE, now, back)
    assert (first.quantity, first.owner.version, first.owner.model) == (Decimal(1200 - 100), "", "flights")
    booked = told((first, *used.values()))
    later = NINE + timedelta(minutes=70)
    late = of_version("4000", later)
    nine, ten = idle.usages(held, late, booked, now, later, back)
    assert (nine.quantity, nine.window.end) == (Decimal(7200 - 4000), NINE + HOUR)
    assert (ten.quantity, ten.window.start) == (Decimal(1200), NINE + HOUR)
    # Nothing new: the hour is told as it is booked.
    booked = told((nine, ten, *late.values()))
    assert [each.quantity for each in idle.usages(held, late, booked, later, later, back)] == [nine.quantity, ten.quantity]


def test_an_hour_in_which_more_was_used_than_held_had_nothing_idle() -> None:
    now = NINE + timedelta(minutes=10)
    (found,) = idle.usages(idle.workers("flights", 1, ""), of_version("700", now), {}, NINE, now, timedelta(hours=6))
    assert found.quantity == 0


def test_folders_are_weighed_and_known_by_their_owners(tmp_path: Path) -> None:
    run = "0123456789abcdef" * 2
    logged = tmp_path / "artifacts/models/m-1/artifacts"
    logged.mkdir(parents=True)
    (logged / "MLmodel").write_text(f"flavors: {{}}\nrun_id: {run}\n")
    (logged / "model.onnx").write_bytes(b"x" * 1000)
    other = tmp_path / "artifacts" / run / "artifacts"
    other.mkdir(parents=True)
    (other / "card.md").write_bytes(b"y" * 10)
    (other / "link").symlink_to("/")
    stray = tmp_path / "artifacts/models/m-2/artifacts"
    stray.mkdir(parents=True)
    (stray / "file").write_bytes(b"z" * 5)
    sizes = storage.artifact_bytes(tmp_path / "artifacts")
    assert sizes[""] == 5
    assert sizes[run] == 1000 + 10 + len(f"flavors: {{}}\nrun_id: {run}\n") + 1  # the link itself
    checkpoints = tmp_path / "jobs/oppen-a/checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "state.pt").write_bytes(b"s" * 40)
    (checkpoints.parent / "spec.json").write_text('{"about": {"model": "flights"}}')
    assert storage.checkpoint_bytes(tmp_path / "jobs") == {"flights": 40}
    assert storage.artifact_bytes(tmp_path / "nowhere") == {}
    (held,) = storage.held("checkpoints", {"flights": 40, "empty": 0}, lambda _: "search")
    assert (held.rate, held.owner.part, held.owner.team) == (Decimal(40), "storage", "search")
