"""Secrets that an option names instead of holding: what is in a command line can be read by everybody on the machine."""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tools.errors import PermanentError

_REFERENCE = re.compile(r"\$\{(?:(file):)?([^}]*)\}")
_SECRET = re.compile(r"(key|token|secret|passwd|password|pwd|signature|sig|credentials?|auth|authorization)$", re.IGNORECASE)

_SURE = re.compile(
    r"((^|api|access|secret|private|public|auth|client|app|application|account|subscription|master|license|consumer)[-_.]?key"
    r"|(^|api|access|auth|bearer|id|refresh|session|security|private|oauth|user|client|app)[-_.]?token"
    r"|secret|passwd|password|pwd|signature|sig|credentials?|auth|authorization)$",
    re.IGNORECASE,
)
"""Of these: `partition_key` and `page_token` are called alike, and say which items are asked for."""


def expand(text: str) -> str:
    """`${NAME}` becomes that variable of the environment, `${file:PATH}` what is in the file, without the end of its last line.

    Raises PermanentError, naming it, for one that is not there.
    """
    return _REFERENCE.sub(_found, text)


def is_secret(name: str, value: str) -> bool:
    """Of a parameter: it refers to one, or is called like one."""
    return _REFERENCE.search(value) is not None or _SECRET.search(name) is not None


def may_tell_apart(name: str, value: str) -> bool:
    """Of a parameter that is taken for a secret: it may be none, but say what is asked for."""
    return _REFERENCE.search(value) is None and _SURE.search(name) is None


def shown(url: str) -> str:
    """Without what may be a secret: account and password, and the values of parameters that are called like one."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    query = [(name, "***" if _SECRET.search(name) else value) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
    return urlunsplit((parts.scheme, place, parts.path, urlencode(query, safe="*{}$"), ""))


def _found(reference: "re.Match[str]") -> str:
    kind, name = reference.groups()
    if kind is None:
        if name not in os.environ:
            raise PermanentError(f"the environment has no variable {name}")
        return os.environ[name]
    try:
        return Path(name).read_text().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise PermanentError(f"the secret in {name} cannot be read: {type(error).__name__}") from error
