"""TorchServe's tokens, from the file that it writes where it is started (`key_file.json`).

The two that are used here end an hour after they were made, and a start makes new ones. So a refusal is first answered by
reading the file again, where somebody may have renewed them, and then by asking for a new one with the file's third key.
"""

import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import httpx
from pydantic import AliasPath, BaseModel, Field, ValidationError

from tools.errors import TemporaryError

REFUSED = "InvalidKeyException"
"""TorchServe says it with 400, not 401."""
_TRIES = 20
"""While somebody of this process renews, the others ask again; a renewal takes about as long as two of them."""

_LOOKS, _LOOK_S = 5, 0.005
"""TorchServe writes the file in place, so half of it may be seen."""

Use = Literal["management", "inference"]


class _Keys(BaseModel):
    management: str = Field(validation_alias=AliasPath("management", "key"))
    inference: str = Field(validation_alias=AliasPath("inference", "key"))
    renewal: str = Field(validation_alias=AliasPath("API", "key"))


class KeyFile(httpx.Auth):
    """For clients of both kinds, and several threads. Raises TemporaryError while the file cannot be read."""

    requires_response_body = True

    def __init__(self, path: Path, use: Use, management_url: str) -> None:
        self._path = path
        self._use: Use = use
        self._renewal_url = f"{management_url.rstrip('/')}/token"
        self._token: str | None = None
        # Two that renew at once would take each other's token away. Never waited for: an event loop may be what holds it.
        self._renewing = threading.Lock()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        used = self._token or self._of(self._read())
        response = yield _with(request, used)
        for _ in range(_TRIES):
            if not refused(response):
                break
            if self._of(self._read()) == used and self._renewing.acquire(blocking=False):
                try:
                    keys = self._read()
                    if self._of(keys) == used:
                        yield _with(httpx.Request("GET", self._renewal_url, params={"type": self._use}), keys.renewal)
                        if self._of(self._read()) == used:
                            # It was not renewed: the file is another server's.
                            break
                finally:
                    self._renewing.release()
            used = self._of(self._read())
            response = yield _with(request, used)
        self._token = used

    def _of(self, keys: _Keys) -> str:
        return keys.management if self._use == "management" else keys.inference

    def _read(self) -> _Keys:
        for _ in range(_LOOKS):
            try:
                return _Keys.model_validate_json(self._path.read_bytes())
            except OSError as error:
                raise TemporaryError(f"TorchServe's key file {self._path} cannot be read: {error.strerror}") from error
            except ValidationError:
                time.sleep(_LOOK_S)
        # Without the validation's words, which quote the file.
        raise TemporaryError(f"TorchServe's key file {self._path} is not as TorchServe writes it")


def refused(response: httpx.Response) -> bool:
    """Whether the token was the reason."""
    return response.status_code == httpx.codes.BAD_REQUEST and REFUSED in response.text


def _with(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["authorization"] = f"Bearer {token}"
    return request
