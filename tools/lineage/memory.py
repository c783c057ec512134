"""The graph of events that are all in memory."""

from collections import defaultdict
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from tools.lineage.graph import Question, Step, graph, walk
from tools.lineage.names import checked, key
from tools.lineage.port import Graph, NotKnown, Query
from tools.lineage.projection import Facts

_MOST_NEAR, _SHOWN = 2_000, 5
"""Names that an unknown one is compared with, at some ten microseconds each; and shown of them."""


class Memory:
    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._from: dict[str, list[Step]] = defaultdict(list)
        self._to: dict[str, list[Step]] = defaultdict(list)
        for source, target, kind in facts.edges:
            step = Step(source, target, kind)
            self._from[source].append(step)
            self._to[target].append(step)

    def graph(self, query: Query) -> Graph:
        """Raises NotKnown; PermanentError for what is no node and no cursor."""
        if key(checked(query.node)) not in self._facts.nodes:
            raise NotKnown(f"nothing was told of {query.node}{self._near(query.node)}")
        walking = walk(query)
        try:
            question = next(walking)
            while True:
                question = walking.send(self._told(question))
        except StopIteration as end:
            walked = end.value
        edges = {step: self._facts.edges[step.source, step.target, step.kind] for step in walked.steps}
        ids = {name: node.id for name, node in self._facts.nodes.items()}
        return graph(query, walked, self._facts.nodes, edges, ids)

    def _near(self, asked: str) -> str:
        """What of that kind is called nearly so; else what there is, as far as it is few."""
        kind = asked.partition(":")[0]
        ids = [each.id for each in islice((each for each in self._facts.nodes.values() if each.kind == kind), _MOST_NEAR)]
        near = get_close_matches(asked, ids, _SHOWN) or sorted(ids)[:_SHOWN]
        return f"; there is {', '.join(near)}" if near else f"; there is no {kind} at all"

    def _told(self, question: Question) -> Iterable[Step]:
        found: set[Step] = set()
        for each in question.keys:
            found.update(step for step in self._from.get(each, ()) if step.kind in question.outgoing)
            found.update(step for step in self._to.get(each, ()) if step.kind in question.incoming)
        if question.within is None:
            return found
        return {step for step in found if step.source in question.within and step.target in question.within}
