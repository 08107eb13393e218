"""What `ranvier train` and `ranvier evaluate` work on: a data set by name, or one's own file or folder."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ranvier.cli.arguments import Mistake

NAMED = ("digits", "fashion_mnist", "iris", "mnist")
SHARES = (0.7, 0.1, 0.2)  # of a file's samples: to train on, to validate, to test
Part = tuple[Any, Any]
PIXELS = {"digits": 16, "mnist": 255, "fashion_mnist": 255}  # the largest raw value


@dataclass
class Problem:
    """Samples in three parts, each (x, y), and what a model file should say of them.

    Targets are class numbers (n,), or values (n, outputs), which have no class names.
    """

    name: str
    train: Part
    valid: Part
    test: Part
    class_names: list[str] | None
    preprocessing: list[Any] = field(default_factory=list)  # what raw samples went through

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train[0].shape[1:])

    @property
    def values(self) -> bool:
        """Whether the targets are values, not classes."""
        return self.class_names is None

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for a sample."""
        return int(self.train[1].shape[1]) if self.class_names is None else len(self.class_names)

    @property
    def goal(self) -> str:
        """The metric that says how good a network is."""
        return "r2" if self.values else "accuracy"

    @property
    def kind(self) -> str:
        return "images" if len(self.input_shape) == 3 else "samples"


def add_data(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what the data is."""
    parser.add_argument(
        "data", metavar="DATA", help=f"{', '.join(NAMED)}, a .csv or .npz file, or a folder of images"
    )
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder with the four IDX files of (fashion_)mnist, gzipped or not"
    )
    parser.add_argument(
        "--label", metavar="NAME", help="the column of labels in a .csv, or the array of them in a .npz"
    )
    parser.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="what the labels of a file are; default: classes, unless one of them is not a whole number",
    )
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="height and width to which the images of a folder are scaled",
    )
    parser.add_argument("--grayscale", action="store_true", help="read the images of a folder without colour")


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 64x64")
    return int(height), int(width)


def open_problem(arguments: argparse.Namespace, seed: int) -> Problem:
    """The data in its three parts; the split follows from the seed.

    digits: 70, 10 and 20 %; mnist: 55,000, 5,000 and 10,000; others as digits.
    """
    name = arguments.data
    if arguments.data_dir is not None and name not in ("mnist", "fashion_mnist"):
        raise Mistake(f"--data-dir is for mnist and fashion_mnist, not for {name}")
    if name not in NAMED and not Path(name).exists():
        raise Mistake(f"no data set or file '{name}'; expected {', '.join(NAMED)}, a file or a folder")
    try:
        return _named(arguments, seed) if name in NAMED else _of_file(arguments, seed)
    except (OSError, ValueError, ImportError) as error:
        raise Mistake(error) from None


def _named(arguments: argparse.Namespace, seed: int) -> Problem:
    from ranvier.data import Normalize, datasets

    name = arguments.data
    if name == "iris":
        return _table("iris", *datasets.load_iris(), list(datasets.IRIS_CLASSES), seed)
    preprocessing = [Normalize(0, PIXELS[name])]
    if name == "digits":
        x, y = datasets.load_digits()
        x, xt, y, yt = _split(x, y, 360, seed)
        held_out, names = 180, [str(digit) for digit in range(10)]
    else:
        load = datasets.load_mnist if name == "mnist" else datasets.load_fashion_mnist
        (x, y), (xt, yt) = load(arguments.data_dir)
        classes = datasets.MNIST_CLASSES if name == "mnist" else datasets.FASHION_MNIST_CLASSES
        held_out, names = len(x) // 12, list(classes)
    if held_out < 10 or len(xt) == 0:
        raise Mistake(f"{len(x)} training and {len(xt)} test images are too few to train on")
    x, xv, y, yv = _split(x, y, held_out, seed)
    return Problem(name, (x, y), (xv, yv), (xt, yt), names, preprocessing)


def standardized(problem: Problem) -> tuple[Problem, Any]:
    """Values brought to mean 0 and deviation 1, as those of the training part have them; and what did it."""
    from ranvier.data import Standardize

    scale = Standardize().fit(problem.train[1])
    train, valid = ((x, scale.transform(y)) for x, y in (problem.train, problem.valid))
    return replace(problem, train=train, valid=valid), scale


def _of_file(arguments: argparse.Namespace, seed: int) -> Problem:
    from ranvier.data import Normalize

    samples = read_samples(arguments)
    if samples.y is None:
        raise Mistake(f"'{arguments.data}' has no labels")
    names = None if samples.class_names is None else list(samples.class_names)
    name, y = Path(arguments.data).stem, samples.y
    if names is None:
        y = y.reshape(len(y), -1)
    if samples.x.ndim == 2:
        return _table(name, samples.x, y, names, seed)
    preprocessing = [Normalize(0, samples.scale)] if samples.scale != 1 else []
    parts = _parts(samples.x, y, seed, names is not None)
    return Problem(name, *parts, names, preprocessing)


def read_samples(arguments: argparse.Namespace) -> Any:
    """What a file or folder holds, with its labels."""
    from ranvier.data import load

    label: Any = arguments.label
    if label is not None and label.lstrip("-").isdigit():
        label = int(label)
    return load(
        arguments.data,
        "auto" if label is None else label,
        task=arguments.task,
        size=arguments.size,
        grayscale=arguments.grayscale,
    )


def _table(name: str, x: Any, y: Any, names: list[str] | None, seed: int) -> Problem:
    """Columns are brought to mean 0 and deviation 1, as the training part has them."""
    from ranvier.data import Standardize

    (x, y), valid, test = _parts(x, y, seed, names is not None)
    scale = Standardize().fit(x)
    train, valid, test = ((scale.transform(x), y) for x, y in ((x, y), valid, test))
    return Problem(name, train, valid, test, names, [scale])


def _parts(x: Any, y: Any, seed: int, classes: bool) -> tuple[Part, Part, Part]:
    held_out = [max(1, round(share * len(x))) for share in SHARES[1:]]
    x, xt, y, yt = _split(x, y, held_out[1], seed, classes)
    x, xv, y, yv = _split(x, y, held_out[0], seed, classes)
    return (x, y), (xv, yv), (xt, yt)


def _split(x: Any, y: Any, held_out: int, seed: int, classes: bool = True) -> Any:
    from ranvier.data import train_test_split

    return train_test_split(x, y, test_size=held_out, random_state=seed, stratify=y if classes else None)
