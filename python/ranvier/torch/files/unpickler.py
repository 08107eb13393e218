"""An unpickler for files from unknown sources: it calls only the functions in the table KNOWN of values.py.

`pickletools` divides a pickle into operations; `_OPERATIONS` has what each does to the stack. A small pickle
must not take much time or memory: every operation charges its work to a counter (`Work`), to which each byte
of the pickle adds. Containers are measured as they grow (`Measure`): their depth, and their elements, where
an object that occurs twice counts twice, because a comparison or a printed text also visits it twice.
"""

from __future__ import annotations

import io
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from itertools import chain
from pickletools import genops
from typing import Any, TypeAlias, cast

import numpy as np

import ranvier as rv
from ranvier.nn import Parameter
from ranvier.serialization.foreign_files import EndError, FileError
from ranvier.serialization.work import PER_BYTE, Keys, Work
from ranvier.torch.files.allowed import refusal
from ranvier.torch.files.archive import FindStorage
from ranvier.torch.files.modules import OWN, state_here
from ranvier.torch.files.values import (
    KNOWN,
    Known,
    Storage,
    StorageType,
    build_numpy,
    divided_state,
    require_settable,
)

Argument: TypeAlias = int | float | str | bytes | bytearray | None
"""What stands in a pickle after an opcode."""

_BLOCKED = {"sys", "os", "posix", "nt"}  # modules that cannot be allowed, as in PyTorch
# operations that push their argument
_PUSHED = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"}
_PUSHED |= {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_PUSHED |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINUNICODE8"}
# operations that push a new container, and those that push a constant
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "EMPTY_TUPLE": tuple,
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DAMAGE = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RecursionError, MemoryError)
_DICTS = (dict, OrderedDict, Counter, defaultdict)
# Names whose calls make sets and dicts, which are filled by the checked methods here
_SETS = ("builtins.set", "builtins.frozenset")
_DICT_NAMES = ("collections.OrderedDict", "collections.Counter", "collections.defaultdict")
_SUBCLASS = "torch._tensor._rebuild_from_type_v2"  # `values.subclass`: its first argument is a function
# Types of values that hold no others
_ATOMS = (str, bytes, bytearray, int, float, complex, type(None), np.dtype, np.generic, rv.dtype, rv.device)
_PLAIN = frozenset((int, float, bool, type(None)))  # most of them
_DEEPEST = 1000  # levels of nested containers; Python's own pickler cannot write as many
_LONGEST = 16  # bytes of an integer; states of random generators have integers of this size
_KEYS = (str, int, float, bool, complex, bytes, type(None), rv.device, rv.Tensor, Parameter, type(rv.float32))


class Measure:
    """The size of a container."""

    __slots__ = ("container", "elements", "is_inside", "levels")

    def __init__(self, container: object) -> None:
        self.container = container  # kept so that no other object gets its id
        self.levels = 0  # of containers below it
        self.elements = 1  # itself, and those in it and in the containers below
        self.is_inside = False  # whether it is in another container


class Unpickler:
    """Runs one pickle.

    find_storage: gives the storage for a persistent id.
    safe: path -> class or function that the program allows.
    """

    def __init__(self, stream: io.BytesIO, find_storage: FindStorage, safe: dict[str, Any]) -> None:
        self.stream = stream
        self.find_storage = find_storage
        self.safe = safe
        self.stack: list[Any] = []  # the values since the last mark
        self.outer: list[list[Any]] = []  # the values before it, and before each earlier mark
        self.memo: dict[int, Any] = {}  # values that the pickle may push again, by number
        self.work = Work()
        self.keys = Keys(self.work)
        self.measures: dict[int, Measure] = {}  # by the id of the container
        # id of a tuple -> an object in it that may only be an argument of a call (a storage, a function)
        self.unusual: dict[int, Any] = {}
        # Containers that are already in others may still grow. The measures of those around are not updated;
        # they are at most `late` times as large and `late_levels` levels deeper than their measures say.
        self.late = 1
        self.late_levels = 0

    def load(self) -> Any:
        """The object. Raises FileError for a pickle that is damaged, or that asks for anything else."""
        self.start = self.stream.tell()
        self.place = self.start  # of the operation that runs
        try:
            for opcode, argument, place in cast(Any, genops(self.stream)):
                self.work.left += PER_BYTE * (place - self.place)
                self.place = place
                self.run(opcode.name, argument)
            value = self.stack.pop()
            if not isinstance(value, Storage):  # PyTorch's pickles of tensors have files of one storage
                self.require_value(value)
            return value
        except FileError:
            raise
        except _DAMAGE as error:
            said = f"{type(error).__name__}: {error}"
            Error = FileError if self.stream.read(1) else EndError
            raise Error(f"has a pickle that is cut off or damaged: {said}") from error

    def run(self, name: str, argument: Argument) -> None:
        """Runs one operation."""
        if name in _PUSHED:
            if type(argument) is int and argument.bit_length() > 8 * _LONGEST:
                raise FileError(f"has a pickle with an integer of more than {_LONGEST} bytes")
            self.stack.append(argument)
        elif name in _EMPTY:
            container = _EMPTY[name]()
            self.work.charge(sys.getsizeof(container))
            self.stack.append(container)
        elif name in _CONSTANTS:
            constant = _CONSTANTS[name]
            self.work.charge(sys.getsizeof(constant))
            self.stack.append(constant)
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(self.stack) < count:
                raise IndexError("too few values")
            self.stack[-count:] = [self.make_tuple(self.stack[-count:])]
        elif name in _OPERATIONS:
            operation = _OPERATIONS[name]
            operation(self, argument)
        else:
            raise FileError(f"has a pickle with {name}, which no file of weights needs")

    # --- the stack
    def since_mark(self) -> list[Any]:
        """Take the items above the last mark from the stack."""
        items = self.stack
        self.stack = self.outer.pop()
        return items

    def nothing(self, argument: Argument) -> None:
        """The opcodes PROTO, FRAME and STOP, which `genops` has read."""

    def mark(self, argument: Argument) -> None:
        self.work.charge(64)  # about the bytes of an empty list
        self.outer.append(self.stack)
        self.stack = []

    def pop(self, argument: Argument) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def pop_mark(self, argument: Argument) -> None:
        self.since_mark()

    def duplicate(self, argument: Argument) -> None:
        self.stack.append(self.stack[-1])

    def put(self, argument: Argument) -> None:
        """The opcodes PUT ... and MEMOIZE: store the top of the stack under a number, or under the next."""
        self.work.charge(64)  # about the bytes of an entry of the memo
        number = len(self.memo) if argument is None else int(argument)
        self.memo[number] = self.stack[-1]

    def get(self, argument: Any) -> None:
        """The opcodes GET ...: push what was stored under a number."""
        self.stack.append(self.memo[int(argument)])

    # --- what containers hold
    def measure(self, container: object) -> Measure:
        """The measure of a container, a new one at its first use."""
        if id(container) not in self.measures:
            self.work.charge(200)  # about the bytes of a Measure and its entry
            self.measures[id(container)] = Measure(container)
        return self.measures[id(container)]

    def require_value(self, value: object) -> None:
        """Raise FileError for a function, a storage or its type, which may only be arguments of calls."""
        value = self.unusual.get(id(value), value)
        if isinstance(value, (Known, Storage, StorageType)):
            name = getattr(value, "name", "torch.UntypedStorage")
            raise FileError(f"holds {name} itself as a value; expected tensors, numbers and containers")

    def grow(self, target: object, items: Iterable[object]) -> None:
        """Adds items to the measure of a container. Raises FileError if it becomes too deep or too large."""
        levels = 0
        elements = 0
        for item in items:
            elements += 1
            if type(item) in _PLAIN:
                continue
            if isinstance(item, (str, bytes, bytearray)):
                elements += len(item) // 64  # a comparison reads the text, too: 64 bytes count as an element
                continue
            if isinstance(item, _ATOMS):
                continue
            self.require_value(item)
            inner = self.measure(item)
            inner.is_inside = True
            levels = max(levels, inner.levels + 1)
            elements += inner.elements
        if type(target) is tuple and levels:  # as a key, each use would hash all of its elements
            self.work.charge(8 * elements)
        else:
            self.work.charge(8)
        size = self.measure(target)
        if size.is_inside:  # see `late` in __init__
            self.late_levels += levels
            self.late *= 1 + elements
        size.levels = max(size.levels, levels)
        size.elements += elements
        if size.levels + self.late_levels > _DEEPEST:
            raise FileError(f"has a pickle with more than {_DEEPEST} containers in each other")
        # at most 16 elements for each byte of the pickle so far, and a million for small ones
        if size.elements * self.late > 16 * (self.place - self.start) + 10**6:
            raise FileError("has a pickle whose containers repeat each other without end")

    # --- containers
    def make_tuple(self, items: list[Any]) -> tuple[Any, ...]:
        made = tuple(items)
        self.work.charge(56 + 8 * len(made))
        for item in items:
            if type(item) in _PLAIN:
                continue
            inner = self.unusual.get(id(item), item)
            if isinstance(inner, (Known, Storage, StorageType)):  # then only a call may take the tuple
                self.unusual[id(made)] = inner
                self.measure(made)  # keeps the tuple, and so its id
                return made
        self.grow(made, made)
        return made

    def tuple_since_mark(self, argument: Argument) -> None:
        made = self.make_tuple(self.since_mark())
        self.stack.append(made)

    def dict_since_mark(self, argument: Argument) -> None:
        items = self.since_mark()
        self.stack.append({})
        self.fill(self.stack[-1], items)

    def list_since_mark(self, argument: Argument) -> None:
        items = self.since_mark()
        self.stack.append([])
        self.extend(items)

    def append(self, argument: Argument) -> None:
        self.extend([self.stack.pop()])

    def appends(self, argument: Argument) -> None:
        self.extend(self.since_mark())

    def extend(self, items: list[Any]) -> None:
        """Adds items to the list on top of the stack."""
        target = self.stack[-1]
        if type(target) is not list:
            raise FileError(f"has a pickle that appends to a {type(target).__name__}")
        self.grow(target, items)
        self.work.charge(8 * len(items))
        target.extend(items)

    def set_item(self, argument: Argument) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.fill(self.stack[-1], [key, value])

    def set_items(self, argument: Argument) -> None:
        items = self.since_mark()
        self.fill(self.stack[-1], items)

    def fill(self, target: object, items: list[Any]) -> None:
        """Sets items of a dict: keys and values in turn."""
        if not isinstance(target, dict) or type(target) not in _DICTS or len(items) % 2:
            raise FileError(f"has a pickle that sets items of a {type(target).__name__}")
        keys = items[::2]
        values = items[1::2]
        self.require_keys(keys)
        self.grow(target, items)
        for key, value in zip(keys, values, strict=True):
            target[key] = value

    def add_items(self, argument: Argument) -> None:
        items = self.since_mark()
        target = self.stack[-1]
        if type(target) is not set:
            raise FileError(f"has a pickle that adds items to a {type(target).__name__}")
        self.require_keys(items)
        self.grow(target, items)
        target.update(items)

    def frozenset_since_mark(self, argument: Argument) -> None:
        made = self.make_set(frozenset, self.since_mark())
        self.stack.append(made)

    def make_set(self, cls: Callable[[Any], Any], items: object) -> Any:
        """cls(items), a set or a frozenset."""
        if not isinstance(items, (list, tuple, set, frozenset)) or type(items) not in _COLLECTIONS:
            raise FileError(f"has a pickle that makes a container of a {type(items).__name__}")
        self.require_keys(items)
        made = cls(items)
        self.grow(made, made)
        return made

    def fill_from(self, target: object, source: Any) -> None:
        """Fills an empty dict with the items of a dict, or with pairs (key, value)."""
        if type(source) in _DICTS:
            pairs = source.items()
        elif type(source) in (list, tuple) and all(map(_is_pair, source)):
            pairs = source
        else:
            raise FileError(f"has a pickle that makes a container of a {type(source).__name__}")
        self.work.charge(16 * len(source))
        self.fill(target, [*chain.from_iterable(pairs)])

    def require_keys(self, keys: Iterable[object], depth: int = 0) -> None:
        """Raise FileError for keys of other types than `_KEYS` and short tuples, hashed at each use."""
        for key in keys:
            if isinstance(key, tuple) and depth < 2 and len(key) <= 16:
                self.require_keys(key, depth + 1)
            elif type(key) not in _KEYS and not isinstance(key, (np.dtype, rv.dtype)):
                raise FileError(f"has a pickle with a key of type {type(key).__name__}")
            self.keys.charge(key)
            if depth == 0:
                self.work.charge(64)

    # --- names and calls
    def name(self, argument: Any) -> None:
        """The opcodes GLOBAL and STACK_GLOBAL: push the object of a module and a name, if it is allowed."""
        if argument is None:
            name = self.stack.pop()
            module = self.stack.pop()
            if type(name) is not str or type(module) is not str:
                raise FileError("has a pickle with a name that is no text")
        else:
            module, _, name = argument.partition(" ")
        # names of Python 2
        if (module, name) in NAME_MAPPING:
            module, name = NAME_MAPPING[module, name]
        else:
            module = IMPORT_MAPPING.get(module, module)
        path = f"{module}.{name}"
        if path in KNOWN:
            self.stack.append(KNOWN[path])
        elif path in self.safe and module not in _BLOCKED:
            self.stack.append(self.safe[path])
        else:
            raise FileError(refusal(path))

    def call(self, argument: Argument) -> None:
        """The opcode REDUCE: calls the function below the top of the stack with the arguments on top."""
        args = self.stack.pop()
        function = self.stack.pop()
        self.stack.append(self.result(function, args))

    def result(self, function: Any, args: object) -> Any:
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
            items = args[0] if args else ()
            return self.make_set(function.call, items)
        if function.name in _DICT_NAMES:
            return self.make_dict(function, args)
        if function.name == _SUBCLASS and len(args) == 4:
            return self.make_subclass(function, args)
        return self.called(function.call, args)

    def called(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """The result of a function of values.py, whose attributes count as what it holds."""
        for arg in args:
            if isinstance(arg, (tuple, list, str, bytes, bytearray)):
                self.work.charge(8 * len(arg))
        value = function(*args)
        if isinstance(value, rv.Tensor) and value.__dict__:
            self.grow(value, value.__dict__.values())
        return value

    def make_dict(self, function: Known, args: tuple[Any, ...]) -> Any:
        """The result of a call of OrderedDict, Counter or defaultdict."""
        assert function.call is not None
        if function.name == "collections.defaultdict" and args:
            factory, *sources = args
            made = function.call(factory)
        else:
            sources = [*args]
            made = function.call()
        if len(sources) > 1:
            raise TypeError(f"{function.name} takes one dict or list of pairs; got {len(sources)}")
        if sources:
            self.fill_from(made, sources[0])
        return made

    def make_subclass(self, function: Known, args: tuple[Any, ...]) -> Any:
        """The result of `values.subclass`, whose arguments have a call in them, which is checked, too."""
        assert function.call is not None
        make, cls, make_args, state = args
        tensor = self.result(make, make_args)

        def make_checked() -> Any:
            return tensor

        return self.called(function.call, (make_checked, cls, (), state))

    def new(self, argument: Argument) -> None:
        """The opcode NEWOBJ: an object of a class, without its __init__ if the program allowed the class."""
        cls = self.stack[-2]
        if not self.is_safe(cls):
            return self.call(argument)
        args = self.stack.pop()
        self.stack[-1] = cls.__new__(cls, *args)

    def is_safe(self, value: object) -> bool:
        return any(value is allowed for allowed in self.safe.values())

    def build(self, argument: Argument) -> None:
        """The opcode BUILD: sets the state of the object below the top of the stack, if its class is safe."""
        state = self.stack.pop()
        value = self.stack[-1]
        if type(value) in (OrderedDict, Counter, defaultdict) and type(state) is dict:
            require_settable(type(value), state)
            self.grow(value, state.values())
            vars(value).update(state)
        elif isinstance(value, np.dtype) or type(value) is np.ndarray:
            self.work.charge(sum(len(x) for x in state if isinstance(x, bytes)))
            build_numpy(value, state)
        elif self.is_safe(type(value)):
            self.grow(value, [state])
            self.set_state(value, state)
        else:
            raise FileError(f"has a pickle that sets the state of a {type(value).__name__}")

    def set_state(self, value: Any, state: Any) -> None:
        """Sets the state of an object whose class the program allows, as `pickle` does."""
        if hasattr(value, "__setstate__"):
            state = state_here(value, state)
            attributes = state if isinstance(state, dict) else {}
            expected = OWN if isinstance(value, rv.nn.Module) else ()
            require_settable(type(value), {name: None for name in attributes if name not in expected})
            value.__setstate__(state)
            return
        attributes, slots = divided_state(state)
        require_settable(type(value), attributes, slots)
        vars(value).update(attributes)
        for name, item in slots.items():
            setattr(value, name, item)

    def persist(self, argument: Argument) -> None:
        """The opcode BINPERSID: pushes the storage whose persistent id is on top of the stack."""
        pid = self.stack.pop()
        self.stack.append(self.find_storage(pid))


_COLLECTIONS = (list, tuple, set, frozenset)


def _is_pair(value: Any) -> bool:
    return type(value) in (list, tuple) and len(value) == 2


_OPERATIONS: dict[str, Callable[[Unpickler, Any], None]] = {
    "PROTO": Unpickler.nothing,
    "FRAME": Unpickler.nothing,
    "STOP": Unpickler.nothing,
    "MARK": Unpickler.mark,
    "POP": Unpickler.pop,
    "POP_MARK": Unpickler.pop_mark,
    "DUP": Unpickler.duplicate,
    "PUT": Unpickler.put,
    "BINPUT": Unpickler.put,
    "LONG_BINPUT": Unpickler.put,
    "MEMOIZE": Unpickler.put,
    "GET": Unpickler.get,
    "BINGET": Unpickler.get,
    "LONG_BINGET": Unpickler.get,
    "LIST": Unpickler.list_since_mark,
    "TUPLE": Unpickler.tuple_since_mark,
    "DICT": Unpickler.dict_since_mark,
    "APPEND": Unpickler.append,
    "APPENDS": Unpickler.appends,
    "SETITEM": Unpickler.set_item,
    "SETITEMS": Unpickler.set_items,
    "ADDITEMS": Unpickler.add_items,
    "FROZENSET": Unpickler.frozenset_since_mark,
    "GLOBAL": Unpickler.name,
    "STACK_GLOBAL": Unpickler.name,
    "REDUCE": Unpickler.call,
    "NEWOBJ": Unpickler.new,
    "BUILD": Unpickler.build,
    "BINPERSID": Unpickler.persist,
}
