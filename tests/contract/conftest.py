from tests.contract.clusters import place
from tests.contract.costs import costs, real_engine, real_weeks, weeks
from tests.contract.jobs import cluster, job_backend
from tests.contract.lakes import embedded_lake, lake, lake_backend, name
from tests.contract.lineages import lineage, lineage_database
from tests.contract.predictions import clickhouse_url, embedded_predictions, loads, model, server_predictions, store
from tests.contract.registries import embedded_backend, server_backend, twin_backend
from tests.contract.rollouts import moving, on

__all__ = [
    "clickhouse_url",
    "cluster",
    "costs",
    "embedded_backend",
    "embedded_lake",
    "embedded_predictions",
    "job_backend",
    "lake",
    "lake_backend",
    "lineage",
    "lineage_database",
    "loads",
    "model",
    "moving",
    "name",
    "on",
    "place",
    "real_engine",
    "real_weeks",
    "server_backend",
    "server_predictions",
    "store",
    "twin_backend",
    "weeks",
]
