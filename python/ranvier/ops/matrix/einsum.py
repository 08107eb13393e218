"""einsum: sums of products by indices.

Two operands are multiplied by one matmul (or one product of elements, if nothing is summed). Indices of both
operands that are needed later become the batch of matmul; indices of both that are not needed later are
summed; indices of one operand become rows or columns. Further operands are joined from left to right. The
gradient follows from the ops. `_plan` finds the ops for an equation and shapes, and is cached.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from string import ascii_letters
from typing import Any

from ranvier.ops.elementwise.arithmetic import mul
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.shape.repeat import diagonal
from ranvier.ops.shape.reshape import permute, reshape
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

Indices = list[str]  # a name for each dimension; "...k" for a dimension of an ellipsis, counted from its end
Steps = list[tuple[Any, ...]]  # (op, settings ...), to be applied one after another


def einsum(equation: Any, *operands: Any) -> Tensor:
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
    pairs, last = _plan(equation, x._array.shape, *[y._array.shape for y in rest])
    for (of_x, of_y, product), y in zip(pairs, rest, strict=True):
        x = product(_after(x, of_x), _after(y, of_y))
    y = _after(x, last)
    # the result is a new Tensor, as in PyTorch
    if y is operands[0]:
        return y.view(y.shape)
    return y


def _after(x: Tensor, steps: Steps) -> Tensor:
    """x after these steps."""
    for op, *settings in steps:
        x = op(x, *settings)
    return x


@lru_cache(maxsize=1024)
def _plan(equation: str, *shapes: tuple[int, ...]) -> tuple[list[tuple[Steps, Steps, Any]], Steps]:
    """For each operand after the first (the steps for the product so far, the steps for the operand, the op
    that multiplies both); and the steps for the last product."""
    inputs, output = parsed(equation, shapes)
    terms = [_Term(*term) for term in zip(shapes, inputs, strict=True)]
    for term in terms:
        term.take_diagonals()
    x = terms[0]
    pairs = []
    for place, y in enumerate(terms[1:], 2):
        later = {i for term in terms[place:] for i in term.indices}
        product, made = _pair(x, y, later.union(output))
        pairs.append((x.steps, y.steps, product))
        x = made
    x.sum_to({*output})
    x.order(output)
    return pairs, x.steps


def _from_lists(*args: Any) -> tuple[str, tuple[Any, ...]]:
    """The equation and the operands, from arguments in the form: operand, list, operand, list ... [result's
    list]."""
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


def parsed(equation: str, shapes: Any) -> tuple[list[Indices], Indices]:
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
    """An operand, or a product of operands: its shape and indices after the steps planned so far.

    The methods append steps and update shape and indices.
    """

    def __init__(self, shape: Any, indices: Indices) -> None:
        self.shape = tuple(shape)
        self.indices = indices
        self.steps: Steps = []

    def take_diagonals(self) -> None:
        """Replaces the dimensions of an index that occurs several times by their diagonal."""
        for name in [i for i, n in Counter(self.indices).items() if n > 1]:
            while self.indices.count(name) > 1:
                a = self.indices.index(name)
                b = self.indices.index(name, a + 1)
                n = self.shape[a]
                m = self.shape[b]
                if n != m:
                    raise OpError(f"[einsum] got sizes {n} and {m} for index {name!r}; expected equal sizes")
                self.steps.append((diagonal, 0, a, b))
                self._keep([d for d in range(len(self.shape)) if d not in (a, b)])
                self.shape = (*self.shape, n)
                self.indices = [*self.indices, name]

    def sum_to(self, keep: set[str]) -> None:
        """Sums over the indices that are not in keep."""
        if axes := tuple(d for d, i in enumerate(self.indices) if i not in keep):
            self.steps.append((total, axes))
            self._keep([d for d in range(len(self.shape)) if d not in axes])

    def drop_ones(self, sizes: dict[str, int]) -> None:
        """Drops the dimensions of size 1 along which the other operand is longer."""
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
        shape = tuple(self.shape[d] for d in dims)
        self.indices = [self.indices[d] for d in dims]
        if reshapes:
            self.reshape(*shape)
        self.shape = shape


MAX_DIMS = 8  # the most dimensions of an array that a kernel takes: kMaxDims of the core


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
