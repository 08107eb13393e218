"""Finds the nodes of an ONNX graph for which each submodule stands, and orders them for `execution.py`.

A submodule is the module at a prefix of the parameters' names. It can be called if the nodes that use its
parameters, with all nodes between them, use no parameter of another one. Submodules are taken from the
innermost outwards; in the steps of an outer one the nodes of an inner one are replaced by one call of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from ranvier.onnx.graph import Graph, Node
from ranvier.onnx.values import Array

Path: TypeAlias = tuple[str, ...]
"""The names that lead from a module to a submodule or a parameter: ("encoder", "0", "weight")."""

NodeIndex: TypeAlias = int
"""The position of a node in the graph's list of nodes, which is ordered: a node comes after its operands."""


class SubmoduleCall(NamedTuple):
    """A step that calls a submodule. path: the names that lead to it from the module that calls it.

    inputs, outputs: names of values of the graph.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


Step: TypeAlias = Node | SubmoduleCall


class Subgraph(NamedTuple):
    """What a module computes when it is called.

    unused: for each step the values that may be deleted after it.
    places: each parameter that the steps use, as the name of its value and its path from this module.
    constants: the arrays that the steps use, by name.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: Sequence[Step]
    unused: Sequence[Sequence[str]]
    places: Sequence[tuple[str, Path]]
    constants: dict[str, Array]


def last_uses(steps: Sequence[Step], outputs: Iterable[str]) -> list[list[str]]:
    """For each step: its operands and results that no later step uses and that are no outputs."""
    used_later = {"", *outputs}
    unused = []
    for step in reversed(steps):
        names = dict.fromkeys((*step.inputs, *step.outputs))
        unused.append([name for name in names if name not in used_later])
        used_later.update(names)
    return unused[::-1]


class _Region(NamedTuple):
    """The nodes that one call of a submodule stands for."""

    path: Path
    nodes: frozenset[NodeIndex]
    subgraph: Subgraph


class _Cycle(Exception):
    """Calls of submodules need each other's results, so that not all of them can be called."""

    def __init__(self, paths: set[Path]) -> None:
        super().__init__()
        self.paths = paths


class GraphAndPaths(Protocol):
    """What is divided: a `Plan` (`execution.py`). paths: the value of each parameter -> its path."""

    nodes: list[Node]
    inputs: list[str]
    outputs: list[str]
    paths: dict[str, Path]
    constants: dict[str, Array]


_OUTPUT_OF_GRAPH = -1  # among the nodes that use a value: it is an output of the graph


class Partition:
    """Finds the calls of submodules in a graph.

    A value is active if it depends on an input of the graph. A value that is not active depends on parameters
    and constants only, and is computed in each submodule that uses it.
    """

    def __init__(self, plan: GraphAndPaths) -> None:
        self.plan = plan
        self.nodes = plan.nodes
        self.maker: dict[str, NodeIndex] = {}  # value -> the node that makes it
        self.users: dict[str, set[NodeIndex]] = {v: {_OUTPUT_OF_GRAPH} for v in plan.outputs}
        self.active = {*plan.inputs}
        self.sizes: set[str] = set()  # active values that are computed from shapes of active values alone
        # key of a value that is not active; two values that are computed alike have equal keys
        self.keys: dict[str, Any] = {}
        # for each node: the parameters that it uses, directly or through values that are not active
        self.parameters: list[frozenset[str]] = []
        self._analyse()

    def _analyse(self) -> None:
        """Fills the attributes above, node by node."""
        # value that is not active -> the parameters that it is computed from
        needs = {v: frozenset({v}) for v in self.plan.paths}
        numbers: dict[Any, int] = {}  # key of a node without active operands -> its number
        for i, node in enumerate(self.nodes):
            self.maker.update((v, i) for v in node.outputs if v)
            operands = [v for v in node.inputs if v]
            parameters: set[str] = set()
            for v in operands:
                self.users.setdefault(v, set()).add(i)
                parameters |= needs.get(v, frozenset())
            self.parameters.append(frozenset(parameters))
            if not self.active.isdisjoint(operands):
                is_size = node.op in ("Shape", "Size") or self.active.intersection(operands) <= self.sizes
                self.active.update(node.outputs)
                if is_size:
                    self.sizes.update(node.outputs)
                continue
            key = (node.op, _hashable(node.attributes), *[self.keys.get(v, v) for v in node.inputs])
            number = numbers.setdefault(key, len(numbers))
            for place, v in enumerate(node.outputs):
                needs[v] = self.parameters[i]
                self.keys[v] = (number, place)
        self.active.discard("")

    def subgraphs(self) -> dict[Path, Subgraph]:
        """The steps of the module, whose path is (), and of each submodule that can be called, by path."""
        left_out: set[Path] = set()
        while True:
            try:
                return self._subgraphs_except(left_out)
            except _Cycle as cycle:
                left_out.update(cycle.paths)

    def _subgraphs_except(self, left_out: set[Path]) -> dict[Path, Subgraph]:
        """The steps of the module and of all callable submodules but `left_out`; inner ones come first.

        Raises _Cycle: calls of submodules need each other's results.
        """
        users = self._users_of_submodules(left_out)
        found: dict[Path, Subgraph] = {}
        outermost: dict[NodeIndex, _Region] = {}  # node -> the outermost call so far that contains it
        for path in sorted(users, key=len, reverse=True):
            regions = []
            for nodes in self._calls(users[path]):
                region = self._region(path, nodes, outermost)
                if region is None:
                    break
                regions.append(region)
            else:  # all its calls can be made
                found[path] = regions[0].subgraph  # of several calls each computes the same (`_calls`)
                for region in regions:
                    outermost.update(dict.fromkeys(region.nodes, region))
        active_nodes = frozenset(i for i in range(len(self.nodes)) if self._is_active(i))
        subgraph = self._subgraph((), active_nodes, _regions_of(active_nodes, outermost))
        assert subgraph is not None
        return {**found, (): subgraph}

    def _is_active(self, i: NodeIndex) -> bool:
        return not self.active.isdisjoint(self.nodes[i].outputs)

    def _users_of_submodules(self, left_out: set[Path]) -> dict[Path, list[NodeIndex]]:
        """For each submodule but `left_out` the active nodes that use one of its parameters."""
        users: dict[Path, list[NodeIndex]] = {}
        for i in range(len(self.nodes)):
            if not self._is_active(i):
                continue
            paths: set[Path] = set()
            for parameter in self.parameters[i]:
                path = self.plan.paths[parameter]
                paths.update(path[:length] for length in range(1, len(path)))
            for path in paths - left_out:
                users.setdefault(path, []).extend((*self._products_before(i), i))
        return users

    def _products_before(self, i: NodeIndex) -> list[NodeIndex]:
        """For a node Add: the MatMul nodes whose result this node alone uses.

        The two are one linear layer: PyTorch's exporter may give its matrix a name without the layer's
        prefix, and only the bias has it.
        """
        if self.nodes[i].op != "Add":
            return []
        products = []
        for v in self.nodes[i].inputs:
            maker = self.maker.get(v)
            if maker is None or self.nodes[maker].op != "MatMul":
                continue
            if self.users[self.nodes[maker].outputs[0]] == {i}:
                products.append(maker)
        return products

    # --- the nodes of calls
    def _calls(self, users: list[NodeIndex]) -> list[frozenset[NodeIndex]]:
        """The nodes of each call of a submodule; users: the nodes that use its parameters.

        A shared submodule is called several times. It is taken as such where the nodes fall into groups that
        have no node in common and compute the same; otherwise all nodes are one call.
        """
        together = self._between(users)
        groups = [self._between(group) for group in self._connected(users)]
        if self._are_same_calls(groups):
            return groups
        groups = self._connected(sorted(together))
        if self._are_same_calls(groups):
            return groups
        return [together]

    def _are_same_calls(self, groups: list[frozenset[NodeIndex]]) -> bool:
        """True for groups that have no node in common and compute the same."""
        if sum(map(len, groups)) != len(frozenset().union(*groups)):
            return False
        return len({self._computation(group) for group in groups}) == 1

    def _connected(self, nodes: list[NodeIndex]) -> list[frozenset[NodeIndex]]:
        """Groups of nodes that are connected by their results; no group uses a parameter twice."""
        group_of: dict[NodeIndex, list[NodeIndex]] = {}
        for i in nodes:
            group = [i]
            parameters = set(self.parameters[i])
            makers = {self.maker[v] for v in self.nodes[i].inputs if v in self.maker}
            for maker in sorted(makers & group_of.keys()):
                other_parameters: set[str] = set()
                for k in group_of[maker]:
                    other_parameters |= self.parameters[k]
                if maker not in group and parameters.isdisjoint(other_parameters):
                    group = [*group_of[maker], *group]
                    parameters |= other_parameters
            group_of.update(dict.fromkeys(group, group))
        distinct = {id(group): group for group in group_of.values()}
        return [frozenset(group) for group in distinct.values()]

    def _between(self, nodes: Collection[NodeIndex]) -> frozenset[NodeIndex]:
        """These nodes, and all nodes on paths of the graph from one of these nodes to another."""
        chosen = set(nodes)
        first = min(chosen)
        last = max(chosen)
        after = set[NodeIndex]()  # nodes that use a result of the chosen ones, directly or not
        for i in range(first, last + 1):
            if i in chosen or any(self.maker.get(v) in after for v in self.nodes[i].inputs):
                after.add(i)
        before = set[NodeIndex]()  # nodes whose result the chosen ones use, directly or not
        used = set[str]()
        for i in range(last, first - 1, -1):
            if i in chosen or not used.isdisjoint(self.nodes[i].outputs):
                before.add(i)
                used.update(self.nodes[i].inputs)
        return frozenset(after & before)

    def _computation(self, group: frozenset[NodeIndex]) -> tuple[Any, ...]:
        """A description of the group that is equal for groups that compute the same from different values.

        Active operands are numbered in the order in which they occur; other operands have their `keys`.
        """
        numbers: dict[str, int] = {}
        rows: list[Any] = []
        for i in sorted(group):
            node = self.nodes[i]
            operands: list[Any] = []
            for v in node.inputs:
                if v in self.active:
                    operands.append(numbers.setdefault(v, len(numbers)))
                else:
                    operands.append(self.keys.get(v, v))
            first = len(numbers)
            numbers.update({v: first + place for place, v in enumerate(node.outputs)})
            is_used_outside = [not self.users.get(v, set()) <= group for v in node.outputs]
            rows.append((node.op, _hashable(node.attributes), *operands, *is_used_outside))
        return tuple(rows)

    def _region(
        self, path: Path, nodes: frozenset[NodeIndex], outermost: Mapping[NodeIndex, _Region]
    ) -> _Region | None:
        """These nodes as a call of the submodule at `path`.

        None where they contain a call of a submodule that is not inside this one, or only some nodes of a
        call, and where they use parameters outside the submodule.
        """
        inside = _regions_of(nodes, outermost)
        for region in inside:
            is_inside = region.path[: len(path)] == path and region.path != path
            if not is_inside or not region.nodes <= nodes:
                return None
        subgraph = self._subgraph(path, nodes, inside)
        if subgraph is None:
            return None
        return _Region(path, nodes, subgraph)

    # --- the steps of a call
    def _subgraph(self, path: Path, nodes: frozenset[NodeIndex], inside: list[_Region]) -> Subgraph | None:
        """The steps of the module at `path` for these nodes, with calls for the regions inside it.

        Values that are not active, and sizes that follow from shapes of the inputs, are computed in the
        module. None where the nodes use a parameter outside the module.
        """
        steps: dict[NodeIndex, Step] = {i: self.nodes[i] for i in nodes}
        for region in inside:
            for i in region.nodes:
                del steps[i]
            inner = region.subgraph
            steps[min(region.nodes)] = SubmoduleCall(region.path[len(path) :], inner.inputs, inner.outputs)
        operands = []  # of all steps
        for i in sorted(steps):
            operands += [v for v in steps[i].inputs if v]
        if path:
            inputs = self._inputs(steps, nodes, operands)
            outputs = self._outputs(nodes)
        else:
            inputs = list(self.plan.inputs)
            outputs = self.plan.outputs
        parameters: dict[str, Path] = {}
        constants: dict[str, Array] = {}
        rest = [*operands, *outputs]
        while rest:
            v = rest.pop()
            if v in self.active or not v:
                continue
            if v in self.plan.paths:
                parameters[v] = self.plan.paths[v]
            elif v in self.plan.constants:
                constants[v] = self.plan.constants[v]
            elif self.maker[v] not in steps:
                maker = self.maker[v]
                steps[maker] = self.nodes[maker]
                rest += self.nodes[maker].inputs
        if any(place[: len(path)] != path for place in parameters.values()):
            return None
        order = _ordered(steps, path)
        places = [(v, place[len(path) :]) for v, place in parameters.items()]
        unused = last_uses(order, outputs)
        return Subgraph(tuple(inputs), tuple(outputs), order, unused, places, constants)

    def _inputs(
        self, steps: dict[NodeIndex, Step], nodes: frozenset[NodeIndex], operands: list[str]
    ) -> list[str]:
        """The active values that a submodule takes, without sizes that it can compute from shapes of others.

        The nodes that compute such sizes are added to `steps`, and their operands to `operands`.
        """
        made_here: set[str] = set()
        for step in steps.values():
            made_here.update(step.outputs)
        inputs = list(dict.fromkeys(v for v in operands if v in self.active and v not in made_here))
        known = made_here.union(inputs) - self.sizes
        for size in [v for v in inputs if v in self.sizes]:
            makers = self._makers_of_size(size, known)
            if makers is None:
                continue
            steps.update((i, self.nodes[i]) for i in makers if i not in nodes)
            for i in makers:
                operands += [v for v in self.nodes[i].inputs if v]
            inputs.remove(size)
        return inputs

    def _outputs(self, nodes: frozenset[NodeIndex]) -> list[str]:
        """The results of the nodes that other nodes use, or that are outputs of the graph."""
        outputs = []
        for i in sorted(nodes):
            for v in self.nodes[i].outputs:
                if v and not self.users.get(v, set()) <= nodes:
                    outputs.append(v)
        return outputs

    def _makers_of_size(self, size: str, known: set[str]) -> set[NodeIndex] | None:
        """The nodes that compute a size from shapes of the known values; None if they need others."""
        makers: set[NodeIndex] = set()
        rest = [size]
        while rest:
            v = rest.pop()
            if v not in self.active or v in known:
                continue
            if v not in self.sizes or v not in self.maker:
                return None
            maker = self.maker[v]
            if maker not in makers:
                makers.add(maker)
                rest += self.nodes[maker].inputs
        return makers


def _regions_of(nodes: Iterable[NodeIndex], outermost: Mapping[NodeIndex, _Region]) -> list[_Region]:
    """The outermost calls that contain any of these nodes, each once."""
    regions = {}
    for i in nodes:
        if i in outermost:
            regions[id(outermost[i])] = outermost[i]
    return list(regions.values())


def _ordered(steps: dict[NodeIndex, Step], path: Path) -> list[Step]:
    """The steps, each after those whose results it needs, and otherwise in the order of the file.

    Raises _Cycle: calls of submodules need each other's results.
    """
    makers: dict[str, NodeIndex] = {}
    for i, step in steps.items():
        makers.update((v, i) for v in step.outputs if v)
    sorter: TopologicalSorter[NodeIndex] = TopologicalSorter()
    for i, step in steps.items():
        sorter.add(i, *[makers[v] for v in step.inputs if v in makers])
    with suppress(CycleError):  # the sorter still returns the steps that are in no cycle
        sorter.prepare()
    order: dict[NodeIndex, Step] = {}
    ready: list[NodeIndex] = []
    while sorter.is_active():
        for i in sorter.get_ready():
            heapq.heappush(ready, i)
        i = heapq.heappop(ready)
        order[i] = steps[i]
        sorter.done(i)
    stuck: set[Path] = set()
    for i, step in steps.items():
        if i not in order and isinstance(step, SubmoduleCall):
            stuck.add((*path, *step.path))
    if stuck:
        raise _Cycle(stuck)
    return [*order.values()]


def _hashable(value: Any) -> Any:
    """The attributes of a node, or one of them, as a hashable value; it is equal for equal attributes."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return tuple((name, _hashable(value[name])) for name in sorted(value))
    if isinstance(value, Graph):
        return id(value)
    if isinstance(value, list):
        return tuple(value)
    return value
