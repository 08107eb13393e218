"""The commands' flags for data, and how a table is read as the model's training table was.

A flag that has no effect on the data is an error.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ranvier as rv
from ranvier.cli.arguments import Mistake, names, similar
from ranvier.cli.networks import KINDS, require_names

if TYPE_CHECKING:
    from ranvier.data import Samples, TableEncoder
    from ranvier.serialization import Info

NAMED = ("digits", "fashion_mnist", "iris", "mnist")
MISSING = ("error", "drop", "mean", "median")


def read_setting(text: str) -> tuple[str, Any]:
    """The name and value of `--read NAME=VALUE`."""
    from ranvier.data.datasets.table_settings import DEFAULTS

    name, _, value = text.partition("=")
    if name not in DEFAULTS:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE of {', '.join(DEFAULTS)}")
    if name in ("na_values", "parse_dates"):
        return name, value.split(",")
    if value.isdigit():
        return name, int(value)
    return name, WORDS.get(value, value)


# The values that words in such a setting mean.
WORDS: dict[str, Any] = {"None": None, "True": True, "False": False, "tab": "\t", r"\t": "\t"}


def add_reading_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how the text of a table, or a folder of images, is read."""
    parser.add_argument(
        "--read",
        action="append",
        type=read_setting,
        metavar="NAME=VALUE",
        help="how the text of a table is read, a setting of pandas.read_csv: sep=';', header=None, decimal=, "
        "na_values=lost,gone parse_dates=day encoding=cp1252 ...; may be given several times",
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out the broken images of a folder, and name them"
    )


def add_table_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say what a table becomes before the training."""
    parser.add_argument(
        "--missing",
        choices=MISSING,
        help="for empty cells, NA, ? ... of a table: an error (the default), drop the line, or take the "
        "column's mean or median in the training part (a missing category is 0 in all its columns, or has an "
        "embedding; a line without a label is left out)",
    )
    parser.add_argument(
        "--categorical",
        type=names,
        metavar="NAMES",
        help="columns with categories, even if they are numbers: a,b. Columns of words always are. Up to 8 "
        "categories become a column of 0 and 1 each, more get an embedding",
    )
    parser.add_argument("--without", type=names, metavar="NAMES", help="columns of a table to leave out: a,b")


def is_table(path: str | Path) -> bool:
    from ranvier.data.datasets.files import TABLES, ending_of

    return ending_of(Path(path)) in TABLES and not Path(path).is_dir()


def require_table_flags(arguments: argparse.Namespace, data: str) -> None:
    """Raise a mistake for a flag of tables or folders that has no effect on the data."""
    for flag in ("missing", "categorical", "without", "read"):
        if getattr(arguments, flag, None) is not None and not is_table(data):
            raise Mistake(f"--{flag.replace('_', '-')} is for a table such as a .csv file, not for {data}")
    if arguments.skip_broken and not Path(data).is_dir():
        raise Mistake(f"--skip-broken is for a folder of images, not for {data}")


def require_data_flags(arguments: argparse.Namespace) -> None:
    """Raise a mistake for a flag of another kind of data."""
    name = arguments.data
    named = name in NAMED
    folder = Path(name).is_dir()
    if arguments.data_dir is not None and name not in ("mnist", "fashion_mnist"):
        raise Mistake(f"--data-dir is for mnist and fashion_mnist, not for {name}")
    if not named and not Path(name).exists():
        hint = similar(name, NAMED)
        raise Mistake(f"no data set or file '{name}'; expected {', '.join(NAMED)}, a file or a folder{hint}")
    require_table_flags(arguments, name)
    if arguments.label is not None and (named or folder):
        raise Mistake(f"--label is for a .csv or .npz file, not for {name}")
    if arguments.task != "auto" and (named or folder):
        raise Mistake(f"--task is for a .csv or .npz file, not for {name}, which has classes")
    if named or not folder:
        if arguments.size is not None:
            raise Mistake(f"--size is for a folder of images, not for {name}")
        if arguments.grayscale:
            raise Mistake(f"--grayscale is for a folder of images, not for {name}")


def reading(arguments: argparse.Namespace, path: str | Path, about: Info | None = None) -> dict[str, Any]:
    """The arguments of `rv.data.load` for a table's text: from the flags, else as in the model's training."""
    given = dict(arguments.read or ())
    trained = (getattr(about, "training_data", None) or {}).get("reading", {})
    if Path(path).suffix == ".parquet":
        return given
    return trained | given


def to_train(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `rv.data.load` for a table to train on."""
    if not is_table(arguments.data):
        return {}
    from ranvier.data.datasets.files import is_digit_table

    options = reading(arguments, arguments.data)
    flags = {name: getattr(arguments, name) for name in ("missing", "categorical", "without")}
    if not options and not any(flags.values()) and is_digit_table(Path(arguments.data)):
        return {}  # images
    missing = flags["missing"] or "error"
    options["missing"] = missing if missing in ("error", "drop") else "keep"
    return options | {"categories": flags["categorical"] or True, "without": flags["without"] or ()}


def read_encoder(about: Info) -> TableEncoder | None:
    """The TableEncoder of a model file, by its information; None if it has none."""
    steps = about.preprocessing
    if not steps:
        return None
    first = rv.data.transforms.from_config(steps[0])
    if isinstance(first, rv.data.TableEncoder):
        return first
    return None


def reading_as_trained(
    arguments: argparse.Namespace, path: str, about: Info, label: str | None
) -> dict[str, Any]:
    """The arguments of `rv.data.load` for a table as the model was trained on.

    Columns that the model does not take are left out, with a warning. label: "auto", or None for none.
    """
    encoder = read_encoder(about)
    if not is_table(path):
        words = encoder is not None and any(values is not None for values in encoder.categories)
        if words and Path(path).exists():
            raise Mistake(
                f"'{path}' has numbers without names, and the model takes words in some columns; expected a "
                ".csv or .parquet file"
            )
        return {}
    columns = _columns(arguments, path, about)
    options = reading(arguments, path, about)
    if Path(path).suffix != ".parquet":
        options["header"] = 0 if columns else None
    if "parse_dates" in options:
        options["parse_dates"] = [name for name in options["parse_dates"] if name in columns]
    options["without"] = _left_out(columns, about.feature_names, encoder, label)
    if encoder is None:
        return options
    names = encoder.names or [str(i) for i in range(len(encoder.categories))]
    if encoder.missing is None:
        missing = "error"
    elif encoder.missing == "drop":
        missing = "drop"
    else:
        missing = "keep"
    options["missing"] = missing
    options["categories"] = dict(zip(names, encoder.categories, strict=True))
    options["unknown"] = names
    return options


def find_label(arguments: argparse.Namespace, path: str, about: Info) -> str:
    """The name of the column of labels: as in the training, or the only one that is no feature; else "auto".

    Raises Mistake: the table has features only, or several columns may be the labels.
    """
    from ranvier.data.datasets.tables import LABELS

    columns = _columns(arguments, path, about)
    trained = (about.training_data or {}).get("label")
    if trained in columns:
        return str(trained)
    encoder = read_encoder(about)
    used = set(about.feature_names or columns)
    if encoder is not None:
        used.update(encoder.without)
    others = [name for name in columns if name not in used]
    if about.feature_names and columns and not others:
        was = f" (of the training: '{trained}')" if trained else ""
        raise Mistake(
            f"'{path}' has no column of labels{was}: it has the model's columns only; --label NAME names one"
        )
    if len(others) > 1 and trained and not any(name.lower() in LABELS for name in others):
        raise Mistake(
            f"'{path}' has no column '{trained}' of labels; --label NAME says which has them: "
            f"{', '.join(map(repr, others))}"
        )
    if len(others) == 1:
        return others[0]
    return "auto"


def _columns(arguments: argparse.Namespace, path: str, about: Info) -> list[str]:
    """The names of a table's columns; empty for another file, or if the table has no names."""
    from ranvier.data.datasets.text_table import table_of

    if not is_table(path):
        return []
    known = list(about.feature_names or ())  # by which the line of names is recognized
    trained = (about.training_data or {}).get("label")
    known += filter(None, (arguments.label, trained))
    with table_mistakes(arguments):
        return table_of(path, known, **reading(arguments, path, about)).names or []


ARGUMENTS = {"categories": "categorical"}  # arguments of load_csv -> names of their flags


@contextmanager
def table_mistakes(arguments: argparse.Namespace) -> Iterator[None]:
    """Within the block, errors of tables become Mistakes, whose remedies are the command's flags."""
    from ranvier.data.datasets.table_errors import TableError

    try:
        yield
    except TableError as error:
        import shlex

        from ranvier.data.datasets.table_settings import DEFAULTS

        texts = []
        train_again = False  # whether another setting of the training would help
        for name, value, effect in error.remedies:
            flag = ARGUMENTS.get(name, name)
            text = ",".join(value) if isinstance(value, list) else str(value)
            if name in DEFAULTS:
                texts.append(f"--read {name}={shlex.quote(text)} {effect}")
            elif hasattr(arguments, flag):
                texts.append(f"--{flag} {shlex.quote(text)} {effect}")
            if name == "missing" and name not in arguments and "missing value" in error.problem:
                train_again = True
        if train_again:
            texts.append("or train the model again with --missing median")
        raise Mistake("; ".join([error.problem, *texts])) from None


def _left_out(
    columns: list[str], features: list[str] | None, encoder: TableEncoder | None, label: str | None
) -> list[str]:
    """The columns that are neither features nor the label; prints those that were not in the training data.

    Raises Mistake: a column of the model is missing.
    """
    is_number = label is not None and label not in columns and label.lstrip("-").isdigit()
    if label is not None and is_number and columns:
        label = columns[int(label) % len(columns)]
    without = () if encoder is None else encoder.without
    dropped = [name for name in columns if name in without and name != label]
    if features is None or not columns:
        return dropped
    more = [name for name in columns if name not in {*features, *dropped, label}]
    # each feature has to be there once, not counting a label of the same name
    if any(columns.count(name) - (name == label) != 1 for name in features):
        require_names(features, [name for name in columns if name not in {*dropped, label}])
    if label == "auto":  # the label is one of them, and the reader finds it
        return dropped
    if more:
        shown = ", ".join(map(repr, more))
        print(
            f"ranvier: columns that the model does not take are left out: {shown}",
            file=sys.stderr,
            flush=True,
        )
    return list(dict.fromkeys(dropped + more))


def load(
    arguments: argparse.Namespace,
    path: str | Path,
    label: str | int | None,
    say: bool = True,
    **settings: Any,
) -> Samples:
    """The samples of a file or folder; prints broken images, and warnings (of archives only with `say`).

    settings: arguments of `rv.data.load`.
    """
    if isinstance(label, str) and label.lstrip("-").isdigit() and not str(path).endswith(".npz"):
        label = int(label)
    if not Path(path).is_dir():
        settings["dtype"] = "float64"  # scaling comes first
    with warnings.catch_warnings(record=True) as said, table_mistakes(arguments):
        warnings.simplefilter("always")
        samples = rv.data.load(path, label, **settings)
    if say or is_table(path):
        for message in {str(warning.message) for warning in said}:
            text = message.replace("na_values", "--read na_values")
            print(f"ranvier: {text}", file=sys.stderr)
    for name in samples.skipped:
        print(f"skipped the broken image {name}", file=sys.stderr)
    if samples.dropped:
        count = len(samples) + samples.dropped
        dropped = f"{samples.dropped} of {count} lines have missing values and are left out"
        print(f"{dropped}: {len(samples)} are kept", file=sys.stderr, flush=True)
    return samples


def make_encoder(arguments: argparse.Namespace, samples: Samples) -> TableEncoder | None:
    """The TableEncoder for the samples, not fitted; None if they are plain numbers.

    The network of a Python file gets one-hot columns.
    """
    from ranvier.data.datasets.columns import MOST
    from ranvier.nn.embedding import ONE_HOT

    if not is_table(arguments.data) or samples.x.ndim != 2:
        return None
    if arguments.missing in (None, "error"):
        missing = None
    else:
        missing = arguments.missing
    if samples.categories is None and missing is None and not arguments.without:
        return None
    categories = samples.categories or (None,) * samples.x.shape[1]
    columns = samples.feature_names
    one_hot = ONE_HOT if arguments.model in (None, *KINDS) else None
    names = columns or list(map(str, range(len(categories))))
    without = arguments.without or ()
    encoder = rv.data.TableEncoder(categories, missing, names=columns, without=without, one_hot=one_hot)
    for name, values in zip(names, categories, strict=True):
        if one_hot is None and values is not None and len(values) > MOST:
            raise Mistake(
                f"column '{name}' has {len(values)} categories, too many for the one-hot columns that "
                f"your own network gets: --model mlp has embeddings, --without '{name}' leaves the column out"
            )
    counts = {i: f"{names[i]} ({len(values)})" for i, values in enumerate(categories) if values is not None}
    one_hot_columns = [text for i, text in counts.items() if not encoder.is_embedded(i)]
    embedded_columns = [text for i, text in counts.items() if encoder.is_embedded(i)]
    if one_hot_columns:
        print(f"columns of categories, one-hot: {', '.join(one_hot_columns)}", flush=True)
    if embedded_columns:
        print(f"columns of categories, embedded: {', '.join(embedded_columns)}", flush=True)
    return encoder
