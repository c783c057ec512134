"""Merge patch (RFC 7396) and JSON patch (RFC 6902)."""

import copy
from typing import Any

from tests.kubernetes.store import Refusal


def merged(target: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def patched(target: Any, operations: Any) -> Any:
    if not isinstance(operations, list):
        raise Refusal(400, "BadRequest", "a JSON patch is a list of operations")
    result = copy.deepcopy(target)
    for operation in operations:
        match operation:
            case {"op": "add" | "replace" as kind, "path": str(path), "value": value}:
                _set(result, _steps(path), value, kind)
            case {"op": "remove", "path": str(path)}:
                _remove(result, _steps(path))
            case {"op": "test", "path": str(path), "value": value}:
                if _get(result, _steps(path)) != value:
                    raise Refusal(
                        422, "Invalid", f"the server rejected our request due to an error in our request: test {path}"
                    )
            case {"op": "move" | "copy" as kind, "from": str(source), "path": str(path)}:
                value = copy.deepcopy(_get(result, _steps(source)))
                if kind == "move":
                    _remove(result, _steps(source))
                _set(result, _steps(path), value, "add")
            case _:
                raise Refusal(400, "BadRequest", f"no operation of a JSON patch: {operation}")
    return result


def _steps(path: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _get(target: Any, steps: list[str]) -> Any:
    for step in steps:
        try:
            target = target[int(step)] if isinstance(target, list) else target[step]
        except (KeyError, IndexError, ValueError, TypeError):
            raise Refusal(422, "Invalid", f"the path /{'/'.join(steps)} does not exist") from None
    return target


def _set(target: Any, steps: list[str], value: Any, kind: str) -> None:
    parent, last = _get(target, steps[:-1]), steps[-1]
    if kind == "replace":
        _get(parent, [last])
    if isinstance(parent, list) and kind == "add":
        parent.insert(len(parent) if last == "-" else int(last), value)
    elif isinstance(parent, list):
        parent[int(last)] = value
    else:
        parent[last] = value


def _remove(target: Any, steps: list[str]) -> None:
    parent, last = _get(target, steps[:-1]), steps[-1]
    _get(parent, [last])
    del parent[int(last) if isinstance(parent, list) else last]
