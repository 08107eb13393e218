"""An exported op gives in ONNX Runtime, and in this library's reader, what the op itself gives."""

from contextlib import suppress

import numpy as np
import pytest
import ranvier as rv

from properties.every import every_op, outside

pytest.importorskip("onnx", reason="onnx is not installed")

from support.onnx_networks import flat, session

LEAVES_OUT = {
    """
    RReLU BatchNorm1d BatchNorm2d SyncBatchNorm InstanceNorm2d Dropout Dropout2d AlphaDropout
    MultiheadAttention TransformerEncoderLayer TransformerDecoderLayer Transformer
    """: "exported in evaluation, where it is another function",
    "hardswish softsign gelu mish gelu_tanh": "has limits at infinity that the operators of its graph lack",
    """
    broadcast_shapes tril_indices triu_indices fill_diagonal_ apply_ normal cauchy_ exponential_
    geometric_ log_normal_ normal_ random_ uniform_ logspace scalar_tensor
    """: "has no tensor that is an input",
    "cholesky linalg_cholesky mean": "refuses values of 0, which export tries",
    """
    softshrink hardshrink silu pad index_add group_norm bucketize searchsorted reshape view
    reshape_as permute squeeze
    """: "fault: a graph for 0 dimensions, integers, NaN or no elements is refused as not valid",
}
REFUSED = {
    "grid_sample_bicubic": "has no counterpart",
    """
    heaviside rrelu gumbel_softmax argwhere as_strided diag diag_embed exp2 log2 log10 sinc deg2rad
    rad2deg signbit ceil floor trunc erfc digamma lgamma erfinv frac round mvlgamma nan_to_num
    nonzero fmax fmin atan2 hypot copysign nextafter xlogy fmod remainder floor_divide ldexp isclose
    bitwise_left_shift bitwise_right_shift fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_rfft2
    stft istft max_pool2d_with_indices avg_pool2d_divided adaptive_max_pool1d adaptive_max_pool2d
    max_unpool1d max_unpool2d interpolate grid_sample grid_sample_nearest take_along_dim
    masked_select scatter scatter_add scatter_reduce index_copy index_fill index_put put
    masked_scatter map_ AdaptiveMaxPool1d AdaptiveMaxPool2d MaxUnpool1d MaxUnpool2d EmbeddingBag
    inverse linalg_inv det logdet slogdet matrix_exp matrix_power cholesky_inverse cholesky_solve
    triangular_solve linalg_solve_triangular linalg_solve linalg_lstsq lu_solve lu_unpack lu qr
    linalg_qr pinverse linalg_pinv linalg_svdvals linalg_eigvalsh linalg_matrix_norm mse l1
    smooth_l1 huber bce bce_with_logits kl_div kl_div_of_logarithms bce_with_weights
    bce_of_logits_with_weights cross_entropy nll ctc_loss multi_margin_loss multilabel_margin_loss
    multilabel_soft_margin_loss BCELoss BCEWithLogitsLoss CrossEntropyLoss HuberLoss KLDivLoss
    L1Loss MSELoss NLLLoss SmoothL1Loss CTCLoss bernoulli binomial multinomial poisson randint_like
    result_type einsum cov_weighted corrcoef batch_norm embedding_bag dropout alpha_dropout
    dropout2d median nanmedian quantile nanquantile mode cumprod cummax cummin bincount histc
    histogram unique unique_consecutive repeat_interleave diagonal trace getitem
    attention_with_dropout
    """: "has no counterpart, in one of its samples",
}


def example(call):
    return tuple(x.numpy(force=True) for x in call.inputs)


def compare(sample, tmp_path):
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
    with suppress(ImportError):
        runs.append(session(path))
    for run in runs:
        for y, z in zip(flat(run(*given)), wanted, strict=True):
            assert (y.dtype, y.shape) == (z.dtype, z.shape)
            np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)


@every_op(LEAVES_OUT, only=outside(REFUSED))
def test_onnx(sample, tmp_path):
    compare(sample, tmp_path)


@every_op({}, only=lambda op: any(op.name in names.split() for names in REFUSED))
def test_onnx_refused(sample, tmp_path):
    """A sample that has no counterpart is refused before a file is written."""
    error = ""
    try:
        compare(sample, tmp_path)
    except (rv.CaptureError, ValueError) as raised:
        error = str(raised)
    assert error.startswith("[onnx.export] ") == (not [*tmp_path.glob(f"{sample.number}.onnx")])
