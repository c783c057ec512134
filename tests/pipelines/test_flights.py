from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from pipelines.flights import CATEGORICAL, LATE_MINUTES, NUMERIC, Flights
from tests.pipelines.windows import window
from tools.values import Window

NEW_YORK = ZoneInfo("America/New_York")


def test_the_first_flight_of_the_year_is_as_it_was(year: Flights) -> None:
    # In the source: 517 (2 late), 830 (11 late), UA 1545 from EWR to IAH, an hour behind New York.
    first = next(iter(year))
    assert first.number == "UA1545"
    assert first.departed.astimezone(NEW_YORK) == datetime(2013, 1, 1, 5, 17, tzinfo=NEW_YORK)
    assert first.arrived.astimezone(ZoneInfo("America/Chicago")).strftime("%H:%M") == "08:30"
    assert first.label == "on_time"
    assert first.features | {"temp": None, "wind_speed": None} == {
        "dep_delay": 2.0,
        "distance": 1400.0,
        "scheduled_minutes": 244.0,
        "hour": 5.0,
        "weekday": 1.0,
        "temp": None,
        "wind_speed": None,
        "precip": 0.0,
        "visib": 10.0,
        "origin": "EWR",
        "carrier": "UA",
        "dest": "IAH",
    }


def test_only_flights_that_arrived_are_there(year: Flights) -> None:
    assert len(year) == 327_346


def test_every_arrival_agrees_with_the_delay_that_was_reported_for_it(year: Flights) -> None:
    minutes = (year.arrived - year.departed).astype(int)
    departure_delay = year.numeric[:, NUMERIC.index("dep_delay")]
    scheduled = year.numeric[:, NUMERIC.index("scheduled_minutes")]
    arrival_delay = departure_delay + minutes - scheduled
    np.testing.assert_array_equal(arrival_delay > LATE_MINUTES, year.late)


def test_no_flight_lands_in_less_than_a_quarter_of_an_hour_or_more_than_half_a_day_and_an_hour(year: Flights) -> None:
    minutes = (year.arrived - year.departed).astype(int)
    assert minutes.min() > 15
    assert minutes.max() < 13 * 60


def test_a_delay_past_midnight_is_on_the_next_day(year: Flights) -> None:
    # In the source: 2 January, due out at 23:59, left at 0:42.
    nights = year.departing(window("2013-01-03", "2013-01-04"))
    found = [flight for flight in nights if flight.features["dep_delay"] == 43.0 and flight.features["hour"] == 23.0]
    assert [f"{flight.departed.astimezone(NEW_YORK):%d %H:%M}" for flight in found] == ["03 00:42"]


def test_the_night_on_which_clocks_go_forward_has_no_hole(year: Flights) -> None:
    night = year.departing(window("2013-03-10", "2013-03-11"))
    assert len(night) > 800
    assert all(timedelta(minutes=15) < f.arrived - f.departed < timedelta(hours=12) for f in night)
    assert {f.departed.astimezone(NEW_YORK).utcoffset() for f in night} == {timedelta(hours=-4), timedelta(hours=-5)}


def test_the_table_is_in_order_of_departure(year: Flights) -> None:
    assert (np.diff(year.departed.astype(int)) >= 0).all()


def test_a_window_holds_its_start_and_not_its_end(year: Flights) -> None:
    day = year.departing(window("2013-02-01", "2013-02-02"))
    assert day.departed.min() >= np.datetime64("2013-02-01T00:00")
    assert day.departed.max() < np.datetime64("2013-02-02T00:00")
    parts = [year.departing(window("2013-02-01", "2013-02-03")), year.departing(window("2013-02-03", "2013-02-05"))]
    assert sum(map(len, parts)) == len(year.departing(window("2013-02-01", "2013-02-05")))


def test_labels_become_known_on_arrival(year: Flights) -> None:
    moment = datetime(2013, 2, 1, 18, tzinfo=UTC)
    day = year.departing(window("2013-02-01", "2013-02-02"))
    known = day.arrived_by(moment)
    assert 0 < len(known) < len(day)
    assert all(flight.arrived <= moment for flight in known)


def test_weather_is_that_of_the_scheduled_hour_and_missing_weather_is_none(year: Flights) -> None:
    temperatures = year.numeric[:, NUMERIC.index("temp")]
    assert 0 < np.isnan(temperatures).sum() < len(year) / 100
    # EWR on 1 January between 5 and 6: 39.02 °F.
    first = next(iter(year))
    assert round(float(first.features["temp"] or 0), 2) == 39.02
    unknown = datetime.fromtimestamp(int(year.departed[np.isnan(temperatures)][0].astype("datetime64[s]").astype(int)), UTC)
    minute = year.departing(Window(start=unknown, end=unknown + timedelta(minutes=1)))
    assert None in [flight.features["temp"] for flight in minute]


def test_every_flight_has_all_features(year: Flights) -> None:
    flight = next(iter(year))
    assert tuple(flight.features) == (*NUMERIC, *CATEGORICAL)
