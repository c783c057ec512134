"""Entities as an experiment counts them: each once, in the arm and the step in which it was first answered.

One pass over the predictions of the experiment, grouped by entity. What counts of an entity is its first answer, so that
nothing which comes later moves a step that has been counted, but for entities that turn up in a second arm: they are left out.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tools.clickhouse.connection import NoTable
from tools.predictions.port import Exposed, Exposures, Values
from tools.predictions.schema import values_table
from tools.predictions.statements import Query

_MICROSECOND = timedelta(microseconds=1)
_IN_MEMORY = 512 * 1024 * 1024
"""Bytes of entities that are grouped in memory; beyond it they go to disk. An entity takes about a hundred."""
_SETTINGS = f"SETTINGS max_bytes_before_external_group_by = {_IN_MEMORY}"
_SLOT = "intDiv(toInt64(bitShiftRight(first, 64)) - {start0:Int64}, {step:Int64})"

_MICROS = "bitShiftRight(answer, 1)"


@dataclass(frozen=True, slots=True)
class Asked:
    versions: tuple[str, ...]
    step: timedelta
    slow_ms: float | None
    metrics: tuple[str, ...]
    within: timedelta


def exposures(query: Query, asked: Asked) -> Exposures:
    """Of the query's one window."""
    slow_ms = asked.slow_ms
    given = {
        "step": asked.step // _MICROSECOND,
        "slow": 1000 * slow_ms if slow_ms is not None else 0.0,
        "arms": list(asked.versions),
        "metrics": list(asked.metrics),
        "within": asked.within // _MICROSECOND,
    }
    answered = f"""
    SELECT {_SLOT} AS slot, arm, mixed, count(), countIf(bitTest(answer, 0)),
        countIf({_MICROS} > {{slow:Float64}}), sum({_MICROS} / 1000), sum(pow({_MICROS} / 1000, 2))
    FROM {_entities(query)} GROUP BY slot, arm, mixed ORDER BY slot, arm, mixed {_SETTINGS}
    """
    labelled = f"""
    SELECT {_SLOT} AS slot, arm, count(), countIf(truth != class)
    FROM (SELECT first, arm, class, toUInt64(first) AS id FROM {_entities(query)} WHERE NOT mixed AND class != 0) AS e
    INNER JOIN (SELECT cityHash64(id) AS id, cityHash64(label) AS truth FROM {query.labels}) AS l ON e.id = l.id
    GROUP BY slot, arm {_SETTINGS}
    """
    everybody = query.predictions(("entity", "version"))
    nobody = f"SELECT count() FROM {everybody} WHERE entity = '' AND version IN {{arms:Array(String)}}"
    right = {(place, arm): (known, wrong) for place, arm, known, wrong in query.rows(labelled, given)}
    worth = _worth(query, given) if asked.metrics else {}
    found, mixed = [], 0
    for place, arm, twice, count, failed, slow, total, squares in query.rows(answered, given):
        if twice:
            mixed += count
            continue
        known, wrong = right.get((place, arm), (0, 0))
        brought = {name: worth.get((place, arm, name), (0, 0, 0.0, 0.0)) for name in asked.metrics}
        found.append(
            Exposed(
                start=query.windows[0].start + place * asked.step,
                version=asked.versions[arm - 1],
                entities=count,
                failed=failed,
                slow=slow if slow_ms is not None else None,
                labelled=known,
                wrong=wrong,
                latency_ms=Values(count=count, total=total, squares=squares),
                values={name: Values(count=n, total=s, squares=q) for name, (n, _, s, q) in brought.items()},
                positive={name: positive for name, (_, positive, _, _) in brought.items()},
            )
        )
    ((anonymous,),) = query.rows(nobody, given)
    return Exposures(steps=tuple(found), mixed=mixed, anonymous=anonymous)


def _worth(query: Query, given: dict[str, Any]) -> dict[tuple[int, int, str], tuple[int, int, float, float]]:
    """By slot, arm and measure: how many entities brought something, how many of them more than nothing, sum and squares."""
    told = f"""(
        SELECT id, name, value, toUnixTimestamp64Micro(at) AS told FROM {values_table(query.model)} FINAL
        WHERE name IN {{metrics:Array(String)}} AND at >= fromUnixTimestamp64Micro({{labelled_from:Int64}}, 'UTC')
    )"""
    made = f"""(
        SELECT sipHash128(p.entity) AS who, v.name AS name, v.value AS value,
            greatest(toUnixTimestamp64Micro(p.at), v.told) AS due
        FROM {query.predictions(("id", "at", "entity", "version"))} AS p INNER JOIN {told} AS v ON p.id = v.id
        WHERE p.entity != '' AND p.version IN {{arms:Array(String)}}
    )"""
    statement = f"""
    SELECT slot, arm, name, count(), countIf(total > 0), sum(total), sum(total * total) FROM (
        SELECT {_SLOT} AS slot, arm, name, sum(value) AS total
        FROM {made} AS m INNER JOIN {_entities(query)} AS e ON m.who = e.who
        WHERE NOT mixed AND due < toInt64(bitShiftRight(first, 64)) + {{within:Int64}}
        GROUP BY slot, arm, name, e.who
    ) GROUP BY slot, arm, name {_SETTINGS}
    """
    try:
        rows = query.rows(statement, given)
    except NoTable:  # made with the first value
        return {}
    return {(place, arm, name): (count, positive, total, squares) for place, arm, name, count, positive, total, squares in rows}


def _entities(query: Query) -> str:
    """Entities as a table. `first`: when they were first answered, in microseconds, above the 64 bits of the prediction's hash,
    which tells rows of one request apart. `answer`: how long that took, in microseconds, above the bit that says whether it
    failed. `class`: the hash of what was predicted, 0 where nothing was. `arm`: place in `arms`, from 1. `mixed`: seen in two.

    Of fixed size, all of it: with texts in it the same takes eight times as long.
    """
    when = "toUInt128(toUnixTimestamp64Micro(at))"
    return f"""(
        SELECT who, min(place) AS first, argMin(told, place) AS answer, argMin(predicted, place) AS class,
            min(own) AS arm, max(own) != min(own) AS mixed
        FROM (
            SELECT sipHash128(entity) AS who, bitShiftLeft({when}, 64) + cityHash64(id) AS place,
                toUInt8(indexOf({{arms:Array(String)}}, version)) AS own,
                bitShiftLeft(latency_us, 1) + (error IS NOT NULL) AS told,
                if(prediction IS NULL, 0, cityHash64(assumeNotNull(prediction))) AS predicted
            FROM {query.predictions(("entity", "version", "at", "id", "error", "latency_us", "prediction"))}
            WHERE entity != '' AND version IN {{arms:Array(String)}}
        ) GROUP BY who
    )"""
