"""Finds the nodes of an ONNX graph for which each submodule stands, and orders them for `execution.py`.

A submodule is the module at a prefix of the parameters' names. It can be called if the nodes that use its
parameters, with all nodes between them, use no parameter of another one. Submodules are taken from the
innermost outwards; in the steps of an outer one the nodes of an inner one are replaced by one call of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import numpy as np

from ranvier.onnx.graph import Graph, Node
from ranvier.onnx.values import Array

# The names that lead from the module to a part or a parameter: ("encoder", "0", "weight").
Path = tuple[str, ...]


class Call(NamedTuple):
    """A step that calls a part. path: the names that lead from the calling part to the called one.

    inputs, outputs: names of values of the graph.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Subgraph(NamedTuple):
    """The steps of a part.

    unused: for each step the values that may be deleted after it. places: each parameter that the steps use,
    as the name of its value and its path from this part. constants: the arrays that the steps use, by name.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: Sequence[Node | Call]
    unused: Sequence[Sequence[str]]
    places: Sequence[tuple[str, Path]]
    constants: dict[str, Array]


def last_uses(steps: Sequence[Node | Call], outputs: Iterable[str]) -> list[list[str]]:
    """For each step: its operands and results that no later step uses and that are no outputs."""
    kept = {"", *outputs}
    unused = []
    for step in reversed(steps):
        names = dict.fromkeys((*step.inputs, *step.outputs))
        unused.append([name for name in names if name not in kept])
        kept.update(names)
    return unused[::-1]


class _Region(NamedTuple):
    """The nodes that one call of a part stands for, by their positions in the graph's list of nodes."""

    path: Path
    nodes: frozenset[int]
    subgraph: Subgraph


class _Cycle(Exception):
    """Raised with the paths of parts whose calls need each other's results, so that not all can be called."""


class Partition:
    """Finds the calls of parts in the graph of a `Plan` (`execution.py`).

    A value is active if it depends on an input of the graph. A value that is not active depends on parameters
    and constants only, and is computed in each part that uses it.
    """

    def __init__(self, plan: Any) -> None:
        self.plan = plan
        self.nodes = plan.nodes
        # value -> the node that makes it
        self.made = {v: i for i, node in enumerate(plan.nodes) for v in node.outputs if v}
        # value -> the nodes that use it; -1: it is an output of the graph
        self.users: dict[str, set[int]] = {v: {-1} for v in plan.outputs}
        self.active = {*plan.inputs}
        self.sizes: set[str] = set()  # active values that are computed from shapes of active values alone
        # key of a value that is not active; two values that are computed alike have equal keys
        self.same: dict[str, Any] = {}
        # for each node: the parameters that it uses, directly or through values that are not active
        self.used: list[frozenset[str]] = []
        # value that is not active -> the parameters that it is computed from
        needs = {v: frozenset({v}) for v in plan.paths}
        numbers: dict[Any, int] = {}
        for i, node in enumerate(plan.nodes):
            inputs = [v for v in node.inputs if v]
            for v in inputs:
                self.users.setdefault(v, set()).add(i)
            used = frozenset().union(*[needs.get(v, ()) for v in inputs])
            self.used.append(used)
            if not self.active.isdisjoint(inputs):
                self.active.update(node.outputs)
                if node.op in ("Shape", "Size") or self.active.intersection(inputs) <= self.sizes:
                    self.sizes.update(node.outputs)
                continue
            key = (node.op, _plain(node.settings), *[self.same.get(v, v) for v in node.inputs])
            number = numbers.setdefault(key, len(numbers))
            for k, v in enumerate(node.outputs):
                needs[v] = used
                self.same[v] = (number, k)
        self.active.discard("")

    def subgraphs(self) -> dict[Path, Subgraph]:
        """The steps of the module, whose path is (), and of each part that can be called, by path."""
        left_out: set[Path] = set()
        while True:
            try:
                return self._accepted(left_out)
            except _Cycle as cycle:
                left_out.update(cycle.args[0])

    def _accepted(self, left_out: set[Path]) -> dict[Path, Subgraph]:
        """The steps of the module and of all callable parts except `left_out`; inner parts before outer ones.

        Raises _Cycle: calls of parts that need each other's results.
        """
        users: dict[Path, list[int]] = {}  # part -> the active nodes that use one of its parameters
        for i, node in enumerate(self.nodes):
            if not self.active.isdisjoint(node.outputs):
                paths = [self.plan.paths[v] for v in self.used[i]]
                for path in {p[:n] for p in paths for n in range(1, len(p))} - left_out:
                    users.setdefault(path, []).extend((*self._product(i), i))
        made: dict[Path, Subgraph] = {}
        outer: dict[int, _Region] = {}  # node -> the outermost call so far that contains it
        for path in sorted(users, key=len, reverse=True):
            regions = [self._region(path, nodes, outer) for nodes in self._calls(users[path])]
            found = [r for r in regions if r is not None]
            if len(found) == len(regions):
                made[path] = found[0].subgraph
                for region in found:
                    outer.update(dict.fromkeys(region.nodes, region))
        every = frozenset(i for i, node in enumerate(self.nodes) if not self.active.isdisjoint(node.outputs))
        whole = self._subgraph((), every, _distinct(outer, every))
        assert whole is not None
        return {**made, (): whole}

    def _product(self, i: int) -> list[int]:
        """For a node Add: the MatMul nodes whose result this node alone uses.

        The two are one linear layer: PyTorch's exporter may give its matrix a name without the layer's
        prefix, and only the bias has it.
        """
        before = [self.made[v] for v in self.nodes[i].inputs if v in self.made and self.nodes[i].op == "Add"]
        products = [k for k in before if self.nodes[k].op == "MatMul"]
        return [k for k in products if self.users[self.nodes[k].outputs[0]] == {i}]

    # --- the nodes of calls
    def _calls(self, users: list[int]) -> list[frozenset[int]]:
        """The nodes of each call of a part; users: the nodes that use its parameters.

        A shared part is called several times. It is taken as such where the nodes fall into groups that have
        no node in common and compute the same; otherwise all nodes are one call.
        """
        whole = self._between(users)
        for parts in (map(self._between, self._adjacent(users)), self._adjacent(sorted(whole))):
            groups = list(parts)
            distinct = sum(map(len, groups)) == len(frozenset().union(*groups))
            if distinct and len({tuple(self._form(group)) for group in groups}) == 1:
                return groups
        return [whole]

    def _adjacent(self, some: list[int]) -> list[frozenset[int]]:
        """Groups of nodes that are connected by their results; no group uses a parameter twice."""
        group: dict[int, list[int]] = {}
        for i in some:
            joined = [i]
            used = set(self.used[i])
            makers = {self.made[v] for v in self.nodes[i].inputs if v in self.made}
            for before in sorted(makers & group.keys()):
                theirs = set().union(*[self.used[k] for k in group[before]])
                if before not in joined and used.isdisjoint(theirs):
                    joined = [*group[before], *joined]
                    used = used | theirs
            group.update(dict.fromkeys(joined, joined))
        return [frozenset(g) for g in {id(g): g for g in group.values()}.values()]

    def _between(self, some: Iterable[int]) -> frozenset[int]:
        """These nodes, and all nodes on paths of the graph from one of these nodes to another."""
        some = set(some)
        first = min(some)
        last = max(some)
        after: set[int] = set()
        for i in range(first, last + 1):
            if i in some or any(self.made.get(v) in after for v in self.nodes[i].inputs):
                after.add(i)
        before = set()
        wanted = set[str]()
        for i in range(last, first - 1, -1):
            if i in some or not wanted.isdisjoint(self.nodes[i].outputs):
                before.add(i)
                wanted.update(self.nodes[i].inputs)
        return frozenset(after & before)

    def _form(self, group: Iterable[int]) -> list[Any]:
        """A description of the group that is equal for groups that compute the same from different values.

        Active operands are numbered in the order in which they occur; other operands have their keys of
        `same`.
        """
        numbers: dict[str, int] = {}
        rows: list[Any] = []
        for i in sorted(group):
            node = self.nodes[i]
            operands = [
                numbers.setdefault(v, len(numbers)) if v in self.active else self.same.get(v, v)
                for v in node.inputs
            ]
            numbers.update({v: len(numbers) + k for k, v in enumerate(node.outputs)})
            leave = [not self.users.get(v, set()) <= set(group) for v in node.outputs]
            rows.append((node.op, _plain(node.settings), *operands, *leave))
        return rows

    def _region(self, path: Path, nodes: frozenset[int], outer: dict[int, _Region]) -> _Region | None:
        """These nodes as a call of the part.

        None where they contain a call of a part that is not inside this one, or only some nodes of a call,
        and where they use parameters outside the part.
        """
        inside = _distinct(outer, nodes)
        if any(not r.nodes <= nodes or r.path[: len(path)] != path or r.path == path for r in inside):
            return None
        subgraph = self._subgraph(path, nodes, inside)
        if subgraph is None:
            return None
        return _Region(path, nodes, subgraph)

    # --- the steps of a call
    def _subgraph(self, path: Path, nodes: frozenset[int], inside: list[_Region]) -> Subgraph | None:
        """The steps of the part at `path` for these nodes, with calls for the regions inside it.

        Values that are not active, and sizes that follow from shapes of the inputs, are computed in the part.
        None where the nodes use a parameter outside the part.
        """
        steps: dict[int, Node | Call] = {i: self.nodes[i] for i in nodes}  # by position in the graph
        for region in inside:
            for i in region.nodes:
                del steps[i]
            inner = region.subgraph
            steps[min(region.nodes)] = Call(region.path[len(path) :], inner.inputs, inner.outputs)
        here = {v for step in steps.values() for v in step.outputs}
        wanted = [v for i in sorted(steps) for v in steps[i].inputs if v]
        inputs = list(self.plan.inputs)
        outputs = self.plan.outputs
        if path:
            inputs = list(dict.fromkeys(v for v in wanted if v in self.active and v not in here))
            given = here.union(inputs) - self.sizes
            for v in [v for v in inputs if v in self.sizes]:
                shapes = self._behind([v], given)
                if shapes is not None:
                    steps.update((i, self.nodes[i]) for i in shapes if i not in nodes)
                    wanted += [w for i in shapes for w in self.nodes[i].inputs if w]
                    inputs.remove(v)
            made = [v for i in sorted(nodes) for v in self.nodes[i].outputs]
            outputs = [v for v in made if v and not self.users.get(v, set()) <= nodes]
        rest = [*wanted, *outputs]
        places = {}
        constants = {}
        while rest:
            v = rest.pop()
            if v in self.active:
                continue
            if v in self.plan.paths:
                places[v] = self.plan.paths[v]
            elif v in self.plan.constants:
                constants[v] = self.plan.constants[v]
            elif v and (i := self.made[v]) not in steps:
                steps[i] = self.nodes[i]
                rest += self.nodes[i].inputs
        if any(place[: len(path)] != path for place in places.values()):
            return None
        order = _ordered(steps, path)
        found = [(v, place[len(path) :]) for v, place in places.items()]
        return Subgraph(tuple(inputs), tuple(outputs), order, last_uses(order, outputs), found, constants)

    def _behind(self, values: list[str], given: set[str]) -> set[int] | None:
        """The nodes that compute these sizes from shapes of the values; None if they need others."""
        found: set[int] = set()
        while values:
            v = values.pop()
            if v not in self.active or v in given:
                continue
            if v not in self.sizes or v not in self.made:
                return None
            if self.made[v] not in found:
                found.add(self.made[v])
                values += self.nodes[self.made[v]].inputs
        return found


def _distinct(outer: dict[int, _Region], nodes: Iterable[int]) -> list[_Region]:
    """The calls that contain any of these nodes, each once."""
    return list({id(outer[i]): outer[i] for i in nodes if i in outer}.values())


def _ordered(steps: dict[int, Node | Call], path: Path) -> list[Node | Call]:
    """The steps, each after those whose results it needs, and otherwise in the order of the file.

    Raises _Cycle: calls of parts that need each other's results.
    """
    made = {v: i for i, step in steps.items() for v in step.outputs if v}
    sorter = TopologicalSorter({i: {made[v] for v in s.inputs if v in made} for i, s in steps.items()})
    with suppress(CycleError):  # the sorter still returns the steps that are in no cycle
        sorter.prepare()
    order: dict[int, Node | Call] = {}
    ready: list[int] = []
    while sorter.is_active():
        for i in sorter.get_ready():
            heapq.heappush(ready, i)
        i = heapq.heappop(ready)
        order[i] = steps[i]
        sorter.done(i)
    stuck = [step.path for i, step in steps.items() if i not in order and isinstance(step, Call)]
    if stuck:
        raise _Cycle({(*path, *names) for names in stuck})
    return [*order.values()]


def _plain(value: Any) -> Any:
    """A node's settings, or one of them, as a hashable value; it is equal for equal settings."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return tuple((name, _plain(value[name])) for name in sorted(value))
    if isinstance(value, Graph):
        return id(value)
    if isinstance(value, list):
        return tuple(value)
    return value
