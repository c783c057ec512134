"""What an API server refuses, in the platform's two words, and the few refusals that a caller acts upon."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tools.errors import Conflict, PermanentError, PortError, TemporaryError

_QUOTA_WAIT = timedelta(seconds=30)


class NotFound(PermanentError):
    """There is no such object (or no such namespace)."""


class AlreadyExists(Conflict):
    """An object of this name is there."""


class Expired(TemporaryError):
    """The server has forgotten that resourceVersion (410): list anew."""


def translated(status: int, headers: Mapping[str, str], body: bytes, doing: str) -> PortError:
    """`doing`: the call, as the operator shall read it. The body is the server's `Status`, or whatever a proxy said."""
    said = _status(body)
    reason, message = str(said.get("reason", "")), str(said.get("message") or body[:300].decode(errors="replace"))
    text = f"{doing}: {message}"
    match status:
        case 404:
            return NotFound(text)
        case 409:
            return AlreadyExists(text) if reason == "AlreadyExists" else Conflict(text)
        case 410:
            return Expired(text, retry_after=timedelta(0))
        case 401:
            return PermanentError(f"{text} (the credentials are not accepted: look at the token or the kubeconfig)")
        case 403 if "exceeded quota" in message:
            return TemporaryError(text, retry_after=_QUOTA_WAIT)
        case 403:
            return PermanentError(f"{text} (the service account lacks a right: see infra/terraform)")
        case 408 | 429:
            return TemporaryError(text, retry_after=_retry_after(headers, said))
        case _ if status >= 500:
            return TemporaryError(text, retry_after=_retry_after(headers, said))
        case _:
            return PermanentError(text)


def of_event(status: Mapping[str, Any], doing: str) -> PortError:
    """The ERROR event of a watch, whose object is a `Status`."""
    return translated(int(status.get("code") or 500), {}, json.dumps(status).encode(), doing)


def _status(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _retry_after(headers: Mapping[str, str], said: Mapping[str, Any]) -> timedelta:
    details = said.get("details")
    asked = str(headers.get("Retry-After") or (details.get("retryAfterSeconds") if isinstance(details, dict) else None))
    return timedelta(seconds=int(asked)) if asked.isdigit() else timedelta(seconds=1)
