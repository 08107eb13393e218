"""Functions of torch on complex numbers, which are `Complex` objects here (`pairs.py`).

Those below `_answer` are functions of torch themselves. Others reach `_answer` by the protocol
`__torch_function__`: a function of torch asks the class of its arguments before it computes.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier.torch.tensors.pairs import LACKS, Complex, as_complex, of_parts, product

if TYPE_CHECKING:
    from typing import TypeAlias

    from ranvier import Tensor
    from ranvier.tensors.types import TensorLike

    Operand: TypeAlias = TensorLike | Complex

SVDResult = namedtuple("SVDResult", "U S Vh")
# name of a function -> the method of Complex that computes it, where they differ
_METHODS = {
    "absolute": "abs",
    "multiply": "mul",
    "divide": "div",
    "true_divide": "div",
    "subtract": "sub",
    "__rdiv__": "__rtruediv__",
    "conj_physical": "conj",
    "concatenate": "cat",
}


def _answer(
    cls: type[Complex],
    function: Callable[..., Any],
    types: Iterable[type],
    args: Sequence[Any] = (),
    settings: dict[str, Any] | None = None,
) -> Any:
    """Complex.__torch_function__: computes a function of torch, by parts or by the method with its name."""
    name = getattr(function, "__name__", "")
    settings = settings or {}
    inner = getattr(function, "__wrapped__", function)
    # functions of this file and of `spectra.py` take complex numbers themselves
    if getattr(inner, "__module__", "").endswith((".pair_functions", ".spectra")):
        return inner(*args, **settings)
    first, *others = args
    if name in ("cat", "concat", "stack", "hstack", "vstack"):
        return _by_parts(first, lambda xs: function(xs, *others, **settings))
    if name == "einsum":
        return _einsum(function, *args)
    if name == "pad":
        return first._each(lambda x: function(x, *others, **settings))
    if name in ("norm", "linalg_norm", "linalg_vector_norm"):
        return function(first.abs(), *others, **settings)
    if name == "isfinite":
        return function(first.real) & function(first.imag)
    if name in ("isnan", "isinf"):
        return function(first.real) | function(first.imag)
    if name in ("real", "imag"):
        return getattr(first, name)
    if name == "isreal":
        return first.imag == 0
    if name == "where":
        return _by_parts(others, lambda xs: function(first, *xs))
    if name in ("constant_", "zeros_"):  # functions of nn.init
        with rv.no_grad():
            return first.fill_(*others)
    if name in ("dot", "outer", "bmm", "mm", "mv"):
        return product(function, *args)
    if name == "tensordot":
        second, *axes = others
        return product(lambda a, b: function(a, b, *axes, **settings), first, second)
    if name in ("linalg_svd", "linalg_svdvals"):
        return _singular_values(name, *args, **settings)
    if name in ("zeros_like", "ones_like", "empty_like", "full_like"):
        return complex_of(function(first.real, *others), rv.zeros_like(first.imag))
    if name == "rand_like":
        return view_as_complex(function(first._pairs, **settings))
    if name == "randn_like":  # each part has half of the variance
        return view_as_complex(function(first._pairs, **settings) * 0.5**0.5)
    method = getattr(as_complex(first, Complex), _METHODS.get(name, name), None)
    if method is None:
        raise TypeError(f"[torch.{name}] got complex numbers: {LACKS}")
    return method(*others, **settings)


Complex.__torch_function__ = classmethod(_answer)  # type: ignore[attr-defined]


def _parts_of(x: Operand) -> list[Any]:
    """The real and the imaginary part of a complex tensor or parameter; else x alone."""
    z = as_complex(x, Complex)
    if not isinstance(z, Complex):
        return [x]
    return [z.real, z.imag]


def _einsum(function: Callable[..., Any], equation: str, *operands: Operand) -> Complex:
    """einsum of complex numbers: the sum over all ways to take the real or the imaginary part of each.

    With k imaginary parts among them, a term counts times i^k.
    """
    real_terms: list[Any] = []
    imaginary_terms: list[Any] = []
    choices = [_parts_of(x) for x in operands]
    for numbered_parts in itertools.product(*map(enumerate, choices)):  # part 1 is the imaginary one
        k = sum(number for number, _ in numbered_parts)
        term = function(equation, *[part for _, part in numbered_parts])
        if k % 4 in (2, 3):  # i^2 = -1, i^3 = -i
            term = -term
        if k % 2 == 0:
            real_terms.append(term)
        else:
            imaginary_terms.append(term)
    return of_parts(_total(real_terms), _total(imaginary_terms))


def _total(terms: list[Any]) -> Any:
    """The sum of Tensors; from the first one, as 0 + x would be one more addition."""
    return functools.reduce(operator.add, terms)


def _singular_values(name: str, A: Complex, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """linalg.svd and svdvals, by NumPy and without gradients."""
    if A.requires_grad:
        raise NotImplementedError(f"[{name}] got complex numbers with gradients; expected A.detach()")
    matrices = np.asarray(A)
    if not np.isfinite(matrices).all():
        op = name.removeprefix("linalg_")
        raise rv.linalg.LinAlgError(f"[{op}] got a matrix without a result; expected finite values")
    if name == "linalg_svdvals":
        return rv.from_numpy(np.linalg.svd(matrices, compute_uv=False))
    U, S, Vh = np.linalg.svd(matrices, full_matrices)
    return SVDResult(as_complex(U), rv.from_numpy(S), as_complex(Vh))


def result_type(tensor: Operand, other: Operand) -> rv.dtype:
    """torch.result_type: a complex number makes a complex dtype.

    >>> result_type(rv.ones(2), 1j), result_type(rv.ones(2).double(), 1j), result_type(rv.arange(2), 1)
    (torch.complex64, torch.complex128, torch.int64)
    """
    is_complex = isinstance(tensor, (complex, Complex)) or isinstance(other, (complex, Complex))
    dtype = rv.result_type(_real_part(tensor), _real_part(other))
    if not is_complex:
        return dtype
    if dtype == rv.float64:
        return rv.complex128
    return rv.complex64


def _real_part(x: Operand) -> Any:
    if isinstance(x, (complex, Complex)):
        return x.real
    return x


def _by_parts(numbers: Iterable[Operand], function: Callable[[list[Tensor]], Tensor]) -> Complex:
    """The complex result of function(list of real parts) and function(list of imaginary parts)."""
    xs = [as_complex(x, Complex) for x in numbers]
    return of_parts(function([x.real for x in xs]), function([x.imag for x in xs]))


def of_numbers(name: str, a: Tensor | complex, b: Tensor | complex) -> Any:
    """The result of an operator for a tensor and a complex number of Python; name: the name of the op.

    The core calls it for an element-wise op (`provider("complex numbers")`).
    """
    if name == "div":
        function = operator.truediv
    else:
        function = getattr(operator, name)
    return function(_as_complex_tensor(a), _as_complex_tensor(b))


def _as_complex_tensor(x: Tensor | complex) -> Complex | complex:
    """A tensor as complex numbers with the imaginary part 0; a number as it is."""
    if isinstance(x, rv.Tensor):
        return of_parts(x, rv.zeros_like(x))
    return x


def complex_of(real: Tensor, imag: Tensor) -> Complex:
    """torch.complex: re + i im."""
    if real.dtype != imag.dtype or not real.is_floating_point():
        raise RuntimeError(
            f"[complex] got parts of {real.dtype} and {imag.dtype}; expected both float32 or both float64"
        )
    return of_parts(real, imag)


def polar(abs: Tensor, angle: Tensor) -> Complex:
    """abs exp(i angle)."""
    return of_parts(abs * rv.cos(angle), abs * rv.sin(angle))


def view_as_complex(input: Tensor) -> Complex:
    """Pairs of real numbers (.., 2) as complex numbers, on the same memory."""
    if input.ndim == 0 or input.shape[-1] != 2:
        raise RuntimeError(f"[view_as_complex] got shape {tuple(input.shape)}; expected a last axis of 2")
    if input.stride(-1) != 1:
        raise RuntimeError(
            f"[view_as_complex] got pairs {input.stride(-1)} elements apart; expected adjacent ones: "
            "x.contiguous()"
        )
    return Complex(input)


def view_as_real(input: Tensor | Complex) -> Any:
    """Complex numbers as pairs of real numbers (.., 2), on the same memory."""
    if not isinstance(input, Complex):
        raise RuntimeError(f"[view_as_real] got {type(input).__name__}; expected complex numbers")
    return input._memory("view_as_real")


def angle(input: Tensor | Complex) -> Any:
    """The angle of numbers: 0 or pi of real ones."""
    if isinstance(input, Complex):
        return input.angle()
    return rv.where(input < 0, rv.pi, input * 0.0)


def imag(input: Tensor | Complex) -> Any:
    if not isinstance(input, Complex):
        raise RuntimeError("[imag] got a real tensor; expected complex numbers")
    return input.imag


def is_tensor(obj: object) -> bool:
    return isinstance(obj, (rv.Tensor, Complex))


def cfloat(input: Tensor) -> Complex:
    return complex_of(input.float(), rv.zeros_like(input, dtype=rv.float32))


def cdouble(input: Tensor) -> Complex:
    return complex_of(input.double(), rv.zeros_like(input, dtype=rv.float64))
