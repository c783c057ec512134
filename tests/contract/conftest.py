from tests.contract.lineages import lineage, lineage_database
from tests.contract.predictions import clickhouse_url, embedded_predictions, loads, model, server_predictions, store
from tests.contract.registries import embedded_backend, server_backend, twin_backend

__all__ = [
    "clickhouse_url",
    "embedded_backend",
    "embedded_predictions",
    "lineage",
    "lineage_database",
    "loads",
    "model",
    "server_backend",
    "server_predictions",
    "store",
    "twin_backend",
]
