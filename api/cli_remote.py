"""The commands that talk to a running service, over the same REST API that everybody uses."""

from typing import Annotated, Any

import typer

from api.terminal import JsonFlag, Refused, emit

Url = Annotated[str, typer.Option(envvar="OPPEN_URL", help="The service.")]
Key = Annotated[str, typer.Option(envvar="OPPEN_KEY", help="An API key; better in the environment than on the command line.")]

_URL = "http://127.0.0.1:8000"

approvals = typer.Typer(no_args_is_help=True, help="Questions that wait for a person.")
incidents = typer.Typer(no_args_is_help=True, help="What is wrong, and what is being done about it.")
autonomy = typer.Typer(no_args_is_help=True, help="How much the platform may do by itself.")
audit = typer.Typer(no_args_is_help=True, help="The append-only log.")


@approvals.command("list")
def list_approvals(status: str = "pending", url: Url = _URL, key: Key = "", as_json: JsonFlag = False) -> None:
    found = _call(url, key, "GET", "/v1/approvals", params={"status": status})
    lines = [f"{each['id']}  {each['status']:9} {each['proposal']['title']}" for each in found["items"]]
    emit(found, as_json, "\n".join(lines) or f"nothing is {status}")


@approvals.command("show")
def show_approval(approval_id: str, url: Url = _URL, key: Key = "", as_json: JsonFlag = False) -> None:
    found = _call(url, key, "GET", f"/v1/approvals/{approval_id}")
    if as_json:
        emit(found, True, "")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(found["narrative"]))
    console.print(f"\n{found['status']}, expires {found['expires_at']}; approve with:", markup=False)
    console.print(f"  oppen approvals approve {approval_id}", markup=False, soft_wrap=True)


@approvals.command("approve")
def approve(
    approval_id: str,
    fingerprint: Annotated[str, typer.Option(help="What you saw; default: what it is now.")] = "",
    comment: str = "",
    url: Url = _URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    _decide(url, key, approval_id, {"decision": "approve", "comment": comment}, fingerprint, as_json)


@approvals.command("reject")
def reject(
    approval_id: str,
    reason: Annotated[str, typer.Option(help="Why; the agent and the record get it.")],
    fingerprint: str = "",
    url: Url = _URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    _decide(url, key, approval_id, {"decision": "reject", "reason": reason}, fingerprint, as_json)


@incidents.command("list")
def list_incidents(url: Url = _URL, key: Key = "", as_json: JsonFlag = False) -> None:
    found = _call(url, key, "GET", "/v1/incidents")
    lines = [f"{each['id']}  {each['status']:17} {each['subject']}  {each['title']}" for each in found["items"]]
    emit(found, as_json, "\n".join(lines) or "no incidents")


@incidents.command("show")
def show_incident(incident_id: str, url: Url = _URL, key: Key = "", as_json: JsonFlag = False) -> None:
    found = _call(url, key, "GET", f"/v1/incidents/{incident_id}")
    text = f"{found['title']}\n{found['status']}: {found['summary'] or 'being looked at'}"
    emit(found, as_json, text)


@autonomy.command("show")
def show_autonomy(url: Url = _URL, key: Key = "", as_json: JsonFlag = False) -> None:
    found = _call(url, key, "GET", "/v1/autonomy")
    emit(found, as_json, found["mode"])


@autonomy.command("set")
def set_autonomy(
    mode: Annotated[str, typer.Argument(help="observe, propose or act.")],
    reason: Annotated[str, typer.Option()],
    url: Url = _URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    found = _call(url, key, "PUT", "/v1/autonomy", json={"mode": mode, "reason": reason})
    emit(found, as_json, f"{found['mode']}, set by {found['actor']}")


@audit.command("verify")
def verify_audit(url: Url = _URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Exit code 1 when the chain is broken."""
    found = _call(url, key, "GET", "/v1/audit/verify")
    text = f"{found['lines']} lines, unbroken" if found["ok"] else f"broken at line {found['first_bad_seq']}"
    emit(found, as_json, text)
    if not found["ok"]:
        raise typer.Exit(1)


def _decide(url: str, key: str, approval_id: str, body: dict[str, Any], fingerprint: str, as_json: bool) -> None:
    shown = fingerprint or _call(url, key, "GET", f"/v1/approvals/{approval_id}")["fingerprint"]
    found = _call(url, key, "POST", f"/v1/approvals/{approval_id}/decision", json={**body, "fingerprint": shown})
    emit(
        found,
        as_json,
        found["approval"]["status"] if found["decided"] else f"{found['votes']} of {found['approval']['quorum']}",
    )


def _call(url: str, key: str, method: str, path: str, **request: Any) -> Any:
    """Raises Refused with the service's own words."""
    import httpx

    if not key:
        raise Refused("set OPPEN_KEY to an API key; `oppen keys create` makes one")
    try:
        response = httpx.request(method, f"{url}{path}", headers={"Authorization": f"Bearer {key}"}, timeout=30, **request)
    except httpx.HTTPError as error:
        raise Refused(
            f"{url} does not answer ({type(error).__name__}): is `oppen serve` running, and OPPEN_URL right?"
        ) from error
    if response.is_success:
        return response.json()
    try:
        problem = response.json()
        said = f"{problem['title']}: {problem['detail']}"
        said += "".join(f"\n  {fault['field']}: {fault['detail']}" for fault in problem.get("errors", ()))
    except (ValueError, KeyError):
        said = f"{url} answered {response.status_code}"
    raise Refused(said)
