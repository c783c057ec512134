"""The timeline in memory: what it was told, in order, each thing once."""

from graphs.state import RunState


class RememberingTimeline:
    def __init__(self) -> None:
        self.told: list[str] = []

    async def tell(self, state: RunState) -> None:
        self._add(f"proposed {state['proposal'].id}")
        if (verification := state.get("verification")) is not None:
            self._add(f"verified {state['proposal'].id}: {verification.status.value}")

    async def not_announced(self, channel: str, key: str, reason: str) -> None:
        self._add(f"not announced {key}")

    def _add(self, what: str) -> None:
        if what not in self.told:
            self.told.append(what)
