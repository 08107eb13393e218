"""one_hot, Standardize, Normalize: the formulas, scikit-learn's numbers, and the errors."""

import numpy as np
import pytest
from ranvier.data import Normalize, Standardize, normalise, one_hot, standardise, transforms

X = np.random.default_rng(0).normal(3, 2, (50, 4))


def test_one_hot():
    assert one_hot([1, 0]).tolist() == [[0, 1], [1, 0]]
    assert one_hot(np.array([[2]], np.uint8), 4, np.float64).tolist() == [[[0, 0, 1, 0]]]
    assert one_hot([0]).dtype == np.float32
    assert one_hot([], 3).shape == (0, 3)
    with pytest.raises(ValueError, match=r"\[one_hot\] got label 3; expected labels in 0..2"):
        one_hot([0, 3], 3)
    with pytest.raises(ValueError, match=r"got label -1"):
        one_hot([0, -1])
    with pytest.raises(TypeError, match="got labels of dtype float64; expected integers"):
        one_hot([0.5])


@pytest.mark.parametrize("ours", [Standardize, Normalize])
def test_equal_sklearns(ours):
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="scikit-learn is not installed")
    theirs = {Standardize: preprocessing.StandardScaler, Normalize: preprocessing.MinMaxScaler}[ours]()
    scaler = ours().fit(X)
    np.testing.assert_allclose(scaler.transform(X), theirs.fit_transform(X), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(X)), X, rtol=1e-12)


def test_dtypes():
    assert Standardize().fit_transform(X.astype(np.float32)).dtype == np.float32
    assert Standardize().fit_transform(X).dtype == np.float64
    assert Normalize(0, 255).transform(np.array([[51]], np.uint8)).tolist() == [[0.2]]


def test_a_constant_feature_is_only_shifted():
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert standardise(x).tolist() == [[-1, 0], [1, 0]]
    assert normalise(x).tolist() == [[0, 0], [1, 0]]
    assert Standardize().fit(x).transform([[1.0, 6.0]]).tolist() == [[-1, 1]]


def test_images():
    images = np.random.default_rng(0).normal(size=(5, 1, 3, 3))
    assert standardise(images).shape == images.shape
    assert Normalize(0, 1)(images) is not images


@pytest.mark.parametrize(
    "fitted", [Standardize().fit(X), Normalize().fit(X), Normalize(0, 16), Standardize(1, 2)]
)
def test_config_rebuilds(fitted):
    again = transforms.from_config({"transform": type(fitted).__name__, **fitted.config()})
    assert type(again) is type(fitted)
    assert np.array_equal(again.transform(X), fitted.transform(X))


def test_errors():
    with pytest.raises(ValueError, match=r"\[Standardize.transform\] not fitted yet"):
        Standardize().transform(X)
    with pytest.raises(ValueError, match=r"got samples of shape \(3,\), fitted on \(4,\)"):
        Standardize().fit(X).transform(X[:, :3])
    with pytest.raises(ValueError, match="expected at least one sample"):
        Standardize().fit(np.zeros((0, 3)))
    with pytest.raises(TypeError, match="expected numbers"):
        Standardize().fit([["a"]])
    with pytest.raises(ValueError, match="got one of mean and std"):
        Standardize(mean=1)
    with pytest.raises(ValueError, match="got one of low and high"):
        Normalize(low=1)
    with pytest.raises(ValueError, match="unknown transform 'eval'"):
        transforms.from_config({"transform": "eval"})
