"""Forward mode: carries derivatives from the inputs of a function to its results.

The function runs once, on a tape. Then `push_forward` visits the nodes of the tape from the inputs on, and
computes the derivatives of each node's result from those of its inputs, by the forward rule of the node.

The derivatives of a value are stacked along a leading axis, as its *rows*: a Tensor (rows, *shape of the
value), so that a Linear is one product for all rows. What the rows are (Taylor coefficients, first
derivatives, or first derivatives with a Laplacian) is known to a `RowAlgebra`, which says how the rows of a
product and of f(x) follow from those of the operands. A linear op does the same to each row, whatever it is.

A forward rule is a function ``rule(name, algebra, node, *rows)``. name: the public function, for errors.
node: the op's Function, with what it has saved. rows: those of each input, None for a constant input. It
returns the rows of the result. Rules consist of differentiable ops, and read the arrays that a node has saved
as Tensors of the tape (`of_input`), so the results can be differentiated again, by inputs and weights.

`find_rule` finds the rule of a node: in RULES, which forward_rules.py fills, or from the node's rule of
create_graph (tape/higher_order.py), if that says that the op is linear (`linear_rule` in
ops/gradient_rules.py) or a formula of other ops (`recomputed` there), or if the op is a function of each
element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

import ranvier._core as _core
from ranvier.autograd.gradients import gradients
from ranvier.grad_mode import enable_grad, mode
from ranvier.ops import cat, stack, unbind
from ranvier.ops.activation import smooth as smooth  # declares the functions of KERNELS
from ranvier.ops.elementwise import functions as functions
from ranvier.ops.elementwise.op import DECLARATIONS
from ranvier.ops.gradient_rules import copy_of, mapped, recomputed
from ranvier.ops.namespaces import TENSORS
from ranvier.tape.function import Function, Output
from ranvier.tape.higher_order import cut, of_input, rule_of
from ranvier.tensors.batched import physical
from ranvier.tensors.memory import Array, filled_like
from ranvier.tensors.tensor import Tensor, wrap

Rows: TypeAlias = Tensor | None
"""The rows of a value. None: the value does not depend on the function's inputs."""

Rule: TypeAlias = Callable[..., Any]
"""A forward rule, as the module's docstring says; of a node with several outputs it returns several rows."""

RULES: dict[type[Function], Rule] = {}  # filled by forward_rules.py, which forward_call.py imports


# --- what rows are


class RowAlgebra:
    """What the rows of a value are, and how those of products and of functions of each element follow.

    slope_count: how many derivatives f', f'' ... of an element-wise function f `compose` needs.
    """

    slope_count: int
    weights: Array | None = None  # the argument `weights` of the kernel `jet`, which a Laplacian needs
    has_kernel = True  # whether the kernel `jet` computes such rows

    def add_mixed_terms(self, y: Tensor, multiply_rows: Callable[[int, int], Tensor]) -> Tensor:
        """The rows of a product a b, where both operands have rows t_a and t_b.

        y: a t_b + t_a b, the part that is linear in the rows.
        multiply_rows(i, j): row i of t_a times row j of t_b.
        """
        raise NotImplementedError

    def compose(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        """The rows of f(x). slopes: f', f'' ... at x. t: the rows of x."""
        raise NotImplementedError


class TaylorRows(RowAlgebra):
    """Row i is the Taylor coefficient of order i + 1 of the value, while the inputs move along a curve."""

    def __init__(self, order: int) -> None:
        """order: the number of rows."""
        self.slope_count = order

    def add_mixed_terms(self, y: Tensor, multiply_rows: Callable[[int, int], Tensor]) -> Tensor:
        # The coefficient of order k + 1 has the products of those orders i + 1 and k - i that add up to it.
        rows = list(unbind(y))
        for k in range(1, len(rows)):
            for i in range(k):
                rows[k] = rows[k] + multiply_rows(i, k - 1 - i)
        return stack(rows)

    def compose(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        # f(x + u) - f(x) is the sum of f^(m)(x) u^m / m!, where u is a polynomial in the curve's parameter
        # whose coefficients are the rows of t. Horner's rule on such polynomials, each cut off after the
        # highest order that is wanted. `y` has the coefficients of order 0, 1 ... so far.
        u = unbind(t)
        order = len(slopes)
        y = [slopes[-1] / math.factorial(order)]
        for m in range(order - 1, 0, -1):
            constant = slopes[m - 1] / math.factorial(m)
            y = [constant, *_multiply_polynomials(u, y)]
        return stack(_multiply_polynomials(u, y))


def _multiply_polynomials(u: Sequence[Tensor], y: Sequence[Tensor]) -> list[Tensor]:
    """The coefficients of order 1 to len(y) of the product of two polynomials. u: coefficients from order 1
    on; y: from order 0 on."""
    coefficients = []
    for k in range(len(y)):
        terms = [u[i] * y[k - i] for i in range(k + 1)]
        coefficients.append(add_all(terms))
    return coefficients


class TangentRows(RowAlgebra):
    """Each row is a first derivative along a direction of its own; there may be any number of rows."""

    slope_count = 1
    has_kernel = False

    def add_mixed_terms(self, y: Tensor, multiply_rows: Callable[[int, int], Tensor]) -> Tensor:
        return y

    def compose(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        return slopes[0] * t


class LaplacianRows(RowAlgebra):
    """Row i < d is the first derivative by the variable x_i; the last row is the sum of weights[i] d^2 /
    dx_i^2."""

    slope_count = 2
    weights: Array

    def __init__(self, weights: Array) -> None:
        self.weights = weights

    def add_mixed_terms(self, y: Tensor, multiply_rows: Callable[[int, int], Tensor]) -> Tensor:
        # (a b)'' has the term 2 a' b' for each variable.
        terms = [y[-1:]]
        for i, weight in enumerate(self.weights):
            if weight:
                term = multiply_rows(i, i) * (2.0 * float(weight))
                terms.append(term.unsqueeze(0))
        return cat([y[:-1], add_all(terms)])

    def compose(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        # f(x)'' = f'(x) x'' + f''(x) x'^2
        squares = [t[i] * t[i] * float(weight) for i, weight in enumerate(self.weights) if weight]
        y = slopes[0] * t
        last = y[-1:]
        if squares:
            term = slopes[1] * add_all(squares)
            last = last + term.unsqueeze(0)
        return cat([y[:-1], last])


def add_all(terms: Sequence[Tensor]) -> Tensor:
    """The sum of one or more tensors, in their order."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


# --- the walk along the tape


def node_or_leaf(x: Tensor) -> Any:
    """The node of the tape that has made a Tensor, or the Tensor itself if it is a leaf; within vmap that of
    the Tensor of all slices."""
    if x._grad_fn is None:
        return physical(x)
    return x._grad_fn


def sort_nodes(ys: Sequence[Tensor], sources: Iterable[Any]) -> list[Any]:
    """The nodes on paths from the sources to ys, each after the nodes whose results it reads. sources: nodes
    or leaves."""
    sorted_nodes: list[Any] = []
    depends: dict[Any, bool] = dict.fromkeys(sources, True)  # for each node met: on a source?
    # Depth first: a node is met twice, before its inputs and after them.
    to_visit = [(node_or_leaf(y), False) for y in ys if y._requires_grad]
    while to_visit:
        node, inputs_are_done = to_visit.pop()
        if inputs_are_done:
            depends[node] = any(depends[edge] for edge in node.edges if edge is not None)
            if depends[node]:
                sorted_nodes.append(node)
        elif node not in depends:
            depends[node] = False
            is_leaf = isinstance(node, Tensor)
            if not is_leaf:
                to_visit.append((node, True))
                to_visit += [(edge, False) for edge in node.edges if edge is not None]
    return sorted_nodes


def push_forward(
    name: str, algebra: RowAlgebra, ys: Sequence[Tensor], rows_of_sources: dict[Any, Tensor]
) -> list[Rows]:
    """The rows of ys; None for a y that depends on no source.

    rows_of_sources: by `node_or_leaf` of each source. name: the public function, for errors.
    Raises NotImplementedError for an op without a forward rule.
    """
    rows_at: dict[Any, Any] = dict(rows_of_sources)
    for node in sort_nodes(ys, rows_of_sources):
        if type(node) is Output:
            rows = rows_at[node.function]
            if isinstance(rows, Tensor):  # Only the first output has derivatives, as the values of a sort.
                rows = [rows]
            rows_at[node] = rows[node.index]
        else:
            node.check_saved()
            # Constant inputs have no edge, or one to a node that depends on no source.
            rows_of_inputs = [rows_at.get(edge) for edge in node.edges]
            rows_at[node] = _core._without_autocast(find_rule(node), name, algebra, node, *rows_of_inputs)
    return [rows_at.get(node_or_leaf(y)) for y in ys]


def find_rule(node: Function) -> Rule:
    """The forward rule of a node; `refuse` if there is none."""
    if type(node) in RULES:
        return RULES[type(node)]
    try:
        gradient_rule = rule_of(node)
    except NotImplementedError:
        return refuse
    if hasattr(gradient_rule, "maps"):
        return push_linear
    if hasattr(gradient_rule, "expression"):
        return _push_recomputed
    if not getattr(node, "of_element", False):
        return refuse
    needs_no_values = getattr(node, "saves", None) == {}  # the slope is a constant, as of a negation
    if needs_no_values:
        return _push_by_backward
    return push_by_element


def refuse(name: str, algebra: RowAlgebra, node: Function, *rows: Rows) -> Any:
    """The rule of ops without a forward rule."""
    raise NotImplementedError(
        f"[{name}] got {node._op_name()} of a Tensor that depends on the inputs; expected ops "
        "with a forward rule (docs/physics.md), or autograd.grad(..., create_graph=True)"
    )


# --- linear ops


def push_linear(name: str, algebra: RowAlgebra, node: Function, *rows: Rows) -> Tensor:
    """The rule of a linear op y = A a + B b ..., which is applied to each row.

    `maps` of the op's rule of create_graph gives (A, A^T), (B, B^T) ... as functions of arrays.
    """
    copy = copy_of(node)
    dtype = next(t._array.dtype for t in rows if t is not None)
    gradient_rule: Any = rule_of(node)
    maps = gradient_rule.maps(copy, dtype)
    if any(t is not None for t in rows[len(maps) :]):
        refuse(name, algebra, node)
    saved = list(vars(copy).values())
    terms = []
    for t, (there, back) in zip(rows, maps, strict=False):
        if t is not None:
            terms.append(mapped(node, t, _for_each_row(there), _for_each_row(back), saved))
    return add_all(terms)


def _for_each_row(function: Callable[[Array], Any]) -> Callable[[Array], Array]:
    """A function of arrays, applied to each row of a stack of them."""

    def apply(stacked: Array) -> Array:
        results = []
        for i in range(len(stacked)):
            y = function(stacked[i, ...])  # an array, also of 0 dimensions
            if type(y) is tuple:
                y = y[0]
            results.append(np.asarray(y)[None])
        return _core.concatenate(results, 0)

    return apply


def _push_by_backward(name: str, algebra: RowAlgebra, node: Function, t: Tensor) -> Tensor:
    """The rule of y = d x with a constant d. Its backward, dx = d dy, is the same function, applied to
    rows."""
    return type(node).backward(node, t, TENSORS)


# --- functions of each element


class Jet(Function):
    """Computes the rows of f(x) from the rows of x by the kernel `jet`.

    function: the name of f in the kernel. source: a copy of the node that has computed f(x).
    """

    def __init__(self, function: str, algebra: RowAlgebra, source: Function) -> None:
        self.function = function
        self.algebra = algebra
        self.source = source

    def forward(self, saved: Array, t: Array) -> Array:
        self.saved = saved
        self.t = t
        return _core.jet(saved, t, self.function, self.algebra.weights)

    def backward(self, dy: Array) -> tuple[Array, Array]:
        return _core.jet_backward(dy, self.saved, self.t, self.function, self.algebra.weights)


@recomputed("saved", "t", kinds=(Jet,))
def _jet_by_slopes(node: Jet, x: Tensor, t: Tensor) -> Tensor:
    """The same as Jet, by differentiable ops: so its gradients can be differentiated again."""
    slopes = compute_slopes(node.source, x, node.algebra.slope_count)
    return node.algebra.compose(slopes, t)


class _KernelFunction(NamedTuple):
    """A function f that the kernel `jet` has."""

    name: str  # in the kernel
    reads: str  # the attribute of f's node with the array that the kernel reads: the input x or the result y


KERNELS: dict[type[Function], _KernelFunction] = {
    DECLARATIONS["tanh"].node: _KernelFunction("tanh", reads="y"),
    DECLARATIONS["sigmoid"].node: _KernelFunction("sigmoid", reads="y"),
    DECLARATIONS["exp"].node: _KernelFunction("exp", reads="y"),
    DECLARATIONS["sin"].node: _KernelFunction("sin", reads="x"),
    DECLARATIONS["cos"].node: _KernelFunction("cos", reads="x"),
    DECLARATIONS["softplus"].node: _KernelFunction("softplus", reads="x"),
    DECLARATIONS["silu"].node: _KernelFunction("silu", reads="x"),
    DECLARATIONS["gelu"].node: _KernelFunction("gelu", reads="x"),
}


def push_by_element(name: str, algebra: RowAlgebra, node: Any, t: Tensor, *others: Rows) -> Tensor:
    """The rule of a function of each element: by the kernel `jet` if it has the function, else by its
    slopes."""
    if any(other is not None for other in others):
        refuse(name, algebra, node)
    kernel = _find_kernel(algebra, node, t)
    if kernel is not None:
        x = of_input(node, 0, getattr(node, kernel.reads))
        if kernel.reads == "y" and node.versions:
            x._cell = node.versions[0]  # The array is the output's: a change of the output is noticed.
        y: Tensor = Jet(kernel.name, algebra, _usable_copy(node)).apply(x, t)
        return y
    x = _as_fresh_variable(of_input(node, 0, _find_operand(node)))
    slopes = compute_slopes(node, x, algebra.slope_count)
    if not mode.enabled:
        slopes = [slope.detach() for slope in slopes]
    return algebra.compose(slopes, t)


def _find_kernel(algebra: RowAlgebra, node: Any, t: Tensor) -> _KernelFunction | None:
    """What the kernel `jet` has for this node and these rows; None if it cannot compute them."""
    kernel = KERNELS.get(type(node))
    if kernel is None or not algebra.has_kernel:
        return None
    if kernel.name == "softplus" and (node.beta, node.threshold) != (1.0, 20.0):
        return None  # the kernel has the default settings only
    if t.dtype != getattr(node, kernel.reads).dtype:
        return None
    return kernel


def _find_operand(node: Function) -> Array:
    """An array of the shape and dtype of the input: the input itself, if the node has saved it."""
    saved = vars(node)
    array: Array = next(saved[name] for name in ("x", "a", "y") if name in saved)
    return array


def compute_slopes(source: Function, x: Tensor, count: int) -> list[Tensor]:
    """The derivatives f', f'' ... at x, `count` of them, of the element-wise function f of a node.

    x: the node's input, as a Tensor on the tape. f' comes from the node's rule of create_graph with dy = 1,
    and each further derivative is the gradient of the one before it.
    """
    node = _usable_copy(source)
    node.edges = (node_or_leaf(x), *source.edges[1:])  # as if x were its input
    slopes: list[Tensor] = []
    with enable_grad():
        ones = wrap(filled_like(1, x._array))
        for _ in range(count):
            slope: Tensor | None = None
            if not slopes:
                slope = rule_of(node)(node, ones)
                if type(slope) is tuple:
                    slope = slope[0]
            elif slopes[-1]._requires_grad:
                (slope,) = gradients(slopes[-1], x, ones, create_graph=True, allow_unused=True)
            if slope is None:
                slope = wrap(filled_like(0, x._array))
            slopes.append(slope)
    return slopes


def _usable_copy(node: Function) -> Any:
    """A copy of a node of the tape, with what the node has saved. It stays usable when the node is
    released."""
    copy = copy_of(node)
    # The slots, which copy_of leaves empty but for `needs`. `check_saved` reads versions and changes.
    copy.released = False
    copy.hooks = None
    copy.outputs = 1
    copy.edges = node.edges
    copy.versions = node.versions
    copy.changes = node.changes
    return copy


def _as_fresh_variable(x: Tensor) -> Tensor:
    """x on the tape, so that gradients by it exclude those of other uses of x."""
    with enable_grad():
        if x._requires_grad:
            return cut(x)
        return wrap(x._array, requires_grad=True)


# --- formulas of other ops


def push_composed(
    name: str,
    algebra: RowAlgebra,
    function: Callable[..., Any],
    xs: Sequence[Tensor],
    rows: Sequence[Rows],
) -> Any:
    """The rows of function(*xs), which is run on a separate tape. rows: those of xs."""
    arguments = []
    sources = {}
    for x, t in zip(xs, rows, strict=True):
        if t is not None:
            x = _as_fresh_variable(x)
            sources[node_or_leaf(x)] = t
        arguments.append(x)
    with enable_grad():
        y = function(*arguments)
    if isinstance(y, tuple):
        return tuple(push_forward(name, algebra, y, sources))
    return push_forward(name, algebra, (y,), sources)[0]


def _push_recomputed(name: str, algebra: RowAlgebra, node: Function, *rows: Rows) -> Any:
    """The rule of an op whose rule of create_graph is a formula of other ops: the rows of the formula."""
    gradient_rule: Any = rule_of(node)
    formula, inputs_of = gradient_rule.expression  # as `recomputed` has set it
    xs = inputs_of(node)
    if any(t is not None for t in rows[len(xs) :]):
        refuse(name, algebra, node)

    def forward(*arguments: Tensor) -> Any:
        return formula(node, *arguments)

    return push_composed(name, algebra, forward, xs, rows[: len(xs)])
