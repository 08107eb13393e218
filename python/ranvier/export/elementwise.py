"""Element-wise operations and losses: tables of C expressions, and the helpers (C functions) made of them.

The expression `x > 0.0f ? x : a * x` of LeakyRelu becomes the helper

    static void map_leaky_relu(const float *x, float *y, int n, float a)
    {
        for (int i = 0; i < n; i++) y[i] = x[i] > 0.0f ? x[i] : a * x[i];
    }

and a call of it `map_leaky_relu(x, ram + 0, 8, 0.01f);`. The gradient of an operation is made from the
formula of its Function in Python (`expressions.gradients`). The end of the file enters the helpers and rules
of all rows.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ranvier.export.expressions import Expression, Functions, gradients, written
from ranvier.export.instructions import Value
from ranvier.export.operations import Rule, Site, rule
from ranvier.ops.formulas import ELEMENTS, LOSSES

BOOL = np.dtype(np.bool_)
HELPERS: dict[str, str] = {}
"""C text of the helpers of this module, by name. Helpers of gradients and losses are added when a call needs
them."""


def _snake(kind: str) -> str:
    """LeakyRelu as leaky_relu."""
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", kind).strip("_")


def _braces(lines: Sequence[str], indent: str) -> str:
    """The body of a loop or branch in C: one statement as it is, several in braces."""
    if len(lines) == 1:
        return lines[0]
    statements = f"\n{indent}    ".join(lines)
    return f"{{\n{indent}    {statements}\n{indent}}}"


class Unary(NamedTuple):
    """y = value, an expression in C of x and the numbers a, b.

    settings: the attributes that a and b stand for.
    """

    value: str
    settings: tuple[str, ...] = ()


_ELU = "x > 0.0f ? x : a * expm1f(x)"
_SOFTPLUS = "a * x > b ? x : (a * x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(a * x))) / a"
# Limits below which the formulas would give infinity times 0; the result in float32 is 0 from there on.
_MISH = "x < -104.0f ? 0.0f : x * tanhf((x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x))))"
_CLAMP = "x < a ? a : x > b ? b : x"
_GELU_SLOPE = (
    "x < -15.0f ? 0.0f : x > 15.0f ? 1.0f "
    ": 0.5f * erfcf(-0.70710678f * x) + 0.39894228f * x * expf(-0.5f * x * x)"
)
_NUMBER = ("number",)
UNARY = {
    "Relu": Unary("x <= 0.0f ? 0.0f : x"),
    "LeakyRelu": Unary("x > 0.0f ? x : a * x", ("negative_slope",)),
    "Elu": Unary(_ELU, ("alpha",)),
    "Celu": Unary("x > 0.0f ? x : a * expm1f(x / a)", ("alpha",)),
    "Sigmoid": Unary("sigmoid(x)"),
    "Silu": Unary("x < -104.0f ? 0.0f : x * sigmoid(x)"),
    "Gelu": Unary("x < -15.0f ? 0.0f : 0.5f * x * erfcf(-0.70710678f * x)"),
    "GeluTanh": Unary("x < -15.0f ? 0.0f : x * sigmoid(1.59576912f * (x + 0.044715f * x * x * x))"),
    "Softplus": Unary(_SOFTPLUS, ("beta", "threshold")),
    "Mish": Unary(_MISH),
    "Softsign": Unary("x > 1e30f ? 1.0f : x < -1e30f ? -1.0f : x / (1.0f + fabsf(x))"),
    "Hardshrink": Unary("x <= a && x >= -a ? 0.0f : x", ("lambd",)),
    "Hardtanh": Unary(_CLAMP, ("min_val", "max_val")),
    "Clamp": Unary(_CLAMP, ("low", "high")),
    "Hardsigmoid": Unary("x < -3.0f ? 0.0f : x > 3.0f ? 1.0f : x / 6.0f + 0.5f"),
    "Hardswish": Unary("x <= -3.0f ? 0.0f : x > 3.0f ? x : x * (x + 3.0f) / 6.0f"),
    "Abs": Unary("fabsf(x)"),
    "Neg": Unary("-x"),
    "Sign": Unary("x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x"),
    "Square": Unary("x * x"),
    "Reciprocal": Unary("1.0f / x"),
    "Erf": Unary("erff(x)"),
    "Round": Unary("rintf(x)"),
    "AddNumber": Unary("x + a", _NUMBER),
    "MulNumber": Unary("x * a", _NUMBER),
    "DivNumber": Unary("x / a", _NUMBER),
    "PowNumber": Unary("powf(x, a)", _NUMBER),
    "NumberSub": Unary("a - x", _NUMBER),
    "NumberDiv": Unary("a / x", _NUMBER),
    "NumberPow": Unary("powf(a, x)", _NUMBER),
    "isnan": Unary("x != x ? 1.0f : 0.0f"),
    "isinf": Unary("fabsf(x) == INFINITY ? 1.0f : 0.0f"),
    "isfinite": Unary("fabsf(x) < INFINITY ? 1.0f : 0.0f"),
    "bitwise_not": Unary("x != 0.0f ? 0.0f : 1.0f"),  # bools are 0 and 1
}
_OF_C = """
    acos acosh asin asinh atan atanh ceil cos cosh erfc exp exp2 expm1 floor lgamma log log10 log1p log2
    sin sinh sqrt tanh trunc
"""
UNARY |= {name.capitalize(): Unary(f"{name}f(x)") for name in _OF_C.split()}
BINARY = {  # y, an expression of a and b
    "Add": "a + b",
    "Sub": "a - b",
    "Mul": "a * b",
    "Div": "a / b",
    "Pow": "powf(a, b)",
    "Maximum": "a > b || a != a ? a : b",
    "Minimum": "a < b || a != a ? a : b",
    "Fmax": "fmaxf(a, b)",
    "Fmin": "fminf(a, b)",
    "Atan2": "atan2f(a, b)",
    "Copysign": "copysignf(a, b)",
    "Hypot": "hypotf(a, b)",
    "Fmod": "fmodf(a, b)",
    "bitwise_and": "a * b",
    "bitwise_or": "a > b ? a : b",
    "bitwise_xor": "a != b ? 1.0f : 0.0f",
}
for _name, _sign in {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
    UNARY[f"{_name}_number"] = Unary(f"x {_sign} a ? 1.0f : 0.0f", _NUMBER)
    BINARY[_name] = f"a {_sign} b ? 1.0f : 0.0f"
FUNCTIONS = Functions(
    {_snake(kind): ("x", row.value) for kind, row in UNARY.items() if not row.settings}
    | {_snake(kind): ("a b", value) for kind, value in BINARY.items()}
    | {
        "clip": ("x a b", _CLAMP),
        "exponent_backward": ("dy a y", "a == 0.0f && fabsf(y) <= 1.0f ? 0.0f : dy * (y * logf(a))"),
        "gelu_slope": ("x", _GELU_SLOPE),
        "maximum_backward": ("dy a b", "dy * (a < b ? 0.0f : a == b ? 0.5f : 1.0f)"),
        "minimum_backward": ("dy a b", "dy * (a > b ? 0.0f : a == b ? 0.5f : 1.0f)"),
        "pow_backward": ("dy a b", "b == 0.0f ? 0.0f : dy * (b * powf(a, b - 1.0f))"),
        "softplus": ("x", "(x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x)))"),
    }
)
"""The functions that formulas of gradients and losses may call, by name: letters of the operands, and C
text."""
_VALUE = """/* y = {value} */
static void {name}({operands}, float *y, int n{settings})
{{
    for (int i = 0; i < n; i++) {body}
}}
"""
_GRADIENT = """/* the gradient of {operand} */
static void {name}(const float *dy{operands}, float *dx, int n{settings})
{{
    for (int i = 0; i < n; i++) {body}
}}
"""
_LOSS = """/* *y = scale times the sum of the losses of x and t; dx, if not NULL, gets its gradient */
static void {name}(const float *x, const float *t, float *y, float *dx, int n, float scale{settings})
{{
    float sum = 0.0f;
    for (int i = 0; i < n; i++) {{
        {value}
        if (dx) {gradient}
    }}
    *y = scale * sum;
}}
"""


def _at(text: str, letters: str) -> str:
    """An expression with [i] after each of these letters, which name arrays."""
    return re.sub(rf"(?<![\w.])([{letters}])(?![\w\[])", r"\1[i]", text)


def _read(text: str, letters: str) -> list[str]:
    """Those of the letters that occur in an expression."""
    return [letter for letter in letters if _at(text, letter) != text]


def _gradients(
    s: Site, name: str, operands: str, given: Sequence[Value], attributes: dict[str, str]
) -> Sequence[Value | None]:
    """The gradients of the operands, by helpers map_x_backward, or map_x_by_a and map_x_by_b for two
    operands.

    name: the name of the forward helper. operands: their letters. given: the operands, the result y and dy,
    as Values.
    attributes: letter of a number -> the attribute that it stands for.
    """
    dy = given[-1]
    shape = given[-1].shape
    try:
        formulas = gradients(FUNCTIONS, s.call, operands, attributes)
    except AttributeError as error:
        raise s.refuse("it has no backward pass in C") from error
    made: list[Value | None] = []
    for operand, formula, needed in zip(operands, formulas, s.needs, strict=False):
        if formula is None or not needed:
            made.append(None)
            continue
        dx = dy
        if formula.parts != ("dy",):  # else the gradient is dy itself, without an instruction
            arrays = dict(zip((*operands, "y"), given, strict=False))  # without dy
            numbers = {letter: float(s.get(attribute)) for letter, attribute in attributes.items()}
            if operand == "x":
                helper = f"{name}_backward"
            else:
                helper = f"{name}_by_{operand}"
            args = _helper(helper, operand, formula, arrays, numbers)
            dx = s.routine.made(helper, dy, *args[0], ..., dy.size, *args[1], shape=shape, replaced=[dy])
        made.append(s.reduced(dx, s.input(operands.index(operand)).shape))
    return made


def _helper(
    name: str, operand: str, formula: Expression, arrays: dict[str, Value], numbers: dict[str, float]
) -> tuple[list[Value], list[float]]:
    """Adds the helper of a gradient; returns the arrays and the numbers that it reads."""
    variables, text = written(formula)
    lines = [*variables, f"dx[i] = {text};"]
    read = _read("\n".join(lines), "".join(arrays))
    settings = _read("\n".join(lines), "".join(numbers))
    at_i = [_at(line, "".join(read)) for line in lines] if read else lines
    HELPERS[name] = _GRADIENT.format(
        operand=operand,
        name=name,
        operands="".join(f", const float *{letter}" for letter in read),
        body=_braces([re.sub(r"\bdy\b", "dy[i]", line) for line in at_i], "    "),
        settings="".join(f", float {letter}" for letter in settings),
    )
    return [arrays[letter] for letter in read], [numbers[letter] for letter in settings]


def _elementwise(kind: str, operands: str, value: str | Expression, settings: Sequence[str] = ()) -> None:
    """Enters the helper and the rule of an operation.

    kind: the Function's class name. operands: the letters of its operands. value: C text, or an Expression.
    settings: the attributes that the letters a, b stand for.
    """
    name = f"map_{_snake(kind)}"
    attributes = dict(zip("ab", settings, strict=False))
    variables: list[str] = []  # lines that define parts which are used more than once
    if isinstance(value, str):
        text = value
        comment = value
    else:
        variables, text = written(value)
        comment = text
        if variables:
            comment = f"{_snake(kind)}({', '.join(operands)})"
    lines = [_at(line, operands) for line in (*variables, f"y[i] = {text};")]
    HELPERS[name] = _VALUE.format(
        value=comment,
        name=name,
        operands=", ".join(f"const float *{letter}" for letter in operands),
        body=_braces(lines, "    "),
        settings="".join(f", float {letter}" for letter in attributes),
    )

    def forward(s: Site) -> Value:
        shape = s.call.outputs[0].shape
        xs = [s.expanded(s.input(i), shape) for i in range(len(operands))]
        s.saved = xs
        numbers = [float(s.get(attribute)) for attribute in settings]
        return s.routine.made(name, *xs, ..., xs[0].size, *numbers, shape=shape, replaced=xs)

    def backward(s: Site, dy: Value) -> Sequence[Value | None]:
        return _gradients(s, name, operands, [*s.saved, s.outputs[0], dy], attributes)

    rule(kind)(Rule(forward, backward))


def _loss(kind: str) -> None:
    """Enters the rule of an element-wise loss, whose helper computes value and gradient in one pass."""

    def helper(s: Site, settings: Sequence[Any]) -> str:
        """Adds the helper of value and gradient for these settings; returns its name."""
        flags = [f"_{value}".lower() for value in settings if isinstance(value, bool)]
        name = f"loss_{_snake(kind)}" + "".join(flags)
        x = Expression("x[i]")
        t = Expression("t[i]")
        lines, text = written(LOSSES[kind](FUNCTIONS, x, t, *settings))
        try:
            slopes, slope = written(s.call.made_by.slopes[0](FUNCTIONS, x, t, *settings), "slope")
        except AttributeError as error:
            if s.needs[0]:
                raise s.refuse("it has no backward pass in C") from error
            slopes = []
            slope = "NAN"
        has_number = any(isinstance(value, Expression) for value in settings)
        HELPERS[name] = _LOSS.format(
            name=name,
            settings=", float a" if has_number else "",
            value="\n        ".join([*lines, f"sum += {text};"]),
            gradient=_braces([*slopes, f"dx[i] = scale * ({slope});"], "        "),
        )
        return name

    def forward(s: Site) -> Value:
        reduction = s.get("reduction")
        settings = s.get("settings")
        x = s.input(0)
        if reduction not in _REDUCTIONS or s.needs[1]:
            raise s.refuse("the loss of each sample, and a target with a gradient, are not supported")
        if any(isinstance(v, np.ndarray) for v in settings):
            raise s.refuse("weights of samples or classes are not supported")
        # A number, such as the delta of a Huber loss, is the argument a of the helper; a flag is in its name.
        numbers = []
        letters = []
        for value in settings:
            if type(value) in (int, float):
                numbers.append(value)
                letters.append(Expression("a"))
            else:
                letters.append(value)
        name = helper(s, letters)
        y = s.routine.new(())
        dx = s.routine.new(x.shape) if s.needs[0] else None
        s.saved = [dx]
        written_to = [y] if dx is None else [y, dx]
        args = x, s.input(1), y, dx, x.size, _scale(reduction, x), *numbers
        s.routine.call(name, *args, writes=written_to)
        return y

    def backward(s: Site, dy: Value) -> Sequence[Value | None]:
        (dx,) = s.saved
        return [s.scaled(dx, dy), None]

    rule(kind)(Rule(forward, backward))


_REDUCTIONS = ("mean", "sum", "batchmean")


def _scale(reduction: str, x: Value) -> float:
    """The factor of the sum of the losses of all elements."""
    if reduction == "mean":
        return 1.0 / x.size
    if reduction == "batchmean":
        return 1.0 / x.shape[0]
    return 1.0


def _cast(s: Site) -> Value:
    x = s.input(0)
    dtype = s.call.outputs[0].dtype
    if dtype != BOOL and (dtype.kind != "f" or dtype.itemsize < 4):
        raise s.refuse(f"it makes {dtype} of {s.call.inputs[0].dtype}; expected float32 or bool")
    if dtype != BOOL or s.call.inputs[0].dtype == BOOL:
        return x
    return s.routine.made("map_ne_number", x, ..., x.size, 0.0, shape=x.shape, replaced=[x])


def _cast_backward(s: Site, dy: Value) -> Sequence[Value | None]:
    if s.call.inputs[0].dtype == s.call.outputs[0].dtype:
        return [dy]
    return [None]


rule("Cast")(Rule(_cast, _cast_backward))
for _kind, _row in UNARY.items():
    _elementwise(_kind, "x", *_row)
for _kind, _value in BINARY.items():
    _elementwise(_kind, "ab", _value)
_elementwise("Where", "cab", "c != 0.0f ? a : b")
_elementwise("MaskedFill", "xc", "c != 0.0f ? a : x", _NUMBER)
for _kind in ELEMENTS.keys() - {*UNARY, *BINARY}:
    if len(inspect.signature(ELEMENTS[_kind]).parameters) == 2:
        _letters = "x"
    else:
        _letters = "ab"
    _elementwise(_kind, _letters, ELEMENTS[_kind](FUNCTIONS, *map(Expression, _letters)))
for _kind in LOSSES:
    _loss(_kind)
