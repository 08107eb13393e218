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
from typing import Any

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

    def __neg__(self) -> Any:
        return Expression("-", self.inside(ATOM), binds=SIGN)

    __hash__ = None  # type: ignore[assignment]


_OPERATORS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}
_OPERATORS |= {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "and": "&&", "or": "||"}


def _operator(sign: str, swapped: bool) -> Any:
    """The method of a binary operator; swapped: the reflected one (`__radd__`)."""
    binds = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "&&": AND, "||": OR}.get(sign, COMPARISON)

    def joined(self: Expression, other: Any) -> Expression:
        if sign == "*" and isinstance(other, float) and other == 1.0:
            return self
        a, b = (as_expression(other), self) if swapped else (self, as_expression(other))
        least = COMPARISON if sign == "||" else binds  # compilers warn about && inside || without parentheses
        return Expression(a.inside(least), f" {sign} ", b.inside(max(least, binds + 1)), binds=binds)

    return joined


for _name, _sign in _OPERATORS.items():
    setattr(Expression, f"__{_name}__", _operator(_sign, False))
    setattr(Expression, f"__r{_name}__", _operator(_sign, True))


def as_expression(x: Any) -> Expression:
    """An Expression as it is; a number as a float32."""
    if isinstance(x, Expression):
        return x
    text = literal(x)
    return Expression(text, binds=SIGN if text[0] == "-" else ATOM)


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
        text = "".join(part if isinstance(part, str) else text_of(*part) for part in x.parts)
        if uses[id(x)] > 1 and len(x.parts) > 1:
            name = names[id(x)] = f"{names_of}{len(names)}"
            lines.append(f"const {'int' if OR <= x.binds <= COMPARISON else 'float'} {name} = {text};")
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
        self.gradient_of: Any = lambda shape, op, *operands: op(*operands)
        self.sum_to: Any = lambda dy, shape: dy
        self.zeros_of: Any = lambda shape, dy: None

    def __getattr__(self, name: str) -> Any:
        operands, text = self.texts.get(name, ("", ""))
        formula: Any = FORMULAS.get(name) or ELEMENTS.get(name.capitalize())
        if not text and formula is None:
            raise AttributeError(f"no function {name} in C")
        if not text:
            return lambda *xs: formula(self, *xs)
        is_call = re.fullmatch(r"\w+\([\w, ]+\)", text) is not None

        def applied(*xs: Any) -> Expression:
            if len(xs) != len(operands.split()):
                raise AttributeError(f"no function {name} of {len(xs)} operands in C")
            of_name = dict(zip(operands.split(), map(as_expression, xs), strict=True))
            parts = re.split(rf"\b({operands.replace(' ', '|')})\b", text)
            inside = CHOICE if is_call else ATOM
            return Expression(
                *(of_name[part].inside(inside) if part in of_name else part for part in parts),
                binds=ATOM if is_call else CHOICE,
            )

        return applied

    def where(self, condition: Expression, a: Any, b: Any) -> Expression:
        chosen = as_expression(a).inside(OR)
        other = as_expression(b).inside(CHOICE)
        return Expression(condition.inside(OR), " ? ", chosen, " : ", other, binds=CHOICE)


def gradients(f: Functions, call: Any, operands: str, settings: dict[str, str]) -> list[Expression | None]:
    """The gradients of the operands of an element-wise Function, as expressions of dy, the operands and the
    result y.

    call: the recorded call. operands: the letters of its operands. settings: letter of a number -> attribute.
    Raises AttributeError if backward is not a formula, or uses functions that C lacks.
    """
    dy: Any = Expression("dy")
    kind = call.made_by
    letters = {name: letter for letter, name in settings.items()}
    letters |= {name: "y" if place == RESULT else operands[place] for name, place in kind.saves.items()}
    node = object.__new__(kind)  # a node whose saved values are Expressions, for which backward is called
    vars(node).update({name: Expression(letter) for name, letter in letters.items()})
    node.needs = (True,) * len(operands)
    node.shape = None
    node.shapes = (None, None)
    node.a_shape = None
    made = kind.backward(node, dy, f)
    if isinstance(made, tuple):
        return list(made)
    return [made]
