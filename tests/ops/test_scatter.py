"""Values put at places: the last one stays; results and gradients of reductions beside a loop in Python
(`_reduced`); in place and in compiled steps as in a new tensor.
"""

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused


@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
@pytest.mark.parametrize("turn", [np.asarray, lambda a: a.T.copy().T, lambda a: a[::-1].copy()[::-1]])
def test_the_value_written_last_stays(dtype, turn, rng):
    """In the order of C, however the memory of index and values is laid out."""
    index = rng.integers(0, 4, (5, 3))
    values = np.arange(1, 16).reshape(5, 3).astype(dtype)
    expected = np.zeros(4, dtype)
    for place, value in zip(index.ravel(), values.ravel(), strict=True):
        expected[place] = value
    places, source = rv.from_numpy(turn(index)), rv.tensor(values)
    source = source if dtype == "float16" else rv.from_numpy(turn(values))
    z = rv.zeros(4, dtype=source.dtype)
    z[places] = source
    assert z.tolist() == rv.zeros(4, dtype=source.dtype).put(places, source).tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["scatter", "scatter_add"])
def test_an_empty_index_of_any_shape_writes_nothing(name):
    x = rv.ones(2, 3, requires_grad=True)
    y = getattr(rv, name)(x, 0, rv.tensor([], dtype=rv.int64), rv.zeros(2, 3))
    y.sum().backward()
    assert rv.equal(y, x)
    assert rv.equal(x.grad, rv.ones(2, 3))


def _reduced(x, axis, index, src, reduce, include_self, dy):
    """The result and the gradients of x and src, one place after another."""
    y, dx, dsrc = x.copy(), np.zeros_like(x), np.zeros_like(src)
    writers = {place: [] for place in np.ndindex(x.shape)}
    for j in np.ndindex(index.shape):
        writers[(*j[:axis], int(index[j]), *j[axis + 1 :])].append(j)
    for place, js in writers.items():
        values = [src[j] for j in js]
        own = include_self or not js
        if own:
            values.insert(0, x[place])
        if reduce == "prod":
            y[place] = np.prod(values)
            slopes = [np.prod(values[:k] + values[k + 1 :]) for k in range(len(values))]
        else:
            y[place] = (np.max if reduce == "amax" else np.min)(values)
            if np.isnan(y[place]):
                slopes = [np.nan] * len(values)
            else:
                slopes = [(v == y[place]) / values.count(y[place]) for v in values]
        slopes = [dy[place] * s for s in slopes]
        if own:
            dx[place] = slopes.pop(0)
        for j, slope in zip(js, slopes, strict=True):
            dsrc[j] = slope
    return y, dx, dsrc


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["prod", "amax", "amin"])
def test_scatter_reduce(reduce, include_self, dtype, rng):
    """Equal values, zeros, NaN; an index smaller than x and src; a whole number of powers of 2 is exact."""
    shapes = [  # the shape of x, the axis, the shapes of index and src
        ((4, 5), 1, (4, 9), (4, 9)),
        ((4, 5), 0, (7, 5), (7, 5)),
        ((6, 5), 1, (4, 3), (5, 6)),
        ((2, 3, 4), 1, (2, 5, 2), (2, 5, 4)),
        ((7,), 0, (20,), (20,)),
        ((7,), 0, (0,), (0,)),
        ((1, 1), 0, (1, 1), (1, 1)),
    ]
    for shape, axis, places, of_src in shapes:
        for values in ([-1.0, 0.5, 2.0], [-1.0, 0.0, 2.0], [-1.0, 1.0, 2.0, np.nan]):
            if reduce == "prod" and np.isnan(values).any():
                continue
            x, src = (rng.choice(values, s).astype(dtype) for s in (shape, of_src))
            dy, index = rng.choice([1.0, 3.0], shape).astype(dtype), rng.integers(0, shape[axis], places)
            wanted = _reduced(x, axis, index, src, reduce, include_self, dy)
            a, b = (rv.tensor(v, requires_grad=True) for v in (x, src))
            y = rv.scatter_reduce(a, axis, rv.tensor(index), b, reduce, include_self=include_self)
            y.backward(rv.tensor(dy))
            for got, want in zip((y.detach(), a.grad, b.grad), wanted, strict=True):
                np.testing.assert_allclose(got.numpy(), want, rtol=8 * np.finfo(dtype).eps)
                assert (got.shape, got.numpy().dtype) == (want.shape, want.dtype)


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint8", "int64"])
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce_mean_keeps_the_dtype(dtype, include_self):
    x, src = np.array([7, 5, 3], dtype), np.array([2, 1, 2], dtype)
    y = rv.scatter_reduce(
        rv.tensor(x), 0, rv.tensor([0, 0, 2]), rv.tensor(src), "mean", include_self=include_self
    )
    means = [10 / 3, 5, 5 / 2] if include_self else [3 / 2, 5, 2]
    expected = np.array(means if dtype == "float16" else np.floor(means), dtype)
    assert y.numpy().dtype == dtype
    assert y.tolist() == expected.tolist()


IN_PLACE = {
    "index_copy_": lambda x: x.index_copy_(1, rv.tensor([7, 2]), rv.ones(3, 2, 4)),
    "index_copy_ of no float32": lambda x: x.index_copy_(1, rv.tensor([7, 2]), rv.ones(3, 2, 4).double()),
    "index_add_": lambda x: x.index_add_(1, rv.tensor([7, 7]), rv.ones(3, 2, 4)),
    "index_add_ scaled": lambda x: x.index_add_(1, rv.tensor([7, 7]), rv.ones(3, 2, 4), alpha=2),
    "scatter_": lambda x: x.scatter_(1, rv.tensor([[[3, 0, 1, 2]]] * 3), rv.ones(3, 1, 4)),
    "scatter_ of a number": lambda x: x.scatter_(1, rv.tensor([[[3, 0, 1, 2]]] * 3), 5.0),
    "scatter_add_": lambda x: x.scatter_add_(1, rv.tensor([[[3, 3]]]), rv.ones(1, 1, 2)),
    "setitem": lambda x: x.__setitem__((slice(None), rv.tensor([7, -2])), rv.ones(3, 2, 4)),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_places_in_place(name):
    """In a part of a larger tensor, with gradients, and in a compiled step: as in a new tensor."""
    change, begin = IN_PLACE[name], rv.randn(3, 9, 4)
    if name.endswith("float32"):
        refused(TypeError, "[index_copy", change, begin)
        return
    wanted, base = begin.clone(), rv.stack([begin, begin, begin], 1)
    change(wanted)
    part = base[:, 1]
    change(part)
    np.testing.assert_array_equal(base[:, 1].numpy(), wanted.numpy())
    np.testing.assert_array_equal(base[:, ::2].numpy(), rv.stack([begin, begin], 1).numpy())
    leaf = begin.clone().requires_grad_()
    y = leaf * 1
    change(y)
    np.testing.assert_array_equal(y.numpy(force=True), wanted.numpy())
    y.sum().backward()
    kept = rv.ones(3, 9, 4) if "add" in name else (wanted == begin).float()
    np.testing.assert_array_equal(leaf.grad.numpy(), kept.numpy())
    refused(RuntimeError, "leaf", change, leaf)
    state = begin.clone()

    def step():
        state.copy_(begin)
        change(state)
        return state.clone()

    fast = rv.compile(step)
    for _ in range(4):
        np.testing.assert_array_equal(fast().numpy(), wanted.numpy())


def test_a_compiled_step_writes_a_row_of_a_cache_alone():
    cache = rv.zeros(2, 64, 4)
    fast = rv.compile(lambda row, at: cache.index_copy_(1, at, row)[:, :3].sum())
    for i in range(5):
        fast(rv.ones(2, 1, 4), rv.tensor([i]))
    assert "copy" not in [i.op for i in fast.programs[-1].instructions]
    assert cache.sum().item() == 40
