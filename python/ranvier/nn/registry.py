"""The three registries of a Module: the names and values of its parameters, buffers and children.

A Module (nn/module.py) has three dictionaries in its ``__dict__``: `_parameters`, `_buffers` and `_modules`.
Each is a `Registry`, which programs written for PyTorch read and change. A registered value is also an
ordinary attribute of the module, so that reading it costs no call; the functions of this file write both
places. `submodule` and `value_at` find what is at a path such as "features.3"; `counts` checks settings.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from copy import deepcopy
from types import MethodDescriptorType, NoneType
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import count

if TYPE_CHECKING:
    from ranvier.tensors.tensor import Tensor

_MISSING = object()  # the default of `ByItems.pop`: None is a value that a program may want
# A satellite (a package that uses this library) may store numbers in objects that are no Tensors. Such an
# object has this method, and is registered like a Tensor.
AS_PARAMETER = "_as_parameter"
_setdefault = dict.setdefault


class ModuleLike(Protocol):
    """A Module: its class stands in nn/module.py, which imports this file."""

    training: bool

    def forward(self, *args: Any, **kwargs: Any) -> Any: ...


def attribute(module: ModuleLike, name: str) -> Any:
    """``module.__getattr__(name)``: programs written for PyTorch look up layers with it."""
    if name not in module.__dict__:
        raise AttributeError(f"{type(module).__name__!r} object has no attribute {name!r}")
    return module.__dict__[name]


class Attributes:
    """A base that adds ``__getattr__``. Only classes that need it get it, because a class with
    ``__getattr__`` looks up all attributes more slowly."""

    __getattr__ = attribute


def enable_getattr(cls: type) -> None:
    """Adds ``__getattr__`` to a class of modules, by a further base."""
    if not issubclass(cls, Attributes):
        cls.__bases__ = (*cls.__bases__, Attributes)


def submodule(module: ModuleLike, path: str) -> Any:
    """The module at a path such as "features.3"; the module itself for an empty path."""
    if not path:
        return module
    for name in path.split("."):
        if name not in module.__dict__[MODULES]:
            raise AttributeError(f"{type(module).__name__} has no layer {name!r}")
        module = module.__dict__[name]
    return module


def set_submodule(module: ModuleLike, path: str, new: ModuleLike, strict: bool, module_class: type) -> None:
    """Puts a module at a path. strict: the path must already have a module.

    module_class is `Module`, which this file cannot import.
    """
    owner, _, name = path.rpartition(".")
    if not name or not isinstance(new, module_class):
        raise ValueError(
            f"[set_submodule] got {path!r} and {type(new).__name__}; expected a path, as 'a.b', and a Module"
        )
    parent = submodule(module, owner)
    has_layer = name in parent.__dict__[MODULES]
    is_free = not hasattr(parent, name)
    if not has_layer and (strict or not is_free):
        raise AttributeError(f"{type(parent).__name__} has no layer {name!r}")
    setattr(parent, name, new)


def value_at(module: ModuleLike, registry: str, path: str) -> Any:
    """The parameter or buffer at a path. registry: PARAMETERS or BUFFERS, where it is looked for."""
    owner, _, name = path.rpartition(".")
    module = submodule(module, owner)
    if name not in module.__dict__[registry] or module.__dict__[name] is None:
        noun = registry.strip("_s")  # "parameter" or "buffer", without the underscore and the plural
        raise AttributeError(f"{type(module).__name__} has no {noun} {name!r}")
    return module.__dict__[name]


class ByItems:
    """The methods of a dict that change it, written with ``self[name] = value`` and ``del self[name]``.

    A base of `Registry` and of the containers of nn/container.py, which define these two statements: so each
    change reaches the module.
    """

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

    def update(self: Any, *pairs: Any, **named: Any) -> None:
        for name, value in dict(*pairs, **named).items():
            self[name] = value

    def clear(self: Any) -> None:
        for name in list(self):
            del self[name]

    def __ior__(self: Any, other: Any) -> Any:
        self.update(other)
        return self


class Registry(ByItems, dict[str, Any]):
    """The parameters, the buffers or the children of a module by name, stored in its ``__dict__``.

    They are also attributes of the module: setting or deleting a value here changes the module.

    Args:
        module: the module, to which the registry has a weak reference.
        registry: the name of this registry, PARAMETERS, BUFFERS or MODULES. A program that copies a dict
            by ``type(values)(pairs)`` gives pairs alone, in the place of the module: that copy belongs to no
            module.
        values: the first values, which are attributes of the module already.
    """

    __slots__ = ("_owner", "_registry")
    _owner: Any

    def __init__(self, module: Any, registry: str = "", values: Any = ()) -> None:
        if registry:
            self._owner = ref(module)
        else:
            self._owner = NoneType  # called without arguments it returns None, as the reference to nothing
            values = module
        self._registry = registry
        if values:
            super().__init__(values)

    def belongs_to(self, module: ModuleLike) -> bool:
        """True if this is the registry of the module, or of one with the same ``__dict__``."""
        owner = self._owner()
        return owner is module or (owner is not None and owner.__dict__ is module.__dict__)

    def __setitem__(self, name: str, value: Any) -> None:
        module = self._owner()
        if self._registry == MODULES:
            expected = "forward"  # the attribute that a module has
        else:
            expected = "_array"  # the attribute that a Tensor has
        if value is not None and not hasattr(value, expected):
            # Only PyTorch's own objects are refused. Anything else is stored, as PyTorch's dict does.
            refuse_torch(type(module).__name__, f"{name!r}", value)
        super().__setitem__(name, value)
        if module is not None:
            register_value(module, self._registry, name, value)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        module = self._owner()
        if module is not None:
            module.__dict__.pop(name, None)

    # Copies and pickles are dicts, of which `Module.__setstate__` makes registries of the new module.
    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(dict(self), memo)

    def copy(self) -> dict[str, Any]:
        return dict(self)

    __copy__ = copy


# Libraries that map functions over trees (nested containers) know a container by its exact type, so they have
# to be told of Registry. This set has those that have not been told yet: they may be loaded later.
_TREE_LIBRARIES = {"jax", "optree"}


def _register_in_tree_libraries() -> None:
    """Tells the libraries of trees that are loaded how to take a Registry apart: as a dict, in the order of
    its sorted keys."""
    if "jax" in _TREE_LIBRARIES and hasattr(sys.modules.get("jax"), "tree_util"):
        _TREE_LIBRARIES.discard("jax")
        _register_in_jax(sys.modules["jax"].tree_util)
    if "optree" in _TREE_LIBRARIES and hasattr(sys.modules.get("optree"), "register_pytree_node"):
        _TREE_LIBRARIES.discard("optree")
        _register_in_optree(sys.modules["optree"])


def _register_in_jax(tree_util: Any) -> None:
    def flatten(registry: Registry) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
        names = tuple(sorted(registry))
        return [(tree_util.DictKey(name), registry[name]) for name in names], names

    tree_util.register_pytree_with_keys(Registry, flatten, _joined)


def _register_in_optree(optree: Any) -> None:
    def flatten(registry: Registry) -> tuple[list[Any], tuple[str, ...], tuple[str, ...]]:
        names = tuple(sorted(registry))
        return [registry[name] for name in names], names, names

    optree.register_pytree_node(
        Registry,
        flatten,
        _joined,
        path_entry_type=optree.MappingEntry,
        namespace=optree.registry.__GLOBAL_NAMESPACE,
    )


def _joined(names: tuple[str, ...], values: Iterable[Any]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


class Transient(set[str]):
    """The names of a module's buffers that are no part of its state dict."""

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Transient:
        return Transient(self)

    def __repr__(self) -> str:
        return repr(set(self))


# The names of the registries in the ``__dict__`` of a module.
PARAMETERS = "_parameters"
BUFFERS = "_buffers"
MODULES = "_modules"
REGISTRIES = (PARAMETERS, BUFFERS, MODULES)
_OTHER_REGISTRIES = {
    PARAMETERS: (BUFFERS, MODULES),
    BUFFERS: (PARAMETERS, MODULES),
    MODULES: (PARAMETERS, BUFFERS),
}
# The name of the set of buffers that a state dict leaves out, also in the ``__dict__``.
TRANSIENT = "_non_persistent_buffers_set"


def named_values(registry: str, module: ModuleLike) -> Iterable[tuple[str, Any]]:
    """The names and values in one registry of a module."""
    attributes = module.__dict__
    names = attributes[registry]
    if names:
        return [(name, attributes[name]) for name in names]
    return ()


def distinct_values(modules: Iterable[ModuleLike], registry: str) -> Iterator[Any]:
    """The values in one registry of several modules, each once and without None.

    It is a generator, so that ``next(model.parameters())`` is quick.
    """
    seen: set[Any] = {None}  # None is never yielded: it is the bias of a layer without one.
    for module in modules:
        attributes = module.__dict__
        names = attributes[registry]
        if names:
            for value in [attributes[name] for name in names]:
                if value not in seen:
                    seen.add(value)
                    yield value


def register_value(module: ModuleLike, registry: str, name: str, value: Any) -> None:
    """Puts a value into a registry and makes it an attribute, without a check. No other registry has the name
    afterwards."""
    attributes = module.__dict__
    for other in _OTHER_REGISTRIES[registry]:
        if name in attributes[other]:
            dict.pop(attributes[other], name)
            attributes[TRANSIENT].discard(name)
    # The methods of dict, not of Registry, which would call this function. For a new name, which is the usual
    # case, `setdefault` alone is faster than an assignment.
    if _setdefault(attributes[registry], name, value) is not value:
        dict.__setitem__(attributes[registry], name, value)
    # This holds also for the name of a property, which can read the value from __dict__, as in PyTorch.
    attributes[name] = value
    if isinstance(getattr(type(module), name, None), property):
        enable_getattr(type(module))  # If the property raises AttributeError, `__getattr__` finds the value.


def clear_value(module: ModuleLike, name: str, value: Any) -> None:
    """Writes None to the registry that has this name.

    ``module.name = value`` calls this for a registered name. Values other than None are refused: those that
    fit were registered before this call.
    """
    for registry, expected in zip(REGISTRIES, ("a Parameter", "a Tensor", "a Module"), strict=True):
        names = module.__dict__[registry]
        if name not in names:
            continue
        if value is None:
            return dict.__setitem__(names, name, None)
        noun = registry[1:-1]  # "parameter", "buffer" or "module"
        text = f"{noun} {name!r}"
        refuse_torch(type(module).__name__, text, value)
        raise TypeError(f"cannot assign {type(value).__name__} as {text}; expected {expected} or None")


def set_tensor(attributes: dict[str, Any], name: str, value: Tensor | None) -> None:
    """Gives a parameter or buffer another value, without a check. attributes: the module's ``__dict__``."""
    attributes[name] = value
    for registry in (PARAMETERS, BUFFERS):
        if name in attributes[registry]:
            dict.__setitem__(attributes[registry], name, value)


def make_registry(module: ModuleLike, registry: str, values: Any) -> Registry:
    """Makes a Registry of these values and gives it to the module. values: a mapping, or pairs."""
    attributes = module.__dict__
    for other in REGISTRIES:  # A program may set the registries one by one, so others can still be missing.
        attributes.setdefault(other, {})
    attributes.setdefault(TRANSIENT, Transient())
    new = Registry(module, registry)
    attributes[registry] = new
    new.update(values)
    return new


def registry_property(registry: str) -> Any:
    """The property of Module that reads one registry. Setting it replaces all names and values."""

    def get(module: ModuleLike) -> Registry:
        if not sys.modules.keys().isdisjoint(_TREE_LIBRARIES):
            _register_in_tree_libraries()
        try:
            found = module.__dict__[registry]
        except KeyError:
            raise AttributeError(f"{type(module).__name__!r} object has no attribute {registry!r}") from None
        if type(found) is Registry and found.belongs_to(module):
            return found
        # The program has put another dict here, or __dict__ is a copy of that of another module.
        return make_registry(module, registry, found)

    def set(module: ModuleLike, new: Any) -> None:
        attributes = module.__dict__
        values = dict(new)  # before the names go: `new` may be this registry
        for name in attributes.get(registry, ()):
            attributes.pop(name, None)
        # A new Registry: if __dict__ is a copy of another module's, that module keeps its own.
        make_registry(module, registry, values)

    return property(get, set)


def check_registration(
    module: ModuleLike, noun: str, name: Any, registry: dict[str, Any], value: Any, expected: type
) -> None:
    """Checks the arguments of ``register_parameter``, ``register_buffer`` and ``register_module``.

    Refuses a name that is no string, is empty, has a dot (paths have dots), or belongs to another attribute;
    and a value that is neither of the expected class nor None. noun: "parameter", "buffer" or "module".
    """
    if not isinstance(name, str):
        raise TypeError(f"[register_{noun}] got name {name!r}; expected a string")
    if not name or "." in name:
        raise KeyError(f"[register_{noun}] got name {name!r}; expected one without dots that is not empty")
    if hasattr(module, name) and name not in registry:
        raise KeyError(f"attribute {name!r} already exists")
    if value is None or isinstance(value, expected):
        return
    if noun == "buffer" and hasattr(value, AS_PARAMETER):
        return
    refuse_torch(f"register_{noun}", f"{noun} {name!r}", value)
    raise TypeError(
        f"cannot assign {type(value).__name__} as {noun} {name!r}; expected a {expected.__name__} or None"
    )


# {substring of names of torch.nn and torch.nn.functional: what these names are for}
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
    message = f"module {module!r} has no attribute {name!r}"
    for substring, purpose in _ABSENT.items():
        if substring in name.lower():
            message += f": {purpose} not part of this library (docs/versions.md)"
            break
    return AttributeError(message)


class CallSignature:
    """The result of ``inspect.signature(module)``: without it, inspect would parse the text of a method of
    the core at each call."""

    _SIGNATURE = inspect.Signature(
        [
            inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
            inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
        ]
    )

    def __get__(self, module: ModuleLike | None, cls: type) -> inspect.Signature:
        is_of_core = isinstance(cls.__call__, MethodDescriptorType)
        if module is None or not is_of_core:
            # Without this attribute, inspect takes the signature of the class, or of the __call__ that a
            # subclass defines.
            raise AttributeError("__signature__")
        return self._SIGNATURE


def counts(layer: str, axes: int, **settings: tuple[Any, int]) -> None:
    """Checks settings that are one whole number, or one for each axis: name=(value, least value). For the
    layers of nn/pooling.py and nn/rare.py; layer: their name in errors."""
    for name, (value, least) in settings.items():
        if isinstance(value, (tuple, list)):
            sizes = value
        else:
            sizes = (value,) * axes
        if len(sizes) != axes:
            raise ValueError(f"[{layer}] got {name} {value!r}; expected {axes} numbers")
        for size in sizes:
            count(layer, name, size, least)
