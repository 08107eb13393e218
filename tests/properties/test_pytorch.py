"""PyTorch as the judge: values, dtypes and gradients of each sample, where torch is installed."""

import operator
import warnings

import numpy as np
import ranvier as rv
from samples.arrange import unfolded
from samples.index import written
from samples.linalg import of_lower, of_symmetric

from properties.every import apart, every_op, weights_for

LEAVES_OUT: dict[str, str] = {}
AT_LIMITS = "hardswish softsign gelu gelu_tanh silu mish sign"  # PyTorch: NaN at infinity, or of NaN a number
VALUES_ALONE = """
    scatter index_copy cholesky_inverse cholesky_solve ldexp hardsigmoid ctc_loss heaviside remainder
    floor_divide
"""  # gradients of one of several places, of a triangle, of 1 / 6 in float32; PyTorch has none
OTHER_THERE = """
    hardsigmoid hardswish softsign gelu gelu_tanh silu mish sign digamma ldexp scatter index_copy
    cholesky_inverse cholesky_solve kthvalue
"""  # another value by intention: at NaN, infinity, equal elements, or one of two places
TIES = [-1.0, 0.0, 1.0, 2.0]
LOSSES = "mse l1 smooth_l1 huber nll poisson_nll gaussian_nll cosine_embedding margin_ranking triplet_margin"
OTHER_NAMES = {name: f"nn.functional.{name}_loss" for name in LOSSES.split()} | {
    "getitem": "Tensor.__getitem__",
    "kl_div": "nn.functional.kl_div",
    "bce": "nn.functional.binary_cross_entropy",
    "bce_with_weights": "nn.functional.binary_cross_entropy",
    "bce_with_logits": "nn.functional.binary_cross_entropy_with_logits",
    "bce_of_logits_with_weights": "nn.functional.binary_cross_entropy_with_logits",
    "gelu_tanh": "nn.functional.gelu",
    "adaptive_max_pool1d": "nn.functional.adaptive_max_pool1d",
    "batch_norm": "nn.functional.batch_norm",
    "instance_norm": "nn.functional.instance_norm",
    "embedding": "nn.functional.embedding",
    "embedding_bag": "nn.functional.embedding_bag",
    "ctc_loss": "nn.functional.ctc_loss",
    "hinge_embedding_loss": "nn.functional.hinge_embedding_loss",
}
METHODS = "reshape flip permute tile"  # whose functions take sizes and dimensions otherwise


def of_pairs(torch, function):
    """The function of complex numbers, for pairs of their parts."""
    return lambda x, *args, **settings: function(torch.view_as_complex(x), *args, **settings)


def with_all_dimensions(torch):
    def logsumexp(x, dim=None, keepdim=False):
        return torch.logsumexp(x, tuple(range(x.ndim)) if dim is None else dim, keepdim)

    return logsumexp


WRAPPED = {
    "cholesky": lambda torch: of_symmetric(torch.linalg.cholesky),
    "linalg_cholesky": lambda torch: of_symmetric(torch.linalg.cholesky),
    "linalg_eigvalsh": lambda torch: of_symmetric(torch.linalg.eigvalsh),
    "cholesky_inverse": lambda torch: of_lower(torch.cholesky_inverse),
    "cholesky_solve": lambda torch: of_lower(torch.cholesky_solve),
    "fft_fft": lambda torch: of_pairs(torch, torch.fft.fft),
    "fft_ifft": lambda torch: of_pairs(torch, torch.fft.ifft),
    "fft_irfft": lambda torch: of_pairs(torch, torch.fft.irfft),
    "fft_fft2": lambda torch: of_pairs(torch, torch.fft.fft2),
    "istft": lambda torch: of_pairs(torch, torch.istft),
    "logsumexp": with_all_dimensions,
    "unfold_along": lambda torch: unfolded,
    "setitem": lambda torch: written,
}
WITH_TENSORS = """
    maximum minimum fmax fmin atan2 hypot logaddexp copysign nextafter fmod logical_and logical_or
    logical_xor ldexp
"""  # which take no Python numbers


def counterpart(torch, op):
    """PyTorch's function of the name; of a layer its class."""
    if op.name in WRAPPED:
        return WRAPPED[op.name](torch)
    path = OTHER_NAMES.get(op.name, op.of)
    if path and isinstance(path, str):
        return operator.attrgetter(path)(torch)
    for place in (torch, torch.nn.functional):
        if hasattr(place, op.name) and op.name not in METHODS.split():
            return getattr(place, op.name)
    if not hasattr(torch.Tensor, op.name):
        raise AttributeError(f"PyTorch has no {op.name}; expected a row of WRAPPED, its formula")
    return lambda x, *args, **settings: getattr(x, op.name)(*args, **settings)


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
    if not isinstance(value, torch.Tensor):
        return []
    return [torch.view_as_real(value.resolve_conj()) if value.is_complex() else value]


def answer(torch, call):
    """What PyTorch gives for the call, and its leaves."""
    leaves = []
    args = converted(torch, call.args, leaves)
    if call.sample.op.name in WITH_TENSORS.split():
        args = [x if isinstance(x, torch.Tensor) else torch.tensor(x) for x in args]
    settings = {name: converted(torch, value, leaves) for name, value in call.settings.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tensors_in(torch, counterpart(torch, call.sample.op)(*args, **settings)), leaves


def is_function(op):
    return not op.draws and not op.name[0].isupper()


def compare(call, torch, of_gradients):
    """Values, dtypes and gradients of the call here and there."""
    name = call.sample.op.name
    try:
        theirs, leaves = answer(torch, call)
    except NotImplementedError:
        return  # PyTorch has no such op of integers
    ours = call()
    close = {rv.float64: 1e-9, rv.float32: 1e-5}
    for y, z in zip(ours, theirs, strict=True):
        assert (str(y.dtype), tuple(y.shape)) == (str(z.dtype), tuple(z.shape))
        assert y.requires_grad == z.requires_grad
        limit = close.get(y.dtype, 0)
        y, z = y.numpy(force=True), z.detach().numpy()
        if name in AT_LIMITS.split():
            z = np.where(np.isnan(y) == np.isnan(z), z, y)
        np.testing.assert_allclose(y, z, limit, limit)
    moving = [(y, z) for y, z in zip(ours, theirs, strict=True) if y.requires_grad]
    if not moving or not of_gradients or name in VALUES_ALONE.split():
        return
    ws, settings = [weights_for(y, 1) for y, _ in moving], {"allow_unused": True, "materialize_grads": True}
    mine = rv.autograd.grad([y for y, _ in moving], call.leaves, ws, **settings)
    of_theirs = [torch.from_numpy(w.numpy()) for w in ws]
    other = torch.autograd.grad([z for _, z in moving], leaves, of_theirs, **settings)
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


def does_not_differ(op):
    return is_function(op) and op.name not in OTHER_THERE.split()


def is_compared(sample):
    return sample.error is None and "pytorch" not in sample.left_out


@every_op(apart("ties"), only=does_not_differ, of=is_compared)
def test_ties(sample, torch):
    compare(with_drawn(sample, TIES), torch, True)


@every_op(apart("NaN"), only=does_not_differ, of=is_compared)
def test_beside_nan(sample, torch):
    compare(with_drawn(sample, [*TIES, np.nan]), torch, True)


@every_op(apart("infinity"), only=does_not_differ, of=is_compared)
def test_beside_infinity(sample, torch):
    compare(with_drawn(sample, [*TIES, np.inf, -np.inf]), torch, True)
