"""What is wrong with what somebody wrote, in words that say what to write instead."""

from pydantic import ValidationError

_WORDS = {
    "tuple_type": "has to be a list: [a, b], or a line with - for each",
    "list_type": "has to be a list: [a, b], or a line with - for each",
    "dict_type": "has to be a mapping: a line with `name: value` for each",
    "model_type": "has to be a mapping: a line with `name: value` for each",
    "model_attributes_type": "has to be a mapping: a line with `name: value` for each",
    "time_delta_type": "has to be a duration with its unit: 90s, 15m, 24h or 7d",
    "time_delta_parsing": "has to be a duration with its unit: 90s, 15m, 24h or 7d",
    "string_type": "has to be a text; put it in quotes",
    "int_type": "has to be a whole number",
    "int_parsing": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "float_parsing": "has to be a number",
    "decimal_type": "has to be a number, best in quotes so that it is taken exactly",
    "decimal_parsing": "has to be a number, best in quotes so that it is taken exactly",
    "bool_type": "has to be true or false",
    "bool_parsing": "has to be true or false",
    "missing": "is missing",
    "none_required": "has to be null",
}


def faults(error: ValidationError, *, unknown: str) -> tuple[tuple[str, str], ...]:
    """Of each the path of its field, `(top)` for the whole, and what is wrong with it. `unknown`: what is said of a field that
    there is not."""
    return tuple((path(each["loc"]), said(each["type"], each["msg"], unknown)) for each in error.errors())


def path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".") or "(top)"


def said(kind: str, message: str, unknown: str) -> str:
    return unknown if kind == "extra_forbidden" else _WORDS.get(kind) or message.removeprefix("Value error, ")
