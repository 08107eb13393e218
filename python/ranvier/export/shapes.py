"""Rules for views, joins, padding and reductions.

A view in C order is the same memory and needs no instruction. Another, such as x (2, 3) transposed, is a
copy. It has the sizes of four axes, and the elements from one entry to the next in the result and in x:

    copy(ram + 0, x, (const int[]){1, 1, 3, 2}, (const int[]){6, 6, 2, 1}, (const int[]){0, 0, 1, 3});

In `made(helper, arguments ...)` the argument `...` is the place of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter, methodcaller
from typing import NamedTuple

import numpy as np

from ranvier.export.instructions import Value
from ranvier.export.linear_maps import linear, linear_backward
from ranvier.export.operations import Rule, Site, rule
from ranvier.tensors.memory import Array

Gradients = Sequence[Value | None]


# --- views and joins


def _view_rule(kind: str, view: Callable[[Site, Array], Array]) -> None:
    """Enters the rule of a Function whose result is a view. view: makes it of an array for a call."""

    def forward(s: Site) -> Value:
        return s.strided(s.input(0), partial(view, s))

    def backward(s: Site, dy: Value) -> Gradients:
        return [s.scattered(dy, s.input(0), partial(view, s))]

    rule(kind)(Rule(forward, backward))


def _indexed(s: Site, array: Array) -> Array:
    key = s.get("key")
    entries = key if isinstance(key, tuple) else (key,)
    if not any(entry is Ellipsis for entry in entries):
        entries = (*entries, ...)
    return array[entries]


def _permuted(s: Site, array: Array) -> Array:
    return array.transpose(s.get("dims"))


def _expanded(s: Site, array: Array) -> Array:
    return np.broadcast_to(array, s.call.outputs[0].shape)


def _flipped(s: Site, array: Array) -> Array:
    return np.flip(array, s.get("dims"))


_view_rule("Getitem", _indexed)
_view_rule("Permute", _permuted)
_view_rule("Expand", _expanded)
_view_rule("Flip", _flipped)


def _reshape(s: Site) -> Value:
    return s.input(0).as_shape(s.call.outputs[0].shape)


def _reshape_backward(s: Site, dy: Value) -> Gradients:
    return [dy.as_shape(s.input(0).shape)]


def _clone(s: Site) -> Value:
    return s.input(0)


def _clone_backward(s: Site, dy: Value) -> Gradients:
    return [dy]


rule("Reshape")(Rule(_reshape, _reshape_backward))
rule("Clone")(Rule(_clone, _clone_backward))


class _Place(NamedTuple):
    """An input of a join: its number, and a function that makes its section of the result as a view."""

    number: int
    view: Callable[[Array], Array]


def _places(s: Site) -> list[_Place]:
    """The inputs of a join that have elements in the result."""
    shape = s.call.outputs[0].shape
    axis = s.get("axis") % len(shape)
    places: list[_Place] = []
    start = 0
    for i, x in enumerate(s.inputs):
        assert x is not None
        if len(x.shape) == len(shape):  # cat ignores vectors without elements
            key = (slice(None),) * axis + (slice(start, start + x.shape[axis]),)
            places.append(_Place(i, itemgetter(key)))
            start += x.shape[axis]
    return places


def _concatenate(s: Site) -> Value:
    y = s.routine.new(s.call.outputs[0].shape)
    for place in _places(s):
        s.copied_into(y, place.view, s.input(place.number))
    return y


def _concatenate_backward(s: Site, dy: Value) -> Gradients:
    gradients: list[Value | None] = [None] * len(s.inputs)
    for place in _places(s):
        if s.needs[place.number]:
            gradients[place.number] = s.strided(dy, place.view)
    return gradients


rule("Concatenate")(Rule(_concatenate, _concatenate_backward))


def _pad(s: Site) -> Value:
    if s.get("mode") != "constant":
        return linear(s)
    shape = s.call.outputs[0].shape
    value = float(s.get("value") or 0.0)
    y = s.routine.made("fill", ..., int(np.prod(shape)), value, shape=shape)
    s.copied_into(y, _inside(s), s.input(0))
    return y


def _inside(s: Site) -> Callable[[Array], Array]:
    """A function that makes the view of a padded array which holds the operand."""
    sizes = [int(n) for n in s.get("sizes")]
    shape = s.input(0).shape
    if min(sizes, default=0) < 0:
        raise s.refuse("padding below 0 is not supported")
    before = [0] * len(shape)
    for i in range(len(sizes) // 2):
        before[len(shape) - 1 - i] = sizes[2 * i]
    key = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    return itemgetter(key)


def _pad_backward(s: Site, dy: Value) -> Gradients:
    if s.saved:  # `linear` has filled it, for another mode than "constant"
        return linear_backward(s, dy)
    return [s.strided(dy, _inside(s))]


rule("Pad")(Rule(_pad, _pad_backward))


# --- sums and means


def _reduced_axes(s: Site) -> tuple[int, ...]:
    """The axes of a reduction in ascending order."""
    ndim = len(s.input(0).shape)
    axes = s.get("axes")
    if ndim == 0:
        return ()
    if axes is None:
        return tuple(range(ndim))
    if not isinstance(axes, tuple):
        axes = (axes,)
    return tuple(sorted(axis % ndim for axis in axes))


def _factor(s: Site) -> float:
    """The factor of a sum: 1, or 1 / the number of terms for a mean."""
    if not s.call.settings.get("mean"):
        return 1.0
    shape = s.input(0).shape
    count = int(np.prod([shape[axis] for axis in _reduced_axes(s)]))
    return 1.0 / count


def _sum(s: Site) -> Value:
    along = _with_adjacent_axes(s, s.input(0), _reduced_axes(s))
    return s.routine.made("sum_axis", along.x, ..., *along.sizes, _factor(s), shape=s.call.outputs[0].shape)


class _Along(NamedTuple):
    """An operand whose reduced axes are adjacent.

    sizes: before, of and after these axes. view: the function that has permuted the axes, None if they are as
    they were.
    """

    x: Value
    sizes: list[int]
    view: Callable[[Array], Array] | None


def _with_adjacent_axes(s: Site, x: Value, axes: tuple[int, ...]) -> _Along:
    """x, with the reduced axes made the last ones where they are not adjacent."""
    if not axes:
        return _Along(x, [1, 1, int(np.prod(x.shape))], None)
    start = axes[0]
    end = axes[-1] + 1
    view = None
    if axes != tuple(range(start, end)):
        others = [axis for axis in range(len(x.shape)) if axis not in axes]
        view = methodcaller("transpose", [*others, *axes])
        x = s.strided(x, view)
        start = len(others)
        end = len(x.shape)
    shapes = (x.shape[:start], x.shape[start:end], x.shape[end:])
    return _Along(x, [int(np.prod(shape)) for shape in shapes], view)


def _extreme(s: Site) -> Value:
    along = _with_adjacent_axes(s, s.input(0), _reduced_axes(s))
    s.saved = [along]
    sign = 1.0 if s.get("reduce").__name__ == "max" else -1.0
    return s.routine.made("extreme", along.x, ..., *along.sizes, sign, shape=s.call.outputs[0].shape)


def _extreme_backward(s: Site, dy: Value) -> Gradients:
    (along,) = s.saved
    args = (dy, along.x, s.outputs[0], ..., *along.sizes, int(s.get("spread_nan")))
    dx = s.routine.made("extreme_backward", *args, shape=along.x.shape)
    if along.view is None:
        return [dx]
    return [s.scattered(dx, s.input(0), along.view)]


rule("Extreme")(Rule(_extreme, _extreme_backward))


def _sum_backward(s: Site, dy: Value | None) -> Gradients:
    if dy is None:
        return [None]
    shape = s.input(0).shape
    with_axes = list(shape)
    for axis in _reduced_axes(s):
        with_axes[axis] = 1
    dx = s.expanded(dy.as_shape(with_axes), shape)
    factor = _factor(s)
    if factor == 1.0:
        return [dx]
    return [s.routine.made("map_mul_number", dx, ..., dx.size, factor, shape=shape, replaced=[dx])]


rule("Sum")(Rule(_sum, _sum_backward))
