"""Entities as an experiment counts them: each once, in the arm and the step in which it was first answered.

One pass over the predictions of the experiment, grouped by entity. What counts of an entity is its first answer, so that
nothing which comes later moves a step that has been counted, but for entities that turn up in a second arm: they are left out.
"""

from collections.abc import Sequence
from datetime import timedelta

from tools.predictions.port import Exposed, Exposures, Sums
from tools.predictions.statements import Query

_MICROSECOND = timedelta(microseconds=1)
_IN_MEMORY = 512 * 1024 * 1024
"""Bytes of entities that are grouped in memory; beyond it they go to disk. An entity takes about a hundred."""
_SETTINGS = f"SETTINGS max_bytes_before_external_group_by = {_IN_MEMORY}"
_SLOT = "intDiv(toInt64(bitShiftRight(first, 64)) - {start0:Int64}, {step:Int64})"

_MICROS = "bitShiftRight(answer, 1)"


def exposures(query: Query, versions: Sequence[str], step: timedelta, slow_ms: float | None) -> Exposures:
    """Of the query's one window."""
    given = {"step": step // _MICROSECOND, "slow": 1000 * slow_ms if slow_ms is not None else 0.0, "arms": list(versions)}
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
    found, mixed = [], 0
    for place, arm, twice, count, failed, slow, total, squares in query.rows(answered, given):
        if twice:
            mixed += count
            continue
        known, wrong = right.get((place, arm), (0, 0))
        found.append(
            Exposed(
                start=query.windows[0].start + place * step,
                version=versions[arm - 1],
                entities=count,
                failed=failed,
                slow=slow if slow_ms is not None else None,
                labelled=known,
                wrong=wrong,
                latency_ms=Sums(count=count, total=total, squares=squares),
            )
        )
    ((anonymous,),) = query.rows(nobody, given)
    return Exposures(steps=tuple(found), mixed=mixed, anonymous=anonymous)


def _entities(query: Query) -> str:
    """Entities as a table. `first`: when they were first answered, in microseconds, above the 64 bits of the prediction's hash,
    which tells rows of one request apart. `answer`: how long that took, in microseconds, above the bit that says whether it
    failed. `class`: the hash of what was predicted, 0 where nothing was. `arm`: place in `arms`, from 1. `mixed`: seen in two.

    Of fixed size, all of it: with texts in it the same takes eight times as long.
    """
    when = "toUInt128(toUnixTimestamp64Micro(at))"
    return f"""(
        SELECT min(place) AS first, argMin(told, place) AS answer, argMin(predicted, place) AS class,
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
