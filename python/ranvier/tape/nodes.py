"""The tape as programs see it: PyTorch's names for nodes, their links and their hooks.

A tensor's `grad_fn` is a Function, and is also a Node; `next_functions` leads from it to the nodes of its
inputs, down to an AccumulateGrad for each leaf.
"""

from __future__ import annotations

import weakref
from abc import ABCMeta
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import ranvier.tape.hooks as hooks
from ranvier.tape.function import Function, Output
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ranvier.tape.function import Target

__all__ = ["AccumulateGrad", "GradientEdge", "Node", "get_gradient_edge"]

_metadata: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()


class Node(metaclass=ABCMeta):  # noqa: B024
    """A node of the tape, as ``grad_fn`` gives it, with the attributes that ``forward`` has set on ``ctx``.

    >>> import ranvier as rv
    >>> from ranvier.tape.nodes import Node
    >>> x = rv.ones(2, requires_grad=True)
    >>> node = (x * 2).exp().grad_fn
    >>> isinstance(node, Node), node.name(), node.next_functions[0][0].name()
    (True, 'ExpBackward0', 'MulBackward0')
    """

    def name(self) -> str:
        """PyTorch's name: AddBackward0 for the op add, MyFunctionBackward for a Function of the user's."""
        node_class = type(self)
        if node_class.__module__.startswith("ranvier.ops."):
            # AddNumber is the class of `x + 1`, which PyTorch calls AddBackward0, too.
            return f"{node_class.__name__.removesuffix('Number')}Backward0"
        return f"{node_class.__name__}Backward"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """For each input (the node that made it, the number of that node's output); (None, 0): no
        gradient."""
        return tuple(map(_link, self.edges))  # type: ignore[attr-defined]

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary in which the program may keep anything about the node."""
        return _metadata.setdefault(self, {})

    def register_hook(self, fn: Callable[..., Any]) -> hooks.RemovableHandle:
        """Calls ``fn(grad_inputs, grad_outputs)`` after the node; what it returns, if not None, are the new
        gradients of the inputs."""
        _, after = hooks.hooks_of_node(self)
        return hooks.RemovableHandle(after, fn)

    def register_prehook(self, fn: Callable[..., Any]) -> hooks.RemovableHandle:
        """Calls ``fn(grad_outputs)`` before the node; what it returns, if not None, takes their place."""
        before, _ = hooks.hooks_of_node(self)
        return hooks.RemovableHandle(before, fn)


# Function gets the methods of Node; it does not inherit from Node, since the core makes its base class.
for _name in ("name", "next_functions", "metadata", "register_hook", "register_prehook"):
    setattr(Function, _name, vars(Node)[_name])
Node.register(Function)


def _maker(tensor: Tensor) -> Any:
    """The Function that made the tensor; None for a leaf."""
    maker = tensor._grad_fn
    if type(maker) is Output:
        return maker.function
    return maker


def _output_number(tensor: Tensor) -> int:
    """Which of the outputs of its Function the tensor is."""
    maker = tensor._grad_fn
    return maker.index if type(maker) is Output else 0


# Here, because Tensor knows nothing of Functions.
Tensor.grad_fn = property(_maker)
Tensor.output_nr = property(_output_number)  # type: ignore[attr-defined]


class AccumulateGrad:
    """The node of a leaf, in ``next_functions``: it adds to ``variable.grad``."""

    next_functions = ()

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return hash(self.variable)

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    @property
    def metadata(self) -> dict[Any, Any]:
        return _metadata.setdefault(self.variable, {})

    def register_hook(self, fn: Callable[..., Any]) -> hooks.RemovableHandle:
        _, after = hooks.hooks_of_node(self.variable)
        return hooks.RemovableHandle(after, fn)

    def register_prehook(self, fn: Callable[..., Any]) -> hooks.RemovableHandle:
        before, _ = hooks.hooks_of_node(self.variable)
        return hooks.RemovableHandle(before, fn)

    def __repr__(self) -> str:
        return "<AccumulateGrad>"


Node.register(AccumulateGrad)


class _Edge(NamedTuple):
    node: Any  # a Node; None for an input without a gradient
    output_nr: int


class GradientEdge(_Edge):
    """A place where a gradient arrives: output ``output_nr`` of a node; an input of ``autograd.grad``."""

    _grad_fn: Any  # the tensor's _grad_fn, or the tensor itself if it is a leaf
    _requires_grad = True


def _link(edge: Target | None) -> tuple[Any, int]:
    """An edge of the tape as a pair of `next_functions`: the node, and the number of its output."""
    if edge is None:
        return None, 0
    if isinstance(edge, Tensor):
        return AccumulateGrad(edge), 0
    if type(edge) is Output:
        return (edge.function, edge.index)
    return (edge, 0)


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge at which backward has the gradient of a tensor that requires one.

    >>> import ranvier as rv
    >>> from ranvier.tape.nodes import get_gradient_edge
    >>> get_gradient_edge(rv.ones(2, requires_grad=True)).output_nr
    0
    """
    if not tensor._requires_grad:
        raise RuntimeError(
            "[get_gradient_edge] got a tensor that requires no gradient; expected one that does"
        )
    maker = tensor if tensor._grad_fn is None else tensor._grad_fn
    node, output_nr = _link(maker)
    edge = GradientEdge(node, output_nr)
    edge._grad_fn = maker
    return edge
