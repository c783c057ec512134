"""YAML as people write settings in: a key once, and no aliases, some lines of which are gigabytes when they are looked at."""

from typing import Any

import yaml


class NotPlain(ValueError):
    """It is no YAML, or more than is taken; the message says where."""


class _Plain(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise NotPlain("aliases of YAML (*name) are not taken: write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            line = key.start_mark.line + 1
            # Which of them counts is not for a reader to guess.
            if isinstance(name, str | int) and seen.setdefault(name, line) != line:
                raise NotPlain(f"{name!r} is there twice, in lines {seen[name]} and {line}: write it once")
        return super().construct_mapping(node, deep)


def read(text: str) -> Any:
    """Raises NotPlain."""
    try:
        return yaml.load(text, _Plain)  # noqa: S506, it is a SafeLoader
    except NotPlain:
        raise
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise NotPlain(f"this is no YAML{where}: {error.problem or 'it cannot be read'}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise NotPlain(f"this is no YAML: {next(iter(str(error).splitlines()), '')[:300]}") from error
