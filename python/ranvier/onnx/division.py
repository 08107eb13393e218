"""Divides a graph's nodes among the parts of a module, and orders them as they run."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import numpy as np

from ranvier.onnx.graph import Graph, Node
from ranvier.onnx.values import Array

Path = tuple[str, ...]


class Call(NamedTuple):
    """A step that calls a part; path: its name and those of the parts around it, from the caller on."""

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Filling(NamedTuple):
    """The steps of a part; constants and the places of parameters are what they begin with."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: Sequence[Node | Call]
    unused: Sequence[Sequence[str]]
    places: Sequence[tuple[str, Path]]
    constants: dict[str, Array]


def last_uses(steps: Sequence[Node | Call], outputs: Iterable[str]) -> list[list[str]]:
    """For each step: the values that no later one uses."""
    kept, unused = {"", *outputs}, []
    for step in reversed(steps):
        names = dict.fromkeys((*step.inputs, *step.outputs))
        unused.append([name for name in names if name not in kept])
        kept.update(names)
    return unused[::-1]


class _Region(NamedTuple):
    """Nodes that are one call of a part, by their numbers."""

    path: Path
    nodes: frozenset[int]
    filling: Filling


class _Cycle(Exception):
    """Calls of parts that wait for each other: parts that cannot all be called."""


class Division:
    """The calls of parts in a graph.

    A value is active where it depends on inputs of the graph; others depend on parameters and constants only,
    and are computed in each part that uses them.
    """

    def __init__(self, plan: Any) -> None:
        self.plan, self.nodes = plan, plan.nodes
        self.made = {v: i for i, node in enumerate(plan.nodes) for v in node.outputs if v}
        self.users: dict[str, set[int]] = {v: {-1} for v in plan.outputs}
        self.active = {*plan.inputs}
        self.sizes: set[str] = set()  # that follow from shapes of active values
        self.same: dict[str, Any] = {}  # equal for values that are not active and are computed alike
        self.used: list[frozenset[str]] = []  # the parameters that each node uses
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
                needs[v], self.same[v] = used, (number, k)
        self.active.discard("")

    def fillings(self) -> dict[Path, Filling]:
        left_out: set[Path] = set()
        while True:
            try:
                return self._accepted(left_out)
            except _Cycle as cycle:
                left_out.update(cycle.args[0])

    def _accepted(self, left_out: set[Path]) -> dict[Path, Filling]:
        """The steps of the module and of all parts that can be called; those inside others first."""
        users: dict[Path, list[int]] = {}
        for i, node in enumerate(self.nodes):
            if not self.active.isdisjoint(node.outputs):
                paths = [self.plan.paths[v] for v in self.used[i]]
                for path in {p[:n] for p in paths for n in range(1, len(p))} - left_out:
                    users.setdefault(path, []).extend((*self._product(i), i))
        made: dict[Path, Filling] = {}
        outer: dict[int, _Region] = {}  # node -> the largest call that has it
        for path in sorted(users, key=len, reverse=True):
            regions = [self._region(path, nodes, outer) for nodes in self._calls(users[path])]
            found = [r for r in regions if r is not None]
            if len(found) == len(regions):
                made[path] = found[0].filling
                for region in found:
                    outer.update(dict.fromkeys(region.nodes, region))
        every = frozenset(i for i, node in enumerate(self.nodes) if not self.active.isdisjoint(node.outputs))
        whole = self._filling((), every, _distinct(outer, every))
        assert whole is not None
        return {**made, (): whole}

    def _product(self, i: int) -> list[int]:
        """The product to which a bias is added: PyTorch gives the two parts of a layer unlike names."""
        before = [self.made[v] for v in self.nodes[i].inputs if v in self.made and self.nodes[i].op == "Add"]
        return [
            k for k in before if self.nodes[k].op == "MatMul" and self.users[self.nodes[k].outputs[0]] == {i}
        ]

    # --- the nodes of calls
    def _calls(self, users: list[int]) -> list[frozenset[int]]:
        """The nodes of each call of a part whose parameters these nodes use."""
        whole = self._between(users)
        for parts in (map(self._between, self._adjacent(users)), self._adjacent(sorted(whole))):
            groups = list(parts)
            distinct = sum(map(len, groups)) == len(frozenset().union(*groups))
            if distinct and len({tuple(self._form(group)) for group in groups}) == 1:
                return groups
        return [whole]

    def _adjacent(self, some: list[int]) -> list[frozenset[int]]:
        """Groups of nodes that get each other's results; none uses a parameter twice."""
        group: dict[int, list[int]] = {}
        for i in some:
            joined, used = [i], set(self.used[i])
            for before in sorted(
                {self.made[v] for v in self.nodes[i].inputs if v in self.made} & group.keys()
            ):
                theirs = set().union(*[self.used[k] for k in group[before]])
                if before not in joined and used.isdisjoint(theirs):
                    joined, used = [*group[before], *joined], used | theirs
            group.update(dict.fromkeys(joined, joined))
        return [frozenset(g) for g in {id(g): g for g in group.values()}.values()]

    def _between(self, some: Iterable[int]) -> frozenset[int]:
        """These nodes and all on the ways from one to another."""
        some = set(some)
        first, last = min(some), max(some)
        after: set[int] = set()
        for i in range(first, last + 1):
            if i in some or any(self.made.get(v) in after for v in self.nodes[i].inputs):
                after.add(i)
        before, wanted = set(), set[str]()
        for i in range(last, first - 1, -1):
            if i in some or not wanted.isdisjoint(self.nodes[i].outputs):
                before.add(i)
                wanted.update(self.nodes[i].inputs)
        return frozenset(after & before)

    def _form(self, group: Iterable[int]) -> list[Any]:
        """Equal for groups of nodes that compute the same from other values."""
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
        """A call of a part; None where it would cut another, or its nodes use other parameters."""
        inside = _distinct(outer, nodes)
        if any(not r.nodes <= nodes or r.path[: len(path)] != path or r.path == path for r in inside):
            return None
        filling = self._filling(path, nodes, inside)
        return None if filling is None else _Region(path, nodes, filling)

    # --- the steps of a call
    def _filling(self, path: Path, nodes: frozenset[int], inside: list[_Region]) -> Filling | None:
        steps: dict[int, Node | Call] = {i: self.nodes[i] for i in nodes}
        for region in inside:
            for i in region.nodes:
                del steps[i]
            inner = region.filling
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
        rest, places, constants = [*wanted, *outputs], {}, {}
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
        return Filling(tuple(inputs), tuple(outputs), order, last_uses(order, outputs), found, constants)

    def _behind(self, values: list[str], given: set[str]) -> set[int] | None:
        """The nodes that compute sizes from shapes of given values; None where they need others."""
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
    return list({id(outer[i]): outer[i] for i in nodes if i in outer}.values())


def _ordered(steps: dict[int, Node | Call], path: Path) -> list[Node | Call]:
    """In an order in which each follows what it needs; else in that of the file."""
    made = {v: i for i, step in steps.items() for v in step.outputs if v}
    sorter = TopologicalSorter({i: {made[v] for v in s.inputs if v in made} for i, s in steps.items()})
    with suppress(CycleError):  # those outside of cycles are sorted all the same
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
    """Equal for equal settings, and hashable."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return tuple((name, _plain(value[name])) for name in sorted(value))
    if isinstance(value, Graph):
        return id(value)
    return tuple(value) if isinstance(value, list) else value
