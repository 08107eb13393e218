"""Starting values for parameters. Every function fills a Tensor in place and returns it.

fan_in is the number of inputs of an output, fan_out the number of outputs of an input: for a weight of shape
(out, in, *window) in * prod(window) and out * prod(window).
"""

from __future__ import annotations

import functools
import math
from _thread import _local as local  # threading.local, without the import of threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
import ranvier.tensors.memory as _memory
from ranvier.grad_mode import no_grad
from ranvier.nn.parameter import UninitializedParameter
from ranvier.observe import refuse
from ranvier.ops.making import philox, random
from ranvier.settings import ThreadSettings
from ranvier.tensors.errors import number as _number, own_errors as _own_errors
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import bump

if TYPE_CHECKING:
    from ranvier.ops.making.random import Generator
    from ranvier.tensors.types import Array, ArrayLike

# Whether the functions of this file leave tensors as they are, in this thread: see `skipped`.
_set = ThreadSettings(skips=False)


def _ignore(tensor: Tensor) -> None:
    """Does nothing."""


class _Callback(local):
    """The function that `skipped` got, in this thread."""

    function: Callable[[Tensor], object] = staticmethod(_ignore)


_callback = _Callback()


@contextmanager
def skipped(asked: Callable[[Tensor], object] | None = None) -> Iterator[None]:
    """Leaves parameters as they are in this thread, since their values come from a file.

    No random numbers are drawn and no memory is touched, whatever the sizes of the layers. asked: a function
    that gets each parameter and buffer (for copies of layers, before the copy) and may raise an error; the
    reader of model files counts their memory with it (serialization/models.py).
    """
    skips_before = _set.skips
    function_before = _callback.function
    _set.skips = True
    if asked is not None:
        _callback.function = asked
    try:
        yield
    finally:
        _set.skips = skips_before
        _callback.function = function_before


def copied(values: Iterable[Tensor]) -> None:
    """Tells the function of :func:`skipped` of parameters and buffers that will be copied."""
    if _set.skips:
        for tensor in values:
            _callback.function(tensor)


def _stays(tensor: Tensor) -> bool:
    """True if the tensor stays as it is: its values come from a file, or it has no values (device meta).

    The tensor is then marked as changed all the same, since its later values are a change.
    """
    if _set.skips:
        _callback.function(tensor)
    elif not getattr(tensor, "is_meta", False):
        return False
    bump(tensor)
    return True


def _fill(tensor: Tensor, values: ArrayLike) -> Tensor:
    """Writes the values, an array or a number, into the tensor."""
    if _stays(tensor):
        return tensor
    if isinstance(tensor, UninitializedParameter):
        raise ValueError(
            "[init] got a parameter of a lazy layer without its size; expected a call of the model first"
        )
    refuse("nn.init fills a tensor", "NumPy does it, which no replay repeats; do it outside the step")
    if _memory.is_batched(values) or _memory.is_batched(tensor._array):
        with no_grad():
            return tensor.copy_(values if isinstance(values, Tensor) else wrap(np.asanyarray(values)))
    _memory.write(tensor._array, values, "init")
    bump(tensor)
    return tensor


def _draw(kernel: str, tensor: Tensor, dtype: Any, generator: Generator | None, a: float, b: float) -> Array:
    """Random numbers in the shape of a tensor. kernel: "random_uniform" in [a, b), or "random_normal" with
    mean a and standard deviation b."""
    if dtype.kind != "f":
        dtype = _memory.F32
    return philox.numbers(kernel, tensor.shape, dtype, float(a), float(b), random.key_of("init", generator))


def _uniform(tensor: Tensor, low: float, high: float, generator: Generator | None = None) -> Tensor:
    if _stays(tensor):
        return tensor
    return _fill(tensor, _draw("random_uniform", tensor, tensor.dtype, generator, low, high))


def _normal(tensor: Tensor, mean: float, std: float, generator: Generator | None = None) -> Tensor:
    if _stays(tensor):
        return tensor
    return _fill(tensor, _draw("random_normal", tensor, tensor.dtype, generator, mean, std))


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in [a, b). generator: draws the numbers, here and below; by default the library's own.

    >>> import ranvier as rv
    >>> bool((rv.nn.init.uniform_(rv.empty(9), 2, 3).numpy() >= 2).all())
    True
    """
    if not a <= b:
        raise ValueError(f"[uniform_] got a = {a} and b = {b}; expected a <= b")
    return _uniform(tensor, a, b, generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Normal with the given mean and standard deviation."""
    std = _number("normal_", "std", std, 0)
    return _normal(tensor, _number("normal_", "mean", mean), std, generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element is val; ValueError for a number that float32 cannot hold, as in ``Tensor.fill_``."""
    if isinstance(val, float) and tensor.dtype.kind == "f":
        val = _memory.fill_number("constant_", val, np.dtype(tensor.dtype))
    return _fill(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    return _fill(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    return _fill(tensor, 1)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix."""
    if tensor.ndim != 2:
        raise OpError(f"[eye_] got a tensor of shape {tensor.shape}; expected 2 dimensions")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that restores the variance of a standard normal signal after a nonlinearity (He et al.,
    2015).

    linear, conv, sigmoid: 1; tanh: 5/3; relu: sqrt 2; selu: 3/4;
    leaky_relu: sqrt(2 / (1 + slope^2)), slope = param or 0.01.

    >>> import ranvier as rv
    >>> round(rv.nn.init.calculate_gain("relu"), 4)
    1.4142
    """
    if nonlinearity in ("linear", "identity", "sigmoid", "conv1d", "conv2d", "conv3d"):
        return 1.0
    gains = {"tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75}
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in gains:
        raise ValueError(
            f"[calculate_gain] got {nonlinearity!r}; expected linear, sigmoid, tanh, relu, leaky_relu or selu"
        )
    return gains[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of shape (out, in, *window)."""
    if tensor.ndim < 2:
        raise OpError(
            f"[init] got a tensor of shape {tensor.shape}; expected at least 2 dimensions (out, in, ...)"
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def lecun_uniform_(tensor: Tensor) -> Tensor:
    """Uniform in +-sqrt(3 / fan_in): variance 1 / fan_in (LeCun et al., Efficient BackProp, 1998)."""
    bound = math.sqrt(3.0 / max(1, fans(tensor)[0]))
    return _uniform(tensor, -bound, bound)


def lecun_normal_(tensor: Tensor) -> Tensor:
    """Normal with standard deviation sqrt(1 / fan_in) (LeCun et al., Efficient BackProp, 1998).

    Some texts call this Xavier's. The method of Glorot and Bengio, `xavier_normal_`, averages both fans.
    It keeps the variance of a signal from layer to layer with linear, tanh or selu. relu halves the variance
    and needs `kaiming_normal_`.

    Raises ValueError for a tensor of fewer than 2 dimensions.

    >>> import ranvier as rv
    >>> _ = rv.manual_seed(0)
    >>> round(rv.nn.init.lecun_normal_(rv.empty(200, 400)).std().item(), 3)
    0.05
    """
    return _normal(tensor, 0.0, math.sqrt(1.0 / max(1, fans(tensor)[0])))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in +-gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6.0 / max(1, sum(fans(tensor))))
    return _uniform(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with standard deviation gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010).

    Some texts call sqrt(1 / fan_in) Xavier's: that is `lecun_normal_`.
    """
    return _normal(tensor, 0.0, gain * math.sqrt(2.0 / max(1, sum(fans(tensor)))), generator)


def fan(tensor: Tensor, mode: str) -> int:
    """One of :func:`fans`: "fan_in" or "fan_out"."""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"[kaiming] got mode {mode!r}; expected 'fan_in' or 'fan_out'")
    fan_in, fan_out = fans(tensor)
    return fan_in if mode == "fan_in" else fan_out


def _he_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan(tensor, mode)))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform in +-gain sqrt(3 / fan), a the slope of leaky_relu (He et al., 2015)."""
    bound = math.sqrt(3.0) * _he_std(tensor, a, mode, nonlinearity)
    return _uniform(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan) (He et al., 2015)."""
    return _normal(tensor, 0.0, _he_std(tensor, a, mode, nonlinearity), generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, restricted to [a, b]: by the inverse of the distribution function, also accurate in the tails.

    All values are mean for std = 0. Raises ValueError unless a <= b and std >= 0, for std = 0 also unless
    mean is in [a, b].

    >>> import ranvier as rv
    >>> bool((rv.nn.init.trunc_normal_(rv.empty(9), 0, 1, 6, 7).numpy() >= 6).all())
    True
    """
    mean = float(mean)
    std = float(std)
    a = float(a)
    b = float(b)
    is_finite = 0 <= std < math.inf and abs(mean) < math.inf
    is_possible = std > 0 or a <= mean <= b
    if not (a <= b and is_finite and is_possible):
        raise ValueError(
            f"[trunc_normal_] got mean = {mean}, std = {std}, a = {a} and b = {b}; expected finite numbers "
            "with std >= 0 and a <= b, and a mean in [a, b] for std = 0"
        )
    if _stays(tensor):
        return tensor
    return _fill(tensor, truncated(tensor, mean, std, a, b, random.key_of("init", generator)))


def truncated(tensor: Tensor, mean: float, std: float, a: float, b: float, key: Any) -> Array:
    """The numbers of :func:`trunc_normal_`, in the shape and dtype of a tensor. key: of the generator.

    Uniform numbers u are put into the inverse of the distribution function, restricted to [a, b].
    """
    from ranvier.ops import nextafter

    u = _core.random_uniform(tensor.shape, "float64", 0.0, 1.0, key)
    with np.errstate(all="ignore"):  # The ends, and the squares of their distances, may be infinite.
        # The ends in standard deviations from the mean.
        left = a - mean
        right = b - mean
        if std != 0:
            left /= std
            right /= std
        # In the tails erf nears 1, and p and q would lose digits: `_tail` computes with 1 - erf.
        if left > 3:
            values = a + std * _tail(u, left, right)
        elif right < -3:
            values = b - std * _tail(u, -right, -left)
        else:
            p = math.erf(left / math.sqrt(2))
            q = math.erf(right / math.sqrt(2))
            values = mean + math.sqrt(2) * std * _core.erfinv(p + (q - p) * u, None)
        low = wrap(np.array(a).astype(tensor.dtype))
        high = wrap(np.array(b).astype(tensor.dtype))
        # Rounding may move the ends out of [a, b].
        if float(low) < a:
            low = nextafter(low, b)
        if float(high) > b:
            high = nextafter(high, a)
        return np.clip(values.astype(tensor.dtype), low._array, high._array)


def _tail(u: Array, left: float, right: float) -> Array:
    """Numbers d >= 0 so that left + d is standard normal, restricted to [left, right], with left > 3.

    u: uniform in [0, 1). Q = density * mills is 1 minus the standard normal distribution function, and d
    solves Q(left + d) = Q(left) - u (Q(left) - Q(right)). With fall(d) = log Q(left) - log Q(left + d) this
    is fall(d) = t, which three steps of Newton's method solve: the derivative of fall is 1 / mills(left + d).
    """
    left = min(left, 1e150)  # so that its square is finite
    terms = 2 + int(100 / left**2)  # The fraction converges faster the larger left is.

    def mills(x: Any) -> Any:
        """Laplace's continued fraction: Q / density."""
        y = x
        for k in range(terms, 0, -1):
            y = x + k / y
        return 1 / y

    def fall(d: Any) -> Any:
        return d * (left + d / 2) - np.log(mills(left + d) / mills(left))

    log_ratio = -math.inf  # of Q(right) to Q(left)
    if right < math.inf:
        log_ratio = -fall(right - left)
    t = -np.log1p(u * np.expm1(log_ratio))
    d = 2 * t / (left + np.sqrt(left * left + 2 * t))  # the solution without the factor of mills
    for _ in range(3):
        d = d - (fall(d) - t) * mills(left + d)
    return np.maximum(d, 0)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """A matrix (out, in * window) with orthogonal rows or columns times gain (Saxe et al., 2014).

    Raises ValueError for a tensor of fewer than 2 dimensions.

    >>> import ranvier as rv
    >>> w = rv.nn.init.orthogonal_(rv.empty(2, 3))
    >>> bool(rv.allclose(w @ w.T, rv.eye(2), atol=1e-5))
    True
    """
    if tensor.ndim < 2:
        raise OpError(f"[orthogonal_] got a tensor of shape {tensor.shape}; expected at least 2 dimensions")
    if _stays(tensor) or tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    dtype = tensor.dtype if tensor.dtype == np.float64 else _memory.F32
    values = _draw("random_normal", tensor, dtype, generator, 0.0, 1.0).reshape(rows, -1)
    is_wide = rows < values.shape[1]  # The columns of q are orthogonal, so a wide matrix is transposed.
    if is_wide:
        values = values.T
    q, r = np.linalg.qr(values)
    # With this choice of signs, the matrix is uniformly distributed among all orthogonal matrices.
    q = q * np.where(np.diagonal(r) < 0, -1, 1).astype(q.dtype)
    if is_wide:
        q = q.T
    return _fill(tensor, gain * q.reshape(tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The weight (out, in, *window) of a convolution that copies channel i to channel i of each group.

    >>> import ranvier as rv
    >>> rv.nn.init.dirac_(rv.empty(2, 2, 3))[0, 0]
    tensor([0., 1., 0.])
    """
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise OpError(
            f"[dirac_] got a tensor of shape {tensor.shape} and {groups} groups; expected "
            "(out, in, *window), out divisible by groups"
        )
    values = np.zeros(tensor.shape, tensor.dtype)
    group_size = tensor.shape[0] // groups  # output channels of a group
    centre = tuple(n // 2 for n in tensor.shape[2:])
    for group in range(groups):
        for i in range(min(group_size, tensor.shape[1])):
            place = (group * group_size + i, i, *centre)
            values[place] = 1
    return _fill(tensor, values)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal, with a share of each column set to 0 (Martens, 2010).

    >>> import ranvier as rv
    >>> int((rv.nn.init.sparse_(rv.empty(10, 2), 0.3) == 0).sum())
    6
    """
    if tensor.ndim != 2 or not 0 <= sparsity <= 1:
        raise OpError(
            f"[sparse_] got a tensor of shape {tensor.shape} and sparsity {sparsity}; expected 2 dimensions "
            "and 0 <= sparsity <= 1"
        )
    if _stays(tensor):
        return tensor
    values = _draw("random_normal", tensor, tensor.dtype, generator, 0.0, std)
    count = math.ceil(sparsity * tensor.shape[0])
    for column in range(tensor.shape[1]):
        values[random.randperm(len(values))._array[:count], column] = 0
    return _fill(tensor, values)


# the names before PyTorch 0.4
uniform = uniform_
normal = normal_
constant = constant_
eye = eye_
dirac = dirac_
sparse = sparse_
orthogonal = orthogonal_
xavier_uniform = xavier_uniform_
xavier_normal = xavier_normal_
kaiming_uniform = kaiming_uniform_
kaiming_normal = kaiming_normal_

NAMED: dict[str, Callable[[Tensor], Tensor]] = {
    "he": functools.partial(kaiming_normal_, nonlinearity="relu"),
    "he_uniform": functools.partial(kaiming_uniform_, nonlinearity="relu"),
    "xavier": xavier_normal_,
    "xavier_uniform": xavier_uniform_,
    "lecun": lecun_normal_,
    "lecun_uniform": lecun_uniform_,
    "normal": functools.partial(normal_, std=0.01),
    "zeros": zeros_,
    "ones": ones_,
}
"""Starting values of a weight by name; without "_uniform" they are normal, "normal" has deviation 0.01."""


def named(name: str | Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """The function that fills a weight by that name; a function is returned as it is.

    he: normal, sqrt(2 / fan_in), for relu; xavier (or glorot): normal, sqrt(2 / (fan_in + fan_out)); lecun:
    normal, sqrt(1 / fan_in); the same with "_uniform"; normal: standard deviation 0.01; zeros; ones.
    Raises ValueError for another name, TypeError for what is neither.

    >>> import ranvier as rv
    >>> rv.nn.init.named("zeros")(rv.ones(2, 2))
    tensor([[0., 0.],
            [0., 0.]])
    """
    if not isinstance(name, str):
        if not callable(name):
            raise TypeError(f"[init] got {type(name).__name__}; expected a name or a function")
        return name
    fill = NAMED.get(name.replace("glorot", "xavier").replace("kaiming", "he"))
    if fill is None:
        raise ValueError(f"[init] got {name!r}; expected one of {', '.join(NAMED)} or a function")
    return fill


# Errors of these functions have the function's own name: of all whose name ends in "_", and three more.
_names = [name for name in globals() if name.endswith("_") and not name.startswith("_")]
_own_errors(globals(), ["calculate_gain", "fan", "truncated", *_names])
