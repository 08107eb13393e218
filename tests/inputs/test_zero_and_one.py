"""Zero and one in every dimension: each call answers or refuses, in a process that may die."""

import itertools
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from optim.problem import closure_of
from ranvier import _core, kernels, nn
from reference import conv2d as conv2d_reference, conv2d as conv_transpose_reference
from support.grouped import in_groups
from support.isolated import Case, run_isolated
from support.run_call import EVERY, call_of, cases
from support.wrong_input import attempt, sent_back

DRAWN = int(os.environ.get("RANVIER_ZERO_CALLS", "60"))  # joint choices for each call


def resized(x: Any, shape: tuple[int, ...]) -> Any:
    if 0 in shape or x.size == 0:
        return np.zeros(shape, x.dtype)
    return x[tuple(slice(0, n) for n in shape)].copy() if shape else x.copy()


def smaller_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(itertools.product(*({0, 1, n} for n in shape)))


def joint_shapes(arrays: list[Any], rng: Any) -> Iterator[list[tuple[int, ...]]]:
    """Shapes for all arrays at once: one array alone, all dimensions of one size together, and at random."""
    shapes = [x.shape for x in arrays]
    for at, shape in enumerate(shapes):
        for smaller in smaller_shapes(shape):
            yield [*shapes[:at], smaller, *shapes[at + 1 :]]
    sizes = sorted({n for shape in shapes for n in shape})
    for chosen in itertools.product(*({0, 1, n} for n in sizes)):
        to = dict(zip(sizes, chosen, strict=True))
        yield [tuple(to[n] for n in shape) for shape in shapes]
    ranks = max(map(len, shapes), default=0)
    for to_same in itertools.product((0, 1, None), repeat=min(ranks, 4)):  # the same axes of all arrays
        yield [
            tuple(n if t is None else t for n, t in zip(shape, [*to_same, *shape], strict=False))
            for shape in shapes
        ]
    for _ in range(DRAWN):
        yield [
            tuple(n if c == 2 else int(c) for n, c in zip(s, rng.choice(3, len(s)), strict=True))
            for s in shapes
        ]


def cases_of(module: str, name: str) -> list[Case]:
    arrays, _ = call_of(module, name)
    flat = [
        part for x in arrays for part in (x if isinstance(x, list) else [x]) if isinstance(part, np.ndarray)
    ]
    found: list[Case] = []
    seen = set()
    for shapes in joint_shapes(flat, np.random.default_rng(5)):
        if tuple(shapes) in seen:
            continue
        seen.add(tuple(shapes))
        changed = iter([resized(x, shape) for x, shape in zip(flat, shapes, strict=True)])
        given = [_filled(x, changed) for x in arrays]
        found += cases(module, name, given)
    return found


def _filled(x: Any, changed: Iterator[Any]) -> Any:
    if isinstance(x, list):
        return [_filled(part, changed) for part in x]
    return next(changed) if isinstance(x, np.ndarray) else x


KERNELS = [call for call in EVERY if call[0] == "kernels"]  # ops: tests/properties/test_empty.py


@pytest.mark.parametrize("group", in_groups(KERNELS, 20), ids=str)
def test_zero_and_one(group: list[tuple[str, str]]) -> None:
    assert run_isolated([case for module, name in group for case in cases_of(module, name)]) == []


# --- calls whose sizes belong together: each takes its sizes, and what is said of it where it fails


def _uniform(*shapes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(3)
    return [rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]


def _close(found: Any, expected: Any) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def convolution(
    transposed: bool, one: bool, what: str, n: int, c: int, k: int, h: int, w: int, *more: int
) -> None:
    """Forward and backward, against the reference of images."""
    tap, groups, padding = more
    taps = (1 if one else tap, tap)
    shape = (n, c * groups, 1 if one else h, w)
    weight = (c * groups, k, *taps) if transposed else (k * groups, c, *taps)
    name = f"conv{'_transpose' if transposed else ''}"
    reference: Any = conv_transpose_reference if transposed else conv2d_reference
    pad = (0 if one else padding, padding)
    settings: Any = ((1, 1), pad, (0, 0), groups, (1, 1)) if transposed else ((1, 1), pad, (1, 1), groups)
    given: Any = (1, padding, 0, groups, 1) if transposed else (1, padding, 1, groups)

    def squeezed(*arrays: Any) -> list[Any]:
        return [a[:, :, 0] if one and a.ndim == 4 else a for a in arrays]

    x, filters, bias = _uniform(shape, weight, (weight[1] * groups if transposed else weight[0],))
    call = getattr(kernels, f"{name}{1 if one else 2}d")
    y = attempt(lambda: call(*squeezed(x, filters), bias, *given), what)
    if y is None:
        too_small = tap > min(w, shape[2] + one) + 2 * padding
        assert (0 in shape[2:] or padding) if transposed else too_small, what
        return
    expected = getattr(reference, f"{name}2d")(x, filters, bias, *settings)
    _close([y], squeezed(expected))
    (dy,) = _uniform(expected.shape)
    gradients = getattr(kernels, f"{call.__name__}_backward")(*squeezed(dy, x, filters), *given)
    _close(gradients, squeezed(*getattr(reference, f"{name}2d_backward")(dy, x, filters, *settings)))


def pooled_convolution(what: str, n: int, c: int, k: int, h: int, w: int, *more: int) -> None:
    tap, window, padding = more
    x, weight, bias = _uniform((n, c, h, w), (k, c, tap, tap), (k,))
    found = attempt(lambda: _core.conv2d_pool(x, weight, bias, 1, padding, 1, window), what)
    if found is None:
        return
    y, where = found
    z = kernels.conv2d(x, weight, bias, 1, padding)
    expected, at = kernels.max_pool2d(z, window)
    np.testing.assert_array_equal(y, expected)
    (dy,) = _uniform(y.shape)
    dz = kernels.max_pool2d_backward(dy, at, z.shape, window)
    found = _core.conv2d_pool_backward(dy, where, x, weight, 1, padding, 1, window)
    _close(found, kernels.conv2d_backward(dz, x, weight, 1, padding))


def recurrent(
    what: str, name: str, steps: int, batch: int, inputs: int, hidden: int, layers: int, two: bool
) -> None:
    def work() -> None:
        model = getattr(nn, name)(inputs, hidden, layers, bidirectional=two)
        sent_back(model(rv.ones(steps, batch, inputs).requires_grad_())[0])

    attempt(work, what)


def attention(what: str, batch: int, queries: int, keys: int, heads: int, width: int) -> None:
    def work() -> None:
        model = nn.MultiheadAttention(heads * width, heads, batch_first=True)
        q, k = (rv.ones(batch, n, heads * width).requires_grad_() for n in (queries, keys))
        sent_back(model(q, k, k)[0])

    attempt(work, what)


def on_a_list(call: Any, what: str, *shapes: tuple[int, ...]) -> None:
    attempt(lambda: call([np.ones(shape, np.float32) for shape in shapes]), what)


def optimized(name: str, what: str, *shapes: tuple[int, ...]) -> None:
    def work() -> None:
        parameters = [nn.Parameter(rv.ones(*shape)) for shape in shapes]
        optimizer = getattr(rv.optim, name)(parameters)
        for _ in range(2):
            optimizer.step(closure_of(optimizer, lambda: sum((p.sum() for p in parameters), rv.zeros(()))))

    attempt(work, what)


_KEY = np.array([1, 2])
_LISTS: dict[str, Any] = {
    "gradient_norm": lambda a: _core.gradient_norm(a, 2.0),
    "clip_gradients": lambda a: _core.clip_gradients(a, np.array(1.0), np.array(2.0)),
    "weight_penalty": lambda a: _core.weight_penalty(
        a, None, np.full(len(a), 0.1), np.full(len(a), 0.1), np.array(1.0)
    ),
    "move_parameters": lambda a: _core.move_parameters(a, [x.copy() for x in a], np.array(0.5), True),
    "flat_dot": lambda a: _core.flat_dot(a[0].ravel(), a[0].ravel()) if a else None,
    "random_normal": lambda a: [_core.random_normal(x.shape, "float32", 0.0, 1.0, _KEY) for x in a],
    "random_uniform": lambda a: [_core.random_uniform(x.shape, "float32", 0.0, 1.0, _KEY) for x in a],
    "dropout": lambda a: [_core.dropout(x, 0.5, _KEY) for x in a],
    "fill": lambda a: [_core.fill(x, 2.0) for x in a],
    "full": lambda a: [_core.full(x.shape, np.dtype("float32"), 2.0) for x in a],
    "cast": lambda a: [_core.cast(x, np.dtype("float64")) for x in a],
    "copy_like": lambda a: [_core.copy_like(x, x.T.copy().T) for x in a],
    "count_equal": lambda a: [_core.count_equal(x, x, ()) for x in a],
    "where_equal": lambda a: [_core.where_equal(x, x, x) for x in a],
}
_SIZES = [(0, 1, 2), (0, 1, 3), (0, 1, 3), (0, 1, 4), (0, 1, 4), (1, 2), (1, 2, 3), (0, 1)]
_SHAPES = [(), *itertools.product((0, 1, 3)), *itertools.product((0, 1, 3), repeat=2)]
_OF_PARAMETERS = [(0,), (1,), (0, 3), (1, 1), (3, 0)]
_OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "LBFGS")


def _some(choices: list[Any], most: int, least: int) -> list[Any]:
    """All lists of so many of the choices."""
    return [c for count in range(least, most + 1) for c in itertools.product(choices, repeat=count)]


def _all(*sizes: Any) -> list[Any]:
    return list(itertools.product(*sizes))


SWEEPS: dict[str, tuple[Any, list[Any]]] = {  # the call without its sizes, and these
    **{
        f"conv{'_transpose' * transposed}{2 - one}d": (
            partial(convolution, transposed, one),
            _all(*_SIZES[:3], (1,) if one else _SIZES[3], *_SIZES[4:]),
        )
        for transposed in (False, True)
        for one in (False, True)
    },
    "conv2d_pool": (pooled_convolution, _all(*_SIZES[:3], (0, 1, 5), (0, 1, 4), (1, 3), (1, 2), (0, 1))),
    "recurrent": (
        recurrent,
        _all(("RNN", "GRU", "LSTM"), (0, 1, 3), (0, 1, 2), (0, 1, 3), (0, 1, 4), (1, 2), (False, True)),
    ),
    "attention": (attention, _all((0, 1, 2), (0, 1, 3), (0, 1, 3), (1, 2), (0, 1, 2))),
    **{name: (partial(on_a_list, call), _some(_SHAPES, 2, 0)) for name, call in _LISTS.items()},
    **{name: (partial(optimized, name), _some(_OF_PARAMETERS, 2, 1)) for name in _OPTIMIZERS},
}
_SLOW = {name: pytest.mark.slow for name in SWEEPS if name[:4] == "conv" and name != "conv2d_pool"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=_SLOW.get(n, ())) for n in SWEEPS])
def test_every_small_size(name: str) -> None:
    call, chosen = SWEEPS[name]
    assert run_isolated([(f"{name} {s}", partial(call, f"{name} {s}", *s)) for s in chosen]) == []


def test_factors_of_no_rows() -> None:
    assert rv.linalg.lu(rv.zeros(2, 0, 0)).L.shape == (2, 0, 0)
