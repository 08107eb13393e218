"""Sizes of dynamic axes as symbols, while a model is recorded for a file.

A `Size` is a polynomial with whole coefficients. Its variables are `Atom`s: the size of an axis of an input
or of another value, or what no polynomial describes (a quotient, a minimum). `Real` is a number with a
fraction that was computed from sizes. Both carry `hint`, their number in the present run.

Neither is an int: Python and NumPy then ask it for its number (`__index__`, `__float__`, `__hash__` ...), and
each of these methods refuses, as the file would hold that number for all sizes. docs/design/export.md says
why. An array of NumPy may hold them as objects. A comparison is answered where the bounds of the atoms decide
it for all sizes; else `Trace.condition` answers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

Bound = float  # a whole number, or an infinity


class Atom(NamedTuple):
    """A variable of a Size.

    key: its text; equal atoms have equal keys. kind: "axis", "floordiv", "min", "max", "floor", "ceil",
    "round" or "trunc". operands: what it is made from: (name of a value, axis), or Sizes. low, high: the
    least and the greatest number that it may be. hint: its number in the present run.
    """

    key: str
    kind: str
    operands: tuple[Any, ...]
    low: Bound
    high: Bound
    hint: int


def _is_natural(x: Any) -> bool:
    return type(x) is int and x >= 0


Product = tuple[str, ...]  # sorted keys of atoms, repeated for powers; () for the constant term


# What is asked of an int, and of the objects in an array by NumPy's functions.
_OF_NUMBERS = frozenset(dir(int)) | {name for name in dir(np) if isinstance(getattr(np, name), np.ufunc)}


class Size:
    """A whole number that depends on sizes of dynamic axes: the sum of `terms`.

    terms: a coefficient for each product of atoms. atoms: those that occur, by key. scope: the Trace, which
    refuses what a file cannot say.
    """

    __slots__ = ("atoms", "hint", "scope", "terms")

    def __init__(self, terms: dict[Product, int], atoms: dict[str, Atom], scope: Any) -> None:
        used = {key for product in terms for key in product}
        self.terms = terms
        self.atoms = {key: atoms[key] for key in sorted(used)}
        self.scope = scope
        self.hint = sum(
            factor * math.prod(atoms[key].hint for key in product) for product, factor in terms.items()
        )

    @property
    def key(self) -> str:
        """A text that is equal for equal Sizes, as Python would write it: ``n - 4*(n // 4)``."""
        parts: list[str] = []
        for product, factor in sorted(self.terms.items(), reverse=True):
            sign = "-" if factor < 0 else "+"
            factors = [] if abs(factor) == 1 and product else [str(abs(factor))]
            parts += [sign, "*".join([*factors, *product])]
        first = "-" if parts[0] == "-" else ""
        return first + " ".join(parts[1:])

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that isinstance() takes it for: a model asks whether a size is one number."""
        return int

    @property
    def may_be_huge(self) -> bool:
        """True for a product of three sizes and more, which int64 may not hold: an axis has less than 2^31
        elements. A rest of such a product is not huge, but computed from whole numbers alone."""
        return max(map(len, self.terms)) > 2 and math.isinf(most(self))

    def is_axis_of_input(self) -> bool:
        """True for the size of a dynamic axis itself, whose key is the name of the axis."""
        atom = self.atoms.get(self.key)
        return atom is not None and atom.kind == "axis" and atom.key != _unnamed(*atom.operands)

    def __repr__(self) -> str:
        return self.scope.text(self)

    # --- arithmetic
    def __add__(self, other: Any) -> Any:
        return _with(self, other, _sum, operator.add)

    __radd__ = __add__

    def __neg__(self) -> Any:
        return _size({product: -factor for product, factor in self.terms.items()}, self.atoms, self.scope)

    def __pos__(self) -> Size:
        return self

    def __sub__(self, other: Any) -> Any:
        return _with(self, other, lambda a, b: _sum(a, -b), operator.sub)

    def __rsub__(self, other: Any) -> Any:
        return _with(self, other, lambda a, b: _sum(-a, b), lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return _with(self, other, _product, operator.mul)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return _with(self, other, quotient, operator.floordiv)

    def __rfloordiv__(self, other: Any) -> Any:
        return _with(self, other, lambda a, b: quotient(b, a), lambda a, b: b // a)

    def __mod__(self, other: Any) -> Any:
        return _with(self, other, _rest, operator.mod)

    def __rmod__(self, other: Any) -> Any:
        return _with(self, other, lambda a, b: _rest(b, a), lambda a, b: b % a)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __truediv__(self, other: Any) -> Any:
        return Real.of("truediv", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return Real.of("truediv", other, self)

    def __pow__(self, other: Any) -> Any:
        if type(other) is int and other >= 0:
            return math.prod([self] * other)
        return Real.of("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return Real.of("pow", other, self)

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

    def __lshift__(self, places: Any) -> Any:
        if _is_natural(places):
            return self * 2**places
        return self._bits(places)

    def __rshift__(self, places: Any) -> Any:
        if _is_natural(places):
            return self // 2**places
        return self._bits(places)

    def __and__(self, mask: Any) -> Any:
        """The rest of a division by a power of 2, where the mask has all bits below it."""
        has_low_bits = _is_natural(mask) and mask & (mask + 1) == 0
        if has_low_bits:
            return self % (mask + 1)
        return self._bits(mask)

    def __invert__(self) -> Any:
        return -self - 1

    def _bits(self, other: Any) -> Any:
        return self.scope.refuse_number(self, "an operand of & | ^ << >>")

    __rand__ = __and__
    __or__ = __ror__ = __xor__ = __rxor__ = __rlshift__ = __rrshift__ = _bits

    def __getattr__(self, name: str) -> Any:
        return _function_of_numpy(self, name)

    # --- comparisons
    def __eq__(self, other: Any) -> Any:
        return _compared(self, other, "==")

    def __ne__(self, other: Any) -> Any:
        return _compared(self, other, "!=")

    def __lt__(self, other: Any) -> Any:
        return _compared(self, other, "<")

    def __le__(self, other: Any) -> Any:
        return _compared(self, other, "<=")

    def __gt__(self, other: Any) -> Any:
        return _compared(self, other, ">")

    def __ge__(self, other: Any) -> Any:
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

    def __format__(self, form: str) -> str:
        return format(self.scope.refuse_number(self, "text"), form)

    def __reduce__(self) -> Any:
        return int, (self.scope.refuse_number(self, "a copy or a pickle"),)

    def __copy__(self) -> Size:
        return self

    def __deepcopy__(self, memo: Any) -> Size:
        return self


class Real:
    """A number with a fraction that was computed from sizes, in float64, as Python computes it.

    op: one of `_REAL`. operands: one or two of int, float, Size and Real.
    """

    __slots__ = ("hint", "op", "operands", "scope")

    def __init__(self, op: str, operands: tuple[Any, ...], scope: Any) -> None:
        self.op = op
        self.operands = operands
        self.scope = scope
        self.hint = float(_REAL[op](*(float(number(x)) for x in operands)))

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that isinstance() takes it for."""
        return float

    @staticmethod
    def of(op: str, *operands: Any) -> Any:
        """op of the operands; NotImplemented for other operands than numbers."""
        numbers = [float(x) if isinstance(x, np.floating) else x for x in operands]
        numbers = [int(x) if isinstance(x, (bool, np.integer)) else x for x in numbers]
        if not all(type(x) in (int, float, Size, Real) for x in numbers):
            return NotImplemented
        scopes = [x.scope for x in numbers if isinstance(x, (Size, Real))]
        return Real(op, tuple(numbers), scopes[0])

    @property
    def key(self) -> str:
        if self.op == "float":
            return _key(self.operands[0])
        sign = _SIGNS.get(self.op)
        if sign is None:
            return f"{self.op}({', '.join(map(_key, self.operands))})"
        first, second = (f"({_key(x)})" if " " in _key(x) else _key(x) for x in self.operands)
        return f"{first} {sign} {second}"

    def __repr__(self) -> str:
        return self.scope.text(self)

    def __add__(self, other: Any) -> Any:
        return Real.of("add", self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return Real.of("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return Real.of("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return Real.of("mul", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return Real.of("truediv", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return Real.of("truediv", other, self)

    def __pow__(self, other: Any) -> Any:
        return Real.of("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return Real.of("pow", other, self)

    def __neg__(self) -> Any:
        return Real.of("mul", self, -1)

    def __pos__(self) -> Real:
        return self

    def __abs__(self) -> Any:
        return Real.of("max", self, -self)

    def __getattr__(self, name: str) -> Any:
        return _function_of_numpy(self, name)

    # --- comparisons
    def __eq__(self, other: Any) -> Any:
        return _compared_real(self, other, "==")

    def __ne__(self, other: Any) -> Any:
        return _compared_real(self, other, "!=")

    def __lt__(self, other: Any) -> Any:
        return _compared_real(self, other, "<")

    def __le__(self, other: Any) -> Any:
        return _compared_real(self, other, "<=")

    def __gt__(self, other: Any) -> Any:
        return _compared_real(self, other, ">")

    def __ge__(self, other: Any) -> Any:
        return _compared_real(self, other, ">=")

    def __bool__(self) -> Any:
        return _compared_real(self, 0, "!=")

    # --- whole numbers
    def __floor__(self) -> Size:
        return _made(self.scope, "floor", (self,), -math.inf, math.inf, math.floor(self.hint))

    def __ceil__(self) -> Size:
        return _made(self.scope, "ceil", (self,), -math.inf, math.inf, math.ceil(self.hint))

    def __round__(self, digits: int | None = None) -> Any:
        if digits is not None:
            return self._number()
        return _made(self.scope, "round", (self,), -math.inf, math.inf, round(self.hint))

    def __trunc__(self) -> Size:
        return _made(self.scope, "trunc", (self,), -math.inf, math.inf, math.trunc(self.hint))

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

    def __format__(self, form: str) -> str:
        return format(self._number(), form)

    def _number(self) -> float:
        found: float = self.scope.refuse_number(self, "a plain number or text")
        return found

    def _refuse(self, *operands: Any) -> Any:
        """For operations that a file has no counterpart of."""
        return self.scope.refuse_number(self, "an operand of // or %, for which math.floor(a / b) stands")

    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refuse


_REAL: dict[str, Callable[..., float]] = {
    "truediv": operator.truediv, "pow": operator.pow, "mul": operator.mul, "add": operator.add,
    "sub": operator.sub, "max": max, "min": min, "sqrt": math.sqrt, "exp": math.exp, "log": math.log,
    "log2": math.log2, "sin": math.sin, "cos": math.cos, "float": float,
}  # fmt: skip
"""The operations of a Real, on floats."""

_SIGNS = {"truediv": "/", "pow": "**", "mul": "*", "add": "+", "sub": "-"}

FUNCTIONS = ("sqrt", "exp", "log", "log2", "sin", "cos", "pow")
"""Those that are functions of the module math and of NumPy."""


def function_of_math(name: str, *operands: Any) -> Any:
    """A function of the module math, of which an operand is a Size or Real."""
    if name == "isqrt":  # exact: a root is the nearest float, and no axis has 2^52 elements
        return math.floor(Real.of("sqrt", *operands))
    if name == "log" and len(operands) == 2:
        value, base = (x if isinstance(x, (Size, Real)) else math.log(x) for x in operands)
        first, second = (Real.of("log", x) if isinstance(x, (Size, Real)) else x for x in (value, base))
        return Real.of("truediv", first, second)
    return Real.of(name, *operands)


def _function_of_numpy(x: Any, name: str) -> Any:
    """What NumPy asks an object for, to compute a function of it: np.sqrt(n) calls n.sqrt()."""
    if name in FUNCTIONS:
        return partial(Real.of, name, x)
    if name.startswith("_") or name not in _OF_NUMBERS:
        raise AttributeError(f"a number that depends on a dynamic axis has no attribute {name!r}")
    return getattr(x.scope.refuse_number(x, f"a plain number, of which it asks {name}"), name)


def _key(x: Any) -> str:
    """The text of a Size, Real or number."""
    if isinstance(x, (Size, Real)):
        return x.key
    return repr(x)


# --- making
def size_of_axis(scope: Any, value: str, at: int, low: Bound, hint: int, name: str = "") -> Size:
    """The size of an axis of a value of the graph. name: that of a dynamic axis."""
    key = name or _unnamed(value, at)
    atom = Atom(key, "axis", (value, at), low, math.inf, hint)
    return Size({(key,): 1}, {key: atom}, scope)


def _unnamed(value: str, at: int) -> str:
    """The key of an axis of a value that is no dynamic axis of an input."""
    return f"size of {value}, axis {at}"


def _made(scope: Any, kind: str, operands: tuple[Any, ...], low: Bound, high: Bound, hint: int) -> Size:
    if kind == "floordiv":
        first, second = (f"({_key(x)})" if " " in _key(x) else _key(x) for x in operands)
        key = f"({first} // {second})"
    else:
        key = f"{kind}({', '.join(map(_key, operands))})"
    atom = Atom(key, kind, operands, low, high, hint)
    return Size({(key,): 1}, {key: atom}, scope)


def _size(terms: dict[Product, int], atoms: dict[str, Atom], scope: Any) -> Any:
    """The Size with these terms; an int where nothing but the constant is left."""
    kept = {product: factor for product, factor in terms.items() if factor}
    if not any(kept):
        return kept.get((), 0)
    return Size(kept, atoms, scope)


def _with(a: Size, b: Any, whole: Callable[[Any, Any], Any], real: Callable[[Any, Any], Any]) -> Any:
    """whole(a, b) of Sizes and ints, real(a, b) with a float or Real; NotImplemented for anything else."""
    if isinstance(b, (bool, np.integer)):
        b = int(b)
    if isinstance(b, Size) or type(b) is int:
        return whole(a, b)
    if isinstance(b, (float, Real)):
        return real(Real("float", (a,), a.scope), b)
    return NotImplemented


def _terms(x: Any) -> tuple[dict[Product, int], dict[str, Atom]]:
    if isinstance(x, Size):
        return (x.terms, x.atoms)
    return ({(): x}, {})


def _scope(*values: Any) -> Any:
    return next(x.scope for x in values if isinstance(x, Size))


def _sum(a: Any, b: Any) -> Any:
    first, atoms = _terms(a)
    second, more = _terms(b)
    terms = dict(first)
    for product, factor in second.items():
        terms[product] = terms.get(product, 0) + factor
    return _size(terms, {**atoms, **more}, _scope(a, b))


def _product(a: Any, b: Any) -> Any:
    first, atoms = _terms(a)
    second, more = _terms(b)
    terms: dict[Product, int] = {}
    for left, p in first.items():
        for right, q in second.items():
            product = tuple(sorted(left + right))
            terms[product] = terms.get(product, 0) + p * q
    return _size(terms, {**atoms, **more}, _scope(a, b))


def divided(a: Any, b: Any) -> Any:
    """a / b where b, of one term, divides each term of a; None where it does not."""
    divisor, _ = _terms(b)
    if len(divisor) != 1:
        if isinstance(a, Size) and a.key == b.key:
            return 1
        return None
    ((by, factor),) = divisor.items()
    if factor == 0:
        return None
    terms, atoms = _terms(a)
    result: dict[Product, int] = {}
    for product, coefficient in terms.items():
        rest = list(product)
        for key in by:
            if key not in rest:
                return None
            rest.remove(key)
        if coefficient % factor:
            return None
        result[tuple(rest)] = coefficient // factor
    if not isinstance(a, Size) and not isinstance(b, Size):
        return a // b
    return _size(result, atoms, _scope(a, b))


def quotient(a: Any, b: Any) -> Any:
    """a // b. Terms that b divides are taken out: (4 n + 3) // 4 is n."""
    if not isinstance(a, Size) and not isinstance(b, Size):
        return a // b
    exact = divided(a, b)
    if exact is not None and _is_positive(b):
        return exact
    if number(b) == 0:
        raise ZeroDivisionError("integer division or modulo by zero")
    if not isinstance(b, Size):
        if b > 0:
            return _by_number(a, b)
        return _by_number(-a, -b)
    low: Bound = -math.inf
    high: Bound = math.inf
    if least(a) >= 0 and least(b) > 0:
        low = 0
        high = most(a)
    return _exact(_scope(a, b), "floordiv", (a, b), low, high, number(a) // number(b))


def _by_number(a: Size, b: int) -> Any:
    """a // b for b > 0: what b divides of each coefficient, and the quotient of the rest."""
    outside = {product: factor // b for product, factor in a.terms.items()}
    rest = {product: factor % b for product, factor in a.terms.items()}
    taken = _size(outside, a.atoms, a.scope)
    inside = _size(rest, a.atoms, a.scope)
    if not isinstance(inside, Size):
        return taken + inside // b
    low = _quotient_of(least(inside), b)
    high = _quotient_of(most(inside), b)
    return taken + _exact(a.scope, "floordiv", (inside, b), low, high, inside.hint // b)


def _quotient_of(bound: Bound, by: int) -> Bound:
    if math.isinf(bound):
        return bound
    return bound // by


def _exact(scope: Any, kind: str, operands: tuple[Any, ...], low: Bound, high: Bound, hint: int) -> Any:
    """The atom as a Size, or a number where its bounds are equal."""
    if low == high:
        return int(low)
    return _made(scope, kind, operands, low, high, hint)


def _rest(a: Any, b: Any) -> Any:
    """a % b, with the sign of b."""
    if isinstance(b, Size):
        return a - _product(quotient(a, b), b)
    return a - quotient(a, b) * b


def smallest(*values: Any) -> Any:
    """min() of ints and Sizes."""
    return _extreme("min", values)


def greatest(*values: Any) -> Any:
    """max() of ints and Sizes."""
    return _extreme("max", values)


def _extreme(kind: str, values: Iterable[Any]) -> Any:
    first, *others = values
    for other in others:
        first = _of_two(kind, first, other)
    return first


def _of_two(kind: str, a: Any, b: Any) -> Any:
    choose: Any = min if kind == "min" else max
    if not isinstance(a, Size) and not isinstance(b, Size):
        return choose(a, b)
    apart = a - b
    if most(apart) <= 0:  # a <= b for all sizes
        if kind == "min":
            return a
        return b
    if least(apart) >= 0:
        if kind == "min":
            return b
        return a
    low = choose(least(a), least(b))
    high = choose(most(a), most(b))
    operands = tuple(sorted((a, b), key=_key))
    return _made(_scope(a, b), kind, operands, low, high, choose(number(a), number(b)))


# --- bounds
def number(x: Any) -> Any:
    """The number of a Size or Real in the present run; anything else as it is."""
    if isinstance(x, (Size, Real)):
        return x.hint
    return x


def most(x: Any) -> Bound:
    """A number that x never exceeds."""
    if isinstance(x, Size):
        return -least(-x)
    return x


_DEEPEST = 6  # the most atoms that `least` replaces one after the other


def least(x: Any, depth: int = 0) -> Bound:
    """A number that x is never below: a bound, which need not be reached."""
    if not isinstance(x, Size):
        return x
    found = sum(_least_of(product, factor, x.atoms) for product, factor in x.terms.items())
    if math.isnan(found):
        found = -math.inf
    if depth >= _DEEPEST:
        return found
    for key, atom in x.atoms.items():
        factor = x.terms.get((key,), 0)
        if not factor or any(key in product for product in x.terms if product != (key,)):
            continue
        rest = x - factor * Size({(key,): 1}, {key: atom}, x.scope)
        if atom.kind in ("min", "max"):
            both = [least(rest + factor * operand, depth + 1) for operand in atom.operands]
            # factor * min(a, b) is the greater of both products where the factor is negative
            takes_greater = (atom.kind == "max") == (factor > 0)
            found = max(found, max(both) if takes_greater else min(both))
        elif atom.kind == "floordiv" and type(atom.operands[1]) is int:
            # (a - b + 1) / b <= a // b <= a / b
            inside, by = atom.operands
            bound = inside - by + 1 if factor > 0 else inside
            scaled = least(rest * by + factor * bound, depth + 1)
            found = max(found, scaled if math.isinf(scaled) else -(-scaled // by))
    return found


def _least_of(product: Product, factor: int, atoms: dict[str, Atom]) -> Bound:
    """The least number of a term."""
    low = high = 1.0
    for key in product:
        ends = [_times(x, y) for x in (low, high) for y in (atoms[key].low, atoms[key].high)]
        low = min(ends)
        high = max(ends)
    return _times(factor, low if factor > 0 else high)


def _times(a: Bound, b: Bound) -> Bound:
    if a == 0 or b == 0:
        return 0
    return a * b


def _is_positive(x: Any) -> bool:
    return least(x) > 0


# --- decisions
def _compared_real(a: Real, b: Any, relation: str) -> Any:
    """a relation b; NotImplemented for other operands than numbers."""
    if not isinstance(b, (int, float, np.number)):
        return NotImplemented
    answer = _ANSWERS[relation](a.hint, number(b))
    return a.scope.condition(f"{_key(a)} {relation} {_key(b)}", answer)


_ANSWERS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip


def _compared(a: Size, b: Any, relation: str) -> Any:
    """a relation b: True or False where it is so for all sizes."""
    if isinstance(b, (bool, np.integer)):
        b = int(b)
    if isinstance(b, (float, Real)):
        return a.scope.condition(f"{_key(a)} {relation} {_key(b)}", _ANSWERS[relation](number(a), number(b)))
    if not isinstance(b, Size) and type(b) is not int:
        return NotImplemented
    apart = a - b
    low = least(apart)
    high = most(apart)
    if relation in ("==", "!="):
        if low > 0 or high < 0:
            return relation == "!="
        if low == high == 0:
            return relation == "=="
    elif _ANSWERS[relation](low, 0) == _ANSWERS[relation](high, 0):
        return _ANSWERS[relation](low, 0)
    holds = _ANSWERS[relation](number(a), number(b))
    return a.scope.condition(f"{_key(a)} {relation} {_key(b)}", holds)
