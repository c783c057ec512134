"""How commands tell lineage: where to, in the name of what they do."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import typer

from pipelines.ingest import Ingested
from pipelines.lineage import FILE, LAKE_FILE, OFF, ingesting
from tools.clickhouse.connection import without_password
from tools.lake.opening import local_folder
from tools.lake.port import LakeTable, Receipt
from tools.lineage.opening import open_lineage
from tools.lineage.places import source as place
from tools.lineage.port import Column


@contextmanager
def told(
    destination: str, url: str, label: str, lake: str, table: str, opened: LakeTable
) -> Iterator[tuple[Callable[[Receipt], None], Callable[[Ingested], None]]]:
    """Of an ingestion into the lake at this address: what to call for each batch, and at its end.

    `destination`: a file, an address, `off`, or empty for the file of a lake that is a folder, else the home's. Raises
    PermanentError for what is none; what cannot be told is said on stderr, and ends nothing.
    """
    if destination == OFF:
        yield (lambda _receipt: None), (lambda _found: None)
        return

    def columns() -> list[Column]:
        return [Column(name=field.name, type=str(field.type)) for field in opened.schema() or ()]

    key, home = os.environ.get("OPPEN_KEY", ""), Path(os.environ.get("OPPEN_HOME", ".oppen"))
    with (
        closing(open_lineage(destination or str(_default(lake, home)), home=home, key=key)) as writer,
        ingesting(writer, place(url, label), table, columns=columns, location=_location(lake), tell=_say) as ingestion,
    ):

        def ended(found: Ingested) -> None:
            ingestion.ended(
                aborted=found.cancelled,
                rows_read=found.rows_read,
                rows_written=found.rows_written,
                rows_quarantined=found.rows_quarantined,
                batches=found.batches,
                skipped=found.skipped,
                faulty=len(found.faulty),
            )

        yield ingestion.stored, ended


def _default(lake: str, home: Path) -> Path:
    folder = local_folder(lake)
    return folder / LAKE_FILE if folder is not None else home / FILE


def _location(lake: str) -> str:
    folder = local_folder(lake)
    return str(folder.absolute()) if folder is not None else without_password(lake)


def _say(text: str) -> None:
    typer.echo(text, err=True)
