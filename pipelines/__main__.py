"""`python -m pipelines ...`: what runs inside a job. Progress goes to stderr, each result to stdout as one line of JSON.

Exit code 0, 1 (it failed) or 2 (wrong use). Heavy libraries are imported after the arguments were understood.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.faults import LostArrivals
from pipelines.flights import DataMissing, Flights, load
from pipelines.ingest_command import command as ingest
from pipelines.jobs import train_and_register
from pipelines.lineage import OFF, default_file
from tools.errors import Misused, PortError
from tools.features.addresses import Place
from tools.lineage.opening import open_lineage
from tools.lineage.port import LineageWriter
from tools.values import Window

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_TrackingUri = Annotated[str, typer.Option(help="MLflow: sqlite:////absolute/path/mlflow.db, or a server's URL.")]
_Model = Annotated[str, typer.Option(help="Registered model that gets the new version.")]
_From = Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First day of the data, UTC.")]
_To = Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="The day after its last.")]
_Seed = Annotated[int, typer.Option(min=0)]
_Fault = Annotated[
    str,
    typer.Option(
        metavar="lost-arrivals:ORIGIN,...",
        help="For drills: count every flight from these airports as on time, as if its arrival message had been lost.",
    ),
]
_Lineage = Annotated[
    str,
    typer.Option(
        envvar="OPPEN_LINEAGE",
        metavar="FILE|URL|off",
        help="Where to tell what a version was made from; default: lineage.jsonl beside MLflow's database, or in OPPEN_HOME.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print each result as one line of JSON.")]


class _Report:
    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._started = time.perf_counter()

    def progress(self, text: str) -> None:
        typer.echo(f"{time.perf_counter() - self._started:6.1f} s  {text}", err=True)

    def result(self, result: dict[str, Any]) -> None:
        """Flushed at once: somebody may wait for this version while the next one is trained."""
        typer.echo(json.dumps(result) if self._as_json else f"{result['model']} {result['version']}")
        sys.stdout.flush()


@app.callback()
def jobs() -> None:
    """Jobs of the platform."""


app.command("ingest")(ingest)


@app.command()
def train(
    tracking_uri: _TrackingUri,
    model: _Model = "flights",
    start: _From = "2013-01-01",
    end: _To = "2013-03-01",
    seed: _Seed = 7,
    fault: _Fault = "",
    lineage: _Lineage = "",
    as_json: _Json = False,
) -> None:
    """Train the reference model on a window of flights and register it as a new version."""
    report = _Report(as_json=as_json)
    window, spoilt = _window(start, end), _fault(fault)
    with _writer(lineage, tracking_uri) as writer:
        flights = _flights(report)
        report.result(train_and_register(flights, window, seed, spoilt, tracking_uri, model, report.progress, writer))


@app.command()
def drill(
    tracking_uri: _TrackingUri,
    model: _Model = "flights",
    start: _From = "2013-01-01",
    end: _To = "2013-03-01",
    then_start: Annotated[str, typer.Option("--then-from", metavar="YYYY-MM-DD")] = "2013-01-08",
    then_end: Annotated[str, typer.Option("--then-to", metavar="YYYY-MM-DD")] = "2013-03-08",
    seed: _Seed = 7,
    fault: _Fault = "lost-arrivals:JFK,LGA",
    lineage: _Lineage = "",
    as_json: _Json = False,
) -> None:
    """Register two versions: a good one, and a later one whose retraining had a fault. Each is reported when it is there."""
    report = _Report(as_json=as_json)
    good, later, spoilt = _window(start, end), _window(then_start, then_end), _fault(fault)
    with _writer(lineage, tracking_uri) as writer:
        flights = _flights(report)
        report.result(train_and_register(flights, good, seed, None, tracking_uri, model, report.progress, writer))
        report.result(train_and_register(flights, later, seed, spoilt, tracking_uri, model, report.progress, writer))


@app.command()
def export(
    to: Annotated[Path, typer.Option(help="Folder, which is made.")],
    as_json: _Json = False,
) -> None:
    """Write the flights, a file a month, and their weather as raw data, which the reference features are computed from, and
    rows.parquet, which a training set starts from."""
    from pipelines.flight_features import export as write

    files = write(to)
    typer.echo(json.dumps({"files": files}) if as_json else "\n".join(files))


@app.command()
def retrain(
    shift_weeks: Annotated[
        int, typer.Option(envvar="OPPEN_FLIGHTS_SHIFT_WEEKS", help="By so much the window lies after the flights of 2013.")
    ] = 0,
    seed: _Seed = 7,
    fault: Annotated[str, typer.Option(envvar="OPPEN_DRILL_FAULT", help="For drills, as of `train`.")] = "",
    feature_view: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VIEW[@VERSION][:FEATURE]",
            help="Features of the store to learn from as well, as they were at each departure. May be repeated; or "
            "OPPEN_FEATURE_VIEW, with commas.",
        ),
    ] = None,
    features: Annotated[Path | None, typer.Option(envvar="OPPEN_FEATURES", help="Folder of the feature store.")] = None,
) -> None:
    """What the platform's Retrain runs for the reference model: everything else comes from the job's own environment."""
    from dataclasses import replace

    from pipelines.retraining import Order
    from pipelines.retraining import retrain as retrained
    from tools.jobs.progress import Pace

    pace = Pace()

    def progress(fraction: float, text: str) -> None:
        typer.echo(pace.line(fraction, text), err=True)

    order = Order.read()
    if feature_view:
        order = replace(order, features=tuple(feature_view))
    if features is not None and order.feature_store is None:
        order = replace(order, feature_store=Place(features.absolute()))
    found = retrained(order, load(), shift=timedelta(weeks=shift_weeks), seed=seed, fault=_fault(fault), progress=progress)
    typer.echo(json.dumps(found))


@app.command()
def evaluate(
    model: Annotated[str, typer.Option()] = "",
    candidate: Annotated[str, typer.Option(help="The version in question.")] = "",
    data: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Labelled rows, Parquet, that neither has learnt from.")
    ] = None,
    label: Annotated[str, typer.Option(help="The column of what came true.")] = "",
    tracking_uri: Annotated[str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="As of `train`.")] = "",
    champion: Annotated[str, typer.Option(help="The version beside it; without it the one that is champion.")] = "",
    groups: Annotated[str, typer.Option(metavar="COLUMN,...", help="By whose values fairness is looked at.")] = "",
    moments: Annotated[str, typer.Option("--time", metavar="COLUMN", help="When each row is from; without zone UTC.")] = "",
    recent: Annotated[str, typer.Option(metavar="LENGTH", help="So much of the end is a part of its own: 36h, 1d.")] = "",
    seed: _Seed = 0,
    as_json: _Json = False,
) -> None:
    """Hold a version beside the champion, and leave what was found with the version.

    Without options it is the platform's own evaluation, as a job: what is asked for comes from the job's environment, and what
    it finds is signed. With them it is anybody's, on a labelled table of theirs: a claim, which is shown and not believed.
    """
    if not model and not candidate and data is None and not label:
        typer.echo(json.dumps(_examined()))
        return
    if not (model and candidate and data is not None and label and tracking_uri):
        raise typer.BadParameter("name --model, --candidate, --data, --label and --tracking-uri, or none of them in a job")
    from pipelines.beside import Pair, champion_of, told
    from pipelines.beside import evaluate as evaluated
    from pipelines.labelled import duration, read
    from tools.jobs.progress import line

    try:
        length = duration(recent) if recent else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--recent") from error
    if length is not None and not moments:
        raise typer.BadParameter("it is the end of the data by a column of times: name that with --time", param_hint="--recent")
    by = tuple(name for name in groups.split(",") if name)
    pair = Pair(model, candidate, champion or champion_of(model, tracking_uri), tracking_uri)
    found = evaluated(
        pair,
        lambda spec: read(data, spec, label=label, time=moments or None, recent=length, more=by),
        groups=by,
        seed=seed,
        progress=lambda fraction, text: typer.echo(line(fraction, text), err=True),
    )
    if as_json:
        typer.echo(json.dumps({"ok": True, **told(found)}))
        return
    for check in found.staging:
        typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.reason}")
    for fact in found.facts.compared:
        typer.echo(f"{fact.name} ({fact.window}, {fact.rows} rows): {fact.candidate:.4f}, the champion's {fact.champion:.4f}")


@app.command()
def quantize() -> None:
    """Make a version's INT8 form and measure it beside the original; or register what was measured.

    A job of the platform's own: what is asked for comes from its environment, and what it measures is signed."""
    from pipelines.quantize import Order
    from pipelines.quantize import quantize as quantized
    from tools.jobs.progress import line

    found = quantized(Order.read(), progress=lambda fraction, text: typer.echo(line(fraction, text), err=True))
    typer.echo(json.dumps(found))


def _examined() -> dict[str, Any]:
    from pipelines.examination import Order, examine
    from tools.jobs.progress import line

    return examine(Order.read(), progress=lambda fraction, text: typer.echo(line(fraction, text), err=True))


def _flights(report: _Report) -> Flights:
    flights = load()
    report.progress(f"{len(flights)} flights")
    return flights


@contextmanager
def _writer(destination: str, tracking_uri: str) -> Iterator[LineageWriter | None]:
    """Raises PermanentError for what is no destination."""
    if destination == OFF:
        yield None
        return
    home = Path(os.environ.get("OPPEN_HOME", ".oppen"))
    key = os.environ.get("OPPEN_KEY", "")
    with closing(open_lineage(destination or str(default_file(tracking_uri, home)), home=home, key=key)) as writer:
        yield writer


def _window(start: str, end: str) -> Window:
    try:
        first, after = (datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) for day in (start, end))
        return Window(start=first, end=after)
    except ValueError as error:
        raise typer.BadParameter(f"{start} to {end} is no window: days are YYYY-MM-DD, and it ends after it starts") from error


def _fault(text: str) -> LostArrivals | None:
    try:
        return LostArrivals.parse(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def main(arguments: Sequence[str]) -> int:
    try:
        # Wrong use leaves it by SystemExit(2).
        app(list(arguments))
    except Misused as error:
        typer.echo(str(error), err=True)
        return 2
    except (DataMissing, OSError, ValueError, PortError) as error:
        typer.echo(f"failed: {error}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
