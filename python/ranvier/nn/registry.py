"""The names and values of a Module.

`Registry` is `_parameters`, `_buffers` and `_modules`, which PyTorch's programs read and change; `submodule`
and `value_at` find what is at a path; `counts` checks settings.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from copy import deepcopy
from types import MethodDescriptorType, NoneType
from typing import Any
from weakref import ref

from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import count

_MISSING = object()
# A satellite (a package beside the library) may keep numbers in another form than a Tensor, in objects that
# have this method.
OTHER_FORM = "_as_parameter"
_setdefault = dict.setdefault


def attribute(module: Any, name: str) -> Any:
    """``module.__getattr__(name)``: PyTorch's programs look up layers with it."""
    if name not in module.__dict__:
        raise AttributeError(f"{type(module).__name__!r} object has no attribute {name!r}")
    return module.__dict__[name]


# A base only of classes whose ``__getattr__`` is called: with it each failed lookup is slower.
class Attributes:
    __getattr__ = attribute


def look_up(cls: type) -> None:
    """Lets Python call ``__getattr__`` of a class."""
    if not issubclass(cls, Attributes):
        cls.__bases__ = (*cls.__bases__, Attributes)


def submodule(module: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        if name not in module.__dict__[MODULES]:
            raise AttributeError(f"{type(module).__name__} has no layer {name!r}")
        module = module.__dict__[name]
    return module


def set_submodule(module: Any, path: str, new: Any, strict: bool, kind: type) -> None:
    owner, _, name = path.rpartition(".")
    if not name or not isinstance(new, kind):
        raise ValueError(
            f"[set_submodule] got {path!r} and {type(new).__name__}; expected a path, as 'a.b', and a Module"
        )
    parent = submodule(module, owner)
    if name in parent.__dict__[MODULES] or not (strict or hasattr(parent, name)):
        setattr(parent, name, new)
    else:
        raise AttributeError(f"{type(parent).__name__} has no layer {name!r}")


def value_at(module: Any, names: str, path: str) -> Any:
    """The parameter or buffer at a path. names: which registry of the module has it."""
    owner, _, name = path.rpartition(".")
    module = submodule(module, owner)
    if name not in module.__dict__[names] or module.__dict__[name] is None:
        kind = names.strip("_s")
        raise AttributeError(f"{type(module).__name__} has no {kind} {name!r}")
    return module.__dict__[name]


class ByItems:
    """The methods of a dict that change it, made of ``self[name] = value`` and ``del self[name]``."""

    __slots__ = ()

    def pop(self: Any, name: str, default: Any = _MISSING) -> Any:
        if name not in self and default is not _MISSING:
            return default
        value = self[name]
        del self[name]
        return value

    def popitem(self: Any) -> tuple[str, Any]:
        name = list(self)[-1]
        return name, self.pop(name)

    def setdefault(self: Any, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self: Any, *given: Any, **named: Any) -> None:
        for name, value in dict(*given, **named).items():
            self[name] = value

    def clear(self: Any) -> None:
        for name in list(self):
            del self[name]

    def __ior__(self: Any, other: Any) -> Any:
        self.update(other)
        return self


class Registry(ByItems, dict[str, Any]):
    """The values of one kind (parameters, buffers or modules) by name, in the ``__dict__`` of a module. They
    are also attributes of the module: setting or deleting a value here changes the module."""

    __slots__ = ("_kind", "_owner")
    _owner: Any

    def __init__(self, module: Any, kind: str = "", values: Any = ()) -> None:
        # A program that copies a dict by `type(values)(pairs)` calls this with pairs alone: the copy belongs
        # to no module.
        if not kind:
            values = module
        if values:
            super().__init__(values)
        self._owner = ref(module) if kind else NoneType
        self._kind = kind

    def is_of(self, module: Any) -> bool:
        """True if this registry belongs to the module, or to one with the same ``__dict__``."""
        owner = self._owner()
        return owner is module or (owner is not None and owner.__dict__ is module.__dict__)

    def __setitem__(self, name: str, value: Any) -> None:
        module = self._owner()
        if not (value is None or hasattr(value, "_array" if self._kind != MODULES else "forward")):
            # Any other value is taken, as PyTorch's dict does.
            refuse_torch(type(module).__name__, f"{name!r}", value)
        super().__setitem__(name, value)
        if module is not None:
            place(module, self._kind, name, value)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        if (module := self._owner()) is not None:
            module.__dict__.pop(name, None)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(dict(self), memo)

    def copy(self) -> dict[str, Any]:
        return dict(self)

    __copy__ = copy


# Libraries of trees (nested containers) that know a container by its exact type, and that have been told of
# Registry once they are loaded.
_TREES = {"jax", "optree"}


def _register_in_trees() -> None:
    """Tells the libraries of trees that are loaded how to take a Registry apart: as a dict, in the order of
    its sorted keys."""
    if "jax" in _TREES and hasattr(sys.modules.get("jax"), "tree_util"):
        _TREES.discard("jax")
        jax = sys.modules["jax"].tree_util
        jax.register_pytree_with_keys(
            Registry,
            lambda held: ([(jax.DictKey(name), held[name]) for name in sorted(held)], tuple(sorted(held))),
            lambda names, values: dict(zip(names, values, strict=True)),
        )
    if "optree" in _TREES and hasattr(sys.modules.get("optree"), "register_pytree_node"):
        _TREES.discard("optree")
        optree = sys.modules["optree"]
        optree.register_pytree_node(
            Registry,
            lambda held: ([held[name] for name in sorted(held)], tuple(sorted(held)), tuple(sorted(held))),
            lambda names, values: dict(zip(names, values, strict=True)),
            path_entry_type=optree.MappingEntry,
            namespace=optree.registry.__GLOBAL_NAMESPACE,
        )


class Transient(set[str]):
    """The names of a module's buffers that are no part of its state dict."""

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Transient:
        return Transient(self)

    def __repr__(self) -> str:
        return repr(set(self))


PARAMETERS, BUFFERS, MODULES = KINDS = "_parameters", "_buffers", "_modules"
_OTHERS = {kind: [other for other in KINDS if other != kind] for kind in KINDS}
TRANSIENT = "_non_persistent_buffers_set"


def items_of(kind: str, module: Any) -> Iterable[tuple[str, Any]]:
    """The names and values of one kind."""
    attributes = module.__dict__
    names = attributes[kind]
    if names:
        return [(name, attributes[name]) for name in names]
    return ()


def values_of(modules: Iterable[Any], kind: str) -> Iterator[Any]:
    """The values of one kind, each once. It is a generator, so that `next(model.parameters())` is quick."""
    seen: set[Any] = {None}  # None is never yielded: it is the bias of a layer without one.
    for module in modules:
        attributes = module.__dict__
        if names := attributes[kind]:
            for value in [attributes[name] for name in names]:
                if value not in seen:
                    seen.add(value)
                    yield value


def place(module: Any, kind: str, name: str, value: Any) -> None:
    """Makes a value an attribute of one kind, without a check."""
    attributes = module.__dict__
    for other in _OTHERS[kind]:
        if name in attributes[other]:
            dict.pop(attributes[other], name)
            attributes[TRANSIENT].discard(name)
    # This is faster than an assignment where the name is new.
    if _setdefault(attributes[kind], name, value) is not value:
        dict.__setitem__(attributes[kind], name, value)
    # This holds also for the name of a property, which can read the value from __dict__, as in PyTorch.
    attributes[name] = value
    if isinstance(getattr(type(module), name, None), property):
        look_up(type(module))  # If the property raises AttributeError, `__getattr__` finds the value.


def replace(module: Any, name: str, value: Any) -> None:
    """Writes None to the registry that has this name. Refuses other values: they are not of its kind."""
    for kind, expected in zip(KINDS, ("a Parameter", "a Tensor", "a Module"), strict=True):
        if name not in (names := module.__dict__[kind]):
            continue
        if value is None:
            return dict.__setitem__(names, name, None)
        text = f"{kind[1:-1]} {name!r}"
        refuse_torch(type(module).__name__, text, value)
        raise TypeError(f"cannot assign {type(value).__name__} as {text}; expected {expected} or None")


def put(attributes: dict[str, Any], name: str, value: Any) -> None:
    """Gives a parameter or buffer another value, without a check."""
    attributes[name] = value
    for kind in (PARAMETERS, BUFFERS):
        if name in attributes[kind]:
            dict.__setitem__(attributes[kind], name, value)


def adopt(module: Any, kind: str, values: Any) -> Registry:
    """Makes a registry of these values and gives it to the module."""
    attributes = module.__dict__
    for other in KINDS:  # A program may set the registries one by one, so others can still be missing.
        attributes.setdefault(other, {})
    attributes.setdefault(TRANSIENT, Transient())
    new = attributes[kind] = Registry(module, kind)
    new.update(values)
    return new


def registry(kind: str) -> Any:
    """A property: the registry of one kind. Setting it replaces all names and values."""

    def values(module: Any) -> Any:
        if not sys.modules.keys().isdisjoint(_TREES):
            _register_in_trees()
        try:
            found = module.__dict__[kind]
        except KeyError:
            raise AttributeError(f"{type(module).__name__!r} object has no attribute {kind!r}") from None
        own = type(found) is Registry and found.is_of(module)
        if own:
            return found
        return adopt(module, kind, found)

    def replace(module: Any, new: Any) -> None:
        attributes, new = module.__dict__, dict(new)
        for name in attributes.get(kind, ()):
            attributes.pop(name, None)
        # Where __dict__ is a copy of another module's, the other module keeps its own registry.
        adopt(module, kind, new)

    return property(values, replace)


def check(module: Any, what: str, name: Any, own: Any, value: Any, kind: type) -> None:
    """Refuses a name that is no string, is empty, has a dot (paths have dots), or belongs to another
    attribute; and a value that is neither of this kind nor None."""
    if not isinstance(name, str):
        raise TypeError(f"[register_{what}] got name {name!r}; expected a string")
    if not name or "." in name:
        raise KeyError(f"[register_{what}] got name {name!r}; expected one without dots that is not empty")
    if hasattr(module, name) and name not in own:
        raise KeyError(f"attribute {name!r} already exists")
    if not (value is None or isinstance(value, kind) or (what == "buffer" and hasattr(value, OTHER_FORM))):
        refuse_torch(f"register_{what}", f"{what} {name!r}", value)
        raise TypeError(
            f"cannot assign {type(value).__name__} as {what} {name!r}; expected a {kind.__name__} or None"
        )


# {part of names of torch.nn and torch.nn.functional: what these names are for}
_ABSENT = {
    "3d": "volumes (N, C, D, H, W) are",
    "quant": "static quantization and training of quantized weights (rv.quantize makes them) are",
    "qat": "static quantization and training of quantized weights (rv.quantize makes them) are",
    "sparse": "sparse arithmetic is",
    "fractional": "pooling of random regions is",
    "linear_cross": "cross_entropy(linear(x, weight), target) is the same; this name is",
    "linearcross": "CrossEntropyLoss of a Linear is the same; this name is",
    "crossmaplrn": "LocalResponseNorm is the same; this name is",
    "nllloss2d": "NLLLoss takes images; this name is",
}


def absent(module: str, name: str) -> AttributeError:
    """The error for a name that a module lacks. If the name is one of PyTorch's, the error says why."""
    why = next((text for part, text in _ABSENT.items() if part in name.lower()), None)
    if why is None:
        ending = ""
    else:
        ending = f": {why} not part of this library (docs/versions.md)"
    return AttributeError(f"module {module!r} has no attribute {name!r}{ending}")


class CallSignature:
    """The result of ``inspect.signature(module)``: without it, inspect would parse the text of a method of
    the core at each call."""

    _SIGNATURE = inspect.Signature(
        [
            inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
            inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
        ]
    )

    def __get__(self, module: Any, kind: Any) -> inspect.Signature:
        if module is None or not isinstance(kind.__call__, MethodDescriptorType):
            # Without it, inspect takes the signature of the class, or of the __call__ that a subclass
            # defines.
            raise AttributeError("__signature__")
        return self._SIGNATURE


def counts(layer: str, axes: int, **settings: tuple[Any, int]) -> None:
    """Checks settings that are one whole number, or one for each axis: name=(value, least value)."""
    for name, (value, least) in settings.items():
        if isinstance(value, (tuple, list)):
            sizes = value
        else:
            sizes = (value,) * axes
        if len(sizes) != axes:
            raise ValueError(f"[{layer}] got {name} {value!r}; expected {axes} numbers")
        for size in sizes:
            count(layer, name, size, least)
