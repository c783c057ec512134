"""What goes wrong between this gateway and a server. Beside `gateway.refusals`, whose words they are of."""

from gateway.refusals import Refused


class ServerAway(Refused):
    """It cannot be reached, lacks the model, or does not take our key: for the client it is the same."""

    status, kind, retry_after_s = 503, "upstream_away", 1


class ServerFailed(Refused):
    status, kind = 502, "upstream_failed"


class ServerSlow(Refused):
    status, kind = 504, "upstream_timeout"


class ClientGone(Exception):
    """Nobody reads the answer any more."""
