"""The data of `ranvier train` and `ranvier evaluate`: a data set by name, or a file or folder."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import ranvier as rv
from ranvier.cli.arguments import Mistake, mistakes, path_name
from ranvier.cli.tables import NAMED, add_reading_flags, load, make_encoder, require_data_flags, to_train

if TYPE_CHECKING:
    from ranvier.data import Samples, Standardize, TableEncoder
    from ranvier.tensors.memory import Array

TEST_ARRAYS = (("x_test", "y_test"), ("X_test", "y_test"), ("X_test", "Y_test"))
FEW = 40  # with fewer samples, results on the test part are mostly chance
SHARES = (0.7, 0.1, 0.2)  # the shares of a file's samples to train on, to validate, to test
VALUES = "; for labels that are values: --task regression"
Part: TypeAlias = "tuple[Array, Array]"  # samples x and their targets y
Parts: TypeAlias = "tuple[Part, Part, Part]"  # to train on, to validate, to test
PIXELS = {"digits": 16, "mnist": 255, "fashion_mnist": 255}  # the largest raw value


@dataclass
class Problem:
    """Samples in three parts, each (x, y), and the information for the model file.

    Targets are class numbers (n,), or values (n, outputs) without class names.
    """

    name: str
    train: Part
    valid: Part
    test: Part
    class_names: list[str] | None
    preprocessing: list[Any] = field(default_factory=list)  # the transforms of the samples
    feature_names: list[str] | None = None  # names of a table's columns
    target: str | None = None  # the name of a table's column of targets
    embedded: list[int] = field(default_factory=list)  # classes of the last columns, which are class indices

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train[0].shape[1:])

    @property
    def values(self) -> bool:
        return self.class_names is None

    @property
    def outputs(self) -> int:
        """The number of outputs of a network."""
        if self.class_names is None:
            return int(self.train[1].shape[1])
        return len(self.class_names)

    @property
    def goal(self) -> str:
        if self.values:
            return "r2"
        return "accuracy"

    @property
    def kind(self) -> str:
        if len(self.input_shape) == 3:
            return "images"
        return "samples"


def add_data(parser: argparse.ArgumentParser) -> None:
    files = f"{', '.join(NAMED)}, a .csv, .parquet, .npy or .npz file, or a folder of images"
    parser.add_argument("data", metavar="DATA", type=path_name, help=files)
    tasks = ("auto", "classification", "regression")
    parser.add_argument(
        "--data-dir",
        type=path_name,
        metavar="DIR",
        help="folder with the four IDX files of (fashion_)mnist, gzipped or not",
    )
    parser.add_argument(
        "--label",
        type=str,
        metavar="NAME",
        help="the column of labels in a .csv, or the array of labels in a .npz",
    )
    parser.add_argument(
        "--task",
        choices=tasks,
        default="auto",
        help="the kind of labels; default: values if not whole or mostly different",
    )
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="height and width of a folder's images; default of evaluate: the model's",
    )
    parser.add_argument("--grayscale", action="store_true", help="read the images of a folder without colour")
    add_reading_flags(parser)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 64x64")
    return int(height), int(width)


def open_problem(arguments: argparse.Namespace, seed: int) -> Problem:
    """The data in three parts; the split depends on the seed.

    digits: 70, 10 and 20 %; mnist: 55,000, 5,000 and 10,000; others as digits.
    """
    require_data_flags(arguments)
    with mistakes(OSError, ValueError, ImportError):
        if arguments.data in NAMED:
            return _load_named(arguments.data, arguments.data_dir, seed)
        return _read_file(arguments, seed)


def named_samples(name: str, folder: str | None = None, seed: int = 0) -> Samples:
    """The test part of a data set by its name, without preprocessing."""
    with mistakes(OSError, ValueError, ImportError):
        problem = _load_named(name, folder, seed)
    x, y = problem.test
    names = tuple(problem.class_names or ())
    if name == "iris":  # the columns of a table are scaled for training
        x = problem.preprocessing[0].inverse_transform(x)
        return rv.data.Samples(x, y, names, tuple(problem.feature_names or ()))
    return rv.data.Samples(x, y, names, scale=float(problem.preprocessing[0].config()["high"]))


def file_hash(path: Path) -> str:
    """The SHA-256 sum of a file."""
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_part(trained: dict[str, Any] | None, path: str, y: Array, classes: bool) -> Array | None:
    """The row numbers of the test part, if `path` is the file of the training; None for another file.

    An empty array means that it is the same file, but the rows are not known. trained: the record that the
    training left in the model file (hash of the data file, seed, sizes of the three parts).
    """
    if not trained or not Path(path).is_file():
        return None
    if file_hash(Path(path)) != trained.get("sha256"):
        return None
    if sum(trained["samples"]) != len(y):
        return np.array([], int)
    if not classes:
        y = y.reshape(len(y), -1)
    row_numbers = np.arange(len(y))  # in place of the samples
    _, _, test = _split_parts(row_numbers, y, trained["seed"], classes)
    return test[0]


def _load_named(name: str, folder: str | None, seed: int) -> Problem:
    """Load the data set of this name (iris, digits ...), and divide it into the three parts."""
    datasets = rv.data.datasets
    if name == "iris":
        x, y = datasets.load_iris()
        parts = _split_parts(x, y, seed, True)
        return _table("iris", parts, list(datasets.IRIS_CLASSES), list(datasets.IRIS_FEATURES))
    preprocessing = [rv.data.MinMaxScaler(0, PIXELS[name])]
    if name == "digits":  # 1797 images
        x, y = datasets.load_digits()
        x, xt, y, yt = _split(x, y, 360, seed)  # 20 %
        held_out = 180  # 10 %
        names = [str(digit) for digit in range(10)]
    elif name == "mnist":
        (x, y), (xt, yt) = datasets.load_mnist(folder)
        held_out = len(x) // 12  # 5,000 of the 60,000
        names = list(datasets.MNIST_CLASSES)
    else:
        (x, y), (xt, yt) = datasets.load_fashion_mnist(folder)
        held_out = len(x) // 12
        names = list(datasets.FASHION_MNIST_CLASSES)
    if held_out < 10 or len(xt) == 0:
        raise Mistake(f"{len(x)} training and {len(xt)} test images are too few to train on")
    x, xv, y, yv = _split(x, y, held_out, seed)
    return Problem(name, (x, y), (xv, yv), (xt, yt), names, preprocessing)


def standardized(problem: Problem) -> tuple[Problem, Standardize]:
    """The problem with standardized values, and the transform, which is fitted to the training part."""
    scale = rv.data.Standardize().fit(problem.train[1])
    x, y = problem.train
    xv, yv = problem.valid
    scaled = replace(problem, train=(x, scale.transform(y)), valid=(xv, scale.transform(yv)))
    return scaled, scale


def _read_file(arguments: argparse.Namespace, seed: int) -> Problem:
    """Read the samples of a file, check them, and divide them into training, validation and test parts."""
    samples = read_samples(arguments, options=to_train(arguments))
    if arguments.task == "auto" and _are_values(samples):
        words = f"the labels are {len(samples.class_names or ())} different whole numbers, so they are values"
        print(f"{words}; --task classification takes them as classes", flush=True)
        samples = valued(samples)
    if samples.x.ndim != 2:
        samples = samples.with_changes(x=samples.x.astype("float32", copy=False))
    y = _require_labels(arguments, samples)
    class_names = None if samples.class_names is None else list(samples.class_names)
    if arguments.label is None:
        say_label(samples)
    _require_columns(arguments, samples)
    test = _test_part(arguments, samples, class_names)
    try:
        parts = _split_parts(samples.x, y, seed, class_names is not None, test)
    except Mistake:
        _require_three_of_each_class(samples, y)
        raise
    if class_names is None:
        _require_float32(parts)
    name = Path(arguments.data).stem
    if samples.x.ndim == 2:
        columns = None if samples.feature_names is None else list(samples.feature_names)
        encoder = make_encoder(arguments, samples)
        table = _table(name, parts, class_names, columns, encoder)
        return replace(table, target=samples.target)
    preprocessing = []
    if samples.scale != 1:  # bytes of images
        preprocessing.append(rv.data.MinMaxScaler(0, samples.scale))
    return Problem(name, *parts, class_names, preprocessing)


def _require_labels(arguments: argparse.Namespace, samples: Samples) -> Array:
    """The labels: class numbers (n,), or values (n, outputs).

    Raises Mistake: there are none, or all samples are of one class.
    """
    if samples.y is None:
        hint = ""
        if samples.unused:
            hint = f"; of its arrays {', '.join(samples.unused)}: --label NAME"
        raise Mistake(f"'{arguments.data}' has no labels that are known by their name{hint}")
    if samples.class_names is None:
        return samples.y.reshape(len(samples.y), -1)
    if len(samples.class_names) < 2:
        only = samples.class_names[0]
        raise Mistake(
            f"all samples of '{arguments.data}' are of class {only!r}; expected two classes or more"
        )
    return samples.y


def _require_three_of_each_class(samples: Samples, y: Array) -> None:
    """Raise Mistake for a class with fewer than 3 samples, one for each part."""
    if samples.class_names is None:
        return
    counts = np.bincount(y)
    if counts.min() > 2:
        return
    rarest = samples.class_names[counts.argmin()]
    number = "2 samples" if counts.min() == 2 else "one sample"
    hint = VALUES if valued(samples).class_names is None else ""
    raise Mistake(
        f"class {rarest!r} has {number}; expected at least 3, to train, to validate and to test: join it "
        f"with another class, or leave it out{hint}"
    ) from None


def _require_float32(parts: Parts) -> None:
    """Raise Mistake for values that float32 cannot hold."""
    largest = max(np.abs(values).max(initial=0) for _, values in parts)
    if largest > np.finfo(np.float32).max:
        raise Mistake(f"the labels reach {largest:.3g}; expected at most 3.4e+38, which float32 holds")


def say_label(samples: Samples) -> None:
    """Print which column of a table has the labels, as its place may have decided."""
    if samples.target is None:
        return
    if samples.class_names is None:
        content = "values"
    else:
        content = f"{len(samples.class_names)} classes"
    print(f"the labels are in column '{samples.target}' ({content})", flush=True)


def _require_columns(arguments: argparse.Namespace, samples: Samples) -> None:
    """Raise Mistake for samples without columns; prints a note about a column that just counts the rows."""
    columns = list(samples.feature_names or ())
    for i, column in enumerate(columns):
        values = samples.x[:, i]
        if len(values) > 10 and values[0] in (0, 1) and (values[1:] - values[:-1] == 1).all():
            hint = f"--without '{column}' leaves it out"
            print(f"ranvier: column '{column}' counts the rows, which predicts nothing: {hint}", flush=True)
    if samples.x.ndim == 1:
        raise Mistake(
            f"'{arguments.data}' has samples of shape {samples.x.shape}; expected at least 2 dimensions, "
            f"such as ({len(samples.x)}, 1) for one number a sample"
        )


def _are_values(samples: Samples) -> bool:
    """True for labels of so many different whole numbers that they are values, such as prices: more than 20,
    and more than a quarter of the number of samples."""
    names = samples.class_names
    if names is None or samples.y is None or len(names) <= max(20, len(samples.y) // 4):
        return False
    return all(name.lstrip("-").isdigit() for name in names)


def valued(samples: Samples) -> Samples:
    """The samples with whole numbers as values, not as classes."""
    if samples.class_names is None:
        return samples
    try:
        values = np.array(samples.class_names, np.float64)
    except ValueError:  # words
        return samples
    return samples.with_changes(y=values[samples.y], class_names=None)


def read_samples(
    arguments: argparse.Namespace,
    arrays: tuple[str, str] | None = None,
    options: dict[str, Any] | None = None,
) -> Samples:
    """The samples of a file or folder with their labels; of an archive, the given arrays.

    `options` are arguments of `rv.data.load` for a table.
    """
    if arrays is not None:
        return rv.data.datasets.load_npz(arguments.data, *arrays, task=arguments.task, dtype="float64")
    given = {name: getattr(arguments, name) for name in ("task", "size", "grayscale", "skip_broken")}
    label = "auto" if arguments.label is None else arguments.label
    # the commands print unused arrays
    return load(arguments, arguments.data, label, say=False, **given, **(options or {}))


def test_arrays(arguments: argparse.Namespace, samples: Samples) -> tuple[str, str] | None:
    """The names of the test arrays of an archive; prints other unused arrays."""
    names = None
    if arguments.label is None:
        names = next((pair for pair in TEST_ARRAYS if set(pair) <= set(samples.unused)), None)
    unused = [name for name in samples.unused if names is None or name not in names]
    if unused:
        print(f"not used of {arguments.data}: {', '.join(unused)}", flush=True)
    return names


def _test_part(arguments: argparse.Namespace, samples: Samples, names: list[str] | None) -> Part | None:
    """The test arrays of an archive, with the training part's class numbers; None if there are none."""
    arrays = test_arrays(arguments, samples)
    if arrays is None:
        return None
    test = read_samples(arguments, arrays)
    print(f"the test part is {' and '.join(arrays)} of {arguments.data}", flush=True)
    if test.x.shape[1:] != samples.x.shape[1:] or (test.class_names is None) != (names is None):
        raise Mistake(f"'{arrays[0]}' and '{arrays[1]}' are of another kind than the training arrays")
    if names is None or test.class_names is None:
        values = np.asarray(test.y)
        return test.x, values.reshape(len(values), -1)
    unknown = [name for name in test.class_names if name not in names]
    if unknown:
        raise Mistake(f"'{arrays[1]}' has the class {unknown[0]!r}, which the training part lacks")
    return test.x, np.array([names.index(name) for name in test.class_names])[test.y]


def _table(
    name: str,
    parts: Parts,
    names: list[str] | None,
    columns: list[str] | None,
    encoder: TableEncoder | None = None,
) -> Problem:
    """A problem with encoded and standardized columns; the transforms are fitted to the training part."""
    transforms: list[Any] = [rv.data.Standardize()]
    if encoder is not None:
        transforms.insert(0, encoder)
    steps = rv.data.Compose(transforms)
    with mistakes(ValueError):
        steps.fit(parts[0][0])  # the x of the training part
    embedded = [] if encoder is None else encoder.embedded
    if embedded:  # class indices stay as they are
        scale = steps.transforms[-1]
        scale.mean[-len(embedded) :] = 0
        scale.std[-len(embedded) :] = 1
    train, valid, test = [(steps.transform(x).astype("float32"), y) for x, y in parts]
    return Problem(name, train, valid, test, names, steps.transforms, columns, embedded=embedded)


def _split_parts(x: Array, y: Array, seed: int, classes: bool, test: Part | None = None) -> Parts:
    """Training, validation and test part; the test part is split off unless there is one already.

    classes: y are class numbers, not values.
    """
    _, valid_share, test_share = SHARES
    valid_count = max(1, round(valid_share * len(x)))
    test_count = max(1, round(test_share * len(x)))
    try:
        if test is None:
            x, xt, y, yt = _split(x, y, test_count, seed, classes)
            test = xt, yt
        x, xv, y, yv = _split(x, y, valid_count, seed, classes)
    except ValueError as error:
        hint = VALUES if classes else ""
        raise Mistake(f"{error}{hint}") from None
    return (x, y), (xv, yv), test


def _split(
    x: Array, y: Array, held_out: int, seed: int, classes: bool = True
) -> tuple[Array, Array, Array, Array]:
    """(x, x held out, y, y held out), stratified by class if each class has a sample in both parts."""
    strata = y if classes else None
    if classes and len(x) < FEW:
        _, counts = np.unique(y, return_counts=True)
        smaller_part = min(held_out, len(x) - held_out)
        if counts.min() < 2 or smaller_part < len(counts):
            strata = None
    train_x, held_out_x, train_y, held_out_y = rv.data.train_test_split(
        x, y, test_size=held_out, random_state=seed, stratify=strata
    )
    return train_x, held_out_x, train_y, held_out_y
