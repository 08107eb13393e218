"""Element-wise ops: arithmetic with broadcasting, functions of one tensor, comparison and choice.

Shapes broadcast as NumPy's do; the result keeps the memory order of the operands (channels-last stays so).
"""

from ranvier.ops.elementwise.arithmetic import add, div, mul, neg, reciprocal, square, sub
from ranvier.ops.elementwise.compare import eq, ge, gt, le, lt, ne
from ranvier.ops.elementwise.extrema import clamp, clip, maximum, minimum
from ranvier.ops.elementwise.functions import abs, cos, exp, expm1, log, log1p, round, sign, sin, sqrt
from ranvier.ops.elementwise.power import pow
from ranvier.ops.elementwise.where import masked_fill, where

__all__ = [
    "abs",
    "add",
    "clamp",
    "clip",
    "cos",
    "div",
    "eq",
    "exp",
    "expm1",
    "ge",
    "gt",
    "le",
    "log",
    "log1p",
    "lt",
    "masked_fill",
    "maximum",
    "minimum",
    "mul",
    "ne",
    "neg",
    "pow",
    "reciprocal",
    "round",
    "sign",
    "sin",
    "sqrt",
    "square",
    "sub",
    "where",
]
