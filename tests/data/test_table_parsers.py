"""Tables give the same samples or the same error, whether pandas parses them or the csv module."""

import gzip
import random
import sys

import pytest
import ranvier as rv
from ranvier.data import datasets

CELLS = {
    "number": ["1", "-2.5", "+3", " 4 ", ".5", "6.", "1e-3", "1E5", "0.1", "123456789", "3.4e38", "007"],
    "large": ["1e39", "1e400", "9007199254740993", "18446744073709551615", "18446744073709551616", "-1e30"],
    "comma": ["1,5", "-2,25", "3", "1.5", "1.000,5"],
    "missing": ["", " ", "NA", "na ", "N/A", "nan", "NaN", "NULL", "None", "?", "-", "nAn"],
    "word": [
        "ant",
        "bee ",
        " cat",
        "Ant",
        "True",
        "true",
        "FALSE",
        "inf",
        "-Infinity",
        "0x10",
        "1_000",
        "é",
        "--",
    ],
    "date": ["2024-01-05", "5.1.2024", "12:30"],
    "odd": ['"ant"', '"a,b"', '"1"', "a b", "1 2", "1%", "\u0663", "ant\xa0", "#N/A", "<NA>", "#1"],
}
MIXTURES = [
    ["number"],
    ["number", "missing"],
    ["word"],
    ["word", "missing"],
    ["comma"],
    ["comma", "missing"],
    ["number", "large"],
    ["number", "word"],
    ["number", "date"],
    ["odd", "word"],
    ["odd", "number"],
]
COUNT = 150
LINES = ["\n", "\r\n", "\n\n", "\n \n", "\n\t\n", "\r", "\x0b"]


def text_of(draw):
    """A random table: each column has cells of one or two kinds; few tables have a line of another length."""
    width, rows = draw.randint(1, 4), draw.randint(1, 12)
    plain = draw.random() < 0.6
    kinds = [draw.choice(MIXTURES[:4] if plain else MIXTURES) for _ in range(width)]
    delimiter = draw.choice([",", ",", ";", "\t"])
    lines = [[draw.choice(CELLS[draw.choice(kind)]) for kind in kinds] for _ in range(rows)]
    if draw.random() < 0.1:
        line = draw.choice(lines)
        line[:] = line[1:] if draw.random() < 0.5 else [*line, "1"]
    if draw.random() < 0.7:
        lines.insert(0, [f"c{i}" for i in range(width)])
    end = draw.choice(LINES) if draw.random() < 0.4 else "\n"
    start = "\n" if draw.random() < 0.1 else ""
    return start + end.join(delimiter.join(line) for line in lines) + draw.choice([end, "", "\n"])


def settings_of(draw):
    return {
        "label": draw.choice(["auto", None, 0, -1]),
        "task": draw.choice(["auto", "auto", "classification", "regression"]),
        "missing": draw.choice(["error", "drop", "keep", "keep"]),
        "categories": draw.choice([False, True, True, True, ["c0"], {"c0": ["ant", "bee"], "c1": None}]),
        "decimal": draw.choice([".", ".", ".", ","]),
        "delimiter": draw.choice([None, None, None, ","]),
    }


def result(path, settings):
    label = settings["label"]
    try:
        found = datasets.load_csv(path, label, **{k: v for k, v in settings.items() if k != "label"})
    except (ValueError, TypeError) as error:
        return type(error).__name__, str(error)
    rows = None if found.rows is None else found.rows.tolist()
    arrays = tuple(
        None if array is None else (array.dtype.str, array.shape, array.tobytes())
        for array in (found.x, found.y)
    )
    return arrays, found.class_names, found.feature_names, found.categories, rows, found.target


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_random_tables(tmp_path, monkeypatch, encoding):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frames, read_csv = [], pandas.read_csv
    monkeypatch.setattr(pandas, "read_csv", lambda *a, **k: frames.append(1) or read_csv(*a, **k))
    path, draw, good = tmp_path / "t.csv", random.Random(encoding), 0
    for number in range(COUNT):
        text, settings = text_of(draw), settings_of(draw)
        path.write_bytes(text.encode(encoding))
        monkeypatch.setattr(datasets.columns, "LARGE", float("inf"))
        expected = result(path, settings)
        monkeypatch.setattr(datasets.columns, "LARGE", 0)
        assert result(path, settings) == expected, (number, text, settings)
        good += isinstance(expected[0], tuple)
    assert good > COUNT // 12
    assert len(frames) > COUNT // 2


def test_a_large_table_in_chunks(tmp_path, monkeypatch):
    """pandas infers types for each chunk of a long column: the last cell decides all the same."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    path, n = tmp_path / "t.csv.gz", 150_000
    for last in ("7", "2.5", "True", "ant", "NA", "18446744073709551616", "1e400", "7,1"):
        column = ["1"] * (n - 1) + [last]
        path.write_bytes(
            gzip.compress(("a,y\n" + "".join(f"{c},{i % 2}\n" for i, c in enumerate(column))).encode(), 1)
        )
        settings = {"label": "auto", "missing": "keep", "categories": True}
        monkeypatch.setattr(datasets.columns, "LARGE", float("inf"))
        expected = result(path, settings)
        monkeypatch.setattr(datasets.columns, "LARGE", 0)
        assert result(path, settings) == expected, last


@pytest.mark.parametrize("notebook", [False, True])
def test_progress_of_a_long_read(tmp_path, monkeypatch, notebook):
    """A bar over the characters after a second, on a terminal and in a notebook."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    import tqdm.auto

    bars = []

    class Bar(tqdm.tqdm):
        def __init__(self, **settings):
            bars.append((settings, self))
            super().__init__(**settings)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    monkeypatch.setattr(datasets.columns, "LARGE", 0)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", tqdm)
    (tmp_path / "t.csv").write_text("a,label\n" + "1.5,0\n2.5,1\n" * 10)
    rv.data.load(tmp_path / "t.csv")
    (settings, bar), *_ = bars
    assert settings["desc"] == "reading t.csv"
    assert (settings["total"], settings["delay"], settings["disable"]) == (120, 1, not notebook)
    assert bar.disable or bar.n == 120
    assert bar.n == 120 or not notebook
