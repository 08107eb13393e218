"""The arguments of the constructors of layers.

`check_arguments` makes each new layer try its op, so that a wrong argument is an error at once.
`arguments_of` reads the arguments from the attributes of a layer, for files. `settings_text` shows them.
"""

from __future__ import annotations

import functools
import inspect
import operator
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier.nn.functional as F
from ranvier.extension import belongs_to
from ranvier.observe import observers
from ranvier.tensors import errors
from ranvier.tensors.devices import (
    CPU,
    contexts,
    device as on_device,
    get_default_device,
    is_meta,
    require_cpu,
)
from ranvier.tensors.dtypes import default

if TYPE_CHECKING:
    from ranvier.tensors.types import DeviceLike

_PLAIN = (bool, int, float, str, type(None))


def check_arguments(cls: Any) -> None:
    """Wraps the ``__init__`` of a class: it then takes the argument ``device`` of PyTorch, too, and calls the
    new layer once on ``_example()``, so that the op refuses wrong settings at once."""
    if "__init__" not in cls.__dict__:
        return
    init = cls.__init__  # This lookup makes a function of a partialmethod.
    signature = inspect.signature(init)
    takes = frozenset(signature.parameters)
    flags = {name for name, parameter in signature.parameters.items() if isinstance(parameter.default, bool)}
    if "dtype" in takes:
        most = [*signature.parameters].index("dtype")
    else:
        most = 2**31

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        device = None
        # No layer of this package stores it.
        if "device" in kwargs and "device" not in takes and "dtype" in takes:
            kwargs, device = dict(kwargs), kwargs["device"]
            del kwargs["device"]
        if len(args) >= most:  # In PyTorch the last arguments are device and dtype.
            args, device = _without_device(args, most, device)
        if device is not None:
            if not is_meta(device):
                require_cpu(device)
            if contexts or is_meta(device):
                with on_device(device):
                    return __init__(self, *args, **kwargs)
        kind = type(self)
        if kind._maker is not cls:  # The __init__ of a subclass calls this one, and checks its own arguments.
            return init(self, *args, **kwargs)
        try:
            for name, value in (*zip([*signature.parameters][1:], args, strict=False), *kwargs.items()):
                if name in flags and getattr(value, "ndim", False):
                    raise TypeError(f"[{kind.__name__}] got {name} {value!r}; expected True or False")
            init(self, *args, **kwargs)
            # `contexts` also has the devices of other threads, and one of its devices may be the CPU.
            skips = observers or (contexts and get_default_device() != CPU)
            if not skips and belongs_to(kind.__module__, "ranvier.nn"):
                example = None if F._is_replaced() else self._example()
                on_meta = (x is not None and x.is_meta for x in self._parameters.values())
                if example is not None and not any(on_meta):
                    self.training = False  # So forward draws no random numbers and changes no statistics.
                    self.forward(*example)
                    self.training = True
        except Exception as error:
            # An error without a further frame is of Python: the arguments do not fit the signature. Its
            # message has the name of the function.
            no_call = error.__traceback__.tb_next is None  # type: ignore[union-attr]
            if no_call or not belongs_to(kind.__module__, "ranvier"):
                raise
            raise errors.renamed(error, kind.__name__, init, (self, *args), kwargs) from None

    cls.__init__ = __init__
    cls._maker = cls
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    cls._usual = {**getattr(cls, "_usual", {}), **defaults}


def evaluate_annotations(cls: Any) -> None:
    """Replaces the annotations of a class, which are texts, by the types that they name. Libraries call
    `typing.get_type_hints` with an instance, and it would look for the names in the wrong module."""
    space = vars(sys.modules[cls.__module__])
    for name, text in vars(cls).get("__annotations__", {}).items():
        # A name may be missing here: it is imported only for type checkers, or its class is defined later.
        with suppress(NameError):
            cls.__annotations__[name] = Any
            cls.__annotations__[name] = eval(text, space) if isinstance(text, str) else text


def settings_text(module: Any, shown: tuple[str, ...]) -> str:
    """The text of settings for repr. shown has their names: "*name" shows only the value, and "name?" shows
    the setting only if it is not the default of the constructor."""
    if shown and "inplace" not in " ".join(shown) and module.__dict__.get("inplace"):
        shown = (*shown, "inplace")
    words = []
    for entry in shown:
        name = entry.strip("*?")
        value = getattr(module, name)
        if name == "bias" and not isinstance(value, bool):
            value = value is not None
        is_array = getattr(value, "shape", ()) != ()
        if entry[-1] != "?" or is_array or value != type(module)._usual[name]:
            text = repr(value) if isinstance(value, str) else str(value)
            words.append(text if entry[0] == "*" else f"{name}={text}")
    return ", ".join(words)


def _without_device(
    args: tuple[Any, ...], most: int, device: DeviceLike | None
) -> tuple[tuple[Any, ...], Any]:
    """(arguments without the device, device). PyTorch has device before dtype, and a call may give only
    device. most: the place of dtype among the arguments, counted with self."""
    given = args[most - 1]
    if len(args) == most + 1 or (isinstance(given, str) and given.startswith(("cpu", "cuda", "mps", "meta"))):
        return (*args[: most - 1], *args[most:]), given
    return args, device


def arguments_of(module: Any) -> dict[str, Any]:
    """The arguments of the constructor that are not the defaults, for JSON; they make an equal layer.

    An argument is read from the attribute with its name, or from the attribute path that ``_paths`` of the
    class has for it. Raises TypeError for a class from outside this package, or an argument that JSON cannot
    hold.
    """
    cls = module.__class__
    if not cls.__module__.startswith("ranvier."):
        raise TypeError(
            f"[config] {cls.__name__} is not a layer of ranvier; only those can be made again from a file"
        )
    if cls._paths is None:
        raise TypeError(f"[config] got a {cls.__name__} without sizes; expected a call of the model first")
    arguments = {}
    for name, parameter in [*inspect.signature(cls.__init__).parameters.items()][1:]:
        if name == "dtype":
            dtypes = [t.dtype for t in (*module.parameters(), *module.buffers()) if t.dtype.kind == "f"]
            if dtypes and dtypes[0] != default.dtype:
                arguments[name] = dtypes[0].name
            continue
        try:
            value = operator.attrgetter(cls._paths.get(name, name))(module)
        except AttributeError:  # The layer inside that has the attribute was replaced, or there is none.
            continue
        if isinstance(parameter.default, bool) and not isinstance(value, bool):  # a bias: a Tensor or None
            value = value is not None
        if parameter.kind is not inspect.Parameter.VAR_POSITIONAL and not _same(value, parameter.default):
            arguments[name] = _plain(cls.__name__, name, value)
    return arguments


def _same(value: Any, usual: Any) -> bool:
    return value is usual or (type(value) is type(usual) and type(value) in _PLAIN and value == usual)


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
    if hasattr(value, "_modules"):  # a layer that is repeated inside
        return {"layer": type(value).__name__, "arguments": arguments_of(value)}
    if hasattr(value, "kind") and hasattr(value, "name"):  # a dtype
        return str(value.name)
    raise TypeError(
        f"[config] argument {name!r} of {layer} is a {type(value).__name__}, which JSON cannot hold"
    )
