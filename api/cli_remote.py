"""The commands that talk to a running service, over the same REST API that everybody uses."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.terminal import JsonFlag, Refused, WrongUse, emit, show

if TYPE_CHECKING:
    import httpx

Url = Annotated[str, typer.Option(envvar="OPPEN_URL", help="The service.")]
Key = Annotated[str, typer.Option(envvar="OPPEN_KEY", help="An API key; better in the environment than on the command line.")]

URL = "http://127.0.0.1:8000"
_PAGE = 200

approvals = typer.Typer(no_args_is_help=True, help="Questions that wait for a person.")
incidents = typer.Typer(no_args_is_help=True, help="What is wrong, and what is being done about it.")
autonomy = typer.Typer(no_args_is_help=True, help="How much the platform may do by itself.")
audit = typer.Typer(no_args_is_help=True, help="The append-only log.")


class Status(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EDITED = "edited"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    ALL = "all"


class Mode(StrEnum):
    OBSERVE = "observe"
    PROPOSE = "propose"
    ACT = "act"


@approvals.command("list")
def list_approvals(status: Status = Status.PENDING, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Newest first."""
    wanted = {} if status is Status.ALL else {"status": status.value}
    found = call(url, key, "GET", "/v1/approvals", params={**wanted, "limit": _PAGE})
    lines = [f"{each['id']}  {each['status']:10} {each['expires_at']}  {each['proposal']['title']}" for each in found["items"]]
    emit(found, as_json, "\n".join(lines) or f"no approvals ({status})")


@approvals.command("show")
def show_approval(approval_id: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """The whole question: finding, evidence, effect, undo, and the command that approves it."""
    found = call(url, key, "GET", f"/v1/approvals/{approval_id}")
    if as_json:
        emit(found, as_json, "")
        return
    from api import cards

    show(cards.approval(found))
    if found["status"] == "pending":
        # Not rich's to print: a command that is wrapped, or cut, is none.
        typer.echo(f"To approve:\n{cards.curl(found, url.rstrip('/'))}")


@approvals.command("approve")
def approve(
    approval_id: str,
    fingerprint: Annotated[str, typer.Option(help="What you saw; default: what it is now.")] = "",
    comment: str = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Say yes to exactly what is proposed."""
    _decide(url, key, approval_id, {"decision": "approve", "comment": comment}, fingerprint, as_json)


@approvals.command("reject")
def reject(
    approval_id: str,
    reason: Annotated[str, typer.Option(help="Why; the agent and the record get it.")],
    fingerprint: Annotated[str, typer.Option(help="What you saw; default: what it is now.")] = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Say no, and why."""
    _decide(url, key, approval_id, {"decision": "reject", "reason": reason}, fingerprint, as_json)


@incidents.command("list")
def list_incidents(
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are not closed.")] = False,
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Newest first."""
    found = call(url, key, "GET", "/v1/incidents", params={"open": open_only, "limit": _PAGE})
    lines = [f"{each['id']}  {each['status']:17} {each['subject']}  {each['title']}" for each in found["items"]]
    emit(found, as_json, "\n".join(lines) or "no incidents")


@incidents.command("show")
def show_incident(incident_id: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """What is wrong, what was found, and how far it is."""
    found = call(url, key, "GET", f"/v1/incidents/{incident_id}")
    if as_json:
        emit(found, as_json, "")
        return
    from api import cards

    show(cards.incident(found))


@incidents.command("report")
def report_incident(incident_id: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """From alert to outcome, in Markdown, once the investigation has ended."""
    text = call(url, key, "GET", f"/v1/incidents/{incident_id}/report")
    emit({"id": incident_id, "report": text}, as_json, text)


@autonomy.command("show")
def show_autonomy(url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """The mode that holds, who set it and why."""
    found = call(url, key, "GET", "/v1/autonomy")
    emit(found, as_json, _mode(found))


@autonomy.command("set")
def set_autonomy(
    mode: Annotated[Mode, typer.Argument(help="`observe` is the kill switch.")],
    reason: Annotated[str, typer.Option(help="Why; it is in the audit log.")],
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Holds at once, for everything that has not been carried out yet."""
    found = call(url, key, "PUT", "/v1/autonomy", json={"mode": mode.value, "reason": reason})
    emit(found, as_json, _mode(found))


@audit.command("verify")
def verify_audit(url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """Walk the whole hash chain. Exit code 1 when it is broken."""
    found = call(url, key, "GET", "/v1/audit/verify")
    text = f"{found['lines']} lines, unbroken" if found["ok"] else f"broken at line {found['first_bad_seq']}"
    emit(found, as_json, text)
    if not found["ok"]:
        raise typer.Exit(1)


def _mode(found: dict[str, Any]) -> str:
    by = f"set by {found['actor']} at {found['at']}: {found['reason']}" if found["actor"] else "as the policies say"
    return f"{found['mode']}, {by}"


def _decide(url: str, key: str, approval_id: str, body: dict[str, Any], fingerprint: str, as_json: bool) -> None:
    shown = fingerprint or call(url, key, "GET", f"/v1/approvals/{approval_id}")["fingerprint"]
    found = call(url, key, "POST", f"/v1/approvals/{approval_id}/decision", json={**body, "fingerprint": shown})
    status = found["approval"]["status"]
    emit(found, as_json, status if found["decided"] else f"{found['votes']} of {found['approval']['quorum']} approvals")


def call(url: str, key: str, method: str, path: str, **request: Any) -> Any:
    """Raises Refused with the service's own words."""
    import httpx

    if not key:
        raise WrongUse("set OPPEN_KEY to an API key; `oppen keys create` makes one")
    try:
        response = httpx.request(
            method, f"{url.rstrip('/')}{path}", headers={"Authorization": f"Bearer {key}"}, timeout=30, **request
        )
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.HTTPError) as error:
        raise request_error(url, error) from error
    if response.is_success:
        return response.text if response.headers["content-type"].startswith("text/markdown") else response.json()
    raise refusal(url, response)


def download(url: str, key: str, path: str, query: dict[str, str], to: Path) -> int:
    """How many bytes the file has, which is there whole or not at all. Raises Refused with the service's own words."""
    import httpx

    if not key:
        raise WrongUse("set OPPEN_KEY to an API key; `oppen keys create` makes one")
    unfinished = to.with_name(f".{to.name}.unfinished")
    try:
        with (
            unfinished.open("wb") as file,
            httpx.stream(
                "GET", f"{url.rstrip('/')}{path}", headers={"Authorization": f"Bearer {key}"}, params=query, timeout=300
            ) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise refusal(url, answer)
            for part in answer.iter_bytes():
                file.write(part)
        unfinished.replace(to)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.HTTPError) as error:
        raise request_error(url, error) from error
    except OSError as error:
        raise Refused(f"{to} cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return to.stat().st_size


def request_error(url: str, error: Exception) -> Refused:
    """Why no answer came."""
    import httpx

    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return WrongUse(f"OPPEN_URL: {url!r} is no address of a service, such as {URL}")
    return Refused(f"{url} does not answer ({type(error).__name__}): is `oppen serve` running, and OPPEN_URL right?")


def refusal(url: str, response: "httpx.Response") -> Refused:
    """In the service's own words."""
    try:
        problem = response.json()
        said = f"{problem['title']}: {problem['detail']}"
        said += "".join(f"\n  {fault['field']}: {fault['detail']}" for fault in problem.get("errors") or ())
    except (ValueError, KeyError, TypeError):
        said = f"{url} answered {response.status_code}, and not as this service does: is OPPEN_URL right?"
    return Refused(said)
