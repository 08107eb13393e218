"""An op as ONNX gives in ONNX Runtime, and in the reader here, what the op itself gives, or it is refused."""

import os
import re
from contextlib import suppress

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

from properties.every import every_op, lacks

pytest.importorskip("onnx", reason="onnx is not installed")

from support.onnx_networks import flat, session
from support.tolerance import close

LEAVES_OUT = {
    "hardswish softsign gelu mish gelu_tanh silu": "has limits at infinity that its graph lacks",
    "bucketize searchsorted": "takes sorted numbers, and export tries others",
}
# For ops with a counterpart, only settings and integers may be refused.
COUNTERPART = (
    "no counterpart|without a counterpart|reads a value|depends on the inputs|later version|in place by"
)
REFUSAL = re.compile(
    rf"\[[\w.]+\] .*({COUNTERPART}|no tensor among|without results|positive-definite|singular)", re.DOTALL
)
OF_SIZES = re.compile(r"\[onnx\.export\] .*(of sizes|of a dynamic axis|for all sizes)", re.DOTALL)


def written(call, example, path, version):
    """Writes the file, with a dynamic first axis if the op takes any size there.

    Inputs to compare with, or why it is refused.
    """
    function = call.of_inputs()
    names = [f"x{i}" for i in range(len(example))]
    rows = len(example[0]) if example and example[0].ndim else 0
    batches = {name: {0: "n"} for name, x in zip(names, example, strict=True) if x.ndim and len(x) == rows}
    for axes in (batches, {}) if rows > 1 else ({},):
        try:
            rv.onnx.export(
                lambda *xs: tuple(function(*xs)),
                example,
                path,
                input_names=names,
                dynamic_axes=axes,
                opset_version=version,
            )
        except (ValueError, TypeError) as error:
            refusal = str(error)
            if not OF_SIZES.match(refusal):
                return [], refusal
        else:
            more = [
                np.concatenate([x, x]) if name in axes else x  # some ops take multiples alone
                for name, x in zip(names, example, strict=True)
            ]
            return [example, tuple(more)], ""
    return [], refusal


@every_op(LEAVES_OUT)
def test_onnx(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # as nothing is kept
    call, path = sample.tensors(rv.float32, records=False), tmp_path / "op.onnx"
    for module in call.args:
        if isinstance(module, nn.Module):
            module.eval()
    for version in (20, 11) if sample.number == 0 else (20,):
        inputs, refusal = written(call, tuple(x.numpy(force=True) for x in call.inputs), path, version)
        assert not refusal or REFUSAL.match(refusal)
        if version == 20 and sample.number == 0:
            assert bool(refusal) == lacks(sample, "ONNX")
        runs = [] if refusal else [rv.onnx.load(path)]
        with suppress(ImportError):
            runs += [] if refusal else [session(path)]
        for given in inputs:
            wanted = flat(tuple(call.with_inputs(*map(rv.tensor, given))))
            for run in runs:
                for y, z in zip(flat(run(*given)), wanted, strict=True):
                    assert (y.dtype, y.shape) == (z.dtype, z.shape)
                    close(y, z, 1e-5, 1e-5)
