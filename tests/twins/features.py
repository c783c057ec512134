"""A feature store in memory, of one view."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tools.features.port import Found, Key, Reference, Unanswerable, Value, View, ViewState

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class TwinFeatures:
    """`Features`."""

    def __init__(self) -> None:
        self.view = View(
            name="rides",
            version="00000000000a",
            entities={"city": "text"},
            features={"mean": "number", "count": "integer"},
            ttl=timedelta(hours=1),
            owner="tests",
            source="trips",
        )
        self.values: dict[str, dict[str, Value]] = {"bonn": {"mean": 0.5, "count": 3}}

    async def ping(self) -> None: ...

    async def states(self) -> tuple[ViewState, ...]:
        state = ViewState(view=self.view, current=True, rows=7, newest=START, computed_at=START, materialized_until=START)
        return (state,)

    async def lookup(self, keys: Sequence[Key], features: Sequence[str]) -> tuple[Found, ...]:
        names: dict[str, str] = {}
        for text in features:
            asked = Reference.parse(text)
            if asked.view != self.view.name or asked.version not in (None, self.view.version):
                raise Unanswerable("features", f"{text}: there is none")
            wanted = [asked.feature] if asked.feature else list(self.view.features)
            if not self.view.features.keys() >= {*wanted}:
                raise Unanswerable("features", f"{text}: there is none")
            names |= {text if asked.feature else f"{text}:{name}": name for name in wanted}
        return tuple(self._found(key, names) for key in keys)

    def _found(self, key: Key, names: dict[str, str]) -> Found:
        city = key.get("city")
        if not isinstance(city, str):
            raise Unanswerable("entities", "rides needs city, as a text")
        known = self.values.get(city)
        values = {name: (known or {}).get(feature) for name, feature in names.items()}
        return Found(values=values, as_of={"rides": START} if known else {})

    async def close(self) -> None: ...
