"""The forward rules of ops: how derivatives of an op's inputs become those of its result (see forward.py).

A rule is called as rule(name, form, node, *ts). name: the public function, for errors. form: the meaning of
the rows, such as Taylor coefficients. node: the op's Function, with what it saved. ts: for each input its
derivatives, a Tensor (rows, *shape), or None if the input is constant. The rule returns the derivatives of
the result, (rows, *shape of the result). `_TABLE` at the end lists the rules by class of node. In names, `ta`
are the rows of the input `a`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.ops.reduction.norms as norms
from ranvier.func.forward import RULES, Form, Rows, _each, by_element, composed, refused, sum_of
from ranvier.ops import cat, linear, matmul, permute, reshape, unbind, where
from ranvier.ops.activation import softmax
from ranvier.ops.elementwise import arithmetic, choice, functions
from ranvier.ops.gradient_rules import inputs
from ranvier.ops.layout import zeros
from ranvier.ops.matrix.linear import Linear
from ranvier.ops.matrix.matmul import Matmul
from ranvier.ops.namespaces import TENSORS
from ranvier.ops.neural.embedding import Embedding
from ranvier.ops.reduction.reduce import Sum
from ranvier.ops.reduction.variance import Var
from ranvier.ops.shape import arrange, join, reshape as shapes
from ranvier.tape.copy_functions import Cast, Clone
from ranvier.tape.higher_order import Same, of_input, of_output
from ranvier.tensors.memory import filled_like
from ranvier.tensors.tensor import Tensor, wrap

# --- linear ops: each row goes through the op by itself, whatever the form


def lifted(t: Tensor, ndim: int) -> Tensor:
    """(rows, 1, ..., *shape), which broadcasts with values of ndim dimensions."""
    if t.ndim > ndim:
        return t
    return reshape(t, (t.shape[0], *(1,) * (ndim + 1 - t.ndim), *t.shape[1:]))


def _added(name: str, form: Form, node: Any, a: Rows, b: Rows) -> Tensor:
    """a + b and a - b, with broadcasting."""
    minus = type(node) is arithmetic.Sub
    shape = np.broadcast_shapes(*node.shapes)
    terms = [lifted(t, len(shape)) for t in (a, -b if minus and b is not None else b) if t is not None]
    y = sum_of(terms)
    if y.shape[1:] == shape:
        return y
    return y.expand((y.shape[0], *shape))


def _same(name: str, form: Form, node: Any, t: Tensor) -> Tensor:
    """The rule of ops that only copy."""
    return t


def _sum(name: str, form: Form, node: Any, t: Tensor) -> Tensor:
    axes = node.axes
    ndim = len(node.shape)
    if axes is None:
        axes = range(ndim)
    elif isinstance(axes, int):
        axes = (axes,)
    else:
        axes = axes
    axes_of_rows = tuple(axis % ndim + 1 for axis in axes if ndim)  # + 1: axis 0 is the axis of rows
    if not axes_of_rows:
        return t
    return (t.mean if node.mean else t.sum)(axes_of_rows, keepdim=node.keepdims)


def _concatenated(name: str, form: Form, node: Any, *ts: Rows) -> Tensor:
    """Concatenation: constant inputs have rows of zeros. Inputs of another number of dimensions are the empty
    ones that PyTorch's cat allows."""
    one = max((t for t in ts if t is not None), key=lambda t: t.ndim)
    ndim = one.ndim - 1
    pairs = [(t, shape) for t, shape in zip(ts, node.shapes, strict=True) if len(shape) == ndim]
    rows = [wrap(zeros((one.shape[0], *s), one._array.dtype)) if t is None else t for t, s in pairs]
    return cat(rows, node.axis % ndim + 1)


def _chosen(name: str, form: Form, node: Any, _: Rows, a: Rows, b: Rows) -> Tensor:
    condition = wrap(node.condition)
    ndim = max(condition.ndim, *map(len, node.shapes))
    return where(condition, *(0.0 if t is None else lifted(t, ndim) for t in (a, b)))


def _extreme(name: str, form: Form, node: Any, a: Rows, b: Rows) -> Tensor:
    """maximum and minimum: the rows of a times the slope by a, plus the rows of b times the slope by b."""
    ndim = max(node.a.ndim, node.b.ndim)
    rows = [None if t is None else lifted(t, ndim) for t in (a, b)]
    one = wrap(filled_like(1, _core.maximum(node.a, node.b, None)))
    if type(node) is choice.Minimum:
        slope = TENSORS.minimum_backward
    else:
        slope = TENSORS.maximum_backward
    pairs = (rows[0], node.a, node.b), (rows[1], node.b, node.a)
    return sum_of([t * slope(one, wrap(x), wrap(other)) for t, x, other in pairs if t is not None])


# --- products


def product(form: Form, op: Any, a: Any, ta: Rows, b: Any, tb: Rows) -> Tensor:
    """The rows of op(a, b), for an op that is linear in a and in b: op(ta, b) + op(a, tb), and the terms with
    both ta and tb, which `form.mixed` adds.

    a, b: functions that return the values, called only if these are needed. op must accept rows as operands,
        too.
    """
    terms = [op(ta, b())] if ta is not None else []
    if tb is not None:
        terms.append(op(a(), tb))
    y = sum_of(terms)
    if ta is None or tb is None:
        return y
    return form.mixed(y, lambda i, j: op(ta[i], tb[j]))


def _values(node: Any) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Functions that return the inputs a and b of a node."""
    return lambda: of_input(node, 0, node.a), lambda: of_input(node, 1, node.b)


def _multiplied(name: str, form: Form, node: Any, ta: Rows, tb: Rows) -> Tensor:
    a, b = _values(node)
    ndim = max(node.a.ndim, node.b.ndim)
    ta, tb = (None if t is None else lifted(t, ndim) for t in (ta, tb))
    return product(form, lambda x, y: x * y, a, ta, b, tb)


def _matrices(name: str, form: Form, node: Any, ta: Rows, tb: Rows) -> Tensor:
    """a @ b. A vector becomes a matrix of one row or column, since a stack of rows of a vector is a
    matrix."""
    a, b = _values(node)
    row = node.a.ndim == 1
    column = node.b.ndim == 1
    ndim = max(node.a.ndim, node.b.ndim, 2)
    if row:
        a, ta = (lambda: of_input(node, 0, node.a).unsqueeze(0)), ta if ta is None else ta.unsqueeze(-2)
    if column:
        b, tb = (lambda: of_input(node, 1, node.b).unsqueeze(1)), tb if tb is None else tb.unsqueeze(-1)
    ta, tb = (None if t is None else lifted(t, ndim) for t in (ta, tb))
    y = product(form, matmul, a, ta, b, tb)
    if column:
        y = y.squeeze(-1)
    if row:
        return y.squeeze(-1 if column else -2)
    return y


def _linear(name: str, form: Form, node: Any, tx: Rows, tw: Rows, tb: Rows) -> Tensor:
    """x @ w^T + b."""
    ndim = node.x.ndim

    def op(x: Tensor, w: Tensor) -> Tensor:
        """x @ w^T, where either x or w may be rows of it."""
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
        return ta / b
    y = of_output(node, node.y)
    if form.slopes == 1:  # first derivatives alone: (a' - y b') / b
        of_b = y * lifted(tb, ndim)
        return (-of_b if ta is None else ta - of_b) / b
    # a / b = (y b) (1 / b), with the product rule of the form. b is scaled, since b^2 may leave the dtype's
    # range.
    size = norms.size_of(b._array)
    b = b / size
    tb = tb / size
    ta = None if ta is None else ta / size
    t_reciprocal = lifted(composed(name, form, lambda b: b.reciprocal(), [b], [tb]), ndim)
    return product(form, lambda x, y: x * y, lambda: y * b, ta, b.reciprocal, t_reciprocal)


def _power(name: str, form: Form, node: Any, ta: Rows, tb: Rows) -> Tensor:
    """a ** b: a function of each element of a if b is constant, else exp(b log a)."""
    if tb is None and node.a.shape == node.y.shape:
        return by_element(name, form, node, ta)  # type: ignore[arg-type]

    def formula(a: Tensor, b: Tensor) -> Tensor:
        of_base = a.expand(node.y.shape) ** b.detach()
        if tb is None:
            return of_base
        is_0 = wrap(node.a).eq(0.0) & wrap(node.b).ge(0.0)  # There a**b has a value, but log(a) has none.
        return where(is_0, of_base, (where(is_0, 1.0, a).log() * b).exp())

    return composed(name, form, formula, inputs(node, [node.a, node.b]), [ta, tb])


# --- formulas of other ops


def formula(operand: Callable[[Any], Any], function: Callable[[Any, Tensor], Tensor]) -> Any:
    """A rule for an op of one tensor that is written as a formula of ops which have rules.

    function(node, x) is the formula. operand(node) is an array that the node has saved in place of the input,
    with the same derivatives: for softmax, for example, the logarithm of the output."""

    def apply(name: str, form: Form, node: Any, t: Rows, *parameters: Rows) -> Any:
        if t is None or any(other is not None for other in parameters):
            refused(name, form, node)
        x = of_input(node, 0, operand(node))
        return composed(name, form, lambda x: function(node, x), [x], [t])

    return apply


def _softmax(node: Any, x: Tensor) -> Tensor:
    e = x.exp()
    return e / e.sum(node.dim, keepdim=True)


_TABLE: dict[Any, Any] = {
    Linear: _linear,
    Matmul: _matrices,
    arithmetic.Mul: _multiplied,
    arithmetic.Div: _divided,
    arithmetic.Add: _added,
    arithmetic.Sub: _added,
    functions.Pow: _power,
    Same: _same,
    Clone: _same,
    Cast: lambda name, form, node, t: t.to(node.dtype),
    choice.Maximum: _extreme,
    choice.Minimum: _extreme,
    choice.Where: _chosen,
    choice.MaskedFill: lambda name, form, node, t, _: where(
        wrap(node.mask), 0.0, lifted(t, max(node.mask.ndim, len(node.shape)))
    ),
    shapes.Reshape: lambda name, form, node, t: reshape(
        t, (t.shape[0], *(node.target if isinstance(node.target, (tuple, list)) else (node.target,)))
    ),
    shapes.Permute: lambda name, form, node, t: permute(t, (0, *(d % (t.ndim - 1) + 1 for d in node.dims))),
    shapes.Expand: lambda name, form, node, t: lifted(t, len(node.target)).expand((t.shape[0], *node.target)),
    # padding_idx and scale_grad_by_freq concern backward only
    Embedding: lambda name, form, node, t, _: t[:, wrap(node.index)],
    arrange.AsStrided: lambda name, form, node, t: (refused if node.is_apart else _each)(name, form, node, t),
    join.Concatenate: _concatenated,
    join.Unbind: lambda name, form, node, t: unbind(t, len(node.before) + 1),
    Sum: _sum,
    Var: formula(lambda node: node.x, Var.formula),
    softmax.Softmax: formula(lambda node: _core.log(node.y, None), _softmax),
    softmax.LogSoftmax: formula(
        lambda node: node.y, lambda node, x: x - x.exp().sum(node.dim, keepdim=True).log()
    ),
}

RULES.update(_TABLE)
