"""Discrete Fourier transforms under the names of torch.fft, computed by NumPy, with gradients.

There is no complex dtype. A spectrum is a real tensor with one more axis at the end, of length 2, for the
real and the imaginary part, as `torch.view_as_real` gives it. `n`, `s`, `dim` and `norm` are as in PyTorch;
`dim` does not count the axis of pairs. ``rfft`` takes real signals, the other transforms take spectra. The
spectrum form of a real signal x is ``rv.stack([x, 0 * x], -1)``.
"""

from __future__ import annotations

import ranvier.ops as ops
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import tensor
from ranvier.ops.matrix.fourier import spectrum, transformed
from ranvier.tensors.data import get_default_dtype
from ranvier.tensors.errors import own_errors, whole
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Axes, DeviceLike, DtypeLike, ShapeLike, TensorLike

__all__ = ["fft", "fft2", "fftfreq", "fftn", "fftshift", "ifft", "ifft2", "ifftn", "ifftshift", "irfft"]
__all__ += ["irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn"]


def fft(input: TensorLike, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """y_k = sum of x_t exp(-2 pi i k t / n) along dim; x is cut, or padded with zeros, to n elements first.
    norm "forward" divides by n, "ortho" by sqrt(n).

    >>> import ranvier as rv
    >>> rv.fft.fft(rv.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor([[ 1.,  1.],
            [ 1., -1.]])
    """
    return transformed("fft", "fft", input, n, dim, norm)


def ifft(input: TensorLike, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of :func:`fft`.

    >>> import ranvier as rv
    >>> rv.fft.ifft(rv.tensor([[1.0, 1.0], [1.0, -1.0]]))
    tensor([[1., 0.],
            [0., 1.]])
    """
    return transformed("ifft", "ifft", input, n, dim, norm)


def rfft(input: TensorLike, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first n // 2 + 1 elements of :func:`fft` of a real signal; the other elements are their conjugates.

    >>> import ranvier as rv
    >>> rv.fft.rfft(rv.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor([[10.,  0.],
            [-2.,  2.],
            [-2.,  0.]])
    """
    return transformed("rfft", "rfft", input, n, dim, norm)


def irfft(input: TensorLike, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of :func:`rfft`: n real elements, by default 2 (m - 1) for a spectrum of m elements.

    >>> import ranvier as rv
    >>> rv.fft.irfft(rv.tensor([[10.0, 0.0], [-2.0, 2.0], [-2.0, 0.0]]))
    tensor([1., 2., 3., 4.])
    """
    return transformed("irfft", "irfft", input, n, dim, norm)


def fftn(input: TensorLike, s: ShapeLike | None = None, dim: Axes = None, norm: str | None = None) -> Tensor:
    """:func:`fft` along several dimensions: by default all, or the last len(s) if s gives their lengths.

    >>> import ranvier as rv
    >>> rv.fft.fftn(rv.ones(2, 2, 2)).shape
    (2, 2, 2)
    """
    return _transform_along("fftn", input, s, dim, norm, last="fft", others="fft")


def ifftn(input: TensorLike, s: ShapeLike | None = None, dim: Axes = None, norm: str | None = None) -> Tensor:
    """The inverse of :func:`fftn`.

    >>> import ranvier as rv
    >>> rv.fft.ifftn(rv.ones(2, 2, 2)).shape
    (2, 2, 2)
    """
    return _transform_along("ifftn", input, s, dim, norm, last="ifft", others="ifft")


def rfftn(input: TensorLike, s: ShapeLike | None = None, dim: Axes = None, norm: str | None = None) -> Tensor:
    """:func:`fftn` of a real signal, with the first half of the last dimension, as :func:`rfft`.

    >>> import ranvier as rv
    >>> rv.fft.rfftn(rv.ones(4, 4)).shape
    (4, 3, 2)
    """
    return _transform_along("rfftn", input, s, dim, norm, last="rfft", others="fft")


def irfftn(
    input: TensorLike, s: ShapeLike | None = None, dim: Axes = None, norm: str | None = None
) -> Tensor:
    """The inverse of :func:`rfftn`.

    >>> import ranvier as rv
    >>> rv.fft.irfftn(rv.ones(4, 3, 2)).shape
    (4, 4)
    """
    return _transform_along("irfftn", input, s, dim, norm, last="irfft", others="ifft")


def fft2(
    input: TensorLike, s: ShapeLike | None = None, dim: Axes = (-2, -1), norm: str | None = None
) -> Tensor:
    """:func:`fftn` along two dimensions.

    >>> import ranvier as rv
    >>> rv.fft.fft2(rv.ones(2, 2, 2)).shape
    (2, 2, 2)
    """
    return fftn(input, s, dim, norm)


def ifft2(
    input: TensorLike, s: ShapeLike | None = None, dim: Axes = (-2, -1), norm: str | None = None
) -> Tensor:
    """:func:`ifftn` along two dimensions.

    >>> import ranvier as rv
    >>> rv.fft.ifft2(rv.ones(2, 2, 2)).shape
    (2, 2, 2)
    """
    return ifftn(input, s, dim, norm)


def rfft2(
    input: TensorLike, s: ShapeLike | None = None, dim: Axes = (-2, -1), norm: str | None = None
) -> Tensor:
    """:func:`rfftn` along two dimensions.

    >>> import ranvier as rv
    >>> rv.fft.rfft2(rv.ones(4, 4)).shape
    (4, 3, 2)
    """
    return rfftn(input, s, dim, norm)


def irfft2(
    input: TensorLike, s: ShapeLike | None = None, dim: Axes = (-2, -1), norm: str | None = None
) -> Tensor:
    """:func:`irfftn` along two dimensions.

    >>> import ranvier as rv
    >>> rv.fft.irfft2(rv.ones(4, 3, 2)).shape
    (4, 4)
    """
    return irfftn(input, s, dim, norm)


def _transform_along(
    name: str, input: TensorLike, s: ShapeLike | None, dim: Axes, norm: str | None, *, last: str, others: str
) -> Tensor:
    """Transforms along several dimensions: the transform `last` along the last one, `others` along the
    others. name: the public function, for errors.

    An "rfft" is computed first, because it takes a real signal. Any other `last` is computed last, so that
    the result is contiguous.
    """
    takes_real = last == "rfft"
    if takes_real:
        x = as_tensor(name, input)
        count = x.ndim
    else:
        x = spectrum(name, input)
        count = x.ndim - 1  # without the axis of pairs
    lengths = _lengths(s)
    if dim is not None:
        dims = [dim] if isinstance(dim, int) else list(dim)
    elif lengths is not None:
        dims = list(range(-len(lengths), 0))
    else:
        dims = list(range(count))
    if lengths is None:
        lengths = [None] * len(dims)
    # Negative dimensions as the same numbers as others; transforms refuse those that x does not have.
    different = {d % count if -count <= d < count else d for d in dims}
    if not dims or not len(lengths) == len(dims) == len(different):
        raise OpError(f"[{name}] got s {s} and dim {dim}; expected one length for each of some dimensions")
    if takes_real:
        x = transformed(name, last, x, lengths[-1], dims[-1], norm)
    for length, d in zip(lengths[:-1], dims[:-1], strict=True):
        x = transformed(name, others, x, length, d, norm)
    if not takes_real:
        x = transformed(name, last, x, lengths[-1], dims[-1], norm)
    return x


def _lengths(s: ShapeLike | None) -> list[int | None] | None:
    """The argument `s` as a list of lengths, in which None is the length of the input, as -1 is in `s`."""
    if s is None:
        return None
    given = [s] if isinstance(s, int) else s
    lengths: list[int | None] = []
    for length in given:
        lengths.append(None if length == -1 else length)
    return lengths


def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of :func:`fft`, with samples d apart.

    >>> import ranvier as rv
    >>> rv.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    n = whole("fftfreq", "n", n)
    positive = range((n + 1) // 2)
    negative = range(-(n // 2), 0)
    return _frequencies([*positive, *negative], n, d, dtype, requires_grad)


def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of :func:`rfft`, with samples d apart.

    >>> import ranvier as rv
    >>> rv.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    n = whole("rfftfreq", "n", n)
    return _frequencies(list(range(n // 2 + 1)), n, d, dtype, requires_grad)


def _frequencies(
    numbers: list[int], n: int, d: float, dtype: DtypeLike | None, requires_grad: bool
) -> Tensor:
    """numbers / (n d): the frequencies with these numbers."""
    values = tensor(numbers, dtype=dtype or get_default_dtype()) / (n * d)
    return values.requires_grad_(requires_grad)


def fftshift(input: TensorLike, dim: Axes = None) -> Tensor:
    """Exchanges the two halves of dimensions, by default of all, so that the frequency 0 is in the middle.
    dim counts all axes here, also the axis of pairs.

    >>> import ranvier as rv
    >>> rv.fft.fftshift(rv.fft.fftfreq(4))
    tensor([-0.5000, -0.2500,  0.0000,  0.2500])
    """
    return _roll_by_half("fftshift", input, dim, rounds_up=False)


def ifftshift(input: TensorLike, dim: Axes = None) -> Tensor:
    """The inverse of :func:`fftshift`.

    >>> import ranvier as rv
    >>> rv.fft.ifftshift(rv.tensor([1, 2, 3]))
    tensor([2, 3, 1])
    """
    return _roll_by_half("ifftshift", input, dim, rounds_up=True)


def _roll_by_half(name: str, input: TensorLike, dim: Axes, *, rounds_up: bool) -> Tensor:
    """The input, rolled along each dimension by half of its length."""
    x = as_tensor(name, input)
    if dim is None:
        dims = list(range(x.ndim))
    elif isinstance(dim, int):
        dims = [dim]
    else:
        dims = list(dim)
    rounding = 1 if rounds_up else 0
    shifts = [(x.shape[d] + rounding) // 2 for d in dims]
    return ops.roll(x, shifts, dims)


own_errors(globals(), __all__)
