from tests.contract.predictions import clickhouse_url, embedded_predictions, server_predictions
from tests.contract.registries import embedded_backend, server_backend, twin_backend

__all__ = ["clickhouse_url", "embedded_backend", "embedded_predictions", "server_backend", "server_predictions", "twin_backend"]
