"""What only the real ledger can get wrong: a crash at any statement of a booking, two bookings at once, and great numbers."""

import asyncio
import os
import signal
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.contract.costs import BOOK, Weeks, fresh, lines_of, price
from tools.costs import booking
from tools.costs.apportioning import total
from tools.costs.clickhouse import ClickHouseLedger
from tools.costs.packing import Packed, pack
from tools.costs.port import MOST_CELLS, Booked, Dimension, Step, Usage
from tools.costs.prices import PriceBook
from tools.costs.schema import COLUMNS, line_id
from tools.costs.units import Resource
from tools.errors import PermanentError, TemporaryError
from tools.offload import ChildProcess
from tools.predictions.clickhouse import Elsewhere, open_store
from tools.predictions.engine import Engine

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("predictions")]

BEGUN, LINES, USAGES = range(3)
"""What a booking writes, before it says that it is done."""


class Dying:
    """A store whose client ends after its nth write, and with it the booking."""

    def __init__(self, store: Any, write: int, *, killed: bool) -> None:
        self._client = store.client()
        self._left = write
        self._killed = killed

    def client(self) -> Any:
        return self

    def query(self, *arguments: Any, **options: Any) -> Any:
        return self._client.query(*arguments, **options)

    def command(self, *arguments: Any, **options: Any) -> Any:
        return self._client.command(*arguments, **options)

    def insert(self, *arguments: Any, **options: Any) -> None:
        self._write(self._client.insert, *arguments, **options)

    def insert_arrow(self, *arguments: Any, **options: Any) -> None:
        self._write(self._client.insert_arrow, *arguments, **options)

    def _write(self, insert: Any, *arguments: Any, **options: Any) -> None:
        insert(*arguments, **options)
        if self._left == 0 and self._killed:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._left == 0:
            raise OSError("the connection is gone")
        self._left -= 1


def book_and_die(store: Any, packed: Packed, write: int, killed: bool) -> Booked:
    return booking.book(Dying(store, write, killed=killed), packed)


def age(store: Any, since: datetime, until: datetime) -> None:
    """As if what is begun, of that time, had been an hour ago."""
    client = store.client()
    query = """SELECT booking, start, end FROM cost_bookings
    WHERE start >= {start:DateTime64(6, 'UTC')} AND start < {end:DateTime64(6, 'UTC')} GROUP BY ALL HAVING sum(sign) > 0"""
    found = client.query(query, parameters={"start": since, "end": until}).result_rows
    now = datetime.now(UTC)
    # One after the other, because the two of one insert are nothing from the start.
    for sign, at in ((1, now - timedelta(hours=1)), (-1, now)):
        rows = [(name, sign, at, start, end) for name, start, end in found]
        client.insert("cost_bookings", rows, column_names=["booking", "sign", "at", "start", "end"])


def rows(store: Any, start: datetime, end: datetime) -> int:
    query = "SELECT count() FROM cost_lines WHERE start >= {start:DateTime64(6, 'UTC')} AND start < {end:DateTime64(6, 'UTC')}"
    return int(store.client().query(query, parameters={"start": start, "end": end}).result_rows[0][0])


def fill(store: Any, start: datetime, count: int) -> None:
    """Lines of so many workloads, by the engine itself."""
    said = {
        "id": "hex(number)", "key": "toString(number)", "revision": "0", "place": "0", "taken_back": "false", "workload":
        "toString(number)", "start": "{start:DateTime64(6, 'UTC')}", "end": "{start:DateTime64(6, 'UTC')} + 1", "component":
        "'training'", "resource": "'cpu'", "pricing": "'standard'", "quantity": "1", "unit": "'core-hour'", "unit_price": "1",
        "cost": "1", "currency": "'USD'",
    }  # fmt: skip
    values = ", ".join(f"{said.get(name, repr(''))} AS {name}" for name in COLUMNS)
    store.client().command(
        f"INSERT INTO cost_lines ({', '.join(COLUMNS)}, booking) SELECT {values}, 'filled' FROM numbers({{count:UInt32}})",
        parameters={"start": start, "count": count},
    )


async def dies(engine: Elsewhere, usages: list[Usage], write: int, *, killed: bool = False) -> None:
    with pytest.raises(TemporaryError):
        await engine.call(book_and_die, pack(usages, lines_of(usages)), write, killed)


@pytest.mark.slow
async def test_killed_in_the_middle_it_is_booked_again_and_once(tmp_path: Path) -> None:
    child = ChildProcess("predictions", Engine, f"chdb://{tmp_path}/store")
    weeks = Weeks(ClickHouseLedger(child), *fresh())
    usages = [weeks.usage(str(n), n, length=30, quantity=str(n + 1)) for n in range(3)]
    whole = total(line.cost for line in lines_of(usages))
    for write, counted in ((LINES, Decimal(0)), (USAGES, whole)):
        await dies(child, usages, write, killed=True)
        while True:
            with suppress(TemporaryError):  # that it has died is noticed a moment later
                assert await weeks.cost() == counted
                break
    assert (await weeks.book(*usages)).known == 3
    assert await weeks.cost() == whole
    await child.close()


@pytest.mark.parametrize("write", [BEGUN, LINES, USAGES])
async def test_after_a_crash_at_any_write_it_is_booked_again_and_once(
    real_weeks: Weeks, real_engine: Elsewhere, write: int
) -> None:
    weeks = real_weeks
    usages = [weeks.usage(str(n), n, length=30, quantity=str(n + 1)) for n in range(3)]
    whole = total(line.cost for line in lines_of(usages))
    await dies(real_engine, usages, write)
    assert await weeks.cost() == (whole if write == USAGES else 0)
    assert (await weeks.book(*usages)).known == (3 if write == USAGES else 0)
    assert await weeks.cost() == whole
    assert [line for _, line in await weeks.costs.lines(weeks.window)] == sorted(
        lines_of(usages), key=lambda line: (line.window.start, line_id(line))
    )


@pytest.mark.parametrize("write", [BEGUN, LINES, USAGES])
async def test_what_a_crash_left_is_not_counted_when_the_next_revision_comes_instead(
    real_weeks: Weeks, real_engine: Elsewhere, write: int
) -> None:
    weeks = real_weeks
    await weeks.book(weeks.usage("a", 5, quantity="100"))
    await dies(real_engine, [weeks.usage("a", 1, length=40, quantity="200", revision=1)], write)
    last = weeks.usage("a", 3, quantity="36000", revision=2)
    await weeks.book(last)
    assert await weeks.cost() == Decimal("0.316")
    assert (await weeks.costs.told([last.key]))[last.key].revision == 2


async def test_what_a_crash_left_is_not_counted_when_prices_have_changed_meanwhile(
    real_weeks: Weeks, real_engine: Elsewhere
) -> None:
    weeks = real_weeks
    usage = weeks.usage("a", 0, length=3, quantity="10800")
    await dies(real_engine, [usage], LINES)
    changes = [price(Resource.CPU, "core-hour", "1", since=weeks.start + timedelta(minutes=minutes)) for minutes in (30, 90)]
    await weeks.book(usage, book=PriceBook(currency="USD", prices=(*BOOK.prices, *changes)))
    assert await weeks.cost() == Decimal("0.0158") + Decimal("2.5")


async def test_what_a_crash_left_is_cleared_away_after_a_while(real_weeks: Weeks, real_engine: Elsewhere) -> None:
    weeks = real_weeks
    lost = [weeks.usage("lost", length=5)]
    await dies(real_engine, lost, LINES)
    kept = weeks.usage("kept")
    await dies(real_engine, [kept], USAGES)  # the word that it is done is all that lacks
    assert await weeks.cost() == Decimal("0.0316")
    assert await real_engine.call(rows, weeks.window.start, weeks.window.end) == 6
    await real_engine.call(age, weeks.window.start, weeks.window.end)
    await weeks.book(weeks.usage("other"))
    assert await real_engine.call(rows, weeks.window.start, weeks.window.end) == 2
    assert await weeks.cost() == Decimal("0.0632")
    assert (await weeks.book(kept)).known == 1
    assert (await weeks.book(*lost)).lines == 5


async def test_the_same_booked_by_several_at_once_is_booked_once(real_weeks: Weeks) -> None:
    usages = [real_weeks.usage(str(n), n) for n in range(50)]
    booked = await asyncio.gather(*(real_weeks.book(*usages) for _ in range(4)))
    assert sorted(each.lines for each in booked) == [0, 0, 0, 50]
    assert await real_weeks.cost() == Decimal("1.58")


async def test_many_long_and_odd_keys_are_found_again(real_weeks: Weeks) -> None:
    usages = [real_weeks.usage(f"{n} 'quoted' \\ back\nslashed {{x:String}} ünïcödé ".ljust(280, "ß"), n) for n in range(300)]
    assert (await real_weeks.book(*usages)).lines == 300
    assert (await real_weeks.book(*usages)).known == 300
    corrected = [each.model_copy(update={"revision": 1, "quantity": Decimal(0)}) for each in usages]
    assert (await real_weeks.book(*corrected)).lines == 600
    assert await real_weeks.cost() == 0


async def test_more_cells_than_a_breakdown_has_are_refused(embedded_predictions: Any) -> None:
    weeks = Weeks(ClickHouseLedger(embedded_predictions.engine), *fresh())
    await weeks.book(weeks.usage("a"))
    await embedded_predictions.engine.call(fill, weeks.start, MOST_CELLS)
    assert len(await weeks.by(step=Step.DAY)) == 1
    with pytest.raises(PermanentError, match="fewer dimensions"):
        await weeks.by(Dimension.WORKLOAD)
    assert len(await weeks.by(Dimension.WORKLOAD, where={Dimension.WORKLOAD: ["7", "8"]})) == 2


async def test_a_ledger_that_was_never_written_is_empty_and_reading_makes_no_tables(tmp_path: Path) -> None:
    store = open_store(f"chdb://{tmp_path}/store")
    weeks = Weeks(ClickHouseLedger(store.engine), *fresh())
    assert (await weeks.by(), await weeks.costs.last(), await weeks.costs.told(["a"])) == ((), None, {})
    await store.close()
    assert not list((tmp_path / "store").rglob("cost_*"))
