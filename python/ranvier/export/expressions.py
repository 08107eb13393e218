"""Makes C expressions by running formulas in Python: those of gradients of element-wise Functions
(ops/namespaces.py).

A formula is called with Expressions, each of which stands for one float32, in place of tensors. Operators and
the functions of the namespace `Functions` return further Expressions:

>>> x, f = Expression("x"), Functions({"tanh": ("x", "tanhf(x)")})
>>> y = f.tanh(x)
>>> written(1.0 - y * y)
(['const float t0 = tanhf(x);'], '1.0f - t0 * t0')
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from ranvier.export.instructions import literal
from ranvier.ops.formulas import ELEMENTS
from ranvier.ops.namespaces import FORMULAS, RESULT

CHOICE, OR, AND, COMPARISON, SUM, PRODUCT, SIGN, ATOM = range(8)  # precedences, the lowest first


class Expression:
    """An expression in C.

    parts: strings, and tuples (Expression, binds): an operand, and how strongly the operator beside it binds,
    by which `written` sets parentheses. binds: how strongly this expression's own operator binds.
    """

    shape = None  # formulas read shapes to undo broadcasting, which does not concern a single element

    def __init__(self, *parts: Any, binds: int = ATOM) -> None:
        self.parts = parts
        self.binds = binds

    def inside(self, binds: int) -> tuple[Expression, int]:
        """This expression as a part of another; in parentheses if its operator binds less than `binds`."""
        return self, binds

    # --- operators
    def __neg__(self) -> Expression:
        return Expression("-", self.inside(ATOM), binds=SIGN)

    def __add__(self, other: Operand) -> Expression:
        return _joined(self, "+", other)

    def __radd__(self, other: Operand) -> Expression:
        return _joined(other, "+", self)

    def __sub__(self, other: Operand) -> Expression:
        return _joined(self, "-", other)

    def __rsub__(self, other: Operand) -> Expression:
        return _joined(other, "-", self)

    def __mul__(self, other: Operand) -> Expression:
        return _joined(self, "*", other)

    def __rmul__(self, other: Operand) -> Expression:
        return _joined(other, "*", self)

    def __truediv__(self, other: Operand) -> Expression:
        return _joined(self, "/", other)

    def __rtruediv__(self, other: Operand) -> Expression:
        return _joined(other, "/", self)

    def __lt__(self, other: Operand) -> Expression:
        return _joined(self, "<", other)

    def __le__(self, other: Operand) -> Expression:
        return _joined(self, "<=", other)

    def __gt__(self, other: Operand) -> Expression:
        return _joined(self, ">", other)

    def __ge__(self, other: Operand) -> Expression:
        return _joined(self, ">=", other)

    def __eq__(self, other: Operand) -> Expression:  # type: ignore[override]
        return _joined(self, "==", other)

    def __ne__(self, other: Operand) -> Expression:  # type: ignore[override]
        return _joined(self, "!=", other)

    def __and__(self, other: Operand) -> Expression:
        return _joined(self, "&&", other)

    def __rand__(self, other: Operand) -> Expression:
        return _joined(other, "&&", self)

    def __or__(self, other: Operand) -> Expression:
        return _joined(self, "||", other)

    def __ror__(self, other: Operand) -> Expression:
        return _joined(other, "||", self)

    __hash__ = None  # type: ignore[assignment]


Operand: TypeAlias = Expression | float
"""What stands beside an operator: an expression, or a number."""

_BINDS = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "&&": AND, "||": OR}
"""How strongly an operator binds its operands; the others are comparisons."""


def _joined(a: Operand, sign: str, b: Operand) -> Expression:
    """a sign b. A product with the number 1.0 is its other factor."""
    if sign == "*" and isinstance(a, float) and a == 1.0:
        return as_expression(b)
    if sign == "*" and isinstance(b, float) and b == 1.0:
        return as_expression(a)
    binds = _BINDS.get(sign, COMPARISON)
    least = binds
    if sign == "||":  # compilers warn about && inside || without parentheses
        least = COMPARISON
    left = as_expression(a).inside(least)
    right = as_expression(b).inside(max(least, binds + 1))
    return Expression(left, f" {sign} ", right, binds=binds)


def as_expression(x: Operand) -> Expression:
    """An Expression as it is; a number as a float32."""
    if isinstance(x, Expression):
        return x
    text = literal(x)
    if text[0] == "-":
        return Expression(text, binds=SIGN)
    return Expression(text)


def written(expression: Expression, names_of: str = "t") -> tuple[list[str], str]:
    """(lines, text) of an expression in C; the lines define variables for parts used more than once."""
    uses: Counter[int] = Counter()

    def count(x: Expression) -> None:
        uses[id(x)] += 1
        if uses[id(x)] == 1:
            for part in x.parts:
                if isinstance(part, tuple):
                    count(part[0])

    count(expression)
    names: dict[int, str] = {}
    lines: list[str] = []

    def text_of(x: Expression, binds: int) -> str:
        if id(x) in names:
            return names[id(x)]
        text = ""
        for part in x.parts:
            if isinstance(part, tuple):
                text += text_of(*part)
            else:
                text += part
        if uses[id(x)] > 1 and len(x.parts) > 1:
            name = f"{names_of}{len(names)}"
            names[id(x)] = name
            is_truth = OR <= x.binds <= COMPARISON
            c_type = "int" if is_truth else "float"
            lines.append(f"const {c_type} {name} = {text};")
            return name
        if x.binds >= binds:
            return text
        return f"({text})"

    return lines, text_of(expression, CHOICE)


class Functions:
    """The namespace `f` of formulas: functions with the names of ops, which take and return Expressions.

    texts: name -> (letters of its operands, text in C). Other names are formulas of ops/namespaces.py.
    """

    def __init__(self, texts: dict[str, tuple[str, str]]) -> None:
        self.texts = texts
        self.add = operator.add
        self.mul = operator.mul
        self.div = operator.truediv
        self.neg = operator.neg

    def gradient_of(self, shape: None, op: Callable[..., Expression], *operands: Operand) -> Expression:
        return op(*operands)

    def sum_to(self, dy: Expression, shape: None) -> Expression:
        """dy: a single element was not broadcast."""
        return dy

    def zeros_of(self, shape: None, dy: Expression) -> None:
        """Nothing is added to a gradient."""

    def __getattr__(self, name: str) -> Any:
        operands, text = self.texts.get(name, ("", ""))
        formula: Any = FORMULAS.get(name) or ELEMENTS.get(name.capitalize())
        if not text and formula is None:
            raise AttributeError(f"no function {name} in C")
        if not text:
            return partial(formula, self)
        return partial(_applied, name, operands.split(), text)

    def where(self, condition: Expression, a: Any, b: Any) -> Expression:
        chosen = as_expression(a).inside(OR)
        other = as_expression(b).inside(CHOICE)
        return Expression(condition.inside(OR), " ? ", chosen, " : ", other, binds=CHOICE)


def _applied(name: str, letters: list[str], text: str, *operands: Operand) -> Expression:
    """The text of a function in C, with operands in the places of their letters."""
    if len(operands) != len(letters):
        raise AttributeError(f"no function {name} of {len(operands)} operands in C")
    by_letter = dict(zip(letters, map(as_expression, operands), strict=True))
    is_call = re.fullmatch(r"\w+\([\w, ]+\)", text) is not None
    inside = CHOICE if is_call else ATOM
    parts: list[Any] = []
    for part in re.split(rf"\b({'|'.join(letters)})\b", text):
        if part in by_letter:
            parts.append(by_letter[part].inside(inside))
        else:
            parts.append(part)
    if is_call:
        return Expression(*parts, binds=ATOM)
    return Expression(*parts, binds=CHOICE)


def gradients(f: Functions, call: Any, operands: str, settings: dict[str, str]) -> list[Expression | None]:
    """The gradients of the operands of an element-wise Function, as expressions of dy, the operands and the
    result y.

    call: the recorded call. operands: the letters of its operands. settings: letter of a number -> attribute.
    Raises AttributeError if backward is not a formula, or uses functions that C lacks.
    """
    dy: Any = Expression("dy")
    kind = call.made_by
    letters = {name: letter for letter, name in settings.items()}
    for name, place in kind.saves.items():  # attribute -> the number of the operand that it holds, or RESULT
        letters[name] = "y"
        if place != RESULT:
            letters[name] = operands[place]
    node = object.__new__(kind)  # a node whose saved values are Expressions, for which backward is called
    vars(node).update({name: Expression(letter) for name, letter in letters.items()})
    # what backward methods read: whose gradients are needed, and shapes to undo broadcasting, which
    # `Functions` takes as None
    node.needs = (True,) * len(operands)
    node.shape = None
    node.shapes = (None, None)
    node.a_shape = None
    made = kind.backward(node, dy, f)
    if isinstance(made, tuple):
        return list(made)
    return [made]
