"""Label and field selectors."""

import re
from collections.abc import Callable
from typing import Any

from tests.kubernetes.store import Object, Refusal

_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^)]*)\)")


def by_labels(selector: str) -> Callable[[Object], bool]:
    rules = [_rule(part.strip()) for part in re.split(r",(?![^(]*\))", selector) if part.strip()]
    return lambda item: all(rule(item["metadata"].get("labels") or {}) for rule in rules)


def by_fields(selector: str) -> Callable[[Object], bool]:
    rules = []
    for part in filter(None, (part.strip() for part in selector.split(","))):
        match = re.fullmatch(r"([\w.]+)(!=|==|=)(.*)", part)
        if match is None:
            raise Refusal(400, "BadRequest", f"invalid field selector {part!r}")
        rules.append(match.groups())
    return lambda item: all((_field(item, path) == value) is (sign != "!=") for path, sign, value in rules)


def _rule(part: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET.fullmatch(part):
        name, word, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        return (lambda labels: labels.get(name) in values) if word == "in" else (lambda labels: labels.get(name) not in values)
    if found := re.fullmatch(r"([^!=\s]+)\s*(!=|==|=)\s*(\S*)", part):
        name, sign, value = found.groups()
        return lambda labels: (labels.get(name) == value) is (sign != "!=")
    if found := re.fullmatch(r"(!?)([^!=\s]+)", part):
        absent, name = found.groups()
        return lambda labels: (name in labels) is not bool(absent)
    raise Refusal(400, "BadRequest", f"invalid label selector {part!r}")


def _field(item: Any, path: str) -> str:
    for step in path.split("."):
        item = item.get(step, "") if isinstance(item, dict) else ""
    return str(item)
