"""one_hot, Standardize, MinMaxScaler: the formulas, scikit-learn's numbers, and the errors."""

import json

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.data import (
    Compose,
    DataLoader,
    MinMaxScaler,
    Normalize,
    Standardize,
    TensorDataset,
    one_hot,
    transforms,
)
from support.refused import refused

X = np.random.default_rng(0).normal(3, 2, (50, 4))


def test_one_hot():
    assert one_hot([1, 0]).tolist() == [[0, 1], [1, 0]]
    assert one_hot(np.array([[2]], np.uint8), 4, np.float64).tolist() == [[[0, 0, 1, 0]]]
    assert one_hot([0]).dtype == np.float32
    assert one_hot([], 3).shape == (0, 3)
    refused(ValueError, "[one_hot] got label 3; expected labels in 0..2", one_hot, [0, 3], 3)
    refused(ValueError, "got label -1", one_hot, [0, -1])
    refused(TypeError, "got labels of dtype float64; expected integers", one_hot, [0.5])


@pytest.mark.parametrize("ours", [Standardize, MinMaxScaler])
def test_equal_sklearns(ours):
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="scikit-learn is not installed")
    theirs = {Standardize: preprocessing.StandardScaler, MinMaxScaler: preprocessing.MinMaxScaler}[ours]()
    scaler = ours().fit(X)
    np.testing.assert_allclose(scaler.transform(X), theirs.fit_transform(X), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(X)), X, rtol=1e-12)


def test_dtypes():
    assert Standardize().fit_transform(X.astype(np.float32)).dtype == np.float32
    assert Standardize().fit_transform(X).dtype == np.float64
    assert MinMaxScaler(0, 255).transform(np.array([[51]], np.uint8)).tolist() == [[0.2]]


def test_a_constant_feature_is_only_shifted():
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert Standardize().fit_transform(x).tolist() == [[-1, 0], [1, 0]]
    assert MinMaxScaler().fit_transform(x).tolist() == [[0, 0], [1, 0]]
    assert Standardize().fit(x).transform([[1.0, 6.0]]).tolist() == [[-1, 1]]


def test_a_constant_feature_whose_mean_is_rounded():
    x = np.full((7, 2), [0.1, 1e30])
    x[0, 1] = 0
    y = Standardize().fit_transform(x)
    assert np.abs(y[:, 0]).max() < 1e-15
    assert abs(y[:, 1].std() - 1) < 1e-12
    assert (Standardize().fit(np.full((100_000, 1), 0.1, np.float32)).std == 1).all()


def test_many_samples_are_summed_exactly_enough():
    x = np.random.default_rng(0).normal(1e6, 1, (20_001, 2)).astype(np.float32)
    fitted = Standardize().fit(x)
    np.testing.assert_allclose(fitted.mean, x.astype(float).mean(0), rtol=1e-14)
    np.testing.assert_allclose(fitted.std, x.astype(float).std(0), rtol=1e-10)


def test_per_channel_and_all():
    images = np.random.default_rng(0).normal([[[1]], [[5]]], [[[2]], [[3]]], (50, 2, 6, 6))
    scores = Standardize(per="channel")
    y = scores.fit_transform(images)
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.std((0, 2, 3)), 1, rtol=1e-12)
    np.testing.assert_allclose(scores.mean, images.mean((0, 2, 3)))
    np.testing.assert_allclose(scores.inverse_transform(y), images, atol=1e-12)
    given = Standardize([0.5, 0.25], [1.0, 2.0], per="channel")
    np.testing.assert_allclose(given(images)[:, 1], (images[:, 1] - 0.25) / 2)
    assert Standardize(per="all").fit(images).mean.shape == ()
    whole = MinMaxScaler(per="all").fit_transform(images)
    assert (whole.min(), whole.max()) == (0, 1)
    channels = MinMaxScaler(per="channel").fit_transform(images)
    np.testing.assert_allclose(channels.max((0, 2, 3)), 1)
    refused(ValueError, "got values of shape (4, 3), fitted on 2 channels", scores.transform, np.ones((4, 3)))
    refused(ValueError, "got per 'row'; expected 'feature', 'channel' or 'all'", Standardize, per="row")


def test_compose():
    steps = Compose([MinMaxScaler(0, 10), np.sqrt, Standardize()])
    x = np.abs(X)
    y = steps.fit_transform(x)
    np.testing.assert_allclose(y, Standardize().fit_transform(np.sqrt(x / 10)), atol=1e-12)
    assert np.array_equal(steps(x), y)
    refused(TypeError, "a step without inverse: sqrt", steps.inverse_transform, y)
    refused(TypeError, "a step that cannot be saved: sqrt", steps.config)
    refused(TypeError, "got a step of type int", Compose, [1])


def test_saved_beside_a_model(tmp_path):
    steps = Compose([MinMaxScaler().fit(X), Standardize(1, 2)])
    rv.save(nn.Linear(4, 2), tmp_path / "m.safetensors", preprocessing=[steps, MinMaxScaler(0, 2)])
    saved = rv.serialization.info(tmp_path / "m.safetensors").preprocessing
    again = Compose([transforms.from_config(step) for step in saved])
    assert np.array_equal(again(X), MinMaxScaler(0, 2)(steps(X)))


@pytest.mark.parametrize(
    "fitted",
    [
        Standardize().fit(X), MinMaxScaler().fit(X), MinMaxScaler(0, 16), Standardize(1, 2),
        Standardize(per="all").fit(X), Standardize(per="channel").fit(X),
        Compose([MinMaxScaler(0, 16), Standardize()]).fit(X),
    ],
)  # fmt: skip
def test_config_rebuilds(fitted):
    config = {"transform": type(fitted).__name__, **fitted.config()}
    again = transforms.from_config(json.loads(json.dumps(config)))
    assert type(again) is type(fitted)
    assert np.array_equal(again.transform(X), fitted.transform(X))


def test_normalize_is_torchvisions():
    images = np.random.default_rng(0).uniform(size=(5, 3, 4, 4)).astype(np.float32)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normalize = Normalize(mean, std)
    expected = (images - np.float32(mean).reshape(3, 1, 1)) / np.float32(std).reshape(3, 1, 1)
    np.testing.assert_array_equal(normalize(images), expected)
    np.testing.assert_array_equal(normalize(images[0]), expected[0])  # one image
    np.testing.assert_array_equal(Normalize(0.5, 0.5)(images), (images - 0.5) / np.float32(0.5))
    np.testing.assert_array_equal(Normalize(0.5, std)(images)[:, 1], (images[:, 1] - 0.5) / np.float32(0.224))
    np.testing.assert_allclose(normalize.inverse_transform(expected), images, atol=1e-6)
    tensor = normalize(rv.from_numpy(images))
    assert isinstance(tensor, rv.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), expected)
    assert normalize(images.astype(np.float64)).dtype == np.float64
    steps = Compose([MinMaxScaler(0, 255), normalize])
    again = transforms.from_config({"transform": "Compose", **json.loads(json.dumps(steps.config()))})
    np.testing.assert_array_equal(again(images), steps.fit(images)(images))
    (batch,) = next(iter(DataLoader(TensorDataset(images), 5, transform=normalize)))
    np.testing.assert_array_equal(batch.numpy(), expected)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (0.5, 0, "got std 0.0; expected numbers above 0"),
        ((0.5, 0.5), (1, -1), "got std [1.0, -1.0]; expected numbers above 0"),
        ((0.5, 0.5), (1, 1, 1), "got 2 means and 3 deviations; expected one for each channel"),
        (np.nan, 1, "got mean nan; expected finite numbers, one per channel"),
        ([[0.5]], 1, "got mean [[0.5]]; expected finite numbers, one per channel"),
        ((), 1, "got mean []; expected finite numbers, one per channel"),
    ],
)
def test_normalize_refuses_numbers(mean, std, message):
    refused(ValueError, f"[Normalize] {message}", Normalize, mean, std)
    refused(TypeError, "[Normalize] got std 'a'; expected finite numbers", Normalize, 0, "a")


def test_normalize_refuses_images():
    normalize = Normalize((0.5, 0.5, 0.5), 0.5)
    with pytest.raises(TypeError, match=r"dtype uint8; expected float32 or float64 \(divide bytes by 255"):
        normalize(np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"images of shape \(2, 1, 4, 4\); expected \(..., 3, h, w\)"):
        normalize(np.zeros((2, 1, 4, 4)))
    with pytest.raises(ValueError, match=r"expected \(..., c, h, w\). Standardize is for tables"):
        Normalize(0, 1)(np.zeros((2, 3)))


def test_errors():
    refused(ValueError, "[Standardize.transform] not fitted yet", Standardize().transform, X)
    refused(ValueError, "got samples of shape (3,), fitted on (4,)", Standardize().fit(X).transform, X[:, :3])
    refused(ValueError, "expected at least one sample", Standardize().fit, np.zeros((0, 3)))
    refused(TypeError, "expected numbers", Standardize().fit, [["a"]])
    for scaler in (Standardize, MinMaxScaler):
        refused(ValueError, "expected a smaller range", scaler().fit, np.array([[1e308], [-1e308]]))
    refused(ValueError, "got one of mean and std", Standardize, mean=1)
    refused(ValueError, "got one of low and high", MinMaxScaler, low=1)
    with pytest.raises(
        ValueError, match=r"\[MinMaxScaler.fit\] got nan at \(1, 0\); expected finite numbers"
    ):
        MinMaxScaler().fit([[1.0, 2.0], [np.nan, 2.0]])
    refused(ValueError, "unknown transform 'eval'", transforms.from_config, {"transform": "eval"})


def test_columns_of_arrow_in_pandas():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [0, 4, 2]}, dtype=pd.ArrowDtype(pa.int64()))
    np.testing.assert_array_equal(MinMaxScaler().fit(frame).transform(frame)[:, 1], [0, 1, 0.5])
    frame.loc[0, "a"] = pd.NA
    refused(ValueError, "got nan at (0, 0)", MinMaxScaler().fit, frame)
