"""Watches the arguments of a step while it is recorded.

The step gets the caller's own objects, except arrays of NumPy. Each of these is passed as a view of the class
`Watched`, which refuses the recording if Python or NumPy use its elements: a replay would not do that again.
Arguments that share memory count as one, so that an address in a kernel call belongs to one argument only.
"""

from __future__ import annotations

import sys
from operator import is_
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.compile.guarding.origins import PACKAGE
from ranvier.compile.guarding.signature import array_of, others, parts_of, replaced, tensors_of, with_parts
from ranvier.observe import current
from ranvier.tape import hooks
from ranvier.tensors.memory import Array
from ranvier.tensors.recording import Recording
from ranvier.tensors.tensor import Tensor, wrap

# Attributes of an array that are part of a program's key. A step may read them, since they are the same in
# all replays.
_IN_SIGNATURE = frozenset({"shape", "ndim", "dtype", "size", "strides", "nbytes", "itemsize"})
# Methods of np.ndarray that Watched does not forward to the caller's array: those that make objects, those
# that Watched defines itself, and those through which NumPy and the core read memory.
_NOT_FORWARDED = frozenset(
    {"__new__", "__init__", "__getattribute__", "__setattr__", "__class__", "__doc__", "__len__",
     "__array_finalize__", "__array_priority__", "__array_ufunc__", "__array_function__", "__hash__",
     "__array_wrap__", "__buffer__", "__array_interface__", "__array_struct__"}
)  # fmt: skip


def _noted(name: str) -> Any:
    """A property that notes the use of an attribute, and reads it from the caller's array."""

    def get(self: Any) -> Any:
        _note_use(name)
        return getattr(_unwatched(self), name)

    return property(get)


class Watched(np.ndarray[Any, Any]):
    """A view of an array of NumPy among the arguments, while the step is recorded.

    `_callers` is the caller's array: every operation on the view is noted, and made on the caller's array.
    """

    __slots__ = ("_callers",)
    # isinstance reads this: the access is noted, and the result is the class of the caller's array.
    __class__ = _noted("__class__")

    def __setattr__(self, name: str, value: object) -> None:
        _note_use(name)
        setattr(_unwatched(self), name, value)
        np.ndarray.__setattr__(self, name, value)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        _note_use(ufunc.__name__)
        return getattr(ufunc, method)(*_unwatched(inputs), **_unwatched(settings))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        _note_use(function.__name__)
        return function(*_unwatched(args), **_unwatched(kwargs))


def _unwatched(x: object) -> Any:
    """x with the caller's arrays in place of watched ones, in tuples, lists and dicts, too."""
    if type(x) is Watched:
        callers = getattr(x, "_callers", None)
        # Without `_callers`, x is no argument: NumPy has made it from one, as a slice.
        if callers is None:
            return np.ndarray.view(x, np.ndarray)
        return callers
    parts = parts_of(x)
    if parts is None:
        unwatched = []
    else:
        unwatched = [_unwatched(part) for part in parts]
    if not parts or all(map(is_, unwatched, parts)):
        return x
    return with_parts(x, unwatched)


def _note_use(what: str) -> None:
    """Refuses the recording, unless code of the library itself uses the array.

    Only a method of Watched may call this, with no function in between: the frame at depth 0 is then this
    function, at depth 1 the method, and at depth 2 the code that uses the array.
    """
    recording = current()
    if recording is not None and not sys._getframe(2).f_code.co_filename.startswith(PACKAGE):
        recording.refuse(
            f"the step uses {what} of an array of NumPy among its arguments",
            "a replay computes no values of NumPy: pass a Tensor (rv.tensor)",
        )


def _forwarded(name: str) -> Any:
    """A method that notes its use, and calls the method of the same name of the caller's array."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = getattr(_unwatched(self), name)(*map(_unwatched, args), **kwargs)
        if result is not NotImplemented:  # else Python calls the other operand's operator
            _note_use(name)
        return result

    return method


for _name, _value in vars(np.ndarray).items():
    if _name not in _IN_SIGNATURE and not _name.startswith("__"):
        setattr(Watched, _name, _noted(_name))
    elif _name.startswith("__") and _name not in _NOT_FORWARDED and callable(_value):
        setattr(Watched, _name, _forwarded(_name))  # Python looks for operators in the class only.
for _name in ("__array_interface__", "__array_struct__"):
    setattr(Watched, _name, _noted(_name))
Watched.__bytes__ = _forwarded("tobytes")  # type: ignore[attr-defined]


class Arguments:
    """The arrays among the arguments of one recorded call, in a ``with`` block.

    Attributes:
        args, kwargs: what the step gets.
        arrays: the memory that it reads, in the order of `_core._signature`. Arrays that share memory count
            as one.
        has_arrays: whether there are arrays of NumPy.
        others: the other arguments, which guards have to compare.
    """

    def __init__(
        self, recording: Recording, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: bool
    ) -> None:
        """tensors: whether the step gets Tensors in place of arrays of NumPy."""
        self.has_arrays = False
        self._copies: dict[int, Array] = {}  # the copies of empty arrays, by the id of the array
        self._recording = recording
        self._as_tensors = tensors
        # (Tensor, its own array, the array that it has while the step runs).
        self._tensors: list[tuple[Tensor, Array, Array]] = []
        self._containers: list[tuple[Any, Any]] = []  # lists and dicts, each with what the step gets for it
        seen: dict[int, Any] = {}
        self.args = replaced(args, self._take, seen, self._containers)
        if kwargs:
            self.kwargs = replaced(kwargs, self._take, seen, self._containers)
        else:
            self.kwargs = kwargs
        self._items_before = [_flat(inner) for _, inner in self._containers]  # compared in `__exit__`
        found: Any = _core._signature(args, kwargs, tensors)
        self.arrays: list[Array] = [self._copies.get(id(a), a) for a in found[1]]
        self.others = [*others(args, "argument "), *others(kwargs, "argument ")]
        for memory in self.arrays:
            recording.core.add_argument(memory)
            recording.arguments.append(memory)

    def _take(self, x: object) -> Any:
        """What the step gets for the array or Tensor x among the arguments."""
        array = array_of(x)
        memory = array
        # The recording tells arguments apart by their addresses, and an empty array may have the address of
        # another array. So an empty array is replaced by one on the memory of one element of its own.
        if array.size == 0:
            own = np.ndarray(array.shape, array.dtype, np.empty(1, array.dtype), strides=array.strides)
            memory = self._copies.setdefault(id(array), own)
        if self._as_tensors:
            return wrap(memory)
        if isinstance(x, Tensor):
            self._tensors.append((x, array, memory))
            return x
        self.has_arrays = True
        view = memory.view(Watched)
        np.ndarray.__setattr__(view, "_callers", array)  # that of Watched would note a use
        return view

    def __enter__(self) -> Arguments:
        for x, _, memory in self._tensors:
            x._array = memory
        return self

    def __exit__(self, *error: object) -> None:
        """Gives Tensors and containers back as the step left them; refuses a step that changed one."""
        changed = False
        for x, array, memory in self._tensors:
            if x._array is memory or self._only_moved(x):
                x._array = array
            else:
                changed = True
            # A hook, a gradient or an attribute that the step leaves on an argument is a change, too, which a
            # replay would not make.
            hooked = bool(hooks.hooks_of(x))
            taped = x._requires_grad or x._grad is not None or x._grad_fn is not None
            changed = changed or hooked or taped or bool(x.__dict__)
        for (callers, passed), before in zip(self._containers, self._items_before, strict=True):
            now = _flat(passed)
            if len(now) == len(before) and all(map(is_, now, before)):
                continue
            changed = True
            if callers is not passed:  # the step got a copy with views of arrays, and has changed that
                items = _unwatched(passed)
                callers.clear()
                if isinstance(callers, dict):
                    callers.update(items)
                else:
                    callers.extend(items)
        if changed:
            what = "a list, dict, array or Tensor among its arguments"
            self._recording.refuse(f"the step changes {what}", "return what is new")

    def _only_moved(self, x: Tensor) -> bool:
        """True if the memory of an argument got another order, and was not changed since."""
        address = x._array.ctypes.data
        for tensor, start, _, changes in self._recording.moved:  # the layout: see `Recording.moves`
            if tensor() is x and start == address and changes == x._cell.changes:
                return True
        return False

    def callers(self, result: object) -> Any:
        """The result of the step, with the caller's arrays in place of watched ones.

        Refuses the recording if the result shares memory with an argument.
        """
        unwatched = _unwatched(result)
        has_arrays = unwatched is not result or isinstance(unwatched, np.ndarray)
        # `self.arrays` has the copies of empty arrays, so the arrays of the caller's Tensors are compared,
        # too.
        arrays = [*self.arrays, *[array for _, array, _ in self._tensors]]
        given = [t._array for t in tensors_of(unwatched)]
        if has_arrays or _core.share_memory(given, arrays) or any(map(self._recording.has_moved, given)):
            self._recording.refuse("the step returns one of its arguments", "return a clone() of it")
        return unwatched


def _flat(x: list[Any] | dict[Any, Any]) -> list[Any]:
    """The items of a list, or the keys and values of a dict as key, value, key, value ..."""
    if not isinstance(x, dict):
        return list(x)
    items: list[Any] = []
    for key, value in x.items():
        items += (key, value)
    return items
