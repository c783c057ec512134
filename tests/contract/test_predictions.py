"""The prediction store's port over its backends: the twin, the embedded engine, and the engine behind HTTP."""

import asyncio
import math
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.predictions import HOUR, START, Loads, at, filled, fresh_model, labelled, predicted, segment
from tests.twins.predictions import TwinPredictions
from tools.predictions.port import LABEL, FeatureProfile, Loaded, PredictionStore, Slice, VersionWindow
from tools.predictions.records import FeatureValue, LabelRecord, Record
from tools.values import LeftOut, Window

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("predictions")]


async def only_version(store: PredictionStore, model: str, window: Window = HOUR) -> VersionWindow:
    (version,) = await store.versions(model, window)
    return version


async def profile(store: PredictionStore, model: str, name: str = "x", **how: object) -> FeatureProfile:
    found = await store.feature_profiles(model, HOUR, **how)  # type: ignore[arg-type]
    return next(each for each in found if each.name == name)


async def test_it_is_a_prediction_store_and_answers(store: PredictionStore) -> None:
    assert isinstance(store, PredictionStore)
    await store.ping()


async def test_a_model_that_never_predicted_is_empty_everywhere(store: PredictionStore, model: str) -> None:
    assert model not in await store.models()
    assert await store.versions(model, HOUR) == ()
    assert await store.feature_profiles(model, HOUR) == ()
    assert await store.slices(model, "1", HOUR) == ()
    (period,) = await store.periods(model, [HOUR], steps=3)
    assert (period.versions, period.features, period.slices, [step.count for step in period.volume]) == ((), (), {}, [0, 0, 0])
    volume = await store.volume(model, HOUR, timedelta(minutes=30))
    assert [(step.start, step.count, step.errors) for step in volume] == [(START, 0, 0), (START + timedelta(minutes=30), 0, 0)]


async def test_models_are_known_by_the_names_they_have(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(predicted("a", model), labelled("a", f"{model} of labels", "late"))
    assert {model, f"{model} of labels"} <= {*await store.models()}
    assert await store.versions(f"{model} of labels", HOUR) == ()


async def test_versions_are_counted_apart_and_in_order(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        predicted("a", model, version="2", prediction="late", score=0.9),
        predicted("b", model, version="1", prediction="on time", score=0.2),
        predicted("c", model, version="2", prediction="on time", score=0.4),
        predicted("d", model, version="2", prediction=None, score=None, error="no such feature"),
    )
    first, second = await store.versions(model, HOUR)
    assert (first.version, first.count, first.errors, first.outputs) == ("1", 1, 0, {"on time": 1})
    assert (second.version, second.count, second.errors, second.outputs) == ("2", 3, 1, {"late": 1, "on time": 1})
    assert second.mean_score == pytest.approx(0.65)
    assert second.error_rate == pytest.approx(1 / 3)
    assert (second.model, second.window) == (model, HOUR)


async def test_a_window_takes_its_start_and_leaves_its_end(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*(predicted(str(minutes), model, minutes=minutes) for minutes in (-1 / 60_000_000, 0, 30, 60)))
    assert (await only_version(store, model)).count == 2


async def test_latency_quantiles_are_exact(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*(predicted(str(n), model, latency_us=1_000 * n) for n in reversed(range(1, 201))))
    found = await only_version(store, model)
    assert (found.latency_p50_ms, found.latency_p95_ms, found.latency_p99_ms) == (101, 191, 199)


async def test_labels_count_for_the_window_of_their_prediction(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*(predicted(str(n), model, prediction="late") for n in range(5)), predicted("later", model, minutes=61))
    before = await only_version(store, model)
    assert (before.labelled, before.correct, before.accuracy, before.last_label_at) == (0, 0, None, None)
    await loads(
        labelled("0", model, "late", minutes=70), labelled("1", model, "on time", minutes=80), labelled("later", model, "late")
    )
    after = await only_version(store, model)
    assert (after.count, after.labelled, after.correct, after.labels) == (5, 2, 1, {"late": 1, "on time": 1})
    assert after.last_label_at == START + timedelta(minutes=80)
    assert after.mean_absolute_error is None


async def test_a_label_may_be_loaded_before_its_prediction(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(labelled("a", model, "late"))
    await loads(predicted("a", model, prediction="late"))
    assert (await only_version(store, model)).correct == 1


async def test_the_newest_label_wins_in_whatever_order_they_are_loaded(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(*(predicted(name, model, prediction="late") for name in "ab"))
    await loads(labelled("a", model, "late", minutes=80), labelled("b", model, "on time", minutes=70))
    await loads(labelled("b", model, "late", minutes=75), labelled("a", model, "on time", minutes=60))
    found = await only_version(store, model)
    assert (found.labelled, found.correct, found.labels) == (2, 2, {"late": 2})


async def test_a_label_that_comes_again_is_one(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(predicted("a", model), labelled("a", model, "late"), labelled("a", model, "late"))
    await loads(labelled("a", model, "late"))
    assert (await only_version(store, model)).labelled == 1


async def test_a_correction_in_another_month_still_wins(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(predicted("a", model, prediction="late"), labelled("a", model, "on time"))
    await loads(labelled("a", model, "late", minutes=60 * 24 * 40))
    assert (await only_version(store, model)).correct == 1


async def test_labels_of_nobody_of_other_models_and_of_errors_do_not_count(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(
        predicted("a", model),
        predicted("b", model, prediction=None, score=None, error="timeout"),
        labelled("b", model, "late"),
        labelled("nobody", model, "late"),
        LabelRecord(id=f"{model}/a", model=f"{model}-other", at=at(90), label="late"),
    )
    assert (await only_version(store, model)).labelled == 0


async def test_regression_is_measured_by_its_error(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*(predicted(str(n), model, prediction=None, score=float(n)) for n in range(4)))
    await loads(
        labelled("0", model, "1.5"), labelled("1", model, "0.5"), labelled("2", model, "?"), labelled("3", model, "nan")
    )
    found = await only_version(store, model)
    assert found.mean_absolute_error == pytest.approx(1.0)
    assert (found.labelled, found.correct, found.outputs, found.labels) == (4, None, {}, {})


async def test_tallies_are_by_step_and_version(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        predicted("a", model, version="2", minutes=1, prediction="late", latency_us=90_000),
        predicted("b", model, version="1", minutes=2, prediction="late", latency_us=10_000),
        predicted("c", model, version="2", minutes=12, prediction="late", latency_us=51_000),
        predicted("d", model, version="2", minutes=13, prediction=None, score=None, error="no such feature", latency_us=1_000),
        predicted("e", model, version="2", minutes=14, prediction="on time", latency_us=50_000),
        predicted("f", model, version="2", minutes=61, prediction="late"),
        labelled("a", model, "on time"),
        labelled("c", model, "late"),
        labelled("d", model, "late"),
    )
    ten = timedelta(minutes=10)
    found = await store.tallies(model, HOUR, ten, slow_ms=50)
    later = {"start", "loss", "cost", "metric"}
    assert [each.model_dump(exclude=later) for each in found] == [
        {"version": "1", "count": 1, "errors": 0, "slow": 0, "labelled": 0, "wrong": 0},
        {"version": "2", "count": 1, "errors": 0, "slow": 1, "labelled": 1, "wrong": 1},
        {"version": "2", "count": 3, "errors": 1, "slow": 1, "labelled": 1, "wrong": 0},
    ]
    assert [each.start for each in found] == [START, START, START + ten]
    assert [each.slow for each in await store.tallies(model, HOUR, ten)] == [None] * 3
    assert await store.tallies("nobody", HOUR, ten) == ()


async def test_tallies_of_numbers_have_nothing_wrong(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(predicted("a", model, prediction=None, score=3.5), labelled("a", model, "4"))
    (only,) = await store.tallies(model, HOUR, timedelta(hours=1))
    assert (only.labelled, only.wrong) == (1, None)


async def test_volume_has_every_step_and_a_short_last_one(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        *(predicted(str(n), model, minutes=n) for n in (0, 24.999, 25, 59.9)),
        predicted("e", model, minutes=1, prediction=None, error="timeout"),
    )
    steps = await store.volume(model, HOUR, timedelta(minutes=25))
    assert [step.start - START for step in steps] == [timedelta(minutes=minutes) for minutes in (0, 25, 50)]
    assert [(step.count, step.errors) for step in steps] == [(3, 1), (1, 0), (1, 0)]


async def test_numbers_are_profiled_in_twentieths(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*filled(model, [*range(1, 101), None, None]))
    found = await profile(store, model)
    assert (found.kind, found.count, found.nulls) == ("numeric", 102, 2)
    assert (found.mean, found.minimum, found.maximum) == (50.5, 1, 100)
    assert found.edges == pytest.approx([1 + 99 * step / 20 for step in range(1, 20)])
    assert found.counts == (5,) * 20


async def test_a_flag_has_a_bin_for_each_side_and_for_what_is_neither(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*filled(model, [True] * 30 + [False] * 10))
    found = await profile(store, model)
    assert found.edges[0] == 0
    assert found.edges[-1] > 1
    assert (found.counts[0], *filter(None, found.counts), found.counts[-1]) == (0, 10, 30, 0)


async def test_a_constant_that_moves_is_seen_to_move(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(
        *filled(model, [5.0] * 10), *filled(model, [7.5] * 4 + [5.0], version="2"), *filled(model, [4.0] * 3, version="3")
    )
    reference = await profile(store, model, version="1")
    assert reference.counts == (0, 10, 0)
    assert (await profile(store, model, version="2", like=[reference])).counts == (0, 1, 4)
    assert (await profile(store, model, version="3", like=[reference])).counts == (3, 0, 0)


async def test_a_profile_like_another_is_on_its_bins(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*filled(model, range(100)), *filled(model, [-50, *range(50, 99), 1e9, None], version="2"))
    reference = await profile(store, model, version="1")
    other = await profile(store, model, version="2", like=[reference])
    assert other.edges == reference.edges
    assert (other.count, other.nulls, other.minimum, other.maximum) == (52, 1, -50, 1e9)
    assert other.counts == (1, *[0] * 9, *[5] * 10)


async def test_values_on_an_edge_belong_above_it(store: PredictionStore, loads: Loads, model: str) -> None:
    values = [0.1, 0.2, 0.30000000000000004, 1 / 3, 1e-300, -0.0, 123456789.123456789]
    await loads(*filled(model, values))
    like = FeatureProfile(name="x", kind="numeric", count=0, nulls=0, edges=tuple(sorted(values)))
    assert (await profile(store, model, like=[like])).counts == (0, *[1] * 7)


async def test_categories_are_the_twenty_most_frequent_and_the_rest(store: PredictionStore, loads: Loads, model: str) -> None:
    values = [f"c{n:02}" for n in range(25) for _ in range(40 - n)]
    await loads(*filled(model, [*values, None]))
    found = await profile(store, model)
    assert (found.kind, found.count, found.nulls) == ("categorical", len(values) + 1, 1)
    assert found.categories == tuple(f"c{n:02}" for n in range(20))
    assert found.counts == (*(40 - n for n in range(20)), sum(40 - n for n in range(20, 25)))


async def test_categories_like_another_s_put_new_ones_among_the_rest(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*filled(model, "aab"), *filled(model, ["b", "z", "z", None], version="2"))
    reference = await profile(store, model, version="1")
    other = await profile(store, model, version="2", like=[reference])
    assert (other.categories, other.counts, other.nulls) == (("a", "b"), (0, 1, 2), 1)


async def test_a_window_without_values_has_profiles_without_values(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(predicted("a", model, minutes=-30, x=1, city="JFK"), predicted("b", model, x=None, city=None))
    for found in await store.feature_profiles(model, HOUR):
        assert (found.count, found.nulls, sum(found.counts), found.mean, found.edges, found.categories) == (
            1,
            1,
            0,
            None,
            (),
            (),
        )
        assert len(found.counts) == 1
    empty = await store.feature_profiles(model, HOUR.shifted(timedelta(days=9)))
    assert [(found.count, found.nulls, found.null_rate) for found in empty] == [(0, 0, None), (0, 0, None)]


async def test_features_come_in_the_order_of_their_arrival(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(predicted("a", model, zulu=1, alpha=None), predicted("b", model, alpha="x", mike=2))
    await loads(predicted("c", model, beta=True))
    assert [found.name for found in await store.feature_profiles(model, HOUR)] == ["zulu", "alpha", "mike", "beta"]


async def test_a_feature_that_is_new_is_null_where_it_was_not(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*filled(model, [1, 2]))
    await loads(predicted("new", model, x=3, gust=12.5))
    gust = await profile(store, model, "gust")
    assert (gust.count, gust.nulls, gust.mean) == (3, 2, 12.5)


async def test_a_value_of_another_type_is_null_and_its_row_is_kept(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*filled(model, [1, "one", 2.0, 10**400, True]))
    found = await profile(store, model)
    assert (found.kind, found.count, found.nulls, found.maximum) == ("numeric", 5, 2, 2)
    await loads(predicted("a", model, city="JFK"), predicted("b", model, city=11))
    assert (await profile(store, model, "city")).counts == (1, 0)
    assert (await only_version(store, model)).count == 7


async def test_a_shape_of_another_kind_or_of_a_stranger_is_passed_over(
    store: PredictionStore, loads: Loads, model: str
) -> None:
    await loads(*filled(model, range(40)))
    plain = await profile(store, model)
    odd = FeatureProfile(name="x", kind="categorical", count=1, nulls=0, categories=("a",), counts=(1, 0))
    stranger = FeatureProfile(name="y", kind="numeric", count=1, nulls=0, edges=(1.0,), counts=(1, 0))
    assert await store.feature_profiles(model, HOUR, like=[odd, stranger]) == (plain,)


async def test_slices_are_the_accuracy_by_frequent_values(store: PredictionStore, loads: Loads, model: str) -> None:
    rows = [("a", "JFK", "late"), ("b", "JFK", "on time"), ("c", "EWR", "late"), ("d", None, "late"), ("e", "LGA", None)]
    await loads(*(predicted(id, model, origin=origin, distance=700) for id, origin, _ in rows))
    await loads(predicted("f", model, version="2", origin="JFK"), labelled("f", model, "late"))
    await loads(*(labelled(id, model, label) for id, _, label in rows if label is not None))
    assert await store.slices(model, "1", HOUR) == (
        Slice(feature="origin", value="JFK", labelled=2, correct=1),
        Slice(feature="origin", value="EWR", labelled=1, correct=1),
    )


async def test_slices_show_twenty_values_of_a_feature(store: PredictionStore, loads: Loads, model: str) -> None:
    rows = [(f"{tail}-{n}", f"N{tail:03}") for tail in range(30) for n in range(40 - tail)]
    await loads(
        *(predicted(id, model, tail=tail, origin="JFK") for id, tail in rows), *(labelled(id, model, "late") for id, _ in rows)
    )
    found = await store.slices(model, "1", HOUR)
    assert [each.value for each in found if each.feature == "tail"] == [f"N{tail:03}" for tail in range(20)]
    assert [each.labelled for each in found if each.feature == "origin"] == [len(rows)]


async def test_a_segment_is_loaded_once_however_often(store: PredictionStore, tmp_path: Path, model: str) -> None:
    path = segment(tmp_path, [*filled(model, range(10)), labelled("1-1-0", model, "late")])
    assert await store.load(path) == Loaded(records=11, rejected=0)
    await store.load(segment(tmp_path, filled(model, [1], version="2")))
    assert await store.load(path) == Loaded(records=11, rejected=0)
    assert [(found.count, found.labelled) for found in await store.versions(model, HOUR)] == [(10, 1), (1, 0)]


async def test_a_segment_over_the_turn_of_a_month_is_loaded_once_too(
    store: PredictionStore, tmp_path: Path, model: str
) -> None:
    days = [predicted(str(day), model, minutes=60 * 24 * day, x=day) for day in range(-45, 46)]
    path = segment(tmp_path, days)
    await store.load(path)
    await store.load(path)
    assert (
        await only_version(store, model, Window(start=START - timedelta(days=50), end=START + timedelta(days=50)))
    ).count == 91


async def test_an_empty_segment_is_nothing(store: PredictionStore, tmp_path: Path) -> None:
    assert await store.load(segment(tmp_path, [])) == Loaded(records=0, rejected=0)


async def test_lines_that_are_no_records_are_set_aside_with_the_reason(
    store: PredictionStore, tmp_path: Path, model: str
) -> None:
    path = segment(tmp_path, [predicted("a", model, x=1), predicted("b", model, x=2)])
    good = path.read_bytes().splitlines(keepends=True)
    bad = {
        b"not json\n": "malformed",
        b'{"kind":"prediction","id":"x"}\n': "missing required field",
        b'{"kind":"opinion"}\n': "Invalid value",
        b'"\xff\xfe"\n': "",
        good[0].replace(b'"latency_us":2000', b'"latency_us":-1'): "latency_us",
        good[0].replace(str(at(1)).encode(), b"17"): "at: 17 is not between",
        good[0].replace(str(at(1)).encode(), b"9" * 30): "at",
        b"[" * 100_000 + b"\n": "",
        good[0][:-20]: "truncated",
    }
    path.write_bytes(b"\n" + good[0] + b"".join([*bad][:4]) + b"\n\n" + good[1] + b"".join([*bad][4:]))
    for _ in range(2):
        assert await store.load(path) == Loaded(records=2, rejected=len(bad))
    aside = path.with_suffix(".rejected").read_bytes().split(b"\n# ")
    assert len(aside) == len(bad)
    for (line, reason), found in zip(bad.items(), aside, strict=True):
        told, _, kept = found.partition(b"\n")
        assert reason.encode() in told
        assert kept.strip() == line.strip()
    assert (await only_version(store, model)).count == 2


async def test_questions_at_once_are_all_answered(store: PredictionStore, loads: Loads, model: str) -> None:
    await loads(*filled(model, range(100)))
    answers = await asyncio.gather(*(store.versions(model, HOUR) for _ in range(12)))
    assert {version.count for (version,) in answers} == {100}


_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    [
        "id",
        "at",
        "version",
        "n_x",
        "x.null",
        "x",
        "X",
        "`",
        "a`; DROP TABLE oppen_model_tables; --",
        "{x:String}",
        "%s",
        "\\",
        "\0",
        "'",
    ]
)
_VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1e6, 1e6) | st.sampled_from("abcd") | _NAMES


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=_NAMES, rows=st.lists(st.dictionaries(_NAMES, _VALUES, max_size=6), min_size=1, max_size=6), version=_NAMES)
async def test_names_and_values_from_outside_are_only_ever_data(
    store: PredictionStore, tmp_path: Path, name: str, rows: list[dict[str, FeatureValue]], version: str
) -> None:
    """Whatever they are called, they come back under that name, and the twin agrees about every figure."""
    model = fresh_model() + name
    records: list[Record] = [
        msgspec.structs.replace(
            predicted(str(n), model, version=version, prediction=name), entity=name, features=row, latency_us=n
        )
        for n, row in enumerate(rows)
    ]
    records += [labelled("0", model, name), labelled("1", model, "no")]
    twin = TwinPredictions()
    twin.add(records)
    await store.load(segment(tmp_path, records))
    assert model in await store.models()
    await agree(store, twin, model, [version])


class Event(NamedTuple):
    version: str
    minutes: float
    prediction: str | None
    score: float | None
    latency_us: int
    features: dict[str, FeatureValue]
    labels: list[tuple[float, str]]
    """When, and which."""


_FEATURES: dict[str, st.SearchStrategy[FeatureValue]] = {
    "wind": st.floats(-100, 100) | st.none(),
    "stops": st.integers(0, 2),
    "night": st.booleans(),
    "carrier": st.sampled_from(["AA", "B6", "DL", None]),
    "odd": st.sampled_from([1, "one", 2.5, None]),
}
_WORLDS = st.lists(
    st.builds(
        Event,
        version=st.sampled_from(["1", "2", "10"]),
        minutes=st.floats(-5, 65),
        prediction=st.sampled_from(["late", "on time", None]),
        score=st.floats(0, 1) | st.none(),
        latency_us=st.integers(0, 10_000),
        features=st.fixed_dictionaries({}, optional=_FEATURES),
        labels=st.lists(st.tuples(st.floats(66, 99), st.sampled_from(["late", "on time", "0.5"])), max_size=2),
    ),
    max_size=60,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=_WORLDS)
async def test_every_backend_gives_the_figures_of_the_twin(store: PredictionStore, tmp_path: Path, world: list[Event]) -> None:
    model, twin = fresh_model(), TwinPredictions()
    records: list[Record] = []
    for n, event in enumerate(world):
        plain = predicted(str(n), model, version=event.version, minutes=event.minutes, prediction=event.prediction)
        failed = "failed" if event.prediction is None and event.score is None else None
        measured = {"score": event.score, "latency_us": event.latency_us, "error": failed, "features": event.features}
        records.append(msgspec.structs.replace(plain, **measured))
        records += [labelled(str(n), model, label, minutes=moment) for moment, label in event.labels]
    twin.add(records)
    half = len(records) // 2
    for part in (records[:half], records[half:]):
        await store.load(segment(tmp_path, part))
    await agree(store, twin, model, ["1", "2"])


async def agree(store: PredictionStore, twin: TwinPredictions, model: str, versions: list[str]) -> None:
    """On everything that can be asked about the model."""
    for ours, theirs in zip(await store.versions(model, HOUR), await twin.versions(model, HOUR), strict=True):
        assert near(ours) == near(theirs)
    step = timedelta(minutes=7)
    assert await store.volume(model, HOUR, step) == await twin.volume(model, HOUR, step)
    reference = await store.feature_profiles(model, HOUR)
    assert [near(each) for each in reference] == [near(each) for each in await twin.feature_profiles(model, HOUR)]
    for version in versions:
        assert await store.slices(model, version, HOUR) == await twin.slices(model, version, HOUR)
        like = await store.feature_profiles(model, HOUR, version=version, like=reference)
        assert [near(each) for each in like] == [
            near(each) for each in await twin.feature_profiles(model, HOUR, version=version, like=reference)
        ]

    # They overlap, one has nothing in it, and the first is what all profiles are on the bins of.
    late = Window(start=START + timedelta(minutes=20), end=HOUR.end)
    windows = [HOUR, late, HOUR.shifted(timedelta(days=9)), HOUR.shifted(timedelta(minutes=-40))]
    ours, theirs = await store.periods(model, windows, steps=7), await twin.periods(model, windows, steps=7)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.window, one.volume, one.slices) == (other.window, other.volume, other.slices)
        assert [near(each) for each in one.versions] == [near(each) for each in other.versions]
        assert [near(each) for each in one.features] == [near(each) for each in other.features]


def near(value: VersionWindow | FeatureProfile) -> dict[str, object]:
    """Sums are added up in another order; all else is the same to the last bit."""
    found = value.model_dump()
    for name in ("mean", "mean_score", "mean_absolute_error"):
        if isinstance(mean := found.get(name), float):
            found[name] = None if math.isnan(mean) else pytest.approx(mean, rel=1e-9, abs=1e-9)
    return found


async def test_a_sample_is_a_file_of_bounded_size_and_the_same_every_time(
    store: PredictionStore, loads: Loads, model: str, tmp_path: Path
) -> None:
    rows = [predicted(f"{n}", model, minutes=n / 20, x=n, word=f"w{n % 3}") for n in range(1_000)]
    await loads(*rows, predicted("other", model, version="2", x=-1))
    paths = [tmp_path / f"{name}.parquet" for name in "abc"]
    few = [await store.sample(model, HOUR, path, most=100, version="1") for path in paths[:2]]
    assert few[0] == few[1]
    assert few[0].rows == 1_000
    assert 50 < few[0].sampled <= 100
    found = pyarrow.parquet.read_table(paths[0])
    assert found.equals(pyarrow.parquet.read_table(paths[1]))
    assert (found.column_names, found.num_rows) == (["x", "word", "prediction", "score"], few[0].sampled)
    assert set(found["word"].to_pylist()) == {"w0", "w1", "w2"}
    half = LeftOut(window=Window(start=HOUR.start, end=HOUR.start + HOUR.length / 2), features=("x",))
    whole = await store.sample(model, HOUR, paths[2], most=5_000, version="1", without=[half])
    assert (whole.rows, whole.sampled) == (400, 400)
    assert min(pyarrow.parquet.read_table(paths[2])["x"].to_pylist()) == 600


async def test_a_labelled_sample_has_what_came_true(store: PredictionStore, loads: Loads, model: str, tmp_path: Path) -> None:
    rows = [predicted(f"{n}", model, minutes=n / 20, x=n, label=f"w{n % 3}") for n in range(300)]
    truth = [labelled(f"{n}", model, "late" if n % 2 else "on_time", minutes=90) for n in range(0, 300, 3)]
    await loads(*rows, *truth, labelled("0", model, "late", minutes=100))
    paths = [tmp_path / f"{name}.parquet" for name in "ab"]
    found = await store.sample(model, HOUR, paths[0], most=1_000, labelled=True)
    assert (found.rows, found.sampled) == (100, 100)
    table = pyarrow.parquet.read_table(paths[0])
    assert table.column_names == ["x", "label", "prediction", "score", LABEL]
    told = dict(zip(table["x"].to_pylist(), table[LABEL].to_pylist(), strict=True))
    assert told == {n: "late" if n % 2 or not n else "on_time" for n in range(0, 300, 3)}
    few = await store.sample(model, HOUR, paths[1], most=20, labelled=True)
    assert (few.rows, 5 < few.sampled <= 20) == (100, True)
    assert set(pyarrow.parquet.read_table(paths[1])["x"].to_pylist()) <= set(told)


async def test_of_nothing_there_is_an_empty_sample(store: PredictionStore, model: str, tmp_path: Path) -> None:
    assert (await store.sample(model, HOUR, tmp_path / "b.parquet", most=10, labelled=True)).sampled == 0
    found = await store.sample(model, HOUR, tmp_path / "a.parquet", most=10)
    assert (found.rows, found.sampled, pyarrow.parquet.read_table(tmp_path / "a.parquet").num_rows) == (0, 0, 0)
