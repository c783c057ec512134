"""What a function does, as a digest: its code, and that of everything of ours that it reaches.

Of ours is what is in the same top-level package, and constants. Libraries count by name only: their versions are pinned
elsewhere. Comments, formatting and docstrings make no difference.
"""

import ast
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from types import CodeType, FunctionType, ModuleType
from typing import Any

_PLAIN = (str, bytes, int, float, bool, type(None), timedelta, date)


def digest_of(function: Callable[..., object], said: dict[str, Any]) -> str:
    """SHA-256 in hexadecimal, with what else is to be in it, as JSON. Raises ValueError for what is no function with a name."""
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        raise ValueError("a transformation is a function of a module, made with def: its code is part of its version")
    seen: dict[str, str] = {}
    _collect(function, seen)
    canonical = json.dumps({"said": said, "code": seen}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _collect(function: FunctionType, seen: dict[str, str]) -> None:
    name = f"{function.__module__}.{function.__qualname__}"
    if name in seen:
        return
    seen[name] = _canonical(function)
    for place, value in enumerate((*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())):
        _note(f"{name}/default{place}", value, _root(function), (), seen)
    used = set(_names(function.__code__))
    for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        _note(f"{name}/{free}", cell.cell_contents, _root(function), used, seen)
    for each in sorted(used & function.__globals__.keys()):
        _note(f"{function.__module__}.{each}", function.__globals__[each], _root(function), used, seen)


def _note(name: str, value: object, root: str, used: Any, seen: dict[str, str]) -> None:
    if isinstance(value, FunctionType):
        if _root(value) == root:
            _collect(value, seen)
    elif isinstance(value, ModuleType):
        if value.__name__.partition(".")[0] == root:
            for each in sorted(set(used) & vars(value).keys()):
                if f"{value.__name__}.{each}" not in seen:
                    _note(f"{value.__name__}.{each}", vars(value)[each], root, used, seen)
    elif _is_plain(value):
        seen[name] = _told(value)
    elif isinstance(value, type) and value.__module__.partition(".")[0] == root:
        seen[name] = _canonical(value)


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_plain(each) for each in value)
    return isinstance(value, _PLAIN)


def _told(value: object) -> str:
    # A set has no order of its own, and that of texts differs from process to process.
    return repr(sorted(map(repr, value))) if isinstance(value, set | frozenset) else repr(value)


def _canonical(thing: FunctionType | type) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"the code of {thing.__qualname__} cannot be read: keep it in a file of a module") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def _names(code: CodeType) -> Iterator[str]:
    """Also of functions and comprehensions within."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _root(function: FunctionType) -> str:
    return (function.__module__ or "").partition(".")[0]
