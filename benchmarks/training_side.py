"""One side of the comparison of `benchmarks.training`, in a process of its own so that its memory and its threads are its own.

    python -m benchmarks.training_side (ours | peer) ROWS

Prints one JSON object. Both learn from the first ROWS flights of 2013 whose arrival was known when the last of them landed, and
are asked about all that took off later; both get the features that the reference model's spec makes of them.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.memory import peak_mib
from pipelines.flights import CATEGORICAL, NUMERIC, Flights, load
from tools.values import Window

CORES = 2
BEGIN, END = datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 2, tzinfo=UTC)

Scores = NDArray[np.float64]
"""The probability of being late."""


def window(flights: Flights, rows: int) -> Window:
    landed = np.sort(flights.arrived)[rows - 1]
    return Window(start=BEGIN, end=landed.item().replace(tzinfo=UTC))


def ours(learnt: Flights, held_out: Flights, learning: Window) -> tuple[Callable[[], Scores], int]:
    import torch

    from pipelines.training import encode, train

    trained = train(learnt, learning, progress=lambda _, text: print(text, file=sys.stderr, flush=True))

    def scores() -> Scores:
        with torch.inference_mode():
            logits = trained.network(torch.from_numpy(held_out.numeric), torch.from_numpy(encode(held_out, trained.spec)))
        found: Scores = 1.0 / (1.0 + np.exp(-logits.numpy().astype(np.float64)))
        return found

    return scores, len(trained.epochs)


def peer(learnt: Flights, held_out: Flights, _learning: Window) -> tuple[Callable[[], Scores], int]:
    """With its defaults, which stop early by a tenth of the rows drawn at random; it knows which columns are categories."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    def table(flights: Flights) -> NDArray[np.float32]:
        return np.hstack([flights.numeric, flights.codes.astype(np.float32)])

    places = list(range(len(NUMERIC), len(NUMERIC) + len(CATEGORICAL)))
    fitted = HistGradientBoostingClassifier(categorical_features=places, random_state=7).fit(table(learnt), learnt.late)
    return lambda: np.asarray(fitted.predict_proba(table(held_out))[:, 1], np.float64), int(fitted.n_iter_)


def measure(side: str, rows: int) -> dict[str, Any]:
    from sklearn.metrics import log_loss, roc_auc_score

    flights = load()
    learning = window(flights, rows)
    learnt = flights.departing(learning).arrived_by(learning.end)
    held_out = flights.departing(Window(start=learning.end, end=END))
    started, computed = time.perf_counter(), time.process_time()
    scores, rounds = {"ours": ours, "peer": peer}[side](learnt, held_out, learning)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - computed
    peak = peak_mib()
    said = scores()
    return {
        "rows": len(learnt),
        "held_out_rows": len(held_out),
        "window": learning.model_dump(mode="json"),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_mib": peak,
        "rounds": rounds,
        "accuracy": round(float(np.mean((said >= 0.5) == held_out.late)), 5),
        "auc": round(float(roc_auc_score(held_out.late, said)), 5),
        "log_loss": round(float(log_loss(held_out.late, said)), 5),
    }


if __name__ == "__main__":
    # Before anything asks how many there are.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
