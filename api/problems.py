"""What can be wrong with a request, as RFC 9457 problems. Work and store raise them; only `api/web/errors.py` renders them."""

from typing import ClassVar

from tools.values import Frozen


class FieldError(Frozen):
    """`field` is a path into the body such as `alerts[2].startsAt`; `detail` says what to do about it."""

    field: str
    detail: str


class Problem(Exception):
    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-request"
    title: ClassVar[str] = "The request cannot be carried out"

    def __init__(self, detail: str, *, errors: tuple[FieldError, ...] = (), retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s


class Malformed(Problem):
    """The body is no JSON, or is not the format that this address takes."""

    status, code, title = 400, "malformed", "The body cannot be read"


class Invalid(Problem):
    status, code, title = 422, "invalid", "A field does not hold what it should"


class Unauthenticated(Problem):
    status, code, title = 401, "unauthenticated", "No valid credentials were given"
    challenge: ClassVar[str] = "Bearer"
    """The scheme that would be taken, for WWW-Authenticate."""


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "You may not do this"


class Closed(Forbidden):
    code, title = "gate-closed", "It may not go on"


class OwnRequest(Forbidden):
    code, title = "own-request", "Whoever asked for it, or edited it, does not approve it"


class NotFound(Problem):
    status, code, title = 404, "not-found", "There is no such thing"


class AlreadyDecided(Problem):
    status, code, title = 409, "already-decided", "Somebody has decided this already"


class Clash(Problem):
    status, code, title = 409, "conflict", "The state has moved on"


class Expired(Problem):
    status, code, title = 410, "expired", "The time to decide is over"


class WrongFingerprint(Problem):
    status, code, title = 412, "wrong-fingerprint", "This is not what was proposed"


class TooLarge(Problem):
    status, code, title = 413, "too-large", "The body is larger than is accepted"


class UnsupportedMedia(Problem):
    status, code, title = 415, "unsupported-media-type", "The body is in a format that is not taken here"


class TooManyFailures(Problem):
    status, code, title = 429, "too-many-failures", "Too many failed attempts from this address"


class NotInstalledHere(Problem):
    status, code, title = 501, "not-installed", "This installation lacks what this needs"


class Overloaded(Problem):
    """Alertmanager never retries a 429, so overload is a 503."""

    status, code, title = 503, "overloaded", "Too much at once; try again"


class Unavailable(Problem):
    status, code, title = 503, "unavailable", "Something this needs is not reachable"
