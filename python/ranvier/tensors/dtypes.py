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

    def __new__(cls, like: Any) -> DType:
        if type(like) is cls:
            return like
        try:
            own = cls.known.get(like)
        except TypeError:  # The argument cannot be hashed: a list of fields.
            own = None
        return own or cls.known[np.dtype(like).newbyteorder("=")]

    @classmethod
    def _make(cls, name: str, kind: str, itemsize: int) -> DType:
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
        return hash(self.dtype if hasattr(self, "char") else self.name)

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__" or name == "dtype" or name in ("char", "type"):
            raise AttributeError(f"{self!r} has no attribute {name!r}: NumPy has no such dtype")
        return getattr(self.dtype, name)

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> Any:
        return dtype, (self.name,)


DType: TypeAlias = dtype
_make = dtype._make
float16, float32, float64 = (_make(f"float{8 * n}", "f", n) for n in (2, 4, 8))
int8, int16, int32, int64 = (_make(f"int{8 * n}", "i", n) for n in (1, 2, 4, 8))
uint8, uint16, uint32, uint64 = (_make(f"uint{8 * n}", "u", n) for n in (1, 2, 4, 8))
bool_ = _make("bool", "b", 1)
bfloat16 = _make("bfloat16", "f", 2)
# The next dtypes have names only: an op that gets one raises TypeError.
complex32, complex64, complex128 = (_make(f"complex{8 * n}", "c", n) for n in (4, 8, 16))
_FORMS = "e4m3fn e4m3fnuz e5m2 e5m2fnuz e8m0fnu"
float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu = (
    _make(f"float8_{form}", "f", 1) for form in _FORMS.split()
)
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


_LIMITS = {  # name of a dtype that NumPy does not have -> (eps, max, min, tiny, resolution)
    "bfloat16": (2**-7, (2 - 2**-7) * 2.0**127, -(2 - 2**-7) * 2.0**127, 2.0**-126, 0.01),
    "float8_e4m3fn": (2**-3, 448, -448, 2**-6, 1),
    "float8_e4m3fnuz": (2**-3, 240, -240, 2**-7, 1),
    "float8_e5m2": (2**-2, 57344, -57344, 2**-14, 1),
    "float8_e5m2fnuz": (2**-3, 57344, -57344, 2**-15, 1),
    "float8_e8m0fnu": (1, 2.0**127, 2.0**-127, 2.0**-127, 1),
}


class finfo:
    """Limits of a dtype of floats: ``bits``, ``eps``, ``max``, ``min``, ``tiny``, ``smallest_normal``,
    ``resolution``. Without an argument: of the default dtype. Raises TypeError for other dtypes.

    >>> import ranvier as rv
    >>> rv.finfo(rv.float32).max, rv.finfo().bits
    (3.4028234663852886e+38, 32)
    """

    eps: float
    max: float
    min: float
    tiny: float

    def __init__(self, type: Any = None) -> None:
        kind = dtype(default.dtype if type is None else type)
        if kind.kind != "f":
            raise TypeError(f"[finfo] got {kind}; expected a dtype of floats: iinfo has those of integers")
        names = ("eps", "max", "min", "tiny", "resolution")
        limits = _LIMITS.get(kind.name) or [getattr(np.finfo(kind.dtype), name) for name in names]
        self.bits = kind.itemsize * 8
        self.dtype = kind.name
        vars(self).update(zip((*names, "smallest_normal"), map(float, (*limits, limits[3])), strict=True))

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

    def __init__(self, type: Any) -> None:
        kind = dtype(type)
        if kind.kind not in "iu":
            raise TypeError(f"[iinfo] got {kind}; expected a dtype of integers: finfo has those of floats")
        limits = np.iinfo(kind.dtype)
        self.bits, self.max, self.min = kind.itemsize * 8, int(limits.max), int(limits.min)
        self.dtype = kind.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def _asked(name: str, kind: Any) -> dtype:
    """The dtype of an argument. name: the function's, for the error."""
    try:
        return dtype(kind)
    except Exception:
        raise TypeError(f"[{name}] got {type(kind).__name__}; expected a dtype, such as float32") from None


def promote_types(type1: Any, type2: Any) -> dtype:
    """The dtype of an operation on tensors of these two dtypes: the one of the higher kind (bool, integers,
    floats); of the same kind, the wider one.

    >>> import ranvier as rv
    >>> rv.promote_types(rv.int64, rv.float16)
    torch.float16
    """
    kinds = [_asked("promote_types", kind) for kind in (type1, type2)]
    if kinds[0] is kinds[1]:
        return kinds[0]
    reals = [kind.to_real() for kind in kinds]
    floats = [kind for kind in reals if kind.is_floating_point]
    if len(floats) == 1 and not hasattr(floats[0], "char"):  # NumPy has no such dtype
        real = floats[0]
    else:
        real = dtype(_core._result_dtype(*(kind.dtype for kind in reals)))
    if any(kind.is_complex for kind in kinds):
        return real.to_complex()
    return real


def can_cast(from_: Any, to: Any) -> bool:
    """True if PyTorch allows to write numbers of the dtype from_ to a tensor of the dtype to: unless to is of
    a lower kind (bool, integers, floats, complex numbers).

    >>> import ranvier as rv
    >>> rv.can_cast(rv.float32, rv.int64), rv.can_cast(rv.int64, rv.int8)
    (False, True)
    """
    kinds = [_asked("can_cast", kind).kind.replace("u", "i") for kind in (from_, to)]
    return "bifc".index(kinds[0]) <= "bifc".index(kinds[1])
