"""`Trace`: a run of a model as a list of calls of Functions, in which values have names.

An array that no call has made and that is no parameter is a constant. `traced_call.py` compares it between
runs with different inputs, and refuses it if it depends on their values or sizes. The shape of each value is
known as sizes (`sizes.py`), which follow from those of the inputs call by call (`dims.py`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import Tensor, wrap
from ranvier.observe import package, place
from ranvier.onnx.dims import Dim, Dims, is_fixed
from ranvier.onnx.patching import HANDLERS
from ranvier.onnx.registry import SINCE, WRITERS
from ranvier.onnx.shape_rules import PartialDims, result_dims
from ranvier.onnx.sizes import Real, Size, number, size_of_axis
from ranvier.ops import formulas  # noqa: F401  # fills the table of formulas
from ranvier.ops.elementwise.dtypes import as_operand, result_dtype
from ranvier.ops.elementwise.op import DECLARATIONS
from ranvier.ops.table import COMPARISONS
from ranvier.tape.calls import Call, Calls
from ranvier.tensors.types import TensorLike

Array = np.ndarray[Any, Any]

Operands: TypeAlias = Sequence[TensorLike | None]
"""The inputs of a call; None for one that is left out."""

_FOLDER = os.path.dirname(__file__)

ARITHMETIC = (
    "arithmetic of sizes (+ - * / // % ** min max, math.sqrt and log, math.floor for int(), "
    "n / 1 for float())"
)
"""What a model may do with sizes, for messages."""


class Value(NamedTuple):
    """An operand or result of a call. It is a constant if its name is "", else a value of the graph.

    array: the numbers of a constant; for other values an array of zeros with the right shape and dtype.
    dims: the shape, with a Size for what depends on a dynamic axis.
    """

    name: str
    array: Array
    dims: Dims


class Condition(NamedTuple):
    """A condition on sizes, with its answer in a run. where: what asks for it, and its line."""

    text: str
    answer: bool
    where: str


class Trace(Calls):
    """The calls of one run (`tape/calls.py`).

    enter: is called with each module before its call.
    opset: the version of the operator set; a Function that this version has no operator for is recorded as
        its formula.

    The library calls `apply`, `call`, `computed` and `read` of each observer (`observe.py`), and `Calls`
    calls `operand`, `result`, `writes` and `add`. The handlers in `symbolic_functions` call `dims`, `made`
    and `replaced`, and the sizes of the run `text`, `refuse_number` and `condition` (`sizes.Scope`).

    `condition` takes the first answers from `answers`, and the later ones from the present sizes.
    `conditions.settled` runs the model once for each condition, with the first run's answers to those before
    it and the opposite answer to it, the last of `answers`. What follows contradicts the present sizes: such
    a run only shows whether the model raises an error of its own, whose text may hold numbers, or computes
    the same.
    """

    op = "onnx.export"

    def __init__(self, enter: Callable[[nn.Module], None] | None = None, opset: int = 0) -> None:
        super().__init__()
        self.opset = opset
        self.enter = enter
        self.called = ""  # the public function whose handler runs
        self.is_silent = False  # True while a handler computes: its calls are not recorded
        self.least_sizes = 0  # sizes up to this one are all compared (`compares_up_to`)
        self.conditions: list[Condition] = []  # those that sizes decide in different ways
        self.taken: list[str] = []  # the texts of numbers that were taken after the last of `answers`
        self.answers: list[bool] = []  # to the first conditions, in place of those of the present sizes
        self._count = 0
        self._dims: dict[str, Dims] = {}  # name of a value -> its shape
        self._next_dims: Dims | None = None  # the shape of the result of the next call
        # Settings of calls that are recorded with sizes, by the handlers that call `replaced`:
        # "last" of topk (a size) and sort (None: the whole axis), "arguments" (the sizes) and "factors" (for
        # each axis) of interpolate.
        self._replaced: dict[str, Any] = {}

    def name(self, tensor: Tensor, name: str, is_computed: bool = True, dims: Dims | None = None) -> Value:
        """Gives a tensor's array a name; is_computed: whether it depends on inputs of the run."""
        self.see(tensor, name, is_computed)
        self._dims[name] = tensor._array.shape if dims is None else dims
        return Value(name, _outline(tensor._array), self._dims[name])

    def operand(self, x: TensorLike | None) -> Any:
        if x is None:
            return None
        array = getattr(x, "_array", x)
        if not isinstance(array, np.ndarray):
            array = np.asarray(array)
            return Value("", array, array.shape)
        entry = self.unchanged(array)
        if entry is None:
            self.alive.append(array)
            return Value("", array, array.shape)
        name = entry.value  # that `name` gave
        return Value(name, _outline(array), self._dims[name])

    def result(self, kind: str, x: Tensor) -> Value:
        self._count += 1
        return self.name(x, f"{kind.lower()}_{self._count}")

    def writes(self, function: Any, inputs: Operands) -> bool:
        kind = type(function).__name__
        return kind in WRITERS and self.opset >= SINCE.get(kind, 0)

    def add(self, kind: str, settings: dict[str, Any], inputs: Operands, *rest: Any) -> None:
        if kind not in WRITERS:  # `export` refuses it by its name
            settings = {}
            inputs = ()
        elif kind == "Pick":  # the arrays of indices become operands
            basic, axes, _, shape, arrays = settings["picks"]
            settings = {"basic": basic, "axes": axes, "shape": shape}
            inputs = (*inputs, *arrays)
        elif kind == "TakeRows":
            inputs = (*inputs, settings["index"])
            settings = {}
        elif kind in ("QuantizedLinear", "QuantizedRows"):  # the bytes are written in another layout
            panels: Any = inputs[-3]  # of (x, panels, scale, bias) or (panels, scale, index)
            value = Value("", panels._array, panels._array.shape)
            super().add(kind, {**settings, "panels": value}, inputs, *rest)
            self._measure()
            return
        super().add(kind, {name: self._setting(x) for name, x in settings.items()}, inputs, *rest)
        self._measure()

    def _setting(self, value: Any) -> Any:
        """A setting of a call, in which arrays are replaced by Values."""
        if isinstance(value, np.ndarray):
            return self.operand(value)
        if isinstance(value, tuple):
            return tuple(map(self._setting, value))
        return value

    def apply(self, run: Any, function: Any, *inputs: TensorLike | None) -> Any:
        if self.is_silent:
            return run(*inputs)
        return super().apply(run, function, *inputs)

    def computed(self, name: str, inputs: Operands, result: Any, **settings: Any) -> None:
        if self.is_silent:
            return
        results = result if isinstance(result, tuple) else (result,)
        if self.find(results[0]._array) is not None:  # made by a Function, whose call is recorded
            return
        if not any(map(self._is_value, inputs)):  # the result is a constant
            return
        if name in COMPARISONS or name in ("isin", "searchsorted"):
            operands = [as_operand(name, x) for x in inputs if x is not None]
            settings["dtype"] = result_dtype(*operands)
        kind = _recorded_kind(name, results[0]._array.dtype)
        if kind != name:
            settings["name"] = name
        self.add(kind, settings, inputs, results)

    # --- sizes
    def dims(self, tensor: TensorLike) -> Dims:
        """The shape of a tensor, with a Size for what depends on a dynamic axis."""
        array = getattr(tensor, "_array", tensor)
        if not isinstance(array, np.ndarray):
            return ()
        entry = self.find(array)
        if entry is None:
            self.unchanged(array)  # refuses what a call without a counterpart has made
            return array.shape
        return self._dims[entry.value]

    def made(
        self,
        kind: str,
        settings: dict[str, Any],
        inputs: Operands,
        y: Tensor,
        dims: Dims | None,
    ) -> None:
        """Records a call that a handler has computed.

        dims: the shape of y; None where a rule of `shape_rules.py` gives it.
        """
        self._next_dims = dims
        self.add(kind, settings, inputs, (y,))
        if not inputs:  # made of sizes alone: the recording must know that it depends on the inputs
            self._recording.core.follow(y._array)

    def _measure(self) -> None:
        """Gives the results of the last call their dims: those that `made` was given, or those of a rule.

        An axis that neither knows is a size of its own.
        """
        call = self.calls[-1]
        found: list[PartialDims] = [self._next_dims]
        if self._next_dims is None:
            self._replace_settings(call)
            found = result_dims(call)
        self._next_dims = None
        for i, (value, dims) in enumerate(zip(call.outputs, found, strict=True)):
            known = self._known(value, dims)
            self._dims[value.name] = known
            call.outputs[i] = value._replace(dims=known)

    def _replace_settings(self, call: Call) -> None:
        """Puts sizes into the settings of a call, which the library has computed as numbers (`replaced`).

        "arguments" of Interpolate are (size, scale_factor, mode, align_corners).
        """
        if "last" in self._replaced and call.kind in ("Sort", "sort"):
            last = self._replaced["last"]
            if last is None:
                last = call.inputs[0].dims[call.settings["axis"]]
            call.settings["last"] = last
        if "arguments" in self._replaced and call.kind == "Interpolate":
            call.settings["arguments"] = (self._replaced["arguments"], *call.settings["arguments"][1:])
        if "factors" in self._replaced and call.kind == "Interpolate":  # the op sets some factors to 1
            _, _, *rest = call.settings["arguments"]
            call.settings["arguments"] = (None, self._replaced["factors"], *rest)

    def _known(self, value: Value, dims: PartialDims) -> Dims:
        """The dims of a result, with a size of its own for each axis that they do not give."""
        shape = value.array.shape
        if dims is None or len(dims) != len(shape):
            dims = (None,) * len(shape)
        known: list[Dim] = []
        for at, n in enumerate(dims):
            if n is None or number(n) != shape[at]:
                known.append(size_of_axis(self, value.name, at, 0, shape[at]))
            else:
                known.append(n)
        return tuple(known)

    @contextmanager
    def replaced(self, **settings: Any) -> Iterator[None]:
        """A block in which calls are recorded with these settings, which hold sizes."""
        before = self._replaced
        self._replaced = settings
        try:
            yield
        finally:
            self._replaced = before

    @contextmanager
    def silent(self) -> Iterator[None]:
        """A block in which nothing is recorded."""
        before = self.is_silent
        self.is_silent = True
        try:
            yield
        finally:
            self.is_silent = before

    def compares_up_to(self, size: int) -> None:
        """Asks for a comparison of the file at all sizes up to this one."""
        self.least_sizes = max(self.least_sizes, size)

    def refuse_call(self, text: str) -> Any:
        """Raises Refused for a call of a public function, by its name and line."""
        return self.refuse(f"{self.called} at {place()} {text}")

    def refuse_number(self, size: Size | Real, what: str) -> Any:
        """Raises Refused where Python takes the number of a size that depends on a dynamic axis.

        After another answer to a condition it gives the number, for the text of the model's error.
        """
        if self._answers_otherwise():
            self.taken.append(str(number(size)))
            return number(size)
        taker = self.called or _taker()
        remedy = f"{ARITHMETIC} that goes to functions of the library"
        is_not_replaced = not self.called and taker in HANDLERS
        if is_not_replaced:  # the wrapper is not in the place that the model has the function from
            remedy = (
                f"{taker} from its module or tensor in place of a table, a class or a default that holds it"
            )
        self.refuse(
            f"{taker} at {place()} takes the size {size.key} of a dynamic axis as {what}, which a file would "
            f"hold for all sizes; expected {remedy}, or an axis that is static: leave it out of dynamic_axes"
        )

    def read(self, how: str, tensor: Tensor | None = None) -> None:
        """Refuses what `Calls.read` does, but for the text of the model's error."""
        if self._answers_otherwise() and how == "str() or repr()":
            self.taken.append("tensor(")
        else:
            super().read(how, tensor)

    def _answers_otherwise(self) -> bool:
        """True after another answer to a condition than the present sizes give (`conditions.settled`)."""
        return 0 < len(self.answers) <= len(self.conditions)

    def text(self, size: Size | Real) -> str:
        """The text of a size for messages of the library; a model must not take it."""
        frame: Any = sys._getframe(2)  # the caller of the size's `__repr__`, which calls this
        while frame.f_code.co_name == "__repr__":  # that of a shape, which whoever asks for its text calls
            frame = frame.f_back
        if frame.f_code.co_filename.startswith(package()):
            return str(size.key)
        return str(self.refuse_number(size, "text"))

    def condition(self, text: str, holds: bool) -> bool:
        """The answer to a condition that holds for some sizes of a dynamic axis and not for others.

        `conditions.settled` then tries the other answer.
        """
        at = len(self.conditions)
        answer = holds
        if at < len(self.answers):
            answer = self.answers[at]
        function = self.called or _taker()
        self.conditions.append(Condition(text, answer, f"{function} at {place()}"))
        return answer

    def _failed(self, made_by: Any, settings: dict[str, Any], inputs: Operands) -> None:
        operands = [x for x in inputs if x is not None]
        if all(is_fixed(self.dims(x)) for x in operands):
            super()._failed(made_by, settings, inputs)
        else:
            self.caught(made_by.__name__)

    def caught(self, name: str) -> None:
        """Notes an operation on a dynamic axis that has raised an error, which the model must not catch."""
        self.failure = self.failure or f"{name} at {place()}"

    def _is_value(self, x: TensorLike | None) -> bool:
        array = getattr(x, "_array", x)
        if not isinstance(array, np.ndarray):
            return False
        return self.find(array) is not None or self._recording.core.varies(array)

    def call(self, run: Any, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self.enter is not None:
            self.enter(module)
        result = run(*args, **kwargs)
        if isinstance(module, nn.Dropout) and module.p > 0 and not self.is_silent:
            # evaluation mode: the dropout returned its input; a view of it is the result here
            same = wrap(result._array[...])
            self.add("DropoutLayer", {"p": module.p}, (result,), (same,))
            return same
        return result


def _recorded_kind(name: str, dtype: np.dtype[Any]) -> str:
    """The kind of a call that NumPy computes: one for all comparisons, and two for element-wise ops."""
    if name in COMPARISONS:
        return "Compare"
    if name not in DECLARATIONS or name.startswith("is"):
        return name
    is_logical = name.startswith("bitwise") and dtype == np.bool_
    if is_logical:
        return "Logical"
    return "Whole"


def _taker() -> str:
    """The public function that the model has called, or "the model"."""
    frame: Any = sys._getframe(1)
    found = "the model"
    while frame is not None and frame.f_code.co_filename.startswith(package()):
        if not frame.f_code.co_filename.startswith(_FOLDER):
            found = frame.f_code.co_name
            if found in ("call", "op"):  # wrappers, which have the public name
                found = str(frame.f_locals.get("name", found))
        frame = frame.f_back
    return found


def _outline(array: Array) -> Array:
    """An array of the same shape and dtype, without its memory."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)
