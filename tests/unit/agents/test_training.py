"""What is submitted for a training is what the reference job reads."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from agents.actions import Retrain
from agents.policies import Training
from agents.training import CONFIG, TRACKING, spec_of
from pipelines.retraining import Order
from tests.unit.agents.proposed import NO_ACTION, proposal
from tests.unit.agents.worlds import NOW
from tools.errors import PermanentError
from tools.features.addresses import Place
from tools.jobs.port import MIB, JobSpec
from tools.jobs.prices import Prices
from tools.values import LeftOut, Window

LOST = LeftOut(window=Window(start=NOW - timedelta(days=3), end=NOW - timedelta(days=2)), features=("temp",))
RETRAIN = Retrain(model="flights", version="3", window_start=NOW - timedelta(days=28), window_end=NOW, left_out=(LOST,))
PRICES = Prices(currency="EUR", cpu_hour="0.04")


def spec(**rules: object) -> JobSpec:
    return spec_of(
        RETRAIN, proposal(NO_ACTION), Training(command=("train",), cpu=2, memory_mib=512, **rules), timedelta(days=7)
    )


def order(spec: JobSpec, folder: Path) -> Order:
    (folder / CONFIG).write_text(spec.config[CONFIG])
    return Order.read(
        {**spec.environment, "OPPEN_JOB": "oppen-1", "OPPEN_JOB_CONFIG": str(folder), TRACKING: "sqlite:////x/mlflow.db"}
    )


def test_the_job_reads_what_was_approved(tmp_path: Path) -> None:
    read = order(
        spec(prices=PRICES, environment={"OPPEN_FEATURE_VIEW": "carrier_delays, origin_weather:temp", "OPPEN_FEATURES": "/f"}),
        tmp_path,
    )
    assert (read.job, read.model, read.champion) == ("oppen-1", "flights", "3")
    assert read.features == ("carrier_delays", "origin_weather:temp")
    assert read.feature_store == Place(Path("/f"))
    assert read.learnt == Window(start=RETRAIN.window_start, end=NOW - timedelta(days=7))
    assert read.window == Window(start=RETRAIN.window_start, end=RETRAIN.window_end)
    assert read.left_out == (LOST,)
    assert read.prices == PRICES
    assert read.resources is not None
    assert (read.resources.cpu, read.resources.memory_bytes) == (2, 512 * MIB)


def test_without_prices_there_is_no_cost_to_reckon(tmp_path: Path) -> None:
    read = order(spec(), tmp_path)
    assert (read.prices, read.resources) == (None, None)
    assert "prices" not in json.loads(spec().config[CONFIG])


@pytest.mark.parametrize("text", ["", "{}", '{"window_start": "yesterday"}'])
def test_an_order_that_cannot_be_read_names_the_file_or_field(tmp_path: Path, text: str) -> None:
    with pytest.raises(PermanentError, match=r"training.json|model|window"):
        order(spec().model_copy(update={"config": {CONFIG: text}}), tmp_path)
