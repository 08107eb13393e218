"""A Sequential of the library's layers, or a module of the user's, that is called again and again without
gradients is replayed.

Its calls are those of a compiled model (`compiled_model.py`), which the core keeps for it. The user has not
asked for replays, so guards alone are not enough where the user's code runs: code that stores anything but
local variables is never replayed (`_stores`).
"""

from __future__ import annotations

import dis
import functools
from types import CodeType, FunctionType, MethodDescriptorType
from typing import Any
from weakref import ref

from ranvier.compile.compiled_function import CompiledFunction
from ranvier.compile.compiled_model import off_tape
from ranvier.compile.origins import PACKAGE
from ranvier.compile.policy import Policy
from ranvier.compile.signature import tensors_of
from ranvier.nn import Module, Parameter
from ranvier.nn.often import REPLAY as KEY
from ranvier.nn.often import attach

# Bytes of parameters: a program has copies of them, and is freed by the garbage collector only.
_MOST = 1 << 22
# Products of a row and a weight, for each layer: with more of them, 0.05 ms, the few us that a replay saves
# are not worth its memory. It saves more of a convolution, which becomes one call with its norm and ReLU.
_PRODUCTS = 1 << 21
_RECORDINGS = 8  # after this many it always runs eagerly: shapes or parameters change too often
# Files of layers that are replayed. Embeddings and recurrent layers gain little, and have many parameters.
_FILES = (
    "activation", "container", "conv", "distance", "dropout", "linear", "norm", "pooling", "resample",
    "reshape",
)  # fmt: skip
_HOMES = {f"ranvier.nn.{file}" for file in _FILES}
# Instructions that may change objects which outlive a call, or that suspend the function.
_STORES = (
    *("STORE_ATTR", "STORE_GLOBAL", "STORE_NAME", "STORE_SUBSCR", "STORE_SLICE", "STORE_DEREF", "DELETE_"),
    *("IMPORT_", "LOAD_BUILD_CLASS", "YIELD_", "SEND", "GET_AWAITABLE", "GET_AITER", "PRINT_EXPR"),
)


class Layers:
    """The forward pass of a module, without its hooks and wrappers."""

    step_root = "module"

    def __init__(self, module: Any) -> None:
        self.module = module

    @property
    def training(self) -> Any:
        return self.module.training

    def __call__(self, *args: Any) -> Any:
        return self.module.forward(*args)


class OfRepeated(Policy):
    """The policy of such a call, until it serves no more: then the module runs as it is written."""

    forward_only, clones, is_kept = True, False, True

    def __init__(self) -> None:
        self._recordings = 0

    def code_of(self, function: Any) -> int:
        return super().code_of(function.module)

    def around_call(self, call: CompiledFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Other threads predict side by side. A signal handler may come while this one records.
        lock: Any = call._lock
        if lock._is_owned() or not lock.acquire(blocking=False):
            return call._eager(args, kwargs)
        try:
            return off_tape(call, args, kwargs)
        finally:
            lock.release()

    def before_recording(self, call: CompiledFunction, args: tuple[Any, ...], is_check: bool) -> bool:
        module = call._function.module
        if not is_check and is_long(module, args):
            return False
        self._recordings += not is_check
        if self._recordings <= _RECORDINGS and is_replayed(module):
            return True
        _end(call)  # a hook was added, or a layer of the user's
        return False

    def after_recording(self, recording: Any, result: Any) -> str:
        if any(x._grad_fn is not None for x in tensors_of(result)):
            return "the result has a tape, which its code has switched on"
        codes = [code for code, _ in recording.executed.codes.values()]
        return next((f"{code.co_name} stores what outlives it" for code in codes if _stores(code)), "")

    def when_refused(self, call: CompiledFunction, why: str) -> None:
        _end(call)

    def when_resting(self, call: CompiledFunction, calls: int) -> None:
        if calls and self._recordings:  # replays do not pay
            _end(call)


def _end(call: CompiledFunction) -> None:
    attach(call._function.module, KEY, None)


def is_replayed(module: Any) -> bool:
    """True if it may be worth a recording, and no code is known that has to run at each call."""
    if not all(map(_is_plain, Module.modules(module))):
        return False
    parameters = list(Module.parameters(module))
    size = sum(p.nbytes for p in parameters)
    return size <= _MOST and any(type(p) is Parameter and p.ndim > 1 for p in parameters)


def is_long(module: Any, args: tuple[Any, ...]) -> bool:
    """True if the arithmetic of a call takes so long that a replay saves nothing."""
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
        # wrappers have their own code, whatever they call themselves
        file = getattr(getattr(forward, "__code__", None), "co_filename", "")
        return kind.__module__ in _HOMES and file.startswith(PACKAGE)
    return type(forward) is FunctionType and not _stores(forward.__code__)


@functools.lru_cache(maxsize=4096)
def _stores(code: CodeType) -> bool:
    """True if code may change what outlives its call: a replay would not do it again."""
    steps = dis.Bytecode(code)
    return any(step.opname.startswith(_STORES) and step.opname != "DELETE_FAST" for step in steps)


def begin(module: Any, args: tuple[Any, ...]) -> Any:
    """The call of a module from now on, if such a call is replayed; None: it stays as it is."""
    if is_long(module, args):
        return None
    call = CompiledFunction(Layers(module), policy=OfRepeated()) if is_replayed(module) else None
    if call is not None:
        call._serve(None, ref(module))
    attach(module, KEY, call)
    return call
