"""Forward mode: carries derivatives from the inputs of a function to its results.

The function runs once, on a tape. Then `pushed` visits the nodes of the tape from the inputs on, and computes
the derivatives of each node's result from those of its inputs, by the forward rule of the node. The
derivatives of a value are stacked along a leading axis, as its *rows*: a Tensor `t` (rows, *shape of the
value), so that a Linear is one product for all rows. A Form says what the rows are: Taylor coefficients,
first derivatives, or first derivatives with a Laplacian. A linear op does the same to each row, whatever the
row is. Rules consist of differentiable ops, and read the arrays that a node has saved as Tensors of the tape
(`of_input`). So the results can be differentiated again, by inputs and weights.

`rule` finds the forward rule of a node: from RULES, which forward_rules.py fills, or from the node's rule of
create_graph (tape/higher_order.py), if that says that the op is linear (`linear_rule` in
ops/gradient_rules.py) or a formula of other ops (`recomputed` there), or if the op is a function of each
element.
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
from ranvier.ops.elementwise.decorator import DECLARATIONS
from ranvier.ops.gradient_rules import copy_of, mapped, recomputed
from ranvier.ops.namespaces import TENSORS
from ranvier.tape.function import Function, Output
from ranvier.tape.higher_order import cut, of_input, rule_of
from ranvier.tensors.memory import filled_like
from ranvier.tensors.tensor import Tensor, wrap


class Form:
    """The meaning of the rows: which derivatives they are.

    slopes: how many derivatives f', f'' ... of an element-wise function f `of_element` needs.
    """

    slopes: int
    weights: Any = None  # the argument `weights` of the kernel `jet`, which a Laplacian needs
    has_kernel = True  # whether the kernel `jet` computes such rows

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        """The rows of a product a b, where both operands have rows t_a and t_b.

        y: a t_b + t_a b, the part that is linear in the rows. pair(i, j): row i of t_a times row j of t_b.
        """
        raise NotImplementedError

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        """The rows of f(x). slopes: f', f'' ... at x. t: the rows of x."""
        raise NotImplementedError


class Taylor(Form):
    """Row i is the Taylor coefficient of order i + 1 of the value, while the inputs move along a curve."""

    def __init__(self, order: int) -> None:
        """order: the number of rows."""
        self.slopes = order

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        rows = list(unbind(y))
        for k in range(1, len(rows)):
            for i in range(k):
                rows[k] = rows[k] + pair(i, k - 1 - i)
        return stack(rows)

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        # f(x + u) - f(x) is the sum of f^(m)(x) u^m / m!, where u is a polynomial in the curve's parameter
        # whose coefficients are the rows of t. Horner's rule on such polynomials, cut off after `order`
        # coefficients.
        u, order = unbind(t), len(slopes)
        y = [slopes[-1] / math.factorial(order)]
        for m in range(order - 1, -1, -1):
            head = [slopes[m - 1] / math.factorial(m)] if m else []
            y = head + [sum_of([u[i] * y[j - i] for i in range(j + 1)]) for j in range(order - m)]
        return stack(y)


class Tangents(Form):
    """Each row is a first derivative along a direction of its own; there may be any number of rows."""

    slopes = 1
    has_kernel = False

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        return y

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        return slopes[0] * t


class Laplacian(Form):
    """Row i < d is the first derivative by the variable x_i; the last row is the sum of weights[i] d^2 /
    dx_i^2."""

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


Rows = Tensor | None  # the rows of a value; None: the value does not depend on the function's inputs


# class of a node -> rule(name, form, node, *rows of its inputs) -> rows of the result
RULES: dict[Any, Any] = {}


# --- the walk


def key(x: Tensor) -> Any:
    """The node of the tape that has made a Tensor, or the Tensor itself if it is a leaf."""
    if x._grad_fn is None:
        return x
    return x._grad_fn


def order(ys: Sequence[Tensor], sources: Any) -> list[Any]:
    """The nodes on paths from the sources to ys, each after the nodes whose results it reads. sources: as
    `key`."""
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
    """The rows of ys; None for a y that depends on no source.

    ts: the rows of the sources, by their `key`. name: the public function, for errors.
    Raises NotImplementedError for an op without a forward rule.
    """
    values: dict[Any, Any] = dict(ts)
    for node in order(ys, ts):
        if type(node) is Output:
            rows = values[node.function]
            if isinstance(rows, Tensor):  # Only the first output has derivatives, as the values of a sort.
                rows = [rows]
            values[node] = rows[node.index]
        else:
            node.check_saved()
            of_inputs = [None if edge is None else values.get(edge) for edge in node.edges]
            values[node] = _core._without_autocast(rule(node), name, form, node, *of_inputs)
    return [values.get(key(y)) for y in ys]


def rule(node: Any) -> Any:
    """The forward rule of a node, rule(name, form, node, *rows of its inputs); `refused` if there is none."""
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
    if getattr(node, "saves", None) == {}:
        return _scaled
    return by_element


def refused(name: str, form: Form, node: Any, *ts: Rows) -> Any:
    """The rule of ops without a forward rule."""
    raise NotImplementedError(
        f"[{name}] got {node._op_name()} of a Tensor that depends on the inputs; expected ops "
        "with a forward rule (docs/physics.md), or autograd.grad(..., create_graph=True)"
    )


def _each(name: str, form: Form, node: Any, *ts: Rows) -> Tensor:
    """The rule of a linear op y = A a + B b ..., which is applied to each row.

    `maps` of the op's rule of create_graph gives (A, A^T), (B, B^T) ... as functions of arrays.
    """
    copy = copy_of(node)
    first = next(t for t in ts if t is not None)
    maps = rule_of(node).maps(copy, first._array.dtype)  # type: ignore[attr-defined]
    if any(t is not None for t in ts[len(maps) :]):
        refused(name, form, node)
    saved, pairs = list(vars(copy).values()), zip(ts, maps, strict=False)
    given = [(t, _by_rows(there), _by_rows(back)) for t, (there, back) in pairs if t is not None]
    return sum_of([mapped(node, *one, saved) for one in given])


def _scaled(name: str, form: Form, node: Any, t: Tensor) -> Tensor:
    """The rule of y = d x with a constant d. Its backward, dx = d dy, is the same function, applied to
    rows."""
    return type(node).backward(node, t, TENSORS)


def _by_rows(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of arrays, applied to each row of a stack of them."""

    def rows(x: Any) -> Any:
        of_rows = [function(x[i, ...]) for i in range(len(x))]  # arrays, also of 0 dimensions
        return _core.concatenate([np.asarray(y[0] if type(y) is tuple else y)[None] for y in of_rows], 0)

    return rows


# --- functions of each element


class Jet(Function):
    """Computes the rows of f(x) from the rows of x by the kernel `jet`.

    function: the name of f in KERNELS. source: a copy of the node that has computed f(x).
    """

    def __init__(self, function: str, form: Form, source: Any) -> None:
        self.function = function
        self.form = form
        self.source = source

    def forward(self, saved: Any, t: Any) -> Any:
        self.saved = saved
        self.t = t
        return _core.jet(saved, t, self.function, self.form.weights)

    def backward(self, dy: Any) -> Any:
        return _core.jet_backward(dy, self.saved, self.t, self.function, self.form.weights)


@recomputed("saved", "t", kinds=(Jet,))
def _by_slopes(node: Any, x: Tensor, t: Tensor) -> Tensor:
    return node.form.of_element(slopes(node.source, x, node.form.slopes), t)


def _copied(node: Any) -> Any:
    """A copy of a node of the tape, with what the node has saved. It stays usable when the node is
    released."""
    copy = copy_of(node)
    copy.released = False
    copy.hooks = None
    copy.outputs = 1
    copy.edges = node.edges
    copy.versions = node.versions
    copy.changes = node.changes
    return copy


def slopes(source: Any, x: Tensor, count: int) -> list[Tensor]:
    """The derivatives f', f'' ... at x, `count` of them, of the element-wise function f of a node.

    x: the node's input, as a Tensor on the tape. f' comes from the node's rule of create_graph with dy = 1,
    and each further derivative is the gradient of the one before it.
    """
    node = _copied(source)
    node.edges = (key(x), *source.edges[1:])  # as if x were its input
    of_order: list[Tensor] = []
    with enable_grad():
        ones = wrap(filled_like(1, x._array))
        for k in range(count):
            if k == 0:
                slope = rule_of(node)(node, ones)
                if type(slope) is tuple:
                    slope = slope[0]
            elif not of_order[-1]._requires_grad:
                slope = None
            else:
                (slope,) = gradients(of_order[-1], x, ones, create_graph=True, allow_unused=True)
            of_order.append(wrap(filled_like(0, x._array)) if slope is None else slope)
    return of_order


def by_element(name: str, form: Form, node: Any, t: Tensor, *others: Rows) -> Tensor:
    """The rule of a function of each element: by the kernel `jet` if it has the function, else by its
    slopes."""
    if any(other is not None for other in others):
        refused(name, form, node)
    function, saves = KERNELS.get(type(node), ("", ""))
    default = function != "softplus" or (node.beta, node.threshold) == (1.0, 20.0)
    if function and form.has_kernel and default and t.dtype == getattr(node, saves).dtype:
        x = of_input(node, 0, getattr(node, saves))
        if saves == "y" and node.versions:
            x._cell = node.versions[0]  # The array is the output's: a change of the output is noticed.
        return Jet(function, form, _copied(node)).apply(x, t)
    x = _leaf(of_input(node, 0, _operand(node)))
    return form.of_element([s if mode.enabled else s.detach() for s in slopes(node, x, form.slopes)], t)


def _operand(node: Any) -> Any:
    """An array of the shape and dtype of the input: the input itself, if the node has saved it."""
    return next(vars(node)[name] for name in ("x", "a", "y") if name in vars(node))


def _leaf(x: Tensor) -> Tensor:
    """x on the tape, so that gradients by it exclude those of other uses of x."""
    with enable_grad():
        if x._requires_grad:
            return cut(x)
        return wrap(x._array, requires_grad=True)


# --- formulas of other ops


def composed(name: str, form: Form, function: Any, xs: list[Tensor], ts: Sequence[Rows]) -> Any:
    """The rows of function(*xs), which is run on a tape of its own. ts: the rows of xs."""
    leaves = [x if t is None else _leaf(x) for x, t in zip(xs, ts, strict=True)]
    with enable_grad():
        y = function(*leaves)
    sources = {key(x): t for x, t in zip(leaves, ts, strict=True) if t is not None}
    rows = pushed(name, form, y if isinstance(y, tuple) else (y,), sources)
    if isinstance(y, tuple):
        return tuple(rows)
    return rows[0]


def _recomputed(name: str, form: Form, node: Any, *ts: Rows) -> Any:
    """The rule of an op whose rule of create_graph is a formula of other ops: the rows of the formula."""
    forward, given = rule_of(node).expression  # type: ignore[attr-defined]
    xs = given(node)
    if any(t is not None for t in ts[len(xs) :]):
        refused(name, form, node)
    return composed(name, form, lambda *xs: forward(node, *xs), xs, ts[: len(xs)])


# The functions f that the kernel `jet` has: class of the node -> (name in the kernel, the attribute of the
# node with the array that the kernel reads: the input x or the result y).
KERNELS: dict[Any, tuple[str, str]] = {
    **{DECLARATIONS[name].node: (name, "y") for name in ("tanh", "sigmoid", "exp")},
    **{DECLARATIONS[name].node: (name, "x") for name in ("sin", "cos", "softplus", "silu", "gelu")},
}
