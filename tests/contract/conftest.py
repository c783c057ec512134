from tests.contract.jobs import backend, cluster
from tests.contract.predictions import clickhouse_url, embedded_predictions, loads, model, server_predictions, store
from tests.contract.registries import embedded_backend, server_backend, twin_backend
from tests.contract.rollouts import moving, on

__all__ = [
    "backend",
    "clickhouse_url",
    "cluster",
    "embedded_backend",
    "embedded_predictions",
    "loads",
    "model",
    "moving",
    "on",
    "server_backend",
    "server_predictions",
    "store",
    "twin_backend",
]
