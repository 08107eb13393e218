"""PyTorch as the judge: values, dtypes and gradients of each sample, where torch is installed."""

import functools
import operator
import warnings

import numpy as np
import ranvier as rv

from properties.every import apart, every_op, gradients, weights_for

TIES = [-1.0, 0.0, 1.0, 2.0]
METHODS = ("reshape", "flip", "permute", "tile")  # whose functions take sizes and dimensions otherwise
OTHER_NAMES = {"bce": "binary_cross_entropy", "bce_with_logits": "binary_cross_entropy_with_logits"}
COMPLEX = ("fft_fft", "fft_ifft", "fft_irfft", "fft_fft2", "istft")  # PyTorch's: here of pairs of parts


def of_pairs(torch, function):
    """The function of complex numbers, for pairs of their parts."""
    return lambda x, *args, **settings: function(torch.view_as_complex(x), *args, **settings)


def logsumexp(torch, x, dim=None, keepdim=False):
    """PyTorch's function needs dimensions."""
    if dim is None:
        dim = tuple(range(x.ndim))
    return torch.logsumexp(x, dim, keepdim)


# The counterparts of ops that PyTorch lacks, or that take other arguments there: functions of torch and the
# arguments of the op.
COUNTERPARTS = {"logsumexp": logsumexp}


def named(torch, op):
    """PyTorch's function of the op's name or place; losses of `nn.functional` have `_loss` behind it."""
    path = op.of.removeprefix("ops.") or op.name
    if path.startswith(("fft.", "linalg.", "nn.")):
        return operator.attrgetter(path)(torch)
    path = OTHER_NAMES.get(path, path)
    for name in (path, f"{path}_loss"):
        if all(hasattr(library.nn.functional, name) for library in (rv, torch)):
            return getattr(torch.nn.functional, name)
    if hasattr(torch, path) and path not in METHODS:
        return getattr(torch, path)
    if not hasattr(torch.Tensor, path):
        raise AttributeError(
            f"PyTorch has no {path}; expected `of` at its samples, or a row of OTHER_NAMES or COUNTERPARTS"
        )
    return lambda x, *args, **settings: getattr(x, path)(*args, **settings)


def counterpart(torch, op):
    """PyTorch's functions that the samples call."""
    if callable(op.of):  # operators and methods of a tensor
        return op.of
    if op.name in COUNTERPARTS:
        return functools.partial(COUNTERPARTS[op.name], torch)
    function = named(torch, op)
    if op.name in COMPLEX:
        function = of_pairs(torch, function)
    return op.around(function) if op.around else function


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
    """PyTorch's result of the call, and its leaves."""
    leaves = []
    function = counterpart(torch, call.sample.op)
    args = converted(torch, call.args, leaves)
    settings = {name: converted(torch, value, leaves) for name, value in call.settings.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = function(*args, **settings)
        except TypeError:  # maximum and others take no numbers of Python
            result = function(
                *(torch.tensor(x) if isinstance(x, (int, float)) else x for x in args), **settings
            )
        return tensors_in(torch, result), leaves


def is_function(op):
    return not op.draws and not op.name[0].isupper()


def compare(call, torch, of_gradients):
    """Values, dtypes and gradients of the call here and there."""
    words = call.sample.op.apart.split()
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
        if "limits" in words:
            z = np.where(np.isnan(y) == np.isnan(z), z, y)
        np.testing.assert_allclose(y, z, limit, limit)
    moving = [(y, z) for y, z in zip(ours, theirs, strict=True) if y.requires_grad]
    if not moving or not of_gradients or "gradient" in words:
        return
    weights = [torch.from_numpy(weights_for(y, 1).numpy()) for y, _ in moving]
    settings = {"allow_unused": True, "materialize_grads": True}
    other = torch.autograd.grad([z for _, z in moving], leaves, weights, **settings)
    for y, z in zip(gradients(ours, call.leaves), other, strict=True):
        np.testing.assert_allclose(y.numpy(), z.numpy(), 1e-8, 1e-9)


@every_op({}, only=is_function)
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


def is_compared(sample):
    return sample.error is None and "pytorch" not in sample.left_out


@every_op(apart("ties"), only=is_function, of=is_compared)
def test_ties(sample, torch):
    compare(with_drawn(sample, TIES), torch, True)


@every_op(apart("NaN"), only=is_function, of=is_compared)
def test_beside_nan(sample, torch):
    compare(with_drawn(sample, [*TIES, np.nan]), torch, True)


@every_op(apart("infinity"), only=is_function, of=is_compared)
def test_beside_infinity(sample, torch):
    compare(with_drawn(sample, [*TIES, np.inf, -np.inf]), torch, True)
