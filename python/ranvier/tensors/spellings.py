"""NumPy's names of arguments, which PyTorch's built-in functions take beside their own: ``axis`` for dim,
``keepdims`` for keepdim, ``x``, ``a`` and ``x1`` for input, ``x2`` for other.

They are looked at where a call fails because a function has no argument of that name, so that other calls
cost nothing more: in `own_error` (`errors.py`), and in the objects that `spelled` makes of functions without
such a gate. Functions that PyTorch writes in Python refuse them (`PLAIN`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, TypeAlias

import ranvier._core as _core

SPELLINGS = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other"}
"""NumPy's name -> PyTorch's."""

# Names of single functions that PyTorch takes beside those of its documentation.
_OF_ONE = {"searchsorted": {"input": "values"}}

# Functions with such an argument that PyTorch writes in Python.
_PLAIN = """
    adaptive_avg_pool2d adaptive_max_pool2d dropout2d fold glu grid_sample gumbel_softmax interpolate
    local_response_norm lp_pool2d max_unpool1d max_unpool2d multi_margin_loss multilabel_margin_loss
    multilabel_soft_margin_loss norm normalize pad soft_margin_loss split stft unique unique_consecutive
"""
PLAIN = frozenset(_PLAIN.split())
_MODULES = ("ranvier.fft", "ranvier.linalg", "ranvier.ops.", "ranvier.tensors.")
# flags of `_core._public`, as in public_function.cpp
_BINDS = 2
RESPELLS = 16
_ASKS_NOBODY = 32
# Functions that, without settings, call an op of their module with their operands: the core then calls it.
# The op is the variable of this name in the function's module, so a new name has to be written here, too.
_OPS = {
    "add": "_ADD",
    "sub": "_SUB",
    "div": "_DIV",
    "gelu": "_GELU",
    "linear": "_linear",
    "log_softmax": "_log_softmax_along",
    "matmul": "_matmul",
    "softmax": "_softmax_along",
    "where": "_WHERE",
}
_OPERANDS = frozenset(("condition", "input", "other", "weight", "bias", "dim"))
# Functions that call the function of the core with their name, and give it their name, then their parameters.
_NAMED = frozenset(
    ("diagonal", "flatten", "movedim", "narrow", "select", "squeeze", "t", "transpose", "unsqueeze")
)
# Functions that call an op of `_core._reduction` with (input, dim, axis, keepdim, keepdims), if no other
# setting is given.
_REDUCTIONS = frozenset(("all", "amax", "amin", "any", "mean", "sum"))


# Functions of nn.functional that are built-in in PyTorch.
OF_LAYERS = """
    adaptive_avg_pool1d avg_pool1d avg_pool2d bilinear celu_ conv1d conv2d conv_transpose1d conv_transpose2d
    cosine_similarity elu_ gelu hardshrink hardtanh_ leaky_relu_ linear logsigmoid one_hot pairwise_distance
    pdist pixel_shuffle pixel_unshuffle prelu relu_ rrelu_ selu_ softplus softshrink threshold_
"""


# Functions whose matrix has the name A here and in PyTorch's documentation, but `input` in PyTorch.
_OF_A = """
    cholesky cholesky_ex det eigh eigvalsh inverse logdet lstsq matrix_power matrix_rank pinv pinverse slogdet
    solve_triangular
"""
OF_A = frozenset(_OF_A.split())


def is_respelled(function: Callable[..., Any]) -> bool:
    """True if a function of this library takes NumPy's names."""
    home = function.__module__ or ""
    is_plain = function.__name__ in PLAIN and home.startswith("ranvier.ops.")
    return home.startswith(_MODULES) and not is_plain


def respelled(function: Callable[..., Any], settings: dict[str, Any]) -> dict[str, Any] | None:
    """The keyword arguments under PyTorch's names; None if no name is NumPy's, or if the function takes them
    as they are.

    >>> def total(input, dim=None): ...
    >>> respelled(total, {"axis": 1}), respelled(total, {"dim": 1})
    ({'dim': 1}, None)
    """
    parameters = inspect.signature(function).parameters
    spellings = SPELLINGS | _OF_ONE.get(function.__name__, {})
    changed = {}
    for name, value in settings.items():
        torch_name = spellings.get(name, name)
        if torch_name == "input" and function.__name__ in OF_A:
            torch_name = "A"
        if name not in parameters and torch_name in parameters:
            changed[torch_name] = value
        else:
            changed[name] = value
    is_given_twice = len(changed) < len(settings)  # as in f(axis=0, dim=0)
    if is_given_twice or changed.keys() == settings.keys():
        return None
    return changed


def again(
    function: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, Any], error: BaseException
) -> Any:
    """The result of a call that raised the error, under PyTorch's names of its arguments; raises the error
    where NumPy's names are not the cause."""
    changed = respelled(function, settings)
    if changed is None:
        raise error
    return function(*args, **changed)


def spelled(function: Any, as_method: bool = False) -> Any:
    """A function as an object of the core that takes NumPy's names; others as they are.

    Functions with the gate `own_error` take them there. Calls with operands alone go to the function's op.
    as_method: the object is a method of Tensor, whose first argument has no name.
    """
    is_plain = isinstance(function, FunctionType) and not hasattr(function, "takes_spellings")
    if not is_plain or not is_respelled(function) or not _lacks_spellings(function, as_method):
        return function
    return _object(function, as_method)


@cache  # a function has one object, which pickle finds again
def _object(function: FunctionType, as_method: bool) -> Any:
    kind = _core.PublicMethod if as_method else _core.PublicFunction
    name = function.__name__
    how = _BINDS | RESPELLS | _ASKS_NOBODY
    made = _core._public(kind, function, None, function.__module__, function.__qualname__, name, how)
    op = _op_of(function)
    if op is not None:
        _core._set_op(made, *op)
    return made


def _lacks_spellings(function: FunctionType, as_method: bool) -> bool:
    """True if a function has an argument for which NumPy has another name, but not under that name."""
    code = getattr(function, "__wrapped__", function).__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if not as_method and "input" in names:
        return True
    has_axis = "dim" in names and "axis" not in names
    has_axes = "keepdim" in names and "keepdims" not in names
    return has_axis or has_axes or "other" in names


# How the core calls an op in place of a function: the arguments of `_core._set_op` after the first. They are
# the op; how many of the first parameters a call has to give; the parameters that the op takes; the op's
# arguments where none is given; where each parameter stands among these.
Forward: TypeAlias = tuple[Any, int, tuple[str, ...], tuple[Any, ...], tuple[int, ...]]


def _with_all(op: Any, least: int, parameters: tuple[str, ...]) -> Forward:
    """The Forward of an op with the same parameters."""
    return op, least, parameters, (), tuple(range(len(parameters)))


def _op_of(function: FunctionType) -> Forward | None:
    """The op that a function calls with its first parameters; or None."""
    space = function.__globals__
    code = function.__code__
    name = function.__name__
    names = code.co_varnames[: code.co_argcount]
    if name in _OPS:
        operands = tuple(name for name in names if name in _OPERANDS)
        return _with_all(space[_OPS[name]], len(operands), operands)
    if name in _NAMED:
        return _named(function, names)
    if name in _REDUCTIONS:
        of_reduction = None, None, None, False, False
        return space[f"_{name}"], 1, ("input", "dim", "keepdim"), of_reduction, (0, 1, 3)
    if name in ("tril", "triu"):
        return space[f"_{name}"], 1, names, (None, 0, name == "triu"), (0, 1)
    op = space.get(f"_{name}_op")  # of an element-wise function (ops/elementwise/op.py)
    if op is None:
        return None
    defaults = dict(zip(reversed(names), reversed(function.__defaults__ or ()), strict=False))
    given = tuple(name for name in names if name not in ("inplace", "out"))
    least = len([name for name in given if name not in defaults])
    initial = tuple(defaults.get(name) for name in given)
    return op, least, given, initial, tuple(range(len(given)))


def _named(function: FunctionType, names: tuple[str, ...]) -> Forward:
    """The function of the core for one of `_NAMED`, which begins with its name."""
    name = function.__name__
    defaults = function.__defaults__ or ()
    least = len(names) - len(defaults)
    places = tuple(range(1, len(names) + 1))
    return getattr(_core, f"_{name}"), least, names, (name, *[None] * least, *defaults), places


_core._set_again(again, spelled)  # the core calls `again` where a call of such an object has failed
