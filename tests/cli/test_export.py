"""`ranvier export`: a model file as an ONNX file or as C."""

import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.safetensors"
    rv.save(
        nn.Sequential(nn.Flatten(), nn.Linear(6, 2)),
        path,
        input_shape=(2, 3),
        class_names=["cat", "dog"],
        preprocessing=[rv.data.MinMaxScaler(0, 16)],
        link="softmax",
    )
    return path


def test_the_network_and_what_is_around_it(model_file, tmp_path, works):
    pytest.importorskip("onnx", reason="onnx is not installed")
    file = tmp_path / "new" / "model.onnx"
    assert works("export", model_file, file).out == (
        "input       x: batch x 2x3, float32\noutput      output: batch x 2\nclasses     cat, dog\n"
        f"before it   MinMaxScaler (low 0, high 16)\nafter it    softmax\nwritten to  {file}\n"
    )
    x = np.random.default_rng(0).random((5, 2, 3), np.float32)
    found, model = rv.onnx.load(file), rv.load(model_file)
    np.testing.assert_allclose(found(x).detach().numpy(), model(x).detach().numpy(), 1e-5, 1e-6)


def test_a_network_as_c(model_file, tmp_path, works):
    assert works("export", model_file, tmp_path / "net.c").out.startswith(
        "functions   net_predict: input 1x2x3, float32\nclasses     cat"
    )
    (tmp_path / "own").mkdir()
    rv.export.c(rv.load(model_file), tmp_path / "own" / "net.c", rv.zeros(1, 2, 3))
    for name in ("net.c", "net.h"):
        assert (tmp_path / name).read_text() == (tmp_path / "own" / name).read_text()


def test_mistakes(model_file, tmp_path, refused):
    bare = tmp_path / "bare"
    rv.save(nn.Sequential(nn.ReLU()), bare)
    for arguments, message in (
        ([str(tmp_path / "none"), str(tmp_path / "a.onnx")], "no such file"),
        ([str(model_file), str(model_file)], "which is read; writing it would destroy the input"),
        ([str(model_file), str(tmp_path)], "is a folder; expected a file to write"),
        ([str(model_file), str(tmp_path / "a.cpp")], "ends in '.cpp'; expected .onnx, or .c for C"),
        ([str(model_file), str(tmp_path / "a")], "ends in ''; expected .onnx, or .c for C"),
        ([str(bare), str(tmp_path / "a.onnx")], "does not say what its input is; pass --input-shape"),
    ):
        assert message in refused("export", *arguments)


def test_without_the_package(model_file, tmp_path, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "ONNX files need onnx: pip install 'ranvier[onnx]'" in refused(
        "export", model_file, tmp_path / "a.onnx"
    )
    assert not (tmp_path / "a.onnx").exists()
