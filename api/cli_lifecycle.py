"""The commands about models on their way: what is asked for, what it takes, trainings, rollouts. All over the REST API."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from api.cli_remote import URL, Key, Url, call
from api.cli_watch import bar, left, watch
from api.moments import moment
from api.terminal import JsonFlag, emit

models = typer.Typer(
    no_args_is_help=True, help="What is asked for (investigated first, approved by another), and what language models take."
)
rollouts = typer.Typer(no_args_is_help=True, help="Challengers beside their champions.")
jobs = typer.Typer(no_args_is_help=True, help="Trainings under way, and what became of them.")

Reason = Annotated[str, typer.Option(help="Why; it is on record.")]
_PAGE = 200


@models.command("list")
def list_models(url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """All that the registry has."""
    found = call(url, key, "GET", "/v1/models")
    emit(found, as_json, "\n".join(found["items"]) or "no models")


@models.command("show")
def show_model(name: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Its versions and their aliases, and who gets which share of the traffic."""
    found = call(url, key, "GET", f"/v1/models/{quote(name, safe='')}")
    carried: dict[str, list[str]] = {}
    for alias, version in found["aliases"].items():
        carried.setdefault(version, []).append(alias)
    weights = found["route"]["weights"] if found["route"] is not None else {}
    lines = []
    for each in found["versions"]:
        said = [*carried.get(each["version"], ()), *([f"{weights[each['version']]} %"] if each["version"] in weights else [])]
        lines.append(f"{each['version']:>6}  {each['created_at']}  {', '.join(said)}".rstrip())
    if found["serving_error"] is not None:
        lines.append(f"not served: {found['serving_error']}")
    emit(found, as_json, "\n".join(lines))


@models.command("history")
def show_model_history(name: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Every move of an alias, oldest first: who, when, why, from, to."""
    found = call(url, key, "GET", f"/v1/models/{quote(name, safe='')}/history")
    emit(found, as_json, "\n".join(map(_move, found["items"])) or "no alias was ever moved")


@models.command("check")
def check_model(name: str, reason: Reason, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Have it looked at as if an alert had fired."""
    _ask(url, key, "/v1/triggers/check", {"model": name, "reason": reason}, as_json)


@models.command("cost-review")
def review_model_cost(name: str, reason: Reason, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Have its cost looked through for what it need not be; see `oppen optimizations`."""
    _ask(url, key, "/v1/triggers/cost-review", {"model": name, "reason": reason}, as_json)


@models.command("retrain")
def retrain_model(
    name: str,
    reason: Reason,
    start: Annotated[
        str, typer.Option("--from", help="Of the data: a day (UTC), or RFC 3339; default: what policy says.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="The first moment that is not in it any more.")] = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Ask for a training."""
    window = {"window_start": moment(start, "--from"), "window_end": moment(end, "--to")}
    _ask(url, key, "/v1/triggers/retrain", {"model": name, "reason": reason, **window}, as_json)


@models.command("promote")
def promote_model(name: str, version: str, reason: Reason, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Ask for a version to be rolled out beside the champion."""
    _ask(url, key, "/v1/triggers/promote", {"model": name, "version": version, "reason": reason}, as_json)


@models.command("rollback")
def roll_back_model(
    name: str,
    reason: Reason,
    version: Annotated[str, typer.Option(help="To go back to; default: the champion before.")] = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Ask for the champion to be taken back."""
    _ask(url, key, f"/v1/models/{name}/rollback", {"version": version or None, "reason": reason}, as_json)


@models.command("usage")
def show_usage(
    name: str,
    start: Annotated[str, typer.Option("--from", help="A day (UTC), or RFC 3339; default: a day before the end.")] = "",
    end: Annotated[str, typer.Option("--to", help="The first moment that is not in it any more; default: now.")] = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Tokens, times to the first token and costs of a language model, by version."""
    asked = (("start", moment(start, "--from")), ("end", moment(end, "--to")))
    window = {name: value for name, value in asked if value is not None}
    found = call(url, key, "GET", f"/v1/models/{name}/usage", params=window)
    emit(found, as_json, "\n".join(map(_usage, found["versions"])) or f"{name} has answered no call of a language model then")


def _usage(version: dict[str, Any]) -> str:
    costs = ", ".join(
        f"{cost['amount']} {cost['currency']} ({cost['per_million_tokens'] or '-'} for a million tokens)"
        for cost in version["costs"]
    )
    first = version["first_token_p95_ms"]
    return (
        f"version {version['version']}: {version['calls']:,} calls, {version['errors']:,} errors, "
        f"{version['prompt_tokens']:,} tokens read, {version['completion_tokens']:,} written, "
        f"first token p95 {f'{first:.0f} ms' if first is not None else '-'}, cost {costs or 'unknown: no price'}"
    )


@rollouts.command("list")
def list_rollouts(
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are not over.")] = False,
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Newest first."""
    found = call(url, key, "GET", "/v1/rollouts", params={"open": open_only, "limit": _PAGE})
    emit(found, as_json, "\n".join(map(_rollout, found["items"])) or "no rollouts")


@rollouts.command("show")
def show_rollout(rollout_id: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Where it stands, and what the last look said."""
    found = call(url, key, "GET", f"/v1/rollouts/{rollout_id}")
    judged = [f"  {each['guard']}: {each['answer']}" for each in (found["look"] or {}).get("judged", ())]
    emit(found, as_json, "\n".join([_rollout(found), found["reason"], *judged]))


@rollouts.command("watch")
def watch_rollout(rollout_id: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """How it gets on, until it is over; with --json a line for each change. Exit code 1 when it was not promoted."""
    last = watch(url, key, f"/v1/rollouts/{rollout_id}/events", _how_far, as_json)
    if last and last["status"] not in ("promoted", "continued"):
        raise typer.Exit(1)


@rollouts.command("pause")
def pause_rollout(rollout_id: str, reason: Reason, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """The challenger keeps the share that it has; it is still taken back should it fail."""
    _order(url, key, rollout_id, "pause", reason, as_json)


@rollouts.command("resume")
def resume_rollout(rollout_id: str, reason: Reason, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """It goes on by itself."""
    _order(url, key, rollout_id, "resume", reason, as_json)


@rollouts.command("abort")
def abort_rollout(rollout_id: str, reason: Reason, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """The champion gets all traffic back, at once."""
    _order(url, key, rollout_id, "abort", reason, as_json)


@jobs.command("list")
def list_jobs(
    model: Annotated[str, typer.Option(help="Only those of this model.")] = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Newest first."""
    found = call(url, key, "GET", "/v1/jobs", params={"model": model} if model else {})
    emit(found, as_json, "\n".join(map(_job, found["items"])) or "no jobs")


@jobs.command("show")
def show_job(name: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """How far it is, and what it has used."""
    found = call(url, key, "GET", f"/v1/jobs/{name}")
    progress, usage = found["progress"], found["usage"]
    lines = [_job(found)]
    if progress is not None:
        eta = f", {progress['eta_seconds']:.0f} s to go" if progress["eta_seconds"] is not None else ""
        lines.append(f"{progress['fraction']:.0%} {progress['text']}{eta}")
    if usage is not None:
        lines.append(f"{usage['wall_seconds']:.1f} s, CPU {usage['cpu_seconds']} s, memory {usage['peak_memory_bytes']} bytes")
    emit(found, as_json, "\n".join(lines))


@jobs.command("watch")
def watch_job(name: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """How it gets on, until it has ended; with --json a line for each change. Exit code 1 when it failed."""
    last = watch(url, key, f"/v1/jobs/{name}/events", _how_far_a_job, as_json)
    if last and last["phase"] != "succeeded":
        raise typer.Exit(1)


@jobs.command("logs")
def show_job_logs(
    name: str, tail: Annotated[int, typer.Option(min=1)] = 200, url: Url = URL, key: Key = "", as_json: JsonFlag = False
) -> None:
    """The last lines of its latest attempt."""
    found = call(url, key, "GET", f"/v1/jobs/{name}/logs", params={"tail": tail})
    emit(found, as_json, "\n".join(found["items"]))


@jobs.command("cancel")
def cancel_job(name: str, reason: Reason, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Ask it to end."""
    found = call(url, key, "POST", f"/v1/jobs/{name}/cancel", json={"reason": reason})
    emit(found, as_json, _job(found))


def _ask(url: str, key: str, path: str, body: dict[str, Any], as_json: bool) -> None:
    found = call(url, key, "POST", path, json={name: value for name, value in body.items() if value is not None})
    joined = " (joined: the model has an open incident)" if found["joined"] else ""
    if found["undoes"] is not None:
        joined = f" ({found['undoes']} is taken back, at once)"
    if found["aborts"] is not None:
        joined = f" ({found['aborts']} is under way, and is ended: the champion gets the traffic back)"
    emit(found, as_json, f"{found['incident_id']}{joined}")


def _order(url: str, key: str, rollout_id: str, wish: str, reason: str, as_json: bool) -> None:
    found = call(url, key, "POST", f"/v1/rollouts/{rollout_id}/{wish}", json={"reason": reason})
    emit(found, as_json, _rollout(found))


def _rollout(found: dict[str, Any]) -> str:
    weight = found["stages"][found["stage"]]["weight"]
    return (
        f"{found['id']}  {found['status']:10} {found['model']} {found['version']} beside {found['from_version']}, {weight:.0%}"
    )


def _job(found: dict[str, Any]) -> str:
    reason = f" ({found['reason']})" if found["reason"] else ""
    return f"{found['name']}  {found['phase']}{reason}  {found['model']}  {found['submitted_at']}"


def _move(found: dict[str, Any]) -> str:
    before, after = found["before"] or "none", found["after"] or "none"
    return f"{found['at']}  {found['alias']}: {before} -> {after}  {found['actor']}: {found['reason']}"


def _how_far(found: dict[str, Any]) -> str:
    progress = found["progress"]
    stage = f"stage {progress['stage']} of {progress['stages']}, {progress['weight']:.0%} of the traffic"
    if found["ended_at"] is not None:
        return f"{bar(progress['fraction'])}  {found['status']}: {found['reason']}"
    time = f", {left(progress['eta_seconds'])} left at the earliest" if progress["eta_seconds"] is not None else ""
    return f"{bar(progress['fraction'])}  {stage}{time}; waits for {progress['waits_for']}"


def _how_far_a_job(found: dict[str, Any]) -> str:
    progress = found["progress"] or {"fraction": 0.0, "text": "", "eta_seconds": None}
    reason = f" ({found['reason']})" if found["reason"] else ""
    again = f", attempt {found['attempts']}" if found["attempts"] > 1 else ""
    time = f", {left(progress['eta_seconds'])} left" if progress["eta_seconds"] is not None and not found["ended_at"] else ""
    return f"{bar(progress['fraction'])}  {found['phase']}{reason}{again} {progress['text']}{time}".rstrip()
