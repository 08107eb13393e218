"""Replays modules that are called often without gradients, although the user has not called `rv.compile`.

These are Sequentials of the library's layers and modules of the user's (`nn/call_counts.py` counts their
calls, and then calls `begin`). A `CompiledFunction` of the module's forward pass, which the core keeps with
the module, answers further calls. Since the user has not asked for replays, guards alone are not enough where
the user's code runs: code that stores anything except local variables is never replayed (`_stores`).
"""

from __future__ import annotations

import dis
import functools
from types import CodeType, FunctionType, MethodDescriptorType
from typing import TYPE_CHECKING, Any
from weakref import ref

from ranvier.compile.compiled_function import CompiledFunction
from ranvier.compile.compiled_model import off_tape
from ranvier.compile.guarding.origins import PACKAGE
from ranvier.compile.guarding.signature import tensors_of
from ranvier.compile.policy import Policy
from ranvier.nn import Module, Parameter
from ranvier.nn.call_counts import REPLAY as KEY, attach

if TYPE_CHECKING:
    from ranvier.tensors.recording import Recording

# The most bytes of parameters of a module that is replayed: a program has packed copies of the parameters,
# and is freed by the garbage collector only.
_MOST = 1 << 22
# The most multiplications for each layer. A layer with more takes over 0.05 ms, so that the few us which a
# replay saves are not worth its memory. Convolutions have no limit: a replay saves more there, since it makes
# a convolution, its norm and its ReLU one call.
_PRODUCTS = 1 << 21
# After this many recordings the module always runs eagerly: its shapes or parameters change too often.
_RECORDINGS = 8
# Files of layers that are replayed. Embeddings and recurrent layers gain little, and have many parameters.
_FILES = (
    "activation.piecewise", "activation.smooth", "activation.softmax", "container", "conv", "distance",
    "dropout", "linear", "norm", "pooling", "resample", "reshape",
)  # fmt: skip
_HOMES = {f"ranvier.nn.{file}" for file in _FILES}
# Instructions that may change objects which outlive a call, or that suspend the function.
_STORES = (
    *("STORE_ATTR", "STORE_GLOBAL", "STORE_NAME", "STORE_SUBSCR", "STORE_SLICE", "STORE_DEREF", "DELETE_"),
    *("IMPORT_", "LOAD_BUILD_CLASS", "YIELD_", "SEND", "GET_AWAITABLE", "GET_AITER", "PRINT_EXPR"),
)


class Layers:
    """The function that is compiled: a call of a module's `forward`, without its hooks and wrappers."""

    step_root = "module"  # in a step that calls this object, guards are on the module (`library_guards.py`)

    def __init__(self, module: Module) -> None:
        self.module = module

    @property
    def training(self) -> Any:  # `off_tape` asks for it
        return self.module.training

    def __call__(self, *args: Any) -> Any:
        return self.module.forward(*args)


class OfRepeated(Policy):
    """The policy of a module's replayed calls. If they do not pay, or a hook is added, the compiled function
    is taken from the module (`_end`), which then always runs as it is written."""

    forward_only = True
    clones = False
    is_kept = True

    def __init__(self) -> None:
        self._recordings = 0

    def code_of(self, function: Any) -> int:
        return super().code_of(function.module)

    def around_call(self, call: CompiledFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # The call is eager if another thread is replaying, so that threads run at the same time, or if this
        # thread is recording and a signal handler calls the module.
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
        _end(call)  # there are too many recordings, or a hook or a layer of the user's was added
        return False

    def after_recording(self, recording: Recording, result: object) -> str:
        if any(x._grad_fn is not None for x in tensors_of(result)):
            return "the result has a tape, which its code has switched on"
        for code, _ in recording.traced.codes.values():
            if _stores(code):
                return f"{code.co_name} stores what outlives it"
        return ""

    def when_refused(self, call: CompiledFunction, why: str) -> None:
        _end(call)

    def when_resting(self, call: CompiledFunction, calls: int) -> None:
        if calls and self._recordings:  # the function rests because replays do not pay
            _end(call)


def _end(call: CompiledFunction) -> None:
    """Takes the compiled function from its module."""
    attach(call._function.module, KEY, None)


def is_replayed(module: Module) -> bool:
    """True if a module may be worth a recording, and has no code that must run at each call, such as
    hooks."""
    if not all(map(_is_plain, Module.modules(module))):
        return False
    parameters = list(Module.parameters(module))
    size = sum(p.nbytes for p in parameters)
    return size <= _MOST and any(type(p) is Parameter and p.ndim > 1 for p in parameters)


def is_long(module: Module, args: tuple[Any, ...]) -> bool:
    """True if the arithmetic of a call takes so long that a replay saves nothing."""
    layers = list(Module.modules(module))
    if any(type(layer).__module__ == "ranvier.nn.conv" for layer in layers):
        return False
    weights = sum(p.nbytes // p.itemsize for p in Module.parameters(module) if p.ndim > 1)
    rows = max(x.numel() // max(1, *x.shape[-1:], 1) for x in args)
    return rows * weights > _PRODUCTS * len(layers)


def _is_plain(module: Module) -> bool:
    """True if calling a module only runs its `forward`, and that is replayable code."""
    kind = type(module)
    call: Any = kind.__call__
    forward: Any = kind.forward
    own = type(call) is MethodDescriptorType and call.__objclass__ is Module  # `__call__` is not replaced
    if not own or module._rv_hooks is not None or "forward" in module.__dict__:
        return False
    if kind.__module__.startswith("ranvier."):
        # A wrapper of a layer's forward may have copied its name and module, but its code is in another file.
        file = getattr(getattr(forward, "__code__", None), "co_filename", "")
        return kind.__module__ in _HOMES and file.startswith(PACKAGE)
    return type(forward) is FunctionType and not _stores(forward.__code__)


@functools.lru_cache(maxsize=4096)
def _stores(code: CodeType) -> bool:
    """True if code may change an object that outlives its call, which a replay would not do again."""
    steps = dis.Bytecode(code)
    return any(step.opname.startswith(_STORES) and step.opname != "DELETE_FAST" for step in steps)


def begin(module: Module, args: tuple[Any, ...]) -> Any:
    """The compiled function that answers the calls of a module from now on; None: they stay as they are.

    args: of the present call, all Tensors.
    """
    if is_long(module, args):
        return None
    if not is_replayed(module):
        attach(module, KEY, None)
        return None
    call = CompiledFunction(Layers(module), policy=OfRepeated())
    call._serve(None, ref(module))
    attach(module, KEY, call)
    return call
