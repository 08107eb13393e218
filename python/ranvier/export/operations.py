"""The table of rules, by which calls become instructions, and `Site`: a call that becomes instructions.

elementwise.py, layers.py, linear_maps.py, norms.py, quantized.py and shapes.py enter their rules when they
are imported, each by the name of the Function's class; exporter.py looks up the rule of each recorded call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ranvier.export.instructions import Routine, Value
from ranvier.tape.calls import Call

if TYPE_CHECKING:
    from ranvier.export.file_arrays import FileArrays

ONE: Any = object()
"""Stands, in place of a Value, for the gradient 1 of the loss with respect to itself."""


class Rule(NamedTuple):
    """forward(site) adds the instructions of a call and returns its result or results, as Values.

    backward(site, dy ...) adds those of its gradients, and returns a Value or None for each input.
    """

    forward: Callable[[Site], Any]
    backward: Callable[..., Sequence[Value | None]] | None = None


RULES: dict[str, Rule] = {}


def rule(*kinds: str) -> Callable[[Rule], None]:
    """A function that enters a rule for Functions, by the names of their classes."""

    def enter(entered: Rule) -> None:
        for kind in kinds:
            RULES[kind] = entered

    return enter


class Site:
    """A call that becomes instructions of a routine. exporter.py makes it and hands it to the rule.

    Attributes:
        call: the recorded call.
        inputs, outputs: its operands and results as Values; None for an operand that was left out.
        needs: which inputs need a gradient.
        saved: what the forward rule leaves for the backward rule.
        value_of: array -> its Value in the file; a second argument names a new one.
        memory: the arrays of the file.

    exporter.py sets value_of and memory before the forward rule, and outputs after it.
    """

    def __init__(self, routine: Routine, call: Call, inputs: list[Value | None], needs: list[bool]) -> None:
        self.routine = routine
        self.call = call
        self.inputs = inputs
        self.needs = needs
        self.outputs: list[Value] = []
        self.saved: list[Any] = []
        self.value_of: Callable[..., Value]
        self.memory: FileArrays

    def get(self, name: str) -> Any:
        """An attribute of the Function."""
        return self.call.settings[name]

    def input(self, i: int) -> Value:
        """An input that was not left out."""
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
        walk = self._walk(x, view, most_axes=99)  # more than NumPy has
        if walk.is_contiguous():
            return x.as_shape(walk.shape, walk.offset)
        if x.buffer.integer:
            raise self.refuse("integers in another order are not supported: pass them in this order")
        if len(walk.n) > 4:  # more than `copy` walks over
            index = self._index(x, view)
            return self.routine.made("picked", x, index, ..., index.size, shape=walk.shape)
        y = self.routine.new(walk.shape)
        source = x.as_shape(walk.shape, walk.offset)
        self.routine.call("copy", y, source, walk.n, dense_steps(walk.n), walk.steps, writes=y)
        return y

    def scattered(self, dy: Value, x: Value, view: Callable[[Any], Any]) -> Value:
        """The gradient of `strided`: zeros of x's shape, to which dy is added at the view's elements."""
        walk = self._walk(x, view, most_axes=99)
        if walk.is_contiguous() and dy.size == x.size:
            return dy.as_shape(x.shape)
        dx = self.routine.made("fill", ..., x.size, 0.0, shape=x.shape)
        if len(walk.n) > 4:
            index = self._index(x, view)
            self.routine.call("picked_backward", dy, index, dx, index.size, writes=dx)
            return dx
        target = dx.as_shape(walk.shape, walk.offset)
        self.routine.call("copy_add", target, dy, walk.n, walk.steps, dense_steps(walk.n), writes=dx)
        return dx

    def copied_into(self, y: Value, view: Callable[[Any], Any], x: Value) -> None:
        """Adds an instruction that copies x to the elements of a view of y."""
        walk = self._walk(y, view)
        target = y.as_shape(walk.shape, walk.offset)
        self.routine.call("copy", target, x, walk.n, walk.steps, dense_steps(walk.n), writes=y)

    def _index(self, x: Value, view: Callable[[Any], Any]) -> Value:
        """The places of a view's elements in x."""
        places = np.arange(x.size, dtype=np.int32).reshape(x.shape)
        return self.value_of(np.ascontiguousarray(view(places)), "index")

    def _walk(self, x: Value, view: Callable[[Any], Any], most_axes: int = 4) -> Walk:
        """How the elements of a view of x lie in x.

        Axes that can be walked as one are joined, and axes of size 1 are added in front up to four.
        """
        base = np.empty(x.shape, np.int8)  # of one byte an element, so that strides count elements
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
        if len(n) > most_axes:
            raise self.refuse(f"a view with {len(n)} axes is not supported, at most {most_axes}")
        fill = max(4 - len(n), 0)
        return Walk(seen.shape, offset, (*[1] * fill, *n), (*[0] * fill, *steps))

    def expanded(self, x: Value, shape: Sequence[int]) -> Value:
        """x broadcast to a shape."""
        return self.strided(x, partial(np.broadcast_to, shape=tuple(shape)))

    def reduced(self, dy: Value, shape: tuple[int, ...]) -> Value:
        """dy summed over the axes along which an operand of this shape was broadcast."""
        if dy.shape == tuple(shape):
            return dy
        x = Value(dy.buffer, tuple(shape))
        return self.scattered(dy, x, partial(np.broadcast_to, shape=dy.shape))

    def scaled(self, dx: Value | None, dy: Value) -> Value | None:
        """The gradient dx for dy = 1, times dy."""
        if dx is None or dy is ONE:
            return dx
        return self.routine.made("times", dx, dy, ..., dx.size, shape=dx.shape, replaced=[dx])

    def channels(self, axis: int = 1) -> tuple[int, int, int]:
        """(outer, n, inner): the sizes before, at and after an axis of the first input."""
        shape = self.input(0).shape
        axis %= len(shape)
        return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


class Walk(NamedTuple):
    """The elements of a view of an array: shape, offset of the first, sizes and steps of the joined axes."""

    shape: tuple[int, ...]
    offset: int
    n: tuple[int, ...]
    steps: tuple[int, ...]

    def is_contiguous(self) -> bool:
        """Whether the elements follow each other in C order."""
        pairs = zip(self.n, self.steps, dense_steps(self.n), strict=True)
        return all(size == 1 or step == dense for size, step, dense in pairs)


def dense_steps(n: tuple[int, ...]) -> tuple[int, ...]:
    """The steps of an array of these sizes in C order."""
    return tuple([math.prod(n[i + 1 :]) for i in range(len(n))])
