"""Whether a step reads the elements of large arrays that its names can reach.

To compare them before each replay would cost more than the step. So the step is run once more, traced
instruction by instruction: an object that Python loads has one reference more at the next instruction. An
array that is loaded only for its length, shape or dtype, and that is in no container that a C function gets,
has not been read: the step does not depend on its elements.
"""

from __future__ import annotations

import dis
import gc
import operator
import sys
from typing import Any

# Instructions that do not use the values on the stack, or only their identity.
_IDLE = ("LOAD_", "PUSH_NULL", "COPY", "SWAP", "DUP_", "ROT_", "NOP", "RESUME", "CACHE", "PRECALL",
         "EXTENDED_ARG", "POP_TOP", "POP_EXCEPT", "JUMP", "STORE_FAST", "STORE_DEREF",
         "DELETE_FAST", "RETURN_VALUE", "IS_OP",
         "COPY_FREE_VARS", "MAKE_CELL", "KW_NAMES", "NOT_TAKEN", "POP_JUMP_FORWARD_IF_NONE",
         "POP_JUMP_FORWARD_IF_NOT_NONE", "POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE")  # fmt: skip
_FORM = frozenset({"shape", "ndim", "size", "dtype", "nbytes", "itemsize", "strides"})
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")


Large = tuple[list[Any], dict[int, list[Any]]]  # arrays, and the containers that hold a value, by its id


class Touches:
    """Watches arrays, and the containers that hold them, in a ``with`` block.

    Attributes:
        touched: ids of the arrays that may have been read.
    """

    def __init__(self, arrays: list[Any], parents: dict[int, list[Any]]) -> None:
        self._arrays = arrays
        self._holders = [_ancestors(array, parents) for array in arrays]
        self.touched: set[int] = set()
        self._called: list[int] = []  # arrays that a call has just got: it may read only the length
        self._watches = False  # whether instructions are reported
        self._before: Any = None

    @property
    def untouched(self) -> set[int]:
        return {id(array) for array in self._arrays} - self.touched

    def __enter__(self) -> Touches:
        self._before = sys.gettrace()
        if self._before is not None:  # a debugger
            self.touched = {id(array) for array in self._arrays}
            return self
        gc.collect()  # dead frames would release references meanwhile
        self._counts = _references(self._arrays)
        self._held = [_references(holders) for holders in self._holders]
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is None:
            sys.settrace(None)
        self.touched.update(self._called)
        if not self._watches:
            self.touched = {id(array) for array in self._arrays}

    def called(self, function: Any) -> None:
        """A C function is entered."""
        owner = getattr(function, "__self__", None)
        for array in self._arrays:
            if owner is array:
                self.touched.add(id(array))
        name = getattr(function, "__name__", "")
        if function in (len, isinstance) or (name == "get" and isinstance(owner, dict)):
            self._called.clear()

    def _trace(self, frame: Any, event: str, arg: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: Any, event: str, arg: Any) -> Any:
        if event != "opcode":
            return self._step
        self._watches = True
        self.touched.update(self._called)
        self._called.clear()
        for i, count in enumerate(_references(self._arrays)):
            loaded, held = count > self._counts[i], _references(self._holders[i])
            if loaded or any(map(operator.gt, held, self._held[i])):
                self._judge(frame, id(self._arrays[i]), loaded)
            self._counts[i] = min(count, self._counts[i])
            self._held[i] = list(map(min, held, self._held[i]))
        return self._step

    def _judge(self, frame: Any, key: int, loaded: bool) -> None:
        code, at = frame.f_code, frame.f_lasti
        name = dis.opname[code.co_code[at]]
        if name.startswith("CALL") and "INTRINSIC" not in name:
            self._called.append(key)
        elif name in _ATTRIBUTES:
            if loaded and _attribute(code, at) not in _FORM:
                self.touched.add(key)
        elif not (name.startswith(_IDLE) or (not loaded and _is_subscript(code, at, name))):
            self.touched.add(key)


def _references(things: list[Any]) -> list[int]:
    return [sys.getrefcount(thing) for thing in things]


def _attribute(code: Any, at: int) -> str:
    found = next((i.argval for i in dis.get_instructions(code) if i.offset == at), "")
    return str(found)


def _is_subscript(code: Any, at: int, name: str) -> bool:
    if name == "BINARY_OP":  # as of Python 3.14
        return next((i.argrepr for i in dis.get_instructions(code) if i.offset == at), "") == "[]"
    return name == "BINARY_SUBSCR"


def _ancestors(x: Any, parents: dict[int, list[Any]]) -> list[Any]:
    """All containers that lead to x."""
    found: dict[int, Any] = {}
    open_ends = [x]
    while open_ends:
        for parent in parents.get(id(open_ends.pop()), ()):
            if id(parent) not in found:
                found[id(parent)] = parent
                open_ends.append(parent)
    return list(found.values())
