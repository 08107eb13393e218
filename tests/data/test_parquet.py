"""Tables in Parquet files and in arrays, and the packages that they need."""

import importlib
import sys
from io import StringIO

import numpy as np
import pytest
from ranvier.data import load
from ranvier.data.datasets import load_csv, load_images, load_npz
from support.refused import refused

PETS = "weight,height,kind\n4.5,25,cat\n30,60,dog\n5,24,cat\n"


def test_columns_of_parquet_files(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    frame = pandas.DataFrame({"id": [3, 4], "size": [1.5, 2.5], "kind": ["a", "b"]})
    frame.set_index("id").to_parquet(tmp_path / "t.parquet")
    found = load_csv(tmp_path / "t.parquet")
    assert (found.feature_names, found.x.tolist()) == (("id", "size"), [[3, 1.5], [4, 2.5]])


CELLS = {  # columns of a table, and what the error says
    "lists": ({"f": [[1.0, 2.0], [3.0, 4.0]], "y": [0, 1]}, "column 'f' holds ndarray, such as '[1. 2.]'"),
    "structs": ({"f": [None, {"a": 1}], "y": [0, 1]}, "column 'f' holds dict"),
    "bytes": ({"f": [b"a", b"b"], "y": [0, 1]}, "without=['f'] leaves the column out"),
    "levels": ({("a", "0"): [1, 2], ("a", "1"): [1, 2]}, "names of 2 levels, such as ('a', '0'); expected"),
}


@pytest.mark.parametrize("kind", CELLS)
def test_cells_of_other_kinds(kind, tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    columns, message = CELLS[kind]
    pandas.DataFrame(columns).to_parquet(tmp_path / "t.parquet")
    refused(ValueError, message, load, tmp_path / "t.parquet", categories=True)
    refused(ValueError, "a folder of Parquet files; expected one file", load, tmp_path)
    if kind != "levels":
        refused(ValueError, "no columns beside the label", load, tmp_path / "t.parquet", without=["f"])


def test_texts_and_names_of_parquet_files(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pandas.DataFrame({"f": [1.5, 2], "y": ["a\rb", 'c,"\nd']}).to_parquet(tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet").class_names == ("a\rb", 'c,"\nd')
    columns = arrow.Table.from_arrays([arrow.array([1, 2])] * 2, ["f", "f"])
    importlib.import_module("pyarrow.parquet").write_table(columns, tmp_path / "t.parquet")
    refused(ValueError, "has columns of the same name", load, tmp_path / "t.parquet")


@pytest.mark.parametrize("what", [StringIO("1,2"), None, {"a": [1]}], ids=["file", "None", "dict"])
def test_paths_that_are_none(what):
    for read in (load, load_csv, load_npz, load_images):
        refused(TypeError, f"got {type(what).__name__}; expected the path of a file or folder", read, what)
    refused(FileNotFoundError, "download it first", load, "https://example.org/t.csv")


def test_arrays_and_parquet_files(tmp_path, monkeypatch):
    np.save(tmp_path / "t.npy", np.array([[1.5, 2, 0], [3, 4, 1]]))
    found = load(tmp_path / "t.npy")
    assert (found.x.tolist(), found.class_names) == ([[1.5, 2], [3, 4]], ("0", "1"))
    assert load(tmp_path / "t.npy", None).x.shape == (2, 3)
    assert load(tmp_path / "t.npy", 0, task="regression").y.tolist() == [1.5, 3]
    np.save(tmp_path / "t.npy", np.zeros((2, 3, 4)))
    refused(ValueError, "expected (n, columns) with the targets in column -1", load, tmp_path / "t.npy")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")

    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    monkeypatch.setattr(pandas, "read_parquet", lambda path: pandas.read_csv(StringIO(PETS)))
    assert load(tmp_path / "t.parquet").class_names == ("cat", "dog")
    monkeypatch.setattr(pandas, "read_parquet", lambda path: pandas.DataFrame({"0": [0, 1], "1": [0, 1]}))
    assert load(tmp_path / "t.parquet").feature_names == ("0",)

    def refuse(path):
        raise ImportError("no engine")

    monkeypatch.setattr(pandas, "read_parquet", refuse)
    refused(
        ImportError,
        "pip install 'ranvier[data]' pyarrow (no engine)",
        load,
        tmp_path / "t.parquet",
    )
    monkeypatch.setitem(sys.modules, "pandas", None)
    refused(ImportError, "pip install 'ranvier[data]'", load, tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text(PETS)
    refused(ImportError, "pip install 'ranvier[data]'", load, tmp_path / "t.csv")
    assert load(tmp_path / "t.npy", None).x.shape == (2, 3, 4)  # arrays need no pandas
