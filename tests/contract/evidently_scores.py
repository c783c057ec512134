"""What Evidently says of pairs of tables by the methods that are named: a program, because it warns of its own dependencies.

    python -m tests.contract.evidently_scores [REFERENCE CURRENT NUMERIC CATEGORICAL]...

Prints a list, for each four an object: column -> {"score", "drifted"}, the latter by its own threshold.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

NAMES = {
    "wasserstein": "wasserstein",
    "jensen_shannon": "jensenshannon",
    "psi": "psi",
    "ks": "ks",
    "chi_squared": "chisquare",
}
"""Ours -> theirs."""


TESTS = ("ks", "chisquare")


def main() -> None:
    warnings.simplefilter("ignore")
    given = sys.argv[1:]
    found = [_scores(*given[place : place + 4]) for place in range(0, len(given), 4)]
    sys.stdout.write(json.dumps(found) + "\n")


def _scores(reference: str, current: str, numeric: str, categorical: str) -> dict[str, dict[str, Any]]:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    ours, theirs = (pd.read_parquet(Path(path)) for path in (reference, current))
    numbers = [name for name in ours.columns if ours[name].dtype.kind in "if"]
    words = [name for name in ours.columns if name not in numbers]
    for side in (ours, theirs):
        side[words] = side[words].astype("object")
    shape = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    preset = DataDriftPreset(num_method=NAMES[numeric], cat_method=NAMES[categorical])
    metrics = Report([preset]).run(Dataset.from_pandas(theirs, shape), Dataset.from_pandas(ours, shape)).dict()["metrics"]
    found = {}
    for metric in metrics:
        config, score = metric["config"], metric["value"]
        if config["type"].endswith("ValueDrift"):
            drifted = score < config["threshold"] if config["method"] in TESTS else score >= config["threshold"]
            found[config["column"]] = {"score": float(score), "drifted": bool(drifted)}
    return found


if __name__ == "__main__":
    main()
