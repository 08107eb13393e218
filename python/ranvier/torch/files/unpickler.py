"""Pickles of weights, run by a machine that calls what is in the table of `values` and nothing else.

`pickletools` divides a pickle into its operations. Here is what each does to the stack; what an operation may
call, or write to, is named here. The work and the memory are bounded by the length of the pickle.
"""

from __future__ import annotations

import io
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pickletools import genops
from typing import Any

import numpy as np

import ranvier as rv
from ranvier.nn import Parameter
from ranvier.serialization.kinds import EndError, FileError
from ranvier.settings import defined
from ranvier.torch.files.modules import state_here
from ranvier.torch.files.values import KNOWN, Kind, Known, Storage, build_numpy

_safe: set[Any] = set()  # what programs add: classes and functions, or pairs of these and a path

_BLOCKED = {"sys", "os", "posix", "nt"}  # as in PyTorch: whatever a program allows
_PUSHED = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"}
_PUSHED |= {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_PUSHED |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINUNICODE8"}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "EMPTY_TUPLE": tuple,
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DAMAGE = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RecursionError, MemoryError)
_COPIED = (list, tuple, dict, set, frozenset, str, bytes, bytearray)
_HASHED = {"builtins.set", "builtins.frozenset"} | {
    f"collections.{name}" for name in ("OrderedDict", "Counter", "defaultdict")
}
_KEYS = (str, int, float, bool, complex, bytes, type(None), rv.device, rv.Tensor, Parameter, type(rv.float32))


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Classes and functions that :func:`ranvier.load` may call for PyTorch's files; or pairs with a path.

    >>> import ranvier as rv, fractions
    >>> rv.serialization.add_safe_globals([fractions.Fraction])
    >>> rv.serialization.get_safe_globals(), rv.serialization.clear_safe_globals()
    ([<class 'fractions.Fraction'>], None)
    """
    _safe.update(safe_globals)
    defined()


def get_safe_globals() -> list[Any]:
    """What :func:`add_safe_globals` has added."""
    return list(_safe)


def clear_safe_globals() -> None:
    """Removes all that :func:`add_safe_globals` has added."""
    _safe.clear()
    defined()


class safe_globals:
    """A block in which classes and functions count as added by :func:`add_safe_globals`."""

    def __init__(self, safe_globals: list[Any]) -> None:
        self.added = [value for value in safe_globals if value not in _safe]

    def __enter__(self) -> None:
        add_safe_globals(self.added)

    def __exit__(self, *error: object) -> None:
        _safe.difference_update(self.added)
        defined()


def by_path(name_of: Callable[[Any], str]) -> dict[str, Any]:
    """What programs have added, by the paths that files have for them."""
    paths = {}
    for added in _safe:
        value, path = added if isinstance(added, tuple) else (added, name_of(added))
        paths[path] = value
    return paths


class Unpickler:
    """One pickle; `load` gives its object."""

    def __init__(self, stream: io.BytesIO, persistent: Any, safe: dict[str, Any]) -> None:
        self.stream, self.persistent, self.safe = stream, persistent, safe
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.work = 4 * len(stream.getbuffer()) + 1000  # elements that calls may still copy

    def load(self) -> Any:
        """The object. Raises FileError for a pickle that is damaged, or that asks for anything else."""
        try:
            for opcode, arg, _ in genops(self.stream):
                name = opcode.name
                if name in _PUSHED:
                    self.stack.append(arg)
                elif name in _EMPTY:
                    self.stack.append(_EMPTY[name]())
                elif name in _TUPLES:
                    count = _TUPLES[name]
                    if len(self.stack) < count:
                        raise IndexError("too few values")
                    self.stack[-count:] = [tuple(self.stack[-count:])]
                else:
                    step = _STEPS.get(name)
                    if step is None:
                        raise FileError(f"has a pickle with {name}, which no file of weights needs")
                    step(self, arg)
            value = self.stack.pop()
            if not isinstance(value, Storage):  # PyTorch's pickles of tensors have files of one storage
                _require_values([value])
            return value
        except FileError:
            raise
        except _DAMAGE as error:
            said = f"{type(error).__name__}: {error}"
            kind = FileError if self.stream.read(1) else EndError
            raise kind(f"has a pickle that is cut off or damaged: {said}") from error

    # --- the stack
    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, arg: Any) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def pop(self, arg: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def put(self, arg: Any) -> None:
        self.memo[len(self.memo) if arg is None else int(arg)] = self.stack[-1]

    # --- containers
    def dictionary(self, arg: Any) -> None:
        items = self.since_mark()
        self.stack.append({})
        self.set_all(items)

    def append(self, arg: Any) -> None:
        self.extend([self.stack.pop()])

    def appends(self, arg: Any) -> None:
        self.extend(self.since_mark())

    def extend(self, items: list[Any]) -> None:
        _require_values(items)
        if type(self.stack[-1]) is not list:
            raise FileError(f"has a pickle that appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def set_item(self, arg: Any) -> None:
        value = self.stack.pop()
        self.set_all([self.stack.pop(), value])

    def set_items(self, arg: Any) -> None:
        self.set_all(self.since_mark())

    def set_all(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict, Counter, defaultdict) or len(items) % 2:
            raise FileError(f"has a pickle that sets items of a {type(target).__name__}")
        _require_values(items[1::2])
        _require_keys(items[::2])
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def add_items(self, arg: Any) -> None:
        items = self.since_mark()
        _require_keys(items)
        if type(self.stack[-1]) is not set:
            raise FileError(f"has a pickle that adds items to a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(items)

    def frozen(self, arg: Any) -> None:
        items = self.since_mark()
        _require_keys(items)
        self.stack.append(frozenset(items))

    # --- names and calls
    def name(self, arg: Any) -> None:
        if arg is None:
            name, module = self.stack.pop(), self.stack.pop()
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
            raise FileError(_refusal(path))

    def call(self, arg: Any) -> None:
        args = self.stack.pop()
        function = self.stack.pop()
        if type(args) is not tuple:
            raise FileError("has a pickle that calls without a tuple of arguments")
        if isinstance(function, Known):
            self.work -= sum(len(x) for x in args if isinstance(x, _COPIED))
            if self.work < 0:
                raise FileError("has a pickle that copies far more than it holds")
            if function.call is None:
                raise FileError(f"has a pickle that makes a {function.name}, which Tensors lack")
            if function.name in _HASHED:
                _require_hashed(function.name, args)
            self.stack.append(function.call(*args))
        elif self.is_safe(function):
            self.stack.append(function(*args))
        else:
            raise FileError(f"has a pickle that calls a {type(function).__name__}")

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
        state = self.stack.pop()
        value = self.stack[-1]
        if type(value) in (OrderedDict, Counter, defaultdict) and type(state) is dict:
            vars(value).update(state)
        elif isinstance(value, np.dtype) or type(value) is np.ndarray:
            build_numpy(value, state)
        elif not self.is_safe(type(value)):
            raise FileError(f"has a pickle that sets the state of a {type(value).__name__}")
        elif hasattr(value, "__setstate__"):
            value.__setstate__(state_here(value, state))
        else:
            named, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
            vars(value).update(named or {})
            for name, item in (slots or {}).items():
                setattr(value, name, item)

    def persist(self, arg: Any) -> None:
        pid = self.stack.pop()
        if self.persistent is None:
            raise FileError("has a storage where none can be")
        self.stack.append(self.persistent(pid))


def _refusal(path: str) -> str:
    shown = path.removeprefix("builtins.")
    return (
        f"holds more than weights. Weights only load failed: Unsupported global: GLOBAL {path} was not an "
        "allowed global by default, since it could run code. If you trust the source of the file: load it "
        "with weights_only=False, or allow this name with "
        f"`torch.serialization.add_safe_globals([{shown}])` or "
        f"`torch.serialization.safe_globals([{shown}])` (WeightsUnpickler error)"
    )


def _require_values(values: Any, depth: int = 0) -> None:
    for value in values:
        if type(value) is tuple and depth < 3:
            _require_values(value, depth + 1)
        if isinstance(value, (Known, Storage, Kind)):
            name = getattr(value, "name", "torch.UntypedStorage")
            raise FileError(f"holds {name} itself as a value; expected tensors, numbers and containers")


def _require_keys(keys: Any, depth: int = 0) -> None:
    """A tuple that holds itself many times has a hash that takes exponential time."""
    for key in keys:
        if isinstance(key, tuple) and depth < 2 and len(key) <= 16:
            _require_keys(key, depth + 1)
        elif type(key) not in _KEYS and not isinstance(key, (np.dtype, rv.dtype)):
            raise FileError(f"has a pickle with a key of type {type(key).__name__}")


def _require_hashed(name: str, args: tuple[Any, ...]) -> None:
    """The arguments of a container's constructor: lists of keys, or of pairs of a key and a value."""
    for items in args:
        if type(items) in (list, tuple, set, frozenset):
            pairs = name in ("collections.OrderedDict", "collections.defaultdict")
            _require_keys([item[0] for item in items] if pairs else items)
        elif items is not None and not isinstance(items, (Known, dict)):
            raise FileError(f"has a pickle that makes a container of a {type(items).__name__}")


_STEPS: dict[str, Callable[[Unpickler, Any], None]] = {
    "PROTO": lambda self, arg: None,
    "FRAME": lambda self, arg: None,
    "STOP": lambda self, arg: None,
    "MARK": Unpickler.mark,
    "POP": Unpickler.pop,
    "POP_MARK": lambda self, arg: self.since_mark().clear(),
    "DUP": lambda self, arg: self.stack.append(self.stack[-1]),
    "LIST": lambda self, arg: self.push(self.since_mark()),
    "PUT": Unpickler.put,
    "BINPUT": Unpickler.put,
    "LONG_BINPUT": Unpickler.put,
    "MEMOIZE": Unpickler.put,
    "GET": lambda self, arg: self.stack.append(self.memo[int(arg)]),
    "BINGET": lambda self, arg: self.stack.append(self.memo[arg]),
    "LONG_BINGET": lambda self, arg: self.stack.append(self.memo[arg]),
    "TUPLE": lambda self, arg: self.push(tuple(self.since_mark())),
    "DICT": Unpickler.dictionary,
    "APPEND": Unpickler.append,
    "APPENDS": Unpickler.appends,
    "SETITEM": Unpickler.set_item,
    "SETITEMS": Unpickler.set_items,
    "ADDITEMS": Unpickler.add_items,
    "FROZENSET": Unpickler.frozen,
    "GLOBAL": Unpickler.name,
    "STACK_GLOBAL": Unpickler.name,
    "REDUCE": Unpickler.call,
    "NEWOBJ": Unpickler.new,
    "BUILD": Unpickler.build,
    "BINPERSID": Unpickler.persist,
}
