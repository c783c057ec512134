"""The service under the crash drill: `oppen serve`, with its boundaries watched. Started by `simulations.chaos` only."""

import os
import sys
from pathlib import Path

from api.container import Adapters
from api.serving import run
from simulations.boundaries import Boundaries


def main() -> int:
    boundaries = Boundaries(Path(os.environ["CHAOS_ORDER"]), Path(os.environ["CHAOS_TRACE"]))
    boundaries.watch_sql()
    # After `graphs`, which says how LangGraph is to be imported.
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    for saver in (AsyncSqliteSaver, AsyncPostgresSaver):
        boundaries.watch(saver, "checkpoint", "aput", "aput_writes", "adelete_thread")

    def decorate(adapters: Adapters) -> Adapters:
        boundaries.watch(adapters.registry, "registry", "set_alias", "history", "alias")
        boundaries.watch(adapters.serving, "serving", "set_weights", "route")
        boundaries.watch(adapters.notify, "notify", "send")
        boundaries.watch(adapters.predictions, "predictions", "periods", "tallies")
        boundaries.watch(adapters.jobs, "jobs", "submit", "state")
        return adapters

    return run(decorate)


if __name__ == "__main__":
    sys.exit(main())
