"""An exported op gives in ONNX Runtime, and in this library's reader, what the op gives; others are refused."""

import numpy as np
import pytest
import ranvier as rv

from properties.every import every_op

pytest.importorskip("onnx", reason="onnx is not installed")

from support.onnx_networks import flat, session

LEAVES_OUT: dict[str, str] = {}
REFUSED: dict[str, str] = {}


def example(call):
    return tuple(x.numpy(force=True) for x in call.inputs)


@every_op(REFUSED | LEAVES_OUT)
def test_onnx(sample, tmp_path):
    call = sample.tensors(rv.float32, records=False)
    path, given = tmp_path / f"{sample.number}.onnx", example(call)
    function = call.of_inputs()
    rv.onnx.export(
        lambda *xs: tuple(function(*xs)),
        given,
        path,
        opset_version=20,
        input_names=[f"x{i}" for i in range(len(given))],
    )
    wanted = flat(tuple(call.with_inputs(*map(rv.tensor, given))))
    runs = [rv.onnx.load(path)]
    try:
        runs.append(session(path))
    except ImportError:
        pass
    for run in runs:
        for y, z in zip(flat(run(*given)), wanted, strict=True):
            assert (y.dtype, y.shape) == (z.dtype, z.shape)
            np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)
