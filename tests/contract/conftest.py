from tests.contract.lakes import lake
from tests.contract.predictions import clickhouse_url, embedded_predictions, loads, model, server_predictions, store
from tests.contract.registries import embedded_backend, server_backend, twin_backend

__all__ = [
    "clickhouse_url",
    "embedded_backend",
    "embedded_predictions",
    "lake",
    "loads",
    "model",
    "server_backend",
    "server_predictions",
    "store",
    "twin_backend",
]
