"""Complex numbers of programs that use Fourier transforms: a pair of real tensors, no dtype of tensors.

``torch.stft``, ``istft``, ``fft``, ``complex``, ``polar``, ``view_as_complex`` and ``view_as_real`` make and
read a `Complex`. It has the arithmetic, the parts and the shapes of complex tensors, with gradients; what it
lacks is refused by name.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier as rv

# what complex numbers have as their parts do, along the same arguments
_LINEAR = """
    broadcast_to chunk clone contiguous cumsum detach diagonal diff expand flatten flip gather index_select
    masked_select mean movedim narrow permute repeat repeat_interleave reshape roll select split squeeze
    sum swapaxes t take tile trace transpose tril triu unbind unflatten unfold unsqueeze view
"""


def _of_parts(function: Callable[[Any, Any], Any]) -> Any:
    def call(self: Any, other: Any) -> Any:
        other = as_complex(other, self)
        return Complex(function(self.real, other.real), function(self.imag, other.imag))

    return call


def _assigned(function: Callable[[Any, Any], Any]) -> Any:
    return lambda self, other: self._set(function(self, other))


_OF_A_PART = ("device", "dim", "is_meta", "numel", "size")  # those of complex numbers, too


class Complex:
    """re + i im, of two real tensors of one shape and dtype.

    >>> z = Complex(rv.tensor([3.0]), rv.tensor([4.0]))
    >>> z.abs(), (z * z.conj()).real, (z + 1).tolist()
    (tensor([5.]), tensor([25.]), [(4+4j)])
    """

    _kind = rv.Tensor  # what files have it as

    def __init__(self, real: Any, imag: Any, pair: Any = None) -> None:
        self.real, self.imag = real, imag
        self._pair = pair  # what real and imag are views of, or None

    shape = property(lambda self: self.real.shape)
    ndim = property(lambda self: self.real.ndim)
    itemsize = property(lambda self: 2 * self.real.itemsize)
    nbytes = property(lambda self: 2 * self.real.nbytes)
    dtype = property(lambda self: self.real.dtype.to_complex())
    requires_grad = property(lambda self: self.real.requires_grad or self.imag.requires_grad)
    grad_fn = property(lambda self: self.real.grad_fn or self.imag.grad_fn)
    data = property(lambda self: self.detach())
    mT = property(lambda self: self.transpose(-1, -2))
    mH = property(lambda self: self.mT.conj())
    T = property(lambda self: self._each(lambda x: x.T))
    H = property(lambda self: self.T.conj())
    is_sparse = is_cuda = is_quantized = is_nested = False
    # to isinstance: a Tensor in programs, in this library, whose functions take Tensors for arrays, none
    __class__ = property(
        lambda self: (
            Complex if sys._getframe(1).f_globals.get("__name__", "")[:8] == "ranvier." else rv.Tensor
        )
    )

    def _each(self, function: Callable[[Any], Any]) -> Any:
        """The function of each part: complex numbers, or several."""
        real, imag = function(self.real), function(self.imag)
        if isinstance(real, (tuple, list)):
            return type(real)(Complex(*parts) for parts in zip(real, imag, strict=True))
        return Complex(real, imag)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), settings: Any = None) -> Any:
        """A function of torch: of lists and masks, or the method of its name."""
        name, settings = getattr(function, "__name__", ""), settings or {}
        inner = getattr(function, "__wrapped__", function)
        if getattr(inner, "__module__", "") in (__name__, f"{__package__}.spectra"):
            return inner(*args, **settings)
        if name in ("cat", "concat", "stack", "hstack", "vstack"):
            parts = [as_complex(x, cls) for x in args[0]]
            return Complex(*(function([getattr(x, p) for x in parts], *args[1:], **settings) for p in _PARTS))
        if name == "einsum" and len(args) == 3:
            return _product(lambda a, b: function(args[0], a, b), *args[1:])
        if name == "pad":
            return args[0]._each(lambda x: function(x, *args[1:], **settings))
        if name in ("norm", "linalg_norm", "linalg_vector_norm"):
            return function(args[0].abs(), *args[1:], **settings)
        if name in ("isfinite", "isnan", "isinf"):
            tests = [function(x) for x in (args[0].real, args[0].imag)]
            return tests[0] & tests[1] if name == "isfinite" else tests[0] | tests[1]
        if name in (*_PARTS, "isreal"):
            return args[0].imag == 0 if name == "isreal" else getattr(args[0], name)
        if name == "where":
            choices = [as_complex(x, cls) for x in args[1:]]
            return Complex(*(function(args[0], *[getattr(x, p) for x in choices]) for p in _PARTS))
        if name in ("constant_", "zeros_"):  # of nn.init
            with rv.no_grad():
                return args[0].fill_(*args[1:])
        if name in ("dot", "outer", "bmm", "mm", "mv"):
            return _product(function, *args)
        if name in ("zeros_like", "ones_like", "empty_like", "full_like"):
            return complex_of(function(args[0].real, *args[1:]), rv.zeros_like(args[0].imag))
        if name in ("rand_like", "randn_like"):
            drawn = function(view_as_real(args[0]), **settings)
            return view_as_complex(drawn if name == "rand_like" else drawn * 0.5**0.5)
        method = getattr(as_complex(args[0], cls), _SAME.get(name, name), None)
        if method is None:
            raise TypeError(f"[torch.{name}] got complex numbers: {_LACKS}")
        return method(*args[1:], **settings)

    def __getattr__(self, name: str) -> Any:
        if name in _OF_A_PART:
            return getattr(self.real, name)
        if name in _LINEAR.split():
            return lambda *args, **settings: self._each(lambda x: getattr(x, name)(*args, **settings))
        if name[-1:] == "_" != name[-2:-1] and name[:-1] in _IN_PLACE:
            return lambda other, alpha=1: self._set(getattr(self, name[:-1])(other * alpha))
        raise AttributeError(f"'Complex' object has no attribute {name!r}: {_LACKS}", name=name, obj=self)

    def __reduce__(self) -> Any:
        return view_as_complex, (view_as_real(self),)

    def copy_(self, other: Any, non_blocking: bool = False) -> Any:
        array = getattr(other, "_array", other)
        return self._set(as_complex(array if array.dtype.kind == "c" else other))

    def fill_(self, value: Any = 0.0) -> Any:
        return self._set(as_complex(value))

    zero_ = fill_

    def _set(self, value: Any) -> Any:
        self.real[...], self.imag[...] = value.real, value.imag
        return self

    def __getitem__(self, key: Any) -> Any:
        if self._pair is None:
            return Complex(self.real[key], self.imag[key])
        if key is Ellipsis or (isinstance(key, tuple) and any(x is Ellipsis for x in key)):
            key = (*(key if isinstance(key, tuple) else (key,)), slice(None))
        return view_as_complex(self._pair[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        value = as_complex(value)
        self.real[key], self.imag[key] = value.real, value.imag

    def __len__(self) -> int:
        return len(self.real)

    def __iter__(self) -> Any:
        return iter(self.unbind(0))

    def __repr__(self) -> str:
        return f"Complex({self.real!r}, {self.imag!r})"

    def __eq__(self, other: Any) -> Any:
        other = as_complex(other)
        return (self.real == other.real) & (self.imag == other.imag)

    def __ne__(self, other: Any) -> Any:
        return ~(self == other)

    def __bool__(self) -> bool:
        return bool(self.item())

    __hash__ = object.__hash__

    def is_complex(self) -> bool:
        return True

    def is_floating_point(self) -> bool:
        return False

    # --- parts

    def abs(self) -> Any:
        """sqrt(re^2 + im^2), with the gradient 0 at 0."""
        return rv.linalg.vector_norm(view_as_real(self), dim=-1)

    __abs__ = abs

    def angle(self) -> Any:
        return rv.atan2(self.imag, self.real)

    def conj(self) -> Any:
        return Complex(self.real, -self.imag)

    def sgn(self) -> Any:
        size = self.abs()
        return self / rv.where(size == 0, 1.0, size)

    # --- arithmetic

    __add__, __sub__ = _of_parts(operator.add), _of_parts(operator.sub)

    def __neg__(self) -> Any:
        return Complex(-self.real, -self.imag)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        return _product(operator.mul, self, other)

    def __truediv__(self, other: Any) -> Any:
        if _is_real(other):
            return Complex(self.real / other, self.imag / other)
        if isinstance(other, complex):
            return self * (1 / other)
        return self * as_complex(other).reciprocal()

    def __rtruediv__(self, other: Any) -> Any:
        return self.reciprocal() * other

    def __pow__(self, power: Any) -> Any:
        if power not in (1, 2, 3, 4):
            raise NotImplementedError(
                f"[pow] got a power {power!r} of complex numbers; expected 1, 2, 3 or 4"
            )
        return self if power == 1 else self * self ** (power - 1)

    def __matmul__(self, other: Any) -> Any:
        return _product(operator.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _product(operator.matmul, other, self)

    __iadd__ = _assigned(operator.add)
    __isub__ = _assigned(operator.sub)
    __imul__ = _assigned(operator.mul)
    __itruediv__ = _assigned(operator.truediv)
    __radd__ = add = __add__
    __rmul__ = mul = __mul__
    sub, div, pow, matmul, neg = __sub__, __truediv__, __pow__, __matmul__, __neg__

    def reciprocal(self) -> Any:
        """1 / z, by way of z / the larger part, so that no square overflows."""
        scale = rv.maximum(self.real.detach().abs(), self.imag.detach().abs())
        z = self / scale
        return z.conj() / ((z.real * z.real + z.imag * z.imag) * scale)

    def square(self) -> Any:
        return self * self

    def exp(self) -> Any:
        return polar(self.real.exp(), self.imag)

    def log(self) -> Any:
        return Complex(self.abs().log(), self.angle())

    # --- other kinds

    def to(self, *args: Any, **settings: Any) -> Any:
        dtype = next((x for x in (*args, *settings.values()) if isinstance(x, rv.dtype)), self.dtype)
        if not dtype.is_complex:
            raise TypeError(f"[to] got {dtype} for complex numbers; expected z.real or z.abs()")
        return self._each(lambda x: x.to(dtype.to_real()))

    def cpu(self) -> Any:
        return self

    def istft(self, *args: Any, **settings: Any) -> Any:
        return rv.istft(view_as_real(self), *args, **settings)

    def expand_as(self, other: Any) -> Any:
        return self.expand(other.shape)

    def is_contiguous(self) -> bool:
        return self._pair is not None and self._pair.is_contiguous()

    resolve_conj = resolve_neg = cpu

    def numpy(self) -> Any:
        return np.asarray(self.real.numpy() + 1j * self.imag.numpy())

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.detach().numpy()

    def tolist(self) -> Any:
        return self.detach().numpy().tolist()

    def item(self) -> complex:
        return complex(self.real.item(), self.imag.item())


_PARTS = ("real", "imag")
_SAME = {"absolute": "abs", "multiply": "mul", "divide": "div", "true_divide": "div", "subtract": "sub"}
_SAME |= {"__rdiv__": "__rtruediv__", "conj_physical": "conj", "concatenate": "cat"}
_IN_PLACE = ("add", "sub", "mul", "div")
_LACKS = "complex numbers are pairs of real tensors here, without it; z.real and z.imag have all operations"


def _is_real(x: Any) -> bool:
    return not isinstance(x, (Complex, complex)) and getattr(getattr(x, "dtype", None), "kind", "f") != "c"


def as_complex(x: Any, like: Any = None) -> Any:
    """A number or a tensor as complex numbers; the imaginary part of a real tensor is 0.0, with `like` a
    tensor."""
    if type(x) is Complex:
        return x
    if rv.is_tensor(x) and x.is_complex():
        return x[...]  # of a parameter
    if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "c":
        return view_as_complex(rv.from_numpy(np.stack([x.real, x.imag], -1)))
    if isinstance(x, complex):
        return Complex(x.real, x.imag)
    return Complex(x, 0.0 if like is None or not rv.is_tensor(x) else rv.zeros_like(x))


def _product(function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """A product of two, of numbers of which one is complex."""
    if _is_real(b):
        return Complex(function(a.real, b), function(a.imag, b))
    b = as_complex(b)
    if _is_real(a):
        return Complex(function(a, b.real), function(a, b.imag))
    real = function(a.real, b.real) - function(a.imag, b.imag)
    return Complex(real, function(a.real, b.imag) + function(a.imag, b.real))


def of_numbers(name: str, a: Any, b: Any) -> Any:
    """a op b of a tensor and a complex number."""
    a, b = (Complex(x, rv.zeros_like(x)) if rv.is_tensor(x) else x for x in (a, b))
    return getattr(operator, {"div": "truediv"}.get(name, name))(a, b)


# --- functions of torch


def complex_of(real: Any, imag: Any) -> Complex:
    """torch.complex: re + i im."""
    if real.dtype != imag.dtype or not real.is_floating_point():
        raise RuntimeError(
            f"[complex] got parts of {real.dtype} and {imag.dtype}; expected both float32 or both float64"
        )
    return view_as_complex(rv.stack(rv.broadcast_tensors(real, imag), -1))  # a copy, as in PyTorch


def polar(abs: Any, angle: Any) -> Complex:
    """abs exp(i angle)."""
    return Complex(abs * rv.cos(angle), abs * rv.sin(angle))


def view_as_complex(input: Any) -> Complex:
    """The complex numbers of pairs (.., 2): views of their memory."""
    if input.ndim == 0 or input.shape[-1] != 2:
        raise RuntimeError(f"[view_as_complex] got shape {tuple(input.shape)}; expected a last axis of 2")
    return Complex(input[..., 0], input[..., 1], input)


def view_as_real(input: Any) -> Any:
    """The pairs (.., 2) of complex numbers: their memory where `view_as_complex` or a transform has made
    them, else a copy."""
    if not isinstance(input, Complex):
        raise RuntimeError(f"[view_as_real] got {type(input).__name__}; expected complex numbers")
    return rv.stack([input.real, input.imag], -1) if input._pair is None else input._pair


def angle(input: Any) -> Any:
    """The angle of numbers: 0 or pi of real ones."""
    return input.angle() if isinstance(input, Complex) else rv.where(input < 0, rv.pi, input * 0.0)


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
