"""The commands about models on their way: what is asked for, trainings, rollouts. All over the REST API."""

from typing import Annotated, Any

import typer

from api.cli_remote import URL, Key, Url, call
from api.terminal import JsonFlag, emit

models = typer.Typer(no_args_is_help=True, help="What is asked for: investigated first, approved by another.")
rollouts = typer.Typer(no_args_is_help=True, help="Challengers beside their champions.")
jobs = typer.Typer(no_args_is_help=True, help="Trainings under way, and what became of them.")

Reason = Annotated[str, typer.Option(help="Why; it is on record.")]
_PAGE = 200


@models.command("check")
def check_model(name: str, reason: Reason, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Have it looked at as if an alert had fired."""
    _ask(url, key, "/v1/triggers/check", {"model": name, "reason": reason}, as_json)


@models.command("retrain")
def retrain_model(
    name: str,
    reason: Reason,
    start: Annotated[str, typer.Option("--from", help="Of the data, RFC 3339; default: what policy says.")] = "",
    end: Annotated[str, typer.Option("--to", help="The first moment that is not in it any more.")] = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Ask for a training."""
    window = {"window_start": start or None, "window_end": end or None}
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
