"""An op as ONNX gives in ONNX Runtime, and in the reader here, what the op itself gives, or it is refused."""

import os
import re
from contextlib import suppress

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

from properties.every import every_op

pytest.importorskip("onnx", reason="onnx is not installed")

from support.onnx_networks import flat, session
from support.tolerance import close

LEAVES_OUT = {
    "hardswish softsign gelu mish gelu_tanh silu": "has limits at infinity that its graph lacks",
    "bucketize searchsorted": "takes sorted numbers, and export tries others",
}
# The first sample of these is refused. Of the others, only settings and integers may be.
REFUSED = {
    """
    heaviside gumbel_softmax argwhere as_strided diag diag_embed exp2 log2 log10 sinc deg2rad
    rad2deg trunc erfc digamma lgamma erfinv frac mvlgamma nonzero fmax fmin atan2 hypot copysign
    nextafter xlogy bitwise_left_shift bitwise_right_shift fft_fft fft_ifft fft_rfft fft_irfft
    fft_fft2 fft_rfft2 stft istft max_pool2d_with_indices max_unpool1d max_unpool2d grid_sample
    grid_sample_bicubic grid_sample_nearest take_along_dim masked_select index_put masked_scatter
    map_ AdaptiveMaxPool1d AdaptiveMaxPool2d MaxUnpool1d MaxUnpool2d EmbeddingBag inverse linalg_inv
    det logdet slogdet matrix_exp cholesky_inverse cholesky_solve triangular_solve
    linalg_solve_triangular linalg_solve linalg_lstsq lu_solve lu_unpack lu qr linalg_qr pinverse
    linalg_pinv linalg_svdvals linalg_eigvalsh mse l1 smooth_l1 huber bce bce_with_logits kl_div
    kl_div_of_logarithms bce_with_weights bce_of_logits_with_weights cross_entropy nll ctc_loss
    multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss BCELoss BCEWithLogitsLoss
    CrossEntropyLoss HuberLoss KLDivLoss L1Loss MSELoss NLLLoss SmoothL1Loss CTCLoss bernoulli
    binomial multinomial poisson cov_weighted batch_norm embedding_bag dropout2d nanmedian quantile
    nanquantile mode cumprod cummax cummin bincount histc histogram unique unique_consecutive
    diagonal trace signbit fmod remainder floor_divide ldexp isclose adaptive_max_pool1d
    adaptive_max_pool2d index_copy index_fill put randint_like corrcoef dropout alpha_dropout median
    attention_with_dropout
    """: "has no counterpart",
    """
    broadcast_shapes tril_indices triu_indices fill_diagonal_ apply_ normal cauchy_ exponential_
    geometric_ log_normal_ normal_ random_ uniform_ logspace scalar_tensor result_type
    """: "has no tensor that is an input, or none that is a result",
    "cholesky linalg_cholesky": "takes positive-definite matrices, and export tries others",
}
COUNTERPART = (
    "no counterpart|without a counterpart|reads a value|depends on the inputs|later version|in place by"
)
REFUSAL = re.compile(
    rf"\[[\w.]+\] .*({COUNTERPART}|no tensor among|without results|positive-definite|singular)", re.DOTALL
)
OF_SIZES = re.compile(r"\[onnx\.export\] .*(of sizes|of a dynamic axis|for all sizes)", re.DOTALL)


def is_among(op, reasons):
    return any(op.name in names.split() for names in reasons)


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
                np.concatenate([x, x[:1]]) if name in axes else x
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
            assert bool(refusal) == is_among(sample.op, REFUSED)
        runs = [] if refusal else [rv.onnx.load(path)]
        with suppress(ImportError):
            runs += [] if refusal else [session(path)]
        for given in inputs:
            wanted = flat(tuple(call.with_inputs(*map(rv.tensor, given))))
            for run in runs:
                for y, z in zip(flat(run(*given)), wanted, strict=True):
                    assert (y.dtype, y.shape) == (z.dtype, z.shape)
                    close(y, z, 1e-5, 1e-5)
