"""Forward mode: carries derivatives from the inputs of a function to its results.

The function runs once, on a tape. Then the derivatives go from node to node, from the inputs on. For each
value, `t` has them stacked along a leading axis, (rows, *shape of the value), so that a Linear is one product
for all rows. A Form says what the rows are: Taylor coefficients, or first derivatives with a Laplacian. A
linear op does the same to each row, whatever it is. Rules are written with differentiable ops, and read the
arrays that a node has saved as Tensors of the tape (`of_input`): the results can be differentiated again, by
inputs and weights.

RULES has a row for each op that is not covered by its rule of create_graph, which says whether it is linear
(`rules.linear_rule`), a formula of other ops (`rules.recomputed`) or a function of each element. Its rows
are in forward_rules.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.gradients import gradients
from ranvier.grad_mode import enable_grad, mode
from ranvier.ops import cat, stack, unbind
from ranvier.ops.elementwise.row import ROWS
from ranvier.ops.gradient_rules import copy_of, mapped, recomputed
from ranvier.ops.slopes import TENSORS
from ranvier.tape.function import Function, Output
from ranvier.tape.higher_order import cut, of_input, rule_of
from ranvier.tensors.memory import filled_like
from ranvier.tensors.tensor import Tensor, wrap


class Form:
    """A kind of derivatives, in rows.

    slopes: how many derivatives of an element-wise function f its rule needs: f', f'' ...
    """

    slopes: int
    weights: Any = None  # the argument `weights` of the kernel `jet`
    has_kernel = True

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        """The rows of a product a b: y has a t_b + t_a b already, pair(i, j) is row i of t_a times row j of
        t_b."""
        raise NotImplementedError

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        """The rows of f(x), from f', f'' ... at x."""
        raise NotImplementedError


class Taylor(Form):
    """Row i is the Taylor coefficient of order i + 1 of the value along a curve of inputs."""

    def __init__(self, order: int) -> None:
        self.slopes = order

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        rows = list(unbind(y))
        for k in range(1, len(rows)):
            for i in range(k):
                rows[k] = rows[k] + pair(i, k - 1 - i)
        return stack(rows)

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        u, order = unbind(t), len(slopes)
        y = [slopes[-1] / math.factorial(order)]  # Horner's rule for polynomials in the curve's parameter
        for m in range(order - 1, -1, -1):
            head = [slopes[m - 1] / math.factorial(m)] if m else []
            y = head + [sum_of([u[i] * y[j - i] for i in range(j + 1)]) for j in range(order - m)]
        return stack(y)


class Tangents(Form):
    """Rows of first derivatives along directions of their own, any number of them."""

    slopes, has_kernel = 1, False

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        return y

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        return slopes[0] * t


class Laplacian(Form):
    """Rows of first derivatives by each variable, and a last one: the sum of weights[i] d^2 / dx_i^2."""

    slopes = 2

    def __init__(self, weights: np.ndarray[Any, Any]) -> None:
        self.weights = weights

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        terms = [pair(i, i) * (2.0 * float(w)) for i, w in enumerate(self.weights) if w]
        return cat([y[:-1], sum_of([y[-1:], *[term.unsqueeze(0) for term in terms]])])

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        squares = [t[i] * t[i] * float(w) for i, w in enumerate(self.weights) if w]
        y = slopes[0] * t
        last = sum_of([y[-1:], *([(slopes[1] * sum_of(squares)).unsqueeze(0)] if squares else [])])
        return cat([y[:-1], last])


def sum_of(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


Rows = Tensor | None  # the derivatives of a value; None where it does not depend on the function's inputs


RULES: dict[Any, Any] = {}  # by the class of a node: rule(name, form, node, *rows of its inputs)


# --- the walk


def key(x: Tensor) -> Any:
    """The node or leaf of the tape that a Tensor is."""
    return x if x._grad_fn is None else x._grad_fn


def order(ys: Sequence[Tensor], sources: Any) -> list[Any]:
    """The nodes between the sources and ys, each after those it reads."""
    nodes: list[Any] = []
    reached: dict[Any, bool] = dict.fromkeys(sources, True)
    stack_of_nodes = [(key(y), False) for y in ys if y._requires_grad]
    while stack_of_nodes:
        node, visited = stack_of_nodes.pop()
        if visited:
            reached[node] = any(reached[edge] for edge in node.edges if edge is not None)
            if reached[node]:
                nodes.append(node)
        elif node not in reached:
            reached[node] = False
            if not isinstance(node, Tensor):
                stack_of_nodes.append((node, True))
                stack_of_nodes += [(edge, False) for edge in node.edges if edge is not None]
    return nodes


def pushed(name: str, form: Form, ys: Sequence[Tensor], ts: dict[Any, Tensor]) -> list[Rows]:
    """The rows of ys; ts: the rows of the sources, by `key`. None where a y depends on none of them.

    Raises NotImplementedError for an op without a forward rule.
    """
    values: dict[Any, Any] = dict(ts)
    for node in order(ys, ts):
        if type(node) is Output:
            rows = values[node.function]
            if isinstance(rows, Tensor):  # only the first output has derivatives, as the values of a sort
                rows = [rows]
            values[node] = rows[node.index]
        else:
            node.check_saved()
            of_inputs = [None if edge is None else values.get(edge) for edge in node.edges]
            values[node] = _core._without_autocast(rule(node), name, form, node, *of_inputs)
    return [values.get(key(y)) for y in ys]


def rule(node: Any) -> Any:
    """The forward rule of a node: rule(name, form, node, *rows of its inputs)."""
    if type(node) in RULES:
        return RULES[type(node)]
    try:
        of_graph = rule_of(node)
    except NotImplementedError:
        return refused
    for attribute, apply in (("maps", _each), ("expression", _recomputed)):
        if hasattr(of_graph, attribute):
            return apply
    if not getattr(node, "of_element", False):
        return refused
    return _scaled if getattr(node, "saves", None) == {} else by_element


def refused(name: str, form: Form, node: Any, *ts: Rows) -> Any:
    raise NotImplementedError(
        f"[{name}] got {node._op_name()} of a Tensor that depends on the inputs; expected ops "
        "with a forward rule (docs/physics.md), or autograd.grad(..., create_graph=True)"
    )


def _each(name: str, form: Form, node: Any, *ts: Rows) -> Tensor:
    """Rows of a linear op y = A a + B b ..., one by one: `maps` of its rule has (A, A^T), (B, B^T) ..."""
    copy, first = copy_of(node), next(t for t in ts if t is not None)
    maps = rule_of(node).maps(copy, first._array.dtype)  # type: ignore[attr-defined]
    if any(t is not None for t in ts[len(maps) :]):
        refused(name, form, node)
    saved, pairs = list(vars(copy).values()), zip(ts, maps, strict=False)
    return sum_of(
        [
            mapped(node, t, _by_rows(there), _by_rows(back), saved)
            for t, (there, back) in pairs
            if t is not None
        ]
    )


def _scaled(name: str, form: Form, node: Any, t: Tensor) -> Tensor:
    """Rows of y = d x with a constant d: its backward, dx = d dy, is the same function."""
    return type(node).backward(node, t, TENSORS)


def _by_rows(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of arrays, applied to each row of a stack of them."""

    def rows(x: Any) -> Any:
        of_rows = [function(x[i, ...]) for i in range(len(x))]  # arrays, also of 0 dimensions
        return _core.concatenate([np.asarray(y[0] if type(y) is tuple else y)[None] for y in of_rows], 0)

    return rows


# --- functions of each element


class Jet(Function):
    """The rows of f(x) from those of x, by the kernel `jet`; f is one of KERNELS, source the node of f(x)."""

    def __init__(self, function: str, form: Form, source: Any) -> None:
        self.function, self.form, self.source = function, form, source

    def forward(self, saved: Any, t: Any) -> Any:
        self.saved, self.t = saved, t
        return _core.jet(saved, t, self.function, self.form.weights)

    def backward(self, dy: Any) -> Any:
        return _core.jet_backward(dy, self.saved, self.t, self.function, self.form.weights)


@recomputed("saved", "t", kinds=(Jet,))
def _by_slopes(node: Any, x: Tensor, t: Tensor) -> Tensor:
    return node.form.of_element(slopes(node.source, x, node.form.slopes), t)


def _copied(node: Any) -> Any:
    """A node of the tape with what this one has saved, which is not released with it."""
    copy = copy_of(node)
    copy.released, copy.hooks, copy.outputs = False, None, 1
    copy.edges, copy.versions, copy.changes = node.edges, node.versions, node.changes
    return copy


def slopes(source: Any, x: Tensor, count: int) -> list[Tensor]:
    """f', f'' ... at x for the function of each element that the node has computed; x: on the tape."""
    node = _copied(source)
    node.edges = (key(x), *source.edges[1:])  # as if x were its input
    of_order: list[Tensor] = []
    with enable_grad():
        ones = wrap(filled_like(1, x._array))
        for k in range(count):
            if k == 0:
                slope = rule_of(node)(node, ones)
                slope = slope[0] if type(slope) is tuple else slope
            elif not of_order[-1]._requires_grad:
                slope = None
            else:
                (slope,) = gradients(of_order[-1], x, ones, create_graph=True, allow_unused=True)
            of_order.append(wrap(filled_like(0, x._array)) if slope is None else slope)
    return of_order


def by_element(name: str, form: Form, node: Any, t: Tensor, *others: Rows) -> Tensor:
    """A function of each element: by its kernel, or by its slopes."""
    if any(other is not None for other in others):
        refused(name, form, node)
    function, saves = KERNELS.get(type(node), ("", ""))
    default = function != "softplus" or (node.beta, node.threshold) == (1.0, 20.0)
    if function and form.has_kernel and default and t.dtype == getattr(node, saves).dtype:
        x = of_input(node, 0, getattr(node, saves))
        if saves == "y" and node.versions:
            x._cell = node.versions[0]  # its array is the output's: a change of that is noticed
        return Jet(function, form, _copied(node)).apply(x, t)
    x = _leaf(of_input(node, 0, _operand(node)))
    return form.of_element([s if mode.enabled else s.detach() for s in slopes(node, x, form.slopes)], t)


def _operand(node: Any) -> Any:
    """An array of the shape and dtype of the input: the input itself where the node has it."""
    return next(vars(node)[name] for name in ("x", "a", "y") if name in vars(node))


def _leaf(x: Tensor) -> Tensor:
    """x on the tape, so that gradients by it exclude those of other uses of x."""
    with enable_grad():
        return cut(x) if x._requires_grad else wrap(x._array, requires_grad=True)


# --- formulas of other ops


def composed(name: str, form: Form, function: Any, xs: list[Tensor], ts: Sequence[Rows]) -> Any:
    """The rows of function(*xs), which runs on a tape of its own."""
    leaves = [x if t is None else _leaf(x) for x, t in zip(xs, ts, strict=True)]
    with enable_grad():
        y = function(*leaves)
    sources = {key(x): t for x, t in zip(leaves, ts, strict=True) if t is not None}
    rows = pushed(name, form, y if isinstance(y, tuple) else (y,), sources)
    return tuple(rows) if isinstance(y, tuple) else rows[0]


def _recomputed(name: str, form: Form, node: Any, *ts: Rows) -> Any:
    """Rows of an op whose rule of create_graph is a formula of other ops: those of the formula."""
    forward, given = rule_of(node).expression  # type: ignore[attr-defined]
    xs = given(node)
    if any(t is not None for t in ts[len(xs) :]):
        refused(name, form, node)
    return composed(name, form, lambda *xs: forward(node, *xs), xs, ts[: len(xs)])


# The functions that the kernel `jet` has: its name there, and the array that the node has saved.
KERNELS: dict[Any, tuple[str, str]] = {
    **{ROWS[name].node: (name, "y") for name in ("tanh", "sigmoid", "exp")},
    **{ROWS[name].node: (name, "x") for name in ("sin", "cos", "softplus", "silu", "gelu")},
}
