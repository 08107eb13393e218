"""`Complex`: complex numbers as a real tensor of pairs (.., 2), since tensors have no complex dtype.

It is for programs that use Fourier transforms: ``torch.stft``, ``istft``, ``fft``, ``complex``, ``polar``,
``view_as_complex`` and ``view_as_real`` return or take it. It has arithmetic, parts, views and shapes, with
gradients; other operations are refused by name. Parts, views and conjugates share its memory.
"""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import ranvier as rv
from ranvier.extension import provider

# Methods that complex numbers have as their parts do, with the same arguments: views in another order, of
# another shape or of some elements, and methods that make new numbers.
_ORDERS = frozenset({"moveaxis", "movedim", "permute", "swapaxes", "swapdims", "t", "transpose"})
_FORMS = frozenset({"flatten", "ravel", "reshape", "squeeze", "unflatten", "unsqueeze", "view"})
_OTHERS = "broadcast_to chunk diagonal expand narrow select split unbind unfold"
_NEW = """
    cumsum diag diag_embed diff flip fliplr flipud gather index_select masked_select mean repeat
    repeat_interleave roll rot90 sum take tile trace tril triu
"""


class Parts(NamedTuple):
    """The real and the imaginary part of a number; for a real tensor the imaginary part is zeros or 0.0."""

    real: Any
    imag: Any


def _of_parts(function: Callable[[Any, Any], Any]) -> Any:
    def call(self: Any, other: Any) -> Any:
        if isinstance(other, Complex):
            return Complex(function(self._pairs, other._pairs))
        other = as_complex(other, self)
        return of_parts(function(self.real, other.real), function(self.imag, other.imag))

    return call


def _assigned(function: Callable[[Any, Any], Any]) -> Any:
    return lambda self, other: self._set(function(self, other))


_OF_A_PART = ("device", "dim", "is_meta", "numel", "size")  # answered by the real part


class Complex:
    """Complex numbers on a real tensor `pair` (.., 2), which has re and im; conjugate: they are re - i im.

    >>> z = Complex(rv.tensor([[3.0, 4.0]]))
    >>> z.abs(), (z * z.conj()).real, (z + 1).tolist()
    (tensor([5.]), tensor([25.]), [(4+4j)])
    >>> z.imag = z.conj().imag; z.tolist()
    [(3-4j)]
    """

    _kind = rv.Tensor  # the class that files name
    __array_priority__ = 1000  # operators of NumPy's numbers and arrays leave the work to these numbers

    def __init__(self, pair: Any, conjugate: bool = False) -> None:
        self._pair = pair
        self._conjugate = conjugate

    shape = property(lambda self: self._pair.shape[:-1])
    ndim = property(lambda self: self._pair.ndim - 1)
    itemsize = property(lambda self: 2 * self._pair.itemsize)
    nbytes = property(lambda self: self._pair.nbytes)
    dtype = property(lambda self: self._pair.dtype.to_complex())
    requires_grad = property(lambda self: self._pair.requires_grad)
    grad_fn = property(lambda self: self.real.grad_fn)
    data = property(lambda self: self.detach())
    mT = property(lambda self: self.transpose(-1, -2))
    mH = property(lambda self: self.mT.conj())
    T = property(lambda self: self.permute(*range(self.ndim)[::-1]))
    H = property(lambda self: self.T.conj())
    is_sparse = is_cuda = is_quantized = is_nested = False
    # isinstance(z, Tensor) is true for programs, but false for code of this library, which expects every
    # Tensor to have a NumPy array.
    __class__ = property(
        lambda self: (
            Complex if sys._getframe(1).f_globals.get("__name__", "")[:8] == "ranvier." else rv.Tensor
        )
    )

    @property
    def real(self) -> Any:
        """A view."""
        return self._pair[..., 0]

    @real.setter
    def real(self, value: Any) -> None:
        self._pair[..., 0] = value

    @property
    def imag(self) -> Any:
        """A view; that of a conjugate can only be read."""
        if self._conjugate:
            return _read_only(-self._pair[..., 1])
        return self._pair[..., 1]

    @imag.setter
    def imag(self, value: Any) -> None:
        self._pair[..., 1] = -value if self._conjugate else value

    @property
    def _pairs(self) -> Any:
        """The numbers as pairs: the memory itself, or a copy for a conjugate."""
        if self._conjugate:
            return rv.stack([self.real, self.imag], -1)
        return self._pair

    def _each(self, function: Callable[[Any], Any]) -> Any:
        """New numbers whose parts are function(real) and function(imag)."""
        return of_parts(function(self.real), function(self.imag))

    def _view(self, name: str, *args: Any, **settings: Any) -> Any:
        """The result of a method such as permute or split: views of the pairs, or new numbers."""
        pair = self._pair
        n = self.ndim
        if name in _ORDERS:  # applied to axes of 2, 3, 4 ... elements, the sizes tell the new order of axes
            axes = getattr(rv.zeros(()).expand(*range(2, n + 2)), name)(*args, **settings).shape
            return Complex(pair.permute(*[size - 2 for size in axes], n), self._conjugate)
        part = pair.detach()[..., 0]
        found = getattr(part, name)(*args, **settings)
        if name == "view":
            return Complex(pair.view(*found.shape, 2), self._conjugate)
        if name in _FORMS:
            return Complex(pair.reshape(*found.shape, 2), self._conjugate)

        def shown(x: Any) -> Complex:
            steps = (*x.stride(), pair.stride(-1))
            return Complex(rv.as_strided(pair, (*x.shape, 2), steps, x.storage_offset()), self._conjugate)

        if isinstance(found, (tuple, list)):
            return type(found)(map(shown, found))
        return shown(found)

    def __getattr__(self, name: str) -> Any:
        if name in _OF_A_PART:
            return getattr(self.real, name)
        if name in _NEW.split():
            return lambda *args, **settings: self._each(lambda x: getattr(x, name)(*args, **settings))
        if name in _ORDERS or name in _FORMS or name in _OTHERS.split():
            return functools.partial(self._view, name)
        if name[-1:] == "_" != name[-2:-1] and name[:-1] in _IN_PLACE:
            return lambda other, alpha=1: self._set(getattr(self, name[:-1])(other * alpha))
        raise AttributeError(f"'Complex' object has no attribute {name!r}: {LACKS}", name=name, obj=self)

    def __reduce__(self) -> Any:
        return Complex, (self._pair, self._conjugate)

    def copy_(self, other: Any, non_blocking: bool = False) -> Any:
        array = getattr(other, "_array", other)
        return self._set(as_complex(array if array.dtype.kind == "c" else other))

    def fill_(self, value: Any = 0.0) -> Any:
        return self._set(as_complex(value))

    zero_ = fill_

    def _set(self, value: Any) -> Any:
        self[...] = value
        return self

    def __getitem__(self, key: Any) -> Any:
        return Complex(self._pair[_of_numbers(key)], self._conjugate)

    def __setitem__(self, key: Any, value: Any) -> None:
        value = as_complex(value, self)
        if isinstance(value, Parts):
            value = of_parts(*(rv.as_tensor(x, dtype=self._pair.dtype) for x in value))
        self._pair[_of_numbers(key)] = (value.conj() if self._conjugate else value)._pairs

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
        return rv.linalg.vector_norm(self._pair, dim=-1)

    __abs__ = abs

    def angle(self) -> Any:
        return rv.atan2(self.imag, self.real)

    def conj(self) -> Any:
        """A view."""
        return Complex(self._pair, not self._conjugate)

    def is_conj(self) -> bool:
        return self._conjugate

    def resolve_conj(self) -> Any:
        if self._conjugate:
            return Complex(self._pairs)
        return self

    def conj_physical(self) -> Any:
        return self.conj().clone()

    def sgn(self) -> Any:
        size = self.abs()
        return self / rv.where(size == 0, 1.0, size)

    def _as_parameter(self, kind: Any, requires_grad: bool) -> Any:
        """nn.Parameter(self)"""
        return provider("complex parameters").parameter(self, kind, requires_grad)

    # --- arithmetic

    __add__ = _of_parts(operator.add)
    __sub__ = _of_parts(operator.sub)

    def __neg__(self) -> Any:
        return Complex(-self._pair, self._conjugate)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        if _is_real(other):
            return self._scaled(operator.mul, other)
        return product(operator.mul, self, other)

    def __truediv__(self, other: Any) -> Any:
        if _is_real(other):
            return self._scaled(operator.truediv, other)
        if isinstance(other, np.generic):
            other = other.item()
        return self * (1 / other if isinstance(other, complex) else as_complex(other).reciprocal())

    def _scaled(self, function: Callable[[Any, Any], Any], by: Any) -> Any:
        """The numbers multiplied or divided by real numbers."""
        return Complex(function(self._pairs, by[..., None] if getattr(by, "ndim", 0) else by))

    def __rtruediv__(self, other: Any) -> Any:
        return self.reciprocal() * other

    def __pow__(self, power: Any) -> Any:
        if power not in (1, 2, 3, 4):
            raise NotImplementedError(
                f"[pow] got a power {power!r} of complex numbers; expected 1, 2, 3 or 4"
            )
        if power == 1:
            return self.clone()
        return self * self ** (power - 1)

    def __rpow__(self, base: Any) -> Any:
        """base ** z = exp(z log base), for a base above 0."""
        if isinstance(base, complex) or not base > 0:
            raise NotImplementedError(f"[pow] got {base!r} to complex powers; expected a number above 0")
        return (self * math.log(base)).exp()

    def __complex__(self) -> complex:
        return self.item()

    def __matmul__(self, other: Any) -> Any:
        return product(operator.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return product(operator.matmul, other, self)

    __iadd__ = _assigned(operator.add)
    __isub__ = _assigned(operator.sub)
    __imul__ = _assigned(operator.mul)
    __itruediv__ = _assigned(operator.truediv)
    __radd__ = add = __add__
    __rmul__ = mul = __mul__
    sub = __sub__
    div = __truediv__
    pow = __pow__
    matmul = __matmul__
    neg = __neg__

    def reciprocal(self) -> Any:
        """1 / z. z is divided by its larger part first, so that no square overflows."""
        scale = rv.maximum(self.real.detach().abs(), self.imag.detach().abs())
        z = self / scale
        return z.conj() / ((z.real * z.real + z.imag * z.imag) * scale)

    def square(self) -> Any:
        return self * self

    def exp(self) -> Any:
        size = self.real.exp()
        return of_parts(size * rv.cos(self.imag), size * rv.sin(self.imag))

    def log(self) -> Any:
        return of_parts(self.abs().log(), self.angle())

    # --- other kinds

    def to(self, *args: Any, **settings: Any) -> Any:
        dtype = next((x for x in (*args, *settings.values()) if isinstance(x, rv.dtype)), self.dtype)
        if not dtype.is_complex:
            raise TypeError(f"[to] got {dtype} for complex numbers; expected z.real or z.abs()")
        pair = self._pair.to(dtype.to_real(), copy=settings.get("copy", False))
        if pair is self._pair:
            return self
        return Complex(pair, self._conjugate)

    def clone(self, **settings: Any) -> Any:
        return Complex(self._pairs if self._conjugate else self._pair.clone())

    def detach(self) -> Any:
        return Complex(self._pair.detach(), self._conjugate)

    def contiguous(self) -> Any:
        if self.is_contiguous():
            return self
        return self.clone()

    def cpu(self) -> Any:
        return self

    def istft(self, *args: Any, **settings: Any) -> Any:
        return rv.istft(self._pairs, *args, **settings)

    def expand_as(self, other: Any) -> Any:
        return self.expand(other.shape)

    def is_contiguous(self) -> bool:
        return self._pair.is_contiguous()

    def stride(self, dim: Any = None) -> Any:
        """The steps in memory, counted in numbers."""
        steps = tuple(step // 2 for step in self._pair.stride()[:-1])
        if dim is None:
            return steps
        return steps[dim]

    resolve_neg = cpu

    def numpy(self) -> Any:
        """The memory as an array."""
        return array_of(self._memory("numpy").numpy())

    def _memory(self, op: str) -> Any:
        if self._conjugate:
            text = "a conjugate, whose memory has the other sign; expected z.resolve_conj(), a copy"
            raise RuntimeError(f"[{op}] got {text}")
        return self._pair

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.detach().resolve_conj().numpy(), dtype, copy=copy or None)

    def tolist(self) -> Any:
        return np.asarray(self).tolist()

    def item(self) -> complex:
        return complex(self.real.item(), self.imag.item())


_IN_PLACE = ("add", "sub", "mul", "div")
LACKS = "complex numbers are pairs of real tensors here, without it; z.real and z.imag have all operations"


def _is_real(x: Any) -> bool:
    return not isinstance(x, (Complex, complex)) and getattr(getattr(x, "dtype", None), "kind", "f") != "c"


def _read_only(x: Any) -> Any:
    """Makes a copy read-only where a program expects a view: a change of it would not reach the numbers."""
    x._array.flags.writeable = False
    return x


def _of_numbers(key: Any) -> Any:
    """An index of complex numbers as an index of the pairs (.., 2)."""
    keys = key if isinstance(key, tuple) else (key,)
    if any(x is Ellipsis for x in keys):
        return (*keys, slice(None))
    return key


def array_of(pairs: Any) -> Any:
    """A view of an array of pairs as complex numbers."""
    if pairs.strides[-1] != pairs.itemsize:
        pairs = np.ascontiguousarray(pairs)
    return pairs.view(f"c{2 * pairs.itemsize}")[..., 0]


def of_parts(real: Any, imag: Any) -> Any:
    """New numbers of these parts."""
    dtype = max(real.dtype, imag.dtype, key=lambda kind: kind.itemsize)
    return Complex(rv.stack([x.to(dtype) for x in rv.broadcast_tensors(real, imag)], -1))


def as_complex(x: Any, like: Any = None) -> Any:
    """A number or tensor as Complex or `Parts`; a real one has the imaginary part 0.0, with `like` zeros."""
    if type(x) in (Complex, Parts):
        return x
    if isinstance(x, np.generic):
        x = x.item()
    if rv.is_tensor(x) and x.is_complex():
        return x[...]  # a parameter as a tensor
    if isinstance(x, np.ndarray) and x.dtype.kind == "c":
        return Complex(rv.from_numpy(np.stack([x.real, x.imag], -1)))
    if isinstance(x, complex):
        return Parts(x.real, x.imag)
    return Parts(x, 0.0 if like is None or not rv.is_tensor(x) else rv.zeros_like(x))


def product(function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """function(a, b) for a function that is linear in both, such as a product; one of them is complex."""
    if _is_real(b):
        return of_parts(function(a.real, b), function(a.imag, b))
    b = as_complex(b)
    if _is_real(a):
        return of_parts(function(a, b.real), function(a, b.imag))
    real = function(a.real, b.real) - function(a.imag, b.imag)
    return of_parts(real, function(a.real, b.imag) + function(a.imag, b.real))
