"""TableEncoder: missing values filled, categories as one-hot columns or class indices."""

import json

import numpy as np
import pytest
from ranvier.data import TableEncoder, transforms
from support.refused import refused

X = np.array([[1.0, 0, 7], [np.nan, 1, 9], [4.0, np.nan, np.nan], [10.0, 1, 8]], np.float32)
KINDS = (None, ("blue", "red"), None)


@pytest.mark.parametrize(("missing", "fill"), [("mean", (5.0, 8.0)), ("median", (4.0, 8.0))])
def test_filled_and_one_hot(missing, fill):
    encoder = TableEncoder(KINDS, missing).fit(X)
    expected = np.array([[1, 1, 0, 7], [fill[0], 0, 1, 9], [4, 0, 0, fill[1]], [10, 0, 1, 8]], np.float32)
    np.testing.assert_array_equal(encoder.transform(X), expected)
    assert encoder.transform(X).dtype == np.float32
    config = json.loads(json.dumps({"transform": "TableEncoder", **encoder.config()}))
    np.testing.assert_array_equal(transforms.from_config(config).transform(X), expected)


def test_refused():
    encoder = TableEncoder(KINDS, names=["a", "b", "c"]).fit(X[:1])
    refused(ValueError, "got a missing value in row 1, column 'a'", encoder.transform, X)
    refused(ValueError, "shape (4, 2); expected numbers of shape (n, 3)", encoder.transform, X[:, :2])
    refused(ValueError, "column 'b' that is no category; expected 0 to 1", encoder.transform, [[1, 2, 3]])
    refused(ValueError, "not fitted yet", TableEncoder(KINDS).transform, X)
    refused(ValueError, "got no number in column 0", TableEncoder(KINDS, "mean").fit, X[1:2])
    refused(ValueError, "got missing 'max'", TableEncoder, KINDS, "max")


def test_class_indices_of_many_categories():
    """Once in fit, NaN and -1 are class 0; the class indices come last."""
    x = np.array([[0, 5.0, 1], [2, 6.0, 0], [2, 7.0, np.nan], [0, 8.0, 1], [3, 9.0, 0]], np.float32)
    encoder = TableEncoder([("a", "b", "c", "d"), None, ("no", "yes")], "mean", one_hot=3).fit(x)
    assert encoder.embedded == [3]
    expected = np.array([[5, 0, 1, 1], [6, 1, 0, 2], [7, 0, 0, 2], [8, 0, 1, 1], [9, 1, 0, 0]], np.float32)
    np.testing.assert_array_equal(encoder.transform(x), expected)
    new = np.array([[-1, 1, 0], [np.nan, 1, 0], [1, 1, 0]])
    assert encoder.transform(new)[:, -1].tolist() == [0, 0, 0]
    config = json.loads(json.dumps({"transform": "TableEncoder", **encoder.config()}))
    np.testing.assert_array_equal(transforms.from_config(config).transform(x), expected)
    refused(ValueError, "column 0 that is no category; expected 0 to 3", encoder.transform, [[4, 1, 0]])
    refused(ValueError, "column 2 that is no category", encoder.transform, [[0, 1, -2]])
    assert encoder.transform([[0, 1, -1]])[0, 1:3].tolist() == [0, 0]  # a category that fit did not have
    complete = TableEncoder([("a", "b", "c", "d")], one_hot=3).fit([[0], [0], [1]])
    assert complete.transform([[0], [-1]]).tolist() == [[1], [0]]
    refused(ValueError, "got a missing value in row 0", complete.transform, [[np.nan]])
