"""A rule between the columns of a row, read by a grammar of its own: nothing of it is ever handed to an interpreter.

    arrival >= departure and arrival - departure <= 24h
    paid is null or paid <= price * quantity
    kind in ['a', 'b'] or not `due date` is null

Numbers are computed as 64-bit floats; times less times are durations. A null leaves open whatever it enters.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Literal

_HIGHEST = 2**63 - 1
MAX_DEPTH = 30
"""Of brackets and negations within each other."""

Value = float | int | str | bool | timedelta
Operator = Literal["+", "-", "*", "/", "=", "!=", "<", "<=", ">", ">=", "and", "or"]


@dataclass(frozen=True)
class Name:
    name: str


@dataclass(frozen=True)
class Constant:
    value: Value


@dataclass(frozen=True)
class Binary:
    operator: Operator
    left: "Node"
    right: "Node"


@dataclass(frozen=True)
class Negated:
    """A sign."""

    of: "Node"


@dataclass(frozen=True)
class Not:
    of: "Node"


@dataclass(frozen=True)
class IsNull:
    of: "Node"


@dataclass(frozen=True)
class In:
    of: "Node"
    values: tuple[Value, ...]


Node = Name | Constant | Binary | Negated | Not | IsNull | In


@dataclass(frozen=True)
class Expression:
    root: Node

    @property
    def names(self) -> frozenset[str]:
        return frozenset(_names(self.root))


@lru_cache(maxsize=1_000)
def parse(text: str) -> Expression:
    """Raises ValueError, naming what is wrong and where."""
    return Expression(_Parser(text).whole())


def _names(node: Node) -> Iterator[str]:
    match node:
        case Name(name):
            yield name
        case Binary(_, left, right):
            yield from _names(left)
            yield from _names(right)
        case Negated(of) | Not(of) | IsNull(of) | In(of, _):
            yield from _names(of)
        case Constant():
            return


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<duration>(?:\d{1,6}[smhdw])+)(?!\w)
    | (?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<quoted>`[^`]+`)
    | (?P<word>[^\W\d]\w*)
    | (?P<sign>==|!=|<>|<=|>=|[-+*/=<>()\[\],])
    )""",
    re.VERBOSE,
)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WORDS = frozenset({"and", "or", "not", "is", "in", "null", "true", "false"})
_COMPARISONS: dict[str, Operator] = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int

    @property
    def sign(self) -> str:
        """What the grammar knows it by; nothing for names and values."""
        lower = self.text.lower()
        return lower if self.kind == "sign" or (self.kind == "word" and lower in _WORDS) else ""


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._place = self._depth = 0

    def whole(self) -> Node:
        found = self._or()
        if self._next.kind != "end":
            raise self._unexpected("the end")
        if not _is_condition(found):
            raise ValueError("this is no condition: compare two values, as in `arrival >= departure`")
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self, *signs: str) -> str:
        """The sign that comes next, if it is one of these; else nothing."""
        sign = self._next.sign
        if sign and sign in signs:
            self._place += 1
            return sign
        return ""

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise self._unexpected(repr(sign))

    def _unexpected(self, wanted: str) -> ValueError:
        found = self._next
        shown = "the end" if found.kind == "end" else repr(found.text[:40])
        return ValueError(f"at character {found.at + 1}: {wanted} is due, and {shown} is there")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} brackets and negations within each other")

    def _or(self) -> Node:
        found = self._and()
        while self._take("or"):
            found = Binary("or", self._condition(found), self._condition(self._and()))
        return found

    def _and(self) -> Node:
        found = self._not()
        while self._take("and"):
            found = Binary("and", self._condition(found), self._condition(self._not()))
        return found

    def _not(self) -> Node:
        if not self._take("not"):
            return self._comparison()
        self._deeper()
        found = Not(self._condition(self._not()))
        self._depth -= 1
        return found

    def _condition(self, node: Node) -> Node:
        if not _is_condition(node) and not isinstance(node, Name):
            raise self._unexpected("a condition before this")
        return node

    def _comparison(self) -> Node:
        left = self._sum()
        if sign := self._take(*_COMPARISONS):
            return Binary(_COMPARISONS[sign], left, self._sum())
        if self._take("is"):
            negated = bool(self._take("not"))
            self._need("null")
            return Not(IsNull(left)) if negated else IsNull(left)
        if self._take("in"):
            return In(left, self._values())
        if self._next.sign == "not" and self._tokens[self._place + 1].sign == "in":
            self._place += 2
            return Not(In(left, self._values()))
        return left

    def _values(self) -> tuple[Value, ...]:
        self._need("[")
        found = [self._constant()]
        while self._take(","):
            found.append(self._constant())
        self._need("]")
        if len({float if type(each) is int else type(each) for each in found}) > 1:
            raise ValueError("the values of a list have to be of one kind")
        return tuple(found)

    def _constant(self) -> Value:
        match self._factor():
            case Constant(value):
                return value
            case Negated(Constant(int() | float() as value)):
                return -value
            case _:
                raise self._unexpected("a value before this")

    def _sum(self) -> Node:
        found = self._product()
        while sign := self._take("+", "-"):
            found = Binary("+" if sign == "+" else "-", found, self._product())
        return found

    def _product(self) -> Node:
        found = self._factor()
        while sign := self._take("*", "/"):
            found = Binary("*" if sign == "*" else "/", found, self._factor())
        return found

    def _factor(self) -> Node:
        self._deeper()
        try:
            if self._take("-"):
                return Negated(self._factor())
            if self._take("("):
                found = self._or()
                self._need(")")
                return found
            return self._atom()
        finally:
            self._depth -= 1

    def _atom(self) -> Node:
        token = self._next
        if token.sign in ("true", "false"):
            self._place += 1
            return Constant(token.sign == "true")
        if token.kind in ("sign", "end") or token.sign:
            raise self._unexpected("a column or a value")
        self._place += 1
        match token.kind:
            case "number":
                number = float(token.text) if set(token.text) & set(".eE") else int(token.text)
                if not abs(number) <= (_HIGHEST if isinstance(number, int) else sys.float_info.max):
                    raise ValueError(
                        f"at character {token.at + 1}: {token.text[:20]} is beyond what a number of 64 bits can be"
                    )
                return Constant(number)
            case "duration":
                sizes = {_UNITS[unit]: int(size) for size, unit in re.findall(r"(\d+)([smhdw])", token.text)}
                return Constant(timedelta(**sizes))
            case "text":
                return Constant(re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL))
            case _:
                return Name(token.text.strip("`"))


def _is_condition(node: Node) -> bool:
    match node:
        case Binary(operator, _, _):
            return operator not in ("+", "-", "*", "/")
        case Not() | IsNull() | In() | Constant(True | False):
            return True
        case _:
            return False


def _tokens(text: str) -> Iterator[_Token]:
    place, end = 0, len(text.rstrip())
    while place < end:
        found = _TOKEN.match(text, place)
        if found is None or found.lastgroup is None:
            raise ValueError(f"at character {place + 1}: {text[place : place + 20].strip()!r} cannot be read")
        yield _Token(found.lastgroup, found.group(found.lastgroup), found.start(found.lastgroup))
        place = found.end()
    yield _Token("end", "", end)
