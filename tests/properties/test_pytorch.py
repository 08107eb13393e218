"""PyTorch as the judge: values, dtypes and gradients of each sample, where torch is installed."""

import operator

import numpy as np
import ranvier as rv

from properties.every import every_op, weights_for

LEAVES_OUT = {
    """
    hardsigmoid hardswish softsign gelu silu mish sign digamma ldexp scatter index_copy
    cholesky_inverse cholesky_solve kthvalue
    """: "another value by intention: at NaN, infinity, equal elements, or one of two places",
    """
    gelu_tanh heaviside round maximum minimum fmax fmin atan2 hypot logaddexp copysign nextafter
    fmod remainder floor_divide logical_and logical_or logical_xor fft_fft fft_ifft fft_rfft
    fft_irfft fft_fft2 fft_rfft2 stft istft conv2d adaptive_max_pool1d scatter_add scatter_reduce
    index_fill cholesky linalg_cholesky triangular_solve lu_solve lu qr linalg_eigvalsh kl_div
    cross_entropy cosine_embedding ctc_loss hinge_embedding_loss batch_norm instance_norm embedding
    embedding_bag logsumexp var std var_mean std_mean reshape flip permute tile repeat_interleave
    meshgrid
    """: "is called in another way, or warns",
}
LOSSES = "mse l1 smooth_l1 huber nll poisson_nll gaussian_nll cosine_embedding margin_ranking triplet_margin"
OTHER_NAMES = {name: f"nn.functional.{name}_loss" for name in LOSSES.split()} | {
    "getitem": "Tensor.__getitem__",
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


@every_op(LEAVES_OUT, only=lambda op: not op.draws and not op.name[0].isupper())
def test_pytorch(sample, torch):
    call, leaves = sample.tensors(rv.float64), []
    function = counterpart(torch, sample.op)
    args = converted(torch, call.args, leaves)
    settings = {name: converted(torch, value, leaves) for name, value in call.settings.items()}
    theirs = tensors_in(torch, function(*args, **settings))
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
    if moving and sample.is_smooth:
        ws = [weights_for(y, 1) for y, _ in moving]
        mine = rv.autograd.grad(
            [y for y, _ in moving], call.leaves, ws, allow_unused=True, materialize_grads=True
        )
        other = torch.autograd.grad(
            [z for _, z in moving],
            leaves,
            [torch.from_numpy(w.numpy()) for w in ws],
            allow_unused=True,
            materialize_grads=True,
        )
        for y, z in zip(mine, other, strict=True):
            np.testing.assert_allclose(y.numpy(), z.numpy(), 1e-8, 1e-9)
