"""Discrete Fourier transforms under the names of torch.fft, computed by NumPy, with gradients.

There is no complex dtype. A spectrum is a real tensor with one more axis at the end, of length 2, for the
real and the imaginary part, as `torch.view_as_real` gives it. `n`, `s`, `dim` and `norm` are as in PyTorch;
`dim` does not count the axis of pairs. ``rfft`` takes real signals, the other transforms take spectra. The
spectrum form of a real signal x is ``rv.stack([x, 0 * x], -1)``.
"""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import tensor
from ranvier.ops.matrix.fourier import spectrum, transformed
from ranvier.tensors.data import get_default_dtype
from ranvier.tensors.errors import own_errors, whole
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

__all__ = ["fft", "fft2", "fftfreq", "fftn", "fftshift", "ifft", "ifft2", "ifftn", "ifftshift", "irfft"]
__all__ += ["irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn"]


def fft(input: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """y_k = sum of x_t exp(-2 pi i k t / n) along dim; x is cut, or padded with zeros, to n elements first.
    norm "forward" divides by n, "ortho" by sqrt(n).

    >>> import ranvier as rv
    >>> rv.fft.fft(rv.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor([[ 1.,  1.],
            [ 1., -1.]])
    """
    return transformed("fft", "fft", input, n, dim, norm)


def ifft(input: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of :func:`fft`.

    >>> import ranvier as rv
    >>> rv.fft.ifft(rv.tensor([[1.0, 1.0], [1.0, -1.0]]))
    tensor([[1., 0.],
            [0., 1.]])
    """
    return transformed("ifft", "ifft", input, n, dim, norm)


def rfft(input: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first n // 2 + 1 elements of :func:`fft` of a real signal; the other elements are their conjugates.

    >>> import ranvier as rv
    >>> rv.fft.rfft(rv.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor([[10.,  0.],
            [-2.,  2.],
            [-2.,  0.]])
    """
    return transformed("rfft", "rfft", input, n, dim, norm)


def irfft(input: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of :func:`rfft`: n real elements, by default 2 (m - 1) for a spectrum of m elements.

    >>> import ranvier as rv
    >>> rv.fft.irfft(rv.tensor([[10.0, 0.0], [-2.0, 2.0], [-2.0, 0.0]]))
    tensor([1., 2., 3., 4.])
    """
    return transformed("irfft", "irfft", input, n, dim, norm)


def fftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """:func:`fft` along several dimensions: by default all, or the last len(s) if s gives their lengths.

    >>> import ranvier as rv
    >>> rv.fft.fftn(rv.ones(2, 2, 2)).shape
    (2, 2, 2)
    """
    return _along("fftn", "fft", "fft", input, s, dim, norm)


def ifftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of :func:`fftn`.

    >>> import ranvier as rv
    >>> rv.fft.ifftn(rv.ones(2, 2, 2)).shape
    (2, 2, 2)
    """
    return _along("ifftn", "ifft", "ifft", input, s, dim, norm)


def rfftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """:func:`fftn` of a real signal, with the first half of the last dimension, as :func:`rfft`.

    >>> import ranvier as rv
    >>> rv.fft.rfftn(rv.ones(4, 4)).shape
    (4, 3, 2)
    """
    return _along("rfftn", "rfft", "fft", input, s, dim, norm)


def irfftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of :func:`rfftn`.

    >>> import ranvier as rv
    >>> rv.fft.irfftn(rv.ones(4, 3, 2)).shape
    (4, 4)
    """
    return _along("irfftn", "irfft", "ifft", input, s, dim, norm)


def fft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """:func:`fftn` along two dimensions.

    >>> import ranvier as rv
    >>> rv.fft.fft2(rv.ones(2, 2, 2)).shape
    (2, 2, 2)
    """
    return fftn(input, s, dim, norm)


def ifft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """:func:`ifftn` along two dimensions.

    >>> import ranvier as rv
    >>> rv.fft.ifft2(rv.ones(2, 2, 2)).shape
    (2, 2, 2)
    """
    return ifftn(input, s, dim, norm)


def rfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """:func:`rfftn` along two dimensions.

    >>> import ranvier as rv
    >>> rv.fft.rfft2(rv.ones(4, 4)).shape
    (4, 3, 2)
    """
    return rfftn(input, s, dim, norm)


def irfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """:func:`irfftn` along two dimensions.

    >>> import ranvier as rv
    >>> rv.fft.irfft2(rv.ones(4, 3, 2)).shape
    (4, 4)
    """
    return irfftn(input, s, dim, norm)


def _along(name: str, last: str, others: str, x: Any, s: Any, dim: Any, norm: Any) -> Tensor:
    """Transforms along several dimensions: the kind `last` along the last one, `others` along the others.

    An "rfft" is computed first, because it takes a real signal. Any other `last` is computed last, so that
    the result is contiguous.
    """
    x = as_tensor(name, x) if last == "rfft" else spectrum(name, x)
    count = x.ndim - (last != "rfft")  # without the axis of pairs
    if dim is None:
        if s is not None:
            dim = range(count if s is None else -len(s), 0)
        else:
            dim = range(count)
    dims = [dim] if isinstance(dim, int) else list(dim)
    if s is None:
        given = [-1] * len(dims)
    elif isinstance(s, int):
        given = [s]
    else:
        given = s
    lengths = [None if n == -1 else n for n in given]
    apart = {d % count if -count <= d < count else d for d in dims}
    if not dims or not len(lengths) == len(dims) == len(apart):
        raise OpError(f"[{name}] got s {s} and dim {dim}; expected one length for each of some dimensions")
    steps = [(others, n, d) for n, d in zip(lengths, dims, strict=True)][:-1]
    steps.insert(0 if last == "rfft" else len(steps), (last, lengths[-1], dims[-1]))
    for kind, n, d in steps:
        x = transformed(name, kind, x, n, d, norm)
    return x


def fftfreq(
    n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The frequencies of :func:`fft`, with samples d apart.

    >>> import ranvier as rv
    >>> rv.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    n = whole("fftfreq", "n", n)
    return _frequencies([*range((n + 1) // 2), *range(-(n // 2), 0)], n, d, dtype, requires_grad)


def rfftfreq(
    n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The frequencies of :func:`rfft`, with samples d apart.

    >>> import ranvier as rv
    >>> rv.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    n = whole("rfftfreq", "n", n)
    return _frequencies(list(range(n // 2 + 1)), n, d, dtype, requires_grad)


def _frequencies(numbers: list[int], n: int, d: float, dtype: Any, requires_grad: bool) -> Tensor:
    values = tensor(numbers, dtype=dtype or get_default_dtype()) / (n * d)
    return values.requires_grad_(requires_grad)


def fftshift(input: Any, dim: Any = None) -> Tensor:
    """Exchanges the two halves of dimensions, by default of all, so that the frequency 0 is in the middle.
    dim counts all axes here, also the axis of pairs.

    >>> import ranvier as rv
    >>> rv.fft.fftshift(rv.fft.fftfreq(4))
    tensor([-0.5000, -0.2500,  0.0000,  0.2500])
    """
    return _shifted("fftshift", input, dim, 0)


def ifftshift(input: Any, dim: Any = None) -> Tensor:
    """The inverse of :func:`fftshift`.

    >>> import ranvier as rv
    >>> rv.fft.ifftshift(rv.tensor([1, 2, 3]))
    tensor([2, 3, 1])
    """
    return _shifted("ifftshift", input, dim, 1)


def _shifted(name: str, x: Any, dim: Any, up: int) -> Tensor:
    """x, rolled along each dimension by half of its length; odd lengths are rounded up if `up` is 1."""
    x = as_tensor(name, x)
    if dim is None:
        dims = list(range(x.ndim))
    elif isinstance(dim, int):
        dims = [dim]
    else:
        dims = list(dim)
    return ops.roll(x, [(x.shape[d] + up) // 2 for d in dims], dims)


own_errors(globals(), __all__)
