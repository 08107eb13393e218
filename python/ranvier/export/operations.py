"""The table of rules, by which calls become instructions, and `Site`: a call that becomes instructions.

Rules are entered by elementwise.py, layers.py, linear_maps.py, norms.py and shapes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ranvier.export.instructions import Routine, Value
from ranvier.tape.calls import Call

ONE: Any = object()
"""Stands for the gradient 1 of the loss with respect to itself."""


class Rule(NamedTuple):
    """forward(site) adds the instructions of a call and returns its result or results, as Values.

    backward(site, dy ...) adds those of its gradients, and returns a Value or None for each input.
    """

    forward: Callable[[Site], Any]
    backward: Callable[..., Sequence[Value | None]] | None = None


RULES: dict[str, Rule] = {}


def rule(*kinds: str) -> Callable[[Rule], None]:
    """Enters a rule for Functions by the names of their classes."""
    return lambda made: RULES.update(dict.fromkeys(kinds, made))


class Site:
    """A call that becomes instructions of a routine (`r`).

    inputs, outputs: its operands and results as Values. needs: which inputs need a gradient. saved: what the
    forward rule leaves for the backward rule. value_of: array -> its Value in the file; a second argument
    names a new one.
    """

    def __init__(self, routine: Routine, call: Call, inputs: list[Value | None], needs: list[bool]) -> None:
        self.r = routine
        self.call = call
        self.inputs = inputs
        self.needs = needs
        self.outputs: list[Value] = []
        self.saved: list[Any] = []
        self.value_of: Callable[..., Value]  # the place of an array, which may get a name
        self.memory: Any  # the arrays of the file

    def get(self, name: str) -> Any:
        """An attribute of the Function."""
        return self.call.settings[name]

    def input(self, i: int) -> Value:
        value = self.inputs[i]
        assert value is not None
        return value

    def refuse(self, why: str) -> ValueError:
        layer = self.call.layer or self.call.kind
        return ValueError(f"[export.c] got {layer} at {self.call.where}: {why}; see docs/export.md")

    # --- values in other shapes

    def strided(self, x: Value, view: Callable[[Any], Any]) -> Value:
        """The elements of a view of x: the same memory if the view is in C order, else a copy.

        view: a function that makes the view of a NumPy array of x's shape.
        """
        shape, offset, n, steps = self._walk(x, view, 99)
        if _contiguous(n, steps):
            return x.as_shape(shape, offset)
        if x.buffer.integer:
            raise self.refuse("integers in another order are not supported: pass them in this order")
        if len(n) > 4:
            index = self._index(x, view)
            return self.r.made("picked", x, index, ..., index.size, shape=shape)
        y = self.r.new(shape)
        source = x.as_shape(shape, offset)
        self.r.call("copy", y, source, tuple(n), tuple(_steps(n)), tuple(steps), writes=y)
        return y

    def scattered(self, dy: Value, x: Value, view: Callable[[Any], Any]) -> Value:
        """The gradient of `strided`: zeros of x's shape, to which dy is added at the view's elements."""
        shape, offset, n, steps = self._walk(x, view, 99)
        if _contiguous(n, steps) and dy.size == x.size:
            return dy.as_shape(x.shape)
        dx = self.r.made("fill", ..., x.size, 0.0, shape=x.shape)
        if len(n) > 4:
            index = self._index(x, view)
            self.r.call("picked_backward", dy, index, dx, index.size, writes=dx)
            return dx
        target = dx.as_shape(shape, offset)
        self.r.call("copy_add", target, dy, tuple(n), tuple(steps), tuple(_steps(n)), writes=dx)
        return dx

    def _index(self, x: Value, view: Callable[[Any], Any]) -> Value:
        """The places of a view's elements in x."""
        places = np.arange(x.size, dtype=np.int32).reshape(x.shape)
        return self.value_of(np.ascontiguousarray(view(places)), "index")

    def _walk(
        self, x: Value, view: Callable[[Any], Any], most: int = 4
    ) -> tuple[Any, int, list[int], list[int]]:
        """The shape of a view of x, the offset of its first element, and sizes and steps of its axes.

        Axes that can be walked as one are joined, and axes of size 1 are added in front up to four. most: of
        axes.
        """
        base = np.empty(x.shape, np.int8)
        seen = view(base)
        offset = seen.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        n: list[int] = []
        steps: list[int] = []
        for size, step in zip(seen.shape, seen.strides, strict=True):
            if size == 1:
                continue
            if n and steps[-1] == step * size:  # can be joined with the axis before
                n[-1] = n[-1] * size
                steps[-1] = step
            else:
                n.append(size)
                steps.append(step)
        if len(n) > most:
            raise self.refuse(f"a view with {len(n)} axes is not supported, at most {most}")
        fill = max(4 - len(n), 0)
        return seen.shape, offset, [1] * fill + n, [0] * fill + steps

    def expanded(self, x: Value, shape: Any) -> Value:
        """x broadcast to a shape."""
        return self.strided(x, lambda a: np.broadcast_to(a, shape))

    def reduced(self, dy: Value, shape: tuple[int, ...]) -> Value:
        """dy summed over the axes along which an operand of this shape was broadcast."""
        if dy.shape == tuple(shape):
            return dy
        x = Value(dy.buffer, tuple(shape))
        return self.scattered(dy, x, lambda a: np.broadcast_to(a, dy.shape))

    def scaled(self, dx: Value | None, dy: Value) -> Value | None:
        """The gradient dx for dy = 1, times dy."""
        if dx is None or dy is ONE:
            return dx
        return self.r.made("times", dx, dy, ..., dx.size, shape=dx.shape, replaced=[dx])

    def channels(self, axis: int = 1) -> tuple[int, int, int]:
        """(outer, n, inner): the sizes before, at and after an axis of the first input."""
        shape = self.input(0).shape
        axis %= len(shape)
        return int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :]))


def _steps(n: list[int]) -> list[int]:
    return [int(np.prod(n[i + 1 :])) for i in range(len(n))]


def _contiguous(n: list[int], steps: list[int]) -> bool:
    return all(size == 1 or a == b for size, a, b in zip(n, steps, _steps(n), strict=True))
