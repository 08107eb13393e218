"""Versions of the operator set: operators that an earlier one lacks, and that a later one has."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F

pytest.importorskip("onnx", reason="onnx is not installed")

from ranvier.onnx.exporter import VERSIONS
from support.onnx_networks import drawn, flat, session

ROWS = drawn(3, 6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: F.celu(x), "opset_version 11, which has no Celu; expected a later version"),
        (lambda x: x.softmax(0), "another axis than the last .* pass opset_version=13"),
        (lambda x: rv.scatter_add(x, 1, x.argmin(1, keepdim=True), x), "pass opset_version=16|slice src"),
        (lambda x: rv.maximum(x.long(), 2), "the graph of the model is not valid: .*tensor.int64"),
    ],
)
def test_what_an_old_version_lacks(model, message):
    with pytest.raises(ValueError, match=message):
        rv.onnx.export(model, ROWS, opset_version=11)


@pytest.mark.parametrize("version", [19, 20, 23, VERSIONS[-1]])
def test_versions(version, tmp_path):
    """Later versions have other operators for some operations."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

    def model(x):
        y = F.pad(F.gelu(x).unsqueeze(0), (1, 1), "circular")
        return F.gelu(x, "tanh"), y, F.group_norm(x, 2), x.std(1)

    rv.onnx.export(model, ROWS, tmp_path / "m.onnx", opset_version=version, dynamic_axes={"x": [0]})
    given = drawn(5, 6)
    found = flat(rv.onnx.load(tmp_path / "m.onnx")(given))
    for y, z in zip(found, flat(model(rv.tensor(given))), strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)
    if version < VERSIONS[-1]:  # onnxruntime may not have the newest
        for y, z in zip(session(tmp_path / "m.onnx")(given), found, strict=True):
            np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)


def test_running_product():
    with pytest.raises(ValueError, match=r"opset_version 18, which has no CumProd; expected a later version"):
        rv.onnx.export(lambda x: x.cumprod(0), ROWS)
    assert rv.onnx.export(lambda x: x.cumprod(0), ROWS, opset_version=26).graph.node
