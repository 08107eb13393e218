"""The forward rules of ops: how derivatives of an op's inputs become those of its result (see forward.py).

A rule is called as rule(name, algebra, node, *rows). name: the public function, for errors. algebra: what the
rows are, such as Taylor coefficients. node: the op's Function, with what it saved. rows: for each input its
derivatives, a Tensor (rows, *shape), or None if the input is constant. The rule returns the derivatives of
the result, (rows, *shape of the result). In names, `ta` are the rows of the input `a`.

The table at the end says which rule each class of nodes has. `find_rule` in forward.py reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.ops.reduction.norms as norms
from ranvier.func.forward import (
    RULES,
    RowAlgebra,
    Rows,
    Rule,
    add_all,
    push_by_element,
    push_composed,
    push_linear,
    refuse,
)
from ranvier.ops import cat, linear, matmul, permute, reshape, unbind, where
from ranvier.ops.activation.softmax import LogSoftmax, Softmax
from ranvier.ops.elementwise.arithmetic import Add, Div, Mul, Sub
from ranvier.ops.elementwise.choice import MaskedFill, Maximum, Minimum, Where
from ranvier.ops.elementwise.functions import Pow
from ranvier.ops.gradient_rules import inputs
from ranvier.ops.layout import zeros
from ranvier.ops.matrix.linear import Linear
from ranvier.ops.matrix.matmul import Matmul
from ranvier.ops.namespaces import TENSORS
from ranvier.ops.neural.embedding import Embedding
from ranvier.ops.reduction.reduce import Sum
from ranvier.ops.reduction.variance import Var
from ranvier.ops.shape.arrange import AsStrided
from ranvier.ops.shape.join import Concatenate, Unbind
from ranvier.ops.shape.reshape import Expand, Permute, Reshape
from ranvier.tape.copy_functions import Cast, Clone
from ranvier.tape.higher_order import Same, of_input, of_output
from ranvier.tensors.memory import Array, filled_like
from ranvier.tensors.tensor import Tensor, wrap


def _lift(t: Tensor, ndim: int) -> Tensor:
    """Rows (rows, *shape) as (rows, 1, ..., *shape), which broadcast with values of ndim dimensions."""
    if t.ndim > ndim:
        return t
    ones = (1,) * (ndim + 1 - t.ndim)
    return reshape(t, (t.shape[0], *ones, *t.shape[1:]))


def _lift_rows(t: Rows, ndim: int) -> Rows:
    """As `_lift`; None stays None."""
    if t is None:
        return None
    return _lift(t, ndim)


# --- linear ops: each row goes through the op by itself, whatever the rows are


def _push_add(name: str, algebra: RowAlgebra, node: Add, a: Rows, b: Rows) -> Tensor:
    """a + b and a - b, with broadcasting."""
    shape = np.broadcast_shapes(*node.shapes)
    terms = []
    if a is not None:
        terms.append(_lift(a, len(shape)))
    if b is not None:
        term = -b if node.subtracts else b
        terms.append(_lift(term, len(shape)))
    y = add_all(terms)
    if y.shape[1:] == shape:
        return y
    return y.expand((y.shape[0], *shape))


def _push_same(name: str, algebra: RowAlgebra, node: Same | Clone, t: Tensor) -> Tensor:
    """Ops that only copy."""
    return t


def _push_cast(name: str, algebra: RowAlgebra, node: Cast, t: Tensor) -> Tensor:
    return t.to(node.dtype)


def _push_sum(name: str, algebra: RowAlgebra, node: Sum, t: Tensor) -> Tensor:
    """Sums and means. Axis 0 of t is the axis of rows, so each axis of the op is one further."""
    ndim = len(node.shape)
    if ndim == 0:
        return t
    if node.axes is None:
        axes = tuple(range(ndim))
    elif isinstance(node.axes, int):
        axes = (node.axes,)
    else:
        axes = tuple(node.axes)
    axes_of_rows = tuple(axis % ndim + 1 for axis in axes)
    if not axes_of_rows:
        return t
    if node.mean:
        return t.mean(axes_of_rows, keepdim=node.keepdims)
    return t.sum(axes_of_rows, keepdim=node.keepdims)


def _push_concatenate(name: str, algebra: RowAlgebra, node: Concatenate, *rows: Rows) -> Tensor:
    """Concatenation: constant inputs have rows of zeros. Inputs of another number of dimensions are the empty
    ones that PyTorch's cat allows."""
    known = [t for t in rows if t is not None]
    longest = max(known, key=lambda t: t.ndim)
    ndim = longest.ndim - 1
    count = longest.shape[0]
    parts = []
    for t, shape in zip(rows, node.shapes, strict=True):
        if len(shape) != ndim:
            continue
        if t is None:
            t = wrap(zeros((count, *shape), longest._array.dtype))
        parts.append(t)
    return cat(parts, node.axis % ndim + 1)


def _push_unbind(name: str, algebra: RowAlgebra, node: Unbind, t: Tensor) -> tuple[Tensor, ...]:
    axis = len(node.before)
    return unbind(t, axis + 1)


def _push_where(name: str, algebra: RowAlgebra, node: Where, _: Rows, a: Rows, b: Rows) -> Tensor:
    condition = wrap(node.condition)
    ndim = max(condition.ndim, *map(len, node.shapes))
    rows_of_a = 0.0 if a is None else _lift(a, ndim)
    rows_of_b = 0.0 if b is None else _lift(b, ndim)
    rows = where(condition, rows_of_a, rows_of_b)
    shape = np.broadcast_shapes(condition.shape, *node.shapes)  # also that of a constant branch
    return rows.expand(rows.shape[0], *shape)


def _push_masked_fill(name: str, algebra: RowAlgebra, node: MaskedFill, t: Tensor, _: Rows) -> Tensor:
    ndim = max(node.mask.ndim, len(node.shape))
    return where(wrap(node.mask), 0.0, _lift(t, ndim))


def _push_extreme(name: str, algebra: RowAlgebra, node: Maximum | Minimum, ta: Rows, tb: Rows) -> Tensor:
    """maximum and minimum: the rows of a times the slope by a, plus the rows of b times the slope by b."""
    ndim = max(node.a.ndim, node.b.ndim)
    a = wrap(node.a)
    b = wrap(node.b)
    one = wrap(filled_like(1, _core.maximum(node.a, node.b, None)))
    slope = TENSORS.maximum_backward
    if type(node) is Minimum:
        slope = TENSORS.minimum_backward
    terms = []
    if ta is not None:
        terms.append(_lift(ta, ndim) * slope(one, a, b))
    if tb is not None:
        terms.append(_lift(tb, ndim) * slope(one, b, a))
    return add_all(terms)


def _push_reshape(name: str, algebra: RowAlgebra, node: Reshape, t: Tensor) -> Tensor:
    target = node.target if isinstance(node.target, (tuple, list)) else (node.target,)
    return reshape(t, (t.shape[0], *target))


def _push_permute(name: str, algebra: RowAlgebra, node: Permute, t: Tensor) -> Tensor:
    ndim = t.ndim - 1
    dims = [dim % ndim + 1 for dim in node.dims]
    return permute(t, (0, *dims))


def _push_expand(name: str, algebra: RowAlgebra, node: Expand, t: Tensor) -> Tensor:
    lifted = _lift(t, len(node.target))
    return lifted.expand((t.shape[0], *node.target))


def _push_as_strided(name: str, algebra: RowAlgebra, node: AsStrided, t: Tensor) -> Tensor:
    # is_apart: elements outside of x are read, and their derivatives are in no rows
    if node.is_apart:
        refuse(name, algebra, node, t)
    return push_linear(name, algebra, node, t)


def _push_embedding(name: str, algebra: RowAlgebra, node: Embedding, t: Tensor, _: Rows) -> Tensor:
    # padding_idx and scale_grad_by_freq concern backward only
    return t[:, wrap(node.index)]


# --- products


def _push_product(
    algebra: RowAlgebra,
    op: Callable[[Tensor, Tensor], Tensor],
    a: Callable[[], Tensor],
    ta: Rows,
    b: Callable[[], Tensor],
    tb: Rows,
) -> Tensor:
    """The rows of op(a, b), for an op that is linear in a and in b: op(ta, b) + op(a, tb), and the terms with
    both ta and tb, which `algebra.add_mixed_terms` adds. At least one of ta and tb is given.

    a, b: functions that return the values, called only if these are needed. op must accept rows as operands,
        too.
    """
    terms = []
    if ta is not None:
        terms.append(op(ta, b()))
    if tb is not None:
        terms.append(op(a(), tb))
    y = add_all(terms)
    if ta is None or tb is None:
        return y
    rows_of_a = ta
    rows_of_b = tb

    def multiply_rows(i: int, j: int) -> Tensor:
        return op(rows_of_a[i], rows_of_b[j])

    return algebra.add_mixed_terms(y, multiply_rows)


def _multiply(x: Tensor, y: Tensor) -> Tensor:
    return x * y


def _reciprocal(x: Tensor) -> Tensor:
    return x.reciprocal()


def _push_mul(name: str, algebra: RowAlgebra, node: Mul, ta: Rows, tb: Rows) -> Tensor:
    ndim = max(node.a.ndim, node.b.ndim)

    def a() -> Tensor:
        return of_input(node, 0, node.a)

    def b() -> Tensor:
        return of_input(node, 1, node.b)

    return _push_product(algebra, _multiply, a, _lift_rows(ta, ndim), b, _lift_rows(tb, ndim))


def _push_matmul(name: str, algebra: RowAlgebra, node: Matmul, ta: Rows, tb: Rows) -> Tensor:
    """a @ b. A vector becomes a matrix of one row or column, since a stack of rows of a vector is a
    matrix."""
    a_is_vector = node.a.ndim == 1
    b_is_vector = node.b.ndim == 1
    ndim = max(node.a.ndim, node.b.ndim, 2)

    def a() -> Tensor:
        x = of_input(node, 0, node.a)
        return x.unsqueeze(0) if a_is_vector else x

    def b() -> Tensor:
        x = of_input(node, 1, node.b)
        return x.unsqueeze(1) if b_is_vector else x

    if a_is_vector and ta is not None:
        ta = ta.unsqueeze(-2)
    if b_is_vector and tb is not None:
        tb = tb.unsqueeze(-1)
    y = _push_product(algebra, matmul, a, _lift_rows(ta, ndim), b, _lift_rows(tb, ndim))
    if b_is_vector:
        y = y.squeeze(-1)
    if a_is_vector:
        axis = -1 if b_is_vector else -2
        y = y.squeeze(axis)
    return y


def _push_linear_layer(name: str, algebra: RowAlgebra, node: Linear, tx: Rows, tw: Rows, tb: Rows) -> Tensor:
    """x @ w^T + b."""
    ndim = node.x.ndim

    def op(x: Tensor, w: Tensor) -> Tensor:
        """x @ w^T, where either x or w may be rows of it."""
        if w.ndim == 2:
            return linear(x, w)
        if ndim > 2:
            ones = (1,) * (ndim - 2)
            w = reshape(w, (w.shape[0], *ones, *w.shape[1:]))
        return matmul(x, w.transpose(-1, -2))

    def x() -> Tensor:
        return of_input(node, 0, node.x)

    def w() -> Tensor:
        return of_input(node, 1, node.weight)

    terms = []
    if tx is not None or tw is not None:
        terms.append(_push_product(algebra, op, x, tx, w, tw))
    if tb is not None:
        shape = (*node.x.shape[:-1], node.weight.shape[0])
        terms.append(_lift(tb, ndim).expand((tb.shape[0], *shape)))
    return add_all(terms)


def _push_div(name: str, algebra: RowAlgebra, node: Div, ta: Rows, tb: Rows) -> Tensor:
    ndim = node.y.ndim
    b = of_input(node, 1, node.b)
    ta = _lift_rows(ta, ndim)
    if tb is None:
        return ta / b
    y = of_output(node, node.y)
    if algebra.slope_count == 1:  # first derivatives alone: (a' - y b') / b
        term = y * _lift(tb, ndim)
        if ta is None:
            return -term / b
        return (ta - term) / b
    # a / b = (y b) (1 / b), with the product rule of the algebra. b is scaled, since b^2 may leave the
    # dtype's range.
    size = norms.size_of(b._array)
    b = b / size
    tb = tb / size
    if ta is not None:
        ta = ta / size

    def a() -> Tensor:
        return y * b

    t_reciprocal = push_composed(name, algebra, _reciprocal, [b], [tb])
    return _push_product(algebra, _multiply, a, ta, b.reciprocal, _lift(t_reciprocal, ndim))


def _push_pow(name: str, algebra: RowAlgebra, node: Pow, ta: Rows, tb: Rows) -> Tensor:
    """a ** b: a function of each element of a if b is constant, else exp(b log a)."""
    if ta is not None and tb is None and node.a.shape == node.y.shape:
        return push_by_element(name, algebra, node, ta)

    def formula(a: Tensor, b: Tensor) -> Tensor:
        with_constant_exponent = a.expand(node.y.shape) ** b.detach()
        if tb is None:
            return with_constant_exponent
        is_0 = wrap(node.a).eq(0.0) & wrap(node.b).ge(0.0)  # There a**b has a value, but log(a) has none.
        logarithm = where(is_0, 1.0, a).log()
        return where(is_0, with_constant_exponent, (logarithm * b).exp())

    return push_composed(name, algebra, formula, inputs(node, [node.a, node.b]), [ta, tb])


# --- formulas of other ops


def _rule_by_formula(operand: Callable[[Any], Array], formula: Callable[[Any, Tensor], Tensor]) -> Rule:
    """A rule for an op of one tensor that is written as a formula of ops which have rules.

    formula(node, x) is the formula. operand(node) is an array that the node has saved in place of the input,
    with the same derivatives: for softmax, for example, the logarithm of the output."""

    def apply(name: str, algebra: RowAlgebra, node: Any, t: Rows, *parameters: Rows) -> Any:
        if t is None or any(other is not None for other in parameters):
            refuse(name, algebra, node)

        def formula_of_node(x: Tensor) -> Tensor:
            return formula(node, x)

        x = of_input(node, 0, operand(node))
        return push_composed(name, algebra, formula_of_node, [x], [t])

    return apply


def _log_of_output(node: Softmax) -> Array:
    return _core.log(node.y, None)


def _softmax(node: Softmax, x: Tensor) -> Tensor:
    e = x.exp()
    return e / e.sum(node.dim, keepdim=True)


def _output(node: LogSoftmax) -> Array:
    return node.y


def _log_softmax(node: LogSoftmax, x: Tensor) -> Tensor:
    return x - x.exp().sum(node.dim, keepdim=True).log()


def _input(node: Var) -> Array:
    return node.x


RULES.update(
    {
        # linear ops
        Add: _push_add,
        Sub: _push_add,
        Same: _push_same,
        Clone: _push_same,
        Cast: _push_cast,
        Sum: _push_sum,
        Concatenate: _push_concatenate,
        Unbind: _push_unbind,
        Where: _push_where,
        MaskedFill: _push_masked_fill,
        Maximum: _push_extreme,
        Minimum: _push_extreme,
        Reshape: _push_reshape,
        Permute: _push_permute,
        Expand: _push_expand,
        AsStrided: _push_as_strided,
        Embedding: _push_embedding,
        # products
        Mul: _push_mul,
        Matmul: _push_matmul,
        Linear: _push_linear_layer,
        Div: _push_div,
        Pow: _push_pow,
        # formulas of other ops
        Var: _rule_by_formula(_input, Var.formula),
        Softmax: _rule_by_formula(_log_of_output, _softmax),
        LogSoftmax: _rule_by_formula(_output, _log_softmax),
    }
)
