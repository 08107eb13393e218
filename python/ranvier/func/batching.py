"""Batching: how ops on batched Tensors (tensors/batched.py) are computed, once for all slices.

While a thread is in a call of :func:`ranvier.func.vmap`, it has an observer, which gets every call of a
Function. A call with a batched input is made by the batching rule of the Function's class::

    @batching_rule(Sum)
    def _sum(node: Sum, x: Operand) -> Tensor:
        node.axes = shifted(node.axes, x.ndim)
        return node.apply(x.value)

A rule gets the Function, before its forward, and an `Operand` for each input, or None for an input that is
None. It returns the Tensor of all slices, with the slices along dimension 0, or a tuple of such Tensors. It
calls ops, or this Function with other settings, on ordinary Tensors, which are recorded on the tape as usual.

A Function without a rule is run once for each slice, after one warning (`run_on_slices`). Kernels outside of
Functions have rules, too (`kernel_rule`), and so have functions that NumPy computes (`host_rule`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.observe import Observer
from ranvier.ops import stack
from ranvier.tape.function import Function, as_inputs
from ranvier.tensors.batched import (
    KERNEL_RULES,
    NUMPY_RULES,
    AxisOutOfRangeError,
    KernelRule,
    Level,
    SlicesError,
    active_levels,
    batched,
    batched_array,
    broadcast_arrays,
    innermost,
    level_of,
    on_each_slice,
    slice_of,
    value_at,
    warn_of_loop,
)
from ranvier.tensors.recording import HostOfSlices, host, host_in_place, set_host_of_slices
from ranvier.tensors.tensor import Tensor, wrap

F = TypeVar("F", bound=Callable[..., Any])


class Operand:
    """One input of a call with batched Tensors.

    value: the Tensor of all slices, (slices, *shape), if `is_batched`; else the Tensor that all slices share.
    ndim, shape: of one slice.
    level: of the call.
    """

    def __init__(self, x: Tensor, level: Level) -> None:
        self.level = level
        self.is_batched = level_of(x) is level
        self.value: Tensor = x._array.value if self.is_batched else x  # type: ignore[attr-defined]
        self.ndim = x.ndim
        self.shape = tuple(x.shape)

    @classmethod
    def of(cls, value: Tensor, like: Operand) -> Operand:
        """Another value, of slices if that of `like` is."""
        operand = cls.__new__(cls)
        operand.level = like.level
        operand.is_batched = like.is_batched
        operand.value = value
        operand.shape = tuple(value.shape[1:] if like.is_batched else value.shape)
        operand.ndim = len(operand.shape)
        return operand

    @property
    def is_repeated(self) -> bool:
        """True if all slices are in one memory: the value of a shared Tensor by which each slice has a
        gradient of its own."""
        return not self.is_batched or self.value._array.strides[0] == 0

    def tensor(self) -> Tensor:
        """The Tensor of one slice, as the call has got it."""
        if self.is_batched:
            return batched(self.value, self.level)
        return self.value

    def stacked(self) -> Tensor:
        """The Tensor of all slices; equal slices in one memory if all share one."""
        if self.is_batched:
            return self.value
        return self.value.unsqueeze(0).expand(self.level.size, *self.shape)

    def aligned(self, ndim: int) -> Tensor:
        """The value in a shape that broadcasts, slice by slice, with others whose slices have `ndim`
        dimensions."""
        missing = ndim - self.ndim
        if not self.is_batched or missing <= 0:
            return self.value
        return self.value.reshape(self.level.size, *(1,) * missing, *self.shape)


BatchingRule = Callable[..., Any]
RULES: dict[type[Function], BatchingRule] = {}
FAMILIES = (
    "activation",
    "elementwise",
    "image",
    "loss",
    "making",
    "matrix",
    "neural",
    "reduction",
    "shape",
    "tape",
)


def batching_rule(*functions: Any) -> Callable[[F], F]:
    """A decorator of the batching rule of these Functions."""

    def enter(rule: F) -> F:
        for function in functions:
            RULES[function] = rule
        return rule

    return enter


def kernel_rule(names: str, rules: dict[str, KernelRule] = KERNEL_RULES) -> Callable[[F], F]:
    """A decorator of the rule of these kernels, for calls outside of Functions. names: separated by spaces.

    The rule is a function of the kernel, the level and the kernel's arguments, some of them batched arrays.
    It returns what the kernel returns, with batched arrays for arrays. With rules=NUMPY_RULES it is the rule
    of functions of NumPy, such as "argsort", "add.reduce".
    """

    def enter(rule: F) -> F:
        for name in names.split():
            rules[name] = rule
        return rule

    return enter


HOST_RULES: dict[Callable[..., Any], KernelRule] = {}  # by the function that `host` runs


def host_rule(*functions: Callable[..., Any]) -> Callable[[F], F]:
    """A decorator of the rule of functions that run by :func:`ranvier.tensors.recording.host`.

    As :func:`kernel_rule`: the rule is a function of the function, the level and the operands.
    """

    def enter(rule: F) -> F:
        for function in functions:
            HOST_RULES[function] = rule
        return rule

    return enter


def run_host(function: Callable[..., Any], operands: tuple[Any, ...]) -> Any:
    """``host(function, *operands)`` for operands of which some are batched arrays."""
    level = innermost(operands)
    assert level is not None
    rule = _find_host_rule(function)
    run = partial(host, function)
    if rule is None:
        return on_each_slice(_name_of(function), run, operands, {})
    return rule(run, level, *operands)


def _find_host_rule(function: Callable[..., Any]) -> KernelRule | None:
    if isinstance(function, partial):
        function = function.func
    if isinstance(function, np.ufunc) and function.signature is None:
        return broadcast_arrays
    if function not in HOST_RULES:
        load_rules(getattr(function, "__module__", ""))
    if function in HOST_RULES:
        return HOST_RULES[function]
    return NUMPY_RULES.get(getattr(function, "__name__", ""))


def _has_batched(operands: tuple[Any, ...]) -> bool:
    return innermost(operands) is not None


def _run_in_place(function: Callable[..., Any], target: Any, operands: tuple[Any, ...]) -> None:
    """``host_in_place(function, target, *operands)`` where some of the arrays are batched."""
    name = _name_of(function)
    if level_of(target) is not innermost((target, *operands)):
        raise SlicesError(
            f"[{name}] got a Tensor that is the same for all slices, and a change of it in place by values "
            "that differ; expected a new Tensor, made from one that vmap slices"
        )
    on_each_slice(name, partial(host_in_place, function), (target, *operands), {})


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "host").strip("_")


set_host_of_slices(HostOfSlices(_has_batched, run_host, _run_in_place))


class _Batching(Observer):
    """Makes calls of Functions with batched inputs, while a thread is in a call of vmap."""

    def apply(self, run: Callable[..., Any], function: Any, *inputs: Any) -> Any:
        level = _level_of_call(function, inputs)
        if level is None:
            return run(*inputs)
        if level.depth > 0:
            return apply_batched(function, inputs, level)
        # The values of the outermost level are ordinary Tensors, which nothing has to follow.
        self.__exit__()
        try:
            return apply_batched(function, inputs, level)
        finally:
            self.__enter__()


class in_level:
    """A block in which this thread computes with batched Tensors of a new level, which it gives."""

    # A class, as a generator would take longer to enter and leave.
    def __init__(self, size: int, may_loop: bool = True) -> None:
        self._size = size
        self._may_loop = may_loop

    def __enter__(self) -> Level:
        levels = active_levels()
        level = Level(len(levels), self._size, self._may_loop)
        levels.append(level)
        _core._set_call_of_vmap(level.number)
        if level.depth == 0:
            level.observer = _Batching()
            level.observer.__enter__()
        return level

    def __exit__(self, *error: object) -> None:
        levels = active_levels()
        level = levels.pop()
        if level.depth == 0:
            level.observer.__exit__()
        _core._set_call_of_vmap(levels[-1].number if levels else 0)
        level.has_ended = True


def on_slices(level: Level, function: Callable[..., Any], *args: Any) -> Any:
    """``function(*args)``, for arguments that are the values of all slices of a level. Those of the outermost
    level are ordinary Tensors, which nothing has to follow."""
    if level.depth > 0:
        return function(*args)
    level.observer.__exit__()
    try:
        return function(*args)
    finally:
        level.observer.__enter__()


def in_slices(level: Level, function: Callable[..., Any], *args: Any) -> Any:
    """``function(*args)`` within a rule, for a function of Tensors batched by this level."""
    if level.depth > 0:
        return function(*args)
    level.observer.__enter__()
    try:
        return function(*args)
    finally:
        level.observer.__exit__()


def _level_of_call(function: Function, inputs: Sequence[Any]) -> Level | None:
    """The level by which a call is batched: by an input, or by an array among the Function's attributes, such
    as the index of `TakeRows`."""
    return innermost([*inputs, *vars(function).values()])


def apply_batched(function: Function, inputs: Sequence[Any], level: Level) -> Any:
    """``function.apply(*inputs)`` for inputs of which some are batched by this level, the innermost one."""
    rule = find_rule(function)
    if rule is None:
        result = run_on_slices(function, inputs, level)
    else:
        if not all(map(_is_tensor, inputs)):
            inputs = as_inputs(tuple(inputs), function._op_name())
        operands = [Operand(x, level) if isinstance(x, Tensor) else None for x in inputs]
        try:
            result = rule(function, *operands)
        except AxisOutOfRangeError:
            _run_on_slice(function, inputs, level, 0)  # raises the error of the op
            result = run_on_slices(function, inputs, level)
    if isinstance(result, tuple):
        return tuple([batched(value, level) for value in result])
    return batched(result, level)


def _is_tensor(x: Any) -> bool:
    return isinstance(x, Tensor)


def find_rule(function: Function) -> BatchingRule | None:
    """The batching rule of a Function: that of its class, which the module of its family declares, or the one
    that follows from what the Function is."""
    kind = type(function)
    if kind in RULES:
        return RULES[kind]
    load_rules(kind.__module__)
    if kind in RULES:
        return RULES[kind]
    if function.of_element or function.broadcasts:
        if kind.__module__.startswith("ranvier."):  # not a class of a caller, which may be dropped
            RULES[kind] = broadcast_operands
        return broadcast_operands
    return None


def load_rules(module: str) -> None:
    """Loads the batching rules of the family of ops that a module belongs to, such as
    `batching_rules/reduction.py` for "ranvier.ops.reduction.sort", or those of the tape."""
    package, _, rest = module.partition("ranvier.ops.")
    family, _, _ = rest.partition(".")
    if module.startswith("ranvier.tape."):
        family = "tape"
    elif package:
        return
    if family in FAMILIES:
        importlib.import_module(f"ranvier.func.batching_rules.{family}")


def broadcast_operands(node: Function, *operands: Operand | None) -> Any:
    """The rule of a Function whose operands are broadcast: missing dimensions are put between the slices and
    the dimensions of a slice."""
    ndim = max(x.ndim for x in operands if x is not None)
    return node.apply(*[None if x is None else x.aligned(ndim) for x in operands])


def run_on_slices(function: Function, inputs: Sequence[Any], level: Level) -> Any:
    """The results of a Function for each slice, stacked."""
    warn_of_loop(function._op_name(), level)
    results = []
    block_of_slice = level.blocks_of_op()
    for i in range(level.size):
        with block_of_slice():
            results.append(_run_on_slice(function, inputs, level, i))
    if isinstance(results[0], tuple):
        return tuple([stack(part) for part in zip(*results, strict=True)])
    return stack(results)


def _run_on_slice(function: Function, inputs: Sequence[Any], level: Level, i: int) -> Any:
    node = object.__new__(type(function))
    for name, value in vars(function).items():
        setattr(node, name, _slice(value, level, i))
    arguments = [_slice(x, level, i) for x in inputs]
    return node.apply(*arguments)


def _slice(x: Any, level: Level, i: int) -> Any:
    """Slice i of a Tensor that is batched by this level, or of an array, also in tuples; other values as they
    are."""
    if isinstance(x, Tensor):
        if level_of(x) is level:
            return value_at(x, level)[i]
        return x
    return slice_of(x, level, i)


def shifted(axis: Any, ndim: int) -> Any:
    """Axes of a slice with `ndim` dimensions as axes of the Tensor of all slices; None means all axes.

    A slice without dimensions has no axis to reduce, though ops take 0 and -1 for it.
    """
    if axis is None:
        return tuple(range(1, ndim + 1))
    if isinstance(axis, tuple):
        if ndim == 0:
            return ()
        return tuple([shifted(one, ndim) for one in axis])
    size = max(ndim, 1)
    if not -size <= axis < size:
        raise AxisOutOfRangeError
    if ndim == 0:
        return ()
    return axis % ndim + 1


def stacked_array(array: Any, level: Level) -> Any:
    """The array of all slices of an array, batched or not."""
    if level_of(array) is level:
        return array.value._array
    return wrap(array).unsqueeze(0).expand(level.size, *array.shape)._array


__all__ = [
    "RULES",
    "Level",
    "Operand",
    "active_levels",
    "apply_batched",
    "batched",
    "batched_array",
    "batching_rule",
    "broadcast_operands",
    "host_rule",
    "in_level",
    "in_slices",
    "innermost",
    "kernel_rule",
    "level_of",
    "run_on_slices",
    "shifted",
    "stacked_array",
    "value_at",
]
