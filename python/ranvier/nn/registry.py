"""What a Module keeps of its names, values and arguments.

`record_arguments` keeps the arguments of a layer's constructor, so that files can describe the layer, and
tries the layer's op with them; `whole`, `count` and `number` check settings. `Registry` is what
`_parameters`, `_buffers` and `_modules` give, which PyTorch's programs read and change; `submodule` and
`value_at` find what is at a path.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator
from types import MethodDescriptorType
from typing import Any

import numpy as np

from ranvier.autograd import errors
from ranvier.autograd.data import refuse_torch
from ranvier.autograd.data import require_cpu as check_device
from ranvier.autograd.errors import whole
from ranvier.autograd.recording import recordings
from ranvier.extension import belongs_to

_MISSING = object()


def attribute(module: Any, name: str) -> Any:
    """``module.__getattr__(name)``: PyTorch's programs look up layers with it."""
    if name not in module.__dict__:
        raise AttributeError(f"{type(module).__name__!r} object has no attribute {name!r}")
    return module.__dict__[name]


class Attributes:  # a base where ``__getattr__`` is called only, as each lookup is slower with it
    __getattr__ = attribute


def look_up(cls: type) -> None:
    """Lets Python call ``__getattr__`` of a class."""
    if not issubclass(cls, Attributes):
        cls.__bases__ = (*cls.__bases__, Attributes)


def submodule(module: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        if name not in module._module_names:
            raise AttributeError(f"{type(module).__name__} has no layer {name!r}")
        module = module._modules[name]
    return module


def set_submodule(module: Any, path: str, new: Any, strict: bool, kind: type) -> None:
    owner, _, name = path.rpartition(".")
    if not name or not isinstance(new, kind):
        raise ValueError(
            f"[set_submodule] got {path!r} and {type(new).__name__}; expected a path, as 'a.b', and a Module"
        )
    parent = submodule(module, owner)
    if name in parent._module_names or not (strict or hasattr(parent, name)):
        setattr(parent, name, new)
    else:
        raise AttributeError(f"{type(parent).__name__} has no layer {name!r}")


def value_at(module: Any, names: str, path: str) -> Any:
    """The parameter or buffer at a path; names: the attribute that lists those of a module."""
    owner, _, name = path.rpartition(".")
    module = submodule(module, owner)
    if name not in getattr(module, names) or module.__dict__[name] is None:
        kind = names.strip("_").split("_")[0]
        raise AttributeError(f"{type(module).__name__} has no {kind} {name!r}")
    return module.__dict__[name]


class Registry(dict[str, Any]):
    """The values of one kind by name. What is set or deleted here changes the module."""

    __slots__ = ("_kind", "_module")

    def __init__(self, module: Any, kind: str) -> None:
        super().__init__({name: module.__dict__[name] for name in getattr(module, kind)})
        self._module, self._kind = module, kind

    def __setitem__(self, name: str, value: Any) -> None:
        if not (value is None or hasattr(value, "_array" if self._kind != MODULES else "forward")):
            refuse_torch(type(self._module).__name__, f"{name!r}", value)
            raise TypeError(f"cannot assign {type(value).__name__} as {name!r} of {self._kind.strip('_')}")
        place(self._module, self._kind, name, value)
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        delattr(self._module, name)

    def pop(self, name: str, default: Any = _MISSING) -> Any:
        if name not in self and default is not _MISSING:
            return default
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        name = next(reversed(self))
        return name, self.pop(name)

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *given: Any, **named: Any) -> None:
        for name, value in dict(*given, **named).items():
            self[name] = value

    def clear(self) -> None:
        for name in list(self):
            del self[name]

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def copy(self) -> dict[str, Any]:
        return dict(self)

    __copy__ = copy


PARAMETERS, BUFFERS, MODULES = KINDS = "_parameter_names", "_buffer_names", "_module_names"


def items_of(kind: str, module: Any) -> Iterable[tuple[str, Any]]:
    """The names and values of one kind."""
    attributes = module.__dict__
    names = attributes[kind]
    return [(name, attributes[name]) for name in names] if names else ()


def values_of(modules: list[Any], kind: str) -> Iterator[Any]:
    """The values of one kind, each once."""
    values: dict[Any, None] = {}
    for module in modules:
        attributes = module.__dict__
        for name in attributes[kind]:
            values[attributes[name]] = None
    values.pop(None, None)  # of a layer without bias
    return iter(values)


def place(module: Any, kind: str, name: str, value: Any) -> None:
    """Makes a value an attribute of one kind, without a check."""
    attributes = module.__dict__
    attributes[kind].setdefault(name, True if kind == BUFFERS else None)
    for other in KINDS:
        if other != kind:
            attributes[other].pop(name, None)
    attributes[name] = value  # also under the name of a property, which reads it then, as in PyTorch ...
    if isinstance(getattr(type(module), name, None), property):
        look_up(type(module))  # ... or fails: then `__getattr__` finds it


def registry(kind: str) -> Any:
    """A property that gives the values of one kind by name; set, it replaces all."""

    def values(module: Any) -> Registry:
        return Registry(module, kind)

    def replace(module: Any, new: Any) -> None:
        attributes, new = module.__dict__, dict(new)
        names = attributes[kind]
        for name in names:
            attributes.pop(name, None)
        attributes[kind] = {}  # where __dict__ is a copy of another module's, `names` are that one's
        values(module).update(new)
        attributes[kind].update({name: names[name] for name in new if name in names})  # persistent buffers

    return property(values, replace)


def check(module: Any, what: str, name: Any, own: Any, value: Any, kind: type) -> None:
    """Refuses a name that is no string, empty, with a dot (paths have dots), or that of another attribute,
    and a value that is neither of this kind nor None."""
    if not isinstance(name, str):
        raise TypeError(f"[register_{what}] got name {name!r}; expected a string")
    if not name or "." in name:
        raise KeyError(f"[register_{what}] got name {name!r}; expected one without dots that is not empty")
    if hasattr(module, name) and name not in own:
        raise KeyError(f"attribute {name!r} already exists")
    if not (value is None or isinstance(value, kind)):
        refuse_torch(f"register_{what}", f"{what} {name!r}", value)
        raise TypeError(
            f"cannot assign {type(value).__name__} as {what} {name!r}; expected a {kind.__name__} or None"
        )


# a part of names of torch.nn and torch.nn.functional, and what those are for
_ABSENT = {
    "3d": "volumes (N, C, D, H, W) are",
    "quant": "quantised arithmetic is",
    "qat": "quantised arithmetic is",
    "sparse": "sparse arithmetic is",
    "fractional": "pooling of random regions is",
    "linear_cross": "cross_entropy(linear(x, weight), target) is the same; this name is",
    "linearcross": "CrossEntropyLoss of a Linear is the same; this name is",
    "crossmaplrn": "LocalResponseNorm is the same; this name is",
    "nllloss2d": "NLLLoss takes images; this name is",
}


def absent(module: str, name: str) -> AttributeError:
    """The error for a name that a module lacks; it says why where the name is one of PyTorch's."""
    why = next((text for part, text in _ABSENT.items() if part in name.lower()), None)
    ending = "" if why is None else f": {why} not part of this library (docs/versions.md)"
    return AttributeError(f"module {module!r} has no attribute {name!r}{ending}")


class CallSignature:
    """``inspect.signature(module)``, which would parse the text of a method of the core at each call."""

    _SIGNATURE = inspect.Signature(
        [
            inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
            inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
        ]
    )

    def __get__(self, module: Any, kind: Any) -> inspect.Signature:
        if module is None or not isinstance(kind.__call__, MethodDescriptorType):
            raise AttributeError("__signature__")  # that of the class, or of a subclass's own call
        return self._SIGNATURE


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
            try:
                bound = signature.bind(self, *args, **kwargs).arguments
            except TypeError:
                init(self, *args, **kwargs)  # raises Python's error, with the name
                raise
            self.__dict__["_arguments"] = dict(list(bound.items())[1:])
        try:
            init(self, *args, **kwargs)
            if outermost and not recordings and belongs_to(type(self).forward.__module__, "ranvier.nn"):
                example = self._example()
                if example is not None:
                    self.training = False  # no random numbers are drawn, no statistics change
                    self.forward(*example)
                    self.training = True
        except Exception as error:
            if outermost and belongs_to(type(self).__module__, "ranvier"):
                raise errors.renamed(error, type(self).__name__, init, (self, *args), kwargs) from None
            raise

    cls.__init__ = __init__
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    cls._usual = {**getattr(cls, "_usual", {}), **defaults}


def settings_text(module: Any, shown: tuple[str, ...]) -> str:
    """Settings by name: "*name" is the value alone, "name?" only where it is not that of the constructor."""
    if shown and "inplace" not in " ".join(shown) and module.__dict__.get("inplace"):
        shown = (*shown, "inplace")
    words = []
    for entry in shown:
        name = entry.strip("*?")
        value = getattr(module, name)
        if name == "bias" and not isinstance(value, bool):
            value = value is not None
        if entry[-1] != "?" or value != module._usual[name]:
            text = repr(value) if isinstance(value, str) else str(value)
            words.append(text if entry[0] == "*" else f"{name}={text}")
    return ", ".join(words)


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


def count(layer: str, name: str, value: Any, least: int = 1) -> int:
    """A setting that is a whole number of at least this, or a ValueError."""
    number = whole(layer, name, value)
    if isinstance(value, bool) or number < least:
        raise ValueError(f"[{layer}] got {name} {value!r}; expected a whole number >= {least}")
    return number


def counts(layer: str, axes: int, **settings: tuple[Any, int]) -> None:
    """Checks settings that are one whole number, or one for each axis: name=(value, least)."""
    for name, (value, least) in settings.items():
        sizes = value if isinstance(value, (tuple, list)) else (value,) * axes
        if len(sizes) != axes:
            raise ValueError(f"[{layer}] got {name} {value!r}; expected {axes} numbers")
        for size in sizes:
            count(layer, name, size, least)


def number(op: str, name: str, value: Any) -> float:
    """A setting that is a number, or a TypeError."""
    return float(errors.number(op, name, value))


def arguments_of(module: Any) -> dict[str, Any]:
    """See :meth:`Module.config`."""
    cls = module.__class__
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
