"""Records Functions whose forward or backward NumPy computes, so that a compiled step can have them.

These are Functions of the user's, and those of the library with ``by_numpy = True``. When such a Function is
recorded, its forward and its backward become instructions that call Python (`HostedCall` in
tensors/recording.py). A replay calls the class's forward and backward on a second instance, the twin, whose
attributes are a copy of those with which the recorded instance started. Attributes that are arrays on the
memory of the step are found while it is recorded; a replay puts the arrays of its own memory in their places.

Kinds of memory, from `kind_of`: "foreign": allocated by NumPy during the recording. "temporary": allocated by
the core during the recording. "argument": of an argument of the step. "persistent": older than the recording.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import is_grad_enabled, set_grad_enabled
from ranvier.observe import current
from ranvier.tape.function import Function
from ranvier.tensors.memory import Array
from ranvier.tensors.recording import HostedCall, Recording, paused

__all__ = ["noted"]

Path = tuple[Any, ...]  # the name of an attribute, then indices in tuples and lists
_OURS = ("forward", "backward")  # attributes of an instance that `_apply` sets


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


def _apply(self: Function, *inputs: Any) -> Any:
    """`Function.apply`; in a recording forward and backward of this instance are those of a `_Node`."""
    recording = current()
    if recording is not None and not hasattr(self, "released"):
        node = _Node(self, recording)
        vars(self).update(forward=node.forward, backward=node.backward)
    return Function.apply(self, *inputs)


class _Node:
    """A Function in a recording, and its twin for replays."""

    def __init__(self, function: Function, recording: Recording) -> None:
        self.kind = type(function)
        self.recording = recording
        self.started = _kept(vars(function))  # the attributes before forward
        self.twin: Any = object.__new__(self.kind)
        self.again = False  # True if a replay calls forward
        self.function = ref(function)

    def forward(self, *arrays: Any) -> Any:
        """Runs forward. If a replay can repeat the call, it becomes an instruction, and its results, also
        among the attributes, are replaced by copies in memory of the core. Else the results stay NumPy's,
        which makes the step eager if it uses them."""
        function: Any = self.function()
        del vars(function)["forward"]
        state = _arrays_of(self.started)
        call = _NodeCall(self, "forward", self.started, state)
        # The bytes of the inputs, by which a forward of the user's that changes its inputs is found.
        if self.kind.by_numpy:
            changes = []
        else:
            changes = [array.tobytes() for array in arrays if array is not None]
        made, parts = self._run("forward", function, arrays)
        if not parts or not call.takes(arrays, parts) or any(self._kind_of(x) == "foreign" for _, x in state):
            return made
        if changes != [array.tobytes() for array in arrays if array is not None][: len(changes)]:
            return made
        saved = [array for _, array in _arrays_of(vars(function))]
        if any(np.may_share_memory(x, y) and x is not y for x in saved for _, y in parts):
            return made
        self.again = True
        results = call.record(arrays, made, parts)
        replaced = {id(y): results[i] for i, y in parts}
        for path, array in _arrays_of(vars(function)):
            if id(array) in replaced:
                _put(vars(function), path, replaced[id(array)])
        if isinstance(made, tuple):
            return tuple(results)
        return results[0]

    def backward(self, *gradients: Any) -> Any:
        """Runs backward, and records it like `forward`. The attributes on memory of the step are inputs of
        the instruction."""
        function: Any = self.function()
        del vars(function)["backward"]  # `release` must see only what is saved
        if current() is not self.recording:
            return function.backward(*gradients)
        state = _arrays_of(vars(function))
        foreign = [array for _, array in state if self._kind_of(array) == "foreign"]
        call = _NodeCall(self, "backward", None if self.again else _kept(vars(function)), state)
        made, parts = self._run("backward", function, gradients)
        if not parts or (foreign and not self.again) or not call.takes(gradients, parts):
            return made
        results = call.record(gradients, made, parts)
        if isinstance(made, tuple):
            return tuple(results)
        return results[0]

    def _kind_of(self, array: Array) -> str:
        return str(self.recording.core.kind_of(array))

    def _run(self, name: str, function: Function, arrays: Any) -> tuple[Any, list[tuple[int, Array]]]:
        """The results, and (index, array) of the results that NumPy has made, which a replay makes only by
        repeating the call. If the method has called kernels, there are none: the kernel calls are
        recorded."""
        method = getattr(self.kind, name)
        recording = self.recording
        calls = recording.core.pause(False)  # the number of kernel calls so far
        if self.kind.by_numpy:
            with paused():
                result = method(function, *arrays)
        else:
            result = method(function, *arrays)
        if recording.core.pause(False) != calls:
            return result, []
        listed = result if isinstance(result, tuple) else (result,)
        found = [(i, x) for i, x in enumerate(listed) if _is_array(x)]
        arrays_made = [(i, x if type(x) is np.ndarray else np.asarray(x)) for i, x in found]
        return result, [(i, x) for i, x in arrays_made if self._kind_of(x) == "foreign"]


class _NodeCall(HostedCall):
    """A forward or backward that a replay calls on the twin.

    Attributes:
        start: the attributes of the twin before the call; None: those that the twin's forward has left.
        paths: the places of attributes that are arrays on memory of the step. state: these arrays.
        known: whether all attributes are arrays and plain values, which can be copied.
        kept: the indices of the results that the instruction writes.
    """

    def __init__(self, node: _Node, name: str, start: dict[str, Any] | None, state: Any) -> None:
        """name: "forward" or "backward". state: (path, array) of all attributes that are arrays."""
        self.kind = node.kind
        self.twin = node.twin
        self.recording: Any = node.recording
        function: Any = node.function()
        self.name, self.enabled, self.needs = name, is_grad_enabled(), function.needs
        kind_of = node._kind_of
        own = [(path, array) for path, array in state if kind_of(array) in ("temporary", "argument")]
        self.state = [array for _, array in own]
        self.paths = [path for path, _ in own]
        now = vars(function) if start is None else start
        self.known = node.kind.by_numpy or all(_is_known(x) for key, x in now.items() if key not in _OURS)
        self.start = None if start is None else _kept(start)
        for path in self.paths if start is not None else ():
            _put(self.start, path, None)
        self.kept: list[int] = []

    def takes(self, arrays: Any, parts: Any) -> bool:
        """True if one instruction can have these inputs and results."""
        self.given = [array is not None for array in arrays]
        inputs = [*[x for x in arrays if x is not None], *self.state]
        return self.known and self.fits(inputs, parts) and all(type(x) is np.ndarray for x in inputs)

    def record(self, arrays: Any, made: Any, parts: list[tuple[int, Array]]) -> list[Any]:
        """Records the instruction; returns the results, with those in `parts` in memory of the core."""
        self.kept = [i for i, _ in parts]
        inputs = [*[x for x in arrays if x is not None], *self.state]
        # The program keeps this object, so it must not refer to the recording and its arrays any more.
        recording = self.recording
        self.recording = None
        self.state = []
        results = list(made) if isinstance(made, tuple) else [made]
        hosted = recording.core.host(self, inputs, [x for _, x in parts], None)
        for i, array in zip(self.kept, hosted, strict=True):
            results[i] = array
        return results

    def run(self, arrays: tuple[Array, ...]) -> Any:
        own = vars(self.twin)
        if self.start is not None:
            own.clear()
            own.update(_kept(self.start))
        rest = iter(arrays)
        given = [next(rest) if there else None for there in self.given]
        for path, array in zip(self.paths, rest, strict=True):
            _put(own, path, array)
        self.twin.needs = self.needs
        with set_grad_enabled(self.enabled):
            return getattr(self.kind, self.name)(self.twin, *given)


def _is_array(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic))


def _is_known(x: Any) -> bool:
    """True if an attribute holds nothing but arrays and plain values."""
    if type(x) in (tuple, list):
        return all(map(_is_known, x))
    return type(x) is np.ndarray or _core._is_plain(x) or isinstance(x, np.generic)


def _arrays_of(x: Any, path: Path = ()) -> list[tuple[Path, Array]]:
    """(path, array) of each array in a dict, and in tuples and lists inside it."""
    arrays: list[tuple[Path, Array]] = []
    for key, value in x.items() if type(x) is dict else enumerate(x):
        if type(value) is np.ndarray:
            arrays.append(((*path, key), value))
        elif type(value) in (tuple, list):
            arrays += _arrays_of(value, (*path, key))
    return arrays


def _kept(x: Any) -> Any:
    """A copy of attributes: the dict, and the tuples and lists in it, are copied, arrays are not."""
    if type(x) is dict:
        return {name: _kept(value) for name, value in x.items() if name not in _OURS}
    if type(x) in (tuple, list):
        return type(x)(map(_kept, x))
    return x


def _put(x: Any, path: Path, value: Any) -> None:
    """Replaces the item at a path within dicts, lists and tuples."""
    key, *rest = path
    if rest:
        inner = list(x[key])
        _put(inner, tuple(rest), value)
        value = type(x[key])(inner)
    x[key] = value
