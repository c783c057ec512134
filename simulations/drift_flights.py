"""A real year of drift: a model of flights, trained on January to March, month by month until December.

    python -m simulations.drift_flights --json [--write docs]

Half of the days of January to March train the model, the other half are the reference, so that its accuracy there is of flights
that it has not seen. Then every month's flights are predicted and go into the prediction store as they came. At the end of a
month it is looked at twice: before the labels of that month are handed in, as by a monthly feed, when there is only the
estimate; and after. `--write` makes the report and its plot, the same ones every time.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agents.drift.causes import DriftFinding, explain
from agents.drift.performance import Performance, perform
from agents.policies import Drift
from graphs.drifting import observe_drift
from pipelines.flights import Flights, load
from pipelines.training import TrainedModel, encode, train
from simulations.checks import Checks
from simulations.stage import Stage
from tools.predictions.clickhouse import ClickHouseStore, open_store
from tools.predictions.records import LabelRecord, PredictionRecord
from tools.values import Window

MODEL = "flights"
ROWS = 8_000
"""Flights of a month, drawn from some 27,000."""
MOST_OFF = 0.03
"""What the estimate may be off on average: the months themselves are eight points apart."""
_RULES = Drift(seasons=0)
"""There is one year of flights: no earlier season to compare with."""


def month(number: int) -> Window:
    """Of 2013; April is 4."""
    end = datetime(2013 + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return Window(start=datetime(2013, number, 1, tzinfo=UTC), end=end)


REFERENCE = Window(start=month(1).start, end=month(3).end)
MONTHS = tuple(range(4, 13))


@dataclass(frozen=True)
class Month:
    number: int
    flights: int
    estimate: float
    """Before any label of the month had come."""
    finding: DriftFinding
    """After they had."""

    @property
    def performance(self) -> Performance:
        return self.finding.performance


@dataclass(frozen=True)
class Year:
    reference: Performance
    months: tuple[Month, ...]
    training_rows: int


async def replay(stage: Stage, months: tuple[int, ...], rows: int) -> Year:
    """Raises DataMissing without the flights."""
    flights = load()
    quarter = flights.departing(REFERENCE)
    odd = quarter.departed.astype("datetime64[D]").astype(np.int64) % 2 == 1
    trained = train(quarter.rows(odd), REFERENCE)
    stage.say(f"trained on {int(trained.metrics['rows']):,} flights of every other day from January to March")
    with tempfile.TemporaryDirectory() as home:
        store = open_store(f"chdb://{home}/store")
        told = _Feed(store, Path(home), trained)
        held_out = _drawn(quarter.rows(~odd), 2 * rows, 0)
        await told.predictions(held_out)
        await told.labels(held_out, REFERENCE.end)
        reference = perform((), await store.outcomes(MODEL, REFERENCE))
        found = [await _month(told, store, number, _drawn(flights.departing(month(number)), rows, number)) for number in months]
        for each in found:
            stage.say(_line(each))
        await store.close()
    return Year(reference, tuple(found), int(trained.metrics["rows"]))


async def _month(told: "_Feed", store: ClickHouseStore, number: int, flights: Flights) -> Month:
    window = month(number)
    await told.predictions(flights)
    before = explain(await observe_drift(MODEL, REFERENCE, window, store, _RULES), _RULES.rules)
    await told.labels(flights, window.end)
    after = explain(await observe_drift(MODEL, REFERENCE, window, store, _RULES), _RULES.rules)
    if before.performance.estimate is None or after.performance.accuracy is None or before.performance.labelled:
        raise RuntimeError(f"month {number}: {before.performance} before the labels, {after.performance} after")
    return Month(number, len(flights), before.performance.estimate, after)


class _Feed:
    """Hands in predictions and labels as segments, as a gateway does."""

    def __init__(self, store: ClickHouseStore, folder: Path, trained: TrainedModel) -> None:
        self._store = store
        self._folder = folder
        self._trained = trained
        self._count = 0

    async def predictions(self, flights: Flights) -> None:
        scores, classes = self._scores(flights), self._trained.spec.classes
        await self._load(
            [
                PredictionRecord(
                    id=f"{flight.number}-{_micros(flight.departed):x}-{place}",
                    model=MODEL,
                    version="1",
                    at=_micros(flight.departed),
                    entity=flight.number,
                    latency_us=1_000,
                    features=dict(flight.features),
                    prediction=classes[int(score >= self._trained.spec.threshold)],
                    score=score,
                )
                for place, (flight, score) in enumerate(zip(flights, scores, strict=True))
            ]
        )

    async def labels(self, flights: Flights, at: datetime) -> None:
        await self._load(
            [
                LabelRecord(
                    id=f"{flight.number}-{_micros(flight.departed):x}-{place}",
                    model=MODEL,
                    at=max(_micros(flight.arrived), _micros(at)),
                    label=flight.label,
                )
                for place, flight in enumerate(flights)
            ]
        )

    async def _load(self, records: list[Any]) -> None:
        self._count += 1
        path = self._folder / f"records-{self._count:016d}-flights-{self._count:06d}.ndjson"
        path.write_bytes(msgspec.json.Encoder().encode_lines(records))
        await self._store.load(path)
        path.unlink()

    def _scores(self, flights: Flights) -> list[float]:
        import torch

        with torch.inference_mode():
            numeric, codes = torch.from_numpy(flights.numeric), torch.from_numpy(encode(flights, self._trained.spec))
            scores: list[float] = torch.sigmoid(self._trained.network(numeric, codes)).reshape(-1).double().tolist()
        return scores


def _drawn(flights: Flights, rows: int, seed: int) -> Flights:
    """In their order."""
    chosen = np.random.default_rng([2013, seed]).choice(len(flights), min(rows, len(flights)), replace=False)
    mask = np.zeros(len(flights), dtype=bool)
    mask[chosen] = True
    return flights.rows(mask)


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _line(each: Month) -> str:
    named = f"{month(each.number).start:%B}: {each.performance.accuracy:.1%} right, {each.estimate:.1%} estimated before"
    return f"{named}; {each.finding.cause.replace('_', ' ')}"


def judge(year: Year) -> tuple[Checks, dict[str, Any]]:
    checks = Checks()
    off = [abs(each.estimate - (each.performance.accuracy or 0.0)) for each in year.months]
    checks.at_most("estimate_off_by", round(sum(off) / len(off), 4), MOST_OFF, "of the answers, mean over the months")
    checks.equal("months", len(year.months), len(MONTHS))
    details = {
        "reference": year.reference.model_dump(mode="json"),
        "months": [
            {
                "month": each.number,
                "flights": each.flights,
                "estimate_before_labels": each.estimate,
                "accuracy": each.performance.accuracy,
                "interval": each.performance.interval,
                "cause": each.finding.cause,
                "reason": each.finding.reason,
                "moved": {f.name: f.score for f in each.finding.features.features if f.drifted},
            }
            for each in year.months
        ],
    }
    return checks, details


def main() -> int:
    parser = argparse.ArgumentParser("python -m simulations.drift_flights", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="flights of a month")
    parser.add_argument("--write", type=Path, help="folder for the report and its plot")
    parser.add_argument("--json", action="store_true", help="print one JSON object, last on stdout")
    options = parser.parse_args()
    year = asyncio.run(replay(Stage(), MONTHS, options.rows))
    if options.write is not None:
        from simulations.drift_flights_report import write

        write(year, options.write)
    checks, details = judge(year)
    print(checks.as_json(details) if options.json else json.dumps(details, indent=2))
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
