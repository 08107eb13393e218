"""einsum: sums of products by indices, such as "ij,jk->ik". It has no kernel and no Function: it is composed
of permute, reshape, sum and matmul, which give the gradients.

Two operands are multiplied by one matmul (or one product of elements, if nothing is summed). Each index of
the two has one of four roles:

- in both operands, and needed later (by another operand or the result): the batch of matmul
- in both, and not needed later: summed by matmul
- only in the first: rows of the result; only in the second: columns

Further operands are multiplied with the product so far, from left to right. `_plan` finds the ops for an
equation and shapes, and caches them, since a program calls einsum with the same shapes again and again.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from ranvier.ops.elementwise.arithmetic import mul
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.shape.repeat import diagonal
from ranvier.ops.shape.reshape import permute, reshape
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Shape, TensorLike

Indices = list[str]  # a name for each dimension; "...k" for a dimension of an ellipsis, counted from its end
Product = Callable[[Tensor, Tensor], Tensor]  # matmul, or mul where nothing is summed


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
Step: TypeAlias = tuple[Callable[..., Tensor], tuple[Any, ...]]
"""An op on one Tensor and its settings: op(x, *settings)."""


class Join:
    """How an operand is multiplied with the product of the operands before it.

    steps_of_product: done with the product so far, before it is multiplied. steps_of_operand: done with the
    operand.
    """

    def __init__(self, steps_of_product: list[Step], steps_of_operand: list[Step], multiply: Product) -> None:
        self.steps_of_product = steps_of_product
        self.steps_of_operand = steps_of_operand
        self.multiply = multiply


class Plan:
    """The ops that compute an equation for operands of some shapes.

    joins: one for each operand after the first. last_steps: done with the last product, sums and the order of
    the result.
    """

    def __init__(self, joins: list[Join], last_steps: list[Step]) -> None:
        self.joins = joins
        self.last_steps = last_steps


def einsum(equation: str | TensorLike, *operands: Any) -> Tensor:
    """The products of the operands' elements, summed over every index that the result does not have.

    equation: "ij,jk->ik": a letter for each dimension of each operand, and those of the result; without "->"
    these are the letters that occur once, in alphabetic order. A letter twice in an operand is its diagonal;
    "..." are any dimensions, which broadcast. ``einsum(a, [0, 1], b, [1, 2], [0, 2])`` is another form, where
    0 to 25 stand for A to Z, 26 to 51 for a to z, and ... for an ellipsis.

    Raises ValueError where the equation is malformed or does not fit the operands.

    >>> import ranvier as rv
    >>> a, b = rv.tensor([[1.0, 2.0], [3.0, 4.0]]), rv.tensor([1.0, -1.0])
    >>> rv.einsum("ij,j->i", a, b), rv.einsum("ii", a)
    (tensor([-1., -1.]), tensor(5.))
    """
    if not isinstance(equation, str):
        equation, operands = _from_lists(equation, *operands)
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise OpError(f"[einsum] got {equation!r} without operands; expected one for each term")
    x, *rest = [as_tensor("einsum", x) for x in operands]
    plan = _plan(equation, x._array.shape, *[y._array.shape for y in rest])
    for join, y in zip(plan.joins, rest, strict=True):
        x = _after(x, join.steps_of_product)
        y = _after(y, join.steps_of_operand)
        x = join.multiply(x, y)
    y = _after(x, plan.last_steps)
    # the result is a new Tensor, as in PyTorch
    if y is operands[0]:
        return y.view(y.shape)
    return y


def _after(x: Tensor, steps: list[Step]) -> Tensor:
    """x after these steps."""
    for op, settings in steps:
        x = op(x, *settings)
    return x


@lru_cache(maxsize=1024)
def _plan(equation: str, *shapes: Shape) -> Plan:
    """The plan for an equation and the shapes of its operands. Raises ValueError where they do not fit."""
    inputs, output = parsed(equation, shapes)
    terms = []
    for shape, indices in zip(shapes, inputs, strict=True):
        term = _Term(shape, indices)
        term.take_diagonals()
        terms.append(term)
    product = terms[0]
    joins = []
    for place, operand in enumerate(terms[1:], 1):
        needed = {*output}
        for later in terms[place + 1 :]:
            needed.update(later.indices)
        multiply, result = _pair(product, operand, needed)
        joins.append(Join(product.steps, operand.steps, multiply))
        product = result
    product.sum_to({*output})
    product.order(output)
    return Plan(joins, product.steps)


def _from_lists(*args: Any) -> tuple[str, tuple[Any, ...]]:
    """The equation and the operands, from arguments in the form: operand, list, operand, list ... [result's
    list]."""
    if not hasattr(args[0], "shape"):
        raise TypeError(f"[einsum] got an equation of type {type(args[0]).__name__}; expected a str")
    has_result = len(args) % 2 == 1
    left = ",".join([_term_of_list(indices) for indices in args[1::2]])
    if not has_result:
        return left, args[::2]
    right = _term_of_list(args[-1])
    return f"{left}->{right}", args[:-1:2]


def _term_of_list(indices: Sequence[Any]) -> str:
    """A term of an equation, from a list of numbers and ... : 0 to 25 are A to Z, 26 to 51 are a to z."""
    if not isinstance(indices, (list, tuple)):
        raise TypeError(f"[einsum] got indices of type {type(indices).__name__}; expected a list")
    term = ""
    for i in indices:
        if i is ...:
            term += "..."
        elif isinstance(i, int) and 0 <= i < 52:
            term += _LETTERS[i]
        else:
            raise OpError(f"[einsum] got indices {indices}; expected numbers from 0 to 51, or ...")
    return term


def parsed(equation: str, shapes: Sequence[Shape]) -> tuple[list[Indices], Indices]:
    """The indices of each operand and of the result. shapes: those of the operands.

    Raises ValueError for a malformed equation, and for shapes that do not fit.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(shapes):
        raise OpError(f"[einsum] got {len(shapes)} operands for {equation!r}; expected {len(parts)}")
    inputs = [_indices(equation, part, len(shape)) for part, shape in zip(parts, shapes, strict=True)]
    sizes = _sizes(equation, inputs, shapes)
    # those of the ellipses, from the outermost: "...1" stands before "...0"
    ellipsis = sorted([i for i in sizes if i[0] == "."], key=_distance_from_end, reverse=True)
    if arrow:
        letters = right.replace("...", "", 1)
        ndim = len(letters)
        if letters != right:  # the result has the ellipsis
            ndim += len(ellipsis)
        output = _indices(equation, right, ndim)
    else:
        counts = Counter(itertools.chain(*inputs))
        once = [i for i, count in counts.items() if count == 1 and i[0] != "."]
        output = [*ellipsis, *sorted(once)]
    if len({*output}) < len(output) or not {*output} <= sizes.keys():
        raise OpError(
            f"[einsum] got the result {right!r} in {equation!r}; expected indices of the operands, each once"
        )
    return inputs, output


def _distance_from_end(index: str) -> int:
    """k of an index "...k"."""
    return int(index.removeprefix("..."))


def _sizes(equation: str, inputs: list[Indices], shapes: Sequence[Shape]) -> dict[str, int]:
    """The size of each index. Sizes of an index must be equal, or 1, which broadcasts."""
    sizes: dict[str, int] = {}
    for names, shape in zip(inputs, shapes, strict=True):
        for name, n in zip(names, shape, strict=True):
            known = sizes.setdefault(name, n)
            if n in (known, 1):
                continue
            if known != 1:
                raise OpError(
                    f"[einsum] got sizes {known} and {n} for index {name!r} of {equation!r}; "
                    "expected equal sizes"
                )
            sizes[name] = n
    return sizes


def _indices(equation: str, part: str, ndim: int) -> Indices:
    """The indices of a term such as "i...j" of an operand with ndim dimensions."""
    head, dots, tail = part.partition("...")
    letters = head + tail
    inside = ndim - len(letters)  # the dimensions of the ellipsis
    is_spelled = letters == "" or (letters.isalpha() and letters.isascii())
    if not is_spelled or inside < 0 or (inside and not dots):
        raise OpError(
            f"[einsum] got {part!r} for {ndim} dimensions in {equation!r}; expected a letter for each, "
            "or '...'"
        )
    ellipsis = [f"...{k}" for k in reversed(range(inside))]
    return [*head, *ellipsis, *tail]


class _Term:
    """An operand, or a product of operands: its shape and indices after the steps planned so far.

    The methods append steps and update shape and indices.
    """

    def __init__(self, shape: Shape, indices: Indices) -> None:
        self.shape = tuple(shape)
        self.indices = indices
        self.steps: list[Step] = []

    def take_diagonals(self) -> None:
        """Replaces the dimensions of an index that occurs several times by their diagonal."""
        repeated = [i for i, count in Counter(self.indices).items() if count > 1]
        for name in repeated:
            while self.indices.count(name) > 1:
                a = self.indices.index(name)
                b = self.indices.index(name, a + 1)
                n = self.shape[a]
                m = self.shape[b]
                if n != m:
                    raise OpError(f"[einsum] got sizes {n} and {m} for index {name!r}; expected equal sizes")
                self.steps.append((diagonal, (0, a, b)))
                self._keep([d for d in range(len(self.shape)) if d not in (a, b)])
                # diagonal puts its dimension last
                self.shape = (*self.shape, n)
                self.indices = [*self.indices, name]

    def sum_to(self, keep: set[str]) -> None:
        """Sums over the indices that are not in keep."""
        axes = tuple([d for d, i in enumerate(self.indices) if i not in keep])
        if axes:
            self.steps.append((total, (axes,)))
            self._keep([d for d in range(len(self.shape)) if d not in axes])

    def drop_ones(self, sizes: dict[str, int]) -> None:
        """Drops the dimensions of size 1 along which the other operand is longer."""
        dims = [d for d, i in enumerate(self.indices) if self.shape[d] == sizes[i]]
        shape = [self.shape[d] for d in dims]
        self.indices = [self.indices[d] for d in dims]
        self.reshape(*shape)

    def order(self, indices: Indices) -> None:
        """Brings the dimensions into the order of these indices, all of which the term has."""
        if self.indices != indices:
            dims = [self.indices.index(i) for i in indices]
            self.steps.append((permute, tuple(dims)))
            self._keep(dims)

    def reshape(self, *shape: int) -> None:
        """The same elements in another shape; the indices stay as they are."""
        if self.shape != shape:
            self.steps.append((reshape, shape))
            self.shape = shape

    def _keep(self, dims: list[int]) -> None:
        """Notes that these dimensions are left, in this order, after a step that has been appended."""
        self.shape = tuple([self.shape[d] for d in dims])
        self.indices = [self.indices[d] for d in dims]


MAX_DIMS = 8  # the most dimensions of an array that a kernel takes: kMaxDims of the core


def _pair(a: _Term, b: _Term, keep: set[str]) -> tuple[Product, _Term]:
    """The product of two operands, summed over the indices of both that are not in keep.

    Appends to each operand the steps that come before the product. Returns the op that multiplies them, and
    its result, with the steps that follow.
    """
    sizes = dict(zip(a.indices, a.shape, strict=True))
    for index, n in zip(b.indices, b.shape, strict=True):
        if sizes.get(index, 1) == 1:  # a size of 1 broadcasts to that of b
            sizes[index] = n
    a.drop_ones(sizes)
    b.drop_ones(sizes)
    a.sum_to(keep.union(b.indices))
    b.sum_to(keep.union(a.indices))
    stack = [i for i in a.indices if i in b.indices and i in keep]
    inner = [i for i in a.indices if i in b.indices and i not in keep]
    rows = [i for i in a.indices if i not in b.indices]
    columns = [i for i in b.indices if i not in a.indices]
    stack_sizes = [sizes[i] for i in stack]
    row_sizes = [sizes[i] for i in rows]
    column_sizes = [sizes[i] for i in columns]
    indices = [*stack, *rows, *columns]
    shape = (*stack_sizes, *row_sizes, *column_sizes)
    a.order([*stack, *rows, *inner])
    if (
        not inner and len(shape) <= MAX_DIMS
    ):  # nothing is summed: (stack, rows, 1 ...) * (stack, 1 ..., columns)
        a.reshape(*stack_sizes, *row_sizes, *[1] * len(columns))
        b.order([*stack, *columns])
        b.reshape(*stack_sizes, *[1] * len(rows), *column_sizes)
        return mul, _Term(shape, indices)
    # (batch, m, k) @ (batch, k, p)
    batch: Shape = ()
    if stack:
        batch = (math.prod(stack_sizes),)
    m = math.prod(row_sizes)
    k = math.prod([sizes[i] for i in inner])
    p = math.prod(column_sizes)
    a.reshape(*batch, m, k)
    b.order([*stack, *inner, *columns])
    b.reshape(*batch, k, p)
    y = _Term((*batch, m, p), [])
    y.reshape(*shape)
    y.indices = indices
    return matmul, y
