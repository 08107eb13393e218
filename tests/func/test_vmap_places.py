"""Within vmap: elements at indices, and changes in place. Beside a loop over the slices."""

import copy

import numpy as np
import pytest
import ranvier as rv
from ranvier.func import grad, vmap
from support.refused import refused

SLICES = 3


def _numbers(seed, *shape):
    return rv.tensor(np.random.default_rng(seed).standard_normal(shape))


X = _numbers(0, SLICES, 4, 5)
Y = _numbers(1, SLICES, 4, 5)
ROWS = rv.tensor([[0, 1, -1], [2, 2, 0], [3, -4, 1]])  # in each slice for 4 rows
COLUMNS = rv.tensor([[4, 0, 2], [1, 1, -5], [0, 3, 3]])
ROW = rv.tensor([2, -1, 0])
FIXED = rv.tensor([3, 0, 3])


def in_place(change):
    """A function that changes a copy of x, and returns it."""

    def function(x, *others):
        copy = x * 1
        change(copy, *others)
        return copy

    return function


def _set(key_of):
    """A function that sets x[key] to values of y."""

    def change(x, y, i, j, k):
        key = key_of(i, j, k)
        x[key] = 2 * y[key]

    return in_place(change)


KEYS = {
    "an integer": lambda i, j, k: 1,
    "a slice": lambda i, j, k: (..., slice(1, None, 2)),
    "a new dimension": lambda i, j, k: (None, 2),
    "a number": lambda i, j, k: k,
    "a number after a slice": lambda i, j, k: (slice(None), k),
    "rows": lambda i, j, k: i,
    "rows in a matrix": lambda i, j, k: i.reshape(3, 1),
    "columns": lambda i, j, k: (slice(None), j),
    "columns of a part": lambda i, j, k: (slice(1, 3), j),
    "both": lambda i, j, k: (i, j),
    "both, broadcast": lambda i, j, k: (i[:, None], j),
    "one of them fixed": lambda i, j, k: (FIXED, j),
    "the other fixed": lambda i, j, k: (i, FIXED),
    "fixed ones": lambda i, j, k: FIXED,
    "fixed columns": lambda i, j, k: (slice(None), FIXED),
    "a number and columns": lambda i, j, k: (k, j),
    "not side by side": lambda i, j, k: (i, None, j),
    "a fixed mask": lambda i, j, k: rv.tensor([True, False, True, True]),
}

GETS = {f"x[{name}]": lambda x, y, i, j, k, key=key: x[key(i, j, k)] for name, key in KEYS.items()}
SETS = {f"x[{name}] = y": _set(key) for name, key in KEYS.items() if name != "not side by side"}


def _views(x, y, *_):
    part = x[1:]
    part[:, 2:].mul_(y[1:, 2:])
    part.T[0].copy_(y[0, 1:4])
    x.view(-1)[::2].add_(1)


def _after_a_change(x, y, *_):
    z = rv.exp(x)
    x.add_(z)
    x[0] = z[1]


def _rolls(x, y, *_):
    for place in range(4):
        row = x[place]
        row += y[place]


def _augmented(x, y, *_):
    x[0] += y[1]
    x[:, 1] *= 3


def _of_new_memory(x, y, i, j, k):
    z = rv.zeros(4, 5, dtype=rv.float64)
    z[1] = x[0]
    z[2:].add_(y[2:])
    return z


def _loop_over_new_memory(x, y, i, j, k):
    z = x.new_zeros(4)
    for place in range(4):
        z[place] = (x[place] * y[place]).sum()
    return z


def _views_of_new_memory(x, y, i, j, k):
    z = rv.ones(4, 5, dtype=rv.float64)
    first, rest = z[0], z[1:].T
    z += x
    rest.mul_(2)
    first.copy_(y[0])
    return z, first * 2, rest + 1


def _out(x, y, *_):
    z = rv.empty(4, 5, dtype=rv.float64)
    rv.add(x, y, out=z)
    return z


CHANGES = {
    "number": in_place(lambda x, *_: x.__setitem__(0, 5.0)),
    "copy_": in_place(lambda x, y, *_: x.copy_(y[1])),
    "fill_": in_place(lambda x, y, *_: x[0].fill_(y[0, 0])),
    "zero_": in_place(lambda x, *_: x[:, 1].zero_()),
    "add_": in_place(lambda x, y, *_: x.add_(y[0], alpha=2)),
    "clamp_": in_place(lambda x, *_: x.clamp_(-0.5, 0.5)),
    "exp_": in_place(lambda x, *_: x.exp_()),
    "relu": in_place(lambda x, *_: rv.nn.functional.relu(x, inplace=True)),
    "masked_fill_": in_place(lambda x, y, *_: x.masked_fill_(y > 0, 0.25)),
    "by a mask": in_place(lambda x, y, *_: x.__setitem__(y > 0, 0.25)),
    "by a mask of rows": in_place(lambda x, y, *_: x.__setitem__(y[:, 0] > 0, y[0])),
    "index_add_": in_place(lambda x, y, i, *_: x.index_add_(0, i % 4, y[:3])),
    "index_copy_": in_place(lambda x, y, i, *_: x.index_copy_(0, i % 4, y[:3])),
    "index_fill_": in_place(lambda x, y, i, *_: x.index_fill_(0, i, 2.0)),
    "scatter_": in_place(lambda x, y, i, *_: x.scatter_(0, (i % 4)[:, None].expand(3, 5), y)),
    "scatter_add_": in_place(lambda x, y, i, *_: x.scatter_add_(0, (i % 4)[:, None].expand(3, 5), y)),
    "fill_diagonal_": in_place(lambda x, *_: x.fill_diagonal_(3.0)),
    "views": in_place(_views),
    "old values": in_place(_after_a_change),
    "iteration": in_place(_rolls),
    "augmented": in_place(_augmented),
    "transposed in place": in_place(lambda x, *_: x.t_().mul_(2)),
    "new memory": _of_new_memory,
    "a loop": _loop_over_new_memory,
    "views of new memory": _views_of_new_memory,
    "out": _out,
}

OTHERS = {
    "take": lambda x, y, i, j, k: rv.take(x, i * 5 + j),
    "put": lambda x, y, i, j, k: rv.put(x, (i % 4) * 5 + j % 5, y[0, :3]),
    "put, added": lambda x, y, i, j, k: rv.put(x, i % 4, y[0, :3], accumulate=True),
    "gather": lambda x, y, i, j, k: rv.gather(x, 1, (j % 5)[:, None].expand(3, 2)),
    "take_along_dim": lambda x, y, i, j, k: rv.take_along_dim(x, i[:, None], 0),
    "index_select": lambda x, y, i, j, k: x.index_select(1, j % 5),
    "index_put": lambda x, y, i, j, k: rv.index_put(x, (i, j), y[0, :3]),
    "index_put, added": lambda x, y, i, j, k: rv.index_put(x, (i % 4,), y[:3], accumulate=True),
    "masked_scatter": lambda x, y, i, j, k: rv.masked_scatter(x, y > 0, y * 3),
    "amax": lambda x, y, i, j, k: rv.scatter_reduce(x, 0, (i % 4)[:, None].expand(3, 5), y, "amax"),
    "mean": lambda x, y, i, j, k: rv.scatter_reduce(x, 0, (i % 4)[:, None].expand(3, 5), y, "mean"),
    "cat": lambda x, y, i, j, k: rv.cat([x[0], rv.ones(2, dtype=rv.float64), y[1]]),
    "channels_last": lambda x, y, i, j, k: x.reshape(1, 2, 2, 5).contiguous(memory_format=rv.channels_last),
    "diag": lambda x, y, i, j, k: (rv.diag(x), rv.diag(x[0]), rv.tril(x), x.float().double()),
    "windows": lambda x, y, i, j, k: x.unfold(1, 3, 2) * y.unfold(-1, 3, 2),
    "dimensions": lambda x, y, i, j, k: x.reshape(1, 2, 2, 1, 5, 1).repeat(2, 1, 2, 1, 2, 3),
}

FUNCTIONS = {**GETS, **SETS, **CHANGES, **OTHERS}


def _listed(result):
    return list(result) if isinstance(result, tuple) else [result]


def _stacked(function, *args):
    """The results of a loop over the slices, as arrays."""
    rows = [_listed(function(*slices)) for slices in zip(*args, strict=True)]
    return [np.stack([y.numpy(force=True) for y in column]) for column in zip(*rows, strict=True)]


def _check(function, *args, dims):
    expected = _stacked(function, *args)
    moved = [x.movedim(0, dim).contiguous() for x, dim in zip(args, dims, strict=True)]
    got = _listed(vmap(function, dims)(*moved))
    for mine, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine.numpy(force=True), other, rtol=1e-12, atol=1e-12)


ARGS = (X, Y, ROWS, COLUMNS, ROW)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dims", [(0, 0, 0, 0, 0), (-1, 1, 1, -1, 0)])
def test_as_a_loop(name, dims):
    _check(FUNCTIONS[name], *ARGS, dims=dims)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name):
    def loss(x, y, *others):
        results = _listed(FUNCTIONS[name](x, y, *others))
        return sum((y * (1 + place) * rv.cos(y)).sum() for place, y in enumerate(results))

    slope = grad(loss, (0, 1))
    if name == "out":  # which takes no gradients
        refused(RuntimeError, "[add] got out and tensors that require gradients", vmap(slope), *ARGS)
    else:
        _check(slope, *ARGS, dims=(0, 0, 0, 0, 0))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_of_shared_arguments(name):
    """x, or an index, is the same for all slices."""
    function = FUNCTIONS[name]
    for whole in range(5):
        args = [x[0] if place == whole else x for place, x in enumerate(ARGS)]
        dims = [None if place == whole else 0 for place in range(5)]
        repeated = [rv.stack([x] * SLICES) if place == whole else x for place, x in enumerate(args)]
        got = _listed(vmap(function, tuple(dims))(*args))
        for mine, other in zip(got, _stacked(function, *repeated), strict=True):
            np.testing.assert_allclose(mine.numpy(), other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_a_call(name):
    """x of the inner call, the others of the outer one, and the other way round."""
    function = FUNCTIONS[name]
    if name in ("fill_", "views", "iteration", "augmented", "new memory", "views of new memory"):
        # A view of a Tensor of the outer call is changed by values of the inner one.
        text = "the same for all slices and shares its memory"
        refused(RuntimeError, text, vmap(vmap(function, (None, 0, 0, 0, 0)), (0, *[None] * 4)), *ARGS)
        return
    for inner in ((0, None, None, None, None), (None, 0, 0, 0, 0)):
        outer = tuple([0 if dim is None else None for dim in inner])
        got = _listed(vmap(vmap(function, inner), outer)(*ARGS))
        for a in range(SLICES):
            for b in range(SLICES):
                places = [a if dim is None else b for dim in inner]
                expected = _listed(function(*[x[place] for x, place in zip(ARGS, places, strict=True)]))
                for mine, other in zip(got, expected, strict=True):
                    np.testing.assert_allclose(mine[a, b].numpy(), other.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [rv.int64, rv.int32, rv.bool, rv.float16, rv.bfloat16])
@pytest.mark.parametrize(
    "name", ["x[rows]", "x[both] = y", "copy_", "scatter_", "put", "gather", "views of new memory"]
)
def test_dtypes(name, dtype):
    if name == "views of new memory" and dtype == rv.bool:
        return

    def function(x, y, *others):
        made = FUNCTIONS[name](x.to(dtype), y.to(dtype), *others)
        return tuple([y.to(rv.float64) for y in _listed(made)])

    _check(function, 3 * X, 3 * Y, ROWS, COLUMNS, ROW, dims=(0, 0, 0, 0, 0))


def test_a_compiled_step():
    """Replays read the indices of their own call."""

    def function(x, rows):
        y = x * 1
        y[rows] = 2.0
        y[0] = x[1]
        y[1:].add_(x[1:])
        z = rv.zeros(3, dtype=rv.float64)
        z[1:] = x[rows, 0][1:]
        return x[rows].sum() + (y**2).sum() + y[rows[0]].sum() + z.sum()

    weight = rv.ones(1, dtype=rv.float64).requires_grad_()

    @rv.compile
    def step(x, rows):
        weight.grad = None
        y = vmap(function)(x * weight, rows)
        y.sum().backward()
        return y, weight.grad

    for seed in range(5):
        x = _numbers(seed, SLICES, 4, 5)
        rows = rv.tensor(np.random.default_rng(seed).integers(-4, 4, (SLICES, 3)))
        y, slope = step(x, rows)
        (expected,) = _stacked(function, x, rows)
        np.testing.assert_allclose(y.numpy(force=True), expected, rtol=1e-12)
        # `function` is the sum of terms of degree 0, 1 and 2 in x, whose slope this difference gives exactly.
        up, down = (vmap(function)(x * factor, rows).sum() for factor in (1.5, 0.5))
        np.testing.assert_allclose(slope.numpy(), [float(up - down)], rtol=1e-9)
    assert step.programs


def test_the_argument_itself():
    """As in PyTorch, a change of a slice is one of the argument."""
    x = X.clone()
    vmap(lambda row: row[1:].mul_(2))(x)
    assert (x[:, 1:] == 2 * X[:, 1:]).all()
    assert (x[:, 0] == X[:, 0]).all()


def test_no_slices():
    for name, function in FUNCTIONS.items():
        empty = vmap(function)(*[x[:0] for x in ARGS])
        full = vmap(function)(*ARGS)
        for mine, other in zip(_listed(empty), _listed(full), strict=True):
            assert mine.shape == (0, *other.shape[1:]), name


def test_what_backward_needs_has_changed():
    def loss(x):
        y = x * 1
        part = y[1:]
        z = y.exp() * y.sin()
        part.add_(1)
        return z.sum()

    refused(RuntimeError, "modified by an inplace operation", vmap(grad(loss)), X)
    refused(RuntimeError, "a leaf Variable that requires grad", vmap(grad(lambda x: x.add_(1).sum())), X)


OUTSIDE = rv.zeros(4, 5, dtype=rv.float64)


def _of_an_alias(x):
    y = rv.zeros(4, 5, dtype=rv.float64)
    y.detach().copy_(x)
    return y


def test_errors():
    text = "[copy_] got a Tensor from outside of vmap"
    refused(RuntimeError, text, vmap(lambda x: OUTSIDE.copy_(x)), X)
    refused(RuntimeError, "[copy_] got a Tensor from outside", vmap(lambda x: OUTSIDE[1:].copy_(x[1:])), X)
    assert (OUTSIDE == 0).all()
    refused(RuntimeError, "[copy_] got a Tensor that is the same for all slices", vmap(_of_an_alias), X)
    refused(RuntimeError, "[vmap] got a mask as an index", vmap(lambda x: x[x > 0]), X)
    text = "[setitem] got values of shape"
    refused(RuntimeError, text, vmap(in_place(lambda x: x.__setitem__(x > 0, rv.ones(3)))), X)
    for index in (ROWS + 2, ROWS - 4):
        refused(IndexError, "[getitem] got index", vmap(lambda x, i: x[i]), X, index)
        refused(IndexError, "[", vmap(in_place(lambda x, i: x.__setitem__(i, 0.0))), X, index)
        refused(IndexError, "[", vmap(lambda x, i: x.index_select(0, i)), X, index)
    refused(
        RuntimeError, "[copy_] got a tensor of shape", vmap(lambda x: x.copy_(x + 1)), X[:1].expand(3, 4, 5)
    )


def test_parameters():
    """A parameter that is made of a slice, and one that gets its values later."""

    def function(x):
        own = rv.nn.Parameter(x)
        layer = rv.nn.Linear(5, 2, dtype=rv.float64)
        with rv.no_grad():
            layer.weight.copy_(x[:2])
            layer.bias.copy_(x[2:, 0])
        (layer(own).sum() + (own**2).sum()).backward()
        assert isinstance(own, rv.nn.Parameter)
        return layer(x), layer.weight.grad, own.grad, copy.deepcopy(own)

    results = vmap(function, randomness="same")(X)
    for place, x in enumerate(X):
        expected = function(x)
        for mine, other in zip(results, expected, strict=True):
            np.testing.assert_allclose(mine[place].numpy(force=True), other.numpy(force=True), rtol=1e-12)
    text = "[set_] got a Tensor that differs from slice to slice"
    refused(RuntimeError, text, vmap(lambda x: rv.zeros(1, dtype=rv.float64).set_(x)), X)


def test_gradients_of_a_leaf():
    """requires_grad_(), .grad, detach() and hooks within the function."""

    def function(x):
        leaf = x.detach().requires_grad_()
        seen = []
        y = leaf * 2
        y.register_hook(lambda slope: seen.append(slope * 1))
        y.retain_grad()
        (y**2).sum().backward()
        return leaf.grad, seen[0], y.grad, y.detach(), y.data

    results = vmap(function)(X)
    for mine, factor in zip(results, (8, 4, 4, 2, 2), strict=True):
        np.testing.assert_allclose(mine.numpy(force=True), factor * X.numpy(), rtol=1e-12)
