"""The columns of a view's rows, as Arrow has them."""

from collections.abc import Mapping

import pyarrow as pa

from tools.features.port import CREATED, EVENT_TIME, EVENT_US, Kind, View

ARROW: Mapping[Kind, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}
TIME = pa.timestamp("us", tz="UTC")


def schema_of(view: View) -> pa.Schema:
    columns = {name: ARROW[kind] for name, kind in (*view.entities.items(), *view.features.items())}
    return pa.schema([*columns.items(), (EVENT_TIME, TIME), (CREATED, TIME), (EVENT_US, pa.int64())])
