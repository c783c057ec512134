"""The cost ledger's port over its backends: the twin, the embedded engine, and the engine behind HTTP."""

from datetime import timedelta
from decimal import Decimal, localcontext
from zoneinfo import ZoneInfo

import pytest

from tests.contract.costs import BOOK, EUROS, Weeks, lines_of, price
from tools.costs.apportioning import total
from tools.costs.port import Component, CostLedger, Dimension, Line, Pricing, Step, Usage
from tools.costs.prices import PriceBook
from tools.costs.pricing import priced
from tools.costs.units import Resource
from tools.errors import Conflict, PermanentError
from tools.values import Window

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("predictions")]

C, M, P, R, T, W = (
    Dimension.COMPONENT,
    Dimension.MODEL,
    Dimension.PART,
    Dimension.RESOURCE,
    Dimension.TEAM,
    Dimension.WORKLOAD,
)


async def lines(weeks: Weeks) -> list[Line]:
    return [line for _, line in await weeks.costs.lines(weeks.window)]


async def test_it_is_a_cost_ledger_and_answers(costs: CostLedger) -> None:
    assert isinstance(costs, CostLedger)
    await costs.ping()


async def test_what_nobody_booked_costs_nothing(weeks: Weeks) -> None:
    assert await weeks.by(M) == ()
    assert await lines(weeks) == []
    assert await weeks.costs.told([weeks.key("a")]) == {}


async def test_nothing_to_book_is_nothing_booked(weeks: Weeks) -> None:
    booked = await weeks.book()
    assert (booked.lines, booked.known, booked.late) == (0, 0, 0)


async def test_usage_costs_what_the_book_says_and_comes_back_as_it_was_priced(weeks: Weeks) -> None:
    usage = weeks.usage("a", 0.5, length=2, quantity="7200", model="flights", version="3", team="ops", experiment="e-1")
    assert (await weeks.book(usage)).lines == 3
    (amount,) = await weeks.by()
    assert (amount.cost, amount.currency, amount.start, amount.quantity) == (Decimal("0.0632"), "USD", None, None)
    assert await lines(weeks) == list(priced(usage, BOOK))


async def test_a_key_is_booked_once_however_often_it_is_told(weeks: Weeks) -> None:
    usages = [weeks.usage("a"), weeks.usage("b", 3)]
    first = await weeks.book(*usages)
    again = await weeks.book(*usages)
    twice = await weeks.book(usages[0], usages[0])
    assert (first.lines, first.known, again.lines, again.known, twice.lines, twice.known) == (2, 0, 0, 2, 0, 2)
    assert await weeks.cost() == Decimal("0.0632")


async def test_told_twice_in_one_call_it_is_booked_once(weeks: Weeks) -> None:
    booked = await weeks.book(weeks.usage("a"), weeks.usage("a"))
    assert (booked.lines, booked.known) == (1, 1)
    assert await weeks.cost() == Decimal("0.0316")


async def test_the_same_fact_in_other_words_is_the_same(weeks: Weeks) -> None:
    usage = weeks.usage("a")
    await weeks.book(usage)
    there = ZoneInfo("Asia/Kolkata")
    window = Window(start=usage.window.start.astimezone(there), end=usage.window.end.astimezone(there))
    same = usage.model_copy(update={"quantity": Decimal("3600.000"), "window": window})
    assert (await weeks.book(same)).known == 1


@pytest.mark.parametrize(
    "otherwise",
    [
        {"quantity": Decimal(3601)},
        {"sku": "other"},
        {"resource": Resource.MEMORY},
        {"pricing": Pricing.SPOT},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_a_revision_that_is_told_otherwise_is_a_conflict_and_books_nothing(
    weeks: Weeks, otherwise: dict[str, object]
) -> None:
    usage = weeks.usage("a")
    await weeks.book(usage)
    with pytest.raises(Conflict, match=weeks.key("a")):
        await weeks.book(weeks.usage("b"), usage.model_copy(update=otherwise))
    assert await weeks.cost() == Decimal("0.0316")
    with pytest.raises(Conflict, match=weeks.key("c")):
        await weeks.book(weeks.usage("c"), weeks.usage("c").model_copy(update=otherwise))
    assert await weeks.cost() == Decimal("0.0316")


async def test_words_that_run_together_alike_are_told_apart(weeks: Weeks) -> None:
    await weeks.book(weeks.usage("a", model="ab", version="c"))
    with pytest.raises(Conflict):
        await weeks.book(weeks.usage("a", model="a", version="bc"))


async def test_late_usage_corrects_and_edits_nothing(weeks: Weeks) -> None:
    first, later = weeks.usage("a", 0.5, length=2, quantity="7200"), weeks.usage("a", 0.5, quantity="3600", revision=1)
    await weeks.book(first)
    before = await lines(weeks)
    booked = await weeks.book(later)
    assert (booked.lines, booked.known, booked.late) == (5, 0, 0)
    after = await lines(weeks)
    assert [line for line in after if line.revision == 0] == before
    back = [line for line in after if line.taken_back]
    assert sorted((line.window.start, -line.cost, -line.quantity) for line in back) == sorted(
        (line.window.start, line.cost, line.quantity) for line in before
    )
    assert {line.revision for line in back} == {1}
    assert await weeks.cost() == Decimal("0.0316")


async def test_a_correction_takes_back_at_the_price_it_was_booked_at(weeks: Weeks) -> None:
    await weeks.book(weeks.usage("a"))
    dearer = PriceBook(currency="USD", prices=(price(Resource.CPU, "core-hour", "1"),))
    await weeks.book(weeks.usage("a", revision=1, quantity="1800"), book=dearer)
    assert await weeks.cost() == Decimal("0.5")


async def test_revisions_may_be_left_out_and_the_newest_counts(weeks: Weeks) -> None:
    for revision, quantity in ((0, "3600"), (4, "7200"), (9, "36")):
        await weeks.book(weeks.usage("a", revision=revision, quantity=quantity))
    assert await weeks.cost() == Decimal("0.000316")
    assert len(await lines(weeks)) == 5
    booked = await weeks.book(weeks.usage("a", revision=4, quantity="7200"), weeks.usage("a", revision=7, quantity="1"))
    assert (booked.lines, booked.late) == (0, 2)
    assert await weeks.cost() == Decimal("0.000316")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_of_revisions_in_one_call_the_newest_is_booked(weeks: Weeks, order: tuple[int, ...]) -> None:
    booked = await weeks.book(*(weeks.usage("a", revision=each, quantity=str(3600 + each)) for each in order))
    assert (booked.lines, booked.late, booked.known) == (1, 2, 0)
    assert (await weeks.by(R))[0].quantity == 3602


async def test_a_correction_may_be_of_another_owner_and_another_time(weeks: Weeks) -> None:
    await weeks.book(weeks.usage("a", 1, model="flights"))
    await weeks.book(weeks.usage("a", 300, model="trains", revision=1))
    assert [(each.at[M], each.cost) for each in await weeks.by(M)] == [("flights", 0), ("trains", Decimal("0.0316"))]


async def test_what_is_booked_of_a_key_is_told(weeks: Weeks) -> None:
    usage = weeks.usage("a", revision=3, quantity="12.5")
    await weeks.book(usage, weeks.usage("b"))
    told = await weeks.costs.told([weeks.key("a"), weeks.key("nobody's")])
    found = told[weeks.key("a")]
    assert ({*told}, found.revision, found.quantity, found.window) == ({usage.key}, 3, usage.quantity, usage.window)


async def test_lines_that_are_not_the_usage_s_are_refused_and_nothing_is_booked(weeks: Weeks) -> None:
    usage = weeks.usage("a", length=2)
    whole = lines_of([usage])
    stranger = lines_of([weeks.usage("b")])
    for wrong in ([], whole[:1], whole + stranger):
        with pytest.raises(PermanentError, match="lines: "):
            await weeks.costs.book([usage], wrong)
    assert await lines(weeks) == []
    assert (await weeks.book(usage)).known == 0


async def test_a_clock_that_is_wrong_books_nothing(weeks: Weeks) -> None:
    usage = weeks.usage("a")
    window = Window(start=usage.window.start.replace(year=1970), end=usage.window.end.replace(year=1970))
    with pytest.raises(PermanentError, match="clock"):
        await weeks.costs.book([usage.model_copy(update={"window": window})], priced(usage, BOOK))


async def usual(weeks: Weeks) -> list[Usage]:
    """Of two models, three teams and more days than one."""
    usages = [
        weeks.usage("train", 20, length=8, quantity="115200", part="CPU hours", model="flights", version="1", team="ops"),
        weeks.usage(
            "gpu", 20, resource=Resource.GPU, sku="h100", quantity="900", part="GPU hours", model="flights", team="ops"
        ),
        weeks.usage("serve", 30, component=Component.SERVING, part="CPU serving", model="flights", version="1", team="web"),
        weeks.usage("other", 30, component=Component.SERVING, part="CPU serving", model="trains", team="it's \\ 'odd'"),
        weeks.usage("spot", 55, pricing=Pricing.SPOT, part="CPU hours", model="trains", experiment="e", workload="job"),
        weeks.usage("lb", 0, resource=Resource.LOAD_BALANCER, component=Component.SERVING, length=48, quantity="172800"),
        weeks.usage("tokens", 9, resource=Resource.INPUT_TOKENS, component=Component.MONITORING, quantity="1234567"),
    ]
    await weeks.book(*usages)
    return usages


@pytest.mark.parametrize("dimension", list(Dimension))
async def test_by_any_dimension_the_parts_are_the_whole(weeks: Weeks, dimension: Dimension) -> None:
    usages = await usual(weeks)
    cost = total(line.cost for line in lines_of(usages))
    assert await weeks.cost() == cost
    found = await weeks.by(dimension)
    assert total(each.cost for each in found) == cost
    assert [each.at[dimension] for each in found] == sorted({each.at[dimension] for each in found})
    for step in Step:
        stepped = await weeks.by(dimension, step=step)
        assert total(each.cost for each in stepped) == cost
        assert [each.start for each in stepped] == sorted(each.start for each in stepped if each.start is not None)


async def test_by_two_dimensions_with_steps(weeks: Weeks) -> None:
    await usual(weeks)
    day = weeks.start, weeks.start + timedelta(days=1), weeks.start + timedelta(days=2)
    found = [(each.start, each.at[C], each.at[R], each.cost, each.quantity) for each in await weeks.by(C, R, step=Step.DAY)]
    assert found == [
        (day[0], "monitoring", "input_tokens", Decimal("0.18518505"), Decimal(1234567)),
        (day[0], "serving", "load_balancer", Decimal("0.6"), Decimal(86400)),
        (day[0], "training", "cpu", Decimal("0.5056"), Decimal(57600)),
        (day[0], "training", "gpu", Decimal("0.745"), Decimal(900)),
        (day[1], "serving", "cpu", Decimal("0.0632"), Decimal(7200)),
        (day[1], "serving", "load_balancer", Decimal("0.6"), Decimal(86400)),
        (day[1], "training", "cpu", Decimal("0.5056"), Decimal(57600)),
        (day[2], "training", "cpu", Decimal("0.011"), Decimal(3600)),
    ]


async def test_a_month_begins_on_its_first(weeks: Weeks) -> None:
    await weeks.book(weeks.usage("a", 27 * 24))
    (amount,) = await weeks.by(step=Step.MONTH)
    day = weeks.start + timedelta(days=27)
    assert amount.start == day.replace(day=1)


async def test_only_what_is_asked_for(weeks: Weeks) -> None:
    await usual(weeks)
    assert [each.at[T] for each in await weeks.by(T, where={C: ["serving"], M: ["trains", "flights"]})] == [
        "it's \\ 'odd'",
        "web",
    ]
    assert [each.at[M] for each in await weeks.by(M, where={T: ["it's \\ 'odd'"]})] == ["trains"]
    assert [each.at[W] for each in await weeks.by(W, where={Dimension.PRICING: ["spot"]})] == ["job"]
    assert await weeks.by(M, where={T: ["nobody"]}) == ()
    assert await weeks.by(M, where={T: []}) == ()
    assert [each.cost for each in await weeks.by(where={M: [""], C: ["monitoring"]})] == [Decimal("0.18518505")]


async def test_a_window_takes_its_start_and_leaves_its_end(weeks: Weeks) -> None:
    await weeks.book(weeks.usage("a", 0, length=3, quantity="10800"))
    hour = Window(start=weeks.start + timedelta(hours=1), end=weeks.start + timedelta(hours=2))
    assert [line.window for _, line in await weeks.costs.lines(hour)] == [hour]
    microsecond, start = timedelta(microseconds=1), weeks.start + timedelta(days=5)
    odd = Window(start=start + microsecond, end=start + timedelta(minutes=30))
    await weeks.book(weeks.usage("odd").model_copy(update={"window": odd}))
    for after, count in ((0, 1), (1, 1), (2, 0)):
        window = Window(start=start + after * microsecond, end=start + timedelta(days=1))
        assert len(await weeks.costs.lines(window)) == count
    inner = Weeks(weeks.costs, hour.start, "")
    inner.window = hour
    assert await inner.cost() == Decimal("0.0316")


async def test_two_currencies_are_never_added(weeks: Weeks) -> None:
    await weeks.book(weeks.usage("a", model="flights"))
    await weeks.book(weeks.usage("b", model="flights"), book=EUROS)
    assert [(each.currency, each.cost) for each in await weeks.by(M)] == [
        ("EUR", Decimal("0.0316")),
        ("USD", Decimal("0.0316")),
    ]


async def test_sums_are_exact_beyond_what_a_float_or_a_short_decimal_holds(weeks: Weeks) -> None:
    big, small = "99999999999999999999.000000001", "0.000000001"
    with localcontext(prec=6):
        await weeks.book(weeks.usage("big", quantity=big), weeks.usage("small", quantity=small))
        (amount,) = await weeks.by(R)
    assert amount.quantity == Decimal("99999999999999999999.000000002")
    assert amount.cost == Decimal("877777777777777.777769")


async def test_a_cost_that_does_not_fit_is_refused_by_name(weeks: Weeks) -> None:
    dear = PriceBook(currency="USD", prices=(price(Resource.CPU, "core-second", "999999999999"),))
    with pytest.raises(PermanentError, match="cost"):
        await weeks.book(weeks.usage("a", quantity="9" * 20), book=dear)


async def test_lines_come_in_pages_in_the_order_of_time_each_once(weeks: Weeks) -> None:
    await weeks.book(*(weeks.usage(str(n), (n * 7) % 50 + 0.1 / 7, length=1.5) for n in range(40)))
    everything = await weeks.costs.lines(weeks.window)
    ids = [id for id, _ in everything]
    assert len(everything) == 80
    assert ids == sorted(ids)
    assert [line.window.start for _, line in everything] == sorted(line.window.start for _, line in everything)
    paged, after = [], ""
    while page := await weeks.costs.lines(weeks.window, after=after, most=7):
        paged += page
        after = page[-1][0]
    assert paged == list(everything)
    half = Window(start=weeks.start + timedelta(hours=20), end=weeks.window.end)
    assert await weeks.costs.lines(half, after=ids[0]) == tuple(
        each for each in everything if each[1].window.start >= half.start
    )


async def test_paging_on_from_what_is_no_line_is_refused(weeks: Weeks) -> None:
    for after in ("x' OR 1", "f" * 48, "0" * 48):
        with pytest.raises(PermanentError, match="after"):
            await weeks.costs.lines(weeks.window, after=after)


async def test_the_last_charge_s_end_is_known(weeks: Weeks) -> None:
    usage = weeks.usage("a", length=2)
    await weeks.book(usage)
    last = await weeks.costs.last()
    assert last is not None
    assert last >= usage.window.end


async def test_what_cancels_out_is_a_cell_of_nothing(weeks: Weeks) -> None:
    await weeks.book(weeks.usage("a", model="flights"))
    await weeks.book(weeks.usage("a", model="flights", quantity="0", revision=1))
    assert [(each.at[M], each.cost) for each in await weeks.by(M)] == [("flights", 0)]
