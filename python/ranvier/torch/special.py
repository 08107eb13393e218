"""Functions of torch.special for which the library has no op; they are formulas of its ops."""

from __future__ import annotations

import math
from typing import Any

import ranvier as rv
from ranvier.tape.function import in_dtypes


def erfcx(input: Any) -> rv.Tensor:
    """exp(x^2) erfc(x), the scaled complement of the error function, computed in float64.

    From 20 on by its series 1 / (x sqrt(pi)) (1 - 1 / (2 x^2) + 3 / (2 x^2)^2 - 15 / (2 x^2)^3 ...), whose
    seventh term is below 2e-16 there. Source: Abramowitz and Stegun, 7.1.23.

    >>> import ranvier as rv
    >>> erfcx(rv.tensor([0.0, 1.0, 1e6])).tolist()[0]
    1.0
    """
    x = rv.as_tensor(input)
    dtype = x.dtype if x.is_floating_point() else rv.get_default_dtype()
    x = x.to(rv.float64)
    near, far = x.clamp(max=20.0), x.clamp(min=20.0)
    step, series = 0.5 / (far * far), rv.ones_like(far)
    for k in (11, 9, 7, 5, 3, 1):
        series = 1.0 - k * step * series
    value = rv.where(x < 20.0, rv.exp(near * near) * rv.erfc(near), series / (far * math.sqrt(math.pi)))
    return value.to(dtype)


def ndtr(input: rv.Tensor) -> rv.Tensor:
    """The normal distribution's cumulative function."""
    return rv.erfc(input * -math.sqrt(0.5)) / 2


def log_ndtr(input: rv.Tensor) -> rv.Tensor:
    """The logarithm of :func:`ndtr`.

    >>> import ranvier as rv
    >>> log_ndtr(rv.tensor([-20.0, 0.0]))
    tensor([-203.9172,   -0.6931])
    """
    far, near = input.clamp(max=-1.0), input.clamp(min=-1.0)
    tail = rv.log(erfcx(far * -math.sqrt(0.5)) / 2) - far * far / 2
    return rv.where(input < -1, tail, rv.log1p(rv.erfc(near * math.sqrt(0.5)) / -2))


def ndtri(input: rv.Tensor) -> rv.Tensor:
    """The inverse of :func:`ndtr`."""
    return rv.erfinv(2 * input - 1) * math.sqrt(2)


def entr(input: rv.Tensor) -> rv.Tensor:
    """-x log(x), 0 at 0 and -inf below."""
    # The slope at 0 is infinite; the branch of a root gives this gradient.
    x, root = rv.where(input <= 0, 1.0, input), rv.where(input.eq(0), input + 0.0, 1.0).sqrt()
    return rv.where(input < 0, -math.inf, rv.where(input.eq(0), root, -x * x.log()))


@in_dtypes()
def xlog1py(input: rv.Tensor, other: rv.Tensor) -> rv.Tensor:
    """x log(1 + y), 0 where x is 0 and y a number."""
    return rv.where(input.eq(0) & ~other.isnan(), 0.0, input * rv.log1p(other))
