"""Sizes of dynamic axes as symbols, while a model is recorded for a file.

A model is exported with an example, say of 6 rows, and an axis "n" that may have any size in the file. While
the model runs with the example, ``x.shape[0]`` is then not the int 6 but a `Size`, with which it computes:

    expression     Size                 in this run
    n              n                    6
    2*n + 3        2*n + 3              15
    (2*n + 3)//2   n + 1                7, for every n
    (n + 1)//2     ((n + 1) // 2)       3, and no sum of products: a variable of its own

A Size is a polynomial with whole coefficients. Its variables are atoms:

- An `Atom` is one unknown whole number: the size of an axis (n), or what no polynomial describes, such as the
  quotient ``((n + 1) // 2)``, the minimum ``min(m, n)`` or a rounded fraction.
- A `Product` is what a coefficient belongs to: the sorted keys of its atoms. n*n is ("n", "n"), 1 is ().
- The terms of a Size are its coefficients by product: those of 2*n + 3 are ``{("n",): 2, (): 3}``.
- A `Dim` is the size of any axis: an int, or a Size for what depends on dynamic axes.

A `Real` is a number with a fraction that was computed from sizes, such as ``n / 2`` or ``math.sqrt(n)``. It
is not a sum of terms: it has the operation, and the operands as they are.

Neither is an int: Python and NumPy then ask it for its number (`__index__`, `__float__`, `__hash__` ...), and
each of these methods refuses, as the file would hold that number for all sizes. docs/design/export.md says
why. An array of NumPy may hold them as objects. A comparison is answered where the bounds of the atoms decide
it for all sizes; else `Trace.condition` answers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeGuard

import numpy as np

Bound: TypeAlias = float
"""A whole number, or an infinity."""

Product: TypeAlias = tuple[str, ...]
"""Sorted keys of atoms, repeated for powers; () for the constant term."""

Terms: TypeAlias = dict[Product, int]
"""The coefficient of each product."""


class Scope(Protocol):
    """The recorded run that a size belongs to: a `Trace` (`tracing.py`)."""

    def text(self, size: Size | Real) -> str:
        """The text of a size for messages of the library."""

    def refuse_number(self, size: Size | Real, what: str) -> Any:
        """Raises the error for code that takes the number of a size. what: as what it takes it."""

    def condition(self, text: str, holds: bool) -> bool:
        """The answer to a condition; holds: whether it is true in the present run."""


class Atom(NamedTuple):
    """A variable of a Size.

    key: its text; equal atoms have equal keys.
    op: "axis", "floordiv", "min", "max", "floor", "ceil", "round" or "trunc".
    operands: what it is made from: (name of a value, number of the axis) for "axis", the Real for what rounds
        one, else ints and Sizes.
    low, high: the least and the greatest number that it may be.
    hint: its number in the present run.
    """

    key: str
    op: str
    operands: tuple[Any, ...]
    low: Bound
    high: Bound
    hint: int


# What is asked of an int, and of the objects in an array by NumPy's functions.
_NUMPY_FUNCTIONS = {name for name in dir(np) if isinstance(getattr(np, name), np.ufunc)}
_NUMBER_ATTRIBUTES = frozenset(dir(int)) | _NUMPY_FUNCTIONS


class Size:
    """A whole number that depends on sizes of dynamic axes: the sum of `terms`.

    terms: a coefficient for each product of atoms.
    atoms: those that occur, by key.
    scope: the Trace, which refuses what a file cannot say.
    hint: the number in the present run.
    """

    __slots__ = ("atoms", "hint", "scope", "terms")

    def __init__(self, terms: Terms, atoms: dict[str, Atom], scope: Scope) -> None:
        used: set[str] = set()
        for product in terms:
            used.update(product)
        self.terms = terms
        self.atoms = {key: atoms[key] for key in sorted(used)}
        self.scope = scope
        self.hint = 0
        for product, factor in terms.items():
            numbers = [atoms[key].hint for key in product]
            self.hint += factor * math.prod(numbers)

    @property
    def key(self) -> str:
        """A text that is equal for equal Sizes, as Python would write it: ``n - 4*(n // 4)``."""
        words: list[str] = []
        for product, factor in sorted(self.terms.items(), reverse=True):
            if factor < 0:
                words.append("-")
            else:
                words.append("+")
            factors = list(product)
            if abs(factor) != 1 or not product:
                factors.insert(0, str(abs(factor)))
            words.append("*".join(factors))
        text = " ".join(words[1:])
        if words[0] == "-":
            return f"-{text}"
        return text

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that isinstance() takes it for: a model asks whether a size is one number."""
        return int

    @property
    def may_be_huge(self) -> bool:
        """True for a product of three sizes and more, which int64 may not hold: an axis has less than 2^31
        elements. The remainder of such a product is not huge, but computed from whole numbers alone."""
        return max(map(len, self.terms)) > 2 and math.isinf(upper_bound(self))

    def is_axis_of_input(self) -> bool:
        """True for the size of a dynamic axis itself, whose key is the name of the axis."""
        atom = self.atoms.get(self.key)
        return atom is not None and atom.op == "axis" and atom.key != _unnamed(*atom.operands)

    def __repr__(self) -> str:
        return self.scope.text(self)

    # --- arithmetic: whole numbers give a Size or an int, an operand with a fraction gives a Real
    def __add__(self, other: AnyNumber) -> Any:
        other = _as_int(other)
        if _is_whole(other):
            return _sum(self, other)
        if _is_fraction(other):
            return _as_real(self) + other
        return NotImplemented

    __radd__ = __add__

    def __neg__(self) -> Any:
        terms = {product: -factor for product, factor in self.terms.items()}
        return _from_terms(terms, self.atoms, self.scope)

    def __pos__(self) -> Size:
        return self

    def __sub__(self, other: AnyNumber) -> Any:
        other = _as_int(other)
        if _is_whole(other):
            return _sum(self, -other)
        if _is_fraction(other):
            return _as_real(self) - other
        return NotImplemented

    def __rsub__(self, other: AnyNumber) -> Any:
        other = _as_int(other)
        if _is_whole(other):
            return _sum(-self, other)
        if _is_fraction(other):
            return other - _as_real(self)
        return NotImplemented

    def __mul__(self, other: AnyNumber) -> Any:
        other = _as_int(other)
        if _is_whole(other):
            return _product(self, other)
        if _is_fraction(other):
            return _as_real(self) * other
        return NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, other: AnyNumber) -> Any:
        other = _as_int(other)
        if _is_whole(other):
            return quotient(self, other)
        if _is_fraction(other):
            return _as_real(self) // other
        return NotImplemented

    def __rfloordiv__(self, other: AnyNumber) -> Any:
        other = _as_int(other)
        if _is_whole(other):
            return quotient(other, self)
        if _is_fraction(other):
            return other // _as_real(self)
        return NotImplemented

    def __mod__(self, other: AnyNumber) -> Any:
        other = _as_int(other)
        if _is_whole(other):
            return _remainder(self, other)
        if _is_fraction(other):
            return _as_real(self) % other
        return NotImplemented

    def __rmod__(self, other: AnyNumber) -> Any:
        other = _as_int(other)
        if _is_whole(other):
            return _remainder(other, self)
        if _is_fraction(other):
            return other % _as_real(self)
        return NotImplemented

    def __divmod__(self, other: AnyNumber) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: AnyNumber) -> Any:
        return other // self, other % self

    def __truediv__(self, other: AnyNumber) -> Any:
        return Real.compute("truediv", self, other)

    def __rtruediv__(self, other: AnyNumber) -> Any:
        return Real.compute("truediv", other, self)

    def __pow__(self, other: AnyNumber) -> Any:
        if type(other) is int and other >= 0:
            return math.prod([self] * other)
        return Real.compute("pow", self, other)

    def __rpow__(self, other: AnyNumber) -> Any:
        return Real.compute("pow", other, self)

    def __abs__(self) -> Any:
        return greatest(self, -self)

    def __floor__(self) -> Size:
        return self

    __ceil__ = __trunc__ = __floor__

    def __round__(self, digits: int | None = None) -> Any:
        if digits is None or digits >= 0:
            return self
        unit = 10**-digits
        return round(self / unit) * unit

    def __lshift__(self, places: Dim) -> Any:
        if _is_natural(places):
            return self * 2**places
        return self._bits(places)

    def __rshift__(self, places: Dim) -> Any:
        if _is_natural(places):
            return self // 2**places
        return self._bits(places)

    def __and__(self, mask: Dim) -> Any:
        """The remainder of a division by a power of 2, where the mask has all bits below it."""
        if _is_natural(mask) and mask & (mask + 1) == 0:
            return self % (mask + 1)
        return self._bits(mask)

    def __invert__(self) -> Any:
        return -self - 1

    def _bits(self, other: Dim) -> Any:
        return self.scope.refuse_number(self, "an operand of & | ^ << >>")

    __rand__ = __and__
    __or__ = __ror__ = __xor__ = __rxor__ = __rlshift__ = __rrshift__ = _bits

    def __getattr__(self, name: str) -> Any:
        return _number_attribute(self, name)

    # --- comparisons
    def __eq__(self, other: object) -> Any:
        return _compared(self, other, "==")

    def __ne__(self, other: object) -> Any:
        return _compared(self, other, "!=")

    def __lt__(self, other: AnyNumber) -> Any:
        return _compared(self, other, "<")

    def __le__(self, other: AnyNumber) -> Any:
        return _compared(self, other, "<=")

    def __gt__(self, other: AnyNumber) -> Any:
        return _compared(self, other, ">")

    def __ge__(self, other: AnyNumber) -> Any:
        return _compared(self, other, ">=")

    def __bool__(self) -> bool:
        return _compared(self, 0, "!=")

    # --- what takes the number
    def __index__(self) -> int:
        return int(self.scope.refuse_number(self, "a plain number (an index, a range, NumPy)"))

    def __int__(self) -> int:
        return int(self.scope.refuse_number(self, "int()"))

    def __float__(self) -> float:
        return float(self.scope.refuse_number(self, "float() or a function that takes a plain number"))

    def __complex__(self) -> complex:
        return complex(self.scope.refuse_number(self, "complex()"))

    def __hash__(self) -> int:
        return hash(self.scope.refuse_number(self, "a key of a dict, a set or a cache"))

    def __str__(self) -> str:
        return str(self.scope.refuse_number(self, "text"))

    def __format__(self, spec: str) -> str:
        return format(self.scope.refuse_number(self, "text"), spec)

    def __reduce__(self) -> Any:
        return int, (self.scope.refuse_number(self, "a copy or a pickle"),)

    def __copy__(self) -> Size:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Size:
        return self


class Real:
    """A number with a fraction that was computed from sizes, in float64, as Python computes it.

    op: one of `_REAL_OPERATIONS`.
    operands: one or two of int, float, Size and Real.
    hint: the number in the present run.
    """

    __slots__ = ("hint", "op", "operands", "scope")

    def __init__(self, op: str, operands: tuple[SymbolicNumber, ...], scope: Scope) -> None:
        self.op = op
        self.operands = operands
        self.scope = scope
        numbers = [float(number(x)) for x in operands]
        self.hint = float(_REAL_OPERATIONS[op](*numbers))

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that isinstance() takes it for."""
        return float

    @staticmethod
    def compute(op: str, *operands: AnyNumber) -> Any:
        """The Real op(operands); NotImplemented for other operands than numbers."""
        numbers: list[Any] = []
        for x in operands:
            if isinstance(x, np.floating):
                numbers.append(float(x))
            elif isinstance(x, (bool, np.integer)):
                numbers.append(int(x))
            else:
                numbers.append(x)
        if not all(type(x) in (int, float, Size, Real) for x in numbers):
            return NotImplemented
        return Real(op, tuple(numbers), _scope(*numbers))

    @property
    def key(self) -> str:
        """A text that is equal for equal Reals, as Python would write it: ``(n + 1) / 2``."""
        if self.op == "float":
            return _key(self.operands[0])
        sign = _SIGNS.get(self.op)
        if sign is None:
            return f"{self.op}({', '.join(map(_key, self.operands))})"
        first, second = map(_bracketed, self.operands)
        return f"{first} {sign} {second}"

    def __repr__(self) -> str:
        return self.scope.text(self)

    # --- arithmetic
    def __add__(self, other: AnyNumber) -> Any:
        return Real.compute("add", self, other)

    __radd__ = __add__

    def __sub__(self, other: AnyNumber) -> Any:
        return Real.compute("sub", self, other)

    def __rsub__(self, other: AnyNumber) -> Any:
        return Real.compute("sub", other, self)

    def __mul__(self, other: AnyNumber) -> Any:
        return Real.compute("mul", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: AnyNumber) -> Any:
        return Real.compute("truediv", self, other)

    def __rtruediv__(self, other: AnyNumber) -> Any:
        return Real.compute("truediv", other, self)

    def __pow__(self, other: AnyNumber) -> Any:
        return Real.compute("pow", self, other)

    def __rpow__(self, other: AnyNumber) -> Any:
        return Real.compute("pow", other, self)

    def __neg__(self) -> Any:
        return Real.compute("mul", self, -1)

    def __pos__(self) -> Real:
        return self

    def __abs__(self) -> Any:
        return Real.compute("max", self, -self)

    def __getattr__(self, name: str) -> Any:
        return _number_attribute(self, name)

    # --- comparisons
    def __eq__(self, other: object) -> Any:
        return _compared_real(self, other, "==")

    def __ne__(self, other: object) -> Any:
        return _compared_real(self, other, "!=")

    def __lt__(self, other: AnyNumber) -> Any:
        return _compared_real(self, other, "<")

    def __le__(self, other: AnyNumber) -> Any:
        return _compared_real(self, other, "<=")

    def __gt__(self, other: AnyNumber) -> Any:
        return _compared_real(self, other, ">")

    def __ge__(self, other: AnyNumber) -> Any:
        return _compared_real(self, other, ">=")

    def __bool__(self) -> Any:
        return _compared_real(self, 0, "!=")

    # --- whole numbers
    def __floor__(self) -> Size:
        return self._rounded("floor", math.floor(self.hint))

    def __ceil__(self) -> Size:
        return self._rounded("ceil", math.ceil(self.hint))

    def __round__(self, digits: int | None = None) -> Any:
        if digits is not None:
            return self._number()
        return self._rounded("round", round(self.hint))

    def __trunc__(self) -> Size:
        return self._rounded("trunc", math.trunc(self.hint))

    def _rounded(self, op: str, hint: int) -> Size:
        return _size_of_atom(self.scope, op, (self,), -math.inf, math.inf, hint)

    # --- what takes the number
    def __index__(self) -> int:
        return int(self._number())

    __int__ = __index__

    def __float__(self) -> float:
        return self._number()

    def __hash__(self) -> int:
        return hash(self._number())

    def __str__(self) -> str:
        return str(self._number())

    def __format__(self, spec: str) -> str:
        return format(self._number(), spec)

    def _number(self) -> float:
        found: float = self.scope.refuse_number(self, "a plain number or text")
        return found

    def _refuse(self, *operands: AnyNumber) -> Any:
        """For operations that a file has no counterpart of."""
        return self.scope.refuse_number(self, "an operand of // or %, for which math.floor(a / b) stands")

    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refuse


Dim: TypeAlias = int | Size
"""The size of one axis."""

SymbolicNumber: TypeAlias = int | float | Size | Real
"""A number of Python, or one that depends on sizes."""

AnyNumber: TypeAlias = int | float | np.number[Any] | Size | Real
"""An operand of the arithmetic above. For other objects its methods return NotImplemented."""


_REAL_OPERATIONS: dict[str, Callable[..., float]] = {
    "truediv": operator.truediv,
    "pow": operator.pow,
    "mul": operator.mul,
    "add": operator.add,
    "sub": operator.sub,
    "max": max,
    "min": min,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "sin": math.sin,
    "cos": math.cos,
    "float": float,
}
"""The operations of a Real, on floats."""

_SIGNS = {"truediv": "/", "pow": "**", "mul": "*", "add": "+", "sub": "-"}

FUNCTIONS = ("sqrt", "exp", "log", "log2", "sin", "cos", "pow")
"""Those that are functions of the module math and of NumPy."""


def function_of_math(name: str, *operands: SymbolicNumber) -> Any:
    """A function of the module math, of which an operand is a Size or Real."""
    if name == "isqrt":  # exact: a root is the nearest float, and no axis has 2^52 elements
        return math.floor(Real.compute("sqrt", *operands))
    if name == "log" and len(operands) == 2:
        value, base = map(_logarithm, operands)
        return Real.compute("truediv", value, base)
    return Real.compute(name, *operands)


def _logarithm(x: SymbolicNumber) -> Any:
    if is_symbol(x):
        return Real.compute("log", x)
    return math.log(x)


def _number_attribute(x: Size | Real, name: str) -> Any:
    """What NumPy asks an object for, to compute a function of it: np.sqrt(n) calls n.sqrt()."""
    if name in FUNCTIONS:
        return partial(Real.compute, name, x)
    if name.startswith("_") or name not in _NUMBER_ATTRIBUTES:
        raise AttributeError(f"a number that depends on a dynamic axis has no attribute {name!r}")
    plain = x.scope.refuse_number(x, f"a plain number, of which it asks {name}")
    return getattr(plain, name)


# --- which number it is
def is_symbol(x: Any) -> TypeGuard[Size | Real]:
    """True for a Size or Real. isinstance() alone would take a Real for a float, and a Size for an int."""
    return isinstance(x, (Size, Real))


def _is_whole(x: Any) -> TypeGuard[Dim]:
    return isinstance(x, Size) or type(x) is int


def _is_fraction(x: Any) -> TypeGuard[float | Real]:
    return isinstance(x, (float, Real))


def _is_natural(x: Any) -> TypeGuard[int]:
    return type(x) is int and x >= 0


def _as_int(x: Any) -> Any:
    """A bool, or an integer of NumPy, as an int; anything else as it is."""
    if isinstance(x, (bool, np.integer)):
        return int(x)
    return x


def _as_real(n: Size) -> Real:
    return Real("float", (n,), n.scope)


def _key(x: SymbolicNumber) -> str:
    """The text of a number."""
    if is_symbol(x):
        return x.key
    return repr(x)


def _bracketed(x: SymbolicNumber) -> str:
    """The text of an operand, in parentheses if it is a sum or another operation."""
    text = _key(x)
    if " " in text:
        return f"({text})"
    return text


# --- making
def size_of_axis(scope: Scope, value: str, at: int, low: Bound, hint: int, name: str = "") -> Size:
    """The size of the axis `at` of a value of the graph.

    low: the least size.
    hint: the size in the present run.
    name: that of a dynamic axis; "": it has none.
    """
    key = name or _unnamed(value, at)
    atom = Atom(key, "axis", (value, at), low, math.inf, hint)
    return Size({(key,): 1}, {key: atom}, scope)


def _unnamed(value: str, at: int) -> str:
    """The key of an axis of a value that is no dynamic axis of an input."""
    return f"size of {value}, axis {at}"


def _size_of_atom(
    scope: Scope, op: str, operands: tuple[SymbolicNumber, ...], low: Bound, high: Bound, hint: int
) -> Size:
    """The Size that is a new atom alone. Arguments as of `Atom`."""
    if op == "floordiv":
        dividend, divisor = map(_bracketed, operands)
        key = f"({dividend} // {divisor})"
    else:
        key = f"{op}({', '.join(map(_key, operands))})"
    atom = Atom(key, op, operands, low, high, hint)
    return Size({(key,): 1}, {key: atom}, scope)


def _from_terms(terms: Terms, atoms: dict[str, Atom], scope: Scope) -> Any:
    """The Size with these terms; an int where nothing but the constant is left."""
    nonzero = {product: factor for product, factor in terms.items() if factor}
    if not any(nonzero):  # of the products only () is false
        return nonzero.get((), 0)
    return Size(nonzero, atoms, scope)


def _terms(x: Dim) -> Terms:
    if isinstance(x, Size):
        return x.terms
    return {(): x}


def _atoms(*values: Dim) -> dict[str, Atom]:
    """The atoms of all these numbers, by key."""
    found: dict[str, Atom] = {}
    for x in values:
        if isinstance(x, Size):
            found.update(x.atoms)
    return found


def _scope(*values: SymbolicNumber) -> Scope:
    """The Trace of the first symbol among the numbers."""
    return next(x.scope for x in values if is_symbol(x))


# --- arithmetic of polynomials
def _sum(a: Dim, b: Dim) -> Any:
    terms = dict(_terms(a))
    for product, factor in _terms(b).items():
        terms[product] = terms.get(product, 0) + factor
    return _from_terms(terms, _atoms(a, b), _scope(a, b))


def _product(a: Dim, b: Dim) -> Any:
    terms: Terms = {}
    for left, left_factor in _terms(a).items():
        for right, right_factor in _terms(b).items():
            product = tuple(sorted(left + right))
            terms[product] = terms.get(product, 0) + left_factor * right_factor
    return _from_terms(terms, _atoms(a, b), _scope(a, b))


def exact_quotient(a: Dim, b: Dim) -> Any:
    """a / b where b, of one term, divides each term of a; None where it does not."""
    if len(_terms(b)) != 1:
        if isinstance(a, Size) and isinstance(b, Size) and a.key == b.key:
            return 1
        return None
    ((divisor, divisor_factor),) = _terms(b).items()
    if divisor_factor == 0:
        return None
    result: Terms = {}
    for product, factor in _terms(a).items():
        rest = list(product)
        for key in divisor:
            if key not in rest:
                return None
            rest.remove(key)
        if factor % divisor_factor:
            return None
        result[tuple(rest)] = factor // divisor_factor
    if not isinstance(a, Size) and not isinstance(b, Size):
        return a // b
    return _from_terms(result, _atoms(a), _scope(a, b))


def quotient(a: Dim, b: Dim) -> Any:
    """a // b. Terms that b divides are taken out: (4*n + 3) // 4 is n."""
    if number(b) == 0:
        raise ZeroDivisionError("integer division or modulo by zero")
    if not isinstance(b, Size):
        if not isinstance(a, Size):
            return a // b
        if b > 0:
            return _quotient_by_number(a, b)
        return _quotient_by_number(-a, -b)
    exact = exact_quotient(a, b)
    if exact is not None and lower_bound(b) > 0:
        return exact
    low: Bound = -math.inf
    high: Bound = math.inf
    if lower_bound(a) >= 0 and lower_bound(b) > 0:
        low = 0
        high = upper_bound(a)
    return _atom_or_number(_scope(a, b), "floordiv", (a, b), low, high, number(a) // number(b))


def _quotient_by_number(a: Size, b: int) -> Any:
    """a // b for b > 0: what b divides of each coefficient, and the quotient of the rest.

    (5*n + 7) // 2 is 2*n + 3 + ((n + 1) // 2).
    """
    divided = {product: factor // b for product, factor in a.terms.items()}
    remainders = {product: factor % b for product, factor in a.terms.items()}
    outside = _from_terms(divided, a.atoms, a.scope)
    inside = _from_terms(remainders, a.atoms, a.scope)
    if not isinstance(inside, Size):
        return outside + inside // b
    low = _divided_bound(lower_bound(inside), b)
    high = _divided_bound(upper_bound(inside), b)
    return outside + _atom_or_number(a.scope, "floordiv", (inside, b), low, high, inside.hint // b)


def _divided_bound(bound: Bound, divisor: int) -> Bound:
    if math.isinf(bound):
        return bound
    return bound // divisor


def _atom_or_number(
    scope: Scope, op: str, operands: tuple[Dim, ...], low: Bound, high: Bound, hint: int
) -> Any:
    """The atom as a Size, or a number where its bounds are equal."""
    if low == high:
        return int(low)
    return _size_of_atom(scope, op, operands, low, high, hint)


def _remainder(a: Dim, b: Dim) -> Any:
    """a % b, with the sign of b."""
    return a - quotient(a, b) * b


def smallest(*values: Dim) -> Any:
    """min() of ints and Sizes."""
    return _extreme("min", values)


def greatest(*values: Dim) -> Any:
    """max() of ints and Sizes."""
    return _extreme("max", values)


def _extreme(op: str, values: Sequence[Dim]) -> Any:
    found = values[0]
    for other in values[1:]:
        found = _extreme_of_two(op, found, other)
    return found


def _extreme_of_two(op: str, a: Dim, b: Dim) -> Any:
    choose: Callable[[Any, Any], Any] = min if op == "min" else max
    if not isinstance(a, Size) and not isinstance(b, Size):
        return choose(a, b)
    difference = a - b
    if upper_bound(difference) <= 0:  # a <= b for all sizes
        if op == "min":
            return a
        return b
    if lower_bound(difference) >= 0:
        if op == "min":
            return b
        return a
    low = choose(lower_bound(a), lower_bound(b))
    high = choose(upper_bound(a), upper_bound(b))
    operands = tuple(sorted((a, b), key=_key))
    return _size_of_atom(_scope(a, b), op, operands, low, high, choose(number(a), number(b)))


# --- bounds
def number(x: Any) -> Any:
    """The number of a Size or Real in the present run; anything else as it is."""
    if is_symbol(x):
        return x.hint
    return x


def upper_bound(x: Dim) -> Bound:
    """A number that x never exceeds."""
    if isinstance(x, Size):
        return -lower_bound(-x)
    return x


# The most atoms that `lower_bound` replaces one after the other. Each level multiplies the time by the number
# of atoms; without further levels the bound is lower, but still one.
_DEEPEST = 6


def lower_bound(x: Dim, depth: int = 0) -> Bound:
    """A number that x is never below: a bound, which need not be reached.

    It is the best of several: the sum of the least numbers of the terms, and for each atom that is a minimum,
    a maximum or a quotient the bound of x with its operands in its place.
    """
    if not isinstance(x, Size):
        return x
    found = sum(_least_term(product, factor, x.atoms) for product, factor in x.terms.items())
    if math.isnan(found):  # the sum of two infinities
        found = -math.inf
    if depth >= _DEEPEST:
        return found
    for atom in x.atoms.values():
        if _is_alone(atom.key, x.terms):
            found = max(found, _bound_by_operands(x, atom, depth + 1))
    return found


def _is_alone(key: str, terms: Terms) -> bool:
    """True for an atom that occurs in one term, and there without another atom."""
    products = [product for product in terms if key in product]
    return products == [(key,)]


def _bound_by_operands(x: Size, atom: Atom, depth: int) -> Bound:
    """The lower bound of x with the operands of an atom in its place; -infinity where it has none."""
    factor = x.terms[(atom.key,)]
    rest = x - factor * Size({(atom.key,): 1}, {atom.key: atom}, x.scope)
    if atom.op in ("min", "max"):
        bounds = [lower_bound(rest + factor * operand, depth) for operand in atom.operands]
        # factor * min(a, b) is the greater of both products where the factor is negative
        takes_greater = (atom.op == "max") == (factor > 0)
        if takes_greater:
            return max(bounds)
        return min(bounds)
    if atom.op == "floordiv" and type(atom.operands[1]) is int:
        # (a - b + 1) / b <= a // b <= a / b
        dividend, divisor = atom.operands
        if factor > 0:
            dividend = dividend - divisor + 1
        scaled = lower_bound(rest * divisor + factor * dividend, depth)
        if math.isinf(scaled):
            return scaled
        return -(-scaled // divisor)
    return -math.inf


def _least_term(product: Product, factor: int, atoms: dict[str, Atom]) -> Bound:
    """The least number of a term.

    A product of two intervals reaches from the least to the greatest of the products of their ends.
    """
    low = 1.0
    high = 1.0
    for key in product:
        atom = atoms[key]
        of_low = (_times(low, atom.low), _times(low, atom.high))
        of_high = (_times(high, atom.low), _times(high, atom.high))
        low = min(*of_low, *of_high)
        high = max(*of_low, *of_high)
    if factor > 0:
        return _times(factor, low)
    return _times(factor, high)


def _times(a: Bound, b: Bound) -> Bound:
    """a * b, where 0 times infinity is 0."""
    if a == 0 or b == 0:
        return 0
    return a * b


# --- decisions
_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _compared(a: Size, b: object, relation: str) -> Any:
    """a relation b: True or False where it is so for all sizes, else what the Trace answers."""
    b = _as_int(b)
    if _is_fraction(b):
        return _decided(a, b, relation)
    if not _is_whole(b):
        return NotImplemented
    answer = _answer_for_all_sizes(a - b, relation)
    if answer is None:
        return _decided(a, b, relation)
    return answer


def _compared_real(a: Real, b: object, relation: str) -> Any:
    """a relation b; NotImplemented for other operands than numbers."""
    if not isinstance(b, (int, float, np.number)):
        return NotImplemented
    return _decided(a, b, relation)


def _decided(a: Size | Real, b: Any, relation: str) -> bool:
    """The answer of the Trace to a condition that holds for some sizes and not for others."""
    holds = _RELATIONS[relation](number(a), number(b))
    return a.scope.condition(f"{_key(a)} {relation} {_key(b)}", holds)


def _answer_for_all_sizes(difference: Dim, relation: str) -> bool | None:
    """Whether `difference relation 0` holds; None where the bounds of the difference do not decide it."""
    low = lower_bound(difference)
    high = upper_bound(difference)
    if relation in ("==", "!="):
        if low > 0 or high < 0:
            return relation == "!="
        if low == high == 0:
            return relation == "=="
        return None
    holds_at_low = _RELATIONS[relation](low, 0)
    holds_at_high = _RELATIONS[relation](high, 0)
    if holds_at_low == holds_at_high:
        return holds_at_low
    return None
