"""Functions that move values without arithmetic, for copies, casts and changes in place; and Refused.

`f` in a backward that has it is the namespace of ops for arrays or Tensors (`ops/namespaces.py`). It is not
needed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.tape.function import Function, TakesHalves
from ranvier.tensors.keys import numbers_first
from ranvier.tensors.memory import Array, cast, copied, filled, in_dtype, like, unbroadcast, write
from ranvier.tensors.places import picked_last, put
from ranvier.tensors.views import through

if TYPE_CHECKING:
    from typing import NoReturn

    from ranvier.tensors.tensor import Tensor
    from ranvier.tensors.types import Key


class Clone(TakesHalves):
    """y = x in new memory. Order 'K' keeps the order of axes in memory, if x has no gaps; 'C' and
    'channels_last' are the layouts of y."""

    def __init__(self, order: str = "K") -> None:
        self.order = order

    def forward(self, x: Array) -> Array:
        if self.order == "K" and not (x.flags.forc or _is_dense(x)):
            return copied(x, "C")
        return copied(x, self.order)

    def backward(self, dy: Array | Tensor, f: object = None) -> Array | Tensor:
        return dy


class Cast(TakesHalves):
    """y = x in another dtype; the gradient comes back in the dtype of x."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.differentiable = dtype.kind == "f"

    def forward(self, x: Array) -> Array:
        self.source = x.dtype
        return cast(x, self.dtype)

    def backward(self, dy: Array) -> Array:
        return cast(dy, self.source)


class Setitem(TakesHalves):
    """y = x with y[key] = value. If several values go to one place, the last one stays and gets the
    gradient."""

    def __init__(self, key: Key) -> None:
        self.key = key

    def forward(self, x: Array, value: Array) -> Array:
        self.shapes = (x.shape, value.shape)
        self.value_dtype = value.dtype
        y = copied(x)
        self.keys = numbers_first(self.key, x.shape)
        put(y, self.keys, value)
        return y

    def backward(self, dy: Array) -> tuple[Array | None, Array | None]:
        dx = dvalue = None
        if self.needs[0]:
            dx = copied(dy)
            put(dx, self.keys, 0)
        if self.needs[1]:
            dvalue = in_dtype(_sum_to(picked_last(dy, self.keys), self.shapes[1]), self.value_dtype)
        return dx, dvalue


class Put(TakesHalves):
    """y = value, in the shape of x, which it replaces (``x.copy_(value)``)."""

    def forward(self, x: Array, value: Array) -> Array:
        self.shapes = (x.shape, value.shape)
        self.value_dtype = value.dtype
        if value.shape == x.shape:
            return like(x, value)
        return like(x, np.broadcast_to(value, x.shape))

    def backward(self, dy: Array) -> tuple[Array | None, Array | None]:
        dx = dvalue = None
        if self.needs[0]:
            dx = filled(0, dy.shape, dy.dtype)
        if self.needs[1]:
            dvalue = in_dtype(_sum_to(dy, self.shapes[1]), self.value_dtype)
        return dx, dvalue


class Replace(TakesHalves):
    """y = x, in which a view of x is replaced by value. The new history of a base whose view was changed in
    place."""

    def __init__(self, chain: tuple[Function, ...], base: Array) -> None:
        """chain: the Functions that lead from the base to the view. base: the array of the base."""
        self.chain = chain
        self.shape = base.shape
        # The axes of the base from the largest stride to the smallest: its order in memory, see `_laid_out`.
        steps = [abs(stride) for stride in base.strides]
        self.order = sorted(range(base.ndim), key=steps.__getitem__, reverse=True)
        self.by_memory = any(hasattr(function, "by_memory") for function in chain)  # `as_strided`

    def forward(self, x: Array, value: Array) -> Array:
        y = self._laid_out(x)
        write(through(self.chain, y), value)
        return y

    def backward(self, dy: Array) -> tuple[Array | None, Array | None]:
        dx = None
        if self.needs[0]:
            dx = self._laid_out(dy)
            write(through(self.chain, dx), 0)
        if self.by_memory:  # the chain counts elements in memory, so dy has to be laid out as the base
            return dx, through(self.chain, self._laid_out(dy))
        return dx, through(self.chain, dy)

    def release(self) -> None:  # no values are saved
        return

    def _laid_out(self, x: Array) -> Array:
        """A copy in the memory order of the base, so that the chain gives a view of the copy, too."""
        inverse = sorted(range(x.ndim), key=self.order.__getitem__)
        return copied(x.transpose(self.order), "C").transpose(inverse)


class Refused(Function):
    """The node of a view that could not follow a change in place of its memory: backward raises an error."""

    def __init__(self, why: str) -> None:
        self.why = why

    def backward(self, dy: Array | Tensor, f: object = None) -> NoReturn:
        raise RuntimeError(f"[backward] got {self.why}")


def _is_dense(x: Array) -> bool:
    """True if the elements fill their memory, each at a different place."""
    step = x.itemsize  # the stride that the next axis must have, from the innermost axis on
    for stride, size in sorted(zip(x.strides, x.shape, strict=True)):
        if size > 1:
            if stride != step:
                return False
            step *= size
    return True


def _sum_to(dy: Array, shape: tuple[int, ...]) -> Array:
    """Sums dy over the axes along which a value of this shape was repeated."""
    lead = dy.ndim - len(shape)
    if lead < 0:  # the value has more dimensions, all of size 1
        return _sum_to(dy, shape[-lead:]).reshape(shape)
    if dy.shape == shape:
        return copied(dy)
    return unbroadcast(dy, shape)
