"""Fourier transforms, with gradients: `transformed`, on which `rv.fft` is built, and `stft` and `istft`.

There is no complex dtype: a spectrum is a real tensor whose last axis has the real and the imaginary part,
here called pairs. `kind` is the name of NumPy's function: "fft", "ifft", "rfft" or "irfft". The core computes
sizes with small prime factors, NumPy all others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import Array, as_tensor, floating
from ranvier.ops.gradient_rules import linear_rule
from ranvier.ops.image.resample import pad
from ranvier.ops.shape.arrange import Unfold, overlapped
from ranvier.ops.shape.join import cat, narrow
from ranvier.ops.shape.reshape import flip, movedim, reshape
from ranvier.tape.function import Function
from ranvier.tensors.batched import physical
from ranvier.tensors.errors import whole
from ranvier.tensors.failures import OpError, require_dtype
from ranvier.tensors.memory import keep
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, ShapeLike, TensorLike

_INVERSE = {"fft": "ifft", "ifft": "fft", "rfft": "irfft", "irfft": "rfft"}


class Fourier(Function):
    """y = scale A x along the last axis, with n points: "rfft" (.., m) -> (.., n // 2 + 1, 2), "irfft" back
    to (.., n), "fft" and "ifft" (.., m, 2) -> (.., n, 2).

    A shorter x counts as padded with zeros. A is the matrix of the transform. A^T, for the gradient, is the
    matrix of the inverse kind, up to factors (`adjoint`). window, of n elements, is multiplied with the input
    of "rfft" or the result of "irfft"."""

    transform: Any = staticmethod(_core.fourier)

    def __init__(self, kind: str, n: int, scale: float) -> None:
        self.kind = kind
        self.n = n
        self.scale = scale
        self.length = 0
        self.window: Any = None

    def forward(self, x: Array, window: Array | None = None) -> Array:
        self.length = x.shape[-1] if self.kind == "rfft" else x.shape[-2]
        if window is not None:
            self.window = window
        return self.transform(x, self.kind, self.n, self.scale, 1.0, self.window)

    def adjoint(self, dy: Array) -> Array:
        """dx = scale A^T dy."""
        # The spectrum of a real row has one half of the frequencies. Each stands for itself and for its
        # conjugate in the other half, except frequency 0, and n/2 for even n, which stand for themselves
        # only. The inverse kind counts such a pair twice (or "rfft" once), other than A^T: `scale / edge`
        # corrects this for all frequencies, and the kernel's argument `edge`, a factor for those two
        # frequencies, undoes the correction for them.
        edge = {"rfft": 2.0, "irfft": 0.5}.get(self.kind, 1.0)
        dx = self.transform(dy, _INVERSE[self.kind], self.n, self.scale / edge, edge, self.window)
        if self.kind == "rfft":
            return dx[..., : self.length]
        return dx[..., : self.length, :]

    def backward(self, dy: Array) -> Any:
        if self.window is None:
            return self.adjoint(dy)
        return (self.adjoint(dy), None)


@np.errstate(invalid="ignore", over="ignore")  # no warnings of infinities, as from the core
def _by_numpy(x: Array, kind: str, n: int, scale: float, edge: float, window: Array | None) -> Array:
    """What _core.fourier computes, by np.fft, for any n."""
    dtype = x.dtype
    if kind == "rfft":
        if window is not None:
            x = x * window
    else:
        x = np.ascontiguousarray(x).view(np.result_type(dtype, np.complex64))[..., 0]
    edges = [0] if n % 2 else [0, n // 2]
    if kind == "irfft":
        x = x.copy()
        x[..., [k for k in edges if k < x.shape[-1]]] *= edge
    unscaled = "forward" if kind[0] == "i" else "backward"  # NumPy's names of the norm without a factor
    y = getattr(np.fft, kind)(x, n, -1, unscaled) * scale
    if kind == "irfft":
        if window is not None:
            y = y * window
        return y.astype(dtype, copy=False)
    if kind == "rfft":
        y[..., edges] *= edge
    y = np.ascontiguousarray(y, np.result_type(dtype, np.complex64))
    return y.view(dtype).reshape(*y.shape, 2)


class FourierByNumPy(Fourier):
    """Fourier for sizes with other prime factors than 2, 3, 5 and 7, and for few long rows"""

    by_numpy = True  # NumPy computes it, not the core
    transform = staticmethod(_by_numpy)
    forward = Fourier.forward  # in this class itself, where tape/host_nodes.py looks for it


def _adjoint(node: Fourier, dy: Array) -> Array:
    return node.adjoint(dy)


linear_rule(Fourier, FourierByNumPy, backward=_adjoint)


def _transform(kind: str, x: Tensor, n: int, scale: float, window: Tensor | None = None) -> Tensor:
    """The transform along the last axis, by the core's kernel or NumPy, whichever is faster."""
    if kind == "rfft":
        numbers = x.shape[-1]
    else:
        numbers = 2 * x.shape[-2]
    rows = x.numel() // max(numbers, 1)
    # The kernel takes n whose prime factors are 2, 3, 5 and 7. Such n up to 16384 = 2^14 divide 210^14, since
    # 210 = 2 3 5 7. For larger n, and for few long rows, NumPy is faster.
    by_kernel = pow(210, 14, n) == 0 and (n <= 2048 or (n <= 16384 and rows >= 8))
    if by_kernel:
        node = Fourier(kind, n, scale)
    else:
        node = FourierByNumPy(kind, n, scale)
    if window is None or not window.requires_grad:
        if window is None:
            return node.apply(x)
        return node.apply(x, window)
    if kind == "rfft":
        return node.apply(x * window)
    return node.apply(x) * window


def floats(name: str, x: TensorLike) -> Tensor:
    """The operand in float32 or float64; whole numbers in the default dtype."""
    y = floating(as_tensor(name, x), name)
    if y.dtype.itemsize < 4:
        y = _core._autocast_cast("float32", y)
    if y.dtype.itemsize < 4:
        raise OpError(f"[{name}] got {y.dtype}; expected float32 or float64: x.float()")
    return y


def spectrum(name: str, x: TensorLike, least: int = 1) -> Tensor:
    """The operand as pairs (.., 2) with at least this many axes before the last."""
    x = floats(name, x)
    if x.ndim <= least or x.shape[-1] != 2:
        raise OpError(
            f"[{name}] got a tensor of shape {tuple(x.shape)}; expected {least} axes or more and a last one "
            "of 2, the real and the imaginary part: there is no complex dtype (rv.stack([real, imag], -1))"
        )
    return x


def transformed(
    name: str, kind: str, x: TensorLike, n: Any = None, dim: Any = -1, norm: Any = None
) -> Tensor:
    """The transform of n points along the axis dim, which does not count the last axis of pairs.

    name: the public function, for errors. norm: None, "forward", "backward" or "ortho", as of np.fft. n, dim
    and norm are as a user gave them. Raises ValueError and IndexError for others.
    """
    has_pairs = kind != "rfft"
    points: Tensor
    if has_pairs:
        points = spectrum(name, x)
    else:
        points = floats(name, x)
    ndim = points.ndim - has_pairs
    axis = whole(name, "dim", dim)
    if not -ndim <= axis < ndim:
        raise IndexError(f"[{name}] got dim {dim} for {ndim} dimensions; expected {-ndim} to {ndim - 1}")
    axis %= ndim
    if n is not None:
        length = whole(name, "n", n)
    elif kind == "irfft":
        length = 2 * (points.shape[axis] - 1)
    else:
        length = points.shape[axis]
    if length < 1 or norm not in (None, "forward", "backward", "ortho"):
        raise OpError(
            f"[{name}] got {length} points and norm {norm!r}; expected 1 point or more and "
            "norm None, 'forward', 'backward' or 'ortho'"
        )
    if axis != ndim - 1:
        points = movedim(points, axis, ndim - 1)
    most = length
    if kind == "irfft":
        most = length // 2 + 1
    if points.shape[ndim - 1] > most:
        points = narrow(points, ndim - 1, 0, most)
    is_inverse = kind in ("ifft", "irfft")
    if norm == "ortho":
        scale = length**-0.5
    elif is_inverse == (norm != "forward"):  # by default the inverse divides by n
        scale = 1 / length
    else:
        scale = 1.0
    y = _transform(kind, points, length, scale)
    if axis == ndim - 1:
        return y
    return movedim(y, ndim - 1, axis)


class OverlapAdd(Function):
    """The sum of overlapping frames (.., count, size), each `step` elements after the one before: the result
    is (.., (count - 1) step + size)"""

    by_numpy = True  # NumPy computes it, not the core

    def __init__(self, step: int) -> None:
        self.step = step
        self.size = 0

    def forward(self, x: Array) -> Array:
        self.size = x.shape[-1]
        return overlapped(x, self.step, (x.shape[-2] - 1) * self.step + self.size)

    def backward(self, dy: Array) -> Array:
        return np.lib.stride_tricks.sliding_window_view(dy, self.size, -1)[..., :: self.step, :].copy()


linear_rule(OverlapAdd)


class _Frames(NamedTuple):
    """The frames that stft and istft cut a signal into, checked."""

    size: int  # n_fft
    hop: int  # elements from the start of a frame to that of the next
    window: Tensor | None  # (size,), the factors of a frame's elements; None: all are 1


def _frames_of(
    name: str, n_fft: Any, hop: Any, win: Any, window: TensorLike | None, dtype: DtypeLike
) -> _Frames:
    """Checks the sizes of stft and istft, as a user gave them. Raises ValueError and TypeError."""
    n = whole(name, "n_fft", n_fft)
    if hop is None:
        hop = n // 4
    else:
        hop = whole(name, "hop_length", hop)
    if win is None:
        win = n
    else:
        win = whole(name, "win_length", win)
    if n < 1 or hop < 1 or not 0 < win <= n:
        raise OpError(
            f"[{name}] got n_fft {n}, hop_length {hop} and win_length {win}; expected n_fft >= 1, "
            "hop_length >= 1 and win_length from 1 to n_fft"
        )
    if window is None and win == n:
        return _Frames(n, hop, None)
    if window is None:
        factors = as_tensor(name, keep(np.ones(win, dtype)))
    else:
        factors = as_tensor(name, window)
        if factors.shape != (win,):
            raise OpError(f"[{name}] got a window of shape {tuple(factors.shape)}; expected ({win},)")
        factors = factors.to(dtype)
    if win < n:
        before = (n - win) // 2
        after = n - win - before
        factors = cat([_zeros(name, before, dtype), factors, _zeros(name, after, dtype)])
    return _Frames(n, hop, factors)


def _zeros(name: str, shape: ShapeLike, dtype: DtypeLike) -> Tensor:
    """Zeros, which a compiled step takes as a constant."""
    return as_tensor(name, keep(np.zeros(shape, dtype)))


def _no_complex(name: str, return_complex: bool | None) -> None:
    """Raises ValueError for return_complex=True."""
    if return_complex:
        raise OpError(
            f"[{name}] got return_complex=True; expected return_complex=False: there is no complex dtype, "
            "the last axis has the real and the imaginary part"
        )


def stft(
    input: TensorLike,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: TensorLike | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
) -> Tensor:
    """The short-time Fourier transform: the spectra of windows of n_fft elements that begin hop_length apart
    (n_fft // 4 where it is None). (L,) or (B, L) -> (B?, n_fft // 2 + 1, frames, 2), with real and imaginary
    parts in the last axis: there is no complex dtype.

    window: (win_length,), with zeros at both sides up to n_fft. center: the signal is padded by n_fft // 2 on
    both sides, in the way of `pad_mode` (see :func:`ranvier.pad`), so that frame t is around t hop_length.
    normalized: divided by sqrt(n_fft). onesided=False: all n_fft frequencies.

    Raises ValueError for other shapes and sizes, a signal that is shorter than a window, and return_complex.

    >>> import ranvier as rv
    >>> x = rv.stft(rv.ones(8), 4, window=rv.ones(4))
    >>> x.shape, x[:, 0].tolist()
    ((3, 9, 2), [[4.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    """
    _no_complex("stft", return_complex)
    input = as_tensor("stft", input)
    require_dtype("stft", "x", input, "f", "float32 or float64: x.float()")
    input = floats("stft", input)
    n, hop, factors = _frames_of("stft", n_fft, hop_length, win_length, window, input.dtype)
    if input.ndim not in (1, 2) or not input.shape[-1]:
        raise OpError(f"[stft] got a signal of shape {tuple(input.shape)}; expected (L,) or (B, L)")
    if center:
        input = _centred(input, n // 2, pad_mode)
    if input.shape[-1] < n:
        raise OpError(f"[stft] got n_fft {n} and {input.shape[-1]} elements; expected n_fft up to these")
    frames = Unfold((input.ndim - 1, n, hop)).apply(input)
    scale = 1.0
    if normalized:
        scale = n**-0.5
    y = _transform("rfft", frames, n, scale, factors)
    if onesided is False and n > 2:  # the others are conjugates
        rest = flip(y[..., 1 : (n + 1) // 2, :], -2)
        conjugate = as_tensor("stft", keep(np.array([1, -1], rest.dtype)))
        y = cat([y, rest * conjugate], -2)
    return y.transpose(-2, -3)


def _centred(x: Tensor, size: int, mode: str) -> Tensor:
    """The signal (L,) or (B, L) with `size` elements more on both sides."""
    if mode == "reflect" and 0 < size < x.shape[-1]:  # `pad` is made for images
        before = flip(x[..., 1 : size + 1], -1)
        after = flip(x[..., -size - 1 : -1], -1)
        return cat([before, x, after], -1)
    signals = reshape(x, (1,) * (3 - x.ndim) + x.shape)  # (N, C, L)
    y = pad(signals, (size, size), mode)
    return reshape(y, (*x.shape[:-1], y.shape[-1]))


def istft(
    input: TensorLike,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: TensorLike | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose :func:`stft` is nearest to the input: windows times inverse transforms, added up and
    divided by the sum of the windows' squares. (B?, frequencies, frames, 2) -> (B?, L); arguments as in
    :func:`stft`.

    length: the length of the signal. Elements that no frame reaches are 0.

    Raises ValueError for other shapes and sizes, and for windows whose squares sum to 0 somewhere.

    >>> import ranvier as rv
    >>> x, window = rv.arange(8.0), rv.tensor([0.5, 1.0, 1.0, 0.5])
    >>> rv.istft(rv.stft(x, 4, 2, window=window), 4, 2, window=window).round(decimals=4)
    tensor([0., 1., 2., 3., 4., 5., 6., 7.])
    """
    _no_complex("istft", return_complex)
    input = spectrum("istft", input, 2)
    longest = n_fft
    if win_length is not None:
        longest = win_length
    if hop_length is not None and hop_length > longest:
        raise OpError(f"[istft] got hop_length {hop_length}; expected one up to the length of the window")
    n, hop, factors = _frames_of("istft", n_fft, hop_length, win_length, window, input.dtype)
    if onesided is None:
        onesided = input.shape[-3] != n
    rows = n
    if onesided:
        rows = n // 2 + 1
    if input.ndim not in (3, 4) or input.shape[-3] != rows or not input.numel():
        raise OpError(
            f"[istft] got a spectrum of shape {tuple(input.shape)}; expected (B?, {rows}, frames, 2) for "
            f"n_fft {n} and onesided {onesided}"
        )
    pairs = input.transpose(-2, -3)[..., : n // 2 + 1, :]
    if factors is None:
        squares = as_tensor("istft", keep(np.ones(n, input.dtype)))
    else:
        squares = factors * factors
    scale = 1 / n
    if normalized:
        scale = n**-0.5
    frames = _transform("irfft", pairs, n, scale, factors)
    y = OverlapAdd(hop).apply(frames)
    weights = OverlapAdd(hop).apply(squares.expand(pairs.shape[-3], n))
    whole_length = y.shape[-1]
    start = 0
    if center:
        start = n // 2
    if length is None:
        stop = whole_length - start
    else:
        stop = start + whole("istft", "length", length)
    y = y[..., start:stop]
    weights = weights[start:stop]
    least = 0.0
    if weights.numel():
        least = float(physical(weights)._array.min())  # of all slices, within vmap
    if not least > 1e-11:  # PyTorch's limit
        raise OpError(
            f"[istft] got a window, hop_length {hop} and length {length} for which the least sum of the "
            f"windows' squares is {least}; expected more than 1e-11"
        )
    y = y / weights
    if length is None or length <= y.shape[-1]:
        return y
    missing = length - y.shape[-1]
    return cat([y, _zeros("istft", (*y.shape[:-1], missing), y.dtype)], -1)
