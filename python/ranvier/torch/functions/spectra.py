"""torch.stft, torch.istft and torch.fft: this library's transforms, with complex numbers.

The transforms of `ranvier.fft` take and return complex numbers as pairs, Tensors of shape (..., 2). Programs
of PyTorch have `Complex` in their place (`torch/tensors/pairs.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ranvier as rv
import ranvier.fft as transforms
from ranvier import Tensor
from ranvier.tensors.types import Axes
from ranvier.torch.tensors.pair_functions import view_as_complex
from ranvier.torch.tensors.pairs import Complex, of_parts


def stft(input: Tensor, *args: Any, return_complex: bool | None = None, **settings: Any) -> Any:
    """torch.stft: complex numbers with return_complex=True, pairs with False."""
    if return_complex is None:
        raise RuntimeError("[stft] got return_complex=None; expected return_complex=True for real inputs")
    if settings.pop("align_to_window", None) is not None:
        raise NotImplementedError("[stft] got align_to_window; expected a signal padded before")
    pairs = rv.stft(input, *args, **settings)
    if return_complex:
        return view_as_complex(pairs)
    return pairs


def istft(input: Tensor | Complex, *args: Any, **settings: Any) -> Any:
    """torch.istft: of complex numbers."""
    if not isinstance(input, Complex):
        raise RuntimeError("[istft] got a real tensor; expected complex numbers: torch.view_as_complex")
    return rv.istft(input._pairs, *args, **settings)


def _transform(name: str) -> Callable[..., Any]:
    """The function of torch.fft with this name: ranvier's, with complex numbers in place of pairs.

    The names say what is real: "rfft" takes real numbers, and "irfft" returns them.
    """
    function = getattr(transforms, name)
    takes_real = name.startswith("r")
    returns_real = name.startswith("ir")

    def call(input: Tensor | Complex, *args: Any, **settings: Any) -> Any:
        if takes_real:
            return view_as_complex(function(input, *args, **settings))
        if not isinstance(input, Complex):
            if not input.is_floating_point():
                input = input.to(rv.get_default_dtype())
            input = of_parts(input, rv.zeros_like(input))
        result = function(input._pairs, *args, **settings)
        if returns_real:
            return result
        return view_as_complex(result)

    call.__name__ = name
    call.__qualname__ = name
    call.__doc__ = f"torch.fft.{name}: :func:`ranvier.fft.{name}` with complex numbers."
    return call


def fftshift(input: Tensor | Complex, dim: Axes = None) -> Any:
    """torch.fft.fftshift: :func:`ranvier.fft.fftshift`, also of complex numbers."""
    if isinstance(input, Complex):
        return input._each(partial(transforms.fftshift, dim=dim))
    return transforms.fftshift(input, dim)


def ifftshift(input: Tensor | Complex, dim: Axes = None) -> Any:
    """torch.fft.ifftshift: :func:`ranvier.fft.ifftshift`, also of complex numbers."""
    if isinstance(input, Complex):
        return input._each(partial(transforms.ifftshift, dim=dim))
    return transforms.ifftshift(input, dim)


fft = _transform("fft")
ifft = _transform("ifft")
rfft = _transform("rfft")
irfft = _transform("irfft")
fftn = _transform("fftn")
ifftn = _transform("ifftn")
rfftn = _transform("rfftn")
irfftn = _transform("irfftn")
fft2 = _transform("fft2")
ifft2 = _transform("ifft2")
rfft2 = _transform("rfft2")
irfft2 = _transform("irfft2")
