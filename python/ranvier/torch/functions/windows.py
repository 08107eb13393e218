"""Window functions of signals: torch.hann_window and others, and torch.signal.windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

import ranvier as rv
from ranvier.tensors.memory import Array
from ranvier.tensors.types import DeviceLike, DtypeLike

Shape: TypeAlias = Callable[[Array], Array]
"""The values of a window at t, from 0 to 1."""


def _window(
    name: str,
    length: int,
    periodic: bool,
    shape: Shape,
    dtype: DtypeLike | None = None,
    layout: Any = None,
    device: DeviceLike | None = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> rv.Tensor:
    """shape(t) at `length` points t at equal distances from 0 to 1.

    A periodic window has the first `length` of length + 1 points.
    """
    if dtype is None:
        dtype = rv.get_default_dtype()
    numpy_dtype = np.dtype(dtype)
    if length < 0 or numpy_dtype.kind != "f":
        raise RuntimeError(
            f"[{name}] got window_length {length} and dtype {numpy_dtype}; expected a length >= 0 and floats"
        )
    last = length - 1 + bool(periodic)
    if length > 1:
        values = shape(np.arange(length) / last)
    else:
        values = np.ones(length)
    return rv.tensor(values.astype(numpy_dtype), device=device, requires_grad=requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **settings: Any
) -> rv.Tensor:
    """alpha - beta cos(2 pi t), t from 0 to 1.

    >>> hamming_window(4)
    tensor([0.0800, 0.5400, 1.0000, 0.5400])
    """

    def shape(t: Array) -> Array:
        return alpha - beta * np.cos(2 * np.pi * t)

    return _window("hamming_window", window_length, periodic, shape, **settings)


def hann_window(window_length: int, periodic: bool = True, **settings: Any) -> rv.Tensor:
    """(1 - cos(2 pi t)) / 2, t from 0 to 1.

    >>> hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """

    def shape(t: Array) -> Array:
        return np.sin(np.pi * t) ** 2

    return _window("hann_window", window_length, periodic, shape, **settings)


def blackman_window(window_length: int, periodic: bool = True, **settings: Any) -> rv.Tensor:
    """0.42 - 0.5 cos(2 pi t) + 0.08 cos(4 pi t), t from 0 to 1.

    >>> blackman_window(4)[1:]
    tensor([0.3400, 1.0000, 0.3400])
    """

    def shape(t: Array) -> Array:
        return 0.42 - 0.5 * np.cos(2 * np.pi * t) + 0.08 * np.cos(4 * np.pi * t)

    return _window("blackman_window", window_length, periodic, shape, **settings)


def bartlett_window(window_length: int, periodic: bool = True, **settings: Any) -> rv.Tensor:
    """1 - |2 t - 1|, t from 0 to 1.

    >>> bartlett_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """

    def shape(t: Array) -> Array:
        return 1 - abs(2 * t - 1)

    return _window("bartlett_window", window_length, periodic, shape, **settings)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, **settings: Any
) -> rv.Tensor:
    """I0(beta sqrt(1 - (2 t - 1)^2)) / I0(beta), t from 0 to 1, with the modified Bessel function I0.

    >>> kaiser_window(4, False, 0.0)
    tensor([1., 1., 1., 1.])
    """

    def shape(t: Array) -> Array:
        return _bessel(t, 1, beta)

    return _window("kaiser_window", window_length, periodic, shape, **settings)


def _bessel(k: Array, last: int, beta: float) -> Array:
    return np.i0(beta * np.sqrt(np.maximum(1 - (2 * k / last - 1) ** 2, 0))) / np.i0(beta)


# --- torch.signal.windows: symmetric by default


def _signal(name: str, formula: Callable[..., Array], **defaults: Any) -> Callable[..., rv.Tensor]:
    """A function of torch.signal.windows.

    formula: its values at the places 0, 1 .., by these, the last place and settings.
    defaults: the default values of these settings.
    """

    def window(M: int, *, sym: bool = True, **settings: Any) -> rv.Tensor:
        formula_settings = {key: settings.pop(key, value) for key, value in defaults.items()}
        last = M - bool(sym)

        def shape(t: Array) -> Array:
            return formula(t * last, last, **formula_settings)

        return _window(name, M, not sym, shape, **settings)

    window.__name__ = window.__qualname__ = name
    window.__doc__ = f"torch.signal.windows.{name}, from 0 to M - 1; sym=False: the first M of M + 1."
    return window


def _cosines(k: Array, last: int, a: Sequence[float]) -> Any:
    """a_0 - a_1 cos(2 pi t) + a_2 cos(4 pi t) - .., t from 0 to 1."""
    return sum((-1) ** i * c * np.cos(2 * np.pi * i * k / last) for i, c in enumerate(a))


def _decay(k: Array, last: int, center: float | None, tau: float) -> Array:
    if center is None:
        center = last / 2
    return np.exp(-abs(k - center) / tau)


def _triangle(k: Array, last: int) -> Array:
    return 1 - abs(2 * k / last - 1)


def _half_sine(k: Array, last: int) -> Array:
    return np.sin(np.pi * (k + 0.5) / (last + 1))


def _gauss(k: Array, last: int, std: float) -> Array:
    return np.exp(-0.5 * ((k - last / 2) / std) ** 2)


def _raised_cosine(k: Array, last: int, alpha: float) -> Array:
    return _cosines(k, last, (alpha, 1 - alpha))


bartlett = _signal("bartlett", _triangle)
blackman = _signal("blackman", _cosines, a=(0.42, 0.5, 0.08))
cosine = _signal("cosine", _half_sine)
exponential = _signal("exponential", _decay, center=None, tau=1.0)
gaussian = _signal("gaussian", _gauss, std=1.0)
general_cosine = _signal("general_cosine", _cosines, a=())
general_hamming = _signal("general_hamming", _raised_cosine, alpha=0.54)
hamming = _signal("hamming", _cosines, a=(0.54, 0.46))
hann = _signal("hann", _cosines, a=(0.5, 0.5))
kaiser = _signal("kaiser", _bessel, beta=12.0)
nuttall = _signal("nuttall", _cosines, a=(0.3635819, 0.4891775, 0.1365995, 0.0106411))
