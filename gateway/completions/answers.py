"""What is read of a server's answer while it passes: counts, the reason of the end, and when the first token came.

The bytes that go to the client are the server's own. A stream is cut into its events only to leave one of them out: the counts
that the client has not asked for.
"""

from collections.abc import Iterator
from typing import get_args

import msgspec
from msgspec import Raw, Struct

from tools.predictions.records import Finish

MOST_EVENT_BYTES = 4 * 1024 * 1024
"""Of one event of a stream, which is held until it is whole. With many log-probabilities one is some hundred kilobytes."""

_FINISHES = frozenset(get_args(Finish))
_DONE = b"[DONE]"
_NOTHING = (b'""', b"null", b"[]")


class _Counts(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Choice(Struct):
    finish_reason: str | None = None
    text: str | None = None
    delta: dict[str, Raw] | None = None


class _Piece(Struct):
    choices: list[_Choice] | None = None
    usage: _Counts | None = None
    error: dict[str, Raw] | str | None = None


_decode = msgspec.json.Decoder(_Piece).decode


class Reading:
    """What has been learnt so far. A part that is not understood is passed on and teaches nothing."""

    def __init__(self) -> None:
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.finish: Finish | None = None
        self.begun = False
        """Whether a token has come."""
        self.failed = False
        """Whether the server has said that it failed, in the middle of a stream."""
        self.done = False
        """Whether the stream has come to its proper end."""

    def whole(self, body: bytes) -> None:
        self._take(body)

    def event(self, event: bytes) -> bool:
        """Whether it is the event of the counts, which whoever did not ask for it does not get."""
        data = b"\n".join(
            line[5:].removeprefix(b" ") for line in event.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data:")
        )
        if not data:
            return False
        if data.strip() == _DONE:
            self.done = True
            return False
        piece = self._take(data)
        return piece is not None and piece.choices == [] and piece.usage is not None

    def _take(self, content: bytes) -> _Piece | None:
        try:
            piece = _decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if piece.usage is not None:
            self.prompt_tokens = _count(piece.usage.prompt_tokens)
            self.completion_tokens = _count(piece.usage.completion_tokens)
        self.failed = self.failed or piece.error is not None
        for choice in piece.choices or ():
            self.begun = self.begun or choice.text is not None or (choice.delta is not None and _is_token(choice.delta))
            if choice.finish_reason is not None:
                # A tool call's reason is a word of its own; what servers add beside these is `other`.
                self.finish = choice.finish_reason if choice.finish_reason in _FINISHES else "other"  # type: ignore[assignment]
        return piece


def _is_token(delta: dict[str, Raw]) -> bool:
    """The role comes before the first token, with nothing else in it. A token may be without text: half a letter is."""
    return "role" not in delta or any(key != "role" and bytes(value) not in _NOTHING for key, value in delta.items())


def _count(number: int | None) -> int | None:
    return number if number is not None and 0 <= number < 1 << 31 else None


class Events:
    """Bytes of a stream become its events, each with the empty line that ends it. `feed` with what has come."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Raises ValueError for an event that is too long to be one."""
        # Where an end may begin that the last piece did not have as a whole.
        start = max(0, len(self._held) - 3)
        self._held += piece
        while (end := _end(self._held, start)) > 0:
            yield bytes(self._held[:end])
            del self._held[:end]
            start = 0
        if len(self._held) > MOST_EVENT_BYTES:
            raise ValueError(f"an event of the stream has more than {MOST_EVENT_BYTES} bytes")

    def rest(self) -> bytes:
        """What has come after the last whole event."""
        return bytes(self._held)


def _end(held: bytearray, start: int) -> int:
    """Behind the first empty line; 0 when there is none."""
    found = [place + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if (place := held.find(mark, start)) >= 0]
    return min(found, default=0)
