"""`Recording`: one eager run of a function that `rv.compile` records; and `host`, by which it records NumPy.

The core records the kernel calls. The Python layers add what the core cannot see: which arrays made by NumPy
are constants, which values were read, which leaves got gradients, which modules and optimizers took part.

``host(function, *operands)`` is ``function(*operands)``: a call that Python, the host of the core, makes with
NumPy. While a step is recorded, the core notes the call as an instruction, if NumPy has made the result.
In a replay the function gets arrays on the program's memory, and its results are copied to the memory in
which the program has them. So the results must depend on the operands alone, and their shapes on the
operands' shapes. If the results have other shapes in a replay, or an exception is raised, all changes of the
replay are undone, and the step runs eagerly.

The core sorts the memory of arrays into kinds (`kind_of`): "temporary": allocated by the core during the
recording. "foreign": allocated by NumPy during it. "argument": of an argument. "persistent": existed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.observe import Observer, _local, hosted, observers, place
from ranvier.tensors.dtypes import dtype as DType

if TYPE_CHECKING:
    from ranvier.tensors.protocols import TensorSlots

Array = np.ndarray[Any, Any]
_READ = "a replay computes no Python values: return the Tensor and read it outside"


class Recording(Observer):
    """The core's recording of a run, and what the Python layers add to it.

    compile/record.py sets `traced`, `wanted` and `check`, tape/calls.py sets `keeps`. The tape, views,
    optimizers and the Trainer's step call the methods; they find the recording by `observe.current`.

    Attributes:
        core: the kernel calls and the memory that they use.
        traced: the Python code that ran (`compile/guarding/traced_code.py`).
        fault: the first reason why the run cannot be replayed, or "".
        passing: whether this run is unlike later ones (see `leave_unrecorded` in observe.py): no program is
            made of it, but a later run may be recorded.
        leaves: by id, (tensor, its gradient before the run, whether the run first adds to this gradient) of
            each tensor whose gradient the run makes, adds to, sets or drops.
        changed: tensors that outlive the run and were changed in place.
        arguments: the arrays among the arguments.
        moved: the arguments whose memory got another order (`to_c_order`), each with the addresses where its
            new memory begins and ends, and its count of changes. Not the array: a step returns the arrays
            that something refers to at its end (`Recording.still_referenced` of the core).
        constants: arrays that the run has made and whose values may be read in Python.
        modules: the modules that were called.
        plans: (plan, optimizer, group) of each optimizer step.
        check: the check of a program that runs beside this run (`_core.Check`), or None.
        keeps: whether arrays from which the user's code makes Tensors are constants, although NumPy made
            them: the run is written in another form (tape/calls.py).
        wanted: whether the user has called `rv.compile`, so that the recording may be mentioned to the user.
    """

    def __init__(self, core: _core.Recording) -> None:
        self.core = core
        self.traced: Any = None
        self.fault = ""
        self.passing = self.wanted = self.keeps = False
        self.leaves: dict[int, tuple[Any, Any, bool]] = {}
        self.changed: dict[int, Any] = {}
        self.arguments: list[Any] = []
        self.moved: list[tuple[Any, int, int, int]] = []
        self.constants: list[Any] = []
        self.modules: dict[int, Any] = {}
        self.plans: list[tuple[Any, Any, Any]] = []
        self.check: Any = None

    def __enter__(self) -> Recording:
        try:
            super().__enter__()
            _local.recording = self
            self.core.begin()
        except BaseException:  # KeyboardInterrupt
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.core.end()
        finally:
            _local.recording = None
            super().__exit__()

    def call(self, run: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
        self.modules[id(module)] = module
        return run(*args, **kwargs)

    def read(self, how: str, tensor: TensorSlots | None = None) -> None:
        self.refuse(f"{how} reads a value", _READ)

    def gets_gradient(self, leaf: TensorSlots) -> None:
        """Called before a gradient is added to that of a leaf."""
        # Tensors are kept, not their arrays: autograd counts the references to arrays.
        if id(leaf) not in self.leaves:
            self.leaves[id(leaf)] = leaf, leaf.grad, True

    def sets_gradient(self, leaf: TensorSlots) -> None:
        """Called before the gradient of a leaf becomes another Tensor, or None."""
        if id(leaf) not in self.leaves:
            self.leaves[id(leaf)] = leaf, leaf.grad, False

    def changes(self, tensor: TensorSlots) -> None:
        """Called after a change in place. A replay counts the changes of tensors that outlive the step,
        too."""
        array = tensor._array
        if self.core.kind_of(array) == "persistent":
            self.changed[id(tensor)] = tensor
        if _core.share_memory([array], self.arguments) or self.has_moved(array):
            self.refuse("the step changes memory of one of its arguments", "change a clone() of it")

    def moves(self, tensor: TensorSlots, array: Array) -> None:
        """Called before an argument gets memory in another order. A replay, which leaves the argument as it
        is, would not write to it."""
        start = array.ctypes.data
        self.moved.append((ref(tensor), start, start + array.nbytes, tensor._cell.changes))

    def has_moved(self, array: Array) -> bool:
        """True if an array is on the new memory of an argument."""
        return any(start <= array.ctypes.data < end for _, start, end, _ in self.moved)

    def refuse(self, what: str, remedy: str) -> None:
        """Notes why the step cannot be replayed. The step itself continues."""
        if not self.fault:
            self.fault = f"{what} at {place()}; {remedy}"


@contextmanager
def paused() -> Iterator[None]:
    """A block whose calls this thread's recording does not note."""
    recording = _local.recording
    if recording is None:
        yield
        return
    _local.recording = None
    thread = recording.thread
    recording.thread = 0  # no thread has this id, so that the recording observes none
    recording.core.pause(True)
    try:
        yield
    finally:
        recording.core.pause(False)
        _local.recording = recording
        recording.thread = thread


def references(array: Array) -> int:
    """The number of references to an array that the recording of this thread holds."""
    if _local.recording is None:
        return 0
    return int(_local.recording.core.references(array))


_CONSTANT = (np.ndarray, np.generic, np.dtype, DType, int, float, str, slice, type(None), type(...))
# limits of an instruction in the core (program/host_call.h)
_MOST_ARRAYS = 16
_MOST_DIMENSIONS = 8


class HostOfSlices(NamedTuple):
    """How functions run that have got batched arrays, within a call of vmap (func/batching.py)."""

    concerns: Callable[[tuple[Any, ...]], bool]  # whether one of the operands is batched
    run: Callable[[Callable[..., Any], tuple[Any, ...]], Any]
    run_in_place: Callable[[Callable[..., Any], Any, tuple[Any, ...]], None]


_of_slices: HostOfSlices | None = None  # None until vmap is used


def set_host_of_slices(of_slices: HostOfSlices) -> None:
    global _of_slices
    _of_slices = of_slices


def host(function: Callable[..., Any], *operands: Any) -> Any:
    """function(*operands): an array, or a tuple of arrays, that follow from the operands alone.

    Operands that are no arrays are constants of the step. The function keeps no array, and changes none. With
    a batched array among the operands it is run by its batching rule, or slice by slice.
    """
    if _of_slices is not None and _of_slices.concerns(operands):
        return _of_slices.run(function, operands)
    if not observers:
        return function(*operands)
    recording = hosted()
    if recording is None:
        return function(*operands)
    return _recorded(recording, function, operands)


def host_in_place(function: Callable[..., Any], target: Array, *operands: Any) -> None:
    """function(target, *operands), which may change the elements of the target and nothing else."""
    if _of_slices is not None and _of_slices.concerns((target, *operands)):
        _of_slices.run_in_place(function, target, operands)
        return
    recording = hosted() if observers else None
    if recording is None:
        function(target, *operands)
        return
    operands = target, *operands
    call = _FunctionCall(_Changed(function), operands)
    if not (call.fits(_arrays(operands), [target]) and _are_constant(operands)):
        recording.refuse("a change in place by NumPy", "make a new tensor instead")
        function(*operands)
        return
    with paused():
        (changed,) = call.function(*operands)
    # The instruction writes to the target; the core copies `changed` to it for this run.
    recording.core.host(call, _arrays(operands), [changed], target)


def _recorded(recording: Recording, function: Callable[..., Any], operands: tuple[Any, ...]) -> Any:
    """function(*operands), noted as an instruction that writes the results which NumPy has made."""
    if not _are_constant(operands):
        return function(*operands)
    with paused():
        result = function(*operands)
    if isinstance(result, tuple):
        results = [np.asarray(array) for array in result]
    else:
        results = [np.asarray(result)]
    call = _FunctionCall(function, operands)
    call.written = [i for i, array in enumerate(results) if recording.core.kind_of(array) == "foreign"]
    arrays = _arrays(operands)
    made = [results[i] for i in call.written]
    if made and call.fits(arrays, made):
        # copies of `made` in memory of the core, in which the program has them
        in_core = recording.core.host(call, arrays, made, None)
        for i, array in zip(call.written, in_core, strict=True):
            results[i] = array
    if isinstance(result, tuple):
        return tuple(results)
    return results[0]


class _Changed:
    """A function made from one that changes its first argument: it returns a changed copy instead."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, target: Array, *operands: Any) -> tuple[Array]:
        changed = np.array(target, order="K", subok=False)
        self.function(changed, *operands)
        return (changed,)


def _are_constant(operands: Iterable[Any]) -> bool:
    """True if no operand hides an array, as a list of arrays or a Tensor does: operands that are no arrays
    become constants of the instruction."""
    for x in operands:
        if isinstance(x, (tuple, list)):
            if any(isinstance(part, np.ndarray) for part in x) or not _are_constant(x):
                return False
        elif not isinstance(x, _CONSTANT) and not callable(x):
            return False
    return True


def _arrays(operands: tuple[Any, ...]) -> list[Array]:
    return [x for x in operands if isinstance(x, np.ndarray)]


class HostedCall:
    """A function of Python that a replay calls, with the arrays that the instruction reads.

    Subclasses with `run` are `_FunctionCall` here and `_NodeCall` (tape/host_nodes.py).

    Attributes:
        written: the indices, ascending, of those results of `run` that the instruction writes.
        is_function: whether the results follow from the arrays alone, so that programs of other steps may
            call it, too.
    """

    written: list[int]
    is_function = False

    def run(self, arrays: tuple[Array, ...]) -> Any:
        raise NotImplementedError

    def fits(self, read: list[Array], results: list[Array]) -> bool:
        """True if one instruction can have this many arrays, of this many dimensions."""
        arrays = [*read, *results]
        return len(arrays) <= _MOST_ARRAYS and all(x.ndim <= _MOST_DIMENSIONS for x in arrays)

    def __call__(self, *arrays: Array) -> tuple[Array, ...] | None:
        """The results, or None if an exception was raised: the step then runs eagerly, and raises it
        again."""
        try:
            with paused():
                result = self.run(arrays)
        except Exception as error:
            if _is_of_signal(error):
                raise
            return None
        results = result if isinstance(result, tuple) else (result,)
        if len(results) <= self.written[-1]:
            return None
        return tuple([np.asarray(results[i]) for i in self.written])


class _FunctionCall(HostedCall):
    """A function with its constant operands; a replay passes the arrays among them."""

    is_function = True

    def __init__(self, function: Callable[..., Any], operands: tuple[Any, ...]) -> None:
        self.function = function
        self.written = [0]  # that of `_Changed`; `_recorded` sets it for other functions
        self.positions = [i for i, x in enumerate(operands) if isinstance(x, np.ndarray)]
        self.constants: list[Any] = list(operands)
        for position in self.positions:
            self.constants[position] = None  # the program must not hold the arrays of the recording

    def run(self, arrays: tuple[Array, ...]) -> Any:
        operands = [*self.constants]
        for position, array in zip(self.positions, arrays, strict=True):
            operands[position] = array
        return self.function(*operands)


def _is_of_signal(error: Exception) -> bool:
    """True if the error comes from a signal handler that ran during the call, not from the call itself."""
    import signal  # here: its enumerations take a twentieth of the time of `import ranvier`

    handlers: list[Any] = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = [handler.__code__ for handler in handlers if hasattr(handler, "__code__")]
    traceback = error.__traceback__
    while traceback is not None:
        if any(traceback.tb_frame.f_code is code for code in codes):
            return True
        traceback = traceback.tb_next
    return False
