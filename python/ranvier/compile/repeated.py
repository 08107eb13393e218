"""A Sequential of the library's layers, or a module of the user's, that is called again and again without
gradients is replayed.

Its calls are those of a compiled model (`compiled_model.py`), which the core keeps for it. Nobody has
asked for that, so the guards alone are not enough where code of the user's runs: code that stores anything
but its own variables is never replayed (`_stores`), whatever the guards say.
"""

from __future__ import annotations

import dis
import functools
from types import CodeType, FunctionType, MethodDescriptorType
from typing import Any
from weakref import ref

from ranvier.compile.compiled_model import ModelCall
from ranvier.compile.kinds import PACKAGE
from ranvier.compile.signature import tensors_of
from ranvier.nn import Module, Parameter
from ranvier.nn.often import REPLAY as KEY
from ranvier.nn.often import attach

# Bytes of parameters: a program has copies of them, and is freed by the garbage collector only.
_MOST = 1 << 22
# Products of a row and a weight, for each layer: with more of them, 0.05 ms, the few us that a replay saves
# are not worth its memory. It saves more of a convolution, which becomes one call with its norm and ReLU.
_PRODUCTS = 1 << 21
_RECORDINGS = 8  # then it runs as it is written for good: shapes or parameters change too often
# Files of layers. What looks rows up or loops over steps gains little, and its parameters are many.
_FILES = "activation", "container", "conv", "dropout", "linear", "norm", "pooling", "resample", "reshape"
_HOMES = {f"ranvier.nn.{file}" for file in _FILES}
# Instructions that may change what outlives a call, or that run code in pieces.
_STORES = (
    *("STORE_ATTR", "STORE_GLOBAL", "STORE_NAME", "STORE_SUBSCR", "STORE_SLICE", "STORE_DEREF", "DELETE_"),
    *("IMPORT_", "LOAD_BUILD_CLASS", "YIELD_", "SEND", "GET_AWAITABLE", "GET_AITER", "PRINT_EXPR"),
)


class Layers:
    """The forward pass of a module, without what its call is wrapped in."""

    step_root = "module"

    def __init__(self, module: Any) -> None:
        self.module = module

    @property
    def training(self) -> Any:
        return self.module.training

    def __call__(self, *args: Any) -> Any:
        return self.module.forward(*args)


class RepeatedCall(ModelCall):
    """The call of such a module, until it serves no more: then the module runs as it is written."""

    _clones = False

    def __init__(self, module: Any) -> None:
        self._shown = Layers(module)
        self._kind, self._model = Layers, lambda: None
        self.owner = module
        self._recordings = 0
        super().__init__(self._shown)
        self._serve(None, ref(module))

    def _code(self) -> int:
        return hash(tuple([id(type(m)) for m in Module.modules(self._function.module)]))

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        # Other threads predict side by side. A signal handler may come while this one records.
        if self._lock._is_owned() or not self._lock.acquire(blocking=False):  # type: ignore[attr-defined]
            return self._eager(args, kwargs)
        try:
            return super()._call(*args, **kwargs)
        finally:
            self._lock.release()

    def _record(
        self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any], checked: Any = None, walk: Any = None
    ) -> Any:
        if checked is None and is_long(self._function.module, args):
            return self._eager(args, kwargs)
        self._recordings += checked is None
        if self._recordings > _RECORDINGS or not is_replayed(self._function.module):
            self._end()  # a hook was added, or a layer of the user's
            return self._eager(args, kwargs)
        return super()._record(key, args, kwargs, checked, walk)

    def _objection(self, recording: Any, result: Any) -> str:
        if any(x._grad_fn is not None for x in tensors_of(result)):
            return "the result has a tape, which its code has switched on"
        codes = [code for code, _ in recording.executed.codes.values()]
        return next((f"{code.co_name} stores what outlives it" for code in codes if _stores(code)), "")

    def _warn(self, why: str) -> None:
        self._end()

    def _let_rest(self, calls: int) -> None:
        super()._let_rest(calls)
        if calls and self._recordings:  # replays do not pay
            self._end()

    def _end(self) -> None:
        attach(self._function.module, KEY, None)


def is_replayed(module: Any) -> bool:
    """Whether it may be worth a recording, and no code is known that has to run at each call."""
    if not all(map(_is_plain, Module.modules(module))):
        return False
    parameters = list(Module.parameters(module))
    size = sum(p.nbytes for p in parameters)
    return size <= _MOST and any(type(p) is Parameter and p.ndim > 1 for p in parameters)


def is_long(module: Any, args: tuple[Any, ...]) -> bool:
    """Whether the arithmetic of a call takes so long that a replay saves nothing."""
    layers = list(Module.modules(module))
    if any(type(layer).__module__ == "ranvier.nn.conv" for layer in layers):
        return False
    weights = sum(p.nbytes // p.itemsize for p in Module.parameters(module) if p.ndim > 1)
    rows = max(x.numel() // max(1, *x.shape[-1:], 1) for x in args)
    return rows * weights > _PRODUCTS * len(layers)


def _is_plain(module: Any) -> bool:
    kind = type(module)
    call: Any = kind.__call__
    forward: Any = kind.forward
    own = type(call) is MethodDescriptorType and call.__objclass__ is Module  # not wrapped
    if not own or module._rv_hooks is not None or "forward" in module.__dict__:
        return False
    if kind.__module__.startswith("ranvier."):
        return kind.__module__ in _HOMES and _is_own(forward)
    return type(forward) is FunctionType and not _stores(forward.__code__)


@functools.lru_cache(maxsize=4096)
def _stores(code: CodeType) -> bool:
    """Whether code may change what outlives its call: a replay would not do it again."""
    return any(
        step.opname.startswith(_STORES) and step.opname != "DELETE_FAST" for step in dis.Bytecode(code)
    )


def _is_own(method: Any) -> bool:
    """Whether a method is the library's: wrappers have their own code, whatever they call themselves."""
    return getattr(getattr(method, "__code__", None), "co_filename", "").startswith(PACKAGE)


def begin(module: Any, args: tuple[Any, ...]) -> Any:
    """The call of a module from now on, if such a call is replayed; None: it stays as it is."""
    if is_long(module, args):
        return None
    call = RepeatedCall(module) if is_replayed(module) else None
    attach(module, KEY, call)
    return call
