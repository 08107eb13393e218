"""NumPy's own tests of einsum and of indices, taken from the installed NumPy and run with functions of this
library in place of NumPy's. Nothing of them is copied. EXCLUDED and INDICES_EXCLUDED name those that cannot
hold here, and why.
"""

import inspect
import itertools
import types

import numpy as np
import pytest
import ranvier as rv

theirs = pytest.importorskip("numpy._core.tests.test_einsum", reason="NumPy has no tests, or is 1.x")
import numpy._core.tests.test_indexing as their_indices  # noqa: E402

EXCLUDED = {
    "NumPy's argument casting or order": "test_einsum_errors test_einsum_specific_errors test_output_order",
    "bases of views; two dtypes, which PyTorch refuses": "test_einsum_views test_einsum_fixedstridebug",
    "Python objects": "test_einsum_object_errors test_einsum_sums_object test_object_loop",
    "dtypes that a Tensor does not have, or only stores": """
        test_einsum_sums_cfloat64 test_einsum_sums_cfloat128 test_einsum_sums_clongdouble
        test_einsum_sums_longdouble test_einsum_sums_float16
    """,
}
EXCLUDED_NAMES = set(" ".join(EXCLUDED.values()).split())
KINDS = set("fdbBhHiIlLqQnNpP")  # the dtypes of test_different_paths, without float16


def einsum(*operands, out=None, dtype=None, casting="unsafe", optimize=False):
    """Ours with NumPy's arguments: results are stored in ``out``, and in the dtype of the operands."""
    if not operands:
        raise ValueError
    if any(x is None for x in operands):
        raise TypeError
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


def compiled(module, **ours):
    """The names of a module of tests whose `np` is a copy of numpy in which some functions are ours."""
    numpy = types.ModuleType("numpy")
    vars(numpy).update({name: getattr(np, name) for name in dir(np)}, **ours)
    space = {"__name__": "theirs", "np": numpy}
    exec(inspect.getsource(module).replace("import numpy as np\n", ""), space)
    return space


def methods(kind):
    """(name, function, class, arguments) of each test of a class, for each set of its parameters."""
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        marks = [mark.args for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        for values in itertools.product(*(cases for _, cases in marks)):
            if name.startswith("test"):
                yield name, function, kind, dict(zip([key for key, _ in marks], values, strict=True))


ALL = list(methods(compiled(theirs, einsum=einsum)["TestEinsum"]))
CASES = [case for case in ALL if case[0] not in EXCLUDED_NAMES and case[3].get("dtype", "f") in KINDS]


@pytest.mark.parametrize(("name", "function", "kind", "arguments"), CASES, ids=itertools.count())
def test_numpys(name, function, kind, arguments):
    function(kind(), **arguments)


class TestIndices(their_indices.TestMultiIndexingAutomated):
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


# --- the other tests of indices
INDICES_EXCLUDED = {
    "subclasses of ndarray and its attributes base and flags": """
        test_ellipsis_index test_empty_tuple_index test_memory_order test_scalar_return_type
        test_nonbaseclass_values test_basic test_fancy_on_read_only test_finalize_gets_full_info
    """,
    "dtypes that a Tensor does not have: objects, text, complex": """
        test_boolean_assignment_needs_api test_unaligned test_cast_equivalence
        test_boolean_index_cast_assign test_array_like_values
    """,
    "PyTorch's rule: uint8 is a mask, other dtypes are refused, a list with slices is a tuple": """
        test_small_regressions test_boolean_assignment_value_mismatch test_index_no_array_to_index
        test_bool_as_int_argument_errors test_array_to_index_error test_index_is_larger test_nontuple_ndindex
    """,
    "NumPy's words, limits and C API": """
        test_broadcast_error_reports_correct_shape test_boolean_indexing_fast_path
        test_too_many_advanced_indices test_too_many_fancy_indices_special_case test_getitem test_setitem
        test_broken_sequence_not_nd_index
    """,
}
APART = ("TestMultiIndexingAutomated", "TestFlatiterIndexing")  # judged above; the attribute flat is not here


def made(function):
    """A function of NumPy that makes an array, making a Tensor where a Tensor has the dtype."""

    def make(*args, **settings):
        array = function(*args, **settings)
        return rv.tensor(array) if isinstance(array, np.ndarray) and array.dtype.kind in "biuf" else array

    return make


def assert_equal(a, b, *message):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def index_methods():
    names = ("arange", "array", "asarray", "empty", "full", "ones", "ones_like", "zeros", "zeros_like")
    space = compiled(their_indices, **{name: made(getattr(np, name)) for name in names})
    space.update(assert_equal=assert_equal, assert_array_equal=assert_equal)
    for name, kind in list(space.items()):
        if name.startswith("Test") and isinstance(kind, type) and name not in APART:
            yield from methods(kind)


INDEX_TESTS = list(index_methods())
NOT_JUDGED = set(" ".join(INDICES_EXCLUDED.values()).split())
SINCE_2_5 = {"test_assignment_cast_error_aborts_iteration"}  # Python objects, too
JUDGED = [case for case in INDEX_TESTS if case[0] not in NOT_JUDGED | SINCE_2_5]


@pytest.mark.parametrize(("name", "function", "kind", "arguments"), JUDGED, ids=itertools.count())
def test_numpys_indices(name, function, kind, arguments, monkeypatch):
    """NumPy's names of methods mean those of PyTorch."""
    ours = {
        "astype": lambda x, kind: x.to(rv.tensor(np.zeros(0, kind)).dtype),
        "copy": lambda x, order="K": x.clone(),
        "repeat": lambda x, repeats, axis: x.repeat_interleave(repeats, axis),
    }
    for method, call in ours.items():
        monkeypatch.setattr(rv.Tensor, method, call, raising=False)
    function(kind(), **arguments)


def test_most_run():
    assert {name for name, *_ in ALL} >= EXCLUDED_NAMES
    assert len({name for name, *_ in CASES}) >= 25
    names = {name for name, *_ in INDEX_TESTS}
    assert names >= NOT_JUDGED
    assert len(names - NOT_JUDGED) >= 30
