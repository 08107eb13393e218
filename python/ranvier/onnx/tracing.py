"""`Trace`: a run of a model as a list of calls of Functions, in which values have names.

An array that no call has made and that is no parameter is a constant. `site.py` compares it between runs with
different inputs, and refuses it if it depends on their values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import Tensor, wrap
from ranvier.onnx.registry import SINCE, WRITERS
from ranvier.ops import formulas  # noqa: F401  # fills the table of formulas
from ranvier.ops.elementwise.dtypes import as_operand, result_dtype
from ranvier.ops.elementwise.row import ROWS
from ranvier.ops.table import COMPARISONS
from ranvier.tape.calls import Calls

Array = np.ndarray[Any, Any]


class Value(NamedTuple):
    """An operand or result of a call. It is a constant if its name is "", else a value of the graph.

    array: the numbers of a constant; for other values an array of zeros with the right shape and dtype.
    """

    name: str
    array: Array


class Trace(Calls):
    """The calls of one run (`tape/calls.py`).

    enter: is called with each module before its call. opset: the version of the operator set; a Function that
    this version has no operator for is recorded as its formula.
    """

    op = "onnx.export"

    def __init__(self, enter: Callable[[Any], None] | None = None, opset: int = 0) -> None:
        super().__init__()
        self.opset = opset
        self.enter = enter or (lambda module: None)
        self._count = 0

    def name(self, tensor: Tensor, name: str, is_computed: bool = True) -> Value:
        """Gives a tensor's array a name; is_computed: whether it depends on inputs of the run."""
        self.see(tensor, name, is_computed)
        return Value(name, _outline(tensor._array))

    def operand(self, x: Any) -> Value | None:
        if x is None:
            return None
        array = getattr(x, "_array", x)
        if not isinstance(array, np.ndarray):
            return Value("", np.asarray(array))
        entry = self.unchanged(array)
        if entry is None:
            self.alive.append(array)
            return Value("", array)
        return Value(entry.value, _outline(array))  # entry.value: the name that `name` gave

    def result(self, kind: str, x: Tensor) -> Value:
        self._count += 1
        return self.name(x, f"{kind.lower()}_{self._count}")

    def writes(self, function: Any, inputs: Any) -> bool:
        kind = type(function).__name__
        return kind in WRITERS and self.opset >= SINCE.get(kind, 0)

    def add(self, kind: str, settings: dict[str, Any], inputs: Any, *rest: Any) -> None:
        if kind not in WRITERS:  # `export` refuses it by its name
            settings, inputs = {}, ()
        elif kind == "Pick":
            basic, axes, _, shape, arrays = settings["picks"]
            settings, inputs = {"basic": basic, "axes": axes, "shape": shape}, (*inputs, *arrays)
        elif kind == "TakeRows":
            settings, inputs = {}, (*inputs, settings["index"])
        elif kind in ("QuantizedLinear", "QuantizedRows"):  # the bytes are written in another layout
            panels = inputs[-3]._array
            super().add(kind, {**settings, "panels": Value("", panels)}, inputs, *rest)
            return
        super().add(kind, {name: self._setting(x) for name, x in settings.items()}, inputs, *rest)

    def _setting(self, value: Any) -> Any:
        """A setting of a call, in which arrays are replaced by Values."""
        if isinstance(value, np.ndarray):
            return self.operand(value)
        if isinstance(value, tuple):
            return tuple(map(self._setting, value))
        return value

    def computed(self, name: str, inputs: Any, result: Any, **settings: Any) -> None:
        results = result if isinstance(result, tuple) else (result,)
        if self.find(results[0]._array) is not None or not any(map(self._is_value, inputs)):
            return  # the result was made by a Function, whose call is recorded, or is a constant
        kind, dtype = name, results[0]._array.dtype
        if name in COMPARISONS or name in ("isin", "searchsorted"):
            settings["dtype"] = result_dtype(*(as_operand(name, x) for x in inputs))
        if name in COMPARISONS:
            kind, settings["name"] = "Compare", name
        elif name in ROWS and not name.startswith("is"):
            kind = "Logical" if name.startswith("bitwise") and dtype == np.bool_ else "Whole"
            settings["name"] = name
        self.add(kind, settings, inputs, results)

    def _is_value(self, x: Any) -> bool:
        array = getattr(x, "_array", x)
        return isinstance(array, np.ndarray) and (
            self.find(array) is not None or self._recording.core.varies(array)
        )

    def call(self, run: Any, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        self.enter(module)
        result = run(*args, **kwargs)
        if isinstance(module, nn.Dropout) and module.p > 0:
            # evaluation mode: the dropout returned its input; a view of it is the result here
            same = wrap(result._array[...])
            self.add("DropoutLayer", {"p": module.p}, (result,), (same,))
            return same
        return result


def _outline(array: Array) -> Array:
    """An array of the same shape and dtype, without its memory."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)
