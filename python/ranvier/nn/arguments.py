"""The arguments of the constructors of layers.

Module (nn/module.py) calls `check_arguments` for each class of this package: a new layer then tries its op,
so that a wrong argument is an error at once. `arguments_of` reads the arguments from the attributes of a
layer, for files of models. `settings_text` shows them.
"""

from __future__ import annotations

import functools
import inspect
import operator
import sys
from contextlib import suppress
from types import FunctionType
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
    """Wraps the ``__init__`` of a class of layers.

    It then takes the argument ``device`` of PyTorch, too, refuses arrays where True or False is expected, and
    calls the new layer once on ``_example()``, so that the op refuses wrong settings at once. The class
    attributes ``_maker`` (the class whose ``__init__`` runs last) and ``_usual`` (the defaults) are set.
    """
    if "__init__" not in cls.__dict__:
        return
    init = cls.__init__  # This lookup makes a function of a partialmethod.
    defaults = _defaults_of(init)
    names = list(defaults)  # with "self"
    flags = {name for name, default in defaults.items() if isinstance(default, bool)}
    takes_dtype = "dtype" in names
    takes_device = "device" in names
    dtype_place = names.index("dtype") if takes_dtype else 2**31  # with self; no call has so many

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        device = None
        if "device" in kwargs and takes_dtype and not takes_device:
            kwargs = dict(kwargs)
            device = kwargs.pop("device")  # No layer of this package stores it.
        if len(args) >= dtype_place:  # In PyTorch the last arguments are device and dtype.
            args, device = _without_device(args, dtype_place, device)
        if device is not None:
            if not is_meta(device):
                require_cpu(device)
            if contexts or is_meta(device):
                with on_device(device):
                    return __init__(self, *args, **kwargs)
        layer_class = type(self)
        if layer_class._maker is not cls:  # The __init__ of a subclass calls this one, and checks, too.
            return init(self, *args, **kwargs)
        try:
            by_place = zip(names[1:], args, strict=False)
            for name, value in (*by_place, *kwargs.items()):
                if name in flags and getattr(value, "ndim", False):
                    raise TypeError(f"[{layer_class.__name__}] got {name} {value!r}; expected True or False")
            init(self, *args, **kwargs)
            # `contexts` also has the devices of other threads, and one of its devices may be the CPU.
            on_other_device = contexts and get_default_device() != CPU
            if not observers and not on_other_device and belongs_to(layer_class.__module__, "ranvier.nn"):
                _try_forward(self)
        except Exception as error:
            # An error without a further frame is of Python: the arguments do not fit the signature. Its
            # message has the name of the function.
            no_call = error.__traceback__.tb_next is None  # type: ignore[union-attr]
            if no_call or not belongs_to(layer_class.__module__, "ranvier"):
                raise
            raise errors.renamed(error, layer_class.__name__, init, (self, *args), kwargs) from None

    cls.__init__ = __init__
    cls._maker = cls
    cls._usual = {**getattr(cls, "_usual", {}), **defaults}


def _defaults_of(function: Any) -> dict[str, Any]:
    """The default of each parameter of a function; inspect.Parameter.empty of those without one.

    They are read from the code, because a signature takes 7 times as long, which is most of the time in which
    a class of layers is made.
    """
    is_partial = function.__module__ == "functools"  # made by a partialmethod
    if type(function) is not FunctionType or is_partial or hasattr(function, "__wrapped__"):
        parameters = inspect.signature(function).parameters
        return {name: parameter.default for name, parameter in parameters.items()}
    code = function.__code__
    by_place = code.co_varnames[: code.co_argcount]
    by_name = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    others = list(code.co_varnames[code.co_argcount + code.co_kwonlyargcount :])
    names = list(by_place)
    if code.co_flags & inspect.CO_VARARGS:  # *args
        names.append(others.pop(0))
    names += by_name
    if code.co_flags & inspect.CO_VARKEYWORDS:  # **kwargs
        names.append(others.pop(0))
    defaults: dict[str, Any] = dict.fromkeys(names, inspect.Parameter.empty)
    given = function.__defaults__ or ()
    defaults.update(zip(by_place[len(by_place) - len(given) :], given, strict=True))
    defaults.update(function.__kwdefaults__ or {})
    return defaults


def _try_forward(layer: Any) -> None:
    """Calls a new layer on its example, if it has one, so that its op checks the settings."""
    example = layer._example()
    if example is None:
        return
    on_meta = (parameter is not None and parameter.is_meta for parameter in layer._parameters.values())
    if any(on_meta) or F._is_replaced():  # The functions of a program may count their calls.
        return
    layer.training = False  # So forward draws no random numbers and changes no statistics.
    layer.forward(*example)
    layer.training = True


def evaluate_annotations(cls: Any) -> None:
    """Replaces the annotations of a class, which are texts, by the types that they name. Libraries call
    `typing.get_type_hints` with an instance, and it would look for the names in the wrong module."""
    space = vars(sys.modules[cls.__module__])
    for name, text in vars(cls).get("__annotations__", {}).items():
        # A name may be missing here: it is imported only for type checkers, or its class is defined later.
        with suppress(NameError):
            cls.__annotations__[name] = Any  # This stays if the evaluation fails.
            if isinstance(text, str):
                cls.__annotations__[name] = eval(text, space)
            else:
                cls.__annotations__[name] = text


def settings_text(module: Any, shown: tuple[str, ...]) -> str:
    """The text of a layer's settings for repr, as "8, eps=1e-05".

    shown: their names. "*name" shows only the value, and "name?" shows the setting only if it is not the
    default of the constructor.
    """
    if shown and "inplace" not in " ".join(shown) and module.__dict__.get("inplace"):
        shown = (*shown, "inplace")
    words = []
    for entry in shown:
        name = entry.strip("*?")
        value = getattr(module, name)
        if name == "bias" and not isinstance(value, bool):
            value = value is not None
        is_array = getattr(value, "shape", ()) != ()
        if entry.endswith("?") and not is_array and value == type(module)._usual[name]:
            continue
        text = repr(value) if isinstance(value, str) else str(value)
        if entry.startswith("*"):
            words.append(text)
        else:
            words.append(f"{name}={text}")
    return ", ".join(words)


def _without_device(
    args: tuple[Any, ...], dtype_place: int, device: DeviceLike | None
) -> tuple[tuple[Any, ...], Any]:
    """(arguments without the device, device).

    PyTorch has device before dtype, and a call may give only device. dtype_place: the place of dtype in the
    signature, counted with self; args are without self.
    """
    place = dtype_place - 1
    value = args[place]  # a device or a dtype
    has_both = len(args) == dtype_place + 1
    names_device = isinstance(value, str) and value.startswith(("cpu", "cuda", "mps", "meta"))
    if has_both or names_device:
        return (*args[:place], *args[place + 1 :]), value
    return args, device


def arguments_of(module: Any) -> dict[str, Any]:
    """The arguments of the constructor that are not the defaults, for JSON; they make an equal layer.

    An argument is read from the attribute with its name, or from the attribute path that ``_paths`` of the
    class has for it, as "norm1.eps". Raises TypeError for a class from outside this package, or an argument
    that JSON cannot hold.
    """
    cls = module.__class__
    if not cls.__module__.startswith("ranvier."):
        raise TypeError(
            f"[config] {cls.__name__} is not a layer of ranvier; only those can be made again from a file"
        )
    if cls._paths is None:
        raise TypeError(f"[config] got a {cls.__name__} without sizes; expected a call of the model first")
    arguments = {}
    parameters = inspect.signature(cls.__init__).parameters
    for name, parameter in parameters.items():
        if name == "self":
            continue
        if name == "dtype":
            dtype = _float_dtype(module)
            if dtype is not None and dtype != default.dtype:
                arguments[name] = dtype.name
            continue
        try:
            value = operator.attrgetter(cls._paths.get(name, name))(module)
        except AttributeError:  # The layer inside that has the attribute was replaced, or there is none.
            continue
        if isinstance(parameter.default, bool) and not isinstance(value, bool):  # a bias: a Tensor or None
            value = value is not None
        is_star = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        if not is_star and not _is_default(value, parameter.default):
            arguments[name] = _plain(cls.__name__, name, value)
    return arguments


def _float_dtype(module: Any) -> np.dtype[Any] | None:
    """The dtype of the first parameter or buffer of floats."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dtype.kind == "f":
            return tensor.dtype
    return None


def _is_default(value: Any, default: Any) -> bool:
    if value is default:
        return True
    return type(value) is type(default) and type(value) in _PLAIN and value == default


def _plain(layer: str, name: str, value: Any) -> Any:
    """The value of an argument as JSON can hold it. layer, name: of the argument, for the error."""
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
