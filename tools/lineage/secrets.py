"""What must not be told: passwords in URLs, tokens in queries and fields. What goes out or comes in passes here."""

import math
import re
from typing import Any

HIDDEN = "***"
_DEPTH = 50
"""Levels of lists and objects that are looked into; what is deeper is hidden."""

_WORD = r"(?:password|passwd|pwd|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|signature|authorization)"
# The last @ before the path, because passwords hold one, too.
_USER = re.compile(r"(?<=://)[^/\s?#]*@")
# Bounded, so that no text from outside makes it slow.
_PAIR = re.compile(rf"(?i)({_WORD}[\w-]{{0,40}}\s{{0,4}}=\s{{0,4}})(?:'[^']{{0,1000}}'|\"[^\"]{{0,1000}}\"|[^\s&;,'\"]+)")
_FIELD = re.compile(rf"(?i){_WORD}")


def stripped(text: str) -> str:
    """Without the user of a URL, and without the values of what is called a password or a token."""
    if "://" in text:
        text = _USER.sub("", text)
    return _PAIR.sub(rf"\g<1>{HIDDEN}", text) if "=" in text else text


def cleaned(value: Any, depth: int = 0) -> Any:
    """A value of JSON as it may be kept: without secrets, texts in fields of such a name hidden, and without what not
    every database takes: NUL, halves of surrogate pairs, numbers that are not finite, nesting without end."""
    if depth > _DEPTH:
        return HIDDEN
    match value:
        case str():
            return stripped(_storable(value))
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [cleaned(each, depth + 1) for each in value]
        case dict():
            named = isinstance(value.get("name"), str) and _FIELD.search(value["name"]) is not None
            kept = {}
            for key, each in value.items():
                hidden = isinstance(each, str) and (_FIELD.search(key) or (named and key == "value"))
                kept[_storable(key)] = HIDDEN if hidden else cleaned(each, depth + 1)
            return kept
        case _:
            return value


def _storable(text: str) -> str:
    if "\0" in text or not text.isascii():
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    return text
