"""The command line of the jobs, where it says no."""

import pytest

from pipelines.__main__ import main

EVALUATE = [
    "evaluate",
    "--tracking-uri=sqlite:////nowhere/at/all/mlflow.db",
    "--model=flights",
    "--candidate=2",
    "--label=late",
]
NOWHERE = ["train", "--tracking-uri", "sqlite:////nowhere/at/all/mlflow.db"]


def test_a_window_without_flights_is_a_failure_with_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NOWHERE, "--from=2012-01-01", "--to=2012-02-01"]) == 1
    said = capsys.readouterr()
    assert "too few to learn from" in said.err
    assert not said.out


@pytest.mark.parametrize(
    "wrong",
    [
        ["train"],
        [*NOWHERE, "--from=January"],
        [*NOWHERE, "--to=2013-01-01"],
        [*NOWHERE, "--fault=noise:JFK"],
        [*NOWHERE, "--seed=-1"],
        ["nothing"],
        ["evaluate", "--model=flights"],
        [*EVALUATE, "--data=/nowhere/rows.parquet"],
        [*EVALUATE, f"--data={__file__}", "--recent=yesterday", "--time=at"],
        [*EVALUATE, f"--data={__file__}", "--recent=1d"],
    ],
)
def test_wrong_use_ends_with_2(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
