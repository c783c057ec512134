"""The feature store's port on Feast: with everything embedded, with Redis online, with a registry in SQL.

What is done here instead of in Feast is held against Feast's own on the same rows.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from tests.contract.features import BACKENDS, MINUTE, START, add, place_of, row, view
from tests.contract.servers import redis as redis_servers
from tools.errors import PermanentError, TemporaryError
from tools.features.addresses import Place, redis_connection
from tools.features.columns import TIME
from tools.features.port import EVENT_TIME, FeatureStore, View

if TYPE_CHECKING:
    from tools.features.feast import FeastStore

    Opened = Callable[[Place], FeastStore]

# Feast takes seconds to import: once.
pytestmark = [
    pytest.mark.xdist_group("feast"),
    # Feast 0.67 itself: a pydantic model's field hides one of its base.
    pytest.mark.filterwarnings("ignore:Field name .* shadows an attribute:UserWarning"),
]

FEASTS_OWN = pytest.mark.filterwarnings("ignore:Downcasting object dtype arrays:FutureWarning")
"""Of its file store, which is used here to compare with."""

ALL = ("rides:mean", "rides:count", "rides:kind", "rides:open")
BONN: dict[str, Any] = {"city": "bonn", "zone": 1}
LATER = START + timedelta(hours=3)
NOW = START + timedelta(days=1)
"""Of whoever materializes."""


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "redis" and not redis_servers.available():
        pytest.skip("neither OPPEN_TEST_REDIS nor redis-server")
    with place_of(request.param, tmp_path, lambda: str(request.getfixturevalue("postgres_url"))) as found:
        yield found


@pytest.fixture
def opened() -> "Iterator[Opened]":
    """Opens stores, and closes them in the end."""
    from tools.features.feast import FeastStore

    with ExitStack() as stack:
        yield lambda place: stack.enter_context(closing(FeastStore(place)))


@pytest.fixture
def store(place: Place, opened: "Opened") -> "FeastStore":
    return opened(place)


@pytest.fixture
def embedded(tmp_path: Path, opened: "Opened") -> "FeastStore":
    return opened(Place(tmp_path / "features"))


def ready(store: "FeastStore", of: View, rows: list[dict[str, Any]], until: datetime = LATER) -> None:
    store.register((of,))
    add(store, of, rows)
    store.materialize(of, until, NOW)
    store.publish(of)


def asked(*moments: tuple[str, int, float]) -> pa.Table:
    return pa.table(
        {
            "city": [city for city, _, _ in moments],
            "zone": pa.array([zone for _, zone, _ in moments], pa.int64()),
            EVENT_TIME: pa.array([START + minute * MINUTE for _, _, minute in moments], TIME),
        }
    )


def test_it_is_the_port(store: "FeastStore") -> None:
    assert isinstance(store, FeatureStore)


def test_the_latest_values_are_found_by_their_key(store: "FeastStore") -> None:
    ready(store, view(), [row(0, mean=1.0), row(170, mean=2.5, kind="ü"), row(175, city="köln", open=False)])
    found, koeln, nowhere = store.lookup([BONN, {**BONN, "city": "köln"}, {"city": "ulm", "zone": 1}], ALL, LATER)
    assert found.values == {"rides:mean": 2.5, "rides:count": 2, "rides:kind": "ü", "rides:open": True}
    assert found.as_of == {"rides": START + 170 * MINUTE}
    assert koeln.values["rides:open"] is False
    assert (nowhere.values, nowhere.as_of) == (dict.fromkeys(ALL), {})


def test_a_lookup_does_not_write_the_environment_of_the_process(
    embedded: "FeastStore", monkeypatch: pytest.MonkeyPatch
) -> None:
    """It did, ten times, which was most of what a lookup took."""
    ready(embedded, view(), [row(170, mean=1.0)])

    def written(*_: object) -> None:
        raise AssertionError("a lookup writes the environment")

    with monkeypatch.context() as watched:
        watched.setattr(type(os.environ), "update", written)
        found = embedded.lookup([BONN], ["rides:mean"], LATER)[0]
    assert found.values == {"rides:mean": 1.0}


def test_a_missing_value_is_null_and_the_others_are_there(store: "FeastStore") -> None:
    ready(store, view(), [row(170, mean=None, count=None, kind=None, open=None), row(171, city="köln", count=2**53 + 1)])
    found, koeln = store.lookup([BONN, {**BONN, "city": "köln"}], ALL, LATER)
    assert found.values == dict.fromkeys(ALL)
    assert found.as_of == {"rides": START + 170 * MINUTE}
    assert koeln.values["rides:count"] == 2**53 + 1


def test_a_row_is_right_until_its_ttl_is_over_and_not_before_it_begins(store: "FeastStore") -> None:
    event = 100 + 1 / 3
    ready(store, view(), [row(event, mean=7.0)])
    moment = store.lookup([BONN], ALL, LATER - 30 * MINUTE)[0].as_of["rides"]
    ttl, tick = timedelta(hours=1), timedelta(microseconds=1)
    seen = {
        name: store.lookup([BONN], ["rides:mean"], at)[0].values["rides:mean"]
        for name, at in {
            "long before": moment - 10 * MINUTE,
            "begins": moment,
            "ends": moment + ttl,
            "ended": moment + ttl + tick,
        }.items()
    }
    assert seen == {"long before": None, "begins": 7.0, "ends": 7.0, "ended": None}
    rows = pa.table(
        {
            "city": ["bonn"] * 4,
            "zone": [1] * 4,
            EVENT_TIME: pa.array([moment - tick, moment, moment + ttl, moment + ttl + tick]),
        }
    )
    assert store.training_set(rows, ["rides:mean"])["rides:mean"].to_pylist() == [None, 7.0, 7.0, None]


def test_online_and_offline_have_the_same_values(store: "FeastStore") -> None:
    """Whatever the batches were: after each, for every key and feature, value by value."""
    dice, of = random.Random(7), view(ttl=timedelta(minutes=40))
    store.register((of,))
    store.publish(of)
    keys = [{"city": city, "zone": zone} for city in ("bonn", "köln", "ulm") for zone in (1, 2)]
    for number in range(1, 6):
        rows = [
            row(
                dice.randint(0, 30 * number) + dice.random(),
                **dice.choice(keys),
                mean=dice.choice([None, dice.random(), -1e300]),
                count=dice.choice([None, 0, dice.randint(-(2**60), 2**60)]),
                kind=dice.choice([None, "", "a b"]),
                open=dice.choice([None, True, False]),
            )
            for _ in range(12)
        ]
        add(store, of, rows, at=number)
        now = START + 30 * number * MINUTE
        store.materialize(of, now, NOW)
        offline = store.training_set(asked(*((key["city"], key["zone"], 30 * number) for key in keys)), ALL).to_pylist()
        online = store.lookup(keys, ALL, now)
        assert [found.values for found in online] == [{name: each[name] for name in ALL} for each in offline]


def test_a_row_that_comes_late_is_in_the_next_materialization(store: "FeastStore") -> None:
    ready(store, view(), [row(100, mean=1.0), row(100, city="köln", mean=1.0)])
    add(store, view(), [row(90, mean=9.0), row(100, city="köln", mean=2.0), row(95, city="ulm", mean=3.0)], at=5)
    done = store.materialize(view(), LATER - 30 * MINUTE, NOW)
    assert (done.keys, done.until) == (3, LATER)  # never back
    found = store.lookup([{"city": city, "zone": 1} for city in ("bonn", "köln", "ulm")], ["rides:mean"], START + 130 * MINUTE)
    assert [each.values["rides:mean"] for each in found] == [1.0, 2.0, 3.0]


def test_a_row_that_begins_later_is_online_when_its_time_has_come(store: "FeastStore") -> None:
    ready(store, view(), [row(0, mean=1.0), row(50, mean=2.0)], until=START + 10 * MINUTE)
    assert store.lookup([BONN], ["rides:mean"], START + 20 * MINUTE)[0].values["rides:mean"] == 1.0
    assert store.materialize(view(), START + 60 * MINUTE, NOW).keys == 1
    assert store.lookup([BONN], ["rides:mean"], START + 60 * MINUTE)[0].values["rides:mean"] == 2.0
    assert store.materialize(view(), START + 70 * MINUTE, NOW).keys == 0


def test_a_moment_that_is_ahead_of_now_is_refused_and_changes_nothing(embedded: "FeastStore") -> None:
    ready(embedded, view(), [row(0, mean=1.0), row(50, mean=2.0)], until=START)
    with pytest.raises(PermanentError, match="until: 2026-03-02T10:00:00Z is ahead of now"):
        embedded.materialize(view(), START + 60 * MINUTE, START + 10 * MINUTE)
    assert embedded.states()[0].materialized_until == START
    assert embedded.lookup([BONN], ["rides:mean"], START + 10 * MINUTE)[0].values == {"rides:mean": 1.0}


def test_what_was_materialized_while_a_clock_was_ahead_heals_with_the_next_run(store: "FeastStore") -> None:
    """Else a key with a row that has not begun would be null until then, while training sets have its value."""
    ahead = START + timedelta(days=365)
    ready(store, view(), [row(0, mean=1.0), row(100_000, mean=2.0)], until=START)
    store.materialize(view(), ahead, ahead)
    now = START + 10 * MINUTE
    assert store.lookup([BONN], ["rides:mean"], now)[0].values == {"rides:mean": None}
    done = store.materialize(view(), now, now)
    assert (done.keys, done.until) == (1, now)
    assert store.states()[0].materialized_until == now
    offline = store.training_set(asked(("bonn", 1, 10)), ["rides:mean"])["rides:mean"].to_pylist()
    assert [store.lookup([BONN], ["rides:mean"], now)[0].values["rides:mean"]] == offline == [1.0]
    assert store.materialize(view(), now + MINUTE, now + MINUTE).keys == 0


def test_a_name_means_the_current_version_and_any_can_be_named(store: "FeastStore") -> None:
    old, new = view(), view("00000000000b", features={"mean": "number", "median": "number"})
    ready(store, old, [row(170, mean=1.0)])
    store.register((new,))
    add(store, new, [row(170, mean=5.0, median=6.0)])
    store.materialize(new, LATER, NOW)
    assert not store.published(new)
    assert store.lookup([BONN], ["rides:mean"], LATER)[0].values == {"rides:mean": 1.0}
    store.publish(new)
    assert store.published(new)
    assert not store.published(old)
    found = store.lookup([BONN], ["rides", "rides@000000000001:mean"], LATER)[0].values
    assert found == {"rides:mean": 5.0, "rides:median": 6.0, "rides@000000000001:mean": 1.0}
    states = store.states()
    assert [(each.view, each.current, each.rows) for each in states] == [(new, True, 1), (old, False, 1)]
    assert states[0].newest == START + 170 * MINUTE
    assert states[0].materialized_until == LATER


def test_what_one_process_wrote_another_finds(place: Place, opened: "Opened") -> None:
    ready(opened(place), view(), [row(170, mean=3.0)])
    other = opened(place)
    other.register((view(),))
    assert other.lookup([BONN], ["rides:mean"], LATER)[0].values == {"rides:mean": 3.0}
    assert other.states()[0].materialized_until == LATER


@pytest.mark.parametrize(
    ("keys", "features", "said"),
    [
        ([BONN], ["nothing:mean"], "nothing:mean: there is none"),
        ([BONN], ["rides:nothing"], "rides has mean, count, kind, open"),
        ([BONN], ["rides@00000000000c:mean"], "there is none"),
        ([BONN], ["rides.mean"], "is no feature"),
        ([BONN], [], "name at least one"),
        ([], ["rides:mean"], "give 1 to 1000"),
        ([{"city": "bonn"}], ["rides:mean"], "needs zone, as an integer"),
        ([{"city": "bonn", "zone": "1"}], ["rides:mean"], "needs zone, as an integer"),
        ([{"city": "bonn", "zone": True}], ["rides:mean"], "needs zone, as an integer"),
        ([{"city": "bonn", "zone": 2**63}], ["rides:mean"], "64 bits"),
    ],
)
def test_what_cannot_be_looked_up_is_refused_with_the_reason(
    embedded: "FeastStore", keys: Any, features: list[str], said: str
) -> None:
    ready(embedded, view(), [row(0)])
    with pytest.raises(PermanentError, match=said):
        embedded.lookup(keys, features, LATER)


def test_a_view_that_was_never_materialized_says_so(embedded: "FeastStore") -> None:
    embedded.register((view(),))
    with pytest.raises(PermanentError, match="has not been materialized yet"):
        embedded.lookup([BONN], ["rides:mean"], LATER)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (pa.table({"city": ["bonn"], "zone": [1]}), "no column 'event_timestamp'"),
        (pa.table({"city": ["bonn"], "zone": [1], EVENT_TIME: [datetime(2026, 3, 2)]}), "a time with a zone"),  # noqa: DTZ001
        (pa.table({"city": ["bonn"], EVENT_TIME: [START]}), "needs the column zone"),
        (pa.table({"city": ["bonn"], "zone": ["x"], EVENT_TIME: [START]}), "of another kind"),
        (pa.table({"city": ["bonn"], "zone": [1], EVENT_TIME: [START], "rides:mean": [1]}), "'rides:mean' already"),
    ],
)
def test_rows_that_no_training_set_can_be_made_of_are_refused(embedded: "FeastStore", rows: pa.Table, said: str) -> None:
    ready(embedded, view(), [row(0)])
    with pytest.raises(PermanentError, match=said):
        embedded.training_set(rows, ["rides:mean"])


@FEASTS_OWN
def test_a_training_set_is_what_feast_finds(embedded: "FeastStore") -> None:
    """On random rows that come late and have gaps longer than the ttl; Feast multiplies, so few of them.

    Not asked of Feast 0.67, whose file store cannot: keys that it has no row of (it breaks down), and two rows of one key and
    moment (it takes either). Those are in the laws of `joining`.
    """
    dice, of, other = (
        random.Random(3),
        view(ttl=timedelta(minutes=25)),
        view("00000000000b", name="zones", entities={"zone": "integer"}),
    )
    embedded.register((of, other))
    seen: set[Any] = set()
    for number in range(4):
        for each in (of, other):
            rows = []
            for _ in range(40):
                city, zone, minute = dice.choice(["bonn", "köln"]), dice.randint(1, 2), dice.randint(0, 240)
                key = (each.name, zone, minute) if each is other else (each.name, city, zone, minute)
                if key not in seen:
                    seen.add(key)
                    kind = None if minute % 5 == 0 else f"k{minute}"
                    rows.append(row(minute, city, zone, mean=dice.random(), count=dice.randint(0, 9), kind=kind))
            add(embedded, each, rows, at=number)
    for each in (of, other):
        embedded.publish(each)
    moments = sorted({(dice.choice(["bonn", "köln"]), dice.randint(1, 2), float(dice.randint(0, 260))) for _ in range(120)})
    rows_asked = asked(*moments)
    names = ["mean", "count", "kind"]
    ours = embedded.training_set(rows_asked, [*(f"rides:{name}" for name in names), *(f"zones:{name}" for name in names)])
    job = embedded._feast.get_historical_features(
        entity_df=rows_asked.to_pandas(),
        features=[f"{each.id}:{name}" for each in (of, other) for name in names],
        full_feature_names=True,
    )
    on = ["city", "zone", EVENT_TIME]
    both = ours.to_pandas().merge(job.to_df(), on=on, how="left", indicator=True, validate="one_to_one")
    columns = {f"{each.name}:{name}": f"{each.id}__{name}" for each in (of, other) for name in names}
    kept = both[both["_merge"] == "both"]
    assert len(kept) > 60
    for mine, theirs in columns.items():
        pairs = zip(kept[mine], kept[theirs], strict=True)
        assert all(left == right or (pd.isna(left) and pd.isna(right)) for left, right in pairs), mine
    # Feast's file store leaves a row out when a view has nothing of its key that is fresh enough; ours has nulls there.
    for _, row_without in both[both["_merge"] == "left_only"].iterrows():
        assert any(pd.isna(row_without[f"{each.name}:count"]) for each in (of, other))


@FEASTS_OWN
def test_what_is_materialized_is_what_feast_materializes(tmp_path: Path, opened: "Opened") -> None:
    """Where nothing came late, which is all that Feast sees."""
    dice = random.Random(5)
    rows = [
        row(dice.randint(0, 170), dice.choice(["bonn", "köln", "ulm"]), dice.randint(1, 3), mean=dice.random())
        for _ in range(60)
    ]
    rows = list({(each["city"], each["zone"], each[EVENT_TIME]): each for each in rows}.values())
    ours, theirs = opened(Place(tmp_path / "ours")), opened(Place(tmp_path / "theirs"))
    for store in (ours, theirs):
        store.register((view(),))
        add(store, view(), rows)
        store.publish(view())
    ours.materialize(view(), LATER, NOW)
    theirs._feast.materialize(START - MINUTE, LATER, feature_views=[view().id])
    keys = [{"city": city, "zone": zone} for city in ("bonn", "köln", "ulm") for zone in (1, 2, 3)]
    assert ours.lookup(keys, ALL, LATER) == theirs.lookup(keys, ALL, LATER)


def test_a_view_that_another_machine_registered_is_materialized_in_ones_own_online_store(
    tmp_path: Path, opened: "Opened"
) -> None:
    shared = f"sqlite:///{tmp_path / 'registry.db'}"
    opened(Place(tmp_path / "there", registry=shared)).register((view(),))
    here = opened(Place(tmp_path / "here", registry=shared))
    here.offline.ensure(view())
    ready(here, view(), [row(170, mean=2.5)])
    assert here.lookup([BONN], ["rides:mean"], LATER)[0].values == {"rides:mean": 2.5}


def test_a_look_finds_what_is_in_ones_own_registry_now(tmp_path: Path, opened: "Opened") -> None:
    """Feast took one registry for another, once in some hundred looks: it goes by where in memory they are."""
    full, empty = (opened(Place(tmp_path / name, registry=f"sqlite:///{tmp_path / name}.db")) for name in ("full", "empty"))
    full.register((view(),))
    for _ in range(100):
        assert len(full.states()) == 1
        full._feast.registry.cached_registry_proto = None
        assert empty.states() == ()
        empty._feast.registry.cached_registry_proto = None


def test_feast_finds_online_what_we_find(store: "FeastStore") -> None:
    ready(store, view(), [row(170, mean=2.5)])
    found = store._feast.get_online_features(features=[f"{view().id}:mean", f"{view().id}:kind"], entity_rows=[BONN]).to_dict()
    assert (found["mean"], found["kind"]) == ([2.5], ["x"])


def test_a_redis_that_is_away_is_a_temporary_error_without_its_password(tmp_path: Path, opened: "Opened") -> None:
    store = opened(Place(tmp_path / "features", online="redis://user:hidden@127.0.0.1:1/0"))
    store.register((view(),))
    add(store, view(), [row(0)])
    with pytest.raises(TemporaryError) as told:
        store.materialize(view(), LATER, NOW)
    assert "hidden" not in str(told.value)
    assert "hidden" not in repr(store._place)


def test_a_redis_url_becomes_what_feast_reads() -> None:
    assert redis_connection("rediss://ann:p%40ss@cache:7000/3") == (
        'cache:7000,db=3,socket_timeout=2,socket_connect_timeout=2,ssl=true,username="ann",password="p@ss"'
    )
    for url in ("http://cache", "redis://cache/x", "redis://:a,b@cache"):
        with pytest.raises(PermanentError, match="the online store"):
            redis_connection(url)
