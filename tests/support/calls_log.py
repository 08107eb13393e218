"""The calls of the core that a run makes: names, parameters, and where their arrays lie in memory."""

import ast
import contextlib
import gc
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CellType
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import _core
from ranvier.autograd.function import Function

Array = np.ndarray[Any, Any]
# what changes no arrays, is no part of a step, or only asks about memory
_NO_KERNELS = (
    "supported_isas isa set_isa get_num_threads set_num_threads get_flush_denormal set_flush_denormal "
    "usable_cpus set_alone set_busy memory_stats reset_peak_memory empty_cache get_winograd set_winograd "
    "permute pools_over_channels probe_fma probe_bandwidth probe_barrier paced allow_conv_algorithm "
    "share_memory"
)


def _signatures() -> dict[str, dict[str, Any]]:
    """Parameters and their defaults of each function of the core, from its stub."""
    tree = ast.parse((Path(rv.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name not in _NO_KERNELS.split():
            names = [a.arg for a in node.args.args]
            defaults = [ast.literal_eval(d) for d in node.args.defaults]
            found[node.name] = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
            found[node.name] = {name: found[node.name].get(name) for name in names}
    return found


SIGNATURES = _signatures()


@dataclass
class Operand:
    """An array of a call: where it lies, and its elements before and after the call."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any
    root: tuple[int, int]  # address and bytes of the memory that it is a view of
    before: Array
    after: Array | None = None

    @property
    def form(self) -> Any:
        return self.shape, self.strides, self.dtype.str


@dataclass
class Call:
    name: str
    given: dict[str, Any]
    result: Any = None


@dataclass
class Log:
    """The calls of one run, and the memory that was there before."""

    calls: list[Call] = field(default_factory=list)
    made: dict[int, int] = field(default_factory=dict)  # memory that calls made: address, bytes
    lasting: dict[int, Array] = field(default_factory=dict)  # other memory, by address


def mapped(f: Callable[[Any], Any], x: Any) -> Any:
    """A tree of lists and tuples with f of each leaf."""
    return type(x)(mapped(f, item) for item in x) if type(x) in (list, tuple) else f(x)


def leaves(x: Any) -> Iterator[Any]:
    if type(x) in (list, tuple):
        for item in x:
            yield from leaves(item)
    else:
        yield x


def root_of(array: Array) -> Array:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Logged:
    """A function of the core that notes its calls; no Python function, which classes would bind."""

    def __init__(self, name: str, function: Any, log: Log) -> None:
        self.name, self.function, self.log = name, function, log

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        parameters = SIGNATURES[self.name]
        values = {**parameters, **dict(zip(parameters, args, strict=False)), **kwargs}
        arrays: list[tuple[Array, Operand]] = []
        call = Call(self.name, {name: self._noted(v, arrays) for name, v in values.items()})
        result = self.function(*args, **kwargs)
        for array, operand in arrays:
            operand.after = array.copy()
        call.result = mapped(self._result, result)
        self.log.calls.append(call)
        return result

    def _noted(self, value: Any, arrays: list[tuple[Array, Operand]]) -> Any:
        def noted(x: Any) -> Any:
            if not isinstance(x, np.ndarray):
                return x
            operand = self._operand(x)
            address = operand.root[0]
            if address not in self.log.made and address not in self.log.lasting:
                self.log.lasting[address] = root_of(x)
            arrays.append((x, operand))
            return operand

        return mapped(noted, value)

    def _result(self, x: Any) -> Any:
        if not isinstance(x, np.ndarray):
            return x
        operand = self._operand(x)
        if operand.root[0] not in self.log.lasting:
            self.log.made[operand.root[0]] = operand.root[1]
        return operand

    def _operand(self, x: Array) -> Operand:
        root = root_of(x)
        place = root.ctypes.data, root.nbytes
        return Operand(x.ctypes.data, x.shape, x.strides, x.dtype, place, np.array(x, copy=True))


# --- logging: the functions are replaced where any module, class or closure of the library holds them
Put = Callable[[Any], None]


def _places() -> list[tuple[Put, Any]]:
    """How to put something in the place of each function of the core, and the function, or a tuple with it.

    Found once, as the tests take their objects away from the collector.
    """
    for part in (rv.ops, rv.nn, rv.optim, rv.autograd):
        for module in pkgutil.walk_packages(part.__path__, f"{part.__name__}."):
            importlib.import_module(module.name)
    functions = [getattr(_core, name) for name in SIGNATURES]
    tables = [x for x in gc.get_referrers(*functions) if type(x) is tuple]
    wanted = {id(value) for value in (*functions, *tables)}
    kinds = [x for x in gc.get_objects() if isinstance(x, type) and issubclass(x, (Function, rv.nn.Module))]
    spaces = {id(space): kind for kind in kinds for space in gc.get_referents(kind) if type(space) is dict}
    found: list[tuple[Put, Any]] = []
    for owner in gc.get_referrers(*functions, *tables):
        if isinstance(owner, CellType):
            found.append((partial(setattr, owner, "cell_contents"), owner.cell_contents))
        elif type(owner) is dict:
            kind = spaces.get(id(owner))
            for key in [key for key in owner if id(owner[key]) in wanted]:
                # a class has to know of the change, for its cache
                put = partial(setattr, kind, key) if kind else partial(owner.__setitem__, key)
                found.append((put, owner[key]))
    return found


@contextlib.contextmanager
def logged() -> Iterator[Log]:
    log = Log()
    functions = {id(getattr(_core, name)): Logged(name, getattr(_core, name), log) for name in SIGNATURES}
    try:
        for put, value in PLACES:
            put(mapped(lambda x: functions.get(id(x), x), value))
        yield log
    finally:
        for put, value in PLACES:
            put(value)


PLACES = _places()
