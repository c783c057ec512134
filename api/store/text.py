"""Which text can be kept at all. Both databases refuse NUL in text (PostgreSQL) or half a surrogate pair (both drivers)."""

from collections.abc import Iterable


def storable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


def all_storable(texts: Iterable[str]) -> bool:
    # Joined first: one pass in C over the usual case, instead of a call for each of thousands of labels.
    return storable("\n".join(texts))
