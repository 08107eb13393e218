"""Functions of torch on complex numbers, which are `Complex` objects here (`pairs.py`)."""

from __future__ import annotations

import itertools
import operator
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier as rv
from ranvier.torch.tensors.pairs import LACKS, Complex, as_complex, of_parts, product

SVDResult = namedtuple("SVDResult", "U S Vh")
_SAME = {"absolute": "abs", "multiply": "mul", "divide": "div", "true_divide": "div", "subtract": "sub"}
_SAME |= {"__rdiv__": "__rtruediv__", "conj_physical": "conj", "concatenate": "cat"}


def _answered(cls: Any, function: Any, types: Any, args: Any = (), settings: Any = None) -> Any:
    """Complex.__torch_function__: computes a function of torch, by parts or by the method with its name."""
    name = getattr(function, "__name__", "")
    settings = settings or {}
    inner = getattr(function, "__wrapped__", function)
    if getattr(inner, "__module__", "").endswith((".pair_functions", ".spectra")):
        return inner(*args, **settings)
    if name in ("cat", "concat", "stack", "hstack", "vstack"):
        return _by_parts(args[0], lambda xs: function(xs, *args[1:], **settings))
    if name == "einsum":
        return _einsum(function, *args)
    if name == "pad":
        return args[0]._each(lambda x: function(x, *args[1:], **settings))
    if name in ("norm", "linalg_norm", "linalg_vector_norm"):
        return function(args[0].abs(), *args[1:], **settings)
    if name in ("isfinite", "isnan", "isinf"):
        tests = [function(x) for x in (args[0].real, args[0].imag)]
        if name == "isfinite":
            return tests[0] & tests[1]
        return tests[0] | tests[1]
    if name in ("real", "imag"):
        return getattr(args[0], name)
    if name == "isreal":
        return args[0].imag == 0
    if name == "where":
        return _by_parts(args[1:], lambda xs: function(args[0], *xs))
    if name in ("constant_", "zeros_"):  # functions of nn.init
        with rv.no_grad():
            return args[0].fill_(*args[1:])
    if name in ("dot", "outer", "bmm", "mm", "mv"):
        return product(function, *args)
    if name == "tensordot":
        return product(lambda a, b: function(a, b, *args[2:], **settings), *args[:2])
    if name in ("linalg_svd", "linalg_svdvals"):
        return _singular_values(name, *args, **settings)
    if name in ("zeros_like", "ones_like", "empty_like", "full_like"):
        return complex_of(function(args[0].real, *args[1:]), rv.zeros_like(args[0].imag))
    if name in ("rand_like", "randn_like"):
        drawn = function(args[0]._pairs, **settings)
        return view_as_complex(drawn if name == "rand_like" else drawn * 0.5**0.5)
    method = getattr(as_complex(args[0], Complex), _SAME.get(name, name), None)
    if method is None:
        raise TypeError(f"[torch.{name}] got complex numbers: {LACKS}")
    return method(*args[1:], **settings)


Complex.__torch_function__ = classmethod(_answered)  # type: ignore[attr-defined]


def _parts_of(x: Any) -> list[Any]:
    """The real and the imaginary part of a complex tensor or parameter; else x alone."""
    z = as_complex(x, Complex)
    if not isinstance(z, Complex):
        return [x]
    return [z.real, z.imag]


def _einsum(function: Callable[..., Any], equation: str, *operands: Any) -> Complex:
    """einsum of complex numbers: the sum over all ways to take the real or the imaginary part of each.

    With k imaginary parts among them, a term counts times i^k.
    """
    choices = [_parts_of(x) for x in operands]
    parts: list[list[Any]] = [[], []]  # the terms of the real and of the imaginary part
    for picked in itertools.product(*map(enumerate, choices)):
        turns = sum(is_imaginary for is_imaginary, _ in picked)
        term = function(equation, *(x for _, x in picked))
        parts[turns % 2].append(-term if turns % 4 in (2, 3) else term)
    return of_parts(sum(parts[0][1:], parts[0][0]), sum(parts[1][1:], parts[1][0]))


def _singular_values(name: str, A: Complex, full_matrices: bool = True, *, driver: Any = None) -> Any:
    """linalg.svd and svdvals, by NumPy and without gradients."""
    if A.requires_grad:
        raise NotImplementedError(f"[{name}] got complex numbers with gradients; expected A.detach()")
    matrices = np.asarray(A)
    if not np.isfinite(matrices).all():
        own = name.removeprefix("linalg_")
        raise rv.linalg.LinAlgError(f"[{own}] got a matrix without a result; expected finite values")
    if name == "linalg_svdvals":
        return rv.from_numpy(np.linalg.svd(matrices, compute_uv=False))
    U, S, Vh = np.linalg.svd(matrices, full_matrices)
    return SVDResult(as_complex(U), rv.from_numpy(S), as_complex(Vh))


def result_type(tensor: Any, other: Any) -> Any:
    """torch.result_type: a complex number makes a complex dtype.

    >>> result_type(rv.ones(2), 1j), result_type(rv.ones(2).double(), 1j), result_type(rv.arange(2), 1)
    (torch.complex64, torch.complex128, torch.int64)
    """
    parts = [x.real if isinstance(x, (complex, Complex)) else x for x in (tensor, other)]
    dtype = rv.result_type(*parts)
    if not isinstance(tensor, (complex, Complex)) and not isinstance(other, (complex, Complex)):
        return dtype
    if dtype == rv.float64:
        return rv.complex128
    return rv.complex64


def _by_parts(numbers: Any, function: Callable[[list[Any]], Any]) -> Any:
    """The complex result of function(list of real parts) and function(list of imaginary parts)."""
    xs = [as_complex(x, Complex) for x in numbers]
    return of_parts(function([x.real for x in xs]), function([x.imag for x in xs]))


def of_numbers(name: str, a: Any, b: Any) -> Any:
    """The result of an operator for a tensor and a complex number of Python; name: the name of the op."""
    a, b = (of_parts(x, rv.zeros_like(x)) if rv.is_tensor(x) else x for x in (a, b))
    return getattr(operator, {"div": "truediv"}.get(name, name))(a, b)


def complex_of(real: Any, imag: Any) -> Complex:
    """torch.complex: re + i im."""
    if real.dtype != imag.dtype or not real.is_floating_point():
        raise RuntimeError(
            f"[complex] got parts of {real.dtype} and {imag.dtype}; expected both float32 or both float64"
        )
    return of_parts(real, imag)


def polar(abs: Any, angle: Any) -> Complex:
    """abs exp(i angle)."""
    return of_parts(abs * rv.cos(angle), abs * rv.sin(angle))


def view_as_complex(input: Any) -> Complex:
    """Pairs of real numbers (.., 2) as complex numbers, on the same memory."""
    if input.ndim == 0 or input.shape[-1] != 2:
        raise RuntimeError(f"[view_as_complex] got shape {tuple(input.shape)}; expected a last axis of 2")
    if input.stride(-1) != 1:
        raise RuntimeError(
            f"[view_as_complex] got pairs {input.stride(-1)} elements apart; expected adjacent ones: "
            "x.contiguous()"
        )
    return Complex(input)


def view_as_real(input: Any) -> Any:
    """Complex numbers as pairs of real numbers (.., 2), on the same memory."""
    if not isinstance(input, Complex):
        raise RuntimeError(f"[view_as_real] got {type(input).__name__}; expected complex numbers")
    return input._memory("view_as_real")


def angle(input: Any) -> Any:
    """The angle of numbers: 0 or pi of real ones."""
    if isinstance(input, Complex):
        return input.angle()
    return rv.where(input < 0, rv.pi, input * 0.0)


def imag(input: Any) -> Any:
    if not isinstance(input, Complex):
        raise RuntimeError("[imag] got a real tensor; expected complex numbers")
    return input.imag


def is_tensor(obj: Any) -> bool:
    return isinstance(obj, (rv.Tensor, Complex))


def cfloat(input: Any) -> Complex:
    return complex_of(input.float(), rv.zeros_like(input, dtype=rv.float32))


def cdouble(input: Any) -> Complex:
    return complex_of(input.double(), rv.zeros_like(input, dtype=rv.float64))
