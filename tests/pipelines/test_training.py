"""The reference training, on two weeks of flights."""

import io

import numpy as np
import pytest
import torch

from pipelines.faults import LostArrivals
from pipelines.flights import CATEGORICAL, NUMERIC, Flights
from pipelines.recipe import Recipe
from pipelines.training import TrainedModel, encode, train
from tests.pipelines.windows import window
from tools.registry.serving_spec import CategoricalFeature, NumericFeature

FORTNIGHT = window("2013-01-01", "2013-01-15")


@pytest.fixture(scope="module")
def trained(year: Flights) -> TrainedModel:
    return train(year, FORTNIGHT)


def logits(trained: TrainedModel, flights: Flights) -> np.ndarray:
    with torch.inference_mode():
        return trained.network(torch.from_numpy(flights.numeric), torch.from_numpy(encode(flights, trained.spec))).numpy()


def accuracy(trained: TrainedModel, flights: Flights, *, origin: str | None = None) -> float:
    right = (logits(trained, flights) >= 0) == flights.late
    if origin is not None:
        right = right[flights.codes[:, 0] == flights.names[0].index(origin)]
    return float(right.mean())


def test_the_same_window_and_seed_give_the_same_model(trained: TrainedModel, year: Flights) -> None:
    again = train(year, FORTNIGHT)
    for name, tensor in trained.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_another_seed_gives_another_model(trained: TrainedModel, year: Flights) -> None:
    other = train(year, FORTNIGHT, Recipe(seed=8))
    assert other.metrics["log_loss"] != trained.metrics["log_loss"]


def test_training_leaves_the_randomness_and_threads_of_the_process_alone(year: Flights) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    train(year, FORTNIGHT, Recipe(epochs=1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_the_model_beats_always_saying_on_time(trained: TrainedModel, year: Flights) -> None:
    days_after = year.departing(window("2013-01-15", "2013-01-22"))
    assert accuracy(trained, days_after) > 1 - days_after.late.mean() + 0.04
    assert trained.metrics["auc"] > 0.8


def test_flights_that_had_not_arrived_when_the_window_ended_are_not_learnt_from(year: Flights) -> None:
    trained = train(year, FORTNIGHT, Recipe(epochs=1, validation_share=0.2))
    used = trained.metrics["rows"] / 0.8
    assert used < len(year.departing(FORTNIGHT))
    assert round(used) == pytest.approx(len(year.departing(FORTNIGHT).arrived_by(FORTNIGHT.end)), abs=1)


def test_the_spec_names_the_features_in_the_order_of_the_tensors(trained: TrainedModel) -> None:
    numeric = [f.name for f in trained.spec.features if isinstance(f, NumericFeature)]
    categorical = [f.name for f in trained.spec.features if isinstance(f, CategoricalFeature)]
    assert (tuple(numeric), tuple(categorical)) == (NUMERIC, CATEGORICAL)
    assert trained.spec.classes == ("on_time", "late")


def test_rare_values_of_a_category_are_unknown(trained: TrainedModel, year: Flights) -> None:
    dest = trained.spec.features[-1]
    assert isinstance(dest, CategoricalFeature)
    assert "ORD" in dest.categories
    rare = set(year.names[2]) - set(dest.categories)
    assert rare
    codes = encode(year, trained.spec)[:, 2]
    is_rare = np.isin(year.codes[:, 2], [year.names[2].index(name) for name in rare])
    np.testing.assert_array_equal(codes == 0, is_rare)


def test_a_departure_delay_raises_the_score_and_an_unknown_feature_does_not_break_it(trained: TrainedModel) -> None:
    numeric = torch.from_numpy(trained.example[0][:1]).repeat(3, 1)
    categorical = torch.from_numpy(trained.example[1][:1]).repeat(3, 1)
    delay = NUMERIC.index("dep_delay")
    numeric[0, delay], numeric[1, delay] = 0, 90
    numeric[2] = torch.nan
    with torch.inference_mode():
        punctual, delayed, unknown = trained.network(numeric, categorical).tolist()
    assert delayed > punctual + 1
    assert np.isfinite(unknown)


def test_the_exported_model_takes_any_number_of_rows(trained: TrainedModel, year: Flights) -> None:
    day = year.departing(window("2013-01-20", "2013-01-21"))
    numeric, categorical = torch.from_numpy(day.numeric), torch.from_numpy(encode(day, trained.spec))
    auto = {0: torch.export.Dim.AUTO}
    program = torch.export.export(trained.network, (numeric[:2], categorical[:2]), dynamic_shapes=(auto, auto))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    module = torch.export.load(file).module()
    for rows in (1, 2, 257):
        with torch.inference_mode():
            expected = trained.network(numeric[:rows], categorical[:rows])
            torch.testing.assert_close(module(numeric[:rows], categorical[:rows]), expected)


def test_too_few_flights_are_refused(year: Flights) -> None:
    with pytest.raises(ValueError, match="too few"):
        train(year, window("2013-01-01", "2013-01-02"))


def test_lost_arrivals_look_good_on_paper_and_are_worse_where_they_were_lost(year: Flights) -> None:
    january, after = window("2013-01-01", "2013-02-01"), year.departing(window("2013-02-01", "2013-02-15"))
    good = train(year, january)
    spoilt = train(year, january, fault=LostArrivals(("JFK", "LGA")))
    assert spoilt.metrics["accuracy"] > good.metrics["accuracy"]
    assert accuracy(spoilt, after) < accuracy(good, after) - 0.06
    assert accuracy(spoilt, after, origin="EWR") == pytest.approx(accuracy(good, after, origin="EWR"), abs=0.02)


@pytest.mark.parametrize("text", ["", "lost-arrivals", "lost-arrivals:", "noise:JFK"])
def test_a_fault_that_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no fault"):
        LostArrivals.parse(text)


def test_a_fault_at_an_airport_without_flights_is_refused(year: Flights) -> None:
    with pytest.raises(ValueError, match="no flight starts in SFO"):
        LostArrivals.parse("lost-arrivals:JFK,SFO").spoil(year)
