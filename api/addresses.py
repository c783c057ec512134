"""Where the service is reached: its sockets, bound before anything else is opened, so that a taken port is said at once."""

import contextlib
import errno
import socket
from collections.abc import Iterator
from ipaddress import ip_address

_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""`localhost` names an IPv6 address also where there is no IPv6."""


class Unusable(Exception):
    """`setting` is what to change."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(reason)
        self.setting = setting


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """A socket for each address of the host, not listening yet, and closed at the end. Raises Unusable."""
    with contextlib.ExitStack() as owned:
        yield [owned.enter_context(each) for each in _bind(host, port)]


def url(host: str, port: int) -> str:
    """As somebody on this machine calls it."""
    try:
        anywhere = ip_address(host).is_unspecified
    except ValueError:
        anywhere = not host
    reached = "localhost" if anywhere else host
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"


def _bind(host: str, port: int) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Unusable("OPPEN_HOST", f"{host!r} is no address of this machine: {error.strerror}") from error
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sockets.append(_one(family, kind, protocol, address))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                absent = error
        if not sockets and absent is not None:
            raise absent
    except OSError as error:
        for each in sockets:
            each.close()
        raise _reason(host, port, error) from error
    return sockets


def _one(family: int, kind: int, protocol: int, address: object) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    try:
        # What the last process left in TIME_WAIT is nobody's; a port that somebody listens on stays theirs.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)  # type: ignore[arg-type]
    except OSError:
        opened.close()
        raise
    return opened


def _reason(host: str, port: int, error: OSError) -> Unusable:
    if error.errno == errno.EADDRINUSE:
        return Unusable("OPPEN_PORT", f"port {port} of {host} is taken by another program; free it, or choose another port")
    if error.errno == errno.EACCES:
        return Unusable("OPPEN_PORT", f"this user may not listen on port {port}: choose one from 1024 on")
    return Unusable("OPPEN_HOST", f"{host!r} is no address of this machine: {error.strerror}")
