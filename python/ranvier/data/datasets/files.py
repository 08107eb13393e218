"""Loading data from files of any known format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ranvier.data.datasets.archives import load_npy, load_npz
from ranvier.data.datasets.images import Size, load_images
from ranvier.data.datasets.samples import PathLike, Samples
from ranvier.data.datasets.tables import first_cells, is_digit_recognizer, load_csv, load_digit_recognizer

__all__ = ["load"]

TABLES = (".csv", ".tsv", ".txt", ".parquet")
ENDINGS = (*TABLES, ".npy", ".npz")


def load(
    path: PathLike,
    label: str | int | None = "auto",
    *,
    task: str = "auto",
    size: Size = None,
    grayscale: bool = False,
    skip_broken: bool = False,
    dtype: Any = np.float32,
    **table: Any,
) -> Samples:
    """Samples and targets from a table (.csv, .tsv, .txt, .parquet), an array (.npy), an archive (.npz) or a
    folder of images.

    Args:
        path: the file or folder; tables may be gzipped (.gz). Kaggle's digit tables become images.
        label: for a table, the column of labels, by name or number, or None; for an archive, the name of the
            array of targets.
        task: "classification", "regression" or "auto", see `load_csv`.
        size, grayscale, skip_broken: for images, see `load_images`.
        dtype: for other data, of the samples and of targets that are values: float32, or float64 for large
            numbers that differ little, such as seconds since 1970.
        table: for a table, the other arguments of `load_csv`: missing, categories, without, decimal ...

    Returns: Samples: x, y (None without label), class_names (None for values) and feature_names.

    Raises FileNotFoundError: no such file or folder.
    Raises ValueError: another ending, an argument for another format, or an error of the format's function.
    Raises ImportError: a folder of images, and pillow is not installed.

    >>> import pathlib
    >>> from ranvier.data import load
    >>> _ = pathlib.Path("flowers.csv").write_text("1.5,0.2,setosa\\n4.5,1.5,virginica\\n")
    >>> flowers = load("flowers.csv")
    >>> flowers.x.shape, flowers.class_names
    ((2, 2), ('setosa', 'virginica'))
    """
    file = Path(path)
    if file.is_dir():
        wrong = {
            "label": label not in ("auto", None),
            "task": task != "auto",
            "dtype": dtype is not np.float32,
        }
        _refuse("a folder of images", **wrong)
        _refuse("a folder of images", **dict.fromkeys(table, True))
        return load_images(file, size, grayscale, skip_broken)
    if not file.exists():
        raise FileNotFoundError(f"[load] no file or folder '{file}'")
    ending = Path(file.stem).suffix.lower() if file.suffix.lower() == ".gz" else file.suffix.lower()
    if ending in ENDINGS:
        images = {"size": size is not None, "grayscale": grayscale, "skip_broken": skip_broken}
        _refuse("a table or an archive", **images)
    if ending in (".npy", ".npz"):
        _refuse("an array or an archive", **dict.fromkeys(table, True))
    if ending == ".npy":
        _refuse("an array, whose columns have no names", label=isinstance(label, str) and label != "auto")
        return load_npy(
            file, label if isinstance(label, int) else None if label is None else -1, task=task, dtype=dtype
        )
    if ending == ".npz":
        _refuse("an archive, whose arrays have names", label=not isinstance(label, str) and label is not None)
        name = label if isinstance(label, str) and label != "auto" else None
        arrays = load_npz(file, y=name, task=task, dtype=dtype)
        return arrays if label is not None else replace(arrays, y=None, class_names=None)
    if ending in TABLES:
        if not table and label in ("auto", "label", 0, None) and is_digit_recognizer(first_cells(file)):
            digits = load_digit_recognizer(file)
            return digits if label is not None else replace(digits, y=None)
        return load_csv(file, label, task=task, dtype=dtype, **table)
    raise ValueError(
        f"[load] got '{file}'; expected a table (.csv, .tsv, .txt, also .gz; .parquet), an array (.npy), an "
        "archive (.npz) or a folder of images"
    )


def _refuse(what: str, **given: bool) -> None:
    for name, wrong in given.items():
        if wrong:
            raise ValueError(f"[load] got {name} for {what}; expected none, it would have no effect")
