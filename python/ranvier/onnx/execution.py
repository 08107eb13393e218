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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from itertools import repeat
from threading import get_ident
from typing import Any, NamedTuple

from ranvier.autograd import Tensor
from ranvier.nn import Module
from ranvier.observe import observers
from ranvier.onnx.graph import STATISTICS, Graph, Node
from ranvier.onnx.limits import BY_VALUES, STEP, cost
from ranvier.onnx.operators.sizes import as_operands, in_numbers, is_sized, of_sizes
from ranvier.onnx.patching import active, followed
from ranvier.onnx.registry import Operator, find
from ranvier.onnx.submodules import Partition, Path, Subgraph, SubmoduleCall, last_uses
from ranvier.onnx.values import Reader, Value, raw, shown
from ranvier.tensors.recording import paused
from ranvier.tensors.types import Shape

Values = dict[str, Any]
"""The values of a run by name: Tensors and arrays, and None for the name "" of an input that is left out."""


class Submodule(Module):
    """The module at a prefix of the parameters' names."""

    step_constants = ("_body",)  # for a compiled step the body stays as it is in the file
    _body: Body

    def forward(self, *inputs: Value) -> Any:
        name = ".".join(self._body.path)
        subgraph = self._body.subgraph
        if not subgraph.steps:
            raise ValueError(f"[onnx] part '{name}' is not one function: {_REMEDY}")
        expected = len(subgraph.inputs)
        if len(inputs) != expected:
            raise TypeError(f"[onnx] part '{name}' got {len(inputs)} inputs; expected {expected}")
        results = run_body(self, self._body, inputs)
        if len(results) > 1:
            return results
        return results[0]


_REMEDY = (
    "its nodes use other parameters, too, or lie around other parts; expected changes of the parts inside, "
    "of those around it, or of its parameters"
)


class Body:
    """What the module at a path computes: its steps in the plan. Only submodules that can be called have any.

    The attribute `_body` of each Submodule, and of the OnnxModule with the path (), which all copies of the
    module share.
    """

    def __init__(self, plan: Plan, path: Path) -> None:
        self.plan = plan
        self.path = path

    def __deepcopy__(self, memo: dict[int, Any]) -> Body:
        return self

    @property
    def subgraph(self) -> Subgraph:
        return self.plan.subgraphs.get(self.path, _NO_STEPS)


_NO_STEPS = Subgraph((), (), (), (), (), {})


class CostLimit(NamedTuple):
    """The cost that a run may have (`limits.py`): a constant, and a number for each element of the inputs."""

    constant: int
    per_element: int


class _KnownCost(NamedTuple):
    """The cost of a node in an earlier run, and the shapes of its operands then."""

    shapes: list[Shape | None]
    cost: int


_UNKNOWN_COST = _KnownCost([], 0)


class SubmodulePlace(NamedTuple):
    """A submodule that the OnnxModule has: the number of the module around it, its name there, its body.

    Submodules are numbered from 1 in their order in `Plan.tree`; 0 is the OnnxModule itself.
    """

    around: int
    name: str
    body: Body


class ParameterPlace(NamedTuple):
    """Where a parameter or buffer is: its value in the graph, the number of its module, its name there."""

    value: str
    module: int
    name: str


class Plan:
    """A graph, and where its parameters and buffers are in the module.

    paths: value of each parameter and buffer -> the names that lead to it.
    buffers: the values that are buffers or copies of them.
    """

    def __init__(
        self, graph: Graph, paths: dict[str, Path], buffers: frozenset[str], limit: CostLimit
    ) -> None:
        self.nodes = graph.nodes
        self.outputs = graph.outputs
        self.paths = paths
        self.buffers = buffers
        self.limit = limit
        self.inputs = [value.name for value in graph.inputs]
        self.constants = {name: a for name, a in graph.initializers.items() if name not in paths}
        self.costs: dict[int, _KnownCost] = {}  # by the id of a node of the plan; `run` fills it
        self.unused = last_uses(self.nodes, self.outputs)
        self.bodies: dict[Path, Body] = {(): Body(self, ())}  # of the module and of all submodules, by path
        for path in paths.values():
            for length in range(1, len(path)):
                self.bodies.setdefault(path[:length], Body(self, path[:length]))

    @cached_property
    def tree(self) -> list[SubmodulePlace]:
        """The place of each submodule; the module around it comes before it."""
        numbers = {path: number for number, path in enumerate(self.bodies)}
        places = []
        for path, body in self.bodies.items():
            if path:
                places.append(SubmodulePlace(numbers[path[:-1]], path[-1], body))
        return places

    @cached_property
    def places(self) -> list[ParameterPlace]:
        """The place of each parameter and buffer."""
        numbers = {path: number for number, path in enumerate(self.bodies)}
        places = []
        for value, path in self.paths.items():
            places.append(ParameterPlace(value, numbers[path[:-1]], path[-1]))
        return places

    @cached_property
    def subgraphs(self) -> dict[Path, Subgraph]:
        """The steps of each submodule that can be called, by path."""
        return Partition(self).subgraphs()

    def parameters(self, module: Module) -> Values | None:
        """The parameters and buffers of the module by the names of their values in the graph.

        None if a submodule was replaced, hooked or put in another mode than the module.
        """
        attributes = [module.__dict__]  # of each module, by its number
        training = module.training
        for around, name, body in self.tree:
            found = attributes[around].get(name)
            if found.__class__ is not Submodule or found._body is not body or found._rv_hooks is not None:
                return None
            of_submodule = found.__dict__
            if "forward" in of_submodule or of_submodule["training"] is not training:
                return None
            attributes.append(of_submodule)
        values: Values = {}
        for value, number, name in self.places:
            parameter = attributes[number].get(name)
            if parameter is None:
                return None
            values[value] = parameter
        return values


# --- running
def run_body(module: Module, body: Body, inputs: Iterable[Value]) -> tuple[Any, ...]:
    """The results of a module's steps, in which the submodules inside it are called.

    module: a Submodule, or the OnnxModule.
    body: the body of this module.
    """
    subgraph = body.subgraph
    values: Values = {"": None, **subgraph.constants}
    values.update(zip(subgraph.inputs, inputs, strict=True))
    for value, path in subgraph.places:
        values[value] = _found(module, body, path)
    budget = CostBudget(body.plan.limit, values, subgraph.inputs)
    return run(module, body, subgraph.steps, subgraph.unused, values, budget, subgraph.outputs)


class CostBudget:
    """The cost that the rest of a run may have, in the units of `limits.py`."""

    def __init__(self, limit: CostLimit, values: Values, inputs: Iterable[str]) -> None:
        elements = sum(raw(values[name]).size for name in inputs)
        self.left = limit.constant + limit.per_element * elements

    def take(self, count: int, node: Node) -> None:
        """Counts the cost of a node; raises ValueError that names the node if no more is left."""
        self.left -= count
        if self.left < 0:
            raise ValueError(
                f"[onnx] {_named(node)}: the results have more elements than expected of a file and "
                "inputs of these sizes; rv.onnx.load(path, max_elements=...) sets the limit"
            )


def run(
    module: Module,
    body: Body,
    steps: Sequence[Node | SubmoduleCall],
    unused: Iterable[Sequence[str]],
    values: Values,
    budget: CostBudget,
    outputs: Iterable[str],
) -> tuple[Any, ...]:
    """Runs the steps, and returns the values that `outputs` names.

    body: the body of the module.
    unused: for each step the values that are deleted after it; it may be longer than `steps`
        (`_graph_results`).
    values: inputs, parameters and constants, by name; results are added.
    budget: what the run may still cost.
    """
    costs = body.plan.costs
    for step, unused_now in zip(steps, unused, strict=False):
        operands = [values[name] for name in step.inputs]
        if isinstance(step, SubmoduleCall):
            results = _found(module, body, step.path)(*operands)
            if len(step.outputs) <= 1:
                results = (results,)
        else:
            if observers:
                Reader.name = _named(step)
            shapes = [v if v is None else v.shape for v in operands]
            known_shapes, count = costs.get(id(step), _UNKNOWN_COST)
            if known_shapes != shapes:
                count = _cost(step, operands)
                if step.op not in BY_VALUES:
                    costs[id(step)] = _KnownCost(shapes, count)
            budget.take(count, step)
            results = _results(module, body, step, operands, budget)
        values.update(zip(step.outputs, results, strict=False))
        values[""] = None  # a result that is left out has this name
        for name in unused_now:
            del values[name]
    return tuple([values[name] for name in outputs])


def _cost(node: Node, operands: list[Any]) -> int:
    """What the node costs, for as many elements as in this run."""
    if active() is None:
        return cost(node.op, operands, node.attributes)
    with followed(None):
        return cost(node.op, list(map(in_numbers, operands)), node.attributes)


def _found(module: Module, body: Body, path: Path) -> Any:
    """The object at a path from `module` on, which has this body: a parameter, or a submodule to call.

    Raises ValueError if a submodule on the way is hooked or replaced: it is not called, so the change would
    have no effect.
    """
    bodies = body.plan.bodies
    found: Any = module
    for i, name in enumerate(path):
        here = (*body.path, *path[:i])  # the path of `found`
        if i > 0 and not _is_unchanged(found, bodies[here]):
            raise ValueError(
                f"[onnx] part '{'.'.join(here)}' is hooked or replaced, and not one function: {_REMEDY}"
            )
        found = getattr(found, name, None)
        is_module = i + 1 < len(path) or (*here, name) in bodies
        if found is None and is_module:
            raise ValueError(
                f"[onnx] got no part '{'.'.join((*here, name))}'; expected a module in its place"
            )
    return found


def _is_unchanged(module: object, body: Body) -> bool:
    """True for the submodule that was loaded with this body, if it has no hooks and no forward of its own."""
    if not isinstance(module, Submodule) or module._body is not body:
        return False
    return module._rv_hooks is None and "forward" not in vars(module)


@contextmanager
def _unobserved() -> Iterator[None]:
    """A block whose results are constants: no observer and no recording of this thread sees its calls."""
    of_this_thread = [one for one in observers if one.thread == get_ident()]
    with paused():
        for observer in of_this_thread:
            observer.thread = 0  # the number of no thread
        try:
            yield
        finally:
            for observer in of_this_thread:
                observer.thread = get_ident()


def _results(
    module: Module, body: Body, node: Node, operands: list[Any], budget: CostBudget
) -> tuple[Any, ...]:
    """The results of a node. They are NumPy arrays if no operand is a Tensor."""
    operator = find(node.op, node.version)
    assert operator is not None
    count = len(operands) - node.captured
    has_sizes = active() is not None and any(map(is_sized, operands))  # the model is exported again
    is_constant = not has_sizes and not any(isinstance(value, Tensor) for value in operands)
    run_arguments: dict[str, Any] = {}
    if operator.run_arguments:
        run_arguments = _run_arguments(operator, module, body, node, operands, budget)
    block: AbstractContextManager[None] = nullcontext()
    if is_constant and operands:
        block = _unobserved()
    try:
        with block:
            result: Any = NotImplemented
            if has_sizes:
                result = of_sizes(node.op, operands[:count], node.attributes)
                operands = as_operands(node.op, operands)
            if result is NotImplemented:
                result = operator.function(*operands[:count], **node.attributes, **run_arguments)
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


def _run_arguments(
    operator: Operator, module: Module, body: Body, node: Node, operands: list[Any], budget: CostBudget
) -> dict[str, Any]:
    """The keyword arguments that the operator's function takes beside attributes (`registry.py`)."""
    statistics = STATISTICS.get(node.op, ())
    buffers = body.plan.buffers
    count = len(operands) - node.captured
    captured = dict(zip(node.inputs[count:], operands[count:], strict=True))
    arguments: dict[str, Any] = {
        "training": module.training,
        "outputs": len(node.outputs),
        "owned": bool(statistics) and all(node.inputs[i] in buffers for i in statistics),
        "compute": partial(_graph_results, module, body, node, captured, budget),
    }
    return {name: arguments[name] for name in operator.run_arguments}


def _graph_results(
    module: Module,
    body: Body,
    node: Node,
    captured: Values,
    budget: CostBudget,
    graph: Graph,
    *inputs: Value,
) -> tuple[Any, ...]:
    """The results of `graph`, which is in an attribute of the node.

    captured: the values of the graph around it that it uses.
    """
    budget.take(STEP * (1 + len(graph.nodes)), node)
    names = [value.name for value in graph.inputs]
    values: Values = {**captured, "": None, **graph.initializers}
    values.update(zip(names, inputs, strict=True))
    return run(module, body, graph.nodes, repeat(()), values, budget, graph.outputs)


def _named(node: Node) -> str:
    """The node for error messages."""
    if node.name:
        return f"node {node.name!r} of type {node.op}"
    return f"node of type {node.op}"
