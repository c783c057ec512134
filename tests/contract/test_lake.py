"""Every lake: a batch is there as a whole, once, or not at all; and whoever reads sees no half."""

import pyarrow as pa
import pytest

from tests.contract.lakes import numbers, receipt, rows, store, values
from tools.errors import PermanentError
from tools.lake.port import Lake


def test_a_batch_that_was_described_is_told_with_what_was_measured(lake: Lake) -> None:
    with lake.open("t") as table:
        store(table, "a", numbers(1), number=1)
        store(table, "b", numbers(2), number=2, said='{"mean": 2, "who": "Zoë"}')
        staged = table.stage()
        staged.describe('{"of": "none"}')
        staged.describe('{"mean": null}')
        staged.commit(receipt("c", 0))
    assert [(each.key, said) for each, said in lake.read("t").statistics()] == [
        ("c", '{"mean": null}'),
        ("b", '{"mean": 2, "who": "Zoë"}'),
    ]


def test_a_reader_needs_no_lock_and_sees_whole_batches_only(lake: Lake) -> None:
    with lake.open("t") as table:
        reader = lake.read("t")
        store(table, "a", numbers(1, 2))
        staged = table.stage()
        staged.write(numbers(3))
        staged.describe("{}")
        assert (values(reader), len(reader.receipts()), list(reader.statistics())) == ([1, 2], 1, [])
        staged.write(numbers(4))
        staged.commit(receipt("b", 1))
        assert (values(reader), len(reader.receipts()), len(list(reader.statistics()))) == ([1, 2, 3, 4], 2, 1)


def test_batches_are_read_by_their_keys(lake: Lake) -> None:
    with lake.open("t") as table:
        for number, key in enumerate(["a", "b", "c"]):
            store(table, key, numbers(number), number=number)
    reader = lake.read("t")
    assert (values(reader, "c", "a", "nowhere"), list(reader.rows(()))) == ([0, 2], [])


def test_what_is_not_there_is_empty_and_reading_makes_nothing(lake: Lake) -> None:
    reader = lake.read("nowhere")
    assert (reader.schema(), reader.receipts(), rows(reader), list(reader.quarantined())) == (None, (), [], [])
    assert list(reader.statistics()) == []
    assert lake.tables() == ()


def test_tables_are_those_with_a_batch_or_a_refusal(lake: Lake) -> None:
    with lake.open("opened"), lake.open("stored") as stored, lake.open("refused") as refused:
        stored.stage().write(numbers(1))
        store(stored, "a", pa.table({"x": pa.array([], pa.int64())}))
        refused.refuse(receipt("a", refused="no"))
    assert lake.tables() == ("refused", "stored")


@pytest.mark.parametrize("name", ["", "../t", "t.u", "1", "_t", "t" * 101, "t u", "t\n"])
def test_names_that_are_none_are_refused(name: str, lake: Lake) -> None:
    with pytest.raises(PermanentError, match="no name for a table"):
        lake.read(name)
    with pytest.raises(PermanentError, match="no name for a table"), lake.open(name):
        pass
