"""Containers: modules made of modules (Sequential, ModuleList, ModuleDict) or parameters (ParameterList,
ParameterDict)."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, SupportsIndex

import numpy as np

from ranvier.nn.module import Module, Parameter
from ranvier.nn.registry import AS_PARAMETER, MODULES, ByItems
from ranvier.nn.table import LAYERS
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = LAYERS["container"]


def _add(container: Module, name: str, layer: Module) -> None:
    """Adds a layer to a container; TypeError for what is no Module."""
    if layer is not None and not isinstance(layer, Module):
        container_name = type(container).__name__
        refuse_torch(container_name, f"layer {name}", layer)
        raise TypeError(f"[{container_name}] layer {name} is a {type(layer).__name__}; expected a Module")
    container.add_module(name, layer)


class _Numbered(Module):
    """Base of Sequential and ModuleList: children with the names '0', '1', ... in order."""

    def __len__(self) -> int:
        return len(self.__dict__[MODULES])

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _name(self, index: int) -> str:
        """The name of a child by its place; a negative place counts from the end."""
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"[{type(self).__name__}] index {index} is out of range for {n} layers")
        return list(self.__dict__[MODULES])[index]

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._with_layers(list(self._modules.items())[index])
        return self._modules[self._name(int(index))]

    def _with_layers(self, items: list[tuple[str, Module]]) -> Any:
        """A container of this class with the layers of a slice; items: their names and they."""
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(int(index)), module)

    def __delitem__(self, index: int | slice) -> None:
        if isinstance(index, slice):
            names = list(self.__dict__[MODULES])[index]
        else:
            names = [self._name(int(index))]
        for name in names:
            delattr(self, name)
        self._renumber(list(self))

    def pop(self, key: int) -> Module:
        """Removes a layer by its place and returns it."""
        module: Module = self[key]
        del self[key]
        return module

    def _renumber(self, modules: list[Module]) -> None:
        """Makes these modules, in order, the children '0', '1', ..."""
        self._modules = {str(i): module for i, module in enumerate(modules)}

    def append(self, module: Module) -> Any:
        """Adds a layer at the end; returns the container."""
        _add(self, str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        for module in list(modules):
            self.append(module)
        return self

    def __iadd__(self, modules: Iterable[Module]) -> Any:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> Any:
        return Sequential(*self, *other)

    def insert(self, index: int, module: Module) -> Any:
        """Adds a layer before the layer at this place. Raises IndexError unless -n <= index <= n, for n
        layers."""
        modules = list(self)
        n = len(self)
        if not -n <= index <= n:
            raise IndexError(f"[{type(self).__name__}] got index {index}; expected {-n} to {n}")
        modules.insert(index, module)
        self._renumber(modules)
        return self


class Sequential(_Numbered):
    """Layers applied one after the other: ``Sequential(a, b)`` computes b(a(x)).

    Takes layers, or one mapping of names to layers. Raises TypeError for anything else.

    If all layers are of this library, and it is called often without gradients, the calls are replayed like
    those of a compiled model (`rv.compile`), with the same bits.

    >>> from ranvier import nn
    >>> nn.Sequential(nn.Flatten(), nn.Sequential())
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Sequential()
    )
    """

    _rv_may_repeat = True

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            items = list(layers[0].items())
        else:
            items = [(str(i), layer) for i, layer in enumerate(layers)]
        for name, layer in items:
            _add(self, name, layer)

    def _with_layers(self, items: list[tuple[str, Module]]) -> Any:
        return type(self)(dict(items))

    def forward(self, input: TensorLike) -> Any:
        attributes = self.__dict__
        for name in attributes["_modules"]:
            input = attributes[name](input)
        return input

    def __mul__(self, times: int) -> Any:
        """A Sequential with the layers several times, as for a list."""
        if times <= 0:
            raise ValueError(f"[Sequential] got times {times}; expected a whole number > 0")
        return Sequential(*list(self) * times)

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Any:
        repeated = list(self * times)
        return self.extend(repeated[len(self) :])


class ModuleList(_Numbered):
    """A list of modules. Their parameters are also the parent's.

    >>> import ranvier as rv
    >>> len(rv.nn.ModuleList([rv.nn.Flatten(), rv.nn.Flatten()]))
    2
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self += modules

    def _with_layers(self, items: list[tuple[str, Module]]) -> Any:
        return type(self)(module for _, module in items)

    def extend(self, modules: Iterable[Module]) -> Any:
        for i, module in enumerate(list(modules), len(self)):
            _add(self, str(i), module)
        return self

    def __add__(self, other: Iterable[Module]) -> Any:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        """Equal neighbours on one line, as in PyTorch: ``(0-2): 3 x Linear(...)``."""
        texts = [repr(module) for module in self]
        lines = []
        first = 0
        for text, equal in groupby(texts):
            count = len(list(equal))
            last = first + count - 1
            if count == 1:
                lines.append(f"({first}): {text}")
            else:
                lines.append(f"({first}-{last}): {count} x {text}")
            first += count
        return _block(type(self).__name__, lines)


def _block(name: str, lines: list[str]) -> str:
    """The text "name(...)" with the lines indented between the parentheses."""
    inside = "".join("\n  " + line.replace("\n", "\n  ") for line in lines)
    if lines:
        return f"{name}({inside}\n)"
    return f"{name}()"


class _Dictionary(ByItems, Module):
    """Base of ModuleDict and ParameterDict. ``_entries()`` is the dict of their names and values."""

    def _entries(self) -> dict[str, Any]:
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries():
            raise KeyError(name)
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        container = type(self).__name__
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"[{container}] got name {name!r}; expected a string without dots, not empty")
        if hasattr(self, name) and name not in self:
            raise KeyError(f"[{container}] the name {name!r} is taken by an attribute of {container}")
        self._enter(name, value)

    def _enter(self, name: str, value: Any) -> None:
        """Stores a value under a name that has been checked."""
        raise NotImplementedError

    def __delitem__(self, name: str) -> None:
        if name not in self._entries():
            raise KeyError(name)
        delattr(self, name)

    def __len__(self) -> int:
        return len(self._entries())

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._entries())

    def __contains__(self, name: str) -> bool:
        return name in self._entries()

    def keys(self) -> Iterable[str]:
        return self._entries().keys()

    def values(self) -> Iterable[Any]:
        return {name: self[name] for name in self._entries()}.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        return {name: self[name] for name in self._entries()}.items()


class ModuleDict(_Dictionary):
    """A dictionary of modules. Their parameters are also the parent's.

    >>> import ranvier as rv
    >>> list(rv.nn.ModuleDict({"a": rv.nn.Flatten()}))
    ['a']
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def _entries(self) -> dict[str, Any]:
        return self._modules

    def _enter(self, name: str, value: Any) -> None:
        _add(self, name, value)


class ParameterList(Module):
    """A list of parameters, which are also parameters of the parent. Tensors and arrays become Parameters;
    modules become children; other values stay as they are.

    >>> import ranvier as rv
    >>> len(rv.nn.ParameterList([rv.ones(2), rv.zeros(3)]))
    2
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter(self[i] for i in range(self._size))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            places = range(self._size)[index]
            return type(self)([self[i] for i in places])
        return getattr(self, self._name(index))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, self._name(index), _parameter(value))

    def _name(self, index: SupportsIndex) -> str:
        """The name of a parameter by its place; a negative place counts from the end."""
        place = operator.index(index)
        n = self._size
        if not -n <= place < n:
            raise IndexError(f"[ParameterList] index {place} is out of range for {n} parameters")
        return str(place % n)

    def append(self, value: Any) -> ParameterList:
        """Adds a parameter at the end; returns the list."""
        setattr(self, str(self._size), _parameter(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        for value in values:
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def __repr__(self) -> str:
        lines = [f"({i}): {_sketch(parameter)}" for i, parameter in enumerate(self)]
        return _block("ParameterList", lines)


class ParameterDict(_Dictionary):
    """A dictionary of parameters, which are also parameters of the parent. Tensors and arrays become
    Parameters; modules become children; other values stay as they are.

    >>> import ranvier as rv
    >>> list(rv.nn.ParameterDict({"scale": rv.ones(2)}))
    ['scale']
    """

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def _entries(self) -> dict[str, Any]:
        return self._keys

    def _enter(self, name: str, value: Any) -> None:
        setattr(self, name, _parameter(value))
        self._keys[name] = None

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        del self._keys[name]

    def get(self, name: str, default: Any = None) -> Any:
        if name in self:
            return getattr(self, name)
        return default

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> Any:
        return type(self)(dict.fromkeys(keys, default))

    def copy(self) -> Any:
        return type(self)(dict(self.items()))

    def __or__(self, other: Mapping[str, Any]) -> Any:
        return self.copy().__ior__(other)

    def __ror__(self, other: Mapping[str, Any]) -> Any:
        return type(self)(dict(other.items())).__ior__(self)

    def __repr__(self) -> str:
        lines = [f"({name}): {_sketch(parameter)}" for name, parameter in self.items()]
        return _block("ParameterDict", lines)


def _parameter(value: Any) -> Any:
    """A Tensor or an array as a parameter, another value as it is."""
    if isinstance(value, Parameter):
        return value
    if isinstance(value, (np.ndarray, Tensor)) or hasattr(value, AS_PARAMETER):
        return Parameter(value)
    refuse_torch("Parameter", "a value", value)  # A copy would be a different parameter from PyTorch's.
    return value


def _sketch(value: Any) -> str:
    """The dtype and shape of a parameter, for repr; the type of another value."""
    if not isinstance(value, Tensor):
        return f"Object of type: {type(value).__name__}"
    size = "x".join(map(str, value.shape))
    return f"Parameter containing: [{value.dtype} of size {size}]"
