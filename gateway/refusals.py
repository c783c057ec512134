"""What the gateway answers when it cannot do as it was asked: a status, and a sentence that names the field.

`kind` is the metric label under which it is counted; it comes from a closed set, never from the request.
"""

from typing import ClassVar


class Refused(Exception):
    status: ClassVar[int] = 400
    kind: ClassVar[str] = "invalid"
    retry_after_s: ClassVar[int | None] = None
    model = ""
    """The served model that it is about, where its raiser knows."""


class Unauthenticated(Refused):
    status, kind = 401, "unauthenticated"


class Forbidden(Refused):
    status, kind = 403, "forbidden"


class NotFound(Refused):
    status, kind = 404, "not_found"


class WrongMethod(Refused):
    status, kind = 405, "wrong_method"


class Clash(Refused):
    """The route has moved on, or a key comes back with something else in it."""

    status, kind = 409, "conflict"


class TooLarge(Refused):
    status, kind = 413, "too_large"


class Unservable(Refused):
    """The version exists but cannot be served: a pickle without leave, a broken file, a spec that does not fit."""

    status, kind = 422, "unservable"


class Failed(Refused):
    """The model raised, or gave back something that is no prediction."""

    status, kind = 500, "failed"


class Away(Failed):
    """The runtime that computes this version does not answer. An error of the version, logged as one."""

    status, kind, retry_after_s = 503, "away", 1


class Overloaded(Refused):
    """The queue of this version is full."""

    status, kind, retry_after_s = 503, "overloaded", 1


class Backlogged(Refused):
    """The prediction log cannot take more: better no answer than one nobody can account for."""

    status, kind, retry_after_s = 503, "log_full", 1


class NotReady(Refused):
    status, kind, retry_after_s = 503, "not_ready", 2
