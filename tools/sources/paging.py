"""How the pages of an API follow each other. A page is known by its URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from tools.errors import Misused, PermanentError

WAYS = "link, next=PATH, cursor=PATH:PARAMETER, page=PARAMETER[:FIRST] or offset=PARAMETER[:LIMIT:SIZE]"


@dataclass(frozen=True)
class Page:
    url: str
    body: Any
    links: Mapping[str, str]
    """Of the header `Link`, by `rel`."""
    items: int


class Paging(Protocol):
    """`counted`: whether the place after a page is known by its items alone: then the page need not be read again.
    `missing_is_end`: whether some APIs say 404 after their last page."""

    counted: bool
    missing_is_end: bool

    def first(self, url: str) -> str: ...

    def next(self, page: Page) -> str | None:
        """None at the end."""
        ...


def paging(text: str) -> Paging | None:
    """Raises PermanentError for what is none of WAYS."""
    way, _, how = text.partition("=")
    parts = how.split(":")
    match way, parts:
        case "", [""]:
            return None
        case "link", [""]:
            return _Link()
        case "next", [path] if path:
            return _Next(path)
        case "cursor", [path, parameter] if path and parameter:
            return _Cursor(path, parameter)
        case "page", [parameter] if parameter:
            return _Numbered(parameter, 1)
        case "page", [parameter, first] if parameter and first.isdecimal():
            return _Numbered(parameter, int(first))
        case "offset", [parameter] if parameter:
            return _Offset(parameter, "", "")
        case "offset", [parameter, limit, size] if parameter and limit and size.isdecimal() and int(size):
            return _Offset(parameter, limit, size)
        case _:
            raise Misused(f"{text!r} is no way of paging: {WAYS}")


def at(body: Any, path: str) -> Any:
    """What is at a dotted path; None where there is nothing. Numbers are places in a list, from 0."""
    for part in path.split(".") if path else ():
        match body:
            case dict():
                body = body.get(part)
            case list() if part.isdecimal() and int(part) < len(body):
                body = body[int(part)]
            case _:
                return None
    return body


def with_parameters(url: str, changed: Mapping[str, str], *, without: frozenset[str] = frozenset()) -> str:
    parts = urlsplit(url)
    if not changed and not without:
        return urlunsplit(parts._replace(fragment=""))
    query = [
        each for each in parse_qsl(parts.query, keep_blank_values=True) if each[0] not in changed and each[0] not in without
    ]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode([*query, *changed.items()]), ""))


@dataclass(frozen=True)
class _Link:
    counted = False
    missing_is_end = False

    def first(self, url: str) -> str:
        return url

    def next(self, page: Page) -> str | None:
        link = page.links.get("next")
        return urljoin(page.url, link) if link else None


@dataclass(frozen=True)
class _Next:
    path: str
    counted = False
    missing_is_end = False

    def first(self, url: str) -> str:
        return url

    def next(self, page: Page) -> str | None:
        link = at(page.body, self.path)
        if link is not None and not isinstance(link, str):
            raise PermanentError(f"{self.path} of the body is no link: {link!r:.60}")
        return urljoin(page.url, link) if link else None


@dataclass(frozen=True)
class _Cursor:
    path: str
    parameter: str
    counted = False
    missing_is_end = False

    def first(self, url: str) -> str:
        return url

    def next(self, page: Page) -> str | None:
        cursor = at(page.body, self.path)
        if isinstance(cursor, (dict, list, bool)):
            raise PermanentError(f"{self.path} of the body is no cursor: {cursor!r:.60}")
        return None if cursor in (None, "") else with_parameters(page.url, {self.parameter: str(cursor)})


@dataclass(frozen=True)
class _Numbered:
    parameter: str
    start: int
    counted = False
    missing_is_end = True

    def first(self, url: str) -> str:
        return with_parameters(url, {self.parameter: str(self.start)})

    def next(self, page: Page) -> str | None:
        number = int(dict(parse_qsl(urlsplit(page.url).query))[self.parameter])
        return with_parameters(page.url, {self.parameter: str(number + 1)}) if page.items else None


@dataclass(frozen=True)
class _Offset:
    parameter: str
    limit: str
    size: str
    counted = True
    missing_is_end = True

    def first(self, url: str) -> str:
        return with_parameters(url, {self.parameter: "0"} | ({self.limit: self.size} if self.limit else {}))

    def next(self, page: Page) -> str | None:
        offset = int(dict(parse_qsl(urlsplit(page.url).query))[self.parameter])
        return with_parameters(page.url, {self.parameter: str(offset + page.items)}) if page.items else None
