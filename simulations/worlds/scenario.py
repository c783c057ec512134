"""A scenario as it stands in its file: a model, what happens to it, who says what about it, and what would be right to do."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from agents.evidence import Cause
from agents.policies import PolicyError, parse_policies
from simulations.worlds.faults import Category, Concept, Fault, Leak, Nulls, Shift, Stale, Stuck, Unit
from simulations.worlds.population import NUMBERS, WORDS
from tools.values import Duration, Frozen, Share

ActionKind = Literal[
    "rollback",
    "scale",
    "retrain",
    "quarantine_data",
    "notify",
    "no_action",
]
"""Of the catalogue, what a case of these families can end in."""
DEFAULT_HORIZON = timedelta(hours=12)


class ScenarioError(Exception):
    """A file that cannot be played; the message names the file and the field."""


class Version(Frozen):
    """How well a version does, by its own nature."""

    weakness: Share = 0.0
    """How much of what it has learnt is noise: 0 is as good as the history's, 1 knows nothing."""
    slower: Annotated[float, Field(gt=0)] = 1.0
    """Times the work of a request."""
    errors: Share = 0.0
    """Of its requests, that fail by a fault of its own."""


class Rollout(Frozen):
    """A release that somebody made, as a release pipeline does it: the alias and the traffic."""

    at: Duration = timedelta(minutes=30)
    version: str
    holdback: Annotated[int, Field(ge=0, lt=100)] = 0
    """Percent of the traffic that stays with the version before."""


class Said(Frozen):
    """An alert that a sender raises whatever is the case: its rule looks at something else than the model, or is wrong."""

    at: Duration
    lasts: Duration | None = None
    name: Annotated[str, Field(min_length=1, max_length=200)]
    severity: Literal["info", "warning", "critical"] = "warning"
    labels: dict[str, str] = Field(default_factory=dict)
    """Beside `alertname`, `model` and `severity`."""
    summary: str = ""
    count: Annotated[int, Field(ge=1, le=500)] = 1
    """So many alerts that differ in their `instance` only."""


class Traffic(Frozen):
    per_hour: Annotated[int, Field(ge=10, le=2_000)] = 240
    """On an average hour; nights have less, noons more, weekends three quarters."""
    history: Duration = timedelta(days=15)
    """How much of it the store has when the scenario begins: what drift is compared with, and a day."""
    labelled: Share = 0.8
    label_delay: Duration = timedelta(minutes=40)
    """On average; each takes its own time."""
    difficulty: Annotated[float, Field(gt=0)] = 1.0
    """1: the history's version is right in some nine of ten cases; more is harder."""


class Serving(Frozen):
    workers: Annotated[int, Field(ge=1, le=8)] = 2
    limit: Annotated[int, Field(ge=1, le=64)] = 8
    """Workers that the installation has room for."""
    latency_ms: Annotated[float, Field(gt=0)] = 40.0
    """Of the middle request, when nobody waits."""
    busy: Annotated[float, Field(gt=0, lt=1)] = 0.35
    """Share of the workers' time that an average hour takes."""
    processors: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the machine's processors that this takes."""


class Operator(Frozen):
    """Who decides what policy asks people about, over the API."""

    after: Duration = timedelta(minutes=6)
    """How long after the question."""
    refuses: tuple[ActionKind, ...] = ()


class Expected(Frozen):
    """The truth, for the scores alone: no part of the platform is given it."""

    cause: tuple[Cause, ...] = Field(min_length=1)
    """Any of these is right. With two faults at once both are named, and all of them belong among the first three."""
    action: tuple[ActionKind, ...] = Field(min_length=1)
    to_version: str | None = None
    """What a rollback goes back to."""
    features: tuple[str, ...] = ()
    """What a quarantine has to cover; more is no quarantine of these."""
    all_causes: bool = False
    """Every cause has to be among the first three."""
    quiet: bool = False
    """No investigation is the right answer as well: what fired went away before anybody had to look."""
    also: tuple[ActionKind, ...] = ()
    """What may be done beside it."""


class Scenario(Frozen):
    name: str
    """Of its file."""
    family: Annotated[str, Field(min_length=1)]
    about: Annotated[str, Field(min_length=1)]
    held_out: bool = False
    """Written after the agents were last changed, and scored by itself."""
    horizon: Annotated[Duration, Field(ge=timedelta(hours=1), le=timedelta(days=3))] = DEFAULT_HORIZON
    traffic: Traffic = Traffic()
    serving: Serving = Serving()
    versions: dict[str, Version] = Field(default_factory=lambda: {"1": Version()})
    champion: str = "1"
    """Of the history."""
    rollouts: tuple[Rollout, ...] = ()
    faults: tuple[Fault, ...] = ()
    rules: bool = True
    """Whether the usual alert rules (errors, latency, accuracy) watch the model."""
    monitors: bool = True
    """Whether the platform's own monitors do."""
    alerts: tuple[Said, ...] = ()
    policies: dict[str, Any] = Field(default_factory=dict)
    """Over the defaults."""
    promised_margin: Share = 0.05
    """How far below what the history's version does the promised accuracy lies."""
    operator: Operator = Operator()
    expect: Expected

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if sorted(self.versions) != [str(number) for number in range(1, len(self.versions) + 1)]:
            raise ValueError("versions: the registry counts them, so they are called 1, 2 and so on")
        if self.champion not in self.versions:
            raise ValueError(f"champion: there is no version {self.champion!r} among versions")
        for place, rollout in enumerate(self.rollouts):
            if rollout.version not in self.versions:
                raise ValueError(f"rollouts[{place}].version: there is no version {rollout.version!r} among versions")
        for place, fault in enumerate(self.faults):
            if unknown := sorted(set(_features(fault)) - _known(fault)):
                names = ", ".join(sorted(_known(fault)))
                raise ValueError(f"faults[{place}]: no feature is called {unknown[0]!r}; there are {names}")
            if isinstance(fault, Leak) and fault.version is not None and fault.version not in self.versions:
                raise ValueError(f"faults[{place}].version: there is no version {fault.version!r} among versions")
            if fault.at >= self.horizon:
                raise ValueError(f"faults[{place}].at: lies behind the horizon")
        if unknown := sorted(set(self.expect.features) - {*NUMBERS, *WORDS}):
            raise ValueError(f"expect.features: no feature is called {unknown[0]!r}")
        return self


def _features(fault: Fault) -> tuple[str, ...]:
    match fault:
        case Shift(features=features) | Concept(features=features):
            return tuple(features)
        case Stale(features=several):
            return several
        case Nulls(feature=feature) | Unit(feature=feature) | Stuck(feature=feature) | Category(feature=feature):
            return (feature,)
        case _:
            return ()


def _known(fault: Fault) -> set[str]:
    match fault:
        case Category():
            return set(WORDS)
        case Nulls():
            return {*NUMBERS, *WORDS}
        case _:
            return set(NUMBERS)


def load(file: Path) -> Scenario:
    """Raises ScenarioError."""
    import yaml

    try:
        raw = yaml.safe_load(file.read_text())
    except OSError as error:
        raise ScenarioError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{file} is no YAML: {error}") from error
    if not isinstance(raw, Mapping):
        raise ScenarioError(f"{file}: (top): write a mapping with family, about and expect at least")
    try:
        scenario = Scenario.model_validate({"name": file.stem, **raw})
        parse_policies(scenario.policies)
    except ValidationError as error:
        raise ScenarioError("\n".join(f"{file}: {_path(each['loc'])}: {_what(each)}" for each in error.errors())) from error
    except PolicyError as error:
        raise ScenarioError("\n".join(f"{file}: policies.{field}: {what}" for field, what in error.errors)) from error
    return scenario


def load_folder(folder: Path) -> tuple[Scenario, ...]:
    """In the order of their names. Raises ScenarioError, with all that is wrong in all files."""
    if not folder.is_dir():
        raise ScenarioError(f"{folder} is no folder")
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ScenarioError(f"{folder} holds no scenario: a file of it ends in .yaml")
    found, wrong = [], []
    for file in files:
        try:
            found.append(load(file))
        except ScenarioError as error:
            wrong.append(str(error))
    if wrong:
        raise ScenarioError("\n".join(wrong))
    return tuple(found)


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".") or "(top)"


def _what(error: Any) -> str:
    said = "there is no such field" if error["type"] == "extra_forbidden" else str(error["msg"]).removeprefix("Value error, ")
    return said[:300]
