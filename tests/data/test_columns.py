"""Columns: numbers in text, the encoder of tables, one_hot, Standardize, MinMaxScaler.

Cells of text are read by `load_csv`; arrays are compared with the formulas, and with scikit-learn's results.
"""

import json
import warnings

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
    TableEncoder,
    TensorDataset,
    load,
    one_hot,
    transforms,
)
from ranvier.data.datasets import load_csv
from ranvier.data.datasets.table_errors import TableError
from support.refused import refused


def rows(cell="{i}.5", label="{i}", count=40):
    """A table of two columns; of the first every third cell is a number."""
    cells = [((cell if i % 3 else "{i}").format(i=i), label.format(i=i)) for i in range(1, count)]
    return "v,y\n" + "".join(f'"{cell}","{label}"\n' for cell, label in cells)


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        (rows(f"{10**30}{{i}}"), {}, "takes it for other whole"),
        (rows(f"{2**60 // 100}{{i:02}}"), {}, "takes it for other whole"),
        (rows(label="4,{i:03}.65"), {}, "column 'y' holds '4,001.65'; .*thousands=.* task='classification'"),
        (rows(label="4,{i:03}"), {}, "holds '4,001'; .*thousands=','.*decimal=',' .*; task="),
        (rows(label="{i} kg", count=5), {"task": "regression"}, "holds '1 kg'; expected a plain"),
        (rows(label="20{i:02}-01-01"), {}, "'y' holds '2001-01-01', a date"),
        ("v,y\n1,inf\n2,1.5\n", {}, "column 'y' holds 'inf'; expected a finite number; na_values=[^;]*$"),
        ("v,y\n1\0,a\n", {}, "line 2 holds a NUL byte.*encoding='utf-16-le' reads"),
        (b"PK\3\4" + bytes(50), {}, "is a workbook of Excel.*pandas.read_excel"),
        (b"\xd0\xcf\x11\xe0" + bytes(50), {}, "is a workbook of Excel"),
        (b"PAR1" + bytes(50), {}, "is a Parquet file; its name has to end in .parquet"),
        ('[{"a": 1}]', {}, "is JSON; .*pandas.read_json"), ("<html></html>", {}, "is a page of HTML"),
        ("version https://git-lfs.github.com/spec/v1\nsize 1\n", {}, "is a pointer of Git LFS"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(tmp_path, text, how, message):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TableError, match=message):
        load_csv(path, "y", **{"categories": True, **how})


FIRST_CELLS = ["PK", "PAR1", "GGUF", "RIFF", "Rar!", "BZh9", "version", "cost"]
FIRST_CELLS += ["<DATE>", "<error rate>", "(i", "[a]", "{x}"]


@pytest.mark.parametrize("name", FIRST_CELLS)
def test_tables_that_begin_as_other_files(tmp_path, name):
    (tmp_path / "t.csv").write_text(f"{name},y\n1,a\n2,b\n")
    assert load_csv(tmp_path / "t.csv").feature_names == (name,)
    (tmp_path / "t.csv").write_text(f"{name}\n1\n2\n")
    assert load_csv(tmp_path / "t.csv", None, header=0).x.tolist() == [[1], [2]]


def test_numbers_that_are_names(tmp_path):
    """A few words such as 2wd are categories and classes; large numbers that stay apart are numbers."""
    path = tmp_path / "t.csv"
    lines = [f"{i % 2}wd,1{i % 10}{'ABCDE'[i % 5]},{17 * 10**17 + i * 10**9},{i % 3}0%" for i in range(30)]
    path.write_text("\n".join(["d,room,t,y", *lines]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_csv(path, categories=True, dtype="float64")
    assert [kind and len(kind) for kind in found.categories] == [2, 10, None]
    assert found.class_names == ("00%", "10%", "20%")


def test_words_that_differ_in_case(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("c,y\nred,Yes\nRed, yes\n")
    with pytest.warns(UserWarning, match="'y' has 'Yes' and 'yes', different classes that differ in upper"):  # noqa: SIM117
        with pytest.warns(UserWarning, match="'c' has 'Red' and 'red', different categories"):
            load_csv(path, categories=True)


@pytest.mark.parametrize("name", ["t.npy", "t.npz"])
def test_arrays_that_are_files_of_another_kind(tmp_path, name):
    for content, text in (
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"", "empty"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"' is {text}"):
            load(tmp_path / name)


# TableEncoder: missing values filled, categories as one-hot columns or class indices.


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


# one_hot, Standardize, MinMaxScaler: the formulas, scikit-learn's numbers, and the errors.


TABLE = np.random.default_rng(0).normal(3, 2, (50, 4))


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
    scaler = ours().fit(TABLE)
    np.testing.assert_allclose(scaler.transform(TABLE), theirs.fit_transform(TABLE), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(TABLE)), TABLE, rtol=1e-12)


def test_dtypes():
    assert Standardize().fit_transform(TABLE.astype(np.float32)).dtype == np.float32
    assert Standardize().fit_transform(TABLE).dtype == np.float64
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
    x = np.abs(TABLE)
    y = steps.fit_transform(x)
    np.testing.assert_allclose(y, Standardize().fit_transform(np.sqrt(x / 10)), atol=1e-12)
    assert np.array_equal(steps(x), y)
    refused(TypeError, "a step without inverse: sqrt", steps.inverse_transform, y)
    refused(TypeError, "a step that cannot be saved: sqrt", steps.config)
    refused(TypeError, "got a step of type int", Compose, [1])


def test_saved_beside_a_model(tmp_path):
    steps = Compose([MinMaxScaler().fit(TABLE), Standardize(1, 2)])
    rv.save(nn.Linear(4, 2), tmp_path / "m.safetensors", preprocessing=[steps, MinMaxScaler(0, 2)])
    saved = rv.serialization.info(tmp_path / "m.safetensors").preprocessing
    again = Compose([transforms.from_config(step) for step in saved])
    assert np.array_equal(again(TABLE), MinMaxScaler(0, 2)(steps(TABLE)))


@pytest.mark.parametrize(
    "fitted",
    [
        Standardize().fit(TABLE), MinMaxScaler().fit(TABLE), MinMaxScaler(0, 16), Standardize(1, 2),
        Standardize(per="all").fit(TABLE), Standardize(per="channel").fit(TABLE),
        Compose([MinMaxScaler(0, 16), Standardize()]).fit(TABLE),
    ],
)  # fmt: skip
def test_config_rebuilds(fitted):
    config = {"transform": type(fitted).__name__, **fitted.config()}
    again = transforms.from_config(json.loads(json.dumps(config)))
    assert type(again) is type(fitted)
    assert np.array_equal(again.transform(TABLE), fitted.transform(TABLE))


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
    refused(ValueError, "[Standardize.transform] not fitted yet", Standardize().transform, TABLE)
    refused(ValueError, "got samples of shape (3,), fitted", Standardize().fit(TABLE).transform, TABLE[:, :3])
    refused(ValueError, "expected at least one sample", Standardize().fit, np.zeros((0, 3)))
    refused(TypeError, "expected numbers", Standardize().fit, [["a"]])
    for scaler in (Standardize, MinMaxScaler):
        refused(ValueError, "expected a smaller range", scaler().fit, np.array([[1e308], [-1e308]]))
    refused(ValueError, "got one of mean and std", Standardize, mean=1)
    refused(ValueError, "got one of low and high", MinMaxScaler, low=1)
    with pytest.raises(ValueError, match=r"\[MinMaxScaler.fit\] got nan at \(1, 0\); expected finite"):
        MinMaxScaler().fit([[1.0, 2.0], [np.nan, 2.0]])
    refused(ValueError, "unknown transform 'eval'", transforms.from_config, {"transform": "eval"})


def test_columns_of_arrow_in_pandas():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [0, 4, 2]}, dtype=pd.ArrowDtype(pa.int64()))
    np.testing.assert_array_equal(MinMaxScaler().fit(frame).transform(frame)[:, 1], [0, 1, 0.5])
    frame.loc[0, "a"] = pd.NA
    refused(ValueError, "got nan at (0, 0)", MinMaxScaler().fit, frame)
