"""The service under a crash drill: `oppen serve`, with its boundaries watched. Started by `simulations.chaos` only."""

import os
import sys
from pathlib import Path
from typing import Any

from api.container import Adapters
from api.serving import run
from api.store.actions import ActionLedger
from simulations.boundaries import Boundaries


def main() -> int:
    trace = Path(os.environ["CHAOS_TRACE"])
    boundaries = Boundaries(Path(os.environ["CHAOS_ORDER"]), trace, os.environ.get("CHAOS_RESUMED", ""))
    boundaries.watch_sql()
    boundaries.watch(ActionLedger, "ledger", "intend", told=lambda _, proposal, *__: str(proposal.action.kind))
    boundaries.watch(ActionLedger, "ledger", "complete", told=lambda _, receipt: str(receipt.action.kind))
    # After `graphs`, which says how LangGraph is to be imported.
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    for saver in (AsyncSqliteSaver, AsyncPostgresSaver):
        boundaries.watch(saver, "checkpoint", "aput", "aput_writes", "adelete_thread")

    def decorate(adapters: Adapters) -> Adapters:
        boundaries.watch(adapters.registry, "registry", "set_alias", "history", "alias", "evaluation", "versions")
        boundaries.watch(adapters.serving, "serving", "set_weights", told=_step)
        boundaries.watch(adapters.serving, "serving", "route")
        boundaries.watch(adapters.notify, "notify", "send")
        boundaries.watch(adapters.predictions, "predictions", "periods", "tallies")
        boundaries.watch(adapters.jobs, "jobs", "submit", "state", "usage")
        return adapters

    return run(decorate)


def _step(*_: Any, key: str, **__: Any) -> str:
    """`stage/1` of `run_01.../2/stage/1`."""
    return "/".join(key.split("/")[2:])


if __name__ == "__main__":
    sys.exit(main())
