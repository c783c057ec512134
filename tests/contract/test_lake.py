"""Every lake: a batch is there as a whole, once, or not at all; and whoever reads sees no half."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tests.contract.lakes import Backend, misfits, numbers, receipt, rows, store, values
from tools.errors import PermanentError
from tools.lake.port import InUse, Lake

pytestmark = pytest.mark.xdist_group("lake")


def test_what_was_committed_is_there_in_the_order_of_its_batches(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        assert table.schema() is None
        assert store(table, "later", numbers(3), numbers(4, None), number=2)
        assert store(table, "sooner", numbers(1, 2), number=1)
        assert values(table) == [1, 2, 3, 4, None]
        assert table.schema() == pa.schema([pa.field("x", pa.int64())])
        assert [(each.key, each.rows) for each in table.receipts()] == [("sooner", 2), ("later", 3)]
    with lake.open(name) as table:
        assert values(table) == [1, 2, 3, 4, None]


def test_the_same_key_twice_is_once(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        assert store(table, "a", numbers(1), reasons=("odd",), said="{}")
        assert not store(table, "a", numbers(2), reasons=("other",), said='{"x": 1}')
        assert store(table, "b", numbers(3), number=1)
    reader = lake.read(name)
    assert (values(reader), [said for _, said in reader.statistics()]) == ([1, 3], ["{}"])
    assert [row["_reason"] for batch in reader.quarantined() for row in batch.to_pylist()] == ["odd"]


def test_equal_rows_are_not_taken_for_a_repetition(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        store(table, "a", numbers(1, 1), numbers(1, 1))
        store(table, "b", numbers(1, 1), number=1)
        assert values(table) == [1] * 6


def test_what_was_not_committed_was_never_there(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        staged = table.stage()
        staged.write(pa.table({"of": ["another schema"]}))
        staged.quarantine(misfits("odd"))
        staged.discard()
        staged.discard()
        assert (table.schema(), values(table), table.receipts(), list(table.quarantined())) == (None, [], (), [])
        store(table, "a", numbers(1))
        left = table.stage()
        left.write(numbers(2))
        left.quarantine(misfits("odd"))
    assert (values(lake.read(name)), list(lake.read(name).quarantined())) == ([1], [])


def test_discarding_what_was_committed_is_a_no_op(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        staged = table.stage()
        staged.write(numbers(1))
        staged.quarantine(misfits("odd"))
        staged.commit(receipt("a"))
        staged.discard()
        assert (values(table), len(list(table.quarantined()))) == ([1], 1)


def test_two_batches_on_their_way_at_once_are_both_kept(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        one, other = table.stage(), table.stage()
        one.write(numbers(1))
        other.write(numbers(2))
        one.write(numbers(3))
        assert other.commit(receipt("other", 1))
        assert one.commit(receipt("one", 0))
        assert values(table) == [1, 3, 2]


def test_a_batch_without_rows_is_a_batch(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        assert store(table, "a")
        assert store(table, "b", pa.table({"y": pa.array([], pa.string())}))
        assert not store(table, "a")
        assert table.find("a") is not None
        assert values(table) == []
        assert store(table, "c", numbers(1))
        assert values(table) == [1]


def test_a_batch_is_found_by_its_key_and_a_refused_one_is_not(lake: Lake, name: str) -> None:
    odd = "s3://bucket/a b/'quoted'\"\\\t{key:String}%s\nZoë"
    with lake.open(name) as table:
        kept = receipt(odd, 1, rows=1, bytes=8, quarantined=0)
        staged = table.stage()
        staged.write(numbers(1))
        staged.commit(kept)
        table.refuse(receipt("b", 2, refused="no"))
        assert (table.find(odd), table.find("b"), table.find("nowhere")) == (kept, None, None)


def test_refusals_stand_until_the_batch_comes_and_the_newest_counts(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        table.refuse(receipt("a", 1, refused="no"))
        table.refuse(receipt("a", 2, refused="no again"))
        table.refuse(receipt("b", 0, refused="never"))
        assert [each.refused for each in table.receipts()] == ["never", "no again"]
        store(table, "a", numbers(1), number=3)
        assert [(each.key, each.refused) for each in table.receipts()] == [("b", "never"), ("a", None)]


def test_marks_are_part_of_the_batch_that_moved_them(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        assert table.last("trips") is None
        store(table, "a", numbers(1), mark="page 1", sequence=1)
        store(table, "b", numbers(2), mark="page 2", sequence=2, number=-5)
        store(table, "c", numbers(3))
        staged = table.stage()
        staged.write(numbers(4))
        staged.discard()
        assert table.last("others") is None
    with lake.open(name) as table:
        last = table.last("trips")
        assert last is not None
        assert (last.mark, last.sequence) == ("page 2", 2)


def test_what_did_not_fit_is_beside_its_batch(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        store(table, "a", numbers(1), reasons=("one", "two"))
        staged = table.stage()
        staged.quarantine(misfits("three").set_column(0, "_row", pa.array([None], pa.int64())))
        staged.commit(receipt("b", 1))
        found = [row for batch in table.quarantined() for row in batch.to_pylist()]
        assert [(row["_batch"], row["_row"], row["_reason"]) for row in found] == [
            ("a", 1, "one"),
            ("a", 2, "two"),
            ("b", None, "three"),
        ]
        assert found[0]["_record"] == '{"x": "one"}'


def test_a_batch_that_was_described_is_told_with_what_was_measured(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        store(table, "a", numbers(1), number=1)
        store(table, "b", numbers(2), number=2, said='{"mean": 2, "who": "Zoë"}')
        staged = table.stage()
        staged.describe('{"of": "none"}')
        staged.describe('{"mean": null}')
        staged.commit(receipt("c", 0))
    assert [(each.key, said) for each, said in lake.read(name).statistics()] == [
        ("c", '{"mean": null}'),
        ("b", '{"mean": 2, "who": "Zoë"}'),
    ]


def test_a_reader_needs_no_lock_and_sees_whole_batches_only(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        reader = lake.read(name)
        store(table, "a", numbers(1, 2))
        staged = table.stage()
        staged.write(numbers(3))
        staged.describe("{}")
        assert (values(reader), len(reader.receipts()), list(reader.statistics())) == ([1, 2], 1, [])
        staged.write(numbers(4))
        staged.commit(receipt("b", 1))
        assert (values(reader), len(reader.receipts()), len(list(reader.statistics()))) == ([1, 2, 3, 4], 2, 1)


def test_batches_are_read_by_their_keys(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        for number, key in enumerate(["a", "b", "c"]):
            store(table, key, numbers(number), number=number)
    reader = lake.read(name)
    assert (values(reader, "c", "a", "nowhere"), list(reader.rows(()))) == ([0, 2], [])


def test_what_is_not_there_is_empty(lake: Lake, name: str) -> None:
    reader = lake.read(name)
    assert (reader.schema(), reader.receipts(), rows(reader), list(reader.quarantined())) == (None, (), [], [])
    assert list(reader.statistics()) == []
    assert name not in lake.tables()


def test_tables_are_those_with_a_batch_or_a_refusal(lake: Lake, name: str) -> None:
    with lake.open(f"{name}_a"), lake.open(f"{name}_c") as stored, lake.open(f"{name}_b") as refused:
        stored.stage().write(numbers(1))
        store(stored, "a", pa.table({"x": pa.array([], pa.int64())}))
        refused.refuse(receipt("a", refused="no"))
    assert [each for each in lake.tables() if each.startswith(name)] == [f"{name}_b", f"{name}_c"]


@pytest.mark.parametrize("name", ["", "../t", "t.u", "1", "_t", "t" * 101, "t u", "t\n"])
def test_names_that_are_none_are_refused(name: str, lake: Lake) -> None:
    with pytest.raises(PermanentError, match="no name for a table"):
        lake.read(name)
    with pytest.raises(PermanentError, match="no name for a table"), lake.open(name):
        pass


def test_a_table_is_written_to_by_one_at_a_time(lake: Lake, name: str) -> None:
    with lake.open(name) as table, lake.open(f"{name}_other"):
        with pytest.raises(InUse), lake.open(name):
            pass
        store(table, "a", numbers(1))
    with lake.open(name) as table:
        assert values(table) == [1]


def test_what_a_writer_left_behind_is_taken_away_by_the_next(lake_backend: Backend, name: str) -> None:
    long = pa.table({"x": ["x" * (33 << 20)]})
    for first in (True, False):
        lake = lake_backend.open()
        with lake.open(name) as table:
            left = table.stage()
            left.write(long)
            left.quarantine(misfits("odd"))
            if first:
                store(table, "a", pa.table({"x": ["a"]}))
        lake.close()
    again = lake_backend.open()
    with again.open(name) as table:
        assert store(table, "b", pa.table({"x": ["b"]}), number=1)
        assert (values(table), list(table.quarantined())) == (["a", "b"], [])
    again.close()
    assert lake_backend.leftovers(name) == []


MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
TYPES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [True, False]),
    (pa.int8(), [-(2**7), 2**7 - 1]),
    (pa.int16(), [-(2**15), 2**15 - 1]),
    (pa.int32(), [-(2**31), 2**31 - 1]),
    (pa.int64(), [-(2**63), 2**63 - 1]),
    (pa.uint8(), [0, 2**8 - 1]),
    (pa.uint16(), [0, 2**16 - 1]),
    (pa.uint32(), [0, 2**32 - 1]),
    (pa.uint64(), [0, 2**64 - 1]),
    (pa.float32(), [1.5, float("inf"), 0.0]),
    (pa.float64(), [0.1, -5e-324, 1.7976931348623157e308, float("-inf")]),
    (pa.string(), ["", "Zoë 😀", "a\0b\tc\nd", "\\N", "NULL", "'\"`\\"]),
    (pa.large_string(), ["a", ""]),
    (pa.binary(), [b"", b"\xff\x00\n"]),
    (pa.date32(), [date(1, 1, 1), date(1969, 12, 31), date(2026, 3, 29), date(9999, 12, 31)]),
    (pa.timestamp("us", "UTC"), [MOMENT, datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]),
    (pa.timestamp("us", "Europe/Berlin"), [MOMENT, MOMENT + timedelta(hours=1)]),
    (pa.timestamp("ns", "+02:00"), [MOMENT, datetime(1970, 1, 1, tzinfo=UTC)]),
    (pa.timestamp("us"), [each.replace(tzinfo=None) for each in (MOMENT, datetime(1, 1, 1, tzinfo=UTC))]),
    (pa.time64("us"), [time(23, 59, 59, 999999)]),
    (pa.time32("ms"), [time(0, 0)]),
    (pa.duration("us"), [timedelta(days=-1, microseconds=1)]),
    (pa.decimal128(10, 2), [Decimal("1.10"), Decimal("-99999999.99")]),
    (pa.decimal128(38, 38), [Decimal("0." + "9" * 38)]),
    (pa.decimal256(76, 0), [Decimal("-" + "9" * 76)]),
    (pa.list_(pa.field("element", pa.float32())), [[1.5, None], []]),
    (pa.list_(pa.field("element", pa.string())), [["a", "Zoë"], [None]]),
]


def test_types_and_values_come_back_as_they_were(lake: Lake, name: str) -> None:
    columns = {}
    for kind, examples in TYPES:
        nulls = [] if pa.types.is_list(kind) else [None]
        columns[str(kind)] = pa.array((examples + nulls + examples * 6)[:7], kind)
    given = pa.table(columns)
    with lake.open(name) as table:
        store(table, "a", given)
    reader = lake.read(name)
    assert reader.schema() == given.schema
    assert pa.Table.from_batches(reader.rows()) == given


def test_numbers_that_are_none_come_back(lake: Lake, name: str) -> None:
    given = pa.table({"x": pa.array([float("nan"), None, -0.0])})
    with lake.open(name) as table:
        store(table, "a", given)
    assert repr(values(lake.read(name))) == "[nan, None, -0.0]"


ODD_NAMES = [
    "a b", "Zoë", 'q"uo`te\'s', "back\\slash", "new\nline", "a.b", "a.c", "nul\0", "'; DROP TABLE t --", "{x:String}",
    "%s %(x)s", "*", "tab\t", "c0", "c1", "C0", "position", "SELECT", "_x", "😀", " ", "a" * 300,
]  # fmt: skip


def test_columns_may_be_called_anything(lake: Lake, name: str) -> None:
    given = pa.table({each: [[n], [n, n]] if each.startswith("a.") else [n, -n] for n, each in enumerate(ODD_NAMES)})
    with lake.open(name) as table:
        store(table, "a", given)
        store(table, "b", given, number=1)
    assert pa.Table.from_batches(lake.read(name).rows()) == pa.concat_tables([given, given])
