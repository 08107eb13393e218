"""Operations element by element: tables of C expressions, and the helpers that they become."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ranvier.export.program import Value
from ranvier.export.rules import Rule, Site, rule

BOOL = np.dtype(np.bool_)
HELPERS: dict[str, str] = {}
"""C text of the helpers of this module, by name."""


class Unary(NamedTuple):
    """y = value of x; slope: its derivative, of x or y, whichever it names; settings: attributes a, b."""

    value: str
    slope: str
    settings: tuple[str, ...] = ()


_ELU = "x > 0.0f ? x : a * expm1f(x)"
_SOFTPLUS = "a * x > b ? x : (a * x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(a * x))) / a"
# limits where a formula would be infinity times 0: from there on float32 has no other value
_MISH = "x < -104.0f ? 0.0f : x * tanhf((x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x))))"
_CLAMP = "x < a ? a : x > b ? b : x"
_NUMBER = ("number",)
UNARY = {
    "Relu": Unary("x <= 0.0f ? 0.0f : x", "y <= 0.0f ? 0.0f : 1.0f"),
    "LeakyRelu": Unary("x > 0.0f ? x : a * x", "x > 0.0f ? 1.0f : a", ("setting",)),
    "Elu": Unary(_ELU, "x > 0.0f ? 1.0f : a * expf(x)", ("setting",)),
    "Celu": Unary("x > 0.0f ? x : a * expm1f(x / a)", "x > 0.0f ? 1.0f : expf(x / a)", ("setting",)),
    "Sigmoid": Unary("sigmoid(x)", "y * (1.0f - y)"),
    "Tanh": Unary("tanhf(x)", "1.0f - y * y"),
    "Silu": Unary(
        "x < -104.0f ? 0.0f : x * sigmoid(x)",
        "x < -104.0f ? 0.0f : x > 104.0f ? 1.0f : sigmoid(x) * (1.0f + x * sigmoid(-x))",
    ),
    "Gelu": Unary(
        "x < -15.0f ? 0.0f : 0.5f * x * erfcf(-0.70710678f * x)",
        "x < -15.0f ? 0.0f : x > 15.0f ? 1.0f "
        ": 0.5f * erfcf(-0.70710678f * x) + 0.39894228f * x * expf(-0.5f * x * x)",
    ),
    "GeluTanh": Unary("x < -15.0f ? 0.0f : x * sigmoid(1.59576912f * (x + 0.044715f * x * x * x))", ""),
    "Softplus": Unary(_SOFTPLUS, "a * x > b ? 1.0f : sigmoid(a * x)", ("beta", "threshold")),
    "Mish": Unary(_MISH, ""),
    "Softsign": Unary(
        "x > 1e30f ? 1.0f : x < -1e30f ? -1.0f : x / (1.0f + fabsf(x))",
        "1.0f / ((1.0f + fabsf(x)) * (1.0f + fabsf(x)))",
    ),
    "Hardshrink": Unary("x <= a && x >= -a ? 0.0f : x", "x <= a && x >= -a ? 0.0f : 1.0f", ("setting",)),
    "Hardtanh": Unary(_CLAMP, "x <= a || x >= b ? 0.0f : 1.0f", ("min_val", "max_val")),
    "Clip": Unary(_CLAMP, "x >= a && x <= b ? 1.0f : 0.0f", ("low", "high")),
    "Hardsigmoid": Unary(
        "x < -3.0f ? 0.0f : x > 3.0f ? 1.0f : x / 6.0f + 0.5f", "x > -3.0f && x < 3.0f ? 1.0f / 6.0f : 0.0f"
    ),
    "Hardswish": Unary(
        "x <= -3.0f ? 0.0f : x > 3.0f ? x : x * (x + 3.0f) / 6.0f",
        "x <= -3.0f ? 0.0f : x >= 3.0f ? 1.0f : x / 3.0f + 0.5f",
    ),
    "Abs": Unary("fabsf(x)", "x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x"),
    "Neg": Unary("-x", "-1.0f"),
    "Exp": Unary("expf(x)", "y"),
    "Expm1": Unary("expm1f(x)", "y + 1.0f"),
    "Log": Unary("logf(x)", "1.0f / x"),
    "Log1p": Unary("log1pf(x)", "1.0f / (1.0f + x)"),
    "Sqrt": Unary("sqrtf(x)", "0.5f / y"),
    "Square": Unary("x * x", "2.0f * x"),
    "Reciprocal": Unary("1.0f / x", "-y * y"),
    "Sin": Unary("sinf(x)", "cosf(x)"),
    "Cos": Unary("cosf(x)", "-sinf(x)"),
    "AddNumber": Unary("x + a", "1.0f", _NUMBER),
    "MulNumber": Unary("x * a", "a", _NUMBER),
    "DivNumber": Unary("x / a", "1.0f / a", _NUMBER),
    "PowNumber": Unary("powf(x, a)", "a != 0.0f ? a * powf(x, a - 1.0f) : 0.0f", _NUMBER),
    "NumberSub": Unary("a - x", "-1.0f", _NUMBER),
    "NumberDiv": Unary("a / x", "-a / x / x", _NUMBER),
}
BINARY = {  # y from a and b, then the slopes by a and by b
    "Add": ("a + b", "1.0f", "1.0f"),
    "Sub": ("a - b", "1.0f", "-1.0f"),
    "Mul": ("a * b", "b", "a"),
    "Div": ("a / b", "1.0f / b", "-a / b / b"),
    # of a NaN, which is the result, both get the whole gradient, as in PyTorch
    "Maximum": (
        "a > b || a != a ? a : b",
        "a < b ? 0.0f : a == b ? 0.5f : 1.0f",
        "b < a ? 0.0f : b == a ? 0.5f : 1.0f",
    ),
    "Minimum": (
        "a < b || a != a ? a : b",
        "a > b ? 0.0f : a == b ? 0.5f : 1.0f",
        "b > a ? 0.0f : b == a ? 0.5f : 1.0f",
    ),
}
# bools are 0 and 1; they have no slopes
UNARY["bitwise_not"] = Unary("x != 0.0f ? 0.0f : 1.0f", "")
BINARY |= {
    "bitwise_and": ("a * b", "", ""),
    "bitwise_or": ("a > b ? a : b", "", ""),
    "bitwise_xor": ("a != b ? 1.0f : 0.0f", "", ""),
}
for _name, _sign in {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
    UNARY[f"{_name}_number"] = Unary(f"x {_sign} a ? 1.0f : 0.0f", "", _NUMBER)
    BINARY[_name] = (f"a {_sign} b ? 1.0f : 0.0f", "", "")
LOSSES = {  # the loss of an element from d = x - t, or from x and t; its slope by x; the setting a
    "Mse": ("d * d", "2.0f * d"),
    "L1": ("fabsf(d)", "d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : d"),
    "SmoothL1": (
        "fabsf(d) < a ? 0.5f * d * d / a : fabsf(d) - 0.5f * a",
        "fabsf(d) < a ? d / a : d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : d",
    ),
    "Huber": (
        "fabsf(d) <= a ? 0.5f * d * d : a * (fabsf(d) - 0.5f * a)",
        "d > a ? a : d < -a ? -a : d",
    ),
    "BceWithLogits": (
        "(x[i] > 0.0f ? x[i] : 0.0f) - (t[i] != 0.0f ? x[i] * t[i] : 0.0f) + log1pf(expf(-fabsf(x[i])))",
        "sigmoid(x[i]) - t[i]",
    ),
}

_VALUE = """/* y = {value} */
static void {name}(const float *x, float *y, int n{settings})
{{
    for (int i = 0; i < n; i++) y[i] = {formula};
}}
"""
_PAIR = """/* y = {value} */
static void {name}(const float *a, const float *b, float *y, int n)
{{
    for (int i = 0; i < n; i++) y[i] = {formula};
}}
"""
_SLOPE = """/* {what} dy times {value} */
static void {name}(const float *dy{operands}, float *dx, int n{settings})
{{
    for (int i = 0; i < n; i++) dx[i] = dy[i] * ({formula});
}}
"""
_CHOICE = """/* y = c ? {a} : {b} */
static void {name}(const float *c{operands}, float *y, int n{settings})
{{
    for (int i = 0; i < n; i++) y[i] = c[i] != 0.0f ? {a} : {b};
}}
"""
_LOSS = """/* *y = scale times the sum of {value}, where d = x - t; dx, if not NULL, gets its gradient */
static void {name}(const float *x, const float *t, float *y, float *dx, int n, float scale{settings})
{{
    float sum = 0.0f;
    for (int i = 0; i < n; i++) {{{difference}
        sum += {value};
        if (dx) dx[i] = scale * ({slope});
    }}
    *y = scale * sum;
}}
"""


def _at(text: str, letters: str) -> str:
    """An expression with an index after the names of arrays."""
    return re.sub(rf"(?<![\w.])([{letters}])(?![\w\[])", r"\1[i]", text)


def _read(text: str, letters: str) -> list[str]:
    """Those of the arrays or settings that an expression reads."""
    return [letter for letter in letters if _at(text, letter) != text]


def _add_slope(name: str, what: str, slope: str, operands: list[str], settings: str = "") -> None:
    arrays = "".join(f", const float *{letter}" for letter in operands)
    formula = _at(slope, "".join(operands)) if operands else slope
    HELPERS[name] = _SLOPE.format(
        what=what, value=slope, name=name, operands=arrays, formula=formula, settings=settings
    )


def _snake(kind: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind).strip("_")


def _unary(kind: str, row: Unary) -> None:
    name = f"map_{_snake(kind)}"
    attributes = dict(zip("ab", row.settings, strict=False))
    settings = "".join(f", float {letter}" for letter in attributes)
    formula = _at(row.value, "x")
    HELPERS[name] = _VALUE.format(value=row.value, name=name, formula=formula, settings=settings)
    operands = _read(row.slope, "xy")
    of_slope = _read(row.slope, "".join(attributes))
    if row.slope:
        settings = "".join(f", float {letter}" for letter in of_slope)
        _add_slope(f"{name}_backward", "dx =", row.slope, operands, settings)

    def numbers(s: Site, letters: Iterable[str]) -> list[float]:
        return [float(s.get(attributes[letter])) for letter in letters]

    def forward(s: Site) -> Value:
        x = s.input(0)
        return s.r.made(name, x, ..., x.size, *numbers(s, attributes), shape=x.shape, replaced=[x])

    def backward(s: Site, dy: Value) -> Sequence[Value | None]:
        if not row.slope:
            raise s.refuse("it has no backward pass in C")
        x = s.input(0)
        arrays = [x if letter == "x" else s.outputs[0] for letter in operands]
        args = [dy, *arrays, ..., dy.size, *numbers(s, of_slope)]
        return [s.r.made(f"{name}_backward", *args, shape=x.shape, replaced=[dy])]

    rule(kind)(Rule(forward, backward))


def _binary(kind: str, value: str, by_a: str, by_b: str) -> None:
    name = f"map_{_snake(kind)}"
    HELPERS[name] = _PAIR.format(value=value, name=name, formula=_at(value, "ab"))
    for operand, slope in (("a", by_a), ("b", by_b)) if by_a else ():
        _add_slope(f"{name}_by_{operand}", f"the gradient of {operand}:", slope, _read(slope, "ab"))

    def forward(s: Site) -> Value:
        shape = s.call.outputs[0].shape
        a, b = (s.expanded(s.input(i), shape) for i in (0, 1))
        s.saved = [a, b]
        return s.r.made(name, a, b, ..., a.size, shape=shape, replaced=[a, b])

    def backward(s: Site, dy: Value) -> Sequence[Value | None]:
        gradients: list[Value | None] = [None, None]
        for i, (operand, slope) in enumerate((("a", by_a), ("b", by_b))):
            if not s.needs[i]:
                continue
            dx = dy
            if slope == "-1.0f":
                dx = s.r.made("map_neg", dy, ..., dy.size, shape=dy.shape, replaced=[dy])
            elif slope != "1.0f":
                args = [dy, *(s.saved["ab".index(letter)] for letter in _read(slope, "ab")), ..., dy.size]
                dx = s.r.made(f"{name}_by_{operand}", *args, shape=dy.shape, replaced=[dy])
            gradients[i] = s.reduced(dx, s.input(i).shape)
        return gradients

    rule(kind)(Rule(forward, backward))


def _loss(kind: str, value: str, slope: str) -> None:
    name = f"loss_{_snake(kind)}"
    setting = _at(value, "a") != value
    HELPERS[name] = _LOSS.format(
        value=value,
        slope=slope,
        name=name,
        settings=", float a" if setting else "",
        difference="" if "x[i]" in value else "\n        const float d = x[i] - t[i];",
    )

    def forward(s: Site) -> Value:
        reduction, settings, x = s.get("reduction"), s.get("settings"), s.input(0)
        if reduction not in ("mean", "sum") or s.needs[1]:
            raise s.refuse("the loss of each sample, and a target with a gradient, are not supported")
        if kind == "BceWithLogits" and any(v is not None for v in settings):
            raise s.refuse("weights of samples or classes are not supported")
        y = s.r.new(())
        dx = s.r.new(x.shape) if s.needs[0] else None
        s.saved = [dx]
        scale = 1.0 / x.size if reduction == "mean" else 1.0
        numbers = [float(settings[0])] if setting else []
        made = [y] if dx is None else [y, dx]
        s.r.call(name, x, s.input(1), y, dx, x.size, scale, *numbers, writes=made)
        return y

    rule(kind)(Rule(forward, lambda s, dy: [s.scaled(s.saved[0], dy), None]))


def _choice(name: str, a: str, b: str, settings: str = "") -> None:
    read = "".join(f", const float *{text[0]}" for text in (a, b) if text.endswith("[i]"))
    HELPERS[name] = _CHOICE.format(name=name, a=a, b=b, operands=read, settings=settings)


_choice("map_where", "a[i]", "b[i]")
_choice("map_fill", "a", "b[i]", ", float a")
_choice("map_chosen", "a[i]", "0.0f")
_choice("map_others", "0.0f", "b[i]")


def _chosen(s: Site, helper: str, condition: Value, dy: Value, i: int) -> Value | None:
    if not s.needs[i]:
        return None
    dx = s.r.made(helper, condition, dy, ..., dy.size, shape=dy.shape, replaced=[dy])
    return s.reduced(dx, s.input(i).shape)


def _where(s: Site) -> Value:
    shape = s.call.outputs[0].shape
    s.saved = [s.expanded(s.input(i), shape) for i in range(3)]
    return s.r.made("map_where", *s.saved, ..., s.saved[0].size, shape=shape, replaced=s.saved)


def _masked_fill(s: Site) -> Value:
    shape = s.call.outputs[0].shape
    x, mask = s.saved = [s.expanded(s.input(i), shape) for i in range(2)]
    return s.r.made("map_fill", mask, x, ..., x.size, float(s.get("number")), shape=shape, replaced=[x, mask])


def _cast(s: Site) -> Value:
    x, dtype = s.input(0), s.call.outputs[0].dtype
    if dtype != BOOL and (dtype.kind != "f" or dtype.itemsize < 4):
        raise s.refuse(f"it makes {dtype} of {s.call.inputs[0].dtype}; expected float32 or bool")
    if dtype != BOOL or s.call.inputs[0].dtype == BOOL:
        return x
    return s.r.made("map_ne_number", x, ..., x.size, 0.0, shape=x.shape, replaced=[x])


rule("Where")(
    Rule(
        _where,
        lambda s, dy: [
            None,
            _chosen(s, "map_chosen", s.saved[0], dy, 1),
            _chosen(s, "map_others", s.saved[0], dy, 2),
        ],
    )
)
rule("MaskedFill")(Rule(_masked_fill, lambda s, dy: [_chosen(s, "map_others", s.saved[1], dy, 0), None]))
rule("Cast")(Rule(_cast, lambda s, dy: [dy if s.call.inputs[0].dtype == s.call.outputs[0].dtype else None]))
for _kind, _row in UNARY.items():
    _unary(_kind, _row)
for _kind, _texts in BINARY.items():
    _binary(_kind, *_texts)
for _kind, (_value, _slope) in LOSSES.items():
    _loss(_kind, _value, _slope)
