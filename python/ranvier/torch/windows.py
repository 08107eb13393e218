"""Windows of signals: torch.hann_window, hamming_window, blackman_window, bartlett_window, kaiser_window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier as rv


def _window(
    name: str,
    length: int,
    periodic: bool,
    shape: Callable[[Any], Any],
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> rv.Tensor:
    """shape(t) at `length` times t in [0, 1]; a periodic window leaves the last of one more out."""
    kind = np.dtype(rv.get_default_dtype() if dtype is None else dtype)
    if length < 0 or kind.kind != "f":
        raise RuntimeError(
            f"[{name}] got window_length {length} and dtype {kind}; expected a length >= 0 and floats"
        )
    last = length - 1 + bool(periodic)
    values = shape(np.arange(length) / last) if length > 1 else np.ones(length)
    return rv.tensor(values.astype(kind), requires_grad=requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **settings: Any
) -> rv.Tensor:
    """alpha - beta cos(2 pi t), t from 0 to 1.

    >>> hamming_window(4)
    tensor([0.0800, 0.5400, 1.0000, 0.5400])
    """
    shape = lambda t: alpha - beta * np.cos(2 * np.pi * t)  # noqa: E731
    return _window("hamming_window", window_length, periodic, shape, **settings)


def hann_window(window_length: int, periodic: bool = True, **settings: Any) -> rv.Tensor:
    """(1 - cos(2 pi t)) / 2, t from 0 to 1.

    >>> hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    shape = lambda t: np.sin(np.pi * t) ** 2  # noqa: E731
    return _window("hann_window", window_length, periodic, shape, **settings)


def blackman_window(window_length: int, periodic: bool = True, **settings: Any) -> rv.Tensor:
    """0.42 - 0.5 cos(2 pi t) + 0.08 cos(4 pi t), t from 0 to 1.

    >>> blackman_window(4)[1:]
    tensor([0.3400, 1.0000, 0.3400])
    """
    shape = lambda t: 0.42 - 0.5 * np.cos(2 * np.pi * t) + 0.08 * np.cos(4 * np.pi * t)  # noqa: E731
    return _window("blackman_window", window_length, periodic, shape, **settings)


def bartlett_window(window_length: int, periodic: bool = True, **settings: Any) -> rv.Tensor:
    """1 - |2 t - 1|, t from 0 to 1.

    >>> bartlett_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    shape = lambda t: 1 - abs(2 * t - 1)  # noqa: E731
    return _window("bartlett_window", window_length, periodic, shape, **settings)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, **settings: Any
) -> rv.Tensor:
    """I0(beta sqrt(1 - (2 t - 1)^2)) / I0(beta), t from 0 to 1, with the modified Bessel function I0.

    >>> kaiser_window(4, False, 0.0)
    tensor([1., 1., 1., 1.])
    """
    shape = lambda t: np.i0(beta * np.sqrt(np.maximum(1 - (2 * t - 1) ** 2, 0))) / np.i0(beta)  # noqa: E731
    return _window("kaiser_window", window_length, periodic, shape, **settings)
