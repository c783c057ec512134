"""Who may call what. Deny by default: without a token the admin calls work on loopback only, and only under its name."""

import hmac
from collections.abc import Iterable

from gateway.refusals import Forbidden, Unauthenticated

Headers = Iterable[tuple[bytes, bytes]]

_LOOPBACK = (b"127.0.0.1", b"localhost", b"[::1]")


class Access:
    def __init__(self, admin_token: str | None, inference_token: str | None) -> None:
        self._admin = admin_token.encode() if admin_token else None
        self._inference = inference_token.encode() if inference_token else None

    def check_admin(self, headers: Headers) -> None:
        """Raises Unauthenticated or Forbidden."""
        if self._admin is not None:
            _check_token(headers, self._admin)
        elif _header(headers, b"host").rsplit(b":", 1)[0] not in _LOOPBACK:
            # A page in somebody's browser can reach loopback under a name that it made point there.
            raise Forbidden("without a token, admin calls are taken on loopback only")

    def check_inference(self, headers: Headers) -> None:
        """Raises Unauthenticated."""
        if self._inference is not None:
            _check_token(headers, self._inference)


def _check_token(headers: Headers, token: bytes) -> None:
    scheme, _, given = _header(headers, b"authorization").partition(b" ")
    if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), token):
        raise Unauthenticated("authorization: a valid bearer token is needed")


def _header(headers: Headers, name: bytes) -> bytes:
    return next((value for key, value in headers if key == name), b"")
