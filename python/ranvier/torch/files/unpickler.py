"""An unpickler for files from unknown sources: it calls only the functions in the table KNOWN of values.py.

`pickletools` divides a pickle into operations; `_STEPS` has what each does to the stack. A small pickle must
not take much time or memory: every operation charges its work to a counter (`Work`), to which each byte of
the pickle adds. Containers are measured as they grow (`Measure`): their depth, and their elements, where an
object that occurs twice counts twice, because a comparison or a printed text also visits it twice.
"""

from __future__ import annotations

import io
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from pickletools import genops
from typing import Any, cast

import numpy as np

import ranvier as rv
from ranvier.nn import Parameter
from ranvier.serialization.foreign_files import EndError, FileError
from ranvier.serialization.work import PER_BYTE, Keys, Work
from ranvier.torch.files.allowed import refusal
from ranvier.torch.files.modules import OWN, state_here
from ranvier.torch.files.values import KNOWN, Kind, Known, Storage, build_numpy, require_names

_BLOCKED = {"sys", "os", "posix", "nt"}  # modules that cannot be allowed, as in PyTorch
# operations that push their argument
_PUSHED = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"}
_PUSHED |= {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_PUSHED |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINUNICODE8"}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "EMPTY_TUPLE": tuple,
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DAMAGE = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RecursionError, MemoryError)
_DICTS = (dict, OrderedDict, Counter, defaultdict)
_SETS = ("builtins.set", "builtins.frozenset")
_FILLED = ("collections.OrderedDict", "collections.Counter", "collections.defaultdict")
_TYPED = "torch._tensor._rebuild_from_type_v2"
_ATOMS = (str, bytes, bytearray, int, float, complex, type(None), np.dtype, np.generic, rv.dtype, rv.device)
_PLAIN = frozenset((int, float, bool, type(None)))  # most of them
_DEEPEST = 1000  # levels of nested containers; Python's own pickler cannot write as many
_LONGEST = 16  # bytes of an integer; states of random generators have integers of this size
_KEYS = (str, int, float, bool, complex, bytes, type(None), rv.device, rv.Tensor, Parameter, type(rv.float32))


class Measure:
    """The size of a container. of: the container, kept so that no other object gets its id. levels: those of
    containers below it. elements: in it and in these. held: whether it is in another container."""

    __slots__ = ("elements", "held", "levels", "of")

    def __init__(self, of: Any) -> None:
        self.of = of
        self.levels = 0
        self.elements = 1
        self.held = False


class Unpickler:
    """Runs one pickle.

    persistent: a function from a persistent id to a storage. safe: path -> class or function that the program
    allows.
    """

    def __init__(self, stream: io.BytesIO, persistent: Any, safe: dict[str, Any]) -> None:
        self.stream = stream
        self.persistent = persistent
        self.safe = safe
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.work = Work()
        self.keys = Keys(self.work)
        self.measures: dict[int, Measure] = {}
        # id of a tuple -> an object in it that may only be an argument of a call (a storage, a function)
        self.unusual: dict[int, Any] = {}
        # Containers that are already in others may still grow. The measures of those around are not updated;
        # they are at most `late` times as large and `late_levels` levels deeper than their measures say.
        self.late = 1
        self.late_levels = 0

    def load(self) -> Any:
        """The object. Raises FileError for a pickle that is damaged, or that asks for anything else."""
        self.start = self.place = self.stream.tell()
        try:
            for opcode, arg, place in cast(Any, genops(self.stream)):
                name = opcode.name
                self.work.left += PER_BYTE * (place - self.place)
                self.place = place
                if name in _PUSHED:
                    if type(arg) is int and arg.bit_length() > 8 * _LONGEST:
                        raise FileError(f"has a pickle with an integer of more than {_LONGEST} bytes")
                    self.stack.append(arg)
                elif name in _EMPTY:
                    value = _EMPTY[name]()
                    self.work.charge(sys.getsizeof(value))
                    self.stack.append(value)
                elif name in _TUPLES:
                    count = _TUPLES[name]
                    if len(self.stack) < count:
                        raise IndexError("too few values")
                    self.stack[-count:] = [self.tuple_of(self.stack[-count:])]
                else:
                    step = _STEPS.get(name)
                    if step is None:
                        raise FileError(f"has a pickle with {name}, which no file of weights needs")
                    step(self, arg)
            value = self.stack.pop()
            if not isinstance(value, Storage):  # PyTorch's pickles of tensors have files of one storage
                self.require_value(value)
            return value
        except FileError:
            raise
        except _DAMAGE as error:
            said = f"{type(error).__name__}: {error}"
            kind = FileError if self.stream.read(1) else EndError
            raise kind(f"has a pickle that is cut off or damaged: {said}") from error

    # --- the stack
    def since_mark(self) -> list[Any]:
        """Take the items above the last mark from the stack."""
        items = self.stack
        self.stack = self.outer.pop()
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, arg: Any) -> None:
        self.work.charge(64)
        self.outer.append(self.stack)
        self.stack = []

    def pop(self, arg: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def put(self, arg: Any) -> None:
        self.work.charge(64)
        self.memo[len(self.memo) if arg is None else int(arg)] = self.stack[-1]

    # --- what containers hold
    def measure(self, value: Any) -> Measure:
        if id(value) not in self.measures:
            self.work.charge(200)
            self.measures[id(value)] = Measure(value)
        return self.measures[id(value)]

    def require_value(self, value: Any) -> None:
        """Raise FileError for a function, a storage or its type, which may only be arguments of calls."""
        value = self.unusual.get(id(value), value)
        if isinstance(value, (Known, Storage, Kind)):
            name = getattr(value, "name", "torch.UntypedStorage")
            raise FileError(f"holds {name} itself as a value; expected tensors, numbers and containers")

    def grow(self, target: Any, items: Iterable[Any]) -> None:
        """Adds items to the measure of a container. Raises FileError if it becomes too deep or too large."""
        levels = 0
        elements = 0
        for item in items:
            elements += 1
            if type(item) in _PLAIN:
                continue
            if isinstance(item, _ATOMS):
                elements += len(item) // 64 if isinstance(item, (str, bytes, bytearray)) else 0
                continue
            self.require_value(item)
            inner = self.measure(item)
            inner.held = True
            levels = max(levels, inner.levels + 1)
            elements = elements + inner.elements
        own = self.measure(target)
        self.work.charge(8 * elements if type(target) is tuple and levels else 8)
        if own.held:  # see `late` in __init__
            self.late_levels += levels
            self.late *= 1 + elements
        own.levels = max(own.levels, levels)
        own.elements = own.elements + elements
        if own.levels + self.late_levels > _DEEPEST:
            raise FileError(f"has a pickle with more than {_DEEPEST} containers in each other")
        if own.elements * self.late > 16 * (self.place - self.start) + 10**6:
            raise FileError("has a pickle whose containers repeat each other without end")

    # --- containers
    def tuple_of(self, items: list[Any]) -> tuple[Any, ...]:
        made = tuple(items)
        self.work.charge(56 + 8 * len(made))
        for item in items:
            if type(item) in _PLAIN:
                inner = item
            else:
                inner = self.unusual.get(id(item), item)
            if isinstance(inner, (Known, Storage, Kind)):  # the tuple may only hold arguments of a call
                self.unusual[id(made)] = inner
                self.measure(made)
                return made
        self.grow(made, made)
        return made

    def dictionary(self, arg: Any) -> None:
        items = self.since_mark()
        self.stack.append({})
        self.fill(self.stack[-1], items)

    def listed(self, arg: Any) -> None:
        items = self.since_mark()
        self.stack.append([])
        self.extend(items)

    def append(self, arg: Any) -> None:
        self.extend([self.stack.pop()])

    def appends(self, arg: Any) -> None:
        self.extend(self.since_mark())

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise FileError(f"has a pickle that appends to a {type(target).__name__}")
        self.grow(target, items)
        self.work.charge(8 * len(items))
        target.extend(items)

    def set_item(self, arg: Any) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.fill(self.stack[-1], [key, value])

    def set_items(self, arg: Any) -> None:
        items = self.since_mark()
        self.fill(self.stack[-1], items)

    def fill(self, target: Any, items: list[Any]) -> None:
        """Sets items: keys and values in turn."""
        if type(target) not in _DICTS or len(items) % 2:
            raise FileError(f"has a pickle that sets items of a {type(target).__name__}")
        self.require_keys(items[::2])
        self.grow(target, items)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def add_items(self, arg: Any) -> None:
        items = self.since_mark()
        target = self.stack[-1]
        if type(target) is not set:
            raise FileError(f"has a pickle that adds items to a {type(target).__name__}")
        self.require_keys(items)
        self.grow(target, items)
        target.update(items)

    def frozen(self, arg: Any) -> None:
        self.push(self.set_of(frozenset, self.since_mark()))

    def set_of(self, kind: Any, items: Any) -> Any:
        if type(items) not in (list, tuple, set, frozenset):
            raise FileError(f"has a pickle that makes a container of a {type(items).__name__}")
        self.require_keys(items)
        made = kind(items)
        self.grow(made, made)
        return made

    def filled(self, made: Any, items: Any) -> Any:
        """`made`, an empty dict of some kind, filled with the items of a dict, or with pairs (key, value)."""
        if type(items) in _DICTS:
            pairs: Any = items.items()
        elif type(items) in (list, tuple) and all(type(x) in (list, tuple) and len(x) == 2 for x in items):
            pairs = items
        else:
            raise FileError(f"has a pickle that makes a container of a {type(items).__name__}")
        self.work.charge(16 * len(items))
        self.fill(made, [part for pair in pairs for part in pair])
        return made

    def require_keys(self, keys: Iterable[str], depth: int = 0) -> None:
        """Raise FileError for keys of other types than `_KEYS` and short tuples, hashed at each use."""
        for key in keys:
            if isinstance(key, tuple) and depth < 2 and len(key) <= 16:
                self.require_keys(key, depth + 1)
            elif type(key) not in _KEYS and not isinstance(key, (np.dtype, rv.dtype)):
                raise FileError(f"has a pickle with a key of type {type(key).__name__}")
            self.keys.charge(key)
            self.work.charge(64 * (depth == 0))

    # --- names and calls
    def name(self, arg: Any) -> None:
        """The opcodes GLOBAL and STACK_GLOBAL: push the object of a module and a name, if it is allowed."""
        if arg is None:
            name = self.stack.pop()
            module = self.stack.pop()
            if type(name) is not str or type(module) is not str:
                raise FileError("has a pickle with a name that is no text")
        else:
            module, _, name = arg.partition(" ")
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        path = f"{module}.{name}"
        if path in KNOWN:
            self.stack.append(KNOWN[path])
        elif path in self.safe and module not in _BLOCKED:
            self.stack.append(self.safe[path])
        else:
            raise FileError(refusal(path))

    def call(self, arg: Any) -> None:
        args = self.stack.pop()
        function = self.stack.pop()
        self.stack.append(self.result(function, args))

    def result(self, function: Callable[..., Any], args: Any) -> Any:
        """The result of a call of the pickle, if it is allowed."""
        if type(args) is not tuple:
            raise FileError("has a pickle that calls without a tuple of arguments")
        if not isinstance(function, Known):
            if self.is_safe(function):
                return function(*args)
            raise FileError(f"has a pickle that calls a {type(function).__name__}")
        if function.call is None:
            raise FileError(f"has a pickle that makes a {function.name}, which Tensors lack")
        self.work.charge(200 + 8 * len(args))
        if function.name in _SETS and len(args) < 2:
            return self.set_of(function.call, *(args or ((),)))
        if function.name in _FILLED:
            first = function.name == "collections.defaultdict"  # its factory
            made = function.call(*args[:first])
            if args[first:]:
                return self.filled(made, *args[first:])
            return made
        if function.name == _TYPED and len(args) == 4:
            inner = self.result(args[0], args[2])
            args = (lambda: inner, args[1], (), args[3])
        self.work.charge(sum(8 * len(x) for x in args if isinstance(x, (tuple, list, str, bytes, bytearray))))
        value = function.call(*args)
        if isinstance(value, rv.Tensor) and value.__dict__:
            self.grow(value, value.__dict__.values())
        return value

    def new(self, arg: Any) -> None:
        """An object of a class, without its __init__ where the program allowed the class."""
        kind = self.stack[-2]
        if not self.is_safe(kind):
            return self.call(arg)
        args = self.stack.pop()
        self.stack[-1] = kind.__new__(kind, *args)

    def is_safe(self, value: Any) -> bool:
        return any(value is allowed for allowed in self.safe.values())

    def build(self, arg: Any) -> None:
        """The opcode BUILD: sets the state of the object below the top of the stack, if its class is safe."""
        state = self.stack.pop()
        value = self.stack[-1]
        if type(value) in (OrderedDict, Counter, defaultdict) and type(state) is dict:
            require_names(type(value), state)
            self.grow(value, state.values())
            vars(value).update(state)
        elif isinstance(value, np.dtype) or type(value) is np.ndarray:
            self.work.charge(sum(len(x) for x in state if isinstance(x, bytes)))
            build_numpy(value, state)
        elif not self.is_safe(type(value)):
            raise FileError(f"has a pickle that sets the state of a {type(value).__name__}")
        else:
            self.grow(value, [state])
            if hasattr(value, "__setstate__"):
                state = state_here(value, state)
                own = OWN if isinstance(value, rv.nn.Module) else ()
                names = state if isinstance(state, dict) else {}
                require_names(type(value), {name: None for name in names if name not in own})
                value.__setstate__(state)
                return
            named, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
            require_names(type(value), named or {}, slots or {})
            vars(value).update(named or {})
            for name, item in (slots or {}).items():
                setattr(value, name, item)

    def persist(self, arg: Any) -> None:
        pid = self.stack.pop()
        if self.persistent is None:
            raise FileError("has a storage where none can be")
        self.stack.append(self.persistent(pid))


_STEPS: dict[str, Callable[[Unpickler, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda self, arg: None),
    "MARK": Unpickler.mark,
    "POP": Unpickler.pop,
    "POP_MARK": lambda self, arg: self.since_mark().clear(),
    "DUP": lambda self, arg: self.stack.append(self.stack[-1]),
    "LIST": Unpickler.listed,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), Unpickler.put),
    **dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"), lambda self, arg: self.stack.append(self.memo[int(arg)])
    ),
    "TUPLE": lambda self, arg: self.push(self.tuple_of(self.since_mark())),
    "DICT": Unpickler.dictionary,
    "APPEND": Unpickler.append,
    "APPENDS": Unpickler.appends,
    "SETITEM": Unpickler.set_item,
    "SETITEMS": Unpickler.set_items,
    "ADDITEMS": Unpickler.add_items,
    "FROZENSET": Unpickler.frozen,
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), Unpickler.name),
    "REDUCE": Unpickler.call,
    "NEWOBJ": Unpickler.new,
    "BUILD": Unpickler.build,
    "BINPERSID": Unpickler.persist,
}
