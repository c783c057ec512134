"""The year of flights in small: two months through the store, with the estimate first and the labels after it."""

from pathlib import Path

from simulations.drift_flights import judge, replay
from simulations.drift_flights_report import write
from simulations.stage import Stage


async def test_two_months_are_looked_at_before_and_after_their_labels(tmp_path: Path) -> None:
    year = await replay(Stage(quiet=True), (4, 7), 1_200)
    assert year.reference.labelled == 2_400
    assert [each.number for each in year.months] == [4, 7]
    for each in year.months:
        assert (each.flights, each.performance.labelled, each.performance.answered) == (1_200, 1_200, 1_200)
        assert each.performance.accuracy is not None
        assert abs(each.estimate - each.performance.accuracy) < 0.1
        temperature = next(feature for feature in each.finding.features.features if feature.name == "temp")
        assert temperature.drifted
        assert temperature.score is not None
        assert temperature.score > 1
    _, details = judge(year)
    assert [each["month"] for each in details["months"]] == [4, 7]
    write(year, tmp_path)
    page = (tmp_path / "drift-of-flights.md").read_text()
    assert "| April |" in page
    assert f"{year.months[1].estimate:.1%}" in page
    first = (tmp_path / "drift-of-flights.svg").read_bytes()
    write(year, tmp_path)
    assert (tmp_path / "drift-of-flights.svg").read_bytes() == first
