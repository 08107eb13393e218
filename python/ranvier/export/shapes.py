"""Rules for views, joins, padding and reductions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from ranvier.export.instructions import Value
from ranvier.export.linear_maps import linear, linear_backward
from ranvier.export.operations import Rule, Site, rule

Gradients = Sequence[Value | None]


# --- views and joins


def _view(kind: str, view: Callable[[Site], Callable[[Any], Any]]) -> None:
    """Enters the rule of a Function whose result is a view; view(site) gives a function array -> view."""

    def forward(s: Site) -> Value:
        return s.strided(s.input(0), view(s))

    def backward(s: Site, dy: Value) -> Gradients:
        return [s.scattered(dy, s.input(0), view(s))]

    rule(kind)(Rule(forward, backward))


def _getitem(s: Site) -> Callable[[Any], Any]:
    key = s.get("key")
    whole = key if isinstance(key, tuple) else (key,)
    if not any(k is Ellipsis for k in whole):
        whole = (*whole, ...)
    return lambda a: a[whole]


_view("Getitem", _getitem)
_view("Permute", lambda s: lambda a: a.transpose(s.get("dims")))
_view("Expand", lambda s: lambda a: np.broadcast_to(a, s.call.outputs[0].shape))
_view("Flip", lambda s: lambda a: np.flip(a, s.get("dims")))
_reshape = Rule(
    lambda s: s.input(0).as_shape(s.call.outputs[0].shape), lambda s, dy: [dy.as_shape(s.input(0).shape)]
)
rule("Reshape")(_reshape)
rule("Clone")(Rule(lambda s: s.input(0), lambda s, dy: [dy]))


def _places(s: Site) -> list[tuple[int, Callable[[Any], Any]]]:
    """For each input of a join its number, and a function that makes its part of the result as a view."""
    shape = s.call.outputs[0].shape
    axis = s.get("axis") % len(shape)
    places: list[tuple[int, Callable[[Any], Any]]] = []
    start = 0
    for i, x in enumerate(s.inputs):
        assert x is not None
        if len(x.shape) == len(shape):
            key = (slice(None),) * axis + (slice(start, start + x.shape[axis]),)
            places.append((i, itemgetter(key)))
            start += x.shape[axis]
    return places


def _concatenate(s: Site) -> Value:
    y = s.r.new(s.call.outputs[0].shape)
    for i, view in _places(s):
        shape, offset, n, steps = s._walk(y, view)
        x = s.input(i)
        dense = tuple(int(np.prod(n[k + 1 :])) for k in range(4))
        s.r.call("copy", y.as_shape(shape, offset), x, tuple(n), tuple(steps), dense, writes=y)
    return y


def _concatenate_backward(s: Site, dy: Value) -> Gradients:
    gradients: list[Value | None] = [None] * len(s.inputs)
    for i, view in _places(s):
        if s.needs[i]:
            gradients[i] = s.strided(dy, view)
    return gradients


rule("Concatenate")(Rule(_concatenate, _concatenate_backward))


def _pad(s: Site) -> Value:
    if s.get("mode") != "constant":
        return linear(s)
    x = s.input(0)
    shape = s.call.outputs[0].shape
    y = s.r.made("fill", ..., int(np.prod(shape)), float(s.get("value") or 0.0), shape=shape)
    inner, offset, n, steps = s._walk(y, _inside(s))
    dense = tuple(int(np.prod(n[k + 1 :])) for k in range(4))
    s.r.call("copy", y.as_shape(inner, offset), x, tuple(n), tuple(steps), dense, writes=y)
    return y


def _inside(s: Site) -> Callable[[Any], Any]:
    """A function that makes the view of a padded array which holds the operand."""
    sizes = [int(n) for n in s.get("sizes")]
    shape = s.input(0).shape
    if min(sizes, default=0) < 0:
        raise s.refuse("padding below 0 is not supported")
    before = [0] * len(shape)
    for i in range(len(sizes) // 2):
        before[len(shape) - 1 - i] = sizes[2 * i]
    key = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    return lambda a: a[key]


def _pad_backward(s: Site, dy: Value) -> Gradients:
    if s.saved:
        return linear_backward(s, dy)
    return [s.strided(dy, _inside(s))]


rule("Pad")(Rule(_pad, _pad_backward))


# --- sums and means


def _sum_axes(s: Site) -> tuple[tuple[int, ...], float]:
    """The axes of a sum in ascending order, and its factor: 1, or 1 / the number of terms for a mean."""
    shape, axes = s.input(0).shape, s.get("axes")
    if axes is None:
        axes = tuple(range(len(shape)))
    axes = tuple(sorted(a % max(len(shape), 1) for a in (axes if isinstance(axes, tuple) else (axes,))))
    count = int(np.prod([shape[a] for a in axes])) if shape else 1
    return axes if shape else (), 1.0 / count if s.call.settings.get("mean") else 1.0


def _sum(s: Site) -> Value:
    axes, factor = _sum_axes(s)
    x, sizes, _ = _along(s, s.input(0), axes)
    return s.r.made("sum_axis", x, ..., *sizes, factor, shape=s.call.outputs[0].shape)


def _along(s: Site, x: Value, axes: tuple[int, ...]) -> tuple[Value, list[int], Any]:
    """(x with these axes adjacent, [sizes before, of and after them], the function for it or None)."""
    view = None
    if axes and axes != tuple(range(axes[0], axes[-1] + 1)):
        order = [a for a in range(len(x.shape)) if a not in axes] + list(axes)
        x, view = s.strided(x, lambda a: a.transpose(order)), lambda a: a.transpose(order)
        axes = tuple(range(len(order) - len(axes), len(order)))
    start, end = (axes[0], axes[-1] + 1) if axes else (0, 0)
    return x, [int(np.prod(part)) for part in (x.shape[:start], x.shape[start:end], x.shape[end:])], view


def _extreme(s: Site) -> Value:
    x, sizes, view = _along(s, s.input(0), _sum_axes(s)[0])
    s.saved = [x, sizes, view]
    sign = 1.0 if s.get("reduce").__name__ == "max" else -1.0
    return s.r.made("extreme", x, ..., *sizes, sign, shape=s.call.outputs[0].shape)


def _extreme_backward(s: Site, dy: Value) -> Gradients:
    x, sizes, view = s.saved
    args = dy, x, s.outputs[0], ..., *sizes, int(s.get("spread_nan"))
    dx = s.r.made("extreme_backward", *args, shape=x.shape)
    return [dx if view is None else s.scattered(dx, s.input(0), view)]


rule("Extreme")(Rule(_extreme, _extreme_backward))


def _sum_backward(s: Site, dy: Value) -> Gradients:
    shape, (axes, factor) = s.input(0).shape, _sum_axes(s)
    if dy is None:
        return [None]
    kept = dy.as_shape([1 if a in axes else n for a, n in enumerate(shape)])
    dx = s.expanded(kept, shape)
    if factor == 1.0:
        return [dx]
    return [s.r.made("map_mul_number", dx, ..., dx.size, factor, shape=shape, replaced=[dx])]


rule("Sum")(Rule(_sum, _sum_backward))
