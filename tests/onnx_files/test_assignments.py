"""Models that assign to parts of tensors: the file has new tensors, right at every size of a dynamic axis."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import ranvier as rv

pytest.importorskip("onnx", reason="onnx is not installed")

from support.onnx_networks import drawn, session
from support.refused import refused

KEYS = {
    "a row": 0,
    "the last row": -1,
    "from the second row": slice(1, None),
    "two rows": slice(None, 2),
    "all but the last": slice(None, -1),
    "the last two": slice(-2, None),
    "in the middle": slice(1, 3),
    "in the middle from the end": slice(-3, -1),
    "an empty slice": slice(3, 1),
    "all": slice(None),
    "an ellipsis": Ellipsis,
    "None": None,
    "a column": (slice(None), 1),
    "two columns": (..., slice(1, 3)),
    "every second column": (slice(None), slice(None, None, 2)),
    "a corner": (slice(2, None), slice(None, 2)),
    "a part of a row": (0, slice(None, 2)),
    "an element": (0, 2),
    "columns by a list": (slice(None), [0, 2]),
    "columns by a tensor": (slice(None), rv.tensor([3, -1])),
    "a part of rows by a list": (slice(1, None), [3, 0]),
    "a list in a row": (0, [1, 2]),
}
OF_FIXED_SIZES = {
    "rows by a list": [0, 2],
    "from both ends": slice(1, -1),
    "every second row": slice(None, None, 2),
    "elements": ([0, 1, 2], [1, 0, 3]),
    "a matrix of rows": rv.tensor([[0, 1], [3, 4]]),
    "a mask": rv.tensor([True, False, True, False, True]),
}
WAYS = {
    "a number": lambda x, y, key: y.__setitem__(key, 7.0),
    "itself": lambda x, y, key: y.__setitem__(key, x[key] * 2),
    "a tensor of one": lambda x, y, key: y.__setitem__(key, x.mean()),
}


def changed(key, way):
    def function(x):
        y = x * 1.0
        way(x, y, key)
        return y + x

    return function


def added(key):
    def function(x):
        y = x * 1.0
        y[key] += 1.0
        return y * x

    return function


def require_same(function, file, *sizes):
    """The file, read here and by ONNX Runtime, gives what the function does."""
    runs = [rv.onnx.load(file)]
    with suppress(ImportError):
        runs.append(session(file))
    for n in sizes:
        x = np.random.default_rng(n).standard_normal((n, 4), np.float32)
        try:
            wanted = function(rv.tensor(x)).numpy()
        except IndexError:  # the model has no such row
            continue
        for run in runs:
            found = run(x)
            found = found[0] if isinstance(found, (list, tuple)) else found
            np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", KEYS)
def test_any_number_of_rows(name, tmp_path):
    for function in (*(changed(KEYS[name], way) for way in WAYS.values()), added(KEYS[name])):
        file = tmp_path / "m.onnx"
        rv.onnx.export(function, drawn(5, 4), file, dynamic_axes={"x": {0: "n"}})
        require_same(function, file, 1, 2, 3, 4, 7, 30)


@pytest.mark.parametrize("name", OF_FIXED_SIZES)
def test_fixed_sizes(name, tmp_path):
    key = OF_FIXED_SIZES[name]
    ways = [WAYS["a number"], WAYS["a tensor of one"]]
    for function in [changed(key, way) for way in ways]:
        file = tmp_path / "m.onnx"
        rv.onnx.export(function, drawn(5, 4), file)
        require_same(function, file, 5)
    if name in ("from both ends", "every second row"):
        given = {"dynamic_axes": {"x": {0: "n"}}}
        refused(ValueError, "of a dynamic axis", rv.onnx.export, changed(key, ways[0]), drawn(5, 4), **given)


def masked(x):
    y = x * 1.0
    y[x > 0.5] = 0.0
    y[y < -0.5] = x.min()
    return y


def whole(x):
    y = x * 1.0
    y.fill_(3.0)
    z = x.clone()
    z.copy_(y * x)
    return y + z


def put(x):
    y = x.index_put((rv.tensor([0, 1]), rv.tensor([1, 2])), rv.tensor([5.0, 6.0]))
    return y.index_put((rv.tensor([0, 0]),), x[:2], accumulate=True)


def with_infinities(x):
    y = x * float("inf")
    y[0] = 1.0
    return y.nan_to_num()


def diagonals(x):
    return (
        rv.diag(x[0])
        + rv.diag_embed(x, 1)[0, :4, :4]
        + rv.diag(x[:4])
        + rv.diag_embed(x / 0.0, -2)[0, 2:, :4]
    )


@pytest.mark.parametrize("function", [masked, whole, put, with_infinities, diagonals])
def test_others(function, tmp_path):
    rv.onnx.export(function, drawn(5, 4), tmp_path / "m.onnx")
    x = drawn(5, 4)
    with np.errstate(all="ignore"):
        wanted = function(rv.tensor(x)).numpy()
        np.testing.assert_allclose(rv.onnx.load(tmp_path / "m.onnx")(x).numpy(), wanted, rtol=1e-6)


def by_a_view(x):
    y = x * 1.0
    row = y[0]
    y[1] = 2.0  # row stays as it is, but y has changed twice where row is written
    row += 1.0
    return y


def of_another_place(x):
    y = x * 1.0
    row = y[0]
    row += 1.0
    y[1] = row
    return y


def values_by_a_mask(x):
    y = x * 1.0
    y[rv.tensor([True, False, True, False, True])[:, None] & (x == x)] = rv.arange(12.0)
    return y


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (by_a_view, "changed in place"),
        (of_another_place, "changed in place"),
        (values_by_a_mask, "a mask with values of shape"),
        (lambda x: x.view(rv.int32), "view"),
    ],
)
def test_what_is_refused(function, message):
    refused(ValueError, message, rv.onnx.export, function, drawn(5, 4))
