"""Records Functions whose forward or backward NumPy computes, so that a compiled step can have them.

These are Functions of the user's, and those of the library with ``by_numpy = True``. When such a Function is
recorded, its forward and its backward become instructions that call Python (`HostedCall` in
tensors/recording.py). A replay calls the class's forward and backward on a second instance, the twin, whose
attributes are a copy of those with which the recorded instance started. Attributes that are arrays on the
memory of the step are found while it is recorded; a replay puts the arrays of its own memory in their places.

The user's classes get this `apply` when they are defined (`noted`, called for each new class of Functions).
What `_origin` says of an array's memory: "foreign": allocated by NumPy during the recording. "temporary":
allocated by the core during the recording. "argument": of an argument of the step. "persistent": older than
the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import is_grad_enabled, set_grad_enabled
from ranvier.observe import current
from ranvier.tape.function import Function
from ranvier.tensors.memory import Array
from ranvier.tensors.recording import HostedCall, Recording, paused

if TYPE_CHECKING:
    from ranvier.tensors.types import TensorLike

__all__ = ["noted"]

Path = tuple[Any, ...]  # the name of an attribute, then indices in tuples and lists
Attributes = dict[str, Any]
_REPLACED = ("forward", "backward")  # attributes of an instance that `_apply` sets


class Saved:
    """An attribute of a Function, or an item of a tuple or list in one, that is an array."""

    def __init__(self, path: Path, array: Array) -> None:
        self.path = path
        self.array = array


class Made:
    """A result of forward or backward that is an array made by NumPy."""

    def __init__(self, position: int, array: Array) -> None:
        self.position = position
        self.array = array


def noted(cls: type[Function]) -> None:
    """Called for each new class of Functions: its `apply` becomes `_apply` if NumPy may compute it.

    A class of the user's that a recorded step itself defines gets the ordinary `apply`: its methods may use
    variables of the step, which a replay would not have. That does not hold for classes of a module which the
    step imports (`traced.ignores`).
    """
    of_library = cls.__module__.startswith("ranvier.")
    if "apply" in vars(cls):
        return
    recording = current()
    if recording is not None and not (of_library or recording.traced.ignores):
        if cls.apply is _apply:
            cls.apply = Function.apply  # type: ignore[method-assign]
    elif "forward" in vars(cls) and (cls.by_numpy or not of_library):
        cls.apply = _apply  # type: ignore[method-assign, assignment]


def _apply(self: Function, *inputs: TensorLike | None) -> Any:
    """`Function.apply`; in a recording forward and backward of this instance are those of a `_Node`."""
    recording = current()
    # `released` is set when a call is recorded on the tape: an instance that has it is a node already.
    if recording is not None and not hasattr(self, "released"):
        node = _Node(self, recording)
        vars(self).update(forward=node.forward, backward=node.backward)
    return Function.apply(self, *inputs)


class _Node:
    """A Function in a recording, and its twin for replays."""

    def __init__(self, function: Function, recording: Recording) -> None:
        self.kind = type(function)
        self.recording = recording
        self.started = _copied_attributes(vars(function))  # the attributes before forward
        self.twin: Any = object.__new__(self.kind)
        self.repeats_forward = False  # True if a replay calls forward
        self.function = ref(function)  # weak: the function's attributes refer to this object

    def forward(self, *arrays: Array | None) -> Any:
        """Runs forward. If a replay can repeat the call, it becomes an instruction, and its results, also
        among the attributes, are replaced by copies in memory of the core. Else the results stay NumPy's,
        which makes the step eager if it uses them."""
        function: Any = self.function()
        del vars(function)["forward"]
        saved_before = _saved_arrays(self.started)
        call = _NodeCall(self, "forward", self.started, saved_before)
        # A forward of the user's that changes its inputs is found by their bytes.
        bytes_before = [] if self.kind.by_numpy else _bytes(arrays)
        result, made = self._run("forward", function, arrays)
        if not made or not call.takes(arrays, made):
            return result
        # An attribute made by NumPy in the step: a replay would not make it again.
        if any(self._origin(saved.array) == "foreign" for saved in saved_before):
            return result
        if not self.kind.by_numpy and bytes_before != _bytes(arrays):
            return result
        saved_after = _saved_arrays(vars(function))
        # Results move to memory of the core below: a view of one among the attributes would stay behind.
        if _overlap(saved_after, made):
            return result
        self.repeats_forward = True
        results = call.record(arrays, result, made)
        in_core = {id(item.array): results[item.position] for item in made}
        for item in saved_after:
            if id(item.array) in in_core:
                _put(vars(function), item.path, in_core[id(item.array)])
        if isinstance(result, tuple):
            return tuple(results)
        return results[0]

    def backward(self, *gradients: Array | None) -> Any:
        """Runs backward, and records it like `forward`. The attributes on memory of the step are inputs of
        the instruction."""
        function: Any = self.function()
        del vars(function)["backward"]  # `release` must see only what is saved
        if current() is not self.recording:
            return function.backward(*gradients)
        saved = _saved_arrays(vars(function))
        has_foreign = any(self._origin(item.array) == "foreign" for item in saved)
        # Where a replay calls forward, that sets the attributes of the twin.
        start = None if self.repeats_forward else _copied_attributes(vars(function))
        call = _NodeCall(self, "backward", start, saved)
        result, made = self._run("backward", function, gradients)
        if not made or (has_foreign and not self.repeats_forward) or not call.takes(gradients, made):
            return result
        results = call.record(gradients, result, made)
        if isinstance(result, tuple):
            return tuple(results)
        return results[0]

    def _origin(self, array: Array) -> str:
        return str(self.recording.core.kind_of(array))

    def _run(self, name: str, function: Function, arrays: Sequence[Array | None]) -> tuple[Any, list[Made]]:
        """The results, and those of them that NumPy has made, which a replay makes only by repeating the
        call. If the method has called kernels, there are none: the kernel calls are recorded."""
        method = getattr(self.kind, name)
        core = self.recording.core
        calls_before = core.pause(False)  # the number of kernel calls so far
        if self.kind.by_numpy:
            with paused():
                result = method(function, *arrays)
        else:
            result = method(function, *arrays)
        if core.pause(False) != calls_before:
            return result, []
        made = []
        results = result if isinstance(result, tuple) else (result,)
        for position, item in enumerate(results):
            if not isinstance(item, (np.ndarray, np.generic)):
                continue
            array = item if type(item) is np.ndarray else np.asarray(item)
            if self._origin(array) == "foreign":
                made.append(Made(position, array))
        return result, made


class _NodeCall(HostedCall):
    """A forward or backward that a replay calls on the twin.

    Attributes:
        start: the attributes of the twin before the call; None: those that the twin's forward has left.
        paths: the places of attributes that are arrays on memory of the step. state: these arrays.
        is_known: whether all attributes are arrays and plain values, which can be copied.
        written: the positions of the results that the instruction writes.
        has_array: for each argument whether it is an array; else it is None.
    """

    def __init__(self, node: _Node, name: str, start: Attributes | None, saved: list[Saved]) -> None:
        """name: "forward" or "backward". saved: all attributes that are arrays."""
        function: Any = node.function()
        self.kind = node.kind
        self.twin = node.twin
        self.recording: Any = node.recording
        self.name = name
        self.enabled = is_grad_enabled()
        self.needs = function.needs
        of_step = [item for item in saved if node._origin(item.array) in ("temporary", "argument")]
        self.state = [item.array for item in of_step]
        self.paths = [item.path for item in of_step]
        attributes = vars(function) if start is None else start
        self.is_known = node.kind.by_numpy or _are_known(attributes)
        self.start: Attributes | None = None
        if start is not None:
            self.start = _copied_attributes(start)
            for path in self.paths:
                _put(self.start, path, None)
        self.written: list[int] = []
        self.has_array: list[bool] = []

    def takes(self, arrays: Sequence[Array | None], made: list[Made]) -> bool:
        """True if one instruction can have these inputs and results. Notes which arguments are arrays."""
        self.has_array = [array is not None for array in arrays]
        inputs = self._inputs(arrays)
        results = [item.array for item in made]
        return self.is_known and self.fits(inputs, results) and all(type(x) is np.ndarray for x in inputs)

    def record(self, arrays: Sequence[Array | None], result: Any, made: list[Made]) -> list[Any]:
        """Records the instruction; returns the results, with those in `made` in memory of the core."""
        self.written = [item.position for item in made]
        inputs = self._inputs(arrays)
        # The program keeps this object, so it must not refer to the recording and its arrays any more.
        recording = self.recording
        self.recording = None
        self.state = []
        results = list(result) if isinstance(result, tuple) else [result]
        in_core = recording.core.host(self, inputs, [item.array for item in made], None)
        for position, array in zip(self.written, in_core, strict=True):
            results[position] = array
        return results

    def run(self, arrays: tuple[Array, ...]) -> Any:
        attributes = vars(self.twin)
        if self.start is not None:
            attributes.clear()
            attributes.update(_copied_attributes(self.start))
        remaining = iter(arrays)  # the arguments that are arrays, then the attributes
        arguments: list[Array | None] = []
        for is_array in self.has_array:
            arguments.append(next(remaining) if is_array else None)
        for path, array in zip(self.paths, remaining, strict=True):
            _put(attributes, path, array)
        self.twin.needs = self.needs
        with set_grad_enabled(self.enabled):
            return getattr(self.kind, self.name)(self.twin, *arguments)

    def _inputs(self, arrays: Sequence[Array | None]) -> list[Array]:
        """The inputs of the instruction: the arguments, then the attributes on memory of the step."""
        arguments = [array for array in arrays if array is not None]
        return [*arguments, *self.state]


def _bytes(arrays: Iterable[Array | None]) -> list[bytes]:
    """The contents of arrays, by which a change of one is found."""
    return [array.tobytes() for array in arrays if array is not None]


def _overlap(saved: list[Saved], made: list[Made]) -> bool:
    """True if an attribute is another array on the memory of a result."""
    for attribute in saved:
        for result in made:
            is_other = attribute.array is not result.array
            if is_other and np.may_share_memory(attribute.array, result.array):
                return True
    return False


def _are_known(attributes: Attributes) -> bool:
    """True if these attributes hold nothing but arrays and plain values."""
    return all(_is_known(value) for name, value in attributes.items() if name not in _REPLACED)


def _is_known(value: object) -> bool:
    """True if a value is an array, a plain value, or a tuple or list of such."""
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        return all(map(_is_known, value))
    return type(value) is np.ndarray or _core._is_plain(value) or isinstance(value, np.generic)


def _saved_arrays(values: Attributes | Sequence[Any], path: Path = ()) -> list[Saved]:
    """The arrays in a dict of attributes, and in tuples and lists inside it. path: where `values` is."""
    found: list[Saved] = []
    items: Iterable[tuple[Any, Any]] = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in items:
        if type(value) is np.ndarray:
            found.append(Saved((*path, key), value))
        elif type(value) in (tuple, list):
            found += _saved_arrays(value, (*path, key))
    return found


def _copied_attributes(attributes: Attributes) -> Attributes:
    """A copy of attributes: the tuples and lists in it are copied, too, arrays are not."""
    return {name: _copied(value) for name, value in attributes.items() if name not in _REPLACED}


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return _copied_attributes(value)
    if type(value) in (tuple, list):
        return type(value)(map(_copied, value))
    return value


def _put(values: Attributes | list[Any], path: Path, value: Any) -> None:
    """Replaces the item at a path within dicts, lists and tuples."""
    key, *inner_path = path
    container: Any = values
    if inner_path:  # a tuple cannot be changed, so it is made again; lists, too
        items = list(container[key])
        _put(items, tuple(inner_path), value)
        value = type(container[key])(items)
    container[key] = value
