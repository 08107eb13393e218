"""Forward mode: what the derivatives of the inputs become along the tape of a function.

The function runs once, on a tape. Then the derivatives go from node to node, from the inputs on: ``t`` has
them stacked along a leading axis, (rows, *shape of the value), so that a Linear is one product for all rows.
What the rows mean is a Form: Taylor coefficients, independent directions, or first derivatives with a
Laplacian. A linear op does the same to each row, whatever they mean. A node has saved what its derivative needs,
and is read through ``of_input``; so the results have a history, by inputs and weights.

RULES has a row for each op that is not covered by its rule of create_graph, which says whether it is linear
(`rules.linear`), a formula of other ops (`rules.recomputed`) or a function of each element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.copies import Cast, Clone
from ranvier.autograd.function import Function, Output
from ranvier.autograd.grad import gradients
from ranvier.autograd.graph import Same, cut, of_input, of_output, rule_of
from ranvier.autograd.memory import filled_like
from ranvier.autograd.mode import enable_grad, mode
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops import cat, linear, matmul, permute, reshape, stack, unbind, where
from ranvier.ops.activation import smooth, softmax
from ranvier.ops.elementwise import arithmetic, choice, functions
from ranvier.ops.elementwise.by_numpy import ByNumpy
from ranvier.ops.layout import zeros
from ranvier.ops.matrix.einsum import Linear
from ranvier.ops.matrix.matmul import Matmul
from ranvier.ops.neural import normalization
from ranvier.ops.reduction import norms
from ranvier.ops.reduction.reduce import Sum
from ranvier.ops.reduction.variance import Var
from ranvier.ops.rules import inputs, kept, mapped, recomputed
from ranvier.ops.shape import join, reshape as shapes

Rows = Tensor | None  # of an input: None where it does not depend on the inputs of the function


class Form:
    """Directions: each row is the first derivative in one of them."""

    first_order = True
    slopes = 1  # how many derivatives of a function of each element are needed

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        """y with the terms of a product that are products of rows: pair(i, j) of row i and row j."""
        return y

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        """The rows of f(x), from f', f'' ... at x."""
        return slopes[0] * t

    def kernel(self) -> Any:
        """The weights for the kernel of functions of each element, which is there for the other forms."""
        return NotImplemented


class Taylor(Form):
    """Row i is the Taylor coefficient of order i + 1, along one curve."""

    def __init__(self, order: int) -> None:
        self.slopes, self.first_order = order, order == 1

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

    def kernel(self) -> Any:
        return None


class Laplacian(Form):
    """Rows of first derivatives by each variable, and a last one: the sum of weights[i] d^2 / dx_i^2."""

    first_order, slopes = False, 2

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

    def kernel(self) -> Any:
        return self.weights


def sum_of(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


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
    """The rows of ys, from those of the sources by `key`; None where there are none.

    Raises NotImplementedError for an op without a forward rule.
    """
    values: dict[Any, Any] = dict(ts)
    for node in order(ys, ts):
        if type(node) is Output:
            values[node] = values[node.function][node.index]
        else:
            node.check_saved()
            of_inputs = [None if edge is None else values.get(edge) for edge in node.edges]
            values[node] = rule(node)(name, form, node, *of_inputs)
    return [values.get(key(y)) for y in ys]


def supported(node: Any) -> bool:
    """Whether the node has a forward rule."""
    return type(node) is Output or rule(node) is not _refused


def rule(node: Any) -> Any:
    """The forward rule of a node: rule(name, form, node, *rows of its inputs)."""
    if type(node) in RULES:
        return RULES[type(node)]
    try:
        of_graph = rule_of(node)
    except NotImplementedError:
        return _refused
    for attribute, apply in (("maps", _each), ("expression", _recomputed)):
        if hasattr(of_graph, attribute):
            return apply
    of_element = len(node.inputs) == 1 if isinstance(node, ByNumpy) else getattr(node, "of_element", False)
    return _of_element if of_element else _refused


def _refused(name: str, form: Form, node: Any, *ts: Rows) -> Any:
    raise NotImplementedError(
        f"[{name}] got {type(node).__name__.lower()} of a Tensor that depends on the inputs; expected smooth ops "
        "with a forward rule (docs/physics.md), or autograd.grad(..., create_graph=True)"
    )


# --- linear ops: the same for each row


def _each(name: str, form: Form, node: Any, *ts: Rows) -> Tensor:
    """Rows of an op whose rule of create_graph is `linear`, one by one."""
    if len(ts) > 1 and any(t is not None for t in ts[1:]):
        _refused(name, form, node)
    copy, (there, back) = kept(node), rule_of(node).maps  # type: ignore[attr-defined]
    forward = (lambda x: copy.forward(x)) if there is None else lambda x: there(copy, x)
    backward = (lambda dy: copy.backward(dy)) if back is None else lambda dy: back(copy, dy)
    t: Any = ts[0]
    return mapped(node, t, _by_rows(forward), _by_rows(backward), list(vars(copy).values()))


def _by_rows(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def rows(x: Any) -> Any:
        of_rows = [function(row) for row in x]
        return _core.concatenate([np.asarray(y[0] if type(y) is tuple else y)[None] for y in of_rows], 0)

    return rows


def lifted(t: Tensor, ndim: int) -> Tensor:
    """(rows, 1, ..., *shape), which broadcasts with values of ndim dimensions."""
    return t if t.ndim > ndim else reshape(t, (t.shape[0], *(1,) * (ndim + 1 - t.ndim), *t.shape[1:]))


def _added(name: str, form: Form, node: Any, a: Rows, b: Rows) -> Tensor:
    minus = type(node) is arithmetic.Sub
    shape = np.broadcast_shapes(*node.shapes)
    terms = [lifted(t, len(shape)) for t in (a, -b if minus and b is not None else b) if t is not None]
    y = sum_of(terms)
    return y if y.shape[1:] == shape else y.expand((y.shape[0], *shape))


def _same(name: str, form: Form, node: Any, t: Tensor) -> Tensor:
    return t


def _sum(name: str, form: Form, node: Any, t: Tensor) -> Tensor:
    axes, ndim = node.axes, len(node.shape)
    axes = range(ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
    places = tuple(axis % ndim + 1 for axis in axes)
    if not places:
        return t
    return t.mean(places, keepdim=node.keepdims) if node.mean else t.sum(places, keepdim=node.keepdims)


def _concatenated(name: str, form: Form, node: Any, *ts: Rows) -> Tensor:
    one = next(t for t in ts if t is not None)
    ndim = one.ndim - 1
    pairs = [(t, shape) for t, shape in zip(ts, node.shapes, strict=True) if len(shape) == ndim]
    rows = [wrap(zeros((one.shape[0], *s), one._array.dtype)) if t is None else t for t, s in pairs]
    return cat(rows, node.axis % ndim + 1)


def _chosen(name: str, form: Form, node: Any, _: Rows, a: Rows, b: Rows) -> Tensor:
    condition = wrap(node.condition)
    ndim = max(condition.ndim, *map(len, node.shapes))
    return where(condition, *(0.0 if t is None else lifted(t, ndim) for t in (a, b)))


# --- products


def product(form: Form, op: Any, a: Any, ta: Rows, b: Any, tb: Rows, pair: Any = None) -> Tensor:
    """The rows of op(a, b), linear in each: a and b are functions that give the values; op takes rows, too."""
    terms = [op(ta, b())] if ta is not None else []
    if tb is not None:
        terms.append(op(a(), tb))
    y = sum_of(terms)
    if ta is None or tb is None:
        return y
    return form.mixed(y, lambda i, j: (pair or op)(ta[i], tb[j]))


def _values(node: Any) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    return lambda: of_input(node, 0, node.a), lambda: of_input(node, 1, node.b)


def _multiplied(name: str, form: Form, node: Any, ta: Rows, tb: Rows) -> Tensor:
    a, b = _values(node)
    ndim = max(node.a.ndim, node.b.ndim)
    ta, tb = (None if t is None else lifted(t, ndim) for t in (ta, tb))
    return product(form, lambda x, y: x * y, a, ta, b, tb)


def _matrices(name: str, form: Form, node: Any, ta: Rows, tb: Rows) -> Tensor:
    a, b = _values(node)
    row, column = node.a.ndim == 1, node.b.ndim == 1  # vectors, as matrices of one row or column
    ndim = max(node.a.ndim, node.b.ndim, 2)
    if row:
        a, ta = (lambda: of_input(node, 0, node.a).unsqueeze(0)), ta if ta is None else ta.unsqueeze(-2)
    if column:
        b, tb = (lambda: of_input(node, 1, node.b).unsqueeze(1)), tb if tb is None else tb.unsqueeze(-1)
    ta, tb = (None if t is None else lifted(t, ndim) for t in (ta, tb))
    y = product(form, matmul, a, ta, b, tb)
    y = y.squeeze(-1) if column else y
    return y.squeeze(-1 if column else -2) if row else y


def _linear(name: str, form: Form, node: Any, tx: Rows, tw: Rows, tb: Rows) -> Tensor:
    ndim = node.x.ndim

    def op(x: Tensor, w: Tensor) -> Tensor:
        if w.ndim == 2:
            return linear(x, w)
        if ndim > 2:
            w = reshape(w, (w.shape[0], *(1,) * (ndim - 2), *w.shape[1:]))
        return matmul(x, w.transpose(-1, -2))

    terms = []
    if tx is not None or tw is not None:
        x, w = lambda: of_input(node, 0, node.x), lambda: of_input(node, 1, node.weight)
        terms.append(product(form, op, x, tx, w, tw))
    if tb is not None:
        shape = (*node.x.shape[:-1], node.weight.shape[0])
        terms.append(lifted(tb, ndim).expand((tb.shape[0], *shape)))
    return sum_of(terms)


def _divided(name: str, form: Form, node: Any, ta: Rows, tb: Rows) -> Tensor:
    ndim = node.y.ndim
    b, ta = of_input(node, 1, node.b), None if ta is None else lifted(ta, ndim)
    if tb is None:
        return ta / b  # type: ignore[operator]
    tr = lifted(composed(name, form, lambda b: b.reciprocal(), [b], [tb]), ndim)
    y = of_output(node, node.y)
    return product(form, lambda x, y: x * y, lambda: y * b, ta, b.reciprocal, tr)


# --- functions of each element


class Jet(Function):
    """The rows of f(x), from those of x: the kernel, for the functions f of KERNELS"""

    def __init__(self, function: str, form: Form, source: Any) -> None:
        self.function, self.form, self.source, self.weights = function, form, source, form.kernel()

    def forward(self, saved: Any, t: Any) -> Any:
        self.saved, self.t = saved, t
        return _core.jet(saved, t, self.function, self.weights)

    def backward(self, dy: Any) -> Any:
        return _core.jet_backward(dy, self.saved, self.t, self.function, self.weights)


@recomputed("saved", "t", kinds=(Jet,))
def _by_slopes(node: Any, x: Tensor, t: Tensor) -> Tensor:
    return node.form.of_element(slopes(node.source, x, node.form.slopes), t)


def slopes(source: Any, x: Tensor, count: int) -> list[Tensor]:
    """f', f'' ... at x for the function of each element that the node has computed; x: on the tape."""
    node = kept(source)  # as if x were its input
    node.recorded, node.released, node.hooks, node.outputs = True, False, None, 1
    node.edges = (key(x), *source.edges[1:])
    node.versions, node.changes = source.versions, source.changes
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


def _of_element(name: str, form: Form, node: Any, t: Tensor, *others: Rows) -> Tensor:
    """A function of each element: by its kernel, or by its slopes."""
    if any(other is not None for other in others):
        _refused(name, form, node)
    function, saves = KERNELS.get(type(node), ("", ""))
    default = type(node) is not smooth.Softplus or (node.beta, node.threshold) == (1.0, 20.0)
    if function and default and form.kernel() is not NotImplemented and t.dtype == getattr(node, saves).dtype:
        x = of_input(node, 0, getattr(node, saves))
        if saves == "y" and node.versions:
            x._cell = node.versions[0]  # its array is the output's: a change of that is noticed
        return Jet(function, form, kept(node)).apply(x, t)
    x = _leaf(of_input(node, 0, _operand(node)))
    return form.of_element([_outside(s) for s in slopes(node, x, form.slopes)], t)


def _operand(node: Any) -> Any:
    """An array of the shape and dtype of the input: the input itself where the node has it."""
    if isinstance(node, ByNumpy):
        return node.inputs[0]
    return next(vars(node)[name] for name in ("x", "a", "y") if name in vars(node))


def _leaf(x: Tensor) -> Tensor:
    """x on the tape, so that gradients by it exclude those of other uses of x."""
    with enable_grad():
        return cut(x) if x._requires_grad else wrap(x._array, requires_grad=True)


def _outside(x: Tensor) -> Tensor:
    return x if mode.enabled else x.detach()


def _power(name: str, form: Form, node: Any, ta: Rows, tb: Rows) -> Tensor:
    if tb is None and node.a.shape == node.y.shape:
        return _of_element(name, form, node, ta)  # type: ignore[arg-type]
    xs = inputs(node, "a", "b")
    return composed(name, form, lambda a, b: (a.log() * b).exp(), xs, [ta, tb])


# --- formulas of other ops


def composed(name: str, form: Form, function: Any, xs: list[Tensor], ts: Sequence[Rows]) -> Any:
    """The rows of function(*xs), which runs on a tape of its own; None for an x that it does not depend on."""
    leaves = [x if t is None else _leaf(x) for x, t in zip(xs, ts, strict=True)]
    with enable_grad():
        y = function(*leaves)
    sources = {key(x): t for x, t in zip(leaves, ts, strict=True) if t is not None}
    rows = pushed(name, form, y if isinstance(y, tuple) else (y,), sources)
    return tuple(rows) if isinstance(y, tuple) else rows[0]


def _recomputed(name: str, form: Form, node: Any, *ts: Rows) -> Any:
    forward, names = rule_of(node).expression  # type: ignore[attr-defined]
    if any(t is not None for t in ts[len(names) :]):
        _refused(name, form, node)
    given = ts[: len(names)]
    return composed(name, form, lambda *xs: forward(node, *xs), inputs(node, *names), given)


def formula(operand: Callable[[Any], Any], function: Callable[[Any, Tensor], Tensor]) -> Any:
    """The rule of an op of one tensor by a formula. operand: an array that stands for the input: it may differ
    from it by what the derivatives do not depend on."""

    def apply(name: str, form: Form, node: Any, t: Rows, *parameters: Rows) -> Any:
        if t is None or any(other is not None for other in parameters):
            _refused(name, form, node)
        x = of_input(node, 0, operand(node))
        return composed(name, form, lambda x: function(node, x), [x], [t])

    return apply


def _nonzero(x: Tensor) -> Tensor:
    """x, and the constant 1 where it is 0: there a root has the slope 0."""
    return where(wrap(x._array).eq(0.0), 1.0, x)


def _variance(node: Any, x: Tensor) -> Tensor:
    n = x.numel() // (node.y.size or 1)
    away = x - x.mean(node.axes, keepdim=True)
    v = (away * away).sum(node.axes, keepdim=node.keepdims) / (n - node.correction)
    return _nonzero(v).sqrt() if node.root else v


def _norm(node: Any, x: Tensor) -> Tensor:
    p = node.p
    if p == 0 or math.isinf(p):
        _refused("jet", Form(), node)
    powers = x * x if p == 2 else x.abs() if p == 1 else _nonzero(x).abs() ** p
    total = powers.sum(node.axes, keepdim=node.keepdims)
    return total if p == 1 else _nonzero(total) ** (1 / p)


def _normalised(sizes: Any, centred: bool) -> Any:
    def layer(node: Any, x: Tensor) -> Tensor:
        axes = tuple(range(x.ndim - len(sizes(node)), x.ndim))
        y, _ = normalization._normalised(x, axes, node.eps, node.mean if centred else None)
        shape = (*(1,) * axes[0], *x.shape[axes[0] :]) if axes else ()
        return normalization._weighted(node, y, shape)

    return formula(lambda node: node.x, layer)


def _softmax(node: Any, x: Tensor) -> Tensor:
    e = x.exp()
    return e / e.sum(node.dim, keepdim=True)


def _glu(node: Any, x: Tensor) -> Tensor:
    a, b = x.chunk(2, node.axis)
    return a * b.sigmoid()


KERNELS: dict[Any, tuple[str, str]] = {
    smooth.Tanh: ("tanh", "y"),
    smooth.Sigmoid: ("sigmoid", "y"),
    functions.Exp: ("exp", "y"),
    functions.Sin: ("sin", "x"),
    functions.Cos: ("cos", "x"),
    smooth.Softplus: ("softplus", "x"),
    smooth.Silu: ("silu", "x"),
    smooth.Gelu: ("gelu", "x"),
}

RULES: dict[Any, Any] = {
    Linear: _linear,
    Matmul: _matrices,
    arithmetic.Mul: _multiplied,
    arithmetic.Div: _divided,
    arithmetic.Add: _added,
    arithmetic.Sub: _added,
    arithmetic.AddNumber: _same,
    arithmetic.NumberSub: lambda name, form, node, t: -t,
    arithmetic.MulNumber: lambda name, form, node, t: t * node.number,
    arithmetic.DivNumber: lambda name, form, node, t: t / node.number,
    arithmetic.Neg: lambda name, form, node, t: -t,
    arithmetic.NumberDiv: _of_element,
    functions.PowNumber: _of_element,
    functions.NumberPow: _of_element,
    functions.Pow: _power,
    smooth.Softplus: _of_element,
    smooth.GeluSlope: _of_element,
    Same: _same,
    Clone: _same,
    Cast: lambda name, form, node, t: t.to(node.dtype),
    choice.Where: _chosen,
    choice.MaskedFill: lambda name, form, node, t, _: where(
        wrap(node.mask), 0.0, lifted(t, max(node.mask.ndim, len(node.shape)))
    ),
    shapes.Reshape: lambda name, form, node, t: reshape(
        t, (t.shape[0], *(node.target if isinstance(node.target, (tuple, list)) else (node.target,)))
    ),
    shapes.Permute: lambda name, form, node, t: permute(t, (0, *(d % (t.ndim - 1) + 1 for d in node.dims))),
    shapes.Expand: lambda name, form, node, t: lifted(t, len(node.target)).expand((t.shape[0], *node.target)),
    join.Concatenate: _concatenated,
    join.Unbind: lambda name, form, node, t: unbind(t, len(node.before) + 1),
    Sum: _sum,
    Var: formula(lambda node: node.x, _variance),
    norms.Norm: formula(lambda node: node.x, _norm),
    norms.LogSumExp: formula(
        lambda node: _core.sub(node.x, node.y, None),
        lambda node, x: x.exp().sum(node.axes, keepdim=node.keepdims).log(),
    ),
    softmax.Softmax: formula(lambda node: _core.log(node.y, None), _softmax),
    softmax.LogSoftmax: formula(
        lambda node: node.y, lambda node, x: x - x.exp().sum(node.dim, keepdim=True).log()
    ),
    smooth.Glu: formula(lambda node: _core.concatenate([node.a, node.b], node.axis), _glu),
    normalization.LayerNorm: _normalised(lambda node: node.part, True),
    normalization.RMSNorm: _normalised(lambda node: node.normalized_shape, False),
}
