"""`Idempotency-Key`: a write that is sent again, because its answer was lost, is answered again and not done again.

The answer is remembered in the transaction that does the work, so after a crash both are there or neither. Only success is
remembered: what was refused may be tried again, and the state may have changed.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.problems import Clash, FieldError, Invalid
from api.store import idempotency
from api.store.sessions import Transaction
from api.store.text import storable
from api.web.auth import Who
from api.web.dependencies import Needs
from api.web.services import Services

_KEPT = timedelta(hours=24)

Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Made up by you for this write. Sent again with it, within a day, it is answered again and not done again.",
    ),
]


class KeyReused(Invalid):
    code, title = "idempotency-key-reused", "This Idempotency-Key stands for another request"


@dataclass(frozen=True)
class Once:
    """One write of one principal under its key; without a key, nothing is looked up or kept."""

    needs: Services
    principal: str
    route: str
    key: str | None
    digest: str

    async def earlier(self) -> JSONResponse | None:
        """The answer this request was given before. Raises KeyReused when the key came with another one."""
        if self.key is None or not storable(self.route):
            return None
        async with self.needs.database.read() as session:
            found = await idempotency.find(session, self.principal, self.route, self.key)
        if found is None:
            return None
        if found.request_hash != self.digest:
            fault = FieldError(field="Idempotency-Key", detail="make up another key for another request")
            raise KeyReused("the same key came with another body before", errors=(fault,))
        return JSONResponse(found.body, status_code=found.status, headers={"Idempotency-Replayed": "true"})

    async def remember(self, transaction: Transaction, answer: BaseModel, status: int = 200) -> None:
        """Raises Clash when somebody has the same request answered at this moment."""
        if self.key is None:
            return
        now = self.needs.clock.now()
        await idempotency.forget(transaction, now - _KEPT)
        body = answer.model_dump(mode="json")
        if not await idempotency.remember(
            transaction, self.principal, self.route, self.key, request_hash=self.digest, status=status, body=body, at=now
        ):
            # The same request came twice at once, and this is the second: raising undoes it.
            raise Clash("this request is being answered already; send it again for the answer")


async def _once(request: Request, needs: Needs, who: Who, idempotency_key: Key = None) -> Once:
    content = request.headers.get("if-match", "").encode("utf-8", "replace") + b"\n" + await request.body()
    route = f"{request.method} {request.url.path}"
    return Once(needs, who.name, route, idempotency_key, hashlib.sha256(content).hexdigest())


OnlyOnce = Annotated[Once, Depends(_once)]
