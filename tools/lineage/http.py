"""Lineage over HTTP: to our own service, or to whatever else takes OpenLineage events (Marquez, say).

An endpoint that is away neither fails the job nor loses anything: what it did not take waits in a file, and is sent with the
next event, by the next process, or by `oppen lineage send`. It gets each event at least once; the same one twice is once.
"""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from tools.errors import PermanentError, TemporaryError
from tools.lineage.port import Event, Graph, NotKnown, Query
from tools.lineage.secrets import stripped
from tools.lineage.spool import Away, Refused, Spool

_PATH = "/v1/lineage"
"""Where ours listens: what an address without a path means."""
_TIMEOUT_S = 5.0
_ATTEMPTS, _PAUSE_S = 2, 0.25
_AWAY_S = 30.0
"""How long an endpoint that was away is not asked again by the same process: a job has other things to do."""
_FLUSH_S = 5.0
"""How long a job spends on what waits from before, each time."""
_WRONG = frozenset({400, 413, 415, 422})
"""What is said of an event that is taken for wrong. Anything else may be put right: a key, an address, a server."""

log = logging.getLogger(__name__)


class HttpLineage:
    """`Lineage`. The reading half is our own service's."""

    def __init__(self, url: str, key: str, spool: Path) -> None:
        """`key`: sent as a bearer token; empty: none. Raises PermanentError for what is no address."""
        import httpx

        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            self._url = httpx.URL(url if parts.path.strip("/") else url.rstrip("/") + _PATH) if usable else None
        except (ValueError, httpx.InvalidURL):
            self._url = None
        if self._url is None:
            raise PermanentError(f"{stripped(url)!r} is no address that takes lineage, such as http://127.0.0.1:8000{_PATH}")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT_S)
        self._shown = stripped(str(self._url))
        self._spool = Spool(spool)
        self._again = 0.0

    @property
    def destination(self) -> str:
        return self._shown

    def emit(self, event: Event) -> None:
        from tools.lineage.openlineage import as_openlineage

        told = as_openlineage(event)
        if time.monotonic() < self._again:
            self._spool.keep(told)
            return
        try:
            self._send(told)
        except Away as away:
            self._spool.keep(told)
            self._wait(away)
        except Refused as refusal:
            self._spool.refuse(told, str(refusal))
            log.warning("%s refused an event of lineage: %s; it is kept beside %s", self._shown, refusal, self._spool.path)
        else:
            self._flush()

    def send(self, limit_s: float = 60.0) -> int:
        """What waits; how many were taken. Raises TemporaryError when the endpoint is away."""
        try:
            return self._spool.flush(self._send, limit_s)
        except Away as away:
            raise TemporaryError(f"{self._shown} does not take lineage: {away}; what waits is in {self._spool.path}") from away

    def graph(self, query: Query) -> Graph:
        import httpx

        asked = query.model_dump(mode="json", exclude_none=True)
        try:
            response = self._client.get(self._url or "", params=asked)
        except httpx.HTTPError as error:
            raise TemporaryError(f"{self._shown} does not answer ({type(error).__name__})") from error
        if response.status_code == 404:
            raise NotKnown(f"nothing was told of {query.node}")
        if not response.is_success:
            kind = TemporaryError if response.status_code >= 500 else PermanentError
            raise kind(f"{self._shown} answers {response.status_code}: {_said(response.text)}")
        try:
            return Graph.model_validate_json(response.content)
        except ValidationError as error:
            raise PermanentError(f"{self._shown} answers what is no graph of lineage: is it this service?") from error

    def close(self) -> None:
        self._client.close()

    def _flush(self) -> None:
        if self._spool.empty:
            return
        try:
            self._spool.flush(self._send, _FLUSH_S)
        except Away as away:
            self._wait(away)

    def _wait(self, away: Away) -> None:
        self._again = time.monotonic() + _AWAY_S
        log.warning("%s does not take lineage: %s; it waits in %s", self._shown, away, self._spool.path)

    def _send(self, event: Mapping[str, Any]) -> None:
        import httpx

        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_S)
            try:
                response = self._client.post(
                    self._url or "", content=json.dumps(event), headers={"Content-Type": "application/json"}
                )
            except httpx.HTTPError as error:
                reason = type(error).__name__
                continue
            if response.is_success:
                return
            reason = f"{response.status_code} {_said(response.text)}"
            if response.status_code in _WRONG:
                raise Refused(reason)
            if response.status_code < 500:
                break
        raise Away(reason)


def _said(text: str) -> str:
    """In the words of a problem (RFC 9457) where it is one, with the fields that it names."""
    try:
        problem = json.loads(text)
        faults = [f"{fault['field']}: {fault['detail']}" for fault in problem.get("errors") or ()]
        return "; ".join([str(problem["detail"]), *faults])[:500]
    except (ValueError, KeyError, TypeError, AttributeError):
        return text[:100]
