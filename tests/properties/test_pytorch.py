"""PyTorch as the judge: values, dtypes and gradients of each sample, where torch is installed."""

import operator

import numpy as np
import pytest
import ranvier as rv

from properties.every import every_op, weights_for

pytestmark = pytest.mark.filterwarnings("ignore")  # of PyTorch, and of NumPy about infinity

LEAVES_OUT = {
    """
    hardsigmoid hardswish softsign gelu silu mish sign digamma ldexp scatter index_copy
    cholesky_inverse cholesky_solve kthvalue
    """: "another value by intention: at NaN, infinity, equal elements, or one of two places",
    """
    gelu_tanh fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_rfft2 istft adaptive_max_pool1d
    linalg_cholesky linalg_eigvalsh cross_entropy cosine_embedding ctc_loss hinge_embedding_loss
    embedding
    """: "is called in another way",
}
TIES = [-1.0, 0.0, 1.0, 2.0]
AT_TIES = {
    """
    logit addcdiv inverse linalg_inv det logdet slogdet linalg_solve_triangular linalg_solve bce
    poisson_nll bce_with_weights gaussian_nll cov_weighted topk quantile nanquantile histogram
    cholesky kl_div
    """: "takes no such numbers, or has no one place or slope there",
}
AT_NAN = {
    """
    hardtanh softshrink hardshrink elu selu celu abs logit addcmul addcdiv interpolate
    grid_sample grid_sample_bicubic grid_sample_nearest inverse linalg_inv det logdet slogdet
    linalg_solve_triangular linalg_solve linalg_lstsq linalg_qr pinverse linalg_pinv
    linalg_svdvals linalg_matrix_norm linalg_vector_norm bce poisson_nll bce_with_weights
    gaussian_nll multi_margin_loss multilabel_margin_loss dist renorm cov_weighted
    scaled_dot_product_attention batch_norm_of_running_statistics pairwise_distance topk
    quantile nanquantile mode cumprod bucketize searchsorted histc histogram norm prod
    relu6 conv1d conv_transpose1d conv_transpose2d matrix_power l1 logcumsumexp nanmean trapezoid
    conv2d cholesky kl_div lu qr stft
    """: "takes no NaN, or gives NaN where PyTorch gives another number, or the reverse",
}
AT_INFINITY = {
    """
    logit addcmul addcdiv interpolate grid_sample grid_sample_bicubic inverse linalg_inv det
    logdet slogdet matrix_exp matrix_power linalg_solve_triangular linalg_solve linalg_lstsq
    linalg_qr pinverse linalg_pinv linalg_svdvals linalg_matrix_norm bce bce_with_logits
    poisson_nll kl_div_of_logarithms bce_with_weights bce_of_logits_with_weights gaussian_nll
    soft_margin_loss multi_margin_loss multilabel_soft_margin_loss cdist pdist cov_weighted
    scaled_dot_product_attention batch_norm_of_running_statistics rms_norm pairwise_distance
    topk quantile nanquantile cumprod logcumsumexp histc histogram norm prod trapezoid
    conv1d conv_transpose1d conv_transpose2d l1
    conv2d cholesky kl_div copysign logaddexp lu lu_solve qr std_mean stft triangular_solve var_mean
    """: "takes no infinity, or has its limit or another order of sums where one of both gives NaN",
}
LOSSES = "mse l1 smooth_l1 huber nll poisson_nll gaussian_nll cosine_embedding margin_ranking triplet_margin"
OTHER_NAMES = {name: f"nn.functional.{name}_loss" for name in LOSSES.split()} | {
    "kl_div": "nn.functional.kl_div",
    "bce": "nn.functional.binary_cross_entropy",
    "bce_with_weights": "nn.functional.binary_cross_entropy",
    "bce_with_logits": "nn.functional.binary_cross_entropy_with_logits",
    "bce_of_logits_with_weights": "nn.functional.binary_cross_entropy_with_logits",
}


def counterpart(torch, op):
    """PyTorch's function of the name; of a layer its class."""
    path = OTHER_NAMES.get(op.name, op.of)
    if path and isinstance(path, str):
        return operator.attrgetter(path)(torch)
    for place in (torch, torch.nn.functional, torch.Tensor):
        if hasattr(place, op.name):
            return getattr(place, op.name)
    raise AttributeError(op.name)


def converted(torch, value, leaves):
    if isinstance(value, (list, tuple)):
        return type(value)(converted(torch, part, leaves) for part in value)
    if isinstance(value, rv.Tensor):
        tensor = torch.from_numpy(value.numpy(force=True).copy())
        leaves += [tensor.requires_grad_()] if value.requires_grad else []
        return tensor
    if isinstance(value, rv.dtype):
        return getattr(torch, str(value).split(".")[-1])
    return value


def tensors_in(torch, value):
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in tensors_in(torch, part)]
    return [value] if isinstance(value, torch.Tensor) else []


def is_function(op):
    return not op.draws and not op.name[0].isupper()


def compare(call, torch, of_gradients):
    """Values, dtypes and gradients of the call here and there; both may refuse it."""
    leaves = []
    function = counterpart(torch, call.sample.op)
    args = converted(torch, call.args, leaves)
    settings = {name: converted(torch, value, leaves) for name, value in call.settings.items()}
    try:
        theirs = tensors_in(torch, function(*args, **settings))
    except (TypeError, NotImplementedError):  # it takes no number or no integers there, or has other names
        return
    ours = call()
    close = {rv.float64: 1e-9, rv.float32: 1e-5}
    for y, z in zip(ours, theirs, strict=True):
        assert (str(y.dtype), tuple(y.shape), y.requires_grad) == (
            str(z.dtype),
            tuple(z.shape),
            z.requires_grad,
        )
        limit = close.get(y.dtype, 0)
        np.testing.assert_allclose(y.numpy(force=True), z.detach().numpy(), limit, limit)
    moving = [(y, z) for y, z in zip(ours, theirs, strict=True) if y.requires_grad]
    if moving and of_gradients:
        ws = [weights_for(y, 1) for y, _ in moving]
        mine = rv.autograd.grad(
            [y for y, _ in moving], call.leaves, ws, allow_unused=True, materialize_grads=True
        )
        try:
            other = torch.autograd.grad(
                [z for _, z in moving],
                leaves,
                [torch.from_numpy(w.numpy()) for w in ws],
                allow_unused=True,
                materialize_grads=True,
            )
        except RuntimeError:  # it has no gradient, or none where a source is larger than the index
            return
        for y, z in zip(mine, other, strict=True):
            np.testing.assert_allclose(y.numpy(), z.numpy(), 1e-8, 1e-9)


@every_op(LEAVES_OUT, only=is_function)
def test_pytorch(sample, torch):
    compare(sample.tensors(rv.float64), torch, sample.is_smooth)


def with_drawn(sample, values):
    """The call with floats that are drawn from these values."""
    call, draw = sample.tensors(rv.float64), np.random.default_rng(0)
    with rv.no_grad():
        for x in call.inputs:
            if x.is_floating_point():
                x.copy_(rv.tensor(draw.choice(values, x.shape)))
    return call


@every_op(LEAVES_OUT | AT_TIES, only=is_function)
def test_ties(sample, torch):
    compare(with_drawn(sample, TIES), torch, True)


@every_op(LEAVES_OUT | AT_NAN, only=is_function)
def test_beside_nan(sample, torch):
    compare(with_drawn(sample, [*TIES, np.nan]), torch, True)


@every_op(LEAVES_OUT | AT_INFINITY, only=is_function)
def test_beside_infinity(sample, torch):
    compare(with_drawn(sample, [*TIES, np.inf, -np.inf]), torch, True)
