"""linear: a matrix product with the transposed weight, and a bias; einsum: sums of products by indices.

Two operands of einsum become one matrix product. Indices of both that are needed later are its stack,
indices of both that are not needed later are summed, indices of one operand are its rows or columns. More
operands are taken from the left. The gradient follows from these ops.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from string import ascii_letters
from typing import Any, ClassVar

import numpy as np

import ranvier._core as _core
from ranvier.autograd.errors import renamed
from ranvier.autograd.failures import OpError
from ranvier.autograd.function import Function, direct
from ranvier.autograd.graph import of_input, rule
from ranvier.autograd.memory import reshaped
from ranvier.autograd.mode import mode
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.arithmetic import add, mul
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.shape.repeat import diagonal
from ranvier.ops.shape.reshape import permute, reshape, transpose

__all__ = ["einsum", "linear"]

Indices = list[str]  # one name for each dimension; "...k" for those of an ellipsis, counted from its end
Steps = list[tuple[Any, ...]]  # ops and their settings


def einsum(equation: Any, *operands: Any) -> Tensor:
    """The sum over every index that the result lacks of the product of the operands' elements.

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
    x, *rest = [as_tensor("einsum", x) for x in operands]
    pairs, last = _plan(equation, x._array.shape, *[y._array.shape for y in rest])
    for (of_x, of_y, product), y in zip(pairs, rest, strict=True):
        x = product(_after(x, of_x), _after(y, of_y))
    y = _after(x, last)
    return y.view(y.shape) if y is operands[0] else y  # a Tensor of its own, as in PyTorch


def _after(x: Tensor, steps: Steps) -> Tensor:
    for op, *settings in steps:
        x = op(x, *settings)
    return x


@lru_cache(maxsize=1024)
def _plan(equation: str, *shapes: tuple[int, ...]) -> tuple[list[tuple[Steps, Steps, Any]], Steps]:
    """For each operand after the first: the steps of what is there, those of the operand, their product;
    and the last steps."""
    inputs, output = _parse(equation, shapes)
    terms = [_Term(*term) for term in zip(shapes, inputs, strict=True)]
    for term in terms:
        term.take_diagonals()
    x, pairs = terms[0], []
    for place, y in enumerate(terms[1:], 2):
        later = {i for term in terms[place:] for i in term.indices}
        product, made = _pair(x, y, later.union(output))
        pairs.append((x.steps, y.steps, product))
        x = made
    x.sum_to({*output})
    x.order(output)
    return pairs, x.steps


def _from_lists(*args: Any) -> tuple[str, tuple[Any, ...]]:
    """The equation and the operands of operand, list, operand, list ... [list of the result]."""
    if not hasattr(args[0], "shape"):
        raise TypeError(f"[einsum] got an equation of type {type(args[0]).__name__}; expected a str")
    result = args[-1:] if len(args) % 2 else ()
    parts = []
    for indices in (*args[1::2], *result):
        if not isinstance(indices, (list, tuple)):
            raise TypeError(f"[einsum] got indices of type {type(indices).__name__}; expected a list")
        if not all(i is ... or (isinstance(i, int) and 0 <= i < 52) for i in indices):
            raise OpError(f"[einsum] got indices {indices}; expected numbers from 0 to 51, or ...")
        parts.append("".join("..." if i is ... else ascii_letters[(i + 26) % 52] for i in indices))
    right = "->" + parts.pop() if result else ""
    return ",".join(parts) + right, args[: len(args) - len(result) : 2]


def _parse(equation: str, shapes: Any) -> tuple[list[Indices], Indices]:
    """The indices of each operand and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(shapes):
        raise OpError(f"[einsum] got {len(shapes)} operands for {equation!r}; expected {len(parts)}")
    inputs = [_indices(equation, part, len(shape)) for part, shape in zip(parts, shapes, strict=True)]
    sizes: dict[str, int] = {}
    for names, shape in zip(inputs, shapes, strict=True):
        for name, n in zip(names, shape, strict=True):
            if n != sizes.setdefault(name, n) and n != 1:
                if sizes[name] != 1:
                    raise OpError(
                        f"[einsum] got sizes {sizes[name]} and {n} for index {name!r} of {equation!r}; "
                        "expected equal sizes"
                    )
                sizes[name] = n
    dots = sorted((i for i in sizes if i[0] == "."), key=lambda i: -int(i[3:]))
    if arrow:
        letters = right.replace("...", "", 1)
        output = _indices(equation, right, len(letters) + (len(dots) if letters != right else 0))
    else:
        seen = Counter(i for names in inputs for i in names)
        output = [*dots, *sorted(i for i, n in seen.items() if n == 1 and i[0] != ".")]
    if len({*output}) < len(output) or not {*output} <= sizes.keys():
        raise OpError(
            f"[einsum] got the result {right!r} in {equation!r}; expected indices of the operands, each once"
        )
    return inputs, output


def _indices(equation: str, part: str, ndim: int) -> Indices:
    head, dots, tail = part.partition("...")
    inside = ndim - len(head) - len(tail)
    letters = head + tail
    if (letters and not (letters.isalpha() and letters.isascii())) or inside < 0 or (inside and not dots):
        raise OpError(
            f"[einsum] got {part!r} for {ndim} dimensions in {equation!r}; expected a letter for each, "
            "or '...'"
        )
    return [*head, *(f"...{k}" for k in reversed(range(inside))), *tail]


class _Term:
    """An operand, or the product of some: its shape and indices, and the ops that lead there."""

    def __init__(self, shape: Any, indices: Indices) -> None:
        self.shape, self.indices = tuple(shape), indices
        self.steps: Steps = []

    def take_diagonals(self) -> None:
        """One dimension for each index that occurs several times."""
        for name in [i for i, n in Counter(self.indices).items() if n > 1]:
            while self.indices.count(name) > 1:
                a = self.indices.index(name)
                b = self.indices.index(name, a + 1)
                n, m = self.shape[a], self.shape[b]
                if n != m:
                    raise OpError(f"[einsum] got sizes {n} and {m} for index {name!r}; expected equal sizes")
                self.steps.append((diagonal, 0, a, b))
                self._keep([d for d in range(len(self.shape)) if d not in (a, b)])
                self.shape, self.indices = (*self.shape, n), [*self.indices, name]

    def sum_to(self, keep: set[str]) -> None:
        """Summed over the indices that are not in keep."""
        if axes := tuple(d for d, i in enumerate(self.indices) if i not in keep):
            self.steps.append((total, axes))
            self._keep([d for d in range(len(self.shape)) if d not in axes])

    def drop_ones(self, sizes: dict[str, int]) -> None:
        """Without the dimensions of size 1 along which the other operand is longer."""
        self._keep([d for d, i in enumerate(self.indices) if self.shape[d] == sizes[i]], True)

    def order(self, indices: Indices) -> None:
        if self.indices != indices:
            dims = [self.indices.index(i) for i in indices]
            self.steps.append((permute, *dims))
            self._keep(dims)

    def reshape(self, *shape: int) -> None:
        if self.shape != shape:
            self.steps.append((reshape, *shape))
            self.shape = shape

    def _keep(self, dims: list[int], reshapes: bool = False) -> None:
        shape, self.indices = tuple(self.shape[d] for d in dims), [self.indices[d] for d in dims]
        if reshapes:
            self.reshape(*shape)
        self.shape = shape


MAX_DIMS = 8  # of an array in a kernel: kMaxDims of the core


def _pair(a: _Term, b: _Term, keep: set[str]) -> tuple[Any, _Term]:
    """The product of two operands, summed over the indices of both that are not in keep."""
    sizes = dict(zip(a.indices, a.shape, strict=True))
    sizes.update((i, n) for i, n in zip(b.indices, b.shape, strict=True) if sizes.get(i, 1) == 1)
    a.drop_ones(sizes)
    b.drop_ones(sizes)
    a.sum_to(keep.union(b.indices))
    b.sum_to(keep.union(a.indices))
    stack = [i for i in a.indices if i in b.indices and i in keep]
    inner = [i for i in a.indices if i in b.indices and i not in keep]
    rows = [i for i in a.indices if i not in b.indices]
    columns = [i for i in b.indices if i not in a.indices]
    shape = [[sizes[i] for i in names] for names in (stack, rows, inner, columns)]
    a.order([*stack, *rows, *inner])
    if not inner and len(stack) + len(rows) + len(columns) <= MAX_DIMS:
        a.reshape(*shape[0], *shape[1], *(1 for _ in columns))
        b.order([*stack, *columns])
        b.reshape(*shape[0], *(1 for _ in rows), *shape[3])
        return mul, _Term((*shape[0], *shape[1], *shape[3]), [*stack, *rows, *columns])
    n, m, k, p = map(math.prod, shape)
    stacked = (n,) if stack else ()
    a.reshape(*stacked, m, k)
    b.order([*stack, *inner, *columns])
    b.reshape(*stacked, k, p)
    y = _Term((*stacked, m, p), [])
    y.reshape(*shape[0], *shape[1], *shape[3])
    y.indices = [*stack, *rows, *columns]
    return matmul, y


class Linear(Function):
    """y = x W^T + b: x (..., in), W (out, in), b (out) or None, y (..., out)"""

    reads: ClassVar = {"x": 1, "weight": 0}

    def through_view(self, place: int) -> bool:
        return place == 2 or self.x.ndim != 2

    def forward(self, x: Array, weight: Array, bias: Array | None) -> Array:
        self.x, self.weight = x, weight
        return times_rows(x, weight, bias)

    def backward(self, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, weight = self.x, self.weight
        dx = dw = db = None
        if self.needs[0]:
            dx = _core.matmul(dy, weight, None, "none", None)
        if dy.ndim != 2:  # all leading dimensions are the batch
            rows = math.prod(dy.shape[:-1])  # not -1, which is undefined for an empty array
            dy, x = reshaped(dy, (rows, weight.shape[0])), reshaped(x, (rows, weight.shape[1]))
        if self.needs[1]:
            dw = _core.matmul(dy.T, x, None, "none", None)
        if self.needs[2]:
            db = _core.sum(dy, 0, False, None)
        return dx, dw, db


def times_rows(x: Array, weight: Array, bias: Array | None) -> Array:
    return _core.matmul(x, weight.T, bias, "none", None)


@rule(Linear)
def _of_linear(node: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = of_input(node, 0, node.x), of_input(node, 1, node.weight)
    dx = matmul(dy, weight) if node.needs[0] else None
    rows = math.prod(dy.shape[:-1])
    lines = reshape(dy, (rows, weight.shape[0]))
    dw = matmul(permute(lines, 1, 0), reshape(x, (rows, weight.shape[1]))) if node.needs[1] else None
    return dx, dw, total(lines, 0) if node.needs[2] else None


def _by_matmul(x: Tensor, weight: Tensor, bias: Any) -> Tensor:
    try:
        y = matmul(x, weight)
        return y if bias is None else add(y, bias)
    except Exception as error:
        raise renamed(error, "linear") from None


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """y = x W^T + b

    x (..., in), weight (out, in), bias (out,), (1, out) or None, y (..., out); a weight (in,) gives y (...).
    A NumPy array x is taken in the weight's dtype; tensors must agree; integers are multiplied by NumPy.
    Raises ValueError where the shapes do not fit, TypeError where the dtypes differ.

    >>> import ranvier as rv
    >>> weight, bias = rv.tensor([[0.5, -0.25], [0.25, 0.5]]), rv.tensor([0.5, -0.5])
    >>> rv.ops.linear(rv.tensor([1.0, 2.0]), weight, bias)
    tensor([0.5000, 0.7500])
    """
    if not (isinstance(input, Tensor) and isinstance(weight, Tensor)):
        weight = as_tensor("linear", weight)
        as_tensor("linear", input)
        input = input if isinstance(input, Tensor) else wrap(np.asarray(input, weight.dtype))
    if weight._array.ndim == 1:  # one output, without a dimension
        return _by_matmul(input, weight, bias)
    try:
        needed = (weight._requires_grad or input._requires_grad) and mode.enabled  # a node
        if not needed and (y := direct(times_rows, input, weight, bias)) is not None:
            return y
        return Linear().apply(input, weight, bias)
    except TypeError as error:  # checked afterwards, since floats are the common case
        if {input.dtype.kind, weight.dtype.kind} - {"i", "u"}:
            raise renamed(error, "linear") from None
        return _by_matmul(input, transpose(weight, -1, -2) if weight.ndim > 1 else weight, bias)
    except ValueError as error:
        if isinstance(bias, Tensor) and 1 < bias.ndim <= input.ndim and bias.numel() == bias.shape[-1]:
            return linear(input, weight, reshape(bias, -1))
        shapes = f"x of shape {input.shape} and weight of shape {tuple(weight.shape)}"
        if bias is not None:
            shapes += f" and bias of shape {np.shape(bias)}"
        raise OpError(
            f"[linear] got {shapes}; expected x (..., in_features), weight (out_features, in_features), "
            "bias (out_features,)"
        ) from error
