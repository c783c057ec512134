"""`oppen lineage`: where a thing comes from and what came of it, from files or from a running service."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.terminal import JsonFlag, Refused, WrongUse, emit

if TYPE_CHECKING:
    from tools.lineage.port import Graph, Query

lineage = typer.Typer(no_args_is_help=True, help="Where things come from: raw batches, code, feature views, models.")

Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="FILE|URL",
        help="Where it was told; may be repeated. Default: OPPEN_LINEAGE, or the files in OPPEN_HOME, OPPEN_LAKE and ./lake.",
    ),
]
Key = Annotated[str, typer.Option(envvar="OPPEN_KEY", help="An API key, for a URL; better in the environment.")]


@lineage.command("show")
def show(
    node: Annotated[
        str,
        typer.Argument(
            help="model:NAME/VERSION, batch:TABLE/KEY, features:VIEW@VERSION, dataset:NAMESPACE/NAME, job:..., run:..."
        ),
    ],
    up: Annotated[bool, typer.Option("--up", help="Only what it came from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what came of it.")] = False,
    depth: Annotated[int, typer.Option(min=0, max=100, help="Edges away at most.")] = 20,
    sources: Sources = None,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """The graph around a thing, nearest first."""
    from tools.errors import PortError
    from tools.lineage.port import Direction, Query

    direction = Direction.BOTH if up == down else Direction.UP if up else Direction.DOWN
    try:
        found = _all_pages(sources, key, Query(node=node, direction=direction, depth=depth, limit=500))
    except PortError as error:
        raise Refused(str(error)) from error
    emit(found.model_dump(mode="json"), as_json, _drawn(found))


@lineage.command("send")
def send(
    to: Annotated[str, typer.Option(envvar="OPPEN_LINEAGE", metavar="URL", help="The endpoint.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files of events to send; default: what waits for the endpoint in OPPEN_HOME.")
    ] = None,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Send what an endpoint has not got yet. What it has already is no more than a repetition."""
    from contextlib import closing

    from tools.errors import PortError
    from tools.lineage.http import HttpLineage
    from tools.lineage.lines import events
    from tools.lineage.opening import SPOOL
    from tools.lineage.spool import Spool

    try:
        spool = _home() / SPOOL
        with closing(HttpLineage(to, key, spool)) as endpoint:
            for file in files or ():
                if not file.exists():
                    raise WrongUse(f"{file}: there is no such file")
                for event, _ in events(file):
                    Spool(spool).keep(event)
            sent = endpoint.send()
    except PortError as error:
        raise Refused(str(error)) from error
    emit({"sent": sent, "to": endpoint.destination}, as_json, f"{sent} events sent to {endpoint.destination}")


def _all_pages(sources: list[str] | None, key: str, query: "Query") -> "Graph":
    """A graph for people and for `--json` is whole."""
    from contextlib import closing

    from tools.lineage.file import gathered
    from tools.lineage.http import HttpLineage
    from tools.lineage.memory import Memory
    from tools.lineage.opening import SPOOL, is_address

    wanted = sources or _defaults()
    if any(is_address(each) for each in wanted):
        if len(wanted) > 1:
            raise WrongUse("--from: one URL, or files")
        with closing(HttpLineage(wanted[0], key, _home() / SPOOL)) as service:
            return _joined(service, query)
    paths = [Path(each.removeprefix("file://")).expanduser() for each in wanted]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise WrongUse(f"{', '.join(missing)}: there is no such file; name files of events, or a URL, with --from")
    return _joined(Memory(gathered(paths)), query)


def _joined(reader: Any, query: "Query") -> "Graph":
    found: Graph = reader.graph(query)
    page = found
    while page.next_cursor is not None:
        page = reader.graph(query.model_copy(update={"cursor": page.next_cursor}))
        found = found.model_copy(update={"nodes": found.nodes + page.nodes, "edges": found.edges + page.edges})
    return found.model_copy(update={"next_cursor": None})


def _defaults() -> list[str]:
    from pipelines.lineage import FILE, LAKE_FILE, OFF

    said = os.environ.get("OPPEN_LINEAGE", "")
    if said and said != OFF:
        return [said]
    lakes = dict.fromkeys(folder / LAKE_FILE for folder in (_lake(), Path("lake").absolute()) if folder is not None)
    found = [path for path in (_home() / FILE, *lakes) if path.is_file()]
    if not found:
        raise WrongUse(
            "nothing was told yet: there is no lineage.jsonl in OPPEN_HOME, and no _lineage.jsonl in the folder OPPEN_LAKE or"
            " in ./lake; use --from"
        )
    return [str(path) for path in found]


def _lake() -> Path | None:
    from tools.lake.opening import local_folder

    url = os.environ.get("OPPEN_LAKE", "")
    return local_folder(url) if url else None


def _home() -> Path:
    return Path(os.environ.get("OPPEN_HOME", ".oppen"))


def _drawn(graph: "Graph") -> str:
    """A line for each node, further in the further away, with what it is made from."""
    lines = []
    sources: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.kind != "job":
            sources.setdefault(edge.target, []).append(edge.source)
    for node in graph.nodes:
        if node.kind == "job":
            continue
        about = [node.job.removeprefix("job:")] if node.job else []
        about += [node.state.lower()] if node.state else []
        about += [f"at {node.ended_at:%Y-%m-%d %H:%M:%S} UTC"] if node.ended_at else []
        code = node.facets.get("oppen_code") or {}
        about += [f"code {(code.get('commit') or code.get('version') or '')[:12]}"] if code else []
        batch = node.facets.get("batch") or {}
        about += [f"{batch[count]:,} {count}" for count in ("rows", "quarantined") if isinstance(batch.get(count), int)]
        lines.append(f"{'  ' * node.depth}{node.id}{'  (' + ', '.join(about) + ')' if about else ''}")
        lines += [f"{'  ' * node.depth}  <- {source}" for source in sorted(sources.get(node.id, ()))[:_SHOWN]]
        more = len(sources.get(node.id, ())) - _SHOWN
        lines += [f"{'  ' * node.depth}  <- and {more:,} more"] if more > 0 else []
    return "\n".join(lines)


_SHOWN = 10
"""Sources of one node that are written out; `--json` has all."""
