"""Data from files of any known format; NumPy arrays (.npy) and archives (.npz)."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ranvier.data.checks import first_not_finite
from ranvier.data.datasets.samples import (
    TASKS,
    PathLike,
    Samples,
    is_frame,
    path_of,
    real,
    require_file,
    require_unpacked,
    targets,
)
from ranvier.serialization.foreign_files import other_kind
from ranvier.tensors.errors import one_of
from ranvier.tensors.memory import Array, bools
from ranvier.tensors.reading import open_file, reading, require_file_of_bytes, shortened
from ranvier.tensors.sanitize import printable

if TYPE_CHECKING:
    from ranvier.data.datasets.images import Size
    from ranvier.tensors.types import DtypeLike

__all__ = ["load", "load_npy", "load_npz"]

TABLES = (".csv", ".tsv", ".txt", ".data", ".dat", ".parquet")
ENDINGS = (*TABLES, ".npy", ".npz")
PIXELS = [f"pixel{i}" for i in range(784)]
DIGITS = (PIXELS, ["label", *PIXELS])  # the columns of Kaggle's tables of digits


def load(
    path: Any,
    label: str | int | None = "auto",
    *,
    task: str = "auto",
    size: Size = None,
    grayscale: bool = False,
    skip_broken: bool = False,
    dtype: DtypeLike = np.float32,
    **table: Any,
) -> Samples:
    """Samples and targets from a table (.csv, .tsv, .txt, .data, .dat, .parquet), an array (.npy), an archive
    (.npz) or a folder of images.

    Args:
        path: the file or folder; tables may be gzipped (.gz). Kaggle's digit tables become images. Or a data
            frame of pandas, polars or Arrow.
        label: for a table, the column of labels, by name or number, or None; for an archive, the name of the
            array of targets.
        task: "classification", "regression" or "auto", see `load_csv`.
        size, grayscale, skip_broken: for images, see `load_images`.
        dtype: for other data, of the samples and of targets that are values: float32, or float64 for large
            numbers that differ little, such as seconds since 1970.
        table: for a table, the other arguments of `load_csv`: missing, categories, without, sep ...

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
    if is_frame(path):
        from ranvier.data.datasets.tables import load_csv

        return load_csv(path, label, task=task, dtype=dtype, **table)
    file = path_of("load", path)
    if file.is_dir() and any(next(file.glob(parts), None) for parts in ("*.parquet", "*/*.parquet")):
        one = "pandas.read_parquet(folder)"
        raise ValueError(f"[load] got '{file}', a folder of Parquet files; expected one file, or {one}")
    if file.is_dir():
        others = {"task": task != "auto", "dtype": dtype is not np.float32} | dict.fromkeys(table, True)
        _refuse("a folder of images", label=label not in ("auto", None), **others)
        from ranvier.data.datasets.images import load_images

        return load_images(file, size, grayscale, skip_broken)
    if not file.exists():
        url = "; expected a path: download it first" * ("://" in str(path))
        raise FileNotFoundError(f"[load] no file or folder '{path}'{url}")
    require_file_of_bytes(file)
    ending = ending_of(file)
    if ending in ENDINGS:
        images = {"size": size is not None, "grayscale": grayscale, "skip_broken": skip_broken}
        _refuse("a table or an archive", **images)
    if ending in (".npy", ".npz"):
        _refuse("an array or an archive", **dict.fromkeys(table, True))
    if ending == ".npy":
        _refuse("an array, whose columns have no names", label=isinstance(label, str) and label != "auto")
        column = -1 if isinstance(label, str) else label
        return load_npy(file, column, task=task, dtype=dtype)
    if ending == ".npz":
        _refuse("an archive, whose arrays have names", label=not isinstance(label, str) and label is not None)
        if isinstance(label, str) and label != "auto":
            name = label
        else:
            name = None
        arrays = load_npz(file, y=name, task=task, dtype=dtype)
        if label is not None:
            return arrays
        return arrays.with_changes(y=None, class_names=None)
    if ending in TABLES:
        if not table and label in ("auto", "label", 0, None) and is_digit_table(file):
            return _digits(file, label)
        from ranvier.data.datasets.tables import load_csv

        return load_csv(file, label, task=task, dtype=dtype, **table)
    raise ValueError(
        f"[load] got '{file}'; expected a table (.csv, .tsv, .txt, .data, .dat, also .gz; .parquet), an "
        "array (.npy), an archive (.npz), a folder of images, or a frame, as of pandas.read_excel"
    )


def ending_of(file: Path) -> str:
    """The ending of a file's name, in lower case; of a gzipped one that of its content."""
    if file.suffix.lower() == ".gz":
        return Path(file.stem).suffix.lower()
    return file.suffix.lower()


def _first_cells(path: Path) -> list[str]:
    """The cells of the first line of a table; none where it cannot be read, an error of load_csv."""
    import gzip
    import zlib

    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                line = stream.readline(1 << 20)
        else:
            with open(path, "rb") as file:
                line = file.readline(1 << 20)
        return line.decode("utf-8", "replace").strip().split(",")
    except (OSError, EOFError, zlib.error):
        return []


def is_digit_table(path: Path) -> bool:
    """True if a file is a table of Kaggle's competition Digit Recognizer, by its first line."""
    return _first_cells(path) in DIGITS


def _digits(path: Path, label: str | int | None) -> Samples:
    """Such a table as images (n, 1, 28, 28) in [0, 1]."""
    from ranvier.data.datasets.tables import load_csv

    column = None if _first_cells(path) == PIXELS else "label"
    table = load_csv(path, column)
    if table.y is None:
        labels = None
    else:
        labels = np.array(table.class_names, np.int64)[table.y]
    are_digits = labels is None or {*labels} <= {*range(10)}
    if not (table.x.min() >= 0 and table.x.max() <= 255 and are_digits):
        raise ValueError(f"[load] '{path}' has a pixel beyond 0 to 255, or a label beyond 0 to 9")
    x = (table.x / np.float32(255)).reshape(-1, 1, 28, 28)
    if label is None:
        labels = None
    return Samples(x, labels, tuple("0123456789"), scale=255.0)


def _refuse(what: str, **arguments: bool) -> None:
    for name, wrong in arguments.items():
        if wrong:
            raise ValueError(f"[load] got {name} for {what}; expected none, it would have no effect")


NAMES = (
    ("x", "y"), ("X", "y"), ("X", "Y"), ("x_train", "y_train"), ("X_train", "y_train"), ("images", "labels"),
    ("data", "target"), ("data", "labels"), ("features", "labels"),
)  # fmt: skip


def load_npz(
    path: PathLike,
    x: str | None = None,
    y: str | None = None,
    *,
    task: str = "auto",
    dtype: DtypeLike = np.float32,
) -> Samples:
    """Samples and targets from a NumPy archive, as `np.savez(path, x=x, y=y)` writes it.

    Args:
        path: the archive.
        x, y: the names of the arrays; by default x and y, x_train and y_train, images and labels, data and
            target ... For an archive of samples only, y is None.
        task: "classification": targets are classes; "regression": they are values; "auto": text, whole
            numbers (n,) and one-hot rows (n, classes) are classes, other arrays are values.
        dtype: the dtype of samples and values: float32, or float64 for large numbers that differ little.

    Returns:
        Samples. Pixels of unsigned bytes are divided by 255, images (n, h, w) become
        (n, 1, h, w) and images (n, h, w, c) with 1, 3 or 4 channels (n, c, h, w). An array `class_names`
        names the classes. Without x=, a warning names unused arrays.

    Raises FileNotFoundError: no such file.
    Raises ValueError: a damaged file, Python objects in it, no such arrays, no samples, or unequal lengths.

    >>> import numpy as np
    >>> from ranvier.data.datasets import load_npz
    >>> np.savez("shapes.npz", x=np.zeros((3, 8, 8), np.uint8), y=np.array(["disc", "ring", "disc"]))
    >>> shapes = load_npz("shapes.npz")
    >>> shapes.x.shape, shapes.y.tolist(), shapes.class_names
    ((3, 1, 8, 8), [0, 1, 0], ('disc', 'ring'))
    """
    one_of("load_npz", "task", task, TASKS)
    file = require_file("load_npz", path)
    with reading("load_npz", path):
        return _npz(file, x, y, task, dtype)


def _npz(path: Path, x: str | None, y: str | None, task: str, dtype: Any) -> Samples:
    """As `load_npz`, with errors of any length."""
    arrays = _read("load_npz", path)
    if not isinstance(arrays, dict):
        raise ValueError(f"[load_npz] '{path}' is a single array (.npy); expected an archive (.npz)")
    name_x, name_y = _names(path, arrays, x, y)
    samples = _numbers("load_npz", path, name_x, arrays[name_x])
    if len(samples) == 0:
        raise ValueError(f"[load_npz] '{path}' has no samples in '{name_x}'; expected at least one")
    values, scale = _images("load_npz", path, name_x, samples, dtype)
    named = name_y is not None and arrays[name_y].dtype.kind in "iuf" and task != "regression"
    taken_names = (name_x, name_y, "class_names") if named else (name_x, name_y)
    unused = tuple(name for name in arrays if name not in taken_names)
    if unused and x is None:
        if name_y is None:
            taken = f"{name_x} is"
        else:
            taken = f"{name_x} and {name_y} are"
        more = f"not used: {', '.join(unused)} (x= and y= choose others)"
        text = shortened(printable(f"[load_npz] '{path}': {taken} taken, {more}"))
        warnings.warn(text, stacklevel=3)
    if name_y is None:
        return Samples(values, None, scale=scale, unused=unused)
    labels = arrays[name_y]
    if labels.ndim == 0 or len(labels) != len(samples):
        raise ValueError(
            f"[load_npz] '{path}' has '{name_x}' of shape {samples.shape} and '{name_y}' of shape "
            f"{labels.shape}; expected as many targets as samples"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "USb":
        labels = _numbers("load_npz", path, name_y, labels)
    if labels.ndim > 1 and labels.dtype.kind in "US":
        raise ValueError(
            f"[load_npz] '{path}' has '{name_y}' of words and shape {labels.shape}; expected "
            "one for each sample"
        )
    if labels.dtype.kind in "US" and task == "regression":
        raise ValueError(
            f"[load_npz] '{path}' has words in '{name_y}', such as {str(labels.flat[0])!r}; expected "
            "numbers, the targets of a regression"
        )
    try:
        y_values, class_names = targets(labels, task, dtype)
    except ValueError as error:
        raise ValueError(f"[load_npz] '{path}' has '{name_y}' with a value too large: {error}") from None
    if class_names is None and task == "classification":
        raise ValueError(
            f"[load_npz] '{path}' has '{name_y}' of shape {labels.shape}; expected classes (n,), or "
            "one-hot rows"
        )
    named_labels = y_values if labels.ndim > 1 else labels
    names = _given_names(path, arrays, class_names, named_labels)
    return Samples(values, y_values, names, scale=scale, unused=unused)


def load_npy(
    path: PathLike, label: int | None = -1, *, task: str = "auto", dtype: DtypeLike = np.float32
) -> Samples:
    """Samples and targets from an array (n, columns), as `np.save(path, array)` writes it.

    Args:
        path: the file.
        label: the number of the column of targets; None if there is none, for an array of any shape.
        task, dtype: see `load_npz`.

    Returns: Samples. Without label, unsigned bytes of 3 or more dimensions are images, as in `load_npz`.

    Raises FileNotFoundError: no such file.
    Raises ValueError: a damaged file, Python objects in it, no such column, or no samples.
    """
    one_of("load_npy", "task", task, TASKS)
    file = require_file("load_npy", path)
    with reading("load_npy", path):
        return _npy(file, label, task, dtype)


def _npy(path: Path, label: int | None, task: str, dtype: Any) -> Samples:
    """As `load_npy`, with errors of any length."""
    array = _read("load_npy", path)
    if not isinstance(array, np.ndarray) or array.size == 0:
        raise ValueError(f"[load_npy] '{path}' holds no single array of samples; expected one")
    array = _numbers("load_npy", path, "the array", array)
    if label is None:
        x, scale = _images("load_npy", path, "the array", array, dtype)
        return Samples(x, None, scale=scale)
    if array.ndim != 2 or array.shape[1] < 2 or not -array.shape[1] <= label < array.shape[1]:
        raise ValueError(
            f"[load_npy] '{path}' is of shape {array.shape}; expected (n, columns) with the targets in "
            f"column {label}, or an archive (.npz) with arrays x and y"
        )
    y, class_names = targets(array[:, label], task, dtype)
    return Samples(
        _images("load_npy", path, "the array", np.delete(array, label, 1), dtype)[0], y, class_names
    )


def _read(name: str, path: Path) -> Any:
    """The array of a file, or the arrays of an archive by their names."""
    with open_file(path, name) as stream:
        try:
            return _arrays(stream, path)
        except _damage() as error:
            plain = f"is damaged, or no file of plain arrays: {error} (Python objects are not loaded)"
            kind = other_kind(path, b"\x93NUMPY", b"PK") or plain
            raise ValueError(f"[{name}] '{path}' {kind}") from None


def _arrays(stream: BinaryIO, path: Path) -> Any:
    if stream.read(2) != b"PK":
        return _array(stream)
    import zipfile  # only for an archive: it takes a millisecond to load

    members = {}
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        require_unpacked(path, sum(entry.file_size for entry in entries), DEFLATED)
        for entry in entries:
            if not entry.filename.endswith(".npy"):
                continue
            with archive.open(entry) as member:
                members[entry.filename[:-4]] = _array(member)
    return members


def _damage() -> tuple[type[Exception], ...]:
    """The errors of readers of a file that is damaged."""
    import lzma
    import tokenize
    import zipfile
    import zlib

    return (
        zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError, ArithmeticError, EOFError,
        LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError,
    )  # fmt: skip


def _array(stream: Any) -> Array:
    """The array of a file or of an archive's member."""
    stream.seek(0)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if array.dtype.kind == "U" and array.size:
        letters = array.view(f"{array.dtype.byteorder}u4")
    else:
        letters = None
    if letters is not None and letters.max() > sys.maxunicode:
        raise ValueError("it has letters that Unicode lacks")
    if array.dtype.kind == "b":
        return bools(array.view(np.uint8))
    return array


DEFLATED = 1100  # times as many bytes as packed ones: the most that zip archives hold


def _names(path: Path, arrays: dict[str, Any], x: str | None, y: str | None) -> tuple[str, str | None]:
    """The names of the arrays of samples and labels: those that are asked for, else usual ones."""
    shown = printable(", ".join(arrays)) or "none"
    for name in filter(None, (x, y)):
        if name not in arrays:
            raise ValueError(f"[load_npz] '{path}' has no array '{name}'; it has {shown}")
    if x is not None and y is not None:
        return x, y
    for name_x, name_y in NAMES:
        if (x or name_x) in arrays and (y or name_y) in arrays:
            return x or name_x, y or name_y
    if x:
        alone = [x]
    else:
        alone = [name for name, _ in NAMES if name in arrays] or list(arrays)
    if len(alone) == 1 or (y is None and alone and alone[0] in dict(NAMES)):
        return str(alone[0]), y
    raise ValueError(f"[load_npz] '{path}' has arrays {shown}; expected x and y, or to be told their names")


def _numbers(op: str, path: Path, name: str, array: Array) -> Array:
    """The array, if it has finite numbers. op: the name in errors."""
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise ValueError(
            f"[{op}] '{path}' has '{name}' of dtype {array.dtype} and shape {array.shape}; expected "
            "numbers, one entry for each sample"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at, place = first_not_finite(array)
        raise ValueError(
            f"[{op}] '{path}' has missing or infinite values in '{name}': {array[at]:g} at {place}; "
            "expected none"
        )
    return array


def _images(op: str, path: Path, name: str, x: Array, dtype: DtypeLike | None) -> tuple[Array, float]:
    """The samples, pixels of unsigned bytes divided by 255, and this divisor. op: the name in errors."""
    scale = 255.0 if x.dtype == np.uint8 and x.ndim >= 3 else 1.0
    value_dtype = dtype if x.dtype.itemsize > 2 else np.float32  # which holds all numbers of two bytes
    try:
        values = real(x, value_dtype)
    except ValueError as error:
        raise ValueError(f"[{op}] '{path}' has '{name}' with a value too large: {error}") from None
    values /= values.dtype.type(scale)
    if x.ndim == 3 and scale != 1:
        return values[:, None], scale
    if x.ndim == 4 and x.shape[3] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
        values = values.transpose(0, 3, 1, 2)  # channels-last in memory, as convolution reads it
    return values, scale


def _given_names(
    path: Path, arrays: dict[str, Array], numbered: tuple[str, ...] | None, labels: Array
) -> tuple[str, ...] | None:
    """The archive's names of the classes, if the labels are numbers 0, 1, 2 ..."""
    names = arrays.get("class_names")
    if numbered is None or names is None or labels.dtype.kind not in "iuf":
        return numbered
    if names.ndim != 1 or numbered != tuple(str(i) for i in range(len(names)))[: len(numbered)]:
        raise ValueError(
            f"[load_npz] '{path}' has class_names of shape {names.shape} for classes "
            f"{', '.join(numbered[:10])}; expected a name for each class 0, 1, 2 ..."
        )
    return tuple(str(name) for name in names.tolist())
