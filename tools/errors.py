"""Two words decide what happens after a failure.

Adapters translate vendor errors at the door: a `TemporaryError` is retried by policy on the node, a `PermanentError` ends the
step and is shown to the operator. Nothing else leaves an adapter, so nobody above needs to catch `Exception`.
"""

from datetime import timedelta


class PortError(Exception):
    """Base of what a port may raise; catch one of the two below."""


class TemporaryError(PortError):
    """The same call may succeed later: a timeout, a refused connection, a lock held by somebody else."""

    def __init__(self, message: str, *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(PortError):
    """Repeating the call cannot help: it does not exist, is not allowed, or was malformed."""


class Misused(PermanentError):
    """It was asked for in a way that means nothing: an option that is missing, or written wrongly. Nothing was tried."""


class Conflict(PermanentError):
    """The world is not in the state the caller expected (a generation or an alias has moved on)."""


class Claimed(Conflict):
    """Another action is at what only one may be at."""

    def __init__(self, claim: str, holder: str, *, pending: bool) -> None:
        super().__init__(f"{claim} is claimed by {holder}")
        self.holder = holder
        """Its key."""
        self.pending = pending
        """Its run may still carry out what it has intended; if not, all there is of it is what can be seen in the world."""
