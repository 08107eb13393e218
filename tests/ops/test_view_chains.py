"""Random chains of views and slices: they move elements as NumPy's do, their gradients are those of the
reference, and writes through them are seen in the whole. `agree` (support/check.py) compares a function of
Tensors, and its gradients, with one of arrays.
"""

import numpy as np
import ranvier as rv
from hypothesis import assume, given, strategies as st
from hypothesis.extra import numpy as nps
from reference import shape as reference
from support.check import agree
from support.strategies import any_array, repeatable


@st.composite
def move(draw, shape):
    """One view of an array of this shape: (on a Tensor, on an array)."""
    ndim = len(shape)
    kinds = ["index", "reshape", "unsqueeze"] + (["transpose", "permute", "flip", "squeeze"] if ndim else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "index":
        key = draw(nps.basic_indices(shape, allow_newaxis=True, max_dims=5))
        return lambda x: x[key], lambda x: x[key]
    if kind == "reshape":
        new = draw(st.sampled_from(_shapes_of(int(np.prod(shape)))))
        return lambda x: x.reshape(new), lambda x: x.reshape(new)
    axis = draw(st.integers(-ndim, ndim - 1)) if ndim else 0
    if kind == "unsqueeze":
        return lambda x: x.unsqueeze(axis), lambda x: np.expand_dims(x, axis)
    if kind == "squeeze":
        return lambda x: x.squeeze(axis), lambda x: x.squeeze(axis) if x.shape[axis] == 1 else x
    if kind == "flip":
        return lambda x: x.flip((axis,)), lambda x: np.flip(x, axis)
    if kind == "permute":
        order = tuple(draw(st.permutations(range(ndim))))
        return lambda x: x.permute(order), lambda x: x.transpose(order)
    other = draw(st.integers(-ndim, ndim - 1))
    return lambda x: x.transpose(axis, other), lambda x: x.swapaxes(axis, other)


def _shapes_of(size):
    shapes = [(size,), (1, size), (size, 1, 1)]
    return shapes + [(d, size // d) for d in range(2, 7) if size and size % d == 0]


@st.composite
def chain(draw):
    """An array, and up to four views of views of it."""
    x = draw(any_array(max_dims=4, max_side=5))
    probe, moves = np.zeros(x.shape), []
    for _ in range(draw(st.integers(1, 4))):
        pair = draw(move(probe.shape))
        probe = np.asarray(pair[1](probe))
        moves.append(pair)
        if probe.ndim > 6:
            break
    return x, moves


def _through(x, moves, side):
    for pair in moves:
        x = pair[side](x)
    return x if side == 0 else np.asarray(x)


@repeatable
@given(case=chain())
def test_chains(case):
    x, moves = case
    agree(
        lambda t: _through(t, moves, 0) * 1.0,  # a copy, so that backward has its own root
        [x],
        lambda a: _through(a, moves, 1),
        lambda dy, a: (reference.moved_backward(dy, a, lambda v: _through(v, moves, 1)),),
        x.size + 1,
    )


@repeatable
@given(x=any_array(max_dims=4, max_side=5, min_dims=1), data=st.data())
def test_writes_through_slices_are_numpys(x, data):
    key = data.draw(nps.basic_indices(x.shape, allow_ellipsis=True))
    mine, expected = rv.tensor(x), x.copy()
    mine[key] = 7.0
    expected[key] = 7.0
    np.testing.assert_array_equal(mine.numpy(), expected)
    mine[key] += 1.0
    expected[key] += 1.0
    np.testing.assert_array_equal(mine.numpy(), expected)


@repeatable
@given(x=any_array(max_dims=3, max_side=5, min_dims=1, min_side=1), data=st.data())
def test_indices_of_arrays_are_numpys(x, data):
    """Integer arrays and masks, beside slices."""
    count = data.draw(st.integers(1, x.ndim))
    shape = data.draw(nps.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
    key = []
    for n in x.shape[:count]:
        if data.draw(st.booleans()):
            rng = np.random.default_rng(data.draw(st.integers(0, 999)))
            key.append(rng.integers(-n, n, shape))
        else:
            key.append(data.draw(st.sampled_from([slice(None), slice(None, None, 2), slice(1, None)])))
    key = tuple(key)
    assume(any(isinstance(part, np.ndarray) for part in key))
    agree(
        lambda t: t[key],
        [x],
        lambda a: a[key],
        lambda dy, a: (reference.moved_backward(dy, a, lambda v: v[key]),),
        x.size * 16,
    )


@repeatable
@given(x=any_array(max_dims=3, max_side=6), seed=st.integers(0, 99))
def test_masks_are_numpys(x, seed):
    mask = np.random.default_rng(seed).random(x.shape) > 0.5
    agree(
        lambda t: t[np.asarray(mask)],
        [x],
        lambda a: a[mask],
        lambda dy, a: (reference.moved_backward(dy, a, lambda v: v[mask]),),
    )
