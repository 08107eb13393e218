"""Records the arguments of a layer's constructor, so that files can describe the layer, and tries them."""

from __future__ import annotations

import functools
import inspect
from operator import index
from typing import Any

import numpy as np

from ranvier.autograd.data import require_cpu as check_device
from ranvier.autograd.recording import recordings
from ranvier.extension import belongs_to

_PLAIN = (bool, int, float, str, type(None))


def record_arguments(cls: Any) -> None:
    """Wraps the ``__init__`` of a class: the instance keeps its arguments, and its op has accepted them."""
    init = cls.__dict__.get("__init__")
    if init is None:
        return
    signature = inspect.signature(init)
    takes = frozenset(signature.parameters)
    most = [*signature.parameters].index("dtype") if "dtype" in takes else 2**31

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs:
            kwargs = _translated(takes, kwargs)
        if len(args) >= most:  # PyTorch's order is (..., device, dtype)
            args = _without_device(args, most)
        outermost = "_arguments" not in self.__dict__  # a subclass, not its base
        if outermost:
            bound = signature.bind(self, *args, **kwargs).arguments
            self.__dict__["_arguments"] = dict(list(bound.items())[1:])
        init(self, *args, **kwargs)
        if outermost and not recordings and belongs_to(type(self).forward.__module__, "ranvier.nn"):
            example = self._example()
            if example is not None:
                self.training = False  # no random numbers are drawn, no statistics change
                self.forward(*example)
                self.training = True

    cls.__init__ = __init__


def _translated(takes: frozenset[str], settings: dict[str, Any]) -> dict[str, Any]:
    """The keywords without PyTorch's ``device``, which no layer here stores."""
    if "device" in settings and "device" not in takes and "dtype" in takes:
        device = settings["device"]
        settings = {name: value for name, value in settings.items() if name != "device"}
        if device is not None:
            check_device(device)
    return settings


def _without_device(args: tuple[Any, ...], most: int) -> tuple[Any, ...]:
    """The arguments, of which the one in the place of dtype may be PyTorch's device."""
    device = args[most - 1]
    if len(args) == most + 1 or (isinstance(device, str) and device.startswith(("cpu", "cuda", "mps"))):
        if device is not None:
            check_device(device)
        return (*args[: most - 1], *args[most:])
    return args


def whole(op: str, name: str, value: Any) -> int:
    """A setting that is a whole number, or a TypeError."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"[{op}] got {name} {value!r}; expected a whole number") from None


def number(op: str, name: str, value: Any) -> float:
    """A setting that is a number, or a TypeError."""
    try:
        return float(value + 0)  # no text
    except (TypeError, ValueError):
        raise TypeError(f"[{op}] got {name} {value!r}; expected a number") from None


def arguments_of(module: Any) -> dict[str, Any]:
    """See :meth:`Module.config`."""
    cls = type(module)
    if not cls.__module__.startswith("ranvier."):
        raise TypeError(
            f"[config] {cls.__name__} is not a layer of ranvier; only those can be made again from a file"
        )
    recorded = module.__dict__.get("_arguments", {})
    parameters = inspect.signature(cls.__init__).parameters
    config = {}
    for name, value in recorded.items():
        if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            continue  # children of a container
        now = module.__dict__.get(name)  # an attribute that was changed later (dropout.p)
        config[name] = _plain(cls.__name__, name, now if type(now) is type(value) else value)
    return config


def _plain(layer: str, name: str, value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(layer, name, item) for item in value]
    if isinstance(value, type) and issubclass(value, np.generic):  # np.float32 given as a dtype
        return np.dtype(value).name
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    if hasattr(value, "tolist"):  # the weights of a loss
        return value.tolist()
    if hasattr(value, "_module_names"):  # a layer that is repeated inside
        return {"layer": type(value).__name__, "arguments": arguments_of(value)}
    if hasattr(value, "kind") and hasattr(value, "name"):  # a dtype
        return str(value.name)
    raise TypeError(
        f"[config] argument {name!r} of {layer} is a {type(value).__name__}, which JSON cannot hold"
    )
