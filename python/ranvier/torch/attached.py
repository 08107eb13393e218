"""Changes classes of the core, when this library is in place of PyTorch, so that they look like PyTorch's.

Tensor is changed at once; layers, losses, optimizers and loaders when their modules are loaded.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

import ranvier._core as _core
import ranvier.torch.torch_function.dispatch as dispatch
from ranvier import Size, Tensor
from ranvier.extension import provide, show_in, when_loaded
from ranvier.nn import Module
from ranvier.ops.attach import Later
from ranvier.tensors.devices import makers
from ranvier.tensors.views import base_of
from ranvier.torch.installation.names import LACKING, METHODS, Lacking


class _SizeText:
    """The text of a Size in PyTorch's form; only its `__repr__` is used, by `attach`.

    It is a method so that its code is named `__repr__`: `Trace.text` (onnx/tracing.py) knows the text of a
    shape by this name.
    """

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"  # type: ignore[call-overload]


def attach() -> None:
    """Changes Tensor and Size, and the other classes when their modules are loaded."""
    Tensor.__torch_function__ = classmethod(dispatch.default)  # type: ignore[attr-defined]
    Tensor.as_subclass = dispatch.as_subclass  # type: ignore[attr-defined]
    Tensor.__new__ = _new  # type: ignore[method-assign]
    Tensor.__init_subclass__ = classmethod(_derived)  # type: ignore[assignment,arg-type]
    _core._set_offered(_offered)
    for kind in Tensor.__subclasses__():  # those that were derived before
        _derived(kind)
    makers["meta"] = lambda: importlib.import_module("ranvier.torch.tensors.meta")
    provide("complex numbers", "ranvier.torch.tensors.pair_functions")
    Size.__repr__ = _SizeText.__repr__
    for name, module in METHODS.items():
        setattr(Tensor, name, Later(module, name))
    known = dir(Tensor)
    for name in LACKING.split():
        if name not in known:
            setattr(Tensor, name, Lacking(name))
    Tensor._base = property(_base)  # type: ignore[attr-defined]
    Tensor._is_view = lambda tensor: tensor._view is not None  # type: ignore[attr-defined]
    Tensor.backward = _backward_by_autograd(Tensor.backward)
    show_in(Tensor, "torch")  # libraries look for it to tell tensors from arrays
    when_loaded("ranvier.nn", _to_layers)
    when_loaded("ranvier.ops.loss.base", _to_losses)
    when_loaded("ranvier.optim", _to_optimizers)
    when_loaded("ranvier.data.loader", _to_loaders)


def _new(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Tensor.__new__ for classes that call it with the data."""
    out: Tensor = object.__new__(cls)
    if args or kwargs:
        Tensor.__init__(out, *args, **kwargs)
    return out


def _base(tensor: Tensor) -> Any:
    """The tensor of which this one is a view; None if it is none."""
    if tensor._view is None:
        return None
    return base_of(tensor)


def _backward_by_autograd(own: Any) -> Any:
    """`Tensor.backward`, which calls `torch.autograd.backward`, if a program has replaced that."""

    @functools.wraps(own)
    def backward(self: Any, *args: Any, **settings: Any) -> Any:
        module = sys.modules.get("torch.autograd")
        function = None if module is None else vars(module).get("backward")
        if function is None or type(function) is _core.PublicFunction:
            return own(self, *args, **settings)
        return function(self, *args, **settings)

    return backward


def _derived(cls: Any, **kwargs: Any) -> None:
    """Tensor.__init_subclass__: after a program has derived a class, functions ask `__torch_function__`."""
    super(Tensor, cls).__init_subclass__(**kwargs)
    if not cls.__module__.startswith("ranvier.") and cls.__torch_function__ is not dispatch.silent:
        importlib.import_module("ranvier.torch.torch_function.activation").activate()


def _offered(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException
) -> Any:
    """The core calls it after an op has failed on an argument whose class has `__torch_function__`, before
    functions ask classes (`activation.py`). They ask from now on, and this call is made again.

    function: the op, without its public name.
    error: that of the first try.
    """
    importlib.import_module("ranvier.torch.torch_function.activation").activate()
    if isinstance(function, functools.partial):  # of an element-wise op: partial(compute, op)
        name = function.args[0].name
    else:
        name = function.__name__
    # By the public name: `activate` has put the method that asks there.
    method = getattr(Tensor, name.lstrip("_"), None)
    if method is None:
        raise error
    return method(*args, **kwargs)


def _to_layers() -> None:
    import ranvier.nn as nn

    def compiled(module: Any, **settings: Any) -> None:
        """The module's forward is captured from now on."""
        module.forward = importlib.import_module("ranvier").compile(module.forward, **settings)

    def shared(module: Module) -> Any:
        """Moves the parameters and buffers into memory that other processes have too."""
        return importlib.import_module("ranvier.torch.tensors.shared_memory").share_all(module)

    module: Any = nn.Module
    # attributes of PyTorch's Module that libraries read or call; nothing in this library does
    module.compile = compiled
    module.share_memory = shared
    module._replicate_for_data_parallel = _replica
    module._compiled_call_impl = None
    module.__constants__ = _Constants()
    nn.Parameter.__torch_function__ = dispatch.silent  # type: ignore[attr-defined]
    nn.Buffer.__torch_function__ = dispatch.silent  # type: ignore[attr-defined]


def _replica(module: Module) -> Any:
    """A copy of the module alone, on the same submodules and buffers, without parameters.

    PyTorch's DataParallel sets Tensors in the place of the parameters.
    """
    replica = copy.copy(module)
    for name in list(replica._parameters):
        del replica._parameters[name]
    replica._is_replica = True
    return replica


class _Constants:
    """`__constants__` of layers: the names of the settings, which TorchScript takes as constants.

    Classes that derive from layers add names of their own to the list.
    """

    _OTHERS = frozenset({"bias", "device", "dtype", "reduce", "self", "size_average", "weight"})

    def __get__(self, module: Module, cls: type) -> list[str]:
        own = next(base for base in cls.__mro__ if base.__module__.startswith("ranvier."))
        settings = inspect.signature(own).parameters.values()
        names = [p.name for p in settings if p.kind is not p.VAR_POSITIONAL and p.kind is not p.VAR_KEYWORD]
        if not names or len(names) < len(settings):  # Module itself, and containers
            text = f"type object {cls.__name__!r} has no attribute '__constants__'"
            raise AttributeError(text, name="__constants__", obj=cls)
        return [name for name in names if name not in self._OTHERS]


def _to_losses() -> None:
    from ranvier.ops.loss.base import Shapes

    Shapes.broadcast = True  # losses broadcast input and target, with PyTorch's warning


def _to_optimizers() -> None:
    from ranvier.optim import Optimizer, lr_scheduler
    from ranvier.torch.devices.machine import log_usage
    from ranvier.torch.training.optimizers import by_dtype

    # methods of PyTorch's Optimizer that optimizers of other libraries call
    Optimizer._patch_step_function = log_usage  # type: ignore[attr-defined]
    Optimizer._group_tensors_by_device_and_dtype = staticmethod(by_dtype)  # type: ignore[attr-defined]
    for kind in vars(lr_scheduler).values():  # programs compare it
        if isinstance(kind, type) and issubclass(kind, lr_scheduler.LRScheduler):
            show_in(kind, "torch.optim.lr_scheduler")


def _to_loaders() -> None:
    from ranvier.data import DataLoader

    # Libraries save a loader's state if it has one; PyTorch's has none. So a Trainer refuses checkpoints of a
    # fit on a loader (`Run._require_resumable`); arrays have their own source.
    del DataLoader.state_dict, DataLoader.load_state_dict
