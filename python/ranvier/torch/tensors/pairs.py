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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ranvier as rv
from ranvier.extension import provider

if TYPE_CHECKING:
    from typing import TypeAlias

    from ranvier import Tensor
    from ranvier.tensors.memory import Array
    from ranvier.tensors.types import DtypeLike, Key, Number, TensorLike

    Operand: TypeAlias = TensorLike | "Complex" | "Parts"
    """What arithmetic of complex numbers takes."""

# Methods that complex numbers have as their parts do, with the same arguments: views in another order, of
# another shape or of some elements, and methods that make new numbers.
_REORDERS = frozenset({"moveaxis", "movedim", "permute", "swapaxes", "swapdims", "t", "transpose"})
_RESHAPES = frozenset({"flatten", "ravel", "reshape", "squeeze", "unflatten", "unsqueeze", "view"})
_SELECT_NAMES = "broadcast_to chunk diagonal expand narrow select split unbind unfold"
_SELECTS = frozenset(_SELECT_NAMES.split())
_NEW_NAMES = """
    cumsum diag diag_embed diff flip fliplr flipud gather index_select masked_select mean repeat
    repeat_interleave roll rot90 sum take tile trace tril triu
"""
_MAKES_NEW = frozenset(_NEW_NAMES.split())
# Attributes that the real part answers.
_SAME_AS_REAL = ("device", "dim", "is_meta", "numel", "size")


class Parts(NamedTuple):
    """The real and the imaginary part of a number; for a real tensor the imaginary part is zeros or 0.0."""

    real: Any
    imag: Any


class Complex:
    """Complex numbers on a real tensor `pair` (.., 2), which has re and im; conjugate: they are re - i im.

    >>> z = Complex(rv.tensor([[3.0, 4.0]]))
    >>> z.abs(), (z * z.conj()).real, (z + 1).tolist()
    (tensor([5.]), tensor([25.]), [(4+4j)])
    >>> z.imag = z.conj().imag; z.tolist()
    [(3-4j)]
    """

    _kind = rv.Tensor  # the class that files name (`files/pickler.py`)
    __array_priority__ = 1000  # operators of NumPy's numbers and arrays leave the work to these numbers
    is_sparse = is_cuda = is_quantized = is_nested = False

    def __init__(self, pair: Tensor, conjugate: bool = False) -> None:
        self._pair: Any = pair
        self._conjugate = conjugate

    def _class_for_caller(self) -> type:
        """`__class__`: isinstance(z, Tensor) is true for programs, but false for code of this library, which
        expects every Tensor to have a NumPy array."""
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith("ranvier."):
            return Complex
        return rv.Tensor

    __class__ = property(_class_for_caller)

    @property
    def shape(self) -> Any:
        return self._pair.shape[:-1]

    @property
    def ndim(self) -> int:
        return int(self._pair.ndim) - 1

    @property
    def itemsize(self) -> int:
        return 2 * int(self._pair.itemsize)

    @property
    def nbytes(self) -> int:
        return int(self._pair.nbytes)

    @property
    def dtype(self) -> Any:
        return self._pair.dtype.to_complex()

    @property
    def requires_grad(self) -> bool:
        return bool(self._pair.requires_grad)

    @property
    def grad_fn(self) -> Any:
        return self.real.grad_fn

    @property
    def data(self) -> Any:
        return self.detach()

    @property
    def mT(self) -> Any:
        return self.transpose(-1, -2)

    @property
    def mH(self) -> Any:
        return self.mT.conj()

    @property
    def T(self) -> Any:
        return self.permute(*reversed(range(self.ndim)))

    @property
    def H(self) -> Any:
        return self.T.conj()

    @property
    def real(self) -> Any:
        """A view."""
        return self._pair[..., 0]

    @real.setter
    def real(self, value: TensorLike) -> None:
        self._pair[..., 0] = value

    @property
    def imag(self) -> Any:
        """A view; that of a conjugate can only be read."""
        if self._conjugate:
            return _read_only(-self._pair[..., 1])
        return self._pair[..., 1]

    @imag.setter
    def imag(self, value: Any) -> None:  # a Tensor or a number
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

    def _each_by_method(self, name: str, *args: Any, **settings: Any) -> Any:
        """New numbers whose parts are the results of the parts' method."""
        return self._each(operator.methodcaller(name, *args, **settings))

    def _reordered(self, name: str, *args: Any, **settings: Any) -> Any:
        """The result of a method such as permute: a view whose axes have another order."""
        n = self.ndim
        # applied to axes of 2, 3, 4 ... elements, the sizes tell the new order of axes
        numbered_axes = rv.zeros(()).expand(*range(2, n + 2))
        sizes = getattr(numbered_axes, name)(*args, **settings).shape
        axes = [size - 2 for size in sizes]
        return Complex(self._pair.permute(*axes, n), self._conjugate)

    def _reshaped(self, name: str, *args: Any, **settings: Any) -> Any:
        """The result of a method such as flatten: a view of another shape, or new numbers."""
        pair = self._pair
        real = pair.detach()[..., 0]
        shape = getattr(real, name)(*args, **settings).shape
        if name == "view":
            return Complex(pair.view(*shape, 2), self._conjugate)
        return Complex(pair.reshape(*shape, 2), self._conjugate)

    def _selected(self, name: str, *args: Any, **settings: Any) -> Any:
        """The result of a method such as split: a view of some elements, or several."""
        pair = self._pair
        real = pair.detach()[..., 0]
        views = getattr(real, name)(*args, **settings)

        def pairs_at(view: Tensor) -> Complex:
            """The pairs whose real parts are the elements of a view."""
            stride = (*view.stride(), pair.stride(-1))
            pairs = rv.as_strided(pair, (*view.shape, 2), stride, view.storage_offset())
            return Complex(pairs, self._conjugate)

        if isinstance(views, (tuple, list)):
            return type(views)(map(pairs_at, views))
        return pairs_at(views)

    def __getattr__(self, name: str) -> Any:
        if name in _SAME_AS_REAL:
            return getattr(self.real, name)
        if name in _MAKES_NEW:
            return functools.partial(self._each_by_method, name)
        if name in _REORDERS:
            return functools.partial(self._reordered, name)
        if name in _RESHAPES:
            return functools.partial(self._reshaped, name)
        if name in _SELECTS:
            return functools.partial(self._selected, name)
        raise AttributeError(f"'Complex' object has no attribute {name!r}: {LACKS}", name=name, obj=self)

    def __reduce__(self) -> Any:
        return Complex, (self._pair, self._conjugate)

    # --- changes in place

    def copy_(self, other: Tensor | Complex | Array, non_blocking: bool = False) -> Any:
        array = getattr(other, "_array", other)
        if array.dtype.kind == "c":
            return self._set(as_complex(array))
        return self._set(as_complex(other))

    def fill_(self, value: Operand = 0.0) -> Any:
        return self._set(as_complex(value))

    zero_ = fill_

    def add_(self, other: Any, alpha: Number = 1) -> Any:
        return self._set(self + other * alpha)

    def sub_(self, other: Any, alpha: Number = 1) -> Any:
        return self._set(self - other * alpha)

    def mul_(self, other: Any, alpha: Number = 1) -> Any:
        return self._set(self * (other * alpha))

    def div_(self, other: Any, alpha: Number = 1) -> Any:
        return self._set(self / (other * alpha))

    def _set(self, value: Operand) -> Any:
        self[...] = value
        return self

    def __getitem__(self, key: Key) -> Any:
        return Complex(self._pair[_key_of_pairs(key)], self._conjugate)

    def __setitem__(self, key: Key, value: Operand) -> None:
        numbers = as_complex(value, self)
        if isinstance(numbers, Parts):
            dtype = self._pair.dtype
            numbers = of_parts(
                rv.as_tensor(numbers.real, dtype=dtype), rv.as_tensor(numbers.imag, dtype=dtype)
            )
        if self._conjugate:
            numbers = numbers.conj()
        self._pair[_key_of_pairs(key)] = numbers._pairs

    def __len__(self) -> int:
        return len(self.real)

    def __iter__(self) -> Any:
        return iter(self.unbind(0))

    def __repr__(self) -> str:
        return f"Complex({self.real!r}, {self.imag!r})"

    def __eq__(self, other: Operand) -> Any:  # type: ignore[override]
        numbers = as_complex(other)
        return (self.real == numbers.real) & (self.imag == numbers.imag)

    def __ne__(self, other: Operand) -> Any:  # type: ignore[override]
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

    def _as_parameter(self, kind: type[rv.nn.Parameter], requires_grad: bool) -> Any:
        """nn.Parameter(self), whose `__new__` calls it."""
        return provider("complex parameters").parameter(self, kind, requires_grad)

    # --- arithmetic

    def __add__(self, other: Operand) -> Any:
        if isinstance(other, Complex):
            return Complex(self._pairs + other._pairs)
        numbers = as_complex(other, self)
        return of_parts(self.real + numbers.real, self.imag + numbers.imag)

    def __sub__(self, other: Operand) -> Any:
        if isinstance(other, Complex):
            return Complex(self._pairs - other._pairs)
        numbers = as_complex(other, self)
        return of_parts(self.real - numbers.real, self.imag - numbers.imag)

    def __neg__(self) -> Any:
        return Complex(-self._pair, self._conjugate)

    def __rsub__(self, other: Operand) -> Any:
        return -self + other

    def __mul__(self, other: Operand) -> Any:
        if _is_real(other):
            return self._scaled(operator.mul, other)
        return product(operator.mul, self, other)

    def __truediv__(self, other: Operand) -> Any:
        if _is_real(other):
            return self._scaled(operator.truediv, other)
        if isinstance(other, np.generic):
            other = other.item()
        if isinstance(other, complex):
            return self * (1 / other)
        return self * as_complex(other).reciprocal()

    def _scaled(self, function: Callable[[Any, Any], Any], by: Any) -> Any:
        """The numbers multiplied or divided by real numbers."""
        if getattr(by, "ndim", 0):
            by = by[..., None]  # the same for both parts of a pair
        return Complex(function(self._pairs, by))

    def __rtruediv__(self, other: Operand) -> Any:
        return self.reciprocal() * other

    def __pow__(self, power: int) -> Any:
        if power not in (1, 2, 3, 4):
            raise NotImplementedError(
                f"[pow] got a power {power!r} of complex numbers; expected 1, 2, 3 or 4"
            )
        if power == 1:
            return self.clone()
        return self * self ** (power - 1)

    def __rpow__(self, base: complex) -> Any:
        """base ** z = exp(z log base), for a base above 0."""
        if isinstance(base, complex) or not base > 0:
            raise NotImplementedError(f"[pow] got {base!r} to complex powers; expected a number above 0")
        return (self * math.log(base)).exp()

    def __complex__(self) -> complex:
        return self.item()

    def __matmul__(self, other: Operand) -> Any:
        return product(operator.matmul, self, other)

    def __rmatmul__(self, other: Operand) -> Any:
        return product(operator.matmul, other, self)

    def __iadd__(self, other: Operand) -> Any:
        return self._set(self + other)

    def __isub__(self, other: Operand) -> Any:
        return self._set(self - other)

    def __imul__(self, other: Operand) -> Any:
        return self._set(self * other)

    def __itruediv__(self, other: Operand) -> Any:
        return self._set(self / other)

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

    # --- other dtypes, memory and numbers of Python

    def to(self, *args: Any, **settings: Any) -> Any:
        dtype = self.dtype
        for argument in (*args, *settings.values()):
            if isinstance(argument, rv.dtype):
                dtype = argument
                break
        if not dtype.is_complex:
            raise TypeError(f"[to] got {dtype} for complex numbers; expected z.real or z.abs()")
        pair = self._pair.to(dtype.to_real(), copy=settings.get("copy", False))
        if pair is self._pair:
            return self
        return Complex(pair, self._conjugate)

    def clone(self, **settings: Any) -> Any:
        if self._conjugate:
            return Complex(self._pairs)  # a copy
        return Complex(self._pair.clone())

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

    def expand_as(self, other: Tensor | Complex) -> Any:
        return self.expand(other.shape)

    def is_contiguous(self) -> bool:
        return self._pair.is_contiguous()

    def stride(self, dim: int | None = None) -> Any:
        """The steps in memory, counted in numbers."""
        stride = tuple(step // 2 for step in self._pair.stride()[:-1])
        if dim is None:
            return stride
        return stride[dim]

    resolve_neg = cpu

    def numpy(self) -> Any:
        """The memory as an array."""
        return array_of(self._memory("numpy").numpy())

    def _memory(self, op: str) -> Any:
        if self._conjugate:
            text = "a conjugate, whose memory has the other sign; expected z.resolve_conj(), a copy"
            raise RuntimeError(f"[{op}] got {text}")
        return self._pair

    def __array__(self, dtype: DtypeLike | None = None, copy: bool | None = None) -> Any:
        return np.array(self.detach().resolve_conj().numpy(), dtype, copy=copy or None)

    def tolist(self) -> Any:
        return np.asarray(self).tolist()

    def item(self) -> complex:
        return complex(self.real.item(), self.imag.item())


LACKS = "complex numbers are pairs of real tensors here, without it; z.real and z.imag have all operations"


def _is_real(x: object) -> bool:
    if isinstance(x, (Complex, complex)):
        return False
    dtype = getattr(x, "dtype", None)
    return getattr(dtype, "kind", "f") != "c"


def _read_only(x: Tensor) -> Tensor:
    """Makes a copy read-only where a program expects a view: a change of it would not reach the numbers."""
    x._array.flags.writeable = False
    return x


def _key_of_pairs(key: Any) -> Any:
    """An index of complex numbers as an index of the pairs (.., 2), whose last axis stays."""
    keys = key if isinstance(key, tuple) else (key,)
    if any(x is Ellipsis for x in keys):
        return (*keys, slice(None))
    return key


def array_of(pairs: Array) -> Any:
    """A view of an array of pairs as complex numbers."""
    if pairs.strides[-1] != pairs.itemsize:
        pairs = np.ascontiguousarray(pairs)
    return pairs.view(f"c{2 * pairs.itemsize}")[..., 0]


def of_parts(real: Tensor, imag: Tensor) -> Any:
    """New numbers of these parts, in the larger of their dtypes."""
    dtype = imag.dtype if imag.dtype.itemsize > real.dtype.itemsize else real.dtype
    parts = [x.to(dtype) for x in rv.broadcast_tensors(real, imag)]
    return Complex(rv.stack(parts, -1))


def as_complex(x: Any, like: object = None) -> Any:
    """A number or tensor as Complex or `Parts`; a real one has the imaginary part 0.0.

    like: None, or anything else (only whether it is None counts) for zeros of the shape of a real tensor in
    place of 0.0.
    """
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
    if like is not None and rv.is_tensor(x):
        return Parts(x, rv.zeros_like(x))
    return Parts(x, 0.0)


def product(function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """function(a, b) for a function that is linear in both, such as a product; one of them is complex."""
    if _is_real(b):
        return of_parts(function(a.real, b), function(a.imag, b))
    b = as_complex(b)
    if _is_real(a):
        return of_parts(function(a, b.real), function(a, b.imag))
    real = function(a.real, b.real) - function(a.imag, b.imag)
    return of_parts(real, function(a.real, b.imag) + function(a.imag, b.real))
