"""Batched Tensors: what the function that vmap maps computes with, in place of a single slice.

A batched Tensor looks like one slice: its shape, dtype and strides are those of a slice. Its `value` is an
ordinary Tensor with all slices, stacked along dimension 0: (slices, *shape of a slice). An op on batched
Tensors is computed once, for all slices, on these values (func/batching.py). So the tape has only ordinary
Tensors, and a gradient needs nothing of its own.

Each call of vmap is a *level*. Within a call within a call, `value` is itself batched by the outer level.

The array of a batched Tensor is a `BatchedArray`: a view of the first slice, which no kernel and no function
of NumPy reads. A kernel that gets one is run on all slices instead (`run_kernel`); NumPy asks the class
(`__array_ufunc__`, `__array_function__`).
"""

from __future__ import annotations

import copy
import itertools
import warnings
from _thread import _local as local  # threading.local, without the import of threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from operator import attrgetter
from typing import Any, NoReturn

import numpy as np

import ranvier._core as _core
from ranvier.observe import callers_level
from ranvier.tensors.tensor import Tensor, wrap

Array = np.ndarray[Any, np.dtype[Any]]

VALUE_OF_SLICES = (
    "[vmap] got {how} of a Tensor whose values differ from slice to slice; expected ops on Tensors "
    "(where, masked_fill ...), or this code outside of vmap"
)


class SlicesError(RuntimeError):
    """What cannot be done for all slices at once."""


_numbers = itertools.count(1)


class AxisOutOfRangeError(Exception):
    """A rule has got an axis that a slice does not have: the op then runs on one slice, and raises its own
    error."""


class Level:
    """One call of vmap.

    depth: how many calls of vmap this one is within. size: the number of slices.
    has_ended: True after the call; its batched Tensors can no longer be used.
    number: of this call, from 1 on. `call` of a memory's cell is the number of that within which it was made.
    blocks_of_op: called before an op runs slice by slice; what it returns makes the block in which a slice
        runs. func/draws_of_slices.py sets it: random numbers are those of one slice.
    may_loop: False if an op without a batching rule raises NotImplementedError, in place of a loop.
    """

    def __init__(self, depth: int, size: int, may_loop: bool = True) -> None:
        self.depth = depth
        self.size = size
        self.may_loop = may_loop
        self.has_ended = False
        self.blocks_of_op: Callable[[], Callable[[], AbstractContextManager[Any]]] = _plain_blocks
        self.observer: Any = None  # of the outermost level: what makes calls of Functions (func/batching.py)
        self.number = next(_numbers)


def _plain_blocks() -> Callable[[], AbstractContextManager[Any]]:
    return nullcontext


class _Levels(local):
    def __init__(self) -> None:
        self.active: list[Level] = []


_levels = _Levels()


def active_levels() -> list[Level]:
    """The levels of the calls of vmap that this thread is in, the outermost first."""
    return _levels.active


class BatchedArray(np.ndarray):
    """The array of a batched Tensor: a view of the first slice, whose values nothing reads.

    value: the Tensor of all slices. level: the call of vmap that it belongs to.
    """

    value: Tensor
    level: Level

    def of_slices(self, value: Tensor) -> BatchedArray:
        """The array of another Tensor of all slices."""
        return batched_array(value, self.level)

    def run(self, function: Callable[..., Any], name: str, operands: Sequence[Any]) -> Any:
        """The result of a function of arrays by its rule in NUMPY_RULES, for operands with this array."""
        return run_numpy(function, name, operands, {})

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        function = getattr(ufunc, method)
        is_plain = method == "__call__" and not settings and ufunc.signature is None
        if is_plain:
            level = innermost(inputs)
            if level is not None:
                return broadcast_arrays(function, level, *inputs)
        return run_numpy(function, f"{ufunc.__name__}.{method}", inputs, settings)

    def __array_function__(self, function: Any, types: Any, args: Any, settings: Any) -> Any:
        if function in _OF_SHAPES:
            return super().__array_function__(function, types, args, settings)
        return run_numpy(function, function.__name__, args, settings)

    def __bool__(self) -> bool:
        """True or False, where that is the same of all slices: for checks of the library."""
        first, *others = [bool(truth) for truth in slices_of(self)]
        if any(other != first for other in others):
            refuse_value("the truth")
        return first

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if all(isinstance(part, (int, slice, type(None), type(Ellipsis))) for part in keys):
            of_all = (slice(None), *keys)
            return batched_array(wrap(self.value._array[of_all]), self.level)
        return on_each_slice("getitem", np.ndarray.__getitem__, (self, key), {})

    def reshape(self, *shape: Any, **settings: Any) -> Any:
        if len(shape) == 1 and not isinstance(shape[0], int):
            (shape,) = shape
        if settings:
            return on_each_slice("reshape", np.ndarray.reshape, (self, shape), settings)
        if -1 in shape:
            shape = np.broadcast_to(np.True_, self.shape).reshape(shape).shape
        sizes = (self.level.size, *shape)
        return batched_array(wrap(self.value._array.reshape(sizes)), self.level)

    def astype(self, dtype: Any, *args: Any, **settings: Any) -> Any:
        return batched_array(wrap(self.value._array.astype(dtype, *args, **settings)), self.level)

    def transpose(self, *axes: Any) -> Any:
        if len(axes) == 1 and not isinstance(axes[0], int):
            (axes,) = axes
        if not axes:
            axes = tuple(range(self.ndim - 1, -1, -1))
        of_slices = [0, *[axis % self.ndim + 1 for axis in axes]]
        return batched_array(wrap(self.value._array.transpose(of_slices)), self.level)

    def __iter__(self) -> Any:
        for i in range(len(self)):
            yield self[i]

    def copy(self, order: Any = "C") -> Any:
        return batched_array(wrap(self.value._array.copy()), self.level)

    def view(self, *kind: Any, **settings: Any) -> Any:
        """The same bytes in a dtype as wide. Any other view would be one of the first slice."""
        if settings or len(kind) != 1 or (isinstance(kind[0], type) and issubclass(kind[0], np.ndarray)):
            refuse_value("view()")
        if np.dtype(kind[0]).itemsize != self.itemsize:
            refuse_value(f"view({kind[0]})")
        return batched_array(wrap(self.value._array.view(kind[0])), self.level)


# Functions of NumPy that read no values.
_OF_SHAPES = frozenset(
    {
        np.shape,
        np.ndim,
        np.size,
        np.may_share_memory,
        np.shares_memory,
        np.result_type,
        np.can_cast,
        np.min_scalar_type,
        np.iscomplexobj,
    }
)

# Methods that NumPy has as a function with the same arguments, whose rule they take.
_AS_FUNCTIONS = "all any argmax argmin argsort cumprod cumsum max mean min prod std sum var"
_READ_VALUES = """
    __contains__ __setitem__ argpartition byteswap choose clip compress diagonal dot fill flatten
    nonzero partition put ravel repeat round searchsorted sort squeeze swapaxes take trace
"""
_GIVE_VALUES = """
    __array_interface__ __array_struct__ __complex__ __copy__ __deepcopy__ __dlpack__ __float__ __index__
    __int__ __reduce__ __reduce_ex__ ctypes data dump dumps flat getfield item resize setfield tobytes tofile
    tolist
"""


def _on_each_slice(name: str) -> Callable[..., Any]:
    """A method of NumPy's arrays, run on each slice."""
    method = getattr(np.ndarray, name)

    def on_slices(*args: Any, **settings: Any) -> Any:
        return on_each_slice(name, method, args, settings)

    return on_slices


def _as_function(name: str) -> Callable[..., Any]:
    """A method of NumPy's arrays, run as the function of this name."""

    def method(array: Any, *args: Any, **settings: Any) -> Any:
        return getattr(array, name)(*args, **settings)

    def run(*args: Any, **settings: Any) -> Any:
        return run_numpy(method, name, args, settings)

    return run


def _refused(name: str) -> Any:
    """A method, or an attribute, of NumPy's arrays that gives values or memory to Python."""

    def refuse(*args: Any, **settings: Any) -> NoReturn:
        refuse_value(f"{name.strip('_')}()")

    if callable(getattr(np.ndarray, name)):
        return refuse
    return property(refuse)


for _name in _AS_FUNCTIONS.split():
    setattr(BatchedArray, _name, _as_function(_name))
for _name in _READ_VALUES.split():
    setattr(BatchedArray, _name, _on_each_slice(_name))
for _name in _GIVE_VALUES.split():
    setattr(BatchedArray, _name, _refused(_name))
BatchedArray.T = property(lambda self: self.transpose())  # type: ignore[assignment]


class BatchedTensor(Tensor):
    """A Tensor that stands for all slices. Only vmap makes one."""

    __slots__ = ()

    _array: Any

    # The slots of the class Tensor, which the core reads, have no values of their own here.
    _requires_grad = property(lambda self: self._array.value._requires_grad)
    _grad_fn = property(lambda self: self._array.value._grad_fn)
    _view = property(lambda self: self._array.value._view)
    _cell = property(lambda self: self._array.value._cell)
    requires_grad = property(attrgetter("_requires_grad"))
    grad_fn = property(attrgetter("_grad_fn"))
    is_leaf = property(lambda self: self._grad_fn is None)

    def detach(self) -> Tensor:
        return rewrapped(self, Tensor.detach)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self._array.value.requires_grad_(requires_grad)
        return self

    @property
    def data(self) -> Tensor:
        return rewrapped(self, _data)

    @data.setter
    def data(self, value: Any) -> None:
        raise SlicesError("[data] got a Tensor within vmap; expected copy_(), or a new Tensor")

    @property
    def grad(self) -> Tensor | None:
        gradient = self._array.value.grad
        if gradient is None:
            return None
        return batched(gradient, self._array.level)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        self._array.value.grad = None if value is None else value_at(value, self._array.level)

    def __deepcopy__(self, memo: dict[int, Any], with_grad: bool = True) -> Tensor:
        return rewrapped(self, partial(copy.deepcopy, memo=memo))

    def retain_grad(self) -> None:
        self._array.value.retain_grad()

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Any:
        level = self._array.level

        def of_slices(gradient: Tensor) -> Tensor | None:
            result = hook(batched(gradient, level))
            return None if result is None else value_at(result, level)

        return self._array.value.register_hook(of_slices)

    def _read(self, how: str) -> NoReturn:
        refuse_value(how)

    def __repr__(self) -> str:
        return f"<{self._array.level.size} slices, stacked: {self._array.value!r}>"


def _data(x: Tensor) -> Tensor:
    return x.data


def refuse_value(how: str) -> NoReturn:
    """Raises the error of code that needs the values of one slice in Python."""
    raise SlicesError(VALUE_OF_SLICES.format(how=how))


# --- making batched Tensors, and taking them apart


def batched_array(value: Tensor, level: Level) -> BatchedArray:
    """The array that stands for the slices of a Tensor along dimension 0."""
    array = value._array
    if len(array):
        first = np.ndarray.__getitem__(array, (0, ...))
    else:  # no slice: only the shape and the dtype are read
        first = np.zeros(array.shape[1:], array.dtype)
    marker = np.ndarray.view(first, BatchedArray)
    marker.value = value
    marker.level = level
    return marker


def batched(value: Tensor, level: Level) -> Tensor:
    """The batched Tensor of the slices of a Tensor along dimension 0."""
    return wrap(batched_array(value, level))


def level_of(x: Any) -> Level | None:
    """The level by which a Tensor, or an array, is batched; None if it is not. Of several the innermost."""
    array = x._array if isinstance(x, Tensor) else x
    if type(array) is not BatchedArray:
        return None
    if array.level.has_ended:
        raise SlicesError(
            "[vmap] got a Tensor from within a call of vmap that has ended; expected the result of the call"
        )
    return array.level


def innermost(values: Sequence[Any]) -> Level | None:
    """The innermost level by which one of these Tensors or arrays is batched, also of those in lists."""
    found: Level | None = None
    for value in values:
        if isinstance(value, (BatchedTensor, BatchedArray)):
            level = level_of(value)
        elif isinstance(value, (list, tuple)):
            level = innermost(value)
        elif isinstance(value, dict):
            level = innermost(list(value.values()))
        else:
            continue
        if level is not None and (found is None or level.depth > found.depth):
            found = level
    return found


def physical(x: Tensor) -> Tensor:
    """The ordinary Tensor with all slices of all levels: x itself if it is not batched."""
    while type(x._array) is BatchedArray:
        x = x._array.value
    return x


def rewrapped(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """The Tensor batched as x whose physical Tensor is function(physical Tensor of x)."""
    array = x._array
    if type(array) is not BatchedArray:
        return function(x)
    return batched(rewrapped(array.value, function), array.level)


def value_at(x: Tensor, level: Level) -> Tensor:
    """The Tensor of all slices of a level; of a Tensor that is not batched by it as many equal slices, in one
    memory."""
    if level_of(x) is level:
        value: Tensor = x._array.value  # type: ignore[attr-defined]
        return value
    return x.unsqueeze(0).expand(level.size, *x.shape)


def root_of_slices(root: Tensor, gradient: Any) -> tuple[Tensor, Any]:
    """The Tensor of all slices of a batched Tensor at which backward starts, and its gradient; of another
    Tensor both as they are.

    gradient: of one slice, a Tensor or an array, or None for 1, where a slice is one number.
    """
    level = level_of(root)
    if level is None:
        return root, gradient
    if gradient is None:
        if root.numel() != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        gradient = wrap(np.ones(root.shape, root._array.dtype))
    elif not isinstance(gradient, Tensor):
        gradient = wrap(gradient)
    return root_of_slices(value_at(root, level), value_at(gradient, level))


def at_all_levels(x: Tensor) -> Tensor:
    """x, batched by each level that this thread is in: a derivative by it is then one for each slice."""
    return _at_levels(x, list(active_levels()))


def _at_levels(x: Tensor, levels: list[Level]) -> Tensor:
    if not levels:
        return x
    *outer, level = levels
    value = value_at(x, level)
    return batched(_at_levels(value, outer), level)


def from_physical(x: Tensor) -> Tensor:
    """The Tensor batched by all levels that this thread is in whose physical Tensor is x."""
    for level in active_levels():
        x = batched(x, level)
    return x


# --- arrays, slice by slice


def slices_of(array: BatchedArray) -> list[Any]:
    """The slices of an array, as views."""
    values = array.value._array
    return [values[i, ...] for i in range(array.level.size)]


def slice_of(value: Any, level: Level, i: int) -> Any:
    """Slice i of an array that is batched by this level, also in lists; other values as they are."""
    if type(value) is BatchedArray and value.level is level:
        return value.value._array[i, ...]
    if isinstance(value, (list, tuple)):
        items = [slice_of(item, level, i) for item in value]
        if hasattr(value, "_make"):  # a named tuple
            return value._make(items)
        return type(value)(items)
    return value


def on_each_slice(
    name: str, function: Callable[..., Any], args: Sequence[Any], settings: dict[str, Any]
) -> Any:
    """The results of a function of arrays for each slice, stacked. name: the function's, for the warning."""
    level = innermost([*args, *settings.values()])
    if level is None:
        raise RuntimeError(f"[{name}] got no batched array; expected one")
    warn_of_loop(name, level)
    results = []
    block_of_slice = level.blocks_of_op()
    for i in range(level.size):
        arguments = [slice_of(value, level, i) for value in args]
        settings_of_slice = {key: slice_of(value, level, i) for key, value in settings.items()}
        with block_of_slice():
            result = function(*arguments, **settings_of_slice)
        if isinstance(result, np.ndarray) and any(result is value for value in args):
            raise SlicesError(
                f"[{name}] got a Tensor that is the same for all slices, and a change of it in place by "
                "values that differ; expected a new Tensor, made from one that vmap slices"
            )
        results.append(result)
    return join_slices(name, results, level)


def join_slices(name: str, results: list[Any], level: Level) -> Any:
    """One result for all slices from those of each slice."""
    first = results[0]
    if isinstance(first, (tuple, list)):
        parts = zip(*results, strict=True)
        return tuple(join_slices(name, list(part), level) for part in parts)
    if isinstance(first, (np.ndarray, np.generic)):
        arrays = [np.asarray(result) if type(result) is not BatchedArray else result for result in results]
        if any(array.shape != arrays[0].shape for array in arrays):
            raise SlicesError(
                f"[{name}] got results of different shapes for different slices; expected one shape"
            )
        rows = [array[None] for array in arrays]
        return batched_array(wrap(_core.concatenate(rows, 0)), level)
    if any(result != first for result in results):
        refuse_value(f"the result of {name}")
    return first


_warned: set[str] = set()  # the names of ops that a warning was given for


def warn_of_loop(name: str, level: Level) -> None:
    """Warns, once for each op, that it runs slice by slice. Raises NotImplementedError if the level refuses
    that."""
    if not level.may_loop:
        raise NotImplementedError(f"[{name}] has no batching rule")
    if name in _warned or level.size < 2:
        return
    _warned.add(name)
    warnings.warn(
        f"[vmap] {name} has no batching rule: it runs once for each slice (docs/transforms.md)",
        stacklevel=callers_level(),
    )


KernelRule = Callable[..., Any]
"""A function of a kernel, the level and the kernel's arguments, some of them batched arrays, that gives the
kernel's result for all slices."""

KERNEL_RULES: dict[str, KernelRule] = {}  # by the kernel's name; filled by func/batching_rules
NUMPY_RULES: dict[str, KernelRule] = {}  # the same for functions of NumPy


def run_kernel(name: str, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """The result of a kernel that has got batched arrays: the core calls it."""
    kernel = getattr(_core, name)
    return _run(KERNEL_RULES, name, kernel, args, settings)


def run_numpy(function: Callable[..., Any], name: str, args: Sequence[Any], settings: dict[str, Any]) -> Any:
    """The result of a function of NumPy that has got batched arrays."""
    return _run(NUMPY_RULES, name, function, args, settings)


def _run(
    rules: dict[str, KernelRule],
    name: str,
    function: Callable[..., Any],
    args: Sequence[Any],
    settings: dict[str, Any],
) -> Any:
    rule = rules.get(name)
    if rule is None:
        return on_each_slice(name, function, args, settings)
    level = innermost([*args, *settings.values()])
    assert level is not None  # some argument is batched
    try:
        return rule(function, level, *args, **settings)
    except AxisOutOfRangeError:
        function(*[slice_of(value, level, 0) for value in args], **settings)  # raises the op's error
        return on_each_slice(name, function, args, settings)


def broadcast_arrays(function: Callable[..., Any], level: Level, *operands: Any) -> Any:
    """The rule of functions of arrays, element by element: missing dimensions are put between the slices and
    the dimensions of a slice. Operands that are no arrays are passed as they are."""
    ndim = max(_ndim(x) for x in operands)
    aligned = []
    for x in operands:
        if type(x) is BatchedArray and x.level is level:
            values = x.value._array
            missing = ndim - x.ndim
            if missing:
                values = values.reshape((level.size, *(1,) * missing, *x.shape))
            x = values
        aligned.append(x)
    result = function(*aligned)
    if isinstance(result, tuple):
        return tuple([batched_array(wrap(part), level) for part in result])
    return batched_array(wrap(result), level)


def _ndim(x: Any) -> int:
    if isinstance(x, (np.ndarray, np.generic)):
        return x.ndim
    if isinstance(x, (list, tuple)):
        return np.ndim(x)
    return 0


_core._set_batched(BatchedArray, BatchedTensor, run_kernel)
