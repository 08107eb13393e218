"""NumPy's own tests of einsum and indices, from the installed NumPy, on ours. Nothing of them is copied."""

from __future__ import annotations

import inspect
import itertools
import types

import numpy as np
import pytest
import ranvier as rv

theirs = pytest.importorskip("numpy._core.tests.test_einsum", reason="NumPy has no tests, or is 1.x")
from numpy._core.tests.test_indexing import TestMultiIndexingAutomated as _Indices  # noqa: E402

EXCLUDED = {
    "test_einsum_errors": "the last case is of NumPy's argument casting",
    "test_einsum_specific_errors": "NumPy's argument order",
    "test_output_order": "NumPy's argument order",
    "test_einsum_views": "asks for the base of NumPy's views",
    "test_einsum_fixedstridebug": "operands of two dtypes, which PyTorch refuses, too",
    **dict.fromkeys(
        ("test_einsum_object_errors", "test_einsum_sums_object", "test_object_loop"), "Python objects"
    ),
    **dict.fromkeys(
        (f"test_einsum_sums_{kind}" for kind in ("cfloat64", "cfloat128", "clongdouble", "longdouble")),
        "dtypes that a Tensor does not have",
    ),
    "test_einsum_sums_float16": "products of float16, which is for storage here",
}
KINDS = set("efdbBhHiIlLqQnNpP") - set("e")  # of test_different_paths


def einsum(*operands, out=None, dtype=None, casting="unsafe", optimize=False):
    """Ours with NumPy's arguments: results are stored in ``out``, and in the dtype of the operands."""
    if not operands or None in [x for x in operands if not hasattr(x, "shape")]:
        raise TypeError if operands else ValueError
    first = isinstance(operands[0], str)
    places = range(1, len(operands)) if first else range(0, len(operands) // 2 * 2, 2)
    arrays = {i: np.array(operands[i], dtype) for i in places}
    given = [
        rv.tensor(arrays[i]) if i in places else x if first else [j if j is ... else int(j) for j in x]
        for i, x in enumerate(operands)
    ]
    y = rv.einsum(*given).numpy()
    y = y.astype(np.result_type(*arrays.values()), copy=False)
    if out is not None:
        np.copyto(out, y, casting="unsafe")
    return y if out is None else out


def methods():
    """NumPy's tests on ours, by their names, with the arguments that they are called with."""
    numpy = types.ModuleType("numpy")
    vars(numpy).update({name: getattr(np, name) for name in dir(np)}, einsum=einsum)
    space = {"__name__": "theirs", "np": numpy}
    exec(inspect.getsource(theirs).replace("import numpy as np\n", ""), space)
    kind = space["TestEinsum"]
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        marks = [mark.args for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        for values in itertools.product(*(cases for _, cases in marks)):
            if name.startswith("test"):
                yield name, function, kind, dict(zip([key for key, _ in marks], values, strict=True))


CASES = [case for case in methods() if case[0] not in EXCLUDED and case[3].get("dtype", "f") in KINDS]


@pytest.mark.parametrize(("name", "function", "kind", "arguments"), CASES, ids=itertools.count())
def test_numpys(name, function, kind, arguments):
    function(kind(), **arguments)


def test_most_run():
    assert EXCLUDED.keys() <= {name for name, *_ in methods()}
    assert len({name for name, *_ in CASES}) >= 25


class TestIndices(_Indices):
    """NumPy's 1,066 keys of slices, masks and arrays without integers, read and assigned.

    The other 1,404 have integers beside arrays, for which PyTorch's rule holds: x[0, :, i] is x[0][:, i].
    """

    def _check_multi_index(self, arr, index):
        keys = index if isinstance(index, tuple) else (index,)
        if any(type(i) is int for i in keys) and any(isinstance(i, (list, np.ndarray)) for i in keys):
            return
        x, b = rv.tensor(arr), arr.copy()
        try:
            expected, is_view = self._get_multi_index(arr, keys)
        except Exception:
            for call in (lambda: x[index], lambda: x.__setitem__(index, 0)):
                with pytest.raises(IndexError):
                    call()
            return
        y = x[index]
        np.testing.assert_array_equal(y.numpy(), expected, strict=True)
        if y.numel() and y.ndim:
            assert np.may_share_memory(y.numpy(), x.numpy()) == is_view
        b[index] = expected + 1000
        x[index] = rv.tensor(expected + 1000)
        np.testing.assert_array_equal(x.numpy(), b)

    _check_single_index = _check_multi_index
