"""Tensors of data frames and of their columns: one rule for both."""

import numpy as np
import pytest
import ranvier as rv

pandas = pytest.importorskip("pandas")
BIG = 2**24 + 1
COLUMNS = {  # values, dtype: dtype of the tensor
    "float64": ([0.1, 2.0], "float64"), "float32": ([0.5, 2.0], "float32"),
    "Float64": ([0.1, None], "float64"),
    "Float32": ([0.5, None], "float32"), "int64": ([BIG, 2], "int64"), "int8": ([1, 2], "int8"),
    "uint8": ([1, 2], "uint8"), "Int64": ([2**60 + 1, 2], "int64"), "bool": ([True, False], "bool"),
    "boolean": ([True, False], "bool"), "object": ([1, 2.5], "float64"),
}  # fmt: skip
REFUSED = {
    "boolean": [True, None], "category": ["a", "b"], "str": ["a", "b"], "Int64": [2**60 + 1, None],
    "datetime64[s]": np.array([1, 2], "M8[s]"), "object": [1, "a"],
}  # fmt: skip


def both(values, dtype):
    column = pandas.Series(values, dtype=dtype)
    return column, column.to_frame("a"), pandas.DataFrame({"a": column, "b": column})


def with_nan(values, dtype):
    """The values as an array, with NaN for None."""
    return np.array([np.nan if x is None else x for x in values], dtype)


@pytest.mark.parametrize("dtype", COLUMNS)
def test_numbers(dtype):
    values, expected = COLUMNS[dtype]
    for data in both(values, dtype):
        for make in (rv.tensor, rv.as_tensor):
            tensor = make(data)
            assert (str(tensor.dtype).rpartition(".")[2], tensor.shape) == (expected, data.shape)
            column = tensor.numpy().reshape(2, -1)[:, -1]
            np.testing.assert_array_equal(column, with_nan(values, expected))
        assert rv.tensor(data, dtype=rv.float32).dtype == rv.float32


def test_missing_integers_are_exact():
    assert rv.tensor(pandas.Series([BIG, None], dtype="Int64"))[0].item() == BIG
    mixed = pandas.DataFrame(
        {"a": pandas.Series([BIG, None], dtype="Int64"), "b": [True, False], "c": [0.1, 1]}
    )
    assert rv.tensor(mixed)[0].tolist() == [BIG, 1.0, 0.1]


@pytest.mark.parametrize("dtype", REFUSED)
def test_what_is_no_number_is_refused(dtype):
    for data in both(REFUSED[dtype], dtype):
        with pytest.raises(ValueError, match=r"\[tensor\] got .*expected .*fill missing values \(fillna\)"):
            rv.tensor(data)
