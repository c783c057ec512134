"""Ten thousand rollouts of each kind, decided as real ones are; beside it the rules that people use, on the same streams.

    python -m benchmarks.canary --json

A model that is right in 96 % of its answers, 1,000 requests a minute, all labelled, a look every minute. The canary gets a
tenth of them. Each request is a coin of its version, so a minute is two binomial draws. Beside `agents.sequential`:

- the best test of fixed size: one-sided two-proportion z-test with the same allocation, level 5 %, 95 % power against the drop
  of two points; its smallest size is searched with exact binomial sums, and is told in canary samples as ours is. Its real
  error is a little above the level, which makes it smaller than it may be: that is left to it;
- the same test, peeked at after every minute;
- Flagger's rule: five failed checks altogether (`threshold: 5`) of the canary's metric of the last minute against a limit;
- Argo's rule: more failed measurements than `failureLimit` (3 in its examples) of the same; and four failed ones in a row.

The limit of the last two is half way between the model as it is and as it must not become; others are tried beside it.

Then canaries that turn bad late in a stage, judged by the failures of the default policy (a half point, beside two other
guardrails): whether that is found before they get more, and how soon.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.promotion_rules import Guardrails, Rollouts
from agents.rollout_facts import Counts, Period, Progress
from agents.rollouts import Choice, decide
from agents.sequential.answers import ALL_TRAFFIC, LATE, Terms, of_shares, worse_shares
from agents.sequential.shares import Shares
from simulations.checks import Checks
from simulations.stage import Stage as Screen
from tools.values import Window

ROLLOUTS = 10_000
ACCURACY = 0.96
DROP = 0.02
GAIN = 0.01
PER_MINUTE = 1_000
CANARY = 0.1
LONG_MINUTES = 1_440
"""How long the rollouts without a difference are looked at: a day at ten percent, and no look is missed."""
TRAFFIC = (100, 300, 3_000)
"""Requests a minute, beside `PER_MINUTE`: what a model with less has to wait for."""
LEVEL = 0.05
POWER = 0.95
MOST_WRONG = 0.05
LEAST_FOUND = 0.95
MOST_SAMPLES = 0.8
LEAST_ON_SCHEDULE = 0.95
AT_ONCE = 16
"""Rollouts whose capital is in memory at once: what stays in a core's cache is twice as fast."""
DRAWN_AT_ONCE = 250
FLAGGER_THRESHOLD = 5
ARGO_FAILURE_LIMIT = 3
ARGO_IN_A_ROW = 4
LIMIT = ACCURACY - DROP / 2
OTHER_LIMITS = (0.94, 0.93, 0.92, 0.91)

RULES = Rollouts(guardrails=Guardrails(errors=None, accuracy=0.01, latency=None))
"""The default policy, but for what these streams do not have."""
TERMS = Terms(
    margin=0.01,
    wrong_rollbacks=RULES.wrong_rollbacks,
    wrong_passes=RULES.wrong_passes,
    least=RULES.min_samples,
    stages=len(RULES.compared),
    late=LATE,
    kept=ALL_TRAFFIC,
)

DEFAULT = Rollouts()
FAILED = 0.005
FAILURES = replace(
    TERMS,
    margin=DEFAULT.guardrails.errors or FAILED,
    wrong_rollbacks=DEFAULT.wrong_rollbacks / len(DEFAULT.guardrails.judged),
)
TURNS = {
    "first_stage_10_minutes_3_percent": (50, 0.03),
    "first_stage_3_minutes_10_percent": (57, 0.1),
    "20_minutes_3_percent": (160, 0.03),
    "10_minutes_5_percent": (170, 0.05),
    "5_minutes_10_percent": (175, 0.1),
    "2_minutes_30_percent": (178, 0.3),
    "last_minute_30_percent": (179, 0.3),
}
"""From which minute of the rollout on, and which share of the canary's requests fail then, where half a percent failed before.
The first stage, with a tenth of them, ends at 60 minutes, the second, with half, at 180."""
LEAST_LATE_FOUND = 0.9
"""By the time the stage is up: what is not found by then may only not go on."""
MOST_LATE_ADVANCED = 0.01

Ints = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max


def drawn(
    rng: np.random.Generator, rollouts: int, minutes: int, accuracy: float, weight: float = CANARY, per_minute: int = PER_MINUTE
) -> Shares:
    """The control is right in `ACCURACY`; what is bad are wrong answers."""
    canary = rng.binomial(per_minute, weight, (rollouts, minutes))
    control = per_minute - canary
    return Shares.of(canary, rng.binomial(canary, 1 - accuracy), control, rng.binomial(control, 1 - ACCURACY))


def pieces(shares: Shares) -> Iterator[Shares]:
    for start in range(0, len(shares.canary), AT_ONCE):
        yield Shares(*(each[start : start + AT_ONCE] for each in vars(shares).values()))


def joined(first: Shares, second: Shares) -> Shares:
    return Shares(*(np.concatenate(pair, axis=1) for pair in zip(vars(first).values(), vars(second).values(), strict=True)))


def chosen(shares: Shares, rows: NDArray[np.bool_], minutes: int | None = None) -> Shares:
    return Shares(*(each[rows, :minutes] for each in vars(shares).values()))


def first_true(truths: NDArray[np.bool_]) -> Ints:
    """Minute (from 1) of each rollout's first claim, or NEVER."""
    return np.where(truths.any(axis=1), truths.argmax(axis=1) + 1, NEVER)


def samples_at(shares: Shares, minute: Ints) -> NDArray[np.float64]:
    """Canary samples by then; infinite where it never was."""
    seen = np.cumsum(shares.canary, axis=1)
    at = seen[np.arange(len(seen)), np.minimum(minute, seen.shape[1]) - 1]
    return np.where(minute == NEVER, math.inf, at)


def rolled_back(shares: Shares) -> Ints:
    """By our rule, in a first stage that goes on as long as the streams do."""
    return np.concatenate([first_true(worse_shares(piece, TERMS)) for piece in pieces(shares)])


def peeked(shares: Shares) -> Ints:
    """The one-sided z-test at every look, from the same least number of samples on."""
    counts, bad, others, others_bad = (np.cumsum(each, axis=1) for each in vars(shares).values())
    pooled = (bad + others_bad) / (counts + others)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (bad / counts - others_bad / others) / np.sqrt(pooled * (1 - pooled) * (1 / counts + 1 / others))
    return first_true((z > NormalDist().inv_cdf(1 - LEVEL)) & (counts >= TERMS.least))


def failed_checks(shares: Shares, limit: float) -> NDArray[np.bool_]:
    """The canary's metric of a minute is under the fixed limit. A minute without a value fails too."""
    with np.errstate(invalid="ignore"):
        accuracy = 1 - shares.canary_bad / shares.canary
    return ~(accuracy >= limit)


def flagger(shares: Shares, limit: float = LIMIT) -> Ints:
    return first_true(np.cumsum(failed_checks(shares, limit), axis=1) >= FLAGGER_THRESHOLD)


def argo(shares: Shares, limit: float = LIMIT) -> Ints:
    return first_true(np.cumsum(failed_checks(shares, limit), axis=1) > ARGO_FAILURE_LIMIT)


def argo_in_a_row(shares: Shares, limit: float = LIMIT) -> Ints:
    failed = failed_checks(shares, limit)
    row = np.ones_like(failed[:, ARGO_IN_A_ROW - 1 :])
    for back in range(ARGO_IN_A_ROW):
        row &= failed[:, back : failed.shape[1] - ARGO_IN_A_ROW + 1 + back]
    first = first_true(row)
    return np.where(first == NEVER, NEVER, first + ARGO_IN_A_ROW - 1)


THRESHOLDS = {"flagger": flagger, "argo": argo, "argo_in_a_row": argo_in_a_row}
RULES_BESIDE: dict[str, Callable[[Shares], Ints]] = {
    "ours": rolled_back,
    "z_test_peeked": peeked,
    **THRESHOLDS,
    **{f"{name}_at_{limit}": partial(rule, limit=limit) for name, rule in THRESHOLDS.items() for limit in OTHER_LIMITS},
}


# -- the best test of fixed size ---------------------------------------------------------------------------------------------


def fixed_size() -> dict[str, float]:
    """The smallest size (in tens) at which the z-test has the power, and its real error there. Sizes count canary samples."""
    z = NormalDist().inv_cdf
    before, after, ratio = 1 - ACCURACY, 1 - ACCURACY + DROP, (1 - CANARY) / CANARY
    pooled = (after + ratio * before) / (1 + ratio)
    spread_null = math.sqrt(pooled * (1 - pooled) * (1 + 1 / ratio))
    spread = math.sqrt(after * (1 - after) + before * (1 - before) / ratio)
    textbook = ((z(1 - LEVEL) * spread_null + z(POWER) * spread) / DROP) ** 2
    size = round(textbook * 0.8)
    while power_of(size, after) < POWER:
        size += 10
    return {"canary_samples": size, "textbook": textbook, "power": power_of(size, after), "error": power_of(size, before)}


def power_of(size: int, canary_rate: float) -> float:
    """Chance that the one-sided z-test rejects: exact sums over both binomials."""
    others = round(size * (1 - CANARY) / CANARY)
    bad, others_bad = np.arange(size + 1), np.arange(others + 1)
    ours, theirs = log_binomial(size, canary_rate), log_binomial(others, 1 - ACCURACY)
    bad, ours = bad[ours > -40], ours[ours > -40]
    others_bad, theirs = others_bad[theirs > -40], theirs[theirs > -40]
    pooled = (bad[:, None] + others_bad) / (size + others)
    with np.errstate(invalid="ignore"):
        apart = (bad[:, None] / size - others_bad / others) / np.sqrt(pooled * (1 - pooled) * (1 / size + 1 / others))
    rejected = apart > NormalDist().inv_cdf(1 - LEVEL)
    return float(np.sum(rejected * np.exp(ours[:, None] + theirs)))


def log_binomial(count: int, rate: float) -> NDArray[np.float64]:
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    k = np.arange(count + 1)
    chosen_ways = factorials[count] - factorials - factorials[::-1]
    return np.asarray(chosen_ways + k * math.log(rate) + (count - k) * math.log1p(-rate))


# -- whole rollouts, stage by stage ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcomes:
    """How ten thousand rollouts ended. Shares of them."""

    promoted_on_schedule: float
    promoted_late: float
    rolled_back: float
    asked: float
    median_minutes: float
    """From the start to the end, whichever it was."""


def run_stages(rng: np.random.Generator, accuracy: float, rollouts: int, per_minute: int = PER_MINUTE) -> Outcomes:
    """What `agents.rollouts.decide` does at each minute's look, for all at once: a test holds one against the other.

    All rollouts that pass the first stage in the same minute go through the second together.
    """
    holds = [round(stage.hold / RULES.look_every) for stage in RULES.compared]
    extend = round(RULES.extend / RULES.look_every)
    ends, ended_by = np.zeros(rollouts, dtype=np.int64), np.empty(rollouts, dtype=object)
    start = 0
    while start < rollouts:
        part = slice(start, min(rollouts, start + AT_ONCE))
        first = drawn(rng, part.stop - start, holds[0] + extend, accuracy, RULES.compared[0].weight, per_minute)
        passes, back = looked_at(first, (0,), holds[0])
        kind, minute = ended(passes, back, holds[0] + extend)
        for at in np.unique(minute[kind == "passed"]):
            rows = (kind == "passed") & (minute == at)
            second = drawn(rng, int(rows.sum()), holds[1] + extend, accuracy, RULES.compared[1].weight, per_minute)
            later_passes, later_back = looked_at(joined(chosen(first, rows, at), second), (0, at), holds[1])
            kind[rows], later = ended(later_passes, later_back - np.where(later_back == NEVER, 0, at), holds[1] + extend)
            minute[rows] = at + later
        ends[part], ended_by[part] = minute, kind
        start = part.stop
    passed = ended_by == "passed"
    on_schedule = passed & (ends == sum(holds))
    return Outcomes(
        promoted_on_schedule=float(on_schedule.mean()),
        promoted_late=float((passed & ~on_schedule).mean()),
        rolled_back=float((ended_by == "rolled_back").mean()),
        asked=float((ended_by == "asked").mean()),
        median_minutes=float(np.median(ends)),
    )


def looked_at(shares: Shares, starts: tuple[int, ...], hold: int) -> tuple[Ints, Ints]:
    """(minute of the stage at which it may pass, minute of the rollout at which it is rolled back)."""
    answers = of_shares(shares, TERMS, starts)
    may_pass = answers.not_worse.copy()
    may_pass[:, : hold - 1] = False
    return first_true(may_pass), first_true(answers.worse)


def ended(passes: Ints, back: Ints, longest: int) -> tuple[NDArray[Any], Ints]:
    """At the same look, worse counts."""
    kind = np.where(back <= passes, "rolled_back", "passed").astype(object)
    minute = np.minimum(passes, back)
    kind[minute > longest] = "asked"
    return kind, np.minimum(minute, longest)


@dataclass(frozen=True)
class Turned:
    """Shares of the rollouts whose canary turns bad at the end of a stage."""

    rolled_back_before: float
    """Wrongly, before it has turned."""
    found: float
    """Rolled back by the look at which the stage's time is up, of those that were still going on."""
    advanced: float
    median_minutes: float | None
    """From its turn until it is found; None where half of them never are, in half an hour beyond the stage."""


def run_turned(rng: np.random.Generator, rollouts: int, turn: int, rate: float) -> Turned:
    holds = [round(stage.hold / DEFAULT.look_every) for stage in DEFAULT.compared]
    ends = holds[0] if turn < holds[0] else sum(holds)
    minutes = ends + 30
    here = np.arange(minutes)
    later = here >= holds[0]
    weight = np.where(later & (ends > holds[0]), DEFAULT.compared[1].weight, DEFAULT.compared[0].weight)
    starts = (0, holds[0]) if ends > holds[0] else (0,)
    found, advanced = [], []
    for first in range(0, rollouts, AT_ONCE):
        shape = (min(AT_ONCE, rollouts - first), minutes)
        canary = rng.binomial(PER_MINUTE, np.broadcast_to(weight, shape))
        failed = rng.binomial(canary, np.where(here >= turn, rate, FAILED))
        streams = Shares.of(canary, failed, PER_MINUTE - canary, rng.binomial(PER_MINUTE - canary, FAILED))
        answers = of_shares(streams, FAILURES, starts)
        found.append(first_true(answers.worse))
        advanced.append(answers.not_worse[:, ends - starts[-1] - 1])
    minute = np.concatenate(found)
    going_on = minute > turn
    took = np.where(minute[going_on] == NEVER, math.inf, minute[going_on] - turn)
    median = float(np.median(took))
    return Turned(
        rolled_back_before=float(1 - going_on.mean()),
        found=float((took <= ends - turn).mean()),
        advanced=float((np.concatenate(advanced)[going_on] & (took > ends - turn)).mean()),
        median_minutes=median if math.isfinite(median) else None,
    )


def without_traffic(per_minute_of_control: int) -> tuple[int, str]:
    """One rollout whose canary gets none, looked at each minute: (how often it went on, the last word)."""
    begin, minute = datetime(2026, 3, 2, tzinfo=UTC), RULES.look_every
    others = Counts(predictions=per_minute_of_control, labelled=per_minute_of_control, wrong=per_minute_of_control // 25)
    went_on, last = 0, Choice.HOLD
    periods: list[Period] = []
    for looked in range(1, 1 + 24 * 60):
        window = Window(start=begin + (looked - 1) * minute, end=begin + looked * minute)
        periods.append(Period(window=window, canary=Counts(labelled=0, wrong=0), control=others))
        last = decide(RULES, Progress(started=(begin,), periods=tuple(periods)), begin + looked * minute).choice
        went_on += last in (Choice.ADVANCE, Choice.COMPLETE)
        if last is Choice.ASK:
            break
    return went_on, last.value


# -- all of it ---------------------------------------------------------------------------------------------------------------


def measure(screen: Screen, rollouts: int) -> tuple[Checks, dict[str, Any]]:
    rng, checks = np.random.default_rng(20), Checks()
    fixed = fixed_size()
    screen.say(
        f"fixed size: {fixed['canary_samples']} canary samples for {fixed['power']:.1%} power, error {fixed['error']:.2%}"
    )

    same: dict[str, list[Ints]] = {}
    done = 0
    while done < rollouts:
        count = min(DRAWN_AT_ONCE, rollouts - done)
        streams = drawn(rng, count, LONG_MINUTES, ACCURACY)
        for name, rule in RULES_BESIDE.items():
            same.setdefault(name, []).append(rule(streams))
        done += count
    wrong = {name: wrong_by(np.concatenate(minutes)) for name, minutes in same.items()}
    screen.say(f"no difference, a day of looks: {wrong['ours']['day']:.1%} wrong, peeked {wrong['z_test_peeked']['day']:.1%}")
    checks.at_most("wrong_rollbacks", wrong["ours"]["day"], MOST_WRONG, "of the rollouts without a difference, in a day")

    streams = drawn(rng, rollouts, 240, ACCURACY - DROP)
    found = {name: found_by(streams, rule(streams)) for name, rule in RULES_BESIDE.items()}
    ratio = (found["ours"].median_canary_samples or math.inf) / fixed["canary_samples"]
    screen.say(f"a drop of two points: {found['ours'].hour:.1%} found, with {ratio:.2f} of the samples of the fixed size")
    checks.at_least("drops_found", found["ours"].hour, LEAST_FOUND, "of the drops, within the stage's hour")
    checks.at_most("samples_of_fixed_size", round(ratio, 3), MOST_SAMPLES, "of the best fixed-size test's")

    stages = {
        name: vars(run_stages(rng, accuracy, rollouts))
        for name, accuracy in (("better", ACCURACY + GAIN), ("same", ACCURACY), ("worse", ACCURACY - DROP))
    }
    for name, outcome in stages.items():
        screen.say(f"{name}, through the stages: {', '.join(f'{key} {value:g}' for key, value in outcome.items())}")
    checks.at_least("improvement_on_schedule", stages["better"]["promoted_on_schedule"], LEAST_ON_SCHEDULE, "of the rollouts")
    checks.at_most("same_rolled_back", stages["same"]["rolled_back"], MOST_WRONG, "of the rollouts through all stages")
    passed = stages["worse"]["promoted_on_schedule"] + stages["worse"]["promoted_late"]
    checks.at_most("drops_promoted", passed, 0.001, "of the drops")

    turned = {name: run_turned(rng, rollouts // 10, *how) for name, how in TURNS.items()}
    for name, each in turned.items():
        screen.say(
            f"late, {name}: {each.found:.1%} found in time, in {each.median_minutes} minutes; {each.advanced:.1%} went on"
        )
    checks.at_least("late_found", min(each.found for each in turned.values()), LEAST_LATE_FOUND, "of those that turn bad late")
    checks.at_most("late_advanced", max(each.advanced for each in turned.values()), MOST_LATE_ADVANCED, "of them")

    by_traffic = {
        str(per_minute): {
            name: vars(run_stages(rng, accuracy, rollouts // 10, per_minute))
            for name, accuracy in (("better", ACCURACY + GAIN), ("same", ACCURACY), ("worse", ACCURACY - DROP))
        }
        for per_minute in TRAFFIC
    }
    for name, traffic in (("no_traffic", 0), ("no_canary_traffic", PER_MINUTE)):
        went_on, last = without_traffic(traffic)
        checks.equal(f"{name}_promoted", went_on, 0)
        checks.equal(f"{name}_ends_with", last, Choice.ASK.value)
    details = {
        "rollouts": rollouts,
        "requests_per_minute": PER_MINUTE,
        "fixed_size": fixed,
        "wrong_rollbacks": wrong,
        "drop": {name: vars(each) for name, each in found.items()},
        "stages": stages,
        "turned_bad_late": {name: vars(each) for name, each in turned.items()},
        "stages_by_requests_per_minute": by_traffic,
    }
    return checks, details


def wrong_by(minutes: Ints) -> dict[str, float]:
    return {name: float((minutes <= limit).mean()) for name, limit in (("hour", 60), ("day", LONG_MINUTES))}


@dataclass(frozen=True)
class Found:
    """Shares of the streams in which it was found by then."""

    hour: float
    four_hours: float
    median_canary_samples: float | None
    """Over all streams; None where half of them were not found in four hours."""


def found_by(streams: Shares, minutes: Ints) -> Found:
    median = float(np.median(samples_at(streams, minutes)))
    return Found(
        hour=float((minutes <= 60).mean()),
        four_hours=float((minutes <= 240).mean()),
        median_canary_samples=median if math.isfinite(median) else None,
    )


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.canary", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS, help="of each kind")
    parser.add_argument("--json", action="store_true", help="print one JSON object, last on stdout")
    options = parser.parse_args()
    started = time.perf_counter()
    checks, details = measure(Screen(), options.rollouts)
    details["seconds"] = round(time.perf_counter() - started, 1)
    print(checks.as_json(details) if options.json else json.dumps(details, indent=2))
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
