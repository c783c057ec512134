"""The commands about experiments, over the REST API."""

from typing import Annotated, Any

import typer

from api.cli_remote import URL, Key, Url, call
from api.terminal import JsonFlag, WrongUse, emit

experiments = typer.Typer(no_args_is_help=True, help="Versions beside each other, each entity staying with its own.")

Reason = Annotated[str, typer.Option(help="Why; it is on record.")]
_PAGE = 200
_KINDS = {"errors": "share", "slow": "share", "wrong": "share", "latency_ms": "mean"}
"""What the gateway measures, and its kind; all of it is better when it is lower."""
_FORM = "NAME:MARGIN, such as wrong:0.02, or of a measure of the business revenue:0.05:higher:mean"


@experiments.command("list")
def list_experiments(
    model: Annotated[str, typer.Option(help="Only those of this model.")] = "",
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are not over.")] = False,
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Newest first."""
    wanted = {"model": model} if model else {}
    found = call(url, key, "GET", "/v1/experiments", params={"open": open_only, "limit": _PAGE, **wanted})
    emit(found, as_json, "\n".join(map(_experiment, found["items"])) or "no experiments")


@experiments.command("show")
def show_experiment(experiment_id: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Where it stands: effects with their intervals, units by arm, and whether the split is as assigned."""
    found = call(url, key, "GET", f"/v1/experiments/{experiment_id}")
    emit(found, as_json, "\n".join([_experiment(found), found["reason"], *_look(found["look"])]))


@experiments.command("start")
def start_experiment(
    model: str,
    arms: Annotated[list[str], typer.Option("--arm", help="VERSION=PERCENT, once for each; one is the champion.")],
    goal: Annotated[str, typer.Option(help="NAME:MARGIN of errors, slow, wrong, latency_ms; or NAME:MARGIN:higher:mean.")],
    reason: Reason,
    guardrails: Annotated[list[str] | None, typer.Option("--guardrail", help="NAME:MARGIN, once for each.")] = None,
    slow_ms: Annotated[float | None, typer.Option(help="An answer that takes longer is slow.")] = None,
    outcomes_after: Annotated[str, typer.Option(help="Labels of younger entities are not looked at, e.g. 36h.")] = "",
    shortest: Annotated[str, typer.Option(help="No winner before, e.g. 7d; default: what policy says.")] = "",
    longest: Annotated[str, typer.Option(help="Inconclusive by then; default: what policy says.")] = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Ask for one; somebody else approves it."""
    body: dict[str, Any] = {
        "model": model,
        "reason": reason,
        "arms": [_arm(each) for each in arms],
        "goal": _goal(goal),
        "guardrails": [_goal(each) for each in guardrails or ()],
    }
    limits = {"slow_ms": slow_ms, "outcomes_after": outcomes_after, "shortest": shortest, "longest": longest}
    body |= {name: value for name, value in limits.items() if value}
    found = call(url, key, "POST", "/v1/experiments", json=body)
    emit(found, as_json, found["incident_id"])


@experiments.command("stop")
def stop_experiment(experiment_id: str, reason: Reason, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """The control gets all traffic back, at once."""
    found = call(url, key, "POST", f"/v1/experiments/{experiment_id}/stop", json={"reason": reason})
    emit(found, as_json, _experiment(found))


def _arm(text: str) -> dict[str, Any]:
    version, _, weight = text.rpartition("=")
    if not version or not weight.isdigit():
        raise WrongUse(f"--arm {text}: write VERSION=PERCENT, such as 3=50")
    return {"version": version, "weight": int(weight)}


def _goal(text: str) -> dict[str, Any]:
    name, margin, better, kind = (*text.split(":"), "", "", "")[:4]
    better = better or ("lower" if name in _KINDS else "higher")
    kind = kind or _KINDS.get(name, "mean")
    try:
        size = float(margin)
    except ValueError:
        raise WrongUse(f"{text}: write {_FORM}") from None
    return {"name": name, "kind": kind, "better": better, "margin": size}


def _experiment(found: dict[str, Any]) -> str:
    arms = ", ".join(f"{each['version']} {each['weight']}%" for each in found["plan"]["treatments"])
    ending = f" ({found['ending']})" if found["ending"] else ""
    return f"{found['id']}  {found['status']}{ending}  {found['model']} {arms} beside {found['control']}"


def _look(look: dict[str, Any] | None) -> list[str]:
    if look is None:
        return []
    lines = []
    for arm in look["outcome"]["arms"]:
        lines.append(f"  {arm['name']}: {arm['call']}")
        lines += [f"    {_effect(each)}" for each in (arm["effect"], *arm["guardrails"])]
    units = ", ".join(f"{arm} {count:,}" for arm, count in look["units"].items())
    lines.append(
        f"  entities: {units}; {look['mixed']:,} answered by two arms, {look['anonymous']:,} answers without an entity"
    )
    lines.append(f"  split as assigned: p = {look['outcome']['mismatch']:.2g}")
    return lines


def _effect(effect: dict[str, Any]) -> str:
    if effect["difference"] is None or effect["low"] is None or effect["high"] is None:
        return f"{effect['goal']}: nothing to compare yet"
    return f"{effect['goal']} {effect['difference']:+.4g} ({effect['low']:+.4g} to {effect['high']:+.4g})"
