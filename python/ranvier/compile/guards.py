"""Guards on values: what a step has read, as the core compares it before each replay."""

from __future__ import annotations

import abc
import functools
import itertools
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ranvier.autograd.tensor import Tensor
from ranvier.compile.kinds import (
    CONTAINERS,
    FOLLOWED_NO_FURTHER,
    HOLDS_FUNCTIONS,
    LARGEST,
    MOST,
    Kind,
    is_listed,
)

Text = str | tuple[str, str]  # with the name of the value in between
# kind, owner, key and expected, as the core takes them (cpp/bindings/guards.h); where, in words
Guard = tuple[int, Any, Any, Any, Text]


class Guards:
    """The guards of one recorded step, and the values that are still to be followed.

    Attributes:
        guards: in the order in which they were found; add: appends one.
        of_library: on its classes and modules, by the id of each; they come after the others.
        fault: why the step cannot be guarded, or "".
        tensors: those that were reached.
        names: of attributes in the user's code; dynamic: it may look up others; looks_up: it may look for
            some that do not exist.
        forward_only: no gradients are computed.
    """

    names: set[str]
    dynamic: bool
    looks_up: bool

    def __init__(self, fault: str, forward_only: bool = False) -> None:
        self.fault, self.forward_only = fault, forward_only
        self.guards: list[Guard] = []
        self.add = self.guards.append
        self.of_library: dict[int, Guard] = {}
        self.tensors: list[Tensor] = []
        self.stack: list[tuple[Any, str]] = []
        self.seen: dict[Any, Any] = {}  # by id

    def all(self) -> list[Guard]:
        """All guards, in the order of places."""
        return [*self.guards, *self.of_library.values()]

    def text(self, place: int) -> str:
        """What a guard that does not hold is on, in words."""
        _, owner, _, expected, text = self.all()[place]
        if isinstance(text, str):
            return text
        pairs = zip(expected[::2], expected[1::2], strict=True)
        name = next((n for n, value in pairs if owner.get(n, NotImplemented) is not value), "?")
        return f"{text[0]}{name}{text[1]}"

    def items(
        self, owner: dict[Any, Any], names: Iterable[Any], before: str, after: str = "", follow: bool = True
    ) -> None:
        """A guard on the items of a dict with these names, be they there or not."""
        values: list[Any] = []
        for name in names:
            value = owner.get(name, NotImplemented)
            values += [name, value]
            if follow and type(value) not in FOLLOWED_NO_FURTHER:
                self.stack.append((value, f"{before}{name}{after}"))
        if values:
            self.add((Kind.ITEMS, owner, None, tuple(values), (before, after)))

    def whole(self, owner: dict[Any, Any], text: Text) -> None:
        """A guard on all items of a dict."""
        self.add((Kind.DICT, owner, "", tuple(itertools.chain.from_iterable(owner.items())), text))

    def call(self, function: Callable[[Any], Any], x: Any, text: str) -> None:
        """A guard on what a function gives for x."""
        self.add((Kind.CALL, functools.partial(function, x), "", function(x), text))

    def deny(self, text: str, what: str, remedy: str = "") -> None:
        """The step cannot be guarded, for this value; the first reason stays."""
        if not self.fault:
            remedy = remedy or "use it outside the step and pass what it gives as an argument"
            self.fault = f"the step depends on {text}, {what}; {remedy}"

    def container(self, base: type, x: Any, text: str) -> None:
        """A guard on the items of x, which are followed. base: the class in CONTAINERS that x is one of."""
        kind, compared, inner = CONTAINERS[base]  # what the guard compares, and what is followed
        if hasattr(x, "__len__") and len(x) > (LARGEST if base is bytearray else MOST):
            what = f"a {type(x).__name__} of {len(x)} items, too many to be compared before each replay"
            self.deny(text, what)
            return
        contents = () if type(x) in (dict, list, tuple) and not x else inner(x)
        if base in HOLDS_FUNCTIONS:
            self.callable_parts(contents, text)
        if compared is not None and kind == Kind.CALL:
            self.call(compared, x, f"the items of {text}")
        elif compared is not None:
            self.add((kind, x, "", contents if compared is inner else compared(x), f"the items of {text}"))
        for item in contents:
            if type(item) not in FOLLOWED_NO_FURTHER:
                self.stack.append((item, text))

    def callable_parts(self, functions: Iterable[Any], text: str) -> None:
        """Functions that C code may call, such as those of a partial: no profiler's event tells of that."""
        for f in functions:
            if isinstance(f, types.BuiltinFunctionType) and not is_listed(f):
                self.deny(text, f"which calls {f.__name__}")

    def array(self, x: Any, text: str, layout: bool) -> None:
        """The elements of an array of NumPy; layout: its strides and flags, too."""
        if type(x) is not np.ndarray or x.dtype.hasobject or x.nbytes > LARGEST:
            what = f"an array of {x.nbytes} bytes" if type(x) is np.ndarray else f"a {type(x).__name__}"
            remedy = "make it a Tensor outside the step (rv.tensor), which a replay reads as it is"
            self.deny(text, f"{what} (dtype {x.dtype}), whose elements are not compared", remedy)
            return
        self.numpy()
        self.add((Kind.ARRAY, x, "", np.array(x, order="C"), f"the elements of {text}"))
        if layout:
            self.call(_layout_of, x, f"the layout of {text}")

    def numpy(self) -> None:
        """A guard, made once, on np.errstate: by it, arithmetic of NumPy warns or raises, or does not."""
        if "numpy" not in self.seen:
            self.seen["numpy"] = True
            self.add((Kind.CALL, _error_handling, "", _error_handling(), "np.errstate"))

    def abstract_classes(self) -> None:
        """A guard on their registrations, which change what isinstance() and `match` say."""
        self.add((Kind.CALL, abc.get_cache_token, "", abc.get_cache_token(), "the abstract classes"))


def is_empty(cell: Any) -> bool:
    """Whether a variable of a closure has no value as yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def names_in(kind: type) -> tuple[str, ...]:
    return tuple(vars(kind))


def _layout_of(x: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    return x.strides, x.flags.num


# The object that holds NumPy's error settings, a new one after each change; else a new object at each call.
_current_settings: Callable[[], Any] = getattr(
    getattr(sys.modules.get("numpy._core.umath"), "_extobj_contextvar", None), "get", object
)


def _error_handling() -> Any:
    """What np.seterr and np.errstate have set."""
    return _settings_in(_current_settings())


@functools.lru_cache(maxsize=1)  # np.geterr() takes some us, and a replay would call it each time
def _settings_in(settings: object) -> tuple[Any, ...]:
    return *np.geterr().values(), np.geterrcall(), np.getbufsize()
