"""The dtypes `rv.float32` and others: objects with PyTorch's attributes, which NumPy accepts as its
dtypes."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import numpy as np

import ranvier._core as _core
from ranvier.settings import Settings

_NAMES = """
    bfloat16 can_cast cdouble cfloat chalf complex128 complex32 complex64 finfo float16 float32 float64
    float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu iinfo int16 int32 int64 int8
    promote_types qint32 qint8 quint8 short uint16 uint32 uint64 uint8
"""
__all__ = _NAMES.split()


# The core's bfloat16. NumPy itself has none, but another package may have registered one under this name.
_OWN = {"bfloat16": _core._BFloat16}


class dtype:
    """The class of ``rv.float32`` and others. They are equal to NumPy's dtypes, have the attributes of these,
    and NumPy accepts them as dtypes. There is one object for each dtype: ``x.dtype is rv.float32``.

    ``dtype(like)`` returns the object for a dtype or a name.

    >>> import numpy as np, ranvier as rv
    >>> rv.float32, rv.float32.is_floating_point, rv.float32 == np.float32, np.zeros(2, rv.int8).dtype
    (torch.float32, True, True, dtype('int8'))
    >>> rv.dtype("float16") is rv.ones(2).half().dtype
    True
    """

    __slots__ = (
        "__numpy_dtype__", "char", "dtype", "is_complex", "is_floating_point", "is_signed", "itemsize",
        "kind", "name", "type",
    )  # fmt: skip
    known: ClassVar[dict[Any, Any]] = {}  # all objects, by name and by NumPy's dtype

    # NumPy's dtype, which NumPy reads from `__numpy_dtype__` (from 2.4 on) or `dtype`. Both are missing if
    # NumPy has no such dtype.
    __numpy_dtype__: np.dtype[Any]
    dtype: np.dtype[Any]
    name: str
    kind: str
    char: str
    itemsize: int
    is_floating_point: bool
    is_complex: bool
    is_signed: bool
    type: Any

    def __new__(cls, like: DtypeLike) -> DType:
        if isinstance(like, DType):
            return like
        try:
            found = cls.known.get(like)
        except TypeError:  # The argument cannot be hashed: a list of fields.
            found = None
        if found is not None:
            return found
        return cls.known[np.dtype(like).newbyteorder("=")]

    @classmethod
    def _make(cls, name: str, kind: str, itemsize: int) -> DType:
        """The new object of this name. kind: NumPy's letter: "b", "u", "i", "f" or "c"."""
        self = cls.known[name] = object.__new__(cls)
        self.name = name
        self.kind = kind
        self.itemsize = itemsize
        self.is_floating_point = kind == "f"
        self.is_complex = kind == "c"
        self.is_signed = kind in "ifc"
        numpy = _OWN.get(name) or np.sctypeDict.get(name)
        # Another package (ml_dtypes) may have registered these names with NumPy.
        if numpy is not None and name != "complex32" and name[:6] != "float8":
            self.dtype = self.__numpy_dtype__ = np.dtype(numpy)
            self.char = self.dtype.char
            self.type = self.dtype.type
            cls.known[self.dtype] = self
        return self

    def to_real(self) -> DType:
        """The dtype of the real part."""
        if self.is_complex:
            return self.known[f"float{self.itemsize * 4}"]
        return self

    def to_complex(self) -> DType:
        """The dtype of complex numbers whose real and imaginary parts have this dtype."""
        size = 4 if self is bfloat16 else max(self.itemsize, 2)
        if self.is_complex:
            return self
        return self.known[f"complex{size * 16}"]

    def __eq__(self, other: object) -> bool:
        if self is other or type(other) is dtype or other is None:
            return self is other
        if hasattr(self, "char"):
            return self.dtype == other
        return False

    def __hash__(self) -> int:
        if hasattr(self, "char"):
            return hash(self.dtype)
        return hash(self.name)

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__" or name == "dtype" or name in ("char", "type"):
            raise AttributeError(f"{self!r} has no attribute {name!r}: NumPy has no such dtype")
        return getattr(self.dtype, name)

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> Any:
        return dtype, (self.name,)


DType: TypeAlias = dtype  # in functions and classes that have an argument or attribute `dtype`

DtypeLike: TypeAlias = "dtype | np.dtype[Any] | type | str"
"""A dtype of this library or of NumPy, a scalar type such as ``float`` or ``np.float32``, or a name."""

_make = dtype._make
float16 = _make("float16", "f", 2)
float32 = _make("float32", "f", 4)
float64 = _make("float64", "f", 8)
int8 = _make("int8", "i", 1)
int16 = _make("int16", "i", 2)
int32 = _make("int32", "i", 4)
int64 = _make("int64", "i", 8)
uint8 = _make("uint8", "u", 1)
uint16 = _make("uint16", "u", 2)
uint32 = _make("uint32", "u", 4)
uint64 = _make("uint64", "u", 8)
bool_ = _make("bool", "b", 1)
bfloat16 = _make("bfloat16", "f", 2)
# The next dtypes have names only: an op that gets one raises TypeError.
complex32 = _make("complex32", "c", 4)
complex64 = _make("complex64", "c", 8)
complex128 = _make("complex128", "c", 16)
float8_e4m3fn = _make("float8_e4m3fn", "f", 1)
float8_e4m3fnuz = _make("float8_e4m3fnuz", "f", 1)
float8_e5m2 = _make("float8_e5m2", "f", 1)
float8_e5m2fnuz = _make("float8_e5m2fnuz", "f", 1)
float8_e8m0fnu = _make("float8_e8m0fnu", "f", 1)
qint8 = _make("qint8", "i", 1)
qint32 = _make("qint32", "i", 4)
quint8 = _make("quint8", "u", 1)
cfloat = complex64
cdouble = complex128
chalf = complex32
short = int16

# The core finds the object by NumPy's number of a dtype. `long` and `long long` may be equal, with two
# numbers.
_numbered = [*map(np.dtype, "?bBhHiIlLqQefdFD"), np.dtype(_core._BFloat16)]
_by_number: list[Any] = [None] * (1 + max(kind.num for kind in _numbered))
for _kind in _numbered:
    _by_number[_kind.num] = dtype(_kind)
_core._set_dtypes(_by_number)


default = Settings(dtype=np.dtype(np.float32))  # the dtype that Python's floats get in new tensors
_core._set_default(default)


class _Limits:
    """The limits of a dtype that NumPy does not have, under the names of ``numpy.finfo``."""

    def __init__(self, eps: float, max: float, min: float, tiny: float, resolution: float) -> None:
        self.eps = eps
        self.max = max
        self.min = min
        self.tiny = tiny
        self.resolution = resolution


_BFLOAT16_MAX = (2 - 2**-7) * 2.0**127
_LIMITS = {  # by the name of the dtype
    "bfloat16": _Limits(2**-7, _BFLOAT16_MAX, -_BFLOAT16_MAX, 2.0**-126, resolution=0.01),
    "float8_e4m3fn": _Limits(2**-3, 448, -448, 2**-6, resolution=1),
    "float8_e4m3fnuz": _Limits(2**-3, 240, -240, 2**-7, resolution=1),
    "float8_e5m2": _Limits(2**-2, 57344, -57344, 2**-14, resolution=1),
    "float8_e5m2fnuz": _Limits(2**-3, 57344, -57344, 2**-15, resolution=1),
    "float8_e8m0fnu": _Limits(1, 2.0**127, 2.0**-127, 2.0**-127, resolution=1),
}


class finfo:
    """Limits of a dtype of floats: ``bits``, ``eps``, ``max``, ``min``, ``tiny``, ``smallest_normal``,
    ``resolution``. Without an argument: of the default dtype. Raises TypeError for other dtypes.

    >>> import ranvier as rv
    >>> rv.finfo(rv.float32).max, rv.finfo().bits
    (3.4028234663852886e+38, 32)
    """

    def __init__(self, type: DtypeLike | None = None) -> None:
        found = DType(default.dtype if type is None else type)
        if found.kind != "f":
            raise TypeError(f"[finfo] got {found}; expected a dtype of floats: iinfo has those of integers")
        limits: Any = _LIMITS.get(found.name)
        if limits is None:
            limits = np.finfo(found.dtype)
        self.bits = found.itemsize * 8
        self.dtype = found.name
        self.eps = float(limits.eps)
        self.max = float(limits.max)
        self.min = float(limits.min)
        self.tiny = float(limits.tiny)
        self.resolution = float(limits.resolution)
        self.smallest_normal = self.tiny

    def __repr__(self) -> str:
        limits = {key: value for key, value in vars(self).items() if key not in ("bits", "dtype")}
        shown = ", ".join(f"{key}={value:g}" for key, value in limits.items())
        return f"finfo({shown}, dtype={self.dtype})"


class iinfo:
    """Limits of a dtype of integers: ``bits``, ``max``, ``min``. Raises TypeError for other dtypes.

    >>> import ranvier as rv
    >>> rv.iinfo(rv.int8).max
    127
    """

    def __init__(self, type: DtypeLike) -> None:
        found = DType(type)
        if found.kind not in "iu":
            raise TypeError(f"[iinfo] got {found}; expected a dtype of integers: finfo has those of floats")
        limits = np.iinfo(found.dtype)
        self.bits = found.itemsize * 8
        self.max = int(limits.max)
        self.min = int(limits.min)
        self.dtype = found.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def _dtype_of(name: str, argument: DtypeLike) -> dtype:
    """The dtype of an argument. name: the function's, for the error."""
    try:
        return dtype(argument)
    except Exception:
        raise TypeError(
            f"[{name}] got {type(argument).__name__}; expected a dtype, such as float32"
        ) from None


def promote_types(type1: DtypeLike, type2: DtypeLike) -> dtype:
    """The dtype of an operation on tensors of these two dtypes: the one of the higher kind (bool, integers,
    floats); of the same kind, the wider one.

    >>> import ranvier as rv
    >>> rv.promote_types(rv.int64, rv.float16)
    torch.float16
    """
    first = _dtype_of("promote_types", type1)
    second = _dtype_of("promote_types", type2)
    if first is second:
        return first
    reals = [first.to_real(), second.to_real()]
    floats = [real for real in reals if real.is_floating_point]
    if len(floats) == 1 and not hasattr(floats[0], "char"):  # NumPy has no such dtype
        promoted = floats[0]
    else:
        promoted = dtype(_core._result_dtype(*(real.dtype for real in reals)))
    if first.is_complex or second.is_complex:
        return promoted.to_complex()
    return promoted


_KINDS_IN_ORDER = "bifc"  # NumPy's letters: bool, integers, floats, complex numbers


def can_cast(from_: DtypeLike, to: DtypeLike) -> bool:
    """True if PyTorch allows to write numbers of the dtype from_ to a tensor of the dtype to: unless to is of
    a lower kind (bool, integers, floats, complex numbers).

    >>> import ranvier as rv
    >>> rv.can_cast(rv.float32, rv.int64), rv.can_cast(rv.int64, rv.int8)
    (False, True)
    """
    source = _dtype_of("can_cast", from_).kind.replace("u", "i")
    target = _dtype_of("can_cast", to).kind.replace("u", "i")
    return _KINDS_IN_ORDER.index(source) <= _KINDS_IN_ORDER.index(target)
