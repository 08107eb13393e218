"""Runs the nodes of a loaded graph.

`run` executes a list of nodes. A `Submodule` is a module inside an `OnnxModule` (`reader.py`): the one at a
prefix of the parameters' names, "encoder.0" for "encoder.0.weight". If the nodes that use its parameters,
with all nodes between them, use no other parameters, the submodule stands for these nodes and can be called;
`submodules.py` finds them. While all submodules are as they were loaded, the nodes of the file run one after
another and no submodule is called. After one was hooked or replaced, submodules are called, so that the
change has its effect. Error messages call a submodule a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from itertools import repeat
from threading import get_ident
from typing import Any

from ranvier.autograd import Tensor
from ranvier.nn import Module
from ranvier.observe import observers
from ranvier.onnx.graph import STATISTICS, Graph, Node
from ranvier.onnx.limits import BY_VALUES, STEP, cost
from ranvier.onnx.operators.sizes import as_operands, in_numbers, is_sized, of_sizes
from ranvier.onnx.patching import active, followed
from ranvier.onnx.registry import find
from ranvier.onnx.submodules import Call, Partition, Path, Subgraph, last_uses
from ranvier.onnx.values import Reader, raw, shown
from ranvier.tensors.recording import paused


class Submodule(Module):
    """A module for a part of the parameters' names."""

    step_constants = ("_body",)
    _body: Body

    def forward(self, *inputs: Any) -> Any:
        name = ".".join(self._body.path)
        subgraph = self._body.subgraph
        if not subgraph.steps:
            raise ValueError(f"[onnx] part '{name}' is not one function: {_REMEDY}")
        if len(inputs) != (count := len(subgraph.inputs)):
            raise TypeError(f"[onnx] part '{name}' got {len(inputs)} inputs; expected {count}")
        results = called(self, self._body, inputs)
        if len(results) > 1:
            return results
        return results[0]


_UNKNOWN: tuple[list[Any], int] = ([], 0)
_REMEDY = (
    "its nodes use other parameters, too, or lie around other parts; expected changes of the parts inside, "
    "of those around it, or of its parameters"
)


class Body:
    """What a part computes: its steps in the plan. A part that cannot be called has none."""

    def __init__(self, plan: Plan, path: Path) -> None:
        self.plan = plan
        self.path = path

    def __deepcopy__(self, memo: dict[int, Any]) -> Body:
        return self  # copies of a module share the plan

    @property
    def subgraph(self) -> Subgraph:
        return self.plan.subgraphs.get(self.path, _NOTHING)


_NOTHING = Subgraph((), (), (), (), (), {})


class Plan:
    """A graph, and where its parameters and buffers are in the module.

    paths: value of each parameter and buffer -> the names that lead to it. buffers: the values that are
    buffers or copies of them. most: the cost that a run may have (`limits.py`), and what each input element
    adds to it.
    """

    def __init__(
        self, graph: Graph, paths: dict[str, Path], buffers: frozenset[str], most: tuple[int, int]
    ) -> None:
        self.nodes = graph.nodes
        self.outputs = graph.outputs
        self.paths = paths
        self.buffers = buffers
        self.most = most
        self.inputs = [name for name, *_ in graph.inputs]
        self.constants = {name: a for name, a in graph.initializers.items() if name not in paths}
        # id of a node -> the shapes of its operands in an earlier run, and its cost with these
        self.costs: dict[int, tuple[list[Any], int]] = {}
        self.unused = last_uses(self.nodes, self.outputs)
        prefixes = [p[:i] for p in paths.values() for i in range(len(p))]
        self.bodies = {p: Body(self, p) for p in dict.fromkeys([(), *prefixes])}

    @cached_property
    def tree(self) -> list[tuple[int, str, Body]]:
        """For each part: the number of the part around it, its name and its body.

        Parts are numbered from 1 in this order; 0 is the module itself.
        """
        number = {path: i for i, path in enumerate(self.bodies)}
        return [(number[p[:-1]], p[-1], body) for p, body in self.bodies.items() if p]

    @cached_property
    def places(self) -> list[tuple[str, int, str]]:
        """For each parameter and buffer: its value in the graph, its part's number, its name there."""
        number = {path: i for i, path in enumerate(self.bodies)}
        return [(value, number[path[:-1]], path[-1]) for value, path in self.paths.items()]

    @cached_property
    def subgraphs(self) -> dict[Path, Subgraph]:
        """The steps of each part that can be called, by path."""
        return Partition(self).subgraphs()

    def unchanged(self, module: Module, values: dict[str, Any]) -> bool:
        """True if no part was replaced, hooked or put in another mode; then puts parameters into `values`."""
        parts = [module.__dict__]
        training = module.training
        for around, name, body in self.tree:
            part = parts[around].get(name)
            if part.__class__ is not Submodule or part._body is not body or part._rv_hooks is not None:
                return False
            own = part.__dict__
            if "forward" in own or own["training"] is not training:
                return False
            parts.append(own)
        for value, at, name in self.places:
            if (parameter := parts[at].get(name)) is None:
                return False
            values[value] = parameter
        return True


# --- running
def called(module: Module, body: Body, inputs: Iterable[Any]) -> tuple[Any, ...]:
    """The part's steps, with calls of the parts inside it."""
    subgraph = body.subgraph
    values = {"": None, **subgraph.constants, **dict(zip(subgraph.inputs, inputs, strict=True))}
    for value, path in subgraph.places:
        values[value] = _found(module, body, path)
    left = CostBudget(body.plan, values, subgraph.inputs)
    return run(module, body, subgraph.steps, subgraph.unused, values, left, subgraph.outputs)


class CostBudget:
    """The cost that the rest of a run may have, in the units of `limits.py`."""

    def __init__(self, plan: Plan, values: dict[str, Any], inputs: Iterable[str]) -> None:
        self.left = plan.most[0] + plan.most[1] * sum(raw(values[name]).size for name in inputs)

    def take(self, count: int, node: Node) -> None:
        self.left -= count
        if self.left < 0:
            raise ValueError(
                f"[onnx] {_named(node)}: the results have more elements than expected of a file and "
                "inputs of these sizes; rv.onnx.load(path, max_elements=...) sets the limit"
            )


def run(
    module: Module,
    body: Body,
    steps: Sequence[Node | Call],
    unused: Iterable[Sequence[str]],
    values: dict[str, Any],
    left: CostBudget,
    outputs: Iterable[str],
) -> tuple[Any, ...]:
    """Runs the steps, and returns the values that `outputs` names.

    body: the body of the module or part. unused: for each step the values that are deleted after it. values:
    inputs, parameters and constants, by name; results are added. left: what the run may still cost.
    """
    costs = body.plan.costs
    for step, gone in zip(steps, unused, strict=False):
        operands = [values[name] for name in step.inputs]
        if isinstance(step, Call):
            results = _found(module, body, step.path)(*operands)
            if not (len(step.outputs) > 1):
                results = (results,)
        else:
            if observers:
                Reader.name = _named(step)
            sizes = [v if v is None else v.shape for v in operands]
            known, size = costs.get(id(step), _UNKNOWN)
            if known != sizes:
                size = _cost(step, operands)
                if step.op not in BY_VALUES:
                    costs[id(step)] = sizes, size
            left.take(size, step)
            results = _results(module, body, step, operands, left)
        values.update(zip(step.outputs, results, strict=False))
        values[""] = None
        for name in gone:
            del values[name]
    return tuple([values[name] for name in outputs])


def _cost(step: Node, operands: list[Any]) -> Any:
    """What the step costs, for as many elements as in this run."""
    if active() is None:
        return cost(step.op, operands, step.settings)
    with followed(None):
        return cost(step.op, list(map(in_numbers, operands)), step.settings)


def _found(module: Any, body: Body, path: Path) -> Any:
    """The object at a path from `module` on, which has this body: a parameter, or a part to call.

    Raises ValueError if a part on the way is hooked or replaced: it is not called, so the change would have
    no effect.
    """
    bodies = body.plan.bodies
    for i, name in enumerate(path):
        at = (*body.path, *path[:i])
        whole = isinstance(module, Submodule) and module._body is bodies[at]
        if i and (not whole or module._rv_hooks is not None or "forward" in vars(module)):
            raise ValueError(
                f"[onnx] part '{'.'.join(at)}' is hooked or replaced, and not one function: {_REMEDY}"
            )
        found = getattr(module, name, None)
        if found is None and (i + 1 < len(path) or (*at, name) in bodies):
            raise ValueError(f"[onnx] got no part '{'.'.join((*at, name))}'; expected a module in its place")
        module = found
    return module


@contextmanager
def _aside() -> Iterator[None]:
    """A block whose results are constants: no observer and no recording of this thread sees its calls."""
    here = [one for one in observers if one.thread == get_ident()]
    with paused():
        for one in here:
            one.thread = 0
        try:
            yield
        finally:
            for one in here:
                one.thread = get_ident()


def _results(
    module: Module, body: Body, node: Node, operands: list[Any], left: CostBudget
) -> tuple[Any, ...]:
    """The results of a node. They are NumPy arrays if no operand is a Tensor."""
    operator = find(node.op, node.version)
    assert operator is not None
    more: dict[str, Any] = {}
    count = len(operands) - node.captured
    has_sizes = active() is not None and any(map(is_sized, operands))  # the model is written again
    is_constant = not has_sizes and not any(isinstance(value, Tensor) for value in operands)
    if operator.asks:
        places = STATISTICS.get(node.op, ())
        buffers = body.plan.buffers
        owned = bool(places) and all(node.inputs[i] in buffers for i in places)
        asked: dict[str, Any] = {"training": module.training, "outputs": len(node.outputs), "owned": owned}
        scope = dict(zip(node.inputs[count:], operands[count:], strict=True))
        asked["compute"] = partial(_computed, module, body, node, scope, left)
        more = {name: asked[name] for name in operator.asks}
    try:
        with _aside() if is_constant and operands else nullcontext():
            result: Any = NotImplemented
            if has_sizes:
                result = of_sizes(node.op, operands[:count], node.settings)
                operands = as_operands(node.op, operands)
            if result is NotImplemented:
                result = operator.function(*operands[:count], **node.settings, **more)
    except MemoryError:  # the MemoryError of an op is also a ValueError, which is caught below
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(shown(f"[onnx] {_named(node)}: {error} (operator set {node.version})")) from error
    results = result if isinstance(result, tuple) else (result,)
    if is_constant:
        results = tuple(map(raw, results))
    if len(results) < len(node.outputs):
        raise ValueError(
            f"[onnx] node '{node.name}' of type {node.op} has {len(results)} results; expected "
            f"{len(node.outputs)}"
        )
    return results


def _computed(
    module: Module,
    body: Body,
    node: Node,
    scope: dict[str, Any],
    left: CostBudget,
    graph: Graph,
    *inputs: Any,
) -> tuple[Any, ...]:
    """The results of `graph`, which is in an attribute of the node; scope: values of the graph around it."""
    left.take(STEP * (1 + len(graph.nodes)), node)
    names = [name for name, *_ in graph.inputs]
    values = {**scope, "": None, **graph.initializers, **dict(zip(names, inputs, strict=True))}
    return run(module, body, graph.nodes, repeat(()), values, left, graph.outputs)


def _named(node: Node) -> str:
    if node.name:
        return f"node {node.name!r} of type {node.op}"
    return f"node of type {node.op}"
