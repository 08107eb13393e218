"""Places for the nodes of an acyclic graph: columns along the arrows, with few crossings."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

Point = tuple[float, float]


def layered(inputs: dict[Any, list[Any]]) -> tuple[dict[Any, Point], list[list[Point]]]:
    """(column, row) of every node, and the points that each arrow passes, from an input to its node.

    A node is one column to the right of its last input; a node without inputs is to the left of its first
    use. An arrow over several columns has an empty place in each (Sugiyama, Tagawa, Toda, "Methods for Visual
    Understanding of Hierarchical System Structures", IEEE Transactions on Systems, Man, and Cybernetics,
    1981).

    Args:
        inputs: of every node, each node after its inputs.

    >>> places, arrows = layered({"a": [], "b": ["a"], "c": ["a", "b"]})
    >>> [places[node][0] for node in "abc"], len(arrows[1])
    ([0, 1, 2], 3)
    """
    column: dict[Any, int] = {}
    for node, sources in inputs.items():
        column[node] = 1 + max((column[source] for source in sources), default=-1)
    first_use: dict[Any, int] = {}
    for node, sources in inputs.items():
        for source in sources:
            first_use[source] = min(column[node], first_use.get(source, column[node]))
    column |= {node: at - 1 for node, at in first_use.items() if not inputs[node]}
    columns: list[list[Any]] = [[] for _ in range(max(column.values()) + 1)]
    for node, at in column.items():
        columns[at].append(node)
    chains: list[list[Any]] = []
    for node, sources in inputs.items():
        for n, source in enumerate(sources):
            between = range(column[source] + 1, column[node])
            steps = [("arrow", id(node), n, at) for at in between]
            for at, step in zip(between, steps, strict=True):
                columns[at].append(step)
            chains.append([source, *steps, node])
    _order(columns, chains)
    places: dict[Any, Point] = {}
    for at, members in enumerate(columns):
        for row, member in enumerate(members):
            places[member] = (at, (len(members) - 1) / 2 - row)
    arrows = [[places[step] for step in chain] for chain in chains]
    return {node: places[node] for node in inputs}, arrows


def _order(columns: list[list[Any]], chains: list[list[Any]]) -> None:
    """Sorts the columns by the places of their neighbours, in sweeps in both directions."""
    before: dict[Any, list[Any]] = {}
    after: dict[Any, list[Any]] = {}
    for chain in chains:
        for a, b in pairwise(chain):
            before.setdefault(b, []).append(a)
            after.setdefault(a, []).append(b)
    for sweep in range(8):
        forward = sweep % 2 == 1
        for members in columns if forward else reversed(columns):
            row = {m: n / max(len(c) - 1, 1) for c in columns for n, m in enumerate(c)}
            near = before if forward else after

            def middle(member: Any, near: Any = near, row: Any = row) -> float:
                rows = [row[other] for other in near.get(member, ())]
                return sum(rows) / len(rows) if rows else row[member]

            members.sort(key=middle)
