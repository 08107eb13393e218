"""Tables in Parquet files and in arrays, and the packages that they need."""

import sys
from io import StringIO

import numpy as np
import pytest
from ranvier.data import load
from ranvier.data.datasets import load_csv
from support.refused import refused

PETS = "weight,height,kind\n4.5,25,cat\n30,60,dog\n5,24,cat\n"


def test_columns_of_parquet_files(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    frame = pandas.DataFrame({"id": [3, 4], "size": [1.5, 2.5], "kind": ["a", "b"]})
    frame.set_index("id").to_parquet(tmp_path / "t.parquet")
    found = load_csv(tmp_path / "t.parquet")
    assert (found.feature_names, found.x.tolist()) == (("id", "size"), [[3, 1.5], [4, 2.5]])


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
