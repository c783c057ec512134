"""What is read of a request, and the two places where it is changed: the model's name, and a stream's wish for its counts.

Everything else goes on as the client wrote it, byte by byte, so that a server's own parameters need no leave here.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec
from msgspec import Raw

from gateway.refusals import Refused

Call = Literal["chat/completions", "completions"]

_LONGEST_ENTITY = 512
T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    model: str
    stream: bool
    counts: bool
    """Whether the client itself asks for a stream's last event with the counts."""
    entity: str
    """Whom it is for, as the client says in `user`; empty when it does not."""
    messages: int | None
    """How many, of a chat."""
    _fields: dict[str, Raw]

    def as_asked_of(self, name: str) -> bytes:
        """The body for a server that knows the model under `name`."""
        fields: dict[str, object] = {**self._fields, "model": name}
        if self.stream and not self.counts:
            options = _read(self._fields.get("stream_options"), dict[str, Raw], "stream_options") or {}
            fields["stream_options"] = {**options, "include_usage": True}
        return _ENCODER.encode(fields)


class _Options(msgspec.Struct):
    include_usage: bool | None = None


def read_request(body: bytes) -> CompletionRequest:
    """Raises Refused with the field that is wrong. What only the server knows about is left to it."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"the body is no JSON object: {error}") from error
    model = _read(fields.get("model"), str, "model")
    if not model:
        raise Refused("model: say which model is asked")
    options = _read(fields.get("stream_options"), _Options, "stream_options")
    entity = _read(fields.get("user"), str, "user") or ""
    if len(entity) > _LONGEST_ENTITY:
        raise Refused(f"user: {len(entity)} characters where {_LONGEST_ENTITY} are taken")
    return CompletionRequest(
        model=model,
        stream=_read(fields.get("stream"), bool, "stream") or False,
        counts=bool(options and options.include_usage),
        entity=entity,
        messages=_length(fields.get("messages")),
        _fields=fields,
    )


def _read(value: Raw | None, form: type[T], field: str) -> T | None:
    """None where the field is missing or null."""
    if value is None or bytes(value) == b"null":
        return None
    try:
        return msgspec.json.decode(value, type=form)
    except msgspec.DecodeError as error:
        raise Refused(f"{field}: {error}") from error


def _length(messages: Raw | None) -> int | None:
    try:
        return len(msgspec.json.decode(messages, type=list[Raw])) if messages is not None else None
    except msgspec.DecodeError:
        return None  # the server says what is wrong with it
