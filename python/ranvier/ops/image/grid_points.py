"""Parts of `grid_sample` (sampling.py) as differentiable ops: places in pixels, weights of interpolation, and
sums of pixels. They compute volumes, and gradients of gradients, for which there is no kernel.

A point is a place in an image, between pixels. Its taps are the pixels around it along an axis, from which
its value is interpolated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.ops.elementwise.choice import clip, where
from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.elementwise.functions import abs as absolute
from ranvier.ops.neural.embedding import Embedding
from ranvier.ops.shape.reshape import permute, reshape, unsqueeze
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap


def cubic(share: Tensor, taps: Tensor) -> Tensor:
    """The weights of cubic interpolation (Keys 1981, a = -0.75) of the four pixels around each point.

    taps: -1, 0, 1 and 2, the pixels counted from the one before a point. share: the distance of the point
    from that pixel, in [0, 1). Distances are computed without abs, which has no second derivative at 0.
    """
    a = -0.75
    distance = where(taps > 0, taps - share, share - taps)
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1  # up to 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a  # from 1 to 2
    is_near = absolute(taps * 2 - 1).eq(1)  # taps 0 and 1
    return where(is_near, near, far)


def pixels(points: Tensor, size: int, align_corners: bool) -> Tensor:
    """Coordinates in [-1, 1] as places in pixels along an axis of this size: 0 to size - 1 inside the
    image."""
    if align_corners:
        return (points + 1) * ((size - 1) / 2)
    return ((points + 1) * size - 1) * 0.5


def limited(p: Tensor, size: int, padding_mode: str, align_corners: bool) -> Tensor:
    """Places in pixels, moved into the image by the padding mode; unchanged for 'zeros'."""
    if padding_mode == "zeros":
        return p
    if padding_mode == "reflection":
        if align_corners:
            low = 0.0
            span = size - 1
        else:
            low = -0.5
            span = size
        if span == 0:
            return p * 0
        # The path from the first edge turns at each edge: after an odd number of turns it runs backwards.
        distance = absolute(p - low)
        last_turn, is_odd = host(_turns, distance._array, span)
        odd = wrap(is_odd)
        p = (distance - wrap(last_turn)) * (1 - odd * 2) + odd * span + low
    inside = (p > 0) & (p < size - 1)  # Outside, and at the edge itself, the gradient is 0, as in PyTorch.
    p = clip(p, 0, size - 1)
    return where(inside, p, wrap(p._array))


def _turns(distance: Array, span: float) -> tuple[Array, Array]:
    """(the distance up to the last edge at which a reflected path turns before a point, 1 if the number of
    turns is odd, else 0). distance: from the first edge. span: between the edges."""
    turns = np.floor(distance / span)
    return (turns * span).astype(distance.dtype), (turns % 2).astype(distance.dtype)


def read_at(x: Tensor, index: Array, weight: Tensor) -> Tensor:
    """The sums of k weighted pixels of x (n, c, ...) at each point: (n, c, points ...).

    index, weight: (n, points ..., k). index numbers the pixels of all images consecutively.
    """
    channels_last = permute(x, (0, *range(2, x.ndim), 1))
    table = reshape(channels_last, (-1, x.shape[1]))  # a row for each pixel of all images
    rows = Embedding(None, False).apply(table, wrap(index))  # (n, points ..., k, c)
    sums = (rows * unsqueeze(weight, -1)).sum(-2)
    return permute(sums, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def _places_of(dtype: np.dtype[Any], axes: int, *sizes_and_places: Any) -> tuple[Array, Array]:
    """The numbers of the pixels at all combinations of rows and columns (and layers), and 1 for pixels inside
    their image, else 0: both (n, points ..., k^axes).

    sizes_and_places: the sizes of the images along each axis, then for each axis the places (n, points ...,
    k) of k pixels. They are single arguments because `host`, which repeats this function in compiled steps,
    looks for arrays among its arguments. The numbers count the pixels of all images consecutively; a pixel
    outside gets a number inside.
    """
    sizes = sizes_and_places[:axes]
    places = sizes_and_places[axes:]
    *lead, k = places[0].shape  # (n, points ...)
    at = np.arange(lead[0]).reshape(-1, *(1,) * (len(lead) - 1 + axes))
    inside = np.True_
    for i, (size, p) in enumerate(zip(sizes, places, strict=True)):
        # the k places along axis i, as an axis of its own among those of the combinations
        taps = [1] * axes
        taps[i] = k
        p = p.reshape(*lead, *taps)
        there = (p >= 0) & (p < size)
        inside = inside & there
        at = at * size + np.where(there, p, 0).astype(np.int64)
    shape = (*lead, k**axes)
    return at.reshape(shape), inside.astype(dtype).reshape(shape)
